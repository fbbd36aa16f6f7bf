//! Commands over few names, so that they meet.

use hanse_management::{Digest, Kind, ResourceKey, Spec, Written, kinds::TokenRole, manifest::Restored};
use hanse_topology::Labels;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    Action, Change, Command, CommandBody, Incumbent, MintedToken, NeighbourAt, Origin, RecoveryKey,
    ResealedValue, SeatAsked,
    fixture::{self, START_MS, name},
};

fn pick(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words)
}

fn some(words: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(words, 0..=words.len())
}

/// A key among few.
fn key() -> impl Strategy<Value = ResourceKey> {
    let names = |kind: Kind| -> &'static [&'static str] {
        match kind {
            Kind::Organization => &["default", "retail"],
            Kind::Region => &["eu-west", "us-east", "ap-south"],
            Kind::Secret => &["signer", "password"],
            Kind::Environment => &["production", "sandbox"],
            Kind::Origin => &["east", "west"],
            Kind::HostGrant => &["g1", "g2"],
            Kind::DnsZone => &["gslb", "other"],
            Kind::GlobalHost => &["h1", "h2", "h3"],
            Kind::FailoverPlan | Kind::Failover => &["p1", "p2"],
            Kind::Drain => &["eu-west", "us-east"],
            Kind::Drill => &["p1-1", "p2-1"],
            Kind::Policy => &["stamp", "cors"],
            Kind::Upstream => &["backend", "other"],
            Kind::Api => &["orders", "billing", "users"],
            Kind::ApiRevision => &["orders-r1"],
            Kind::Binding => &["orders-production", "b2", "b3", "b4"],
            Kind::Plan => &["gold", "silver"],
            Kind::Application => &["shop", "app"],
            Kind::Subscription => &["shop-orders", "s2"],
            Kind::Credential => &["shop-key", "k2"],
            Kind::Token => &["admin", "ops"],
            Kind::JoinToken => &["t1", "t2"],
            #[cfg(feature = "next")]
            Kind::Memo => &["m1", "m2"],
        }
    };
    let busy = [Kind::Region, Kind::Environment, Kind::Upstream, Kind::Api, Kind::Binding];
    let busy = busy.map(|kind| (5, Just(kind).boxed()));
    let all = (Kind::ALL.len() as u32, prop::sample::select(Kind::ALL.to_vec()).boxed());
    let kinds = prop::strategy::Union::new_weighted(busy.into_iter().chain([all]).collect());
    (kinds, prop::bool::weighted(0.93)).prop_flat_map(move |(kind, default)| {
        prop::sample::select(names(kind)).prop_map(move |own| {
            let owner = name(if default { "default" } else { "retail" });
            ResourceKey { kind, organization: (!kind.is_global()).then_some(owner), name: name(own) }
        })
    })
}

/// A value of a Secret as the log has it: sealed by any node, or kept.
fn secret_value() -> impl Strategy<Value = Value> {
    let same_as = hex::encode(Sha256::digest([1]));
    prop_oneof![
        3 => (1..3_u32, pick(&["AQ==", "Ag=="])).prop_map(|(version, sealed)| json!({"version": version, "sealed": sealed})),
        1 => Just(json!({"version": 2, "sealed": "Aw==", "sameAs": same_as})),
        1 => Just(json!({"sealed": true})),
        1 => Just(json!("unsealed")),
    ]
}

