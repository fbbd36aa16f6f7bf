//! Random histories over a small universe of names.

use std::collections::BTreeSet;

use hanse_management::{kinds::SecretValue, manifest::Restored};
use hanse_topology::bring_back;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
    strategy::ValueTree as _,
    test_runner::TestRunner,
};

use super::*;
use crate::{NeighbourAt, member::agent_of};

const ORGANIZATIONS: [&str; 2] = ["acme", "zeta"];
const REGIONS: [&str; 3] = ["eu", "us", "ap"];
const ENVIRONMENTS: [&str; 2] = ["production", "sandbox"];
const APIS: [&str; 3] = ["orders", "users", "search"];
const PAIR: [&str; 2] = ["one", "two"];

const AGENTS: [&str; 3] = ["one.agent.eu", "two.agent.eu", "one.agent.us"];

/// One command, and whether the projection follows before the next one.
type Turn = (CommandBody, bool);

fn owned(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    (select(&ORGANIZATIONS), select(names)).prop_map(|(organization, name)| format!("{organization}/{name}"))
}

fn region() -> impl Strategy<Value = Change> {
    let labels = select(vec![vec![], vec![("tier", "edge")], vec![("tier", "core")]]);
    let spec = select(vec![json!({}), json!({"location": {"latitude": 53.5, "longitude": -6.25}})]);
    (select(&REGIONS), spec, labels)
        .prop_map(|(name, spec, labels)| labelled(put("Region", name, spec), &labels))
}

fn dns_zone() -> impl Strategy<Value = Change> {
    let regions = select(vec![
        json!(null),
        json!({"names": ["eu"]}),
        json!({"names": ["us", "ap"]}),
        json!({"labels": {"tier": "edge"}}),
    ]);
    (select(&PAIR), regions).prop_map(|(name, regions)| zone(name, regions))
}

fn zone(name: &str, regions: Value) -> Change {
    let mut spec = json!({
        "origin": format!("{name}.example"), "contact": "dns@example.com", "nameServers": [{"name": "ns.example.net"}],
    });
    if !regions.is_null() {
        spec["regions"] = regions;
    }
    put("DnsZone", name, spec)
}

fn global_host() -> impl Strategy<Value = Change> {
    let policy = select(vec![
        json!([]),
        json!([{"geo": {"default": ["eu"]}}]),
        json!([{"weighted": {"eu": 1, "us": 2}}, {"multivalue": {"count": 1}}]),
    ]);
    (select(&APIS), select(&PAIR), select(&ENVIRONMENTS), policy)
        .prop_map(|(name, zone, environment, policy)| host(name, zone, environment, policy))
}

fn host(name: &str, zone: &str, environment: &str, policy: Value) -> Change {
    let host = format!("{name}.{zone}.example");
    put("GlobalHost", name, json!({"host": host, "zone": zone, "environment": environment, "policy": policy}))
}

fn failover_plan() -> impl Strategy<Value = Change> {
    let hosts = subsequence(APIS.to_vec(), 1..=2);
    let regions = subsequence(REGIONS.to_vec(), 2..=3).prop_shuffle();
    (select(&PAIR), hosts, regions).prop_map(|(name, hosts, regions)| {
        put("FailoverPlan", name, json!({"hosts": hosts, "active": regions[0], "standby": regions[1..]}))
    })
}

/// What a plan of the peopled world may decide, and what only others may.
fn failover() -> impl Strategy<Value = Change> {
    // The region that clients are led to, its percent, and the region of the others.
    let decisions =
        [("us", 100, "eu"), ("eu", 30, "us"), ("us", 30, "eu"), ("ap", 30, "us"), ("eu", 100, "us")];
    (select(&PAIR), select(decisions.to_vec()), select(&PAIR)).prop_map(
        |(plan, (to, percent, rest), reason)| {
            let mut serving = vec![(to, percent), (rest, 100 - percent)];
            serving.retain(|(_, percent)| *percent > 0);
            serving.sort_unstable();
            let one = |(region, percent): &(&str, u32)| json!({"region": region, "percent": percent});
            let serving: Vec<Value> = serving.iter().map(one).collect();
            let steps = if percent == 100 { vec![100] } else { vec![percent, 100] };
            let spec = json!({
                "serving": serving, "to": to, "steps": steps, "step": 0, "stepEvery": "30s", "reason": reason,
            });
            put("Failover", plan, spec)
        },
    )
}

