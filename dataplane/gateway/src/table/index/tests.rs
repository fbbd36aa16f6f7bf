use hanse_proto::runtime::{self, resource::Kind};
use proptest::prelude::*;

use hanse_topology::Exposure;

use super::*;
use crate::{
    table::{FACES, Protocol, RequestPath, RoutingTable, callers::OwnedId},
    testbed::*,
};

mod closed;

/// Which Api answers, and how many endpoints' turns it has: `-` where there is none.
fn serves(index: &ScopeIndex, path: &str) -> String {
    let table = RoutingTable::new(vec![index.table()], &FACES);
    let Some(environment) = table.environment(Protocol::Http, Exposure::External, "any.example") else {
        return "no listener".to_owned();
    };
    let path = RequestPath::parse(path).unwrap();
    let Some(served) = environment.api("any.example", path.canonical()) else { return "nothing".to_owned() };
    let authority =
        served.upstream.as_ref().and_then(|upstream| upstream.pick(&crate::table::Tried::default()));
    format!(
        "{} r{} {}",
        served.routes.api,
        served.routes.api_revision,
        authority.map_or("-".to_owned(), |endpoint| endpoint.authority.to_string())
    )
}

/// Whether the Api that answers is blocked.
fn is_blocked(index: &ScopeIndex, path: &str) -> bool {
    let table = RoutingTable::new(vec![index.table()], &FACES);
    let environment = table.environment(Protocol::Http, Exposure::External, "any.example").unwrap();
    environment.api("any.example", path.as_bytes()).unwrap().routes.blocked
}

fn change(index: &mut ScopeIndex, upserts: Vec<(Key, Bytes)>) {
    index.apply(upserts, Vec::new(), &mut ConnectProfiles::default());
}

fn remove(index: &mut ScopeIndex, keys: &[&str]) {
    index.apply(Vec::new(), keys.iter().map(|&key| key.into()).collect(), &mut ConnectProfiles::default());
}

fn reasons(index: &ScopeIndex) -> Vec<String> {
    let reasons = index.unusable().map(|(key, reason)| format!("{key} {}", reason.field));
    reasons.collect::<BTreeSet<_>>().into_iter().collect()
}

fn in_quarantine(index: &ScopeIndex) -> Vec<hanse_proto::sync::Quarantined> {
    index.quarantined(&index.held_over())
}

fn start() -> ScopeIndex {
    index(
        "production",
        vec![
            listener("production", &[]),
            route_entry(route("orders", "/orders", &["GET /"])),
            upstream_entry("orders", upstream(&["http://a:1"])),
        ],
    )
}

#[test]
fn changes_take_effect_and_the_untouched_stays_the_same_object() {
    let mut index = start();
    change(
        &mut index,
        vec![
            route_entry(route("items", "/items", &["GET /"])),
            upstream_entry("items", upstream(&["http://b:1"])),
        ],
    );
    let in_force = |index: &ScopeIndex| index.routes.in_force("route/default/orders").unwrap().served.clone();
    let orders = in_force(&index);
    change(&mut index, vec![upstream_entry("items", upstream(&["http://b:2"]))]);
    assert_eq!(serves(&index, "/items"), "items r1 b:2");
    assert_eq!(serves(&index, "/orders/x"), "orders r1 a:1");
    assert!(Arc::ptr_eq(&orders, &in_force(&index)));

    let mut moved = route("items", "/things", &["GET /"]);
    moved.api_revision = 2;
    change(&mut index, vec![route_entry(moved)]);
    assert_eq!(serves(&index, "/items"), "nothing");
    assert_eq!(serves(&index, "/things"), "items r2 b:2");
    remove(&mut index, &["route/default/items", "upstream/default/items"]);
    assert_eq!(serves(&index, "/things"), "nothing");
    assert_eq!(index.stats().count(), 1);
    remove(&mut index, &["listener/production"]);
    assert_eq!(serves(&index, "/orders"), "no listener");
}