/// A spec of a kind, mostly sound by itself.
fn spec(kind: Kind) -> BoxedStrategy<Value> {
    let digest = (0..4_u8).prop_map(|byte| Digest([byte + 1; 32]).to_string());
    let regions = || some(&["eu-west", "us-east", "ap-south"]);
    let upstream = || prop::option::of(pick(&["backend", "other"]));
    match kind {
        Kind::Organization | Kind::Application => {
            pick(&["One", "Two"]).prop_map(|text| json!({"displayName": text})).boxed()
        }
        Kind::Region => Just(json!({"location": {"latitude": 53.349_805_1, "longitude": -6.26}})).boxed(),
        Kind::Secret => (some(&["eu-west", "us-east"]), secret_value(), secret_value())
            .prop_map(|(regions, a, b)| match regions.is_empty() {
                true => json!({"type": "opaque", "data": {"a": a, "key.pem": b}}),
                false => json!({"type": "token-signing", "regions": regions, "data": {"key.pem": b}}),
            })
            .boxed(),
        Kind::Environment => {
            let hostnames = prop::option::weighted(0.3, pick(&["a.example", "*.example"]));
            (regions(), hostnames, prop::bool::weighted(0.3), any::<bool>(), prop::bool::weighted(0.7))
                .prop_map(|(regions, host, denies, has_addresses, tunnel)| {
                    let deny: &[&str] = if denies { &["10.0.0.0/8"] } else { &[] };
                    let addresses = regions.iter().filter(|_| has_addresses).map(|region| (*region, ["192.0.2.1"]));
                    let addresses: std::collections::BTreeMap<_, _> = addresses.collect();
                    json!({
                        "regions": regions, "hostnames": Vec::from_iter(host), "egress": {"deny": deny}, "addresses": addresses,
                        "tunnel": tunnel,
                    })
                })
                .boxed()
        }
        Kind::Origin => {
            let environments = prop::sample::subsequence(vec!["production", "sandbox"], 1..=2);
            let organizations = prop::sample::subsequence(vec!["default", "retail"], 1..=2);
            (pick(&["eu-west", "us-east"]), environments, organizations, pick(&["a", "b"]))
                .prop_map(|(region, environments, organizations, holder)| {
                    json!({
                        "region": region, "environments": environments, "organizations": organizations,
                        "kinds": ["Route", "Upstream"], "holders": [holder],
                    })
                })
                .boxed()
        }
        Kind::HostGrant => {
            let environments = prop::sample::subsequence(vec!["production", "sandbox"], 1..=2);
            let organization = pick(&["default", "default", "retail"]);
            (environments, pick(&["a.example", "*.example"]), pick(&["/", "/x"]), organization)
                .prop_map(|(environments, host, prefix, organization)| {
                    json!({"environments": environments, "host": host, "pathPrefix": prefix, "organization": organization})
                })
                .boxed()
        }
        Kind::DnsZone => (pick(&["gslb.example", "other.example", "a.gslb.example"]), prop::bool::weighted(0.3))
            .prop_map(|(origin, is_copied)| {
                let secondary = json!({"address": "192.0.2.9:53", "key": "k"});
                let secondaries: Vec<_> = is_copied.then_some(secondary).into_iter().collect();
                json!({"origin": origin, "nameServers": [{"name": "ns"}], "contact": "a@b", "secondaries": secondaries})
            })
            .boxed(),
        Kind::GlobalHost => {
            let host = pick(&["a.gslb.example", "b.gslb.example", "b.gslb.example", "other.example"]);
            let policy = prop_oneof![
                3 => Just(json!([])),
                1 => pick(&["eu-west", "ap-south"]).prop_map(|region| json!([{"geo": {"default": [region]}}])),
                1 => Just(json!([{"failover": {"order": ["us-east"]}}])),
            ];
            (host, pick(&["gslb", "gslb", "other"]), pick(&["production", "sandbox"]), policy)
                .prop_map(|(host, zone, environment, policy)| {
                    json!({"host": host, "zone": zone, "environment": environment, "policy": policy})
                })
                .boxed()
        }
        Kind::FailoverPlan => {
            let hosts = prop::sample::subsequence(vec!["h1", "h2", "h3"], 1..=2);
            let regions = prop::sample::subsequence(vec!["eu-west", "us-east", "ap-south"], 2..=3).prop_shuffle();
            (hosts, regions)
                .prop_map(|(hosts, regions)| json!({"hosts": hosts, "active": regions[0], "standby": regions[1..]}))
                .boxed()
        }
        Kind::Failover => pick(&["eu-west", "us-east", "ap-south"])
            .prop_map(|region| {
                let serving = json!([{"region": region, "percent": 100}]);
                json!({"serving": serving, "to": region, "steps": [100], "step": 0, "stepEvery": "1s", "reason": "r"})
            })
            .boxed(),
        Kind::Drain => prop::option::of(Just("f")).prop_map(|forced| json!({"reason": "r", "forced": forced})).boxed(),
        Kind::Drill => (pick(&["p1", "p2"]), pick(&["preflight", "hold", "done"]))
            .prop_map(|(plan, phase)| json!({"plan": plan, "phase": phase, "reason": "r"}))
            .boxed(),
        Kind::Policy => {
            (0..3_u32).prop_map(|n| json!({"headers": {"request": {"set": {"X-N": n.to_string()}}}})).boxed()
        }
        Kind::Upstream => (
            prop::option::weighted(0.4, pick(&["eu-west", "us-east"])),
            0..2_u32,
            pick(&["http://a:80", "http://a:80", "http://10.0.0.7:80", "http://11.0.0.7:80"]),
        )
            .prop_map(|(region, weight, url)| match region {
                None => json!({"endpoints": [{"url": url, "weight": weight + 1}]}),
                Some(region) => json!({"endpoints": [{"url": url, "region": region}]}),
            })
            .boxed(),
        Kind::Api | Kind::ApiRevision => {
            let lifecycle = pick(&["published", "published", "created", "retired", "blocked"]);
            let hosts = prop::option::weighted(0.3, pick(&["a.example", "*.example"]));
            let context = pick(&["/x", "/y"]);
            (context, hosts, some(&["stamp", "cors"]), upstream(), lifecycle, 0..3_u32)
                .prop_map(|(context, host, policies, upstream, lifecycle, version)| {
                    json!({"context": context, "hosts": Vec::from_iter(host), "policies": policies, "upstream": upstream,
                           "lifecycle": lifecycle, "version": version.to_string(),
                           "operations": [{"method": "GET", "path": "/{id}"}]})
                })
                .boxed()
        }
        Kind::Binding => {
            let api = pick(&["orders", "orders", "billing", "billing", "users"]);
            let environment = pick(&["production", "sandbox"]);
            let revision = prop_oneof![3 => Just(json!("latest")), 1 => Just(json!("new")), 1 => (1..4_u32).prop_map(|number| json!(number))];
            let regions = prop_oneof![
                2 => Just(json!({})),
                2 => some(&["eu-west", "us-east"]).prop_map(|names| json!({"names": names})),
                1 => Just(json!({"labels": {"tier": "edge"}})),
            ];
            let reach = pick(&["local", "local", "federation"]);
            (api, environment, revision, regions, upstream(), reach)
                .prop_map(|(api, environment, revision, regions, upstream, reach)| {
                    json!({
                        "api": api, "environment": environment, "revision": revision, "regions": regions, "upstream": upstream,
                        "reach": reach,
                    })
                })
                .boxed()
        }
        Kind::Plan => (1..4_u32).prop_map(|n| json!({"rate": {"requests": n * 10, "per": "minute"}})).boxed(),
        Kind::Subscription => (pick(&["shop", "app"]), pick(&["orders", "billing"]), pick(&["gold", "silver"]))
            .prop_map(|(application, api, plan)| json!({"application": application, "api": api, "plan": plan}))
            .boxed(),
        Kind::Credential => (pick(&["shop", "app"]), digest)
            .prop_map(|(application, digest)| json!({"application": application, "digest": digest}))
            .boxed(),
        Kind::Token => digest.prop_map(|digest| json!({"role": "admin", "digest": digest})).boxed(),
        Kind::JoinToken => (digest, 0..3_u64, pick(&["eu-west", "ap-south"]))
            .prop_map(|(digest, uses, region)| {
                let expires_at = START_MS / 1000 + 1_000;
                json!({"role": "agent", "region": region, "uses": uses, "expiresAt": expires_at, "digest": digest})
            })
            .boxed(),
        #[cfg(feature = "next")]
        Kind::Memo => Just(json!({})).boxed(),
    }
}

