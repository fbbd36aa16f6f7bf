//! The delta protocol.

use hanse_proto::{
    nested,
    sync::{begin::Kind, publisher_message, subscriber_message, *},
};

use crate::recorded;

const SCOPE: &str = "runtime/eu-west/production";
const LOCAL: &str = "local/eu-west/production/pods";

pub(crate) fn lineage() -> Lineage {
    Lineage { generation: 2, id: vec![1; 16].into(), parent_id: vec![2; 16].into(), parent_revision: 300 }
}

pub(crate) fn position(revision: u64) -> Option<Position> {
    Some(Position { lineage: Some(lineage()), revision })
}

pub(crate) fn heard() -> Heard {
    Heard {
        identity: "gateway-1.gateway.eu-west.hanse.internal".into(),
        connected: true,
        heard_ms_ago: 250,
        reported_ms_ago: 900,
        boot_id: vec![4; 16].into(),
        key: vec![8; 32].into(),
        acks: nested::in_a_row(&[ack()]),
        report: Some(Report { facts: nested::to_bytes(&facts()), ..Default::default() }),
    }
}

pub(crate) fn facts() -> Facts {
    Facts {
        trust: Some(TrustStatus { believed: vec![vec![7; 32].into()], shown: vec![7; 32].into() }),
        unheard: vec!["gateway-2".into()],
        unheard_total: 1001,
        left_out: 12,
        revoked_gateways: vec![GatewayKey { name: "gateway-1".into(), key: vec![8; 32].into() }],
        minted_tokens: vec![MintedToken {
            id: "gw-1".into(),
            minted_at: 1_900_000_000,
            role: "gateway".into(),
            environments: vec!["production".into()],
            environments_total: 5,
        }],
        release: "0.1.0".into(),
        version: 1,
        newest_key: 2,
        features: vec!["addresses".into()],
        address: "agent-1.example:7443".into(),
        serving: nested::to_bytes(&serving()),
        certificate_expires: 1_900_086_400,
        authority_expires: 1_902_592_000,
        responder: None, // in facts-responder
    }
}

fn responder() -> Responder {
    Responder {
        address: "dns-1.example:53".into(),
        zones: vec![ZoneServed { zone: "gslb".into(), serial: 268_435_497 }],
        geo: vec![9; 32].into(),
        missing_keys: vec!["to-bind".into()],
        published: vec![Published {
            host: "orders".into(),
            generation: 2,
            revision: 41,
            failed: "refused".into(),
        }],
        zones_total: 2,
        published_total: 3,
        failed_total: 1,
        missing_keys_total: 4,
    }
}

pub(crate) fn place() -> PlaceRow {
    PlaceRow {
        region: "eu-west".into(),
        environment: "production".into(),
        health: Health::Up.into(),
        age_ms: 1_200,
        addresses: vec!["192.0.2.7".into()],
        tunnels: vec!["gateway-1.example:7447".into()],
        left_out: 1,
    }
}

fn serving() -> Serving {
    Serving {
        scopes: vec![SCOPE.into()],
        scopes_total: 2,
        urls: vec!["https://gateway-1.example".into()],
        not_ready: "draining".into(),
        ready: true,
        tunnels: vec!["gateway-1.example:7447".into()],
        internal_urls: vec!["https://10.0.0.7:8443".into()],
    }
}

fn traffic() -> Traffic {
    let row = TrafficRow { environment: "production".into(), host: "*.example.com".into(), requests: 300 };
    Traffic { rows: vec![row] }
}

fn scope_facts() -> ScopeFacts {
    ScopeFacts { scope: SCOPE.into(), effective: position(41), durable: position(40), quarantined_total: 1 }
}

fn in_quarantine() -> InQuarantine {
    let named = Quarantined {
        key: "upstream/default/orders".into(),
        received: vec![6; 32].into(),
        effective: vec![7; 32].into(),
        field: "ca_pem".into(),
        reason: "holds no certificate".into(),
    };
    InQuarantine { named: vec![named] }
}

fn ack() -> Ack {
    Ack {
        facts: nested::to_bytes(&scope_facts()),
        in_quarantine: nested::to_bytes(&in_quarantine()),
        quarantined_keys: Vec::new(),
    }
}

fn signature() -> Option<HeadSignature> {
    Some(HeadSignature { spki: vec![0x30, 3].into(), signature: vec![0x30, 4].into() })
}

#[test]
fn facts_and_what_goes_up_with_them() {
    recorded("sync-facts", &facts());
    recorded("sync-facts-responder", &Facts { responder: Some(responder()), ..Facts::default() });
    recorded("sync-scope-facts", &scope_facts());
    recorded("sync-in-quarantine", &in_quarantine());
    recorded("sync-heard", &heard());
}

#[test]
fn what_is_told_of_a_region() {
    recorded("sync-serving", &serving());
    recorded("sync-traffic", &traffic());
    let gateway = GatewayLive { name: "gateway-1".into(), live: true, serving: nested::to_bytes(&serving()) };
    let agent = AgentLive { name: "agent-1".into(), live: true, gateways: vec![gateway], left_out: 1 };
    let part = RegionPart {
        whole: true,
        more: true,
        agents: vec![agent],
        forgotten: vec!["agent-2".into()],
        traffic: Some(traffic()),
    };
    recorded("sync-region-part", &part);
}