fn drain() -> impl Strategy<Value = Change> {
    (select(&REGIONS), select(&PAIR))
        .prop_map(|(region, reason)| put("Drain", region, json!({"reason": reason, "forced": "test"})))
}

fn environment() -> impl Strategy<Value = Change> {
    (
        select(&ENVIRONMENTS),
        subsequence(REGIONS.to_vec(), 1..=3),
        select(vec![(json!([]), json!({})), (json!(["a.example"]), json!({"deny": ["10.0.0.0/8"]}))]),
        select(vec![None, Some("192.0.2.1"), Some("192.0.2.2")]),
        proptest::bool::weighted(0.8),
    )
        .prop_map(|(name, regions, (hostnames, egress), address, tunnel)| {
            let mut spec =
                json!({"regions": regions, "hostnames": hostnames, "egress": egress, "tunnel": tunnel});
            if let Some(address) = address {
                spec["addresses"] = json!({regions[0]: [address]});
            }
            put("Environment", name, spec)
        })
}

fn host_grant() -> impl Strategy<Value = Change> {
    let environments = subsequence(ENVIRONMENTS.to_vec(), 1..=2);
    (select(&PAIR), environments, select(vec!["a.example", "*.example"]), select(vec!["/", "/x"]), select(&ORGANIZATIONS))
        .prop_map(|(name, environments, host, prefix, organization)| {
            let spec = json!({
                "environments": environments, "host": host, "pathPrefix": prefix, "organization": organization,
            });
            put("HostGrant", name, spec)
        })
}

fn origin() -> impl Strategy<Value = Change> {
    let environments = subsequence(ENVIRONMENTS.to_vec(), 1..=2);
    let holders = subsequence(PAIR.to_vec(), 1..=2);
    (select(&PAIR), select(&REGIONS), environments, holders).prop_map(|(name, region, environments, holders)| {
        let spec = json!({
            "region": region, "environments": environments, "organizations": ["acme"], "kinds": ["Route", "Upstream", "Endpoints"], "holders": holders,
        });
        put("Origin", name, spec)
    })
}

/// An agent joins, is revoked, or is readmitted, or the agents of a region get addresses and relays.
fn member() -> impl Strategy<Value = CommandBody> {
    (0..AGENTS.len(), 0..2u8, 0..8u8).prop_map(|(agent, key, what)| {
        let identity = format!("{}.hanse.internal", AGENTS[agent]);
        let (control_nodes, keys, known_keys) = (Vec::new(), Vec::new(), Vec::new());
        match what {
            0 | 1 => CommandBody::Revoke { identity, control_nodes, keys, known_keys },
            2 => CommandBody::Readmit { identity },
            3 => {
                let (name, region) = agent_of(&identity).unwrap();
                let address = format!("{name}.example:{key}");
                CommandBody::SetNeighbours {
                    region,
                    agents: vec![NeighbourAt { name, address, relay: key == 0 }],
                }
            }
            _ => CommandBody::UseJoinToken {
                token: name("join"),
                secret_digest: hanse_management::Digest::of(b"join").0,
                joiner: identity,
                // One key never joins under two names.
                key_digest: [2 * agent as u8 + key; 32],
                seat: None,
            },
        }
    })
}

/// Another version of the federation key is used, or values are sealed anew. The test writes the rest of it: it seals as many values, by the
/// state before the last command where the version is 0.
fn federation_key() -> impl Strategy<Value = CommandBody> {
    let reseal = (1..4_usize, 0..2_u32).prop_map(|(most, version)| {
        let value = ResealedValue {
            secret: hanse_management::ResourceKey::global(Kind::Region, Name::new("any").unwrap()),
            field: String::new(),
            was: [0; 32],
            version,
            sealed: Vec::new(),
        };
        CommandBody::Reseal(vec![value; most])
    });
    prop_oneof![1 => Just(CommandBody::RotateKey), 2 => reseal]
}