fn change() -> impl Strategy<Value = Change> {
    let if_revision = prop_oneof![20 => Just(None), 1 => (0..12_u64).prop_map(Some)];
    let tier = prop::option::of(pick(&["edge", "core"]));
    let hold = prop::option::weighted(0.3, pick(&["eu-west", "us-east"]));
    let expects = prop::option::weighted(0.05, prop::option::of(0..4_u64));
    let protected = (prop::option::weighted(0.1, any::<bool>()), prop::bool::weighted(0.05));
    (key(), prop::bool::weighted(0.15), any::<bool>(), if_revision, tier, hold, expects, protected)
        .prop_flat_map(|(key, delete, cascade, if_revision, tier, hold, expects, (protected, restore))| {
            let kind = key.kind;
            spec(kind).prop_map(move |json| {
                let action = if let Some(api_revision) = expects {
                    Action::Expect { api_revision }
                } else if delete || kind.written() == Written::ByApply {
                    Action::Delete { cascade }
                } else {
                    let tier = tier.into_iter().map(|tier| ("tier", tier));
                    let labels: Labels = tier.chain(hold.map(|region| ("hold", region))).collect();
                    let spec = Spec::from_json(kind, &json).expect("the generator writes sound JSON");
                    if restore {
                        let protected = protected.unwrap_or_default();
                        Action::Restore { labels, spec, protected, restored: Restored::default() }
                    } else {
                        Action::Put { labels, spec, protected }
                    }
                };
                Change { key: key.clone(), action, if_revision }
            })
        })
}

