use std::time::{Duration, SystemTime};

use hanse_identity::{
    Authority, Environments, JoinToken, KeyPair, PeerKeys, Refused, digest_secret, environments_of,
};
use hanse_process::{ClockHand, WallClock};
use hanse_topology::Role;
use tonic::Code;

use super::*;
use crate::testbed;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

struct Desk {
    service: EnrolmentService,
    hand: ClockHand,
    _dir: tempfile::TempDir,
}

/// The desk of an agent that admitted `gateway-1` with this key.
fn desk(key: &KeyPair) -> Desk {
    let dir = tempfile::tempdir().unwrap();
    let config = Arc::new(testbed::config(dir.path()));
    let (clock, hand) = WallClock::simulated(SystemTime::now());
    let root = Authority::new_root_by(clock.clone()).unwrap();
    let control = root.new_control_intermediate(&name("cp-1")).unwrap();
    let authority = control.new_regional_intermediate(&name("eu-west")).unwrap();
    let key = hex::encode(digest_secret(&key.public_key_der()));
    authority.save(config.authority_dir()).unwrap();
    let known = Admitted { role: Role::Gateway, environments: Vec::new(), key, seen: clock.unix_seconds() };
    let gateways = Arc::new(Gateways::open(config.clone(), clock.unix_seconds()).unwrap());
    gateways.admit(&name("gateway-1"), known).unwrap();
    let trust = LiveTrust::new(root.trust_anchor().unwrap(), clock);
    let authority = LiveAuthority::new(authority);
    let turn = Mutex::new(());
    Desk { service: EnrolmentService { config, gateways, authority, trust, turn }, hand, _dir: dir }
}

fn peer(who: &str, key: &KeyPair) -> Peer {
    Peer {
        identity: Some(Identity::gateway(name(who), name("eu-west"))),
        address: ([127, 0, 0, 1], 1).into(),
        keys: Some(Arc::new(PeerKeys { own: key.public_key_der(), issuer: Vec::new() })),
    }
}