/// Secrets, sealed with this version of the federation key.
fn sealed_with(version: u32, mut changes: Vec<Change>) -> Vec<Change> {
    for change in &mut changes {
        let Some(Spec::Secret(secret)) = change.action.spec_mut() else { continue };
        for value in secret.data.values_mut() {
            let sealed = anew(value.sealed().unwrap(), version);
            *value = SecretValue::Sealed(sealed);
        }
    }
    changes
}

fn upstream() -> impl Strategy<Value = Change> {
    let endpoint =
        (0..3u8, proptest::option::of(select(&REGIONS)), proptest::option::of(select(&ENVIRONMENTS)))
            .prop_map(|(host, region, environment)| {
                let mut endpoint = json!({"url": format!("http://host-{host}:80")});
                if let Some(region) = region {
                    endpoint["region"] = json!(region);
                }
                if let Some(environment) = environment {
                    endpoint["environment"] = json!(environment);
                }
                endpoint
            });
    let attempts = proptest::option::of(0..3u8);
    let from = proptest::option::weighted(0.5, select(&PAIR));
    (owned(&PAIR), vec(endpoint, 0..3), attempts, from).prop_map(|(path, mut endpoints, attempts, from)| {
        // An Upstream without endpoints of its own gets them from an Origin.
        if endpoints.is_empty() && from.is_none() {
            endpoints.push(json!({"url": "http://host-0:80"}));
        }
        let mut spec = json!({"endpoints": endpoints});
        if let Some(origin) = from {
            spec["endpointsFrom"] = json!({"origin": origin, "name": "pods"});
        }
        if let Some(attempts) = attempts {
            spec["retry"] = json!({"attempts": attempts});
            spec["healthCheck"] = json!({"path": "/healthz"});
        }
        put("Upstream", &path, spec)
    })
}

fn policy() -> impl Strategy<Value = Change> {
    (owned(&PAIR), 0..3u8).prop_map(|(path, value)| {
        put("Policy", &path, json!({"headers": {"request": {"set": {"X-Value": value.to_string()}}}}))
    })
}

fn api() -> impl Strategy<Value = Change> {
    let lifecycle =
        select(vec!["published", "published", "published", "created", "deprecated", "blocked", "retired"]);
    let policies = subsequence(PAIR.to_vec(), 0..=2);
    (owned(&APIS), 0..3u8, select(&PAIR), lifecycle, policies).prop_map(
        |(path, version, upstream, lifecycle, policies)| {
            let spec = json!({
                "context": format!("/{}", path.replace('/', "-")), "version": version.to_string(),
                "upstream": upstream, "lifecycle": lifecycle, "policies": policies,
                "operations": [{"method": "GET", "path": "/"}],
            });
            put("Api", &path, spec)
        },
    )
}

fn binding() -> impl Strategy<Value = Change> {
    let revision = select(vec![json!("latest"), json!("latest"), json!("latest"), json!(1), json!(2)]);
    let regions = select(vec![
        json!({}),
        json!({}),
        json!({"names": ["eu"]}),
        json!({"names": ["us", "ap"]}),
        json!({"labels": {"tier": "edge"}}),
    ]);
    let upstream = proptest::option::of(select(&PAIR));
    // Usually one name per Api and Environment, since there can be only one such Binding.
    let other = proptest::bool::weighted(0.1);
    let hold = select(vec![vec![], vec![], vec![("hold", "eu")], vec![("hold", "us")]]);
    let more = (other, hold, select(vec!["local", "federation"]));
    (select(&ORGANIZATIONS), select(&APIS), select(&ENVIRONMENTS), revision, regions, upstream, more).prop_map(
        |(organization, api, environment, revision, regions, upstream, (other, hold, reach))| {
            let mut spec = json!({
                "api": api, "environment": environment, "revision": revision, "regions": regions, "reach": reach,
            });
            if let Some(upstream) = upstream {
                spec["upstream"] = json!(upstream);
            }
            let name = if other { "other".to_owned() } else { format!("{api}-{environment}") };
            labelled(put("Binding", &format!("{organization}/{name}"), spec), &hold)
        },
    )
}