/// A part of a dump: an Api, an ApiRevision before its latest one and a Binding that served both, or some of them.
fn part() -> impl Strategy<Value = Vec<Change>> {
    let api = pick(&["orders", "billing", "users", "users", "users"]);
    let numbers = prop_oneof![
        4 => (1..4_u64, 1..4_u64).prop_map(|(older, more)| (older, older + more)),
        1 => (1..4_u64, 1..4_u64),
    ];
    let specs = (spec(Kind::Api), revision(), spec(Kind::Binding));
    let served = prop::sample::subsequence(vec![true, false], 0..=2).prop_shuffle();
    let kept = (prop::bool::weighted(0.9), prop::bool::weighted(0.7), prop::bool::weighted(0.7));
    (api, numbers, specs, served, kept, prop::bool::weighted(0.1)).prop_map(
        |(api, (older, latest), (now, mut before, mut binding), served, kept, protected)| {
            let restored = |kind: Kind, own: &str, json: &Value, restored: Restored| Change {
                key: ResourceKey::owned(kind, name("default"), name(own)),
                action: Action::Restore {
                    labels: Labels::default(),
                    spec: Spec::from_json(kind, json).expect("the generator writes sound JSON"),
                    protected,
                    restored,
                },
                if_revision: None,
            };
            before["api"] = json!(api);
            before["number"] = json!(older);
            binding["api"] = json!(api);
            let served = served.into_iter().map(|is_older| if is_older { older } else { latest }).collect();
            let (none, of_api) =
                (Restored::default(), Restored { api_revision: Some(latest), served: vec![] });
            let changes = [
                (kept.0, restored(Kind::Api, api, &now, of_api)),
                (kept.1, restored(Kind::ApiRevision, &format!("{api}-r{older}"), &before, none.clone())),
                (kept.2, restored(Kind::Binding, "b4", &binding, Restored { served, ..none })),
            ];
            changes.into_iter().filter_map(|(is_kept, change)| is_kept.then_some(change)).collect()
        },
    )
}

/// The spec of an ApiRevision that embeds what its Api names; without the Api's name and without a number.
fn revision() -> impl Strategy<Value = Value> {
    (spec(Kind::Api), spec(Kind::Policy), spec(Kind::Upstream)).prop_map(|(api, policy, upstream)| {
        let copies = |names: Vec<&Value>, of: &Value| -> Value {
            names.into_iter().filter_map(|name| Some((name.as_str()?.to_owned(), of.clone()))).collect()
        };
        let policies = copies(api["policies"].as_array().into_iter().flatten().collect(), &policy);
        let upstreams = copies(vec![&api["upstream"]], &upstream);
        json!({"spec": api, "policies": policies, "upstreams": upstreams})
    })
}