#[test]
fn what_cannot_be_used_keeps_its_last_good_version() {
    let mut index = start();
    let broken = |key: &str| -> Vec<(Key, Bytes)> { vec![(key.into(), Bytes::from_static(b"\xff"))] };
    change(&mut index, broken("route/default/orders"));
    change(&mut index, broken("upstream/default/orders"));
    change(&mut index, broken("listener/production"));
    assert_eq!(serves(&index, "/orders"), "orders r1 a:1");
    assert_eq!(
        reasons(&index),
        ["listener/production resource", "route/default/orders resource", "upstream/default/orders resource"]
    );
    // Of later versions: not ours to judge.
    change(&mut index, broken("key-manager/default/x"));
    assert_eq!(index.unusable().count(), 3);
    change(
        &mut index,
        vec![
            listener("production", &[]),
            route_entry(route("orders", "/orders", &["GET /"])),
            upstream_entry("orders", upstream(&["http://a:2"])),
        ],
    );
    assert_eq!((serves(&index, "/orders").as_str(), reasons(&index).len()), ("orders r1 a:2", 0));
    change(&mut index, broken("upstream/default/orders"));
    remove(&mut index, &["route/default/orders", "upstream/default/orders"]);
    assert_eq!((serves(&index, "/orders").as_str(), reasons(&index).len()), ("nothing", 0));
}

/// Zones and hosts are of `dns` scopes. A Shift changes which region answers a request, and no route. None of the three is ever of a local scope.
#[test]
fn what_directs_clients_elsewhere_changes_no_table() {
    let epoch = Some(runtime::Epoch { generation: 1, revision: 1 });
    let shift = runtime::Shift {
        of: Some(runtime::shift::Of::EveryHost(runtime::EveryHost {})),
        regions: vec!["us-east".to_owned()],
        epoch,
    };
    let host = runtime::GlobalHost {
        name: "orders".to_owned(),
        zone: "gslb".to_owned(),
        host: "any.example".to_owned(),
        environment: "production".to_owned(),
        ttl_s: 30,
        candidates: vec![runtime::Candidate { region: "us-east".to_owned(), ..Default::default() }],
        ..Default::default()
    };
    let zone = runtime::Zone {
        name: "gslb".to_owned(),
        origin: "example".to_owned(),
        name_servers: vec![runtime::NameServer { name: "ns.other".to_owned(), ..Default::default() }],
        contact: "hostmaster@example".to_owned(),
        negative_ttl_s: 30,
        epoch,
        ..Default::default()
    };
    let entries = || {
        vec![
            entry("shift/any", Kind::Shift(shift.clone())),
            entry("host/orders", Kind::GlobalHost(host.clone())),
            entry("zone/gslb", Kind::Zone(zone.clone())),
        ]
    };
    let mut index = start();
    change(&mut index, entries());
    assert_eq!((serves(&index, "/orders").as_str(), reasons(&index).len()), ("orders r1 a:1", 0));
    change(&mut index, vec![("zone/gslb".into(), Bytes::from_static(b"\xff"))]);
    assert_eq!(reasons(&index), ["zone/gslb resource"]);
    remove(&mut index, &["shift/any", "host/orders", "zone/gslb"]);
    assert_eq!((serves(&index, "/orders").as_str(), reasons(&index).len()), ("orders r1 a:1", 0));
    assert_eq!(
        reasons(&local_index("pods", entries())),
        ["host/orders kind", "shift/any kind", "zone/gslb kind"]
    );
}

#[test]
fn a_route_that_is_bad_and_dangles_says_so_until_both_are_mended() {
    let mut index = start();
    let key: Key = "route/default/orders".into();
    change(&mut index, vec![(key.clone(), Bytes::from_static(b"\xff"))]);
    remove(&mut index, &["upstream/default/orders"]);
    assert_eq!(reasons(&index), ["route/default/orders resource"]);
    change(&mut index, vec![upstream_entry("orders", upstream(&["http://a:1"]))]);
    assert_eq!(reasons(&index), ["route/default/orders resource"]);
    change(&mut index, vec![route_entry(route("orders", "/orders", &["GET /"]))]);
    assert!(reasons(&index).is_empty());
}