fn application() -> impl Strategy<Value = Change> {
    (owned(&PAIR), select(&PAIR))
        .prop_map(|(path, text)| put("Application", &path, json!({"displayName": text})))
}

/// Some sign tokens, in some regions.
fn secret() -> impl Strategy<Value = Change> {
    let regions = prop_oneof![1 => Just(vec![]), 3 => subsequence(REGIONS.to_vec(), 1..=3)];
    (owned(&PAIR), regions, select(&PAIR))
        .prop_map(|(path, regions, data)| super::secret(&path, &regions, 1, data))
}

fn plan() -> impl Strategy<Value = Change> {
    (owned(&PAIR), 1..4u8).prop_map(|(path, requests)| {
        put("Plan", &path, json!({"rate": {"requests": requests, "per": "second"}}))
    })
}

fn credential() -> impl Strategy<Value = Change> {
    (owned(&["first", "second", "third"]), select(&PAIR), 0..2u8).prop_map(|(path, application, key)| {
        let digest = hanse_management::Digest::of(format!("{path}-{key}").as_bytes()).to_string();
        put("Credential", &path, json!({"application": application, "digest": digest}))
    })
}

fn subscription() -> impl Strategy<Value = Change> {
    (select(&ORGANIZATIONS), select(&PAIR), select(&APIS), select(&PAIR), proptest::bool::weighted(0.1))
        .prop_map(|(organization, application, api, plan, other)| {
            let name = if other { "other".to_owned() } else { format!("{application}-{api}") };
            let spec = json!({"application": application, "api": api, "plan": plan});
            put("Subscription", &format!("{organization}/{name}"), spec)
        })
}

fn removal() -> impl Strategy<Value = Change> {
    let global = prop_oneof![
        1 => select(&ORGANIZATIONS).prop_map(|name| ("Organization", name.to_owned())),
        2 => select(&REGIONS).prop_map(|name| ("Region", name.to_owned())),
        2 => select(&ENVIRONMENTS).prop_map(|name| ("Environment", name.to_owned())),
    ];
    let decided = prop_oneof![
        2 => (select(vec!["DnsZone", "FailoverPlan", "Failover"]), select(&PAIR)),
        1 => (Just("GlobalHost"), select(&APIS)),
        2 => (Just("Drain"), select(&REGIONS)),
    ];
    let decided = decided.prop_map(|(kind, name)| (kind, name.to_owned()));
    let pair = (select(vec!["Upstream", "Policy", "Plan", "Application", "Secret", "Secret"]), owned(&PAIR));
    let binding = (owned(&APIS), select(&ENVIRONMENTS));
    let subscription = (select(&ORGANIZATIONS), select(&PAIR), select(&APIS));
    prop_oneof![
        1 => global,
        1 => select(&PAIR).prop_map(|name| ("HostGrant", name.to_owned())),
        1 => select(&PAIR).prop_map(|name| ("Origin", name.to_owned())),
        3 => decided,
        3 => pair,
        3 => owned(&APIS).prop_map(|path| ("Api", path)),
        4 => binding.prop_map(|(api, environment)| ("Binding", format!("{api}-{environment}"))),
        2 => owned(&["first", "second", "third"]).prop_map(|path| ("Credential", path)),
        2 => subscription
            .prop_map(|(organization, application, api)| ("Subscription", format!("{organization}/{application}-{api}"))),
    ]
    .prop_flat_map(|(kind, path)| (Just(kind), Just(path), proptest::bool::weighted(0.8)))
    .prop_map(|(kind, path, cascade)| Change { action: Action::Delete { cascade }, ..delete(kind, &path) })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        1 => select(&ORGANIZATIONS).prop_map(|name| put("Organization", name, json!({}))),
        2 => region(),
        2 => environment(),
        1 => host_grant(),
        2 => origin(),
        3 => dns_zone(),
        2 => global_host(),
        2 => failover_plan(),
        2 => failover(),
        1 => drain(),
        2 => upstream(),
        1 => policy(),
        5 => api(),
        6 => binding(),
        1 => plan(),
        1 => application(),
        4 => secret(),
        2 => subscription(),
        2 => credential(),
        5 => removal(),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    let changes = prop_oneof![3 => vec(change(), 1..=1), 1 => vec(change(), 2..4)];
    let body = prop_oneof![12 => changes.prop_map(CommandBody::Apply), 2 => member(), 2 => federation_key()];
    (body, proptest::bool::weighted(0.7))
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    vec(turn(), 1..40)
}