#[test]
fn subscribers_messages() {
    use subscriber_message::Body;
    for (name, body) in [
        (
            "introduction",
            Body::Introduction(Introduction {
                features: vec!["base".into()],
                software: "hanse 0.1.0".into(),
                boot_id: vec![4; 16].into(),
            }),
        ),
        (
            "hello",
            Body::Hello(Hello {
                scope: SCOPE.into(),
                position: position(40),
                root: vec![3; 32].into(),
                ..Hello::default()
            }),
        ),
        (
            "hello-signed",
            Body::Hello(Hello {
                scope: LOCAL.into(),
                position: position(40),
                root: vec![3; 32].into(),
                signature: signature(),
                ..Hello::default()
            }),
        ),
        (
            "hello-met",
            Body::Hello(Hello {
                scope: LOCAL.into(),
                position: position(40),
                root: vec![3; 32].into(),
                signature: signature(),
                met: Some(HeldHead {
                    position: position(41),
                    root: vec![5; 32].into(),
                    signature: signature(),
                }),
            }),
        ),
        ("ack", Body::Ack(ack())),
        ("ack-keys", Body::Ack(Ack { quarantined_keys: vec!["plan/default/gold".into()], ..ack() })),
        (
            "report",
            Body::Report(Report {
                facts: nested::to_bytes(&facts()),
                below: nested::in_a_row(&[heard()]),
                traffic: Some(nested::to_bytes(&traffic())),
            }),
        ),
        ("leave", Body::Leave(Leave { scope: SCOPE.into() })),
    ] {
        recorded(&format!("sync-subscriber-{name}"), &SubscriberMessage { body: Some(body) });
    }
}

#[test]
fn publishers_messages() {
    use publisher_message::Body;
    for (name, body) in [
        (
            "welcome",
            Body::Welcome(Welcome {
                features: vec!["base".into()],
                publisher: "cp-1".into(),
                scopes: vec![SCOPE.into()],
                position: position(41),
                revoked: Some(Revoked {
                    as_of: position(40),
                    identities: vec!["gateway-1.gateway.eu-west.hanse.internal".into()],
                    authorities: Vec::new(),
                    gateway_keys: vec![vec![8; 32].into()],
                }),
                roots: Some(TrustedRoots {
                    as_of: position(39),
                    believed: vec![TrustedRoot {
                        certificate: vec![0x30, 1].into(),
                        endorsement: vec![0x30, 2].into(),
                    }],
                    issuing: vec![7; 32].into(),
                    dropped: vec![vec![9; 32].into()],
                }),
            }),
        ),
        (
            "welcome-authorities",
            Body::Welcome(Welcome {
                revoked: Some(Revoked {
                    as_of: position(40),
                    identities: vec!["agent-1.agent.eu-west.hanse.internal".into()],
                    authorities: vec![vec![7; 32].into()],
                    gateway_keys: Vec::new(),
                }),
                ..Default::default()
            }),
        ),
        (
            "begin",
            Body::Begin(Begin {
                scope: SCOPE.into(),
                kind: Kind::Delta.into(),
                from: 40,
                to: position(41),
                reason: "outside the window".into(),
            }),
        ),
        (
            "chunk",
            Body::Chunk(Chunk {
                scope: SCOPE.into(),
                upserts: vec![Upsert { key: "plan/default/gold".into(), value: vec![4; 3].into() }],
                removals: vec!["plan/default/lead".into()],
                last_good: vec![Upsert { key: "plan/default/gold".into(), value: vec![3; 3].into() }],
            }),
        ),
        (
            "end",
            Body::End(End {
                scope: SCOPE.into(),
                to: position(41),
                root: vec![5; 32].into(),
                signature: None,
            }),
        ),
        (
            "end-signed",
            Body::End(End {
                scope: LOCAL.into(),
                to: position(41),
                root: vec![5; 32].into(),
                signature: signature(),
            }),
        ),
        (
            "bookmark",
            Body::Bookmark(Bookmark {
                scope: SCOPE.into(),
                position: position(42),
                root: vec![5; 32].into(),
                as_of_age_ms: 120,
                quorum: true,
                signature: None,
            }),
        ),
        (
            "bookmark-signed",
            Body::Bookmark(Bookmark {
                scope: LOCAL.into(),
                position: position(42),
                root: vec![5; 32].into(),
                as_of_age_ms: 120,
                quorum: true,
                signature: signature(),
            }),
        ),
        ("behind", Body::Behind(Behind { scope: SCOPE.into(), position: position(39) })),
        ("refused", Body::Refused(Refused { scope: SCOPE.into(), reason: "not offered".into() })),
        ("superseded", Body::Superseded(Superseded {})),
        ("places", Body::Places(Places { rows: vec![place()] })),
    ] {
        recorded(&format!("sync-publisher-{name}"), &PublisherMessage { body: Some(body) });
    }
}