#[test]
fn a_route_whose_new_upstream_is_bad_keeps_its_old_one() {
    let mut index = start();
    let mut second = route("orders", "/orders", &["GET /"]);
    second.api_revision = 2;
    second.upstream = "upstream/default/orders-r2/orders".to_owned();
    let bad = entry("upstream/default/orders-r2/orders", Kind::Upstream(upstream(&["nonsense"])));
    index.apply(
        vec![route_entry(second), bad],
        vec!["upstream/default/orders".into()],
        &mut ConnectProfiles::default(),
    );
    assert_eq!(serves(&index, "/orders"), "orders r1 a:1");
    assert_eq!(
        reasons(&index),
        ["route/default/orders upstream", "upstream/default/orders-r2/orders endpoints[0].url"]
    );
    let good = entry("upstream/default/orders-r2/orders", Kind::Upstream(upstream(&["http://a:2"])));
    change(&mut index, vec![good]);
    assert_eq!((serves(&index, "/orders").as_str(), reasons(&index).len()), ("orders r2 a:2", 0));
}

#[test]
fn conflicts_are_settled_by_key_whatever_came_first() {
    let claim = |binding: &str| {
        let mut route = route(binding, "/same", &["GET /"]);
        route.upstream = "upstream/default/orders".to_owned();
        route_entry(route)
    };
    for order in [["a", "b"], ["b", "a"]] {
        let mut index = start();
        for binding in order {
            change(&mut index, vec![claim(binding)]);
        }
        assert_eq!(serves(&index, "/same"), "a r1 a:1", "{order:?}");
        remove(&mut index, &["route/default/a"]);
        assert_eq!(serves(&index, "/same"), "b r1 a:1", "{order:?}");
    }
}

#[test]
fn keys_and_subscriptions_come_and_go() {
    let mut index = index(
        "production",
        vec![
            credential("one", "shop", "secret", 0),
            subscription("s", "shop", "orders", "gold"),
            plan("gold", 60, 10),
        ],
    );
    let holder = |index: &ScopeIndex, key: &str| {
        index
            .table
            .callers
            .by_key(&crate::table::digest(key.as_bytes()))
            .map(|caller| caller.application.to_string())
    };
    let grant = |index: &ScopeIndex| {
        let pair = (OwnedId::new("default", "shop"), OwnedId::new("default", "orders"));
        index.table.callers.grant(pair.0, pair.1).map(|grant| grant.bucket.is_some())
    };
    assert_eq!((holder(&index, "secret").as_deref(), grant(&index)), (Some("shop"), Some(true)));
    change(&mut index, vec![credential("one", "shop", "rotated", 0)]);
    assert_eq!((holder(&index, "secret"), holder(&index, "rotated").as_deref()), (None, Some("shop")));
    change(&mut index, vec![plan("gold", 0, 0)]);
    assert_eq!(grant(&index), Some(false));
    change(&mut index, vec![subscription("s", "shop", "items", "gold")]);
    assert_eq!(grant(&index), None);
    change(&mut index, vec![subscription("s", "shop", "orders", "gold"), plan("gold", 1, 1)]);
    assert_eq!(grant(&index), Some(true));
    remove(&mut index, &["plan/default/gold"]);
    assert_eq!(grant(&index), Some(true)); // the last limit stays
    assert_eq!(reasons(&index), ["subscription/default/s plan"]);
    change(&mut index, vec![subscription("t", "shop", "items", "gone")]);
    let pair = (OwnedId::new("default", "shop"), OwnedId::new("default", "items"));
    assert!(index.table.callers.grant(pair.0, pair.1).unwrap().bucket.is_none()); // availability goes before limits
    assert_eq!(reasons(&index), ["subscription/default/s plan", "subscription/default/t plan"]);
    change(&mut index, vec![(Key::from("plan/default/gone"), Bytes::from_static(b"\xff"))]);
    assert_eq!(index.unusable().count(), 3);
    change(&mut index, vec![plan("gold", 0, 0), plan("gone", 1, 1)]);
    assert_eq!((grant(&index), reasons(&index).len()), (Some(false), 0));
    remove(&mut index, &["subscription/default/t"]);
    remove(&mut index, &["credential/default/one", "subscription/default/s"]);
    assert_eq!((holder(&index, "rotated"), grant(&index)), (None, None));
    let bad = runtime::Credential { digest: Bytes::from_static(b"short"), ..Default::default() };
    change(&mut index, vec![entry("credential/default/bad", Kind::Credential(bad))]);
    assert_eq!(reasons(&index), ["credential/default/bad digest"]);
}