#[tokio::test]
async fn a_gateway_is_renewed_for_the_key_it_joined_with() {
    let key = KeyPair::generate().unwrap();
    let Desk { service, hand, _dir } = desk(&key);
    let own = peer("gateway-1", &key);
    let seen = || service.gateways.admitted(own.identity.as_ref().unwrap()).unwrap().seen;
    let on_disk =
        || Gateways::open(service.config.clone(), 0).unwrap().admitted(own.identity.as_ref().unwrap());
    let joined = seen();
    hand.advance(Duration::from_secs(12 * 3600));
    let renewed = service.renew_leaf(Some(&own)).unwrap();
    assert_eq!(seen(), joined + 12 * 3600);
    tokio::time::timeout(Duration::from_secs(30), async {
        while on_disk().unwrap().seen != seen() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it is noted");
    let chain = renewed.chain.into_iter().map(|der| der.to_vec().into()).collect();
    let fresh = hanse_identity::Credentials::new(chain, key.clone()).expect("it is for this key");
    assert_eq!(fresh.identity().to_string(), "gateway-1.gateway.eu-west.hanse.internal");

    let refused = |peer: Option<&Peer>, code: Code, why: &str| {
        let status = service.renew_leaf(peer).unwrap_err();
        assert_eq!(status.code(), code);
        assert!(status.message().contains(why), "{status}");
    };
    let other = KeyPair::generate().unwrap();
    refused(Some(&peer("gateway-1", &other)), Code::PermissionDenied, "joined with another key");
    refused(Some(&peer("gateway-2", &key)), Code::PermissionDenied, "did not admit gateway-2");
    let nobody = Peer { identity: None, keys: None, ..peer("gateway-1", &key) };
    refused(Some(&nobody), Code::Unauthenticated, "needs the certificate");
    refused(None, Code::Unauthenticated, "needs the certificate");

    service.trust.refuse(std::collections::BTreeSet::from([own.identity.clone().unwrap()]).into());
    refused(Some(&own), Code::PermissionDenied, "is revoked");
    service.trust.refuse(Default::default());

    // Not for ever: the agent is about to be renewed itself.
    hand.advance(Duration::from_secs(31 * 24 * 3600));
    refused(Some(&peer("gateway-1", &key)), Code::Unavailable, "expired");
}

/// Another gateway's key, or the same again.
fn request(token: &JoinToken, name: &str, key: &KeyPair) -> EnrolRequest {
    EnrolRequest {
        token_id: token.id().to_string(),
        secret: token.secret().to_vec().into(),
        name: name.to_owned(),
        public_key: key.public_key_der().into(),
        ..EnrolRequest::default()
    }
}

#[test]
fn one_token_and_one_key_join_under_one_name() {
    let known = KeyPair::generate().unwrap();
    let Desk { service, hand: _hand, _dir } = desk(&known);
    let mint = || -> JoinToken {
        tokens::mint_token_by(service.trust.clock(), &service.config, Role::Gateway, &[])
            .unwrap()
            .parse()
            .unwrap()
    };
    let refused = |token: &JoinToken, name: &str, key: &KeyPair, why: &str| {
        let status = service.admit(request(token, name, key)).unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains(why), "{name}: {status}");
    };
    let (token, key) = (mint(), KeyPair::generate().unwrap());
    service.admit(request(&token, "gateway-2", &key)).unwrap();
    service.admit(request(&token, "gateway-2", &key)).expect("its answer may have been lost");
    for name in ["gateway-3", "gateway-4"] {
        refused(&token, name, &key, "used up");
    }
    refused(&token, "gateway-2", &KeyPair::generate().unwrap(), "used up");
    // With a token of its own it is still the same key.
    let other = mint();
    refused(&other, "gateway-3", &key, "joined already, as gateway-2");
    refused(&other, "gateway-3", &known, "joined already, as gateway-1");
    service.admit(request(&other, "gateway-3", &KeyPair::generate().unwrap())).expect("nothing was spent");
    // And it may join again under its own name.
    service.admit(request(&mint(), "gateway-2", &key)).unwrap();
}

#[test]
fn a_responder_joins_with_a_token_for_its_role() {
    let Desk { service, hand: _hand, _dir } = desk(&KeyPair::generate().unwrap());
    let token = |role| -> JoinToken {
        tokens::mint_token_by(service.trust.clock(), &service.config, role, &[]).unwrap().parse().unwrap()
    };
    let answer = service.admit(request(&token(Role::Dns), "dns-1", &KeyPair::generate().unwrap())).unwrap();
    assert_eq!((&*answer.role, &*answer.region), ("dns", "eu-west"));
    // A name is given once among all roles.
    let key = KeyPair::generate().unwrap();
    let status = service.admit(request(&token(Role::Gateway), "dns-1", &key)).unwrap_err();
    assert!(status.message().contains("is another dns node's"), "{status}");
}

#[test]
fn a_revoked_key_is_neither_admitted_nor_renewed_under_any_name() {
    let key = KeyPair::generate().unwrap();
    let Desk { service, hand: _hand, _dir } = desk(&key);
    let token: JoinToken = tokens::mint_token_by(service.trust.clock(), &service.config, Role::Gateway, &[])
        .unwrap()
        .parse()
        .unwrap();
    let gateway_keys = [digest_secret(&key.public_key_der())].into();
    service.trust.refuse(Refused { gateway_keys, ..Refused::default() });
    let status = service.admit(request(&token, "gateway-9", &key)).unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("this key is revoked"), "{status}");
    let status = service.renew_leaf(Some(&peer("gateway-1", &key))).unwrap_err();
    assert!(status.message().contains("this key is revoked"), "{status}");
    service.admit(request(&token, "gateway-9", &KeyPair::generate().unwrap())).expect("nothing was spent");
}

/// Clients of HTTPS see the leaf, at external entries too.
#[test]
fn a_leaf_names_no_environment() {
    let Desk { service, hand: _hand, _dir } = desk(&KeyPair::generate().unwrap());
    let check = |who: &str, of_token: &[Name]| {
        let key = KeyPair::generate().unwrap();
        let clock = service.trust.clock();
        let token = tokens::mint_token_by(clock, &service.config, Role::Gateway, of_token).unwrap();
        let joined = service.admit(request(&token.parse().unwrap(), who, &key)).unwrap();
        let renewed = service.renew_leaf(Some(&peer(who, &key))).unwrap();
        for chain in [&joined.chain, &renewed.chain] {
            let named = environments_of(&chain[0].to_vec().into()).unwrap();
            assert_eq!(named, Environments::default(), "{of_token:?}");
        }
    };
    check("gateway-2", &[]);
    check("gateway-3", &[name("back-office"), name("production")]);
}