/// Turns among which dumps are restored.
fn turns_with_dumps() -> impl Strategy<Value = Vec<Turn>> {
    let some = prop_oneof![8 => turn().prop_map(|turn| vec![turn]), 1 => coming_back()];
    vec(some, 1..30).prop_map(|turns| turns.concat())
}

/// An Api goes, and comes back as a dump has it: with an older ApiRevision, and a Binding that served both or the latest one only.
fn coming_back() -> impl Strategy<Value = Vec<Turn>> {
    let numbers = (1..3u64, 1..3u64).prop_map(|(older, more)| (older, older + more));
    let hold = select(vec![vec![], vec![("hold", "eu")], vec![("hold", "us")]]);
    let follow = proptest::array::uniform3(any::<bool>());
    (api(), api(), select(&ENVIRONMENTS), numbers, any::<bool>(), hold, 0..4u8, follow).prop_map(
        |(now, before, environment, (older, latest), serves_older, hold, order, follow)| {
            let (Some(organization), api) = (&now.key.organization, &now.key.name) else { unreachable!() };
            let path = |name: &str| format!("{organization}/{name}");
            let gone = delete("Api", &path(api.as_str()));
            let bound = |serving: Value, served: Vec<u64>| {
                let binding = json!({"api": api, "environment": environment, "revision": serving});
                let binding = put("Binding", &path(&format!("{api}-{environment}")), binding);
                dumped(labelled(binding, &hold), Restored { api_revision: None, served })
            };
            let both = match serves_older {
                true => bound(json!(older), vec![latest, older]),
                false => bound(json!("latest"), vec![older, latest]),
            };
            let only_latest = bound(json!("latest"), vec![latest]);
            let revision = put("ApiRevision", &path(&format!("{api}-r{older}")), copy_of(api, before, older));
            let revision = dumped(revision, Restored::default());
            let now = dumped(now, Restored { api_revision: Some(latest), served: Vec::new() });
            let parts = match order {
                0 => vec![vec![now, revision, both]],
                1 => vec![vec![now], vec![revision, both]],
                2 => vec![vec![now, revision], vec![both]],
                _ => vec![vec![now, only_latest], vec![revision]],
            };
            let turns = std::iter::once(vec![gone]).chain(parts).map(CommandBody::Apply);
            turns.zip(follow).collect()
        },
    )
}

/// The spec of ApiRevision `number` of an Api, which was like another one before.
fn copy_of(api: &Name, before: Change, number: u64) -> Value {
    let Action::Put { spec: Spec::Api(spec), .. } = before.action else { unreachable!() };
    let copies = |names: Vec<&Name>, copy: Value| -> Value {
        names.into_iter().map(|name| (name.to_string(), copy.clone())).collect()
    };
    let policies = copies(spec.policies.iter().collect(), json!({}));
    let upstream = json!({"endpoints": [{"url": "http://older:80"}]});
    let upstreams = copies(spec.upstream.iter().collect(), upstream);
    json!({"api": api, "number": number, "spec": spec, "policies": policies, "upstreams": upstreams})
}