#[test]
fn quarantine_names_what_was_received_and_what_is_in_use_instead() {
    let hash = |bytes: &Bytes| -> Bytes { crate::table::digest(bytes).to_vec().into() };
    let mut index = start();
    assert_eq!(in_quarantine(&index).len(), 0);
    let (key, good) = upstream_entry("orders", upstream(&["http://a:1"]));
    let bad = runtime::Upstream { ca_pem: "nonsense".to_owned(), ..upstream(&["http://a:2"]) };
    let (_, bad) = upstream_entry("orders", bad);
    change(&mut index, vec![(key.clone(), bad.clone())]);
    let [quarantined] = in_quarantine(&index).try_into().unwrap();
    assert_eq!((quarantined.key.as_str(), quarantined.field.as_str()), (&*key, "ca_pem"));
    assert_eq!((quarantined.received, quarantined.effective), (hash(&bad), hash(&good)));

    // Another bad one changes what was received, and not what is in use.
    let worse = Bytes::from_static(b"\xff");
    change(&mut index, vec![(key.clone(), worse.clone())]);
    let [quarantined] = in_quarantine(&index).try_into().unwrap();
    assert_eq!((quarantined.received, quarantined.effective), (hash(&worse), hash(&good)));

    // One that never was good has nothing in its place.
    change(&mut index, vec![upstream_entry("items", upstream(&["nonsense"]))]);
    let never =
        in_quarantine(&index).into_iter().find(|quarantined| quarantined.key.ends_with("items")).unwrap();
    assert!(never.effective.is_empty() && !never.received.is_empty());

    // What is gone and still needed is said too.
    let mut second = route("orders", "/orders", &["GET /"]);
    second.upstream = "upstream/default/items".to_owned();
    change(&mut index, vec![route_entry(second)]);
    remove(&mut index, &[&key]);
    let gone = in_quarantine(&index).into_iter().find(|quarantined| quarantined.key == *key).unwrap();
    assert_eq!((gone.received, gone.effective), (Bytes::new(), hash(&good)));
    assert_eq!(serves(&index, "/orders"), "orders r1 a:1");
}

/// One resource of a small world, or its removal.
fn step() -> impl Strategy<Value = (Key, Option<Bytes>)> {
    let name = || prop_oneof![Just("a"), Just("b"), Just("c")];
    let context = prop_oneof![Just("/"), Just("/x"), Just("/x/y")];
    let some = prop_oneof![
        (name(), context, name(), 1..3u64).prop_map(|(api, context, upstream, revision)| {
            let mut route = route(api, context, &["GET /"]);
            route.upstream = format!("upstream/default/{upstream}");
            route.api_revision = revision;
            route_entry(route)
        }),
        (name(), 1..4u8)
            .prop_map(|(name, port)| upstream_entry(name, upstream(&[&format!("http://{name}:{port}")]))),
        (name(), name(), name()).prop_map(|(name, application, key)| credential(name, application, key, 0)),
        (name(), name(), name(), name()).prop_map(|(name, application, api, plan)| subscription(
            name,
            application,
            api,
            plan
        )),
        (name(), 0..3u64).prop_map(|(name, requests)| plan(name, requests, 1)),
    ];
    (some, prop::bool::weighted(0.7)).prop_map(|((key, bytes), there)| (key, there.then_some(bytes)))
}