fn body() -> impl Strategy<Value = CommandBody> {
    let incumbent = pick(&["unknown", "none", "silent", "heard"]).prop_map(|incumbent| match incumbent {
        "none" => Incumbent::None,
        "silent" => Incumbent::Silent,
        "heard" => Incumbent::Heard,
        _ => Incumbent::Unknown,
    });
    let seat = prop::option::of((1..4_u64, incumbent));
    let seat = seat.prop_map(|seat| seat.map(|(node_id, incumbent)| SeatAsked { node_id, incumbent }));
    let who = || pick(&["a.agent.eu-west", "b.agent.eu-west", "cp-1.server.control"]);
    let identity = |who: &str| format!("{who}.hanse.internal");
    let spend = (pick(&["t1", "t2"]), 0..4_u8, who(), 0..4_u8, seat).prop_map(
        move |(token, byte, joiner, key, seat)| CommandBody::UseJoinToken {
            token: name(token),
            secret_digest: [byte + 1; 32],
            joiner: identity(joiner),
            key_digest: [key; 32],
            seat,
        },
    );
    let record = (who(), 0..4_u8, 1..4_u64).prop_map(move |(who, key, node_id)| CommandBody::RecordServer {
        identity: identity(who),
        key_digest: [key; 32],
        node_id,
    });
    let keys = || prop::collection::vec((0..6_u8).prop_map(|key| [key; 32]), 0..3);
    let revoke = (who(), keys(), keys()).prop_map(move |(who, keys, known_keys)| CommandBody::Revoke {
        identity: identity(who),
        control_nodes: ["cp-1", "cp-2", "cp-3"].map(name).into(),
        keys,
        known_keys,
    });
    let refuse = (who(), keys())
        .prop_map(move |(who, keys)| CommandBody::RefuseKeys { identity: identity(who), keys });
    let readmit = who().prop_map(move |who| CommandBody::Readmit { identity: identity(who) });
    let minted =
        (who(), pick(&["gw-1", "gw-2", "gw-3"])).prop_map(move |(who, id)| CommandBody::RecordMinted {
            agent: identity(who),
            token: MintedToken {
                id: name(id),
                minted_at: 1,
                role: "gateway".into(),
                environments: Vec::new(),
                environments_total: 0,
            },
        });
    let federation_key = || {
        let recovery = |byte: u8| RecoveryKey { sign: vec![byte], wrap: vec![byte + 1] };
        let set = (0..2_u8, 0..3_usize, any::<bool>()).prop_map(move |(byte, versions, replace)| {
            let wrapped = vec![vec![byte]; versions];
            CommandBody::SetRecoveryKey { recovery: recovery(byte), wrapped, replace }
        });
        let add = (1..4_u32, 0..2_u8, pick(&["cp-1", "cp-2"]), prop::bool::weighted(0.1));
        let add = add.prop_map(move |(version, byte, maker, is_late)| {
            let recipient = Sha256::digest(recovery(byte).wrap).into();
            let (digest, maker) = ([version as u8; 32], crate::server_identity(maker));
            let rotate_after = is_late.into();
            CommandBody::AddKey { version, digest, recipient, wrapped: vec![byte], maker, rotate_after }
        });
        let used = (1..4_u32).prop_map(|version| CommandBody::UseKey { version });
        prop_oneof![2 => set, 2 => add, 1 => used, 1 => Just(CommandBody::RotateKey)]
    };
    let agents = prop::sample::subsequence(vec!["a", "b"], 0..=2);
    let neighbours = (agents, pick(&["x:1", "y:2"]), any::<bool>()).prop_map(|(agents, address, relay)| {
        let at = |agent: &str| NeighbourAt { name: name(agent), address: address.to_owned(), relay };
        CommandBody::SetNeighbours { region: name("eu-west"), agents: agents.into_iter().map(at).collect() }
    });
    // The test writes into it which bytes are there, where `was` is 0.
    let resealed = (pick(&["signer", "password"]), pick(&["a", "key.pem"]), 1..4_u32, any::<bool>())
        .prop_map(|(secret, field, version, is_of_other)| ResealedValue {
            secret: ResourceKey::owned(Kind::Secret, name("default"), name(secret)),
            field: field.to_owned(),
            was: [is_of_other.into(); 32],
            version,
            sealed: vec![9],
        });
    let reseal = prop::collection::vec(resealed, 1..4).prop_map(CommandBody::Reseal);
    // The test writes into it which entry is there.
    let drop_audit = Just(CommandBody::DropAudit { through: 0, hash: [0; 32] });
    prop_oneof![
        12 => prop::collection::vec(change(), 1..3).prop_map(CommandBody::Apply),
        1 => prop_oneof![minted, drop_audit],
        1 => federation_key(),
        2 => reseal,
        2 => part().prop_map(CommandBody::Apply),
        1 => Just(CommandBody::Apply(vec![fixture::delete("Api users", true)])),
        2 => prop_oneof![3 => spend, 1 => record, 1 => revoke, 1 => refuse, 1 => readmit, 2 => neighbours],
    ]
}

/// Whose command it is: mostly a node's, which may do everything; else that of a Token, which may be there as it says.
fn origin() -> impl Strategy<Value = (&'static str, Origin)> {
    let rights = prop_oneof![
        2 => Just((TokenRole::Admin, None)),
        1 => Just((TokenRole::Publisher, Some(name("default")))),
        1 => Just((TokenRole::Viewer, None)),
    ];
    let of_token = (pick(&["admin", "ops"]), rights).prop_map(|(token, (role, organization))| {
        let from = "10.0.0.7:51234".to_owned();
        (
            token,
            Origin { owner: token.to_owned(), role: Some(role), organization, from, reason: String::new() },
        )
    });
    prop_oneof![4 => Just(("tester", Origin::default())), 1 => of_token]
}

/// Any command.
pub(super) fn command() -> impl Strategy<Value = Command> {
    let idempotency_key = prop::option::weighted(0.1, pick(&["k1", "k2"]));
    let forced = prop::bool::weighted(0.3);
    (body(), 0..5_000_u64, idempotency_key, forced, origin()).prop_map(
        |(body, later, idempotency_key, force_grants, (actor, origin))| Command {
            actor: actor.into(),
            request_id: "r".into(),
            time_ms: START_MS + later,
            idempotency_key: idempotency_key.map(str::to_owned),
            only_in_term: None,
            force_grants,
            origin,
            body,
        },
    )
}