/// A resource that is put, as a dump has it.
fn dumped(change: Change, restored: Restored) -> Change {
    let Action::Put { labels, spec, .. } = change.action else { unreachable!() };
    Change { action: Action::Restore { labels, spec, protected: false, restored }, ..change }
}

/// Enough to refer to that most commands are accepted.
fn peopled() -> World {
    let mut world = World::empty();
    world.use_key(1);
    // A token that lets control nodes join is of no region, and stays when regions go.
    let token = json!({
        "role": "server", "uses": 10_000, "replace": true, "expiresAt": 1_000,
        "digest": hanse_management::Digest::of(b"join").to_string(),
    });
    world.accept(vec![put("JoinToken", "join", token)]);
    let mut changes: Vec<Change> = REGIONS.iter().map(|name| put("Region", name, json!({}))).collect();
    let environments = ENVIRONMENTS
        .iter()
        .map(|name| put("Environment", name, json!({"regions": ["eu", "us"], "tunnel": true})));
    changes.extend(environments);
    let origin = json!({
        "region": "eu", "environments": ENVIRONMENTS, "organizations": ["acme"], "kinds": ["Endpoints"], "holders": ["one"],
    });
    changes.push(put("Origin", "one", origin));
    changes.push(zone("one", json!({"names": ["eu"]})));
    changes.extend(APIS.map(|name| host(name, "one", "production", json!([]))));
    let plan = json!({"hosts": ["orders", "users"], "active": "eu", "standby": ["us"]});
    changes.push(put("FailoverPlan", "one", plan));
    for organization in ORGANIZATIONS {
        changes.push(put("Organization", organization, json!({})));
        for name in PAIR {
            let path = format!("{organization}/{name}");
            let from = json!({"origin": "one", "name": "pods"});
            let endpoints = json!([{"url": "http://start:80"}]);
            changes.push(put("Upstream", &path, json!({"endpoints": endpoints, "endpointsFrom": from})));
            changes.push(put("Policy", &path, json!({})));
            changes.push(put("Plan", &path, json!({})));
            changes.push(put("Application", &path, json!({})));
        }
        for api in APIS {
            let spec = json!({
                "context": format!("/{organization}-{api}"), "version": "0", "upstream": "one",
                "operations": [{"method": "GET", "path": "/"}],
            });
            changes.push(put("Api", &format!("{organization}/{api}"), spec));
        }
    }
    world.accept(changes);
    world
}

/// What histories did.
#[derive(Default)]
struct Played {
    commands: usize,
    /// Commands that changed something.
    effective: usize,
    /// Commands that made something out of a dump.
    restored: usize,
    /// Values that were sealed anew.
    resealed: usize,
    /// Runtime resources changed.
    touched: usize,
    /// Scopes made, and dropped, by the first part of their names.
    made: BTreeMap<String, usize>,
    dropped: BTreeMap<String, usize>,
    /// Stops at which an Origin had a holder.
    held: usize,
    /// Stops at which some clients of a host, and not all, were led to a region; and at which none were, to another one.
    divided: usize,
    shut: usize,
    /// Stops at which a region did not serve a host, and others did; at which a region was drained, and others served; and at which a region
    /// sent the requests of a Binding on.
    moved: usize,
    emptied: usize,
    sent_on: usize,
    /// Stops at which an Upstream referred to endpoints of an Origin.
    referring: usize,
    /// Stops at which a Binding's route was not the same in two regions of an Environment.
    differing: usize,
}

impl Played {
    /// Plays a history, checking at every stop.
    fn play(&mut self, turns: Vec<Turn>) {
        let mut world = peopled();
        self.commands += turns.len();
        let mut earlier = world.state.clone();
        for (body, follow) in turns {
            let last = world.state.clone();
            let before = world.state.revision();
            let changes = if let CommandBody::Apply(changes) = &body { changes.as_slice() } else { &[] };
            let of_dump = changes.iter().any(|change| matches!(change.action, Action::Restore { .. }));
            let (version, _) = world.state.federation_keys().active().unwrap();
            match body {
                CommandBody::RotateKey => world.use_key(version + 1),
                CommandBody::Reseal(values) => {
                    let seen = if values[0].version == 0 { &earlier } else { &last };
                    self.resealed += world.reseal(seen, values.len());
                }
                CommandBody::Apply(changes) => drop(world.apply(sealed_with(version, changes))),
                body => drop(world.run(body)),
            }
            earlier = last;
            let is_effective = world.state.revision() > before;
            self.effective += usize::from(is_effective);
            self.restored += usize::from(is_effective && of_dump);
            if follow {
                self.stop(&mut world);
            }
        }
        self.stop(&mut world);
    }