/// As [`step`], but what one Api needs no other needs: two upstreams for each route, two plans for each subscription.
fn own_step() -> impl Strategy<Value = (Key, Option<Bytes>)> {
    let name = || prop_oneof![Just(("a", "/")), Just(("b", "/x")), Just(("c", "/x/y"))];
    let some = prop_oneof![
        (name(), 1..3u8, 1..3u64).prop_map(|((api, context), upstream, revision)| {
            let mut route = route(api, context, &["GET /"]);
            route.upstream = format!("upstream/default/{api}{upstream}");
            route.api_revision = revision;
            route_entry(route)
        }),
        (name(), 1..3u8, 1..4u8).prop_map(|((name, _), upstream, port)| {
            upstream_entry(&format!("{name}{upstream}"), upstream_of(port))
        }),
        (name(), 1..3u8).prop_map(|((name, _), plan)| subscription(
            name,
            name,
            name,
            &format!("{name}{plan}")
        )),
        (name(), 1..3u8, 1..3u64).prop_map(|((name, _), number, rate)| plan(
            &format!("{name}{number}"),
            rate,
            1
        )),
    ];
    (some, prop::bool::weighted(0.7)).prop_map(|((key, bytes), there)| (key, there.then_some(bytes)))
}

fn upstream_of(port: u8) -> runtime::Upstream {
    upstream(&[&format!("http://host:{port}")])
}

/// A step: what is put, or the keys that go.
type Step = Result<Vec<(Key, Bytes)>, Vec<Key>>;

/// An index that was away gets what others hold over of what changed, and then the changes: it serves what they serve.
#[test]
fn what_was_missed_is_made_up_for() {
    let bad = |(key, _): (Key, Bytes)| (key, Bytes::from_static(b"\xff"));
    let to = |upstream: &str, revision| {
        let mut route = route("a", "/", &["GET /"]);
        route.upstream = format!("upstream/default/{upstream}");
        route.api_revision = revision;
        route_entry(route)
    };
    let gone = |entry: (Key, Bytes)| Err(vec![entry.0]);
    let own = |name: &str, port| upstream_entry(name, upstream_of(port));
    let table: [(&str, Vec<Step>); 4] = [
        ("a good version, then a bad one", vec![Ok(vec![to("a1", 2)]), Ok(vec![bad(to("a1", 3))])]),
        (
            "a route that came with its upstream, and lost it",
            vec![
                Ok(vec![to("a2", 2), own("a2", 2)]),
                Ok(vec![to("a3", 3), bad(own("a3", 3))]),
                gone(own("a2", 2)),
            ],
        ),
        (
            "a subscription that met its plan",
            vec![Ok(vec![plan("p", 1, 1), subscription("a", "a", "a", "p")]), gone(plan("p", 1, 1))],
        ),
        (
            "nothing to fall back to",
            vec![
                Ok(vec![bad(plan("p", 1, 1)), subscription("a", "a", "a", "p")]),
                Ok(vec![bad(own("a2", 1))]),
            ],
        ),
    ];
    for (name, missed) in table {
        let mut profiles = ConnectProfiles::default();
        let before = || index("production", vec![listener("production", &[]), to("a1", 1), own("a1", 1)]);
        let (mut seen, mut away, mut told_nothing) = (before(), before(), before());
        let mut changed = BTreeSet::new();
        for step in missed {
            let (upserts, removals) = match step {
                Ok(upserts) => (upserts, Vec::new()),
                Err(removals) => (Vec::new(), removals),
            };
            changed.extend(upserts.iter().map(|(key, _)| key).chain(&removals).cloned());
            seen.apply(upserts, removals, &mut profiles);
        }
        let held_over = seen.held_over().into_iter().filter(|(key, _)| changed.contains(key)).collect();
        let (there, gone): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|key| seen.received(key).is_some());
        let there: Vec<_> =
            there.into_iter().map(|key| (key.clone(), seen.received(&key).unwrap().clone())).collect();
        told_nothing.apply(there.clone(), gone.clone(), &mut profiles);
        assert_eq!(answers(&told_nothing) == answers(&seen), name == "nothing to fall back to", "{name}");
        away.catch_up(held_over, there, gone, &mut profiles);
        assert_eq!(answers(&away), answers(&seen), "{name}");
    }
}