    fn stop(&mut self, world: &mut World) {
        let known: BTreeSet<ScopeId> = world.content.keys().cloned().collect();
        let changes = world.advance();
        check_sent_on(world);
        for change in changes {
            self.touched += change.upserts.len() + change.removals.len();
            let kind = change.scope.to_string().split('/').next().unwrap().to_owned();
            if change.dropped {
                *self.dropped.entry(kind).or_default() += 1;
            } else if !known.contains(&change.scope) {
                *self.made.entry(kind).or_default() += 1;
            }
        }
        let mut routes: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (scope, content) in &world.content {
            for (key, bytes) in content.iter().filter(|(key, _)| key.starts_with("route/")) {
                routes.entry((scope.environment(), key)).or_default().insert(bytes);
            }
        }
        let origins = world.content.values().flatten().filter(|(key, _)| key.starts_with("origin/"));
        let is_held = |bytes: &Bytes| {
            let Some(Runtime::Origin(origin)) = runtime::Resource::decode(bytes.clone()).unwrap().kind else {
                panic!("{bytes:?}")
            };
            !origin.holders.is_empty()
        };
        self.held += usize::from(origins.into_iter().any(|(_, bytes)| is_held(bytes)));
        let hosts = world.content.values().flatten().filter(|(key, _)| key.starts_with("host/"));
        let percents = |bytes: &Bytes| match runtime::Resource::decode(bytes.clone()).unwrap().kind {
            Some(Runtime::GlobalHost(host)) => host.candidates.into_iter().map(|candidate| candidate.percent),
            other => panic!("{other:?}"),
        };
        let percents: BTreeSet<u32> = hosts.into_iter().flat_map(|(_, bytes)| percents(bytes)).collect();
        self.divided += usize::from(percents.contains(&30) || percents.contains(&70));
        self.shut += usize::from(percents.contains(&0));
        let is_there =
            |prefix: &str| world.content.values().flatten().any(|(key, _)| key.starts_with(prefix));
        self.moved += usize::from(APIS.iter().any(|name| is_there(&format!("shift/{name}"))));
        self.emptied += usize::from(is_there("shift/drain/"));
        let is_sent_on = |bytes: &Bytes| match runtime::Resource::decode(bytes.clone()).unwrap().kind {
            Some(Runtime::Route(route)) => !route.served_in.is_empty(),
            other => panic!("{other:?}"),
        };
        self.sent_on += usize::from(routes.values().flatten().any(|bytes| is_sent_on(bytes)));
        let upstreams = world.content.values().flatten().filter(|(key, _)| key.starts_with("upstream/"));
        let refers = |bytes: &Bytes| match runtime::Resource::decode(bytes.clone()).unwrap().kind {
            Some(Runtime::Upstream(upstream)) => upstream.endpoints_from.is_some_and(|from| {
                assert_eq!((PAIR.contains(&&*from.origin), &*from.name), (true, "pods"));
                true
            }),
            other => panic!("{other:?}"),
        };
        self.referring += usize::from(upstreams.into_iter().any(|(_, bytes)| refers(bytes)));
        self.differing += usize::from(routes.values().any(|bytes| bytes.len() > 1));
    }
}

/// Requests are sent on to regions that serve them: one that is sent on is not sent on again.
fn check_sent_on(world: &World) {
    let runtime =
        world.content.iter().filter_map(|(scope, content)| Some((scope, scope.environment()?, content)));
    for (scope, environment, content) in runtime {
        let there = |region: &str, key: &str| {
            let scope = ScopeId::runtime(name(region), environment.clone());
            let bytes = world.content[&scope].get(key).cloned();
            bytes.and_then(|bytes| runtime::Resource::decode(bytes).unwrap().kind)
        };
        let shift = |region: &str, host: &str| {
            let of_drain = || there(region, &format!("shift/drain/{region}"));
            match there(region, &format!("shift/{host}")).or_else(of_drain) {
                None => Vec::new(),
                Some(Runtime::Shift(shift)) => {
                    assert!(!shift.regions.is_empty());
                    shift.regions
                }
                other => panic!("{other:?}"),
            }
        };
        let hosts = world.state.list(Kind::GlobalHost, None);
        for host in hosts
            .filter(|host| matches!(&host.spec, Spec::GlobalHost(spec) if spec.environment == *environment))
        {
            let host = host.key.name.as_str();
            for region in shift(scope.region().as_str(), host) {
                assert_eq!(shift(&region, host), [""; 0], "{scope}: {host} in {region}");
            }
        }
        for key in content.keys().filter(|key| key.starts_with("route/")) {
            let route = |region: &str| match there(region, key) {
                Some(Runtime::Route(route)) => route,
                other => panic!("{scope} {key} in {region}: {other:?}"),
            };
            for region in route(scope.region().as_str()).served_in {
                assert!(!route(&region).upstream.is_empty(), "{scope} {key} in {region}");
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::fixture::proptest_config())]

    #[test]
    fn every_history_projects_as_the_naive_projection_says(turns in prop_oneof![turns(), turns_with_dumps()]) {
        Played::default().play(turns);
    }
}

#[test]
fn the_random_histories_do_something() {
    let mut runner = TestRunner::deterministic();
    let mut played = Played::default();
    for _ in 0..120 {
        played.play(turns().new_tree(&mut runner).unwrap().current());
    }
    let Played {
        commands,
        effective,
        restored: _,
        resealed,
        touched,
        made,
        dropped,
        held,
        divided,
        shut,
        moved,
        emptied,
        sent_on,
        referring,
        differing,
    } = played;
    assert!(effective * 2 > commands, "{effective} of {commands} commands changed the state");
    assert!(touched > commands, "{touched} runtime resources changed by {commands} commands");
    assert!(resealed >= 10, "{resealed} values were sealed anew");
    assert!(held > 10, "{held} stops with an Origin that had a holder");
    assert!(divided > 10, "{divided} stops with a host whose clients were divided");
    assert!(shut > 20, "{shut} stops with a region that did not serve a host");
    assert!(moved > 20, "{moved} stops with a host that other regions served");
    assert!(emptied > 5, "{emptied} stops with a drained region that sent its requests on");
    assert!(sent_on > 10, "{sent_on} stops with a Binding whose requests were sent on");
    assert!(referring > 10, "{referring} stops with an Upstream that gets endpoints from an Origin");
    assert!(differing > 10, "{differing} stops with regions that differ");
    for (what, scopes) in [("made", made), ("dropped", dropped)] {
        for kind in ["runtime", "dns", "keys", "agents"] {
            let count = scopes.get(kind).copied().unwrap_or(0);
            assert!(count >= 5, "{count} {kind} scopes {what}");
        }
    }
    let mut played = Played::default();
    for _ in 0..16 {
        played.play(turns_with_dumps().new_tree(&mut runner).unwrap().current());
    }
    assert!(played.restored > 10, "{} parts of dumps were restored", played.restored);
    assert!(played.differing > 2, "{} stops with regions that differ", played.differing);
}

#[test]
fn the_random_histories_see_a_shift_that_stays() {
    let mut runner = TestRunner::deterministic();
    let mut fails = || {
        let turns = turns().new_tree(&mut runner).unwrap().current();
        let play = || bring_back("keep-shift", || Played::default().play(turns));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(play)).is_err()
    };
    assert!((0..120).any(|_| fails()));
}