/// Everything that can be asked of a table.
fn answers(index: &ScopeIndex) -> Vec<String> {
    let names = ["a", "b", "c"];
    let mut answers: Vec<String> = ["/", "/x", "/x/y", "/x/y/z"].map(|path| serves(index, path)).into();
    let callers = &index.table.callers;
    for key in names {
        let holder = callers.by_key(&crate::table::digest(key.as_bytes()));
        answers.push(format!("{:?}", holder.map(|caller| &caller.application)));
        for api in names {
            let grant = callers.grant(OwnedId::new("default", key), OwnedId::new("default", api));
            answers
                .push(format!("{:?}", grant.map(|grant| grant.bucket.as_ref().map(|bucket| bucket.rate()))));
        }
    }
    answers
}

proptest! {
    /// Change by change comes to the same as all at once, wherever every route has an upstream and every subscription a plan.
    #[test]
    fn incremental_equals_from_scratch(steps in proptest::collection::vec(step(), 1..60)) {
        let fixed = || -> Vec<(Key, Bytes)> {
            let mut all = vec![listener("production", &[])];
            all.extend(["a", "b", "c"].map(|name| upstream_entry(name, upstream(&[&format!("http://{name}:1")]))));
            all.extend(["a", "b", "c"].map(|name| plan(name, 1, 1)));
            all
        };
        let mut profiles = ConnectProfiles::default();
        let mut incremental = index("production", fixed());
        let mut content: BTreeMap<Key, Bytes> = fixed().into_iter().collect();
        for (key, value) in steps {
            match value {
                Some(bytes) => {
                    content.insert(key.clone(), bytes.clone());
                    incremental.apply(vec![(key, bytes)], Vec::new(), &mut profiles);
                }
                None if key.starts_with("upstream/") || key.starts_with("plan/") => {}
                None => {
                    content.remove(&key);
                    incremental.apply(Vec::new(), vec![key], &mut profiles);
                }
            }
        }
        let scratch = index("production", content.clone().into_iter().collect());
        prop_assert_eq!(answers(&incremental), answers(&scratch));
        prop_assert_eq!(incremental.counts(), scratch.counts());
        // And a replacement by the same content changes nothing.
        incremental.replace(Vec::new(), content.into_iter().collect(), &mut profiles);
        prop_assert_eq!(answers(&incremental), answers(&scratch));
    }

    /// Resources may be bad, missing or gone. An index that is given what was held over, and then what was received, serves
    /// what the one that saw every step serves. That is how a restarted gateway goes on.
    #[test]
    fn what_is_held_over_makes_the_same_again(
        steps in proptest::collection::vec((own_step(), prop::bool::weighted(0.25)), 1..60),
    ) {
        let mut profiles = ConnectProfiles::default();
        let mut seen = index("production", vec![listener("production", &[])]);
        for ((key, value), spoil) in steps {
            match value {
                Some(_) if spoil && !key.starts_with("subscription/") => {
                    seen.apply(vec![(key, Bytes::from_static(b"\xff"))], Vec::new(), &mut profiles)
                }
                Some(bytes) => seen.apply(vec![(key, bytes)], Vec::new(), &mut profiles),
                None => seen.apply(Vec::new(), vec![key], &mut profiles),
            }
        }
        let mut again = index("production", Vec::new());
        let content = seen.versions.received().clone().into_iter().collect();
        again.replace(seen.held_over().into_iter().collect(), content, &mut profiles);
        prop_assert_eq!(answers(&seen), answers(&again));
        let keys = |index: &ScopeIndex| in_quarantine(index).into_iter().map(|quarantined| quarantined.key).collect();
        let (seen, again): (BTreeSet<_>, BTreeSet<_>) = (keys(&seen), keys(&again));
        prop_assert!(again.is_subset(&seen));
    }
}
