//! Upstreams of the control plane with endpoints that an Origin publishes.

use hanse_proto::runtime::{self, resource::Kind};
use hanse_runtime::EndpointUrl;
use proptest::prelude::*;

use super::{
    local::{east, origin},
    *,
};
use crate::{
    health::{EndpointHealth, Failure, millis},
    table::Served,
    testbed::{EXTERNAL, entry},
};

const KINDS: [&str; 3] = ["route", "upstream", "endpoints"];

/// The set of that name and Organization.
fn set_of(organization: &str, name: &str, urls: &[&str]) -> (Arc<str>, Bytes) {
    let set = runtime::Endpoints {
        organization: organization.to_owned(),
        name: name.to_owned(),
        endpoints: urls.iter().map(|url| EndpointUrl::parse(url).unwrap().to_wire(1)).collect(),
    };
    entry(&format!("endpoints/{organization}/{name}"), Kind::Endpoints(set))
}

fn set(urls: &[&str]) -> (Arc<str>, Bytes) {
    set_of("default", "pods", urls)
}

/// An Upstream with endpoints of its own that refers to a set of an Origin.
fn referring(name: &str, own: &[&str], origin: &str, set: &str) -> (Arc<str>, Bytes) {
    let from = runtime::EndpointsFrom { origin: origin.to_owned(), name: set.to_owned() };
    upstream_entry(name, runtime::Upstream { endpoints_from: Some(from), ..upstream(own) })
}

fn served(table: &RoutingTable, path: &str) -> Arc<Served> {
    let environment = table.environment(Protocol::Http, Exposure::External, "any").unwrap();
    environment.api("any", path.as_bytes()).unwrap().clone()
}

/// Where requests for a path go.
fn urls(table: &RoutingTable, path: &str) -> Vec<String> {
    let served = served(table, path);
    let endpoints = served.upstream.as_ref().unwrap().endpoints();
    endpoints.iter().map(|endpoint| endpoint.health.url.to_string()).collect()
}

impl World {
    fn goes_to(&self, wanted: &[&str]) {
        assert_eq!(urls(&self.handle.table.load(), "/pets"), wanted);
    }

    /// What a scope has in quarantine: key, field and reason, and whether something is in force all the same.
    fn quarantine_of(&self, scope: &ScopeId) -> Vec<(String, String, bool)> {
        let effective = self.handle.effective.borrow();
        let Some(used) = effective.get(scope) else { return Vec::new() };
        let named = used.quarantine.named().iter();
        let told = |field: &str, reason: &str| format!("{field}: {reason}");
        named.map(|one| (one.key.clone(), told(&one.field, &one.reason), !one.effective.is_empty())).collect()
    }

    /// What a scope waits for, as `/config` shows it.
    fn waits_for(&self, scope: &str) -> Vec<String> {
        let summary = self.handle.summary.load();
        let found = summary.iter().find(|summary| summary.scope == scope).unwrap();
        assert_eq!(found.waiting, found.waits_for.len());
        found.waits_for.iter().map(|one| format!("{}: {}", one.key, one.why)).collect()
    }

    /// A Route for `/pets` whose Upstream has an endpoint of its own, and refers to the set `pods` of `east`.
    async fn with_reference(own: &[&str]) -> Self {
        let mut world = Self::with_local();
        let route = route_entry(route("pets", "/pets", &["GET /"]));
        let made = vec![
            listener("production", &[]),
            origin(&["default"], &KINDS),
            route,
            referring("pets", own, "east", "pods"),
        ];
        world.advance("production", position(1, 1), made, &[]);
        world.publishes(position(7, 1), vec![], &[]);
        world.stands(1, 1).await;
        world
    }
}

#[tokio::test]
async fn an_upstream_has_the_endpoints_of_its_set_as_long_as_they_are_there() {
    let mut world = World::with_reference(&["http://own"]).await;
    world.goes_to(&["http://own"]);
    let why = "upstream/default/pets: endpoints/default/pods of the Origin east is not there, or cannot be used: see the local scope; \
               the Upstream's own endpoints are used";
    assert_eq!(world.waits_for("runtime/eu-west/production"), [why]);
    assert_eq!(world.quarantine_of(&scope("production")), [], "it is in force as it was received");

    // It comes, changes, has none, turns bad, goes, and comes back.
    world.publishes(position(7, 2), vec![set(&["http://a", "http://b"])], &[]);
    world.stands(1, 2).await;
    world.goes_to(&["http://a", "http://b"]);
    assert!(world.waits_for("runtime/eu-west/production").is_empty());
    world.publishes(position(7, 3), vec![set(&[])], &[]);
    world.stands(1, 3).await;
    world.goes_to(&[]);
    let why = "upstream/default/pets: endpoints/default/pods of the Origin east is there and has no endpoint; requests are answered 503";
    assert_eq!(world.waits_for("runtime/eu-west/production"), [why]);
    world.publishes(position(7, 4), vec![set(&["http://b", "http://c"])], &[]);
    world.stands(1, 4).await;
    world.publishes(position(7, 5), vec![set(&["http://b", "http://b"])], &[]);
    world.stands(1, 5).await;
    world.goes_to(&["http://b", "http://c"]);
    let bad = world.quarantine_of(&east());
    assert_eq!((&*bad[0].0, bad[0].2), ("endpoints/default/pods", true));
    world.publishes(position(7, 6), vec![], &["endpoints/default/pods"]);
    world.stands(1, 6).await;
    world.goes_to(&["http://own"]);
    world.publishes(position(7, 7), vec![set(&["http://d"])], &[]);
    world.stands(1, 7).await;
    world.goes_to(&["http://d"]);

    // What the Origin does not allow any more is not used, not as a last good version either.
    world.advance("production", position(1, 2), vec![origin(&["default"], &["route", "upstream"])], &[]);
    world.stands(2, 7).await;
    world.goes_to(&["http://own"]);
    world.advance("production", position(1, 3), vec![origin(&["default"], &["endpoints"])], &[]);
    world.stands(3, 7).await;
    world.goes_to(&["http://d"]);
    // The Origin goes, and its scope with it.
    world.advance("production", position(1, 4), vec![], &["origin/east"]);
    world.replicas.remove(&east());
    world.effective(&[("production", position(1, 4))]).await;
    world.goes_to(&["http://own"]);
    assert!(
        world.waits_for("runtime/eu-west/production").is_empty(),
        "no Origin is expected to publish it here"
    );
}

#[tokio::test]
async fn an_upstream_without_any_endpoint_is_told_and_stays() {
    let mut world = World::with_reference(&[]).await;
    world.goes_to(&[]);
    let why = world.waits_for("runtime/eu-west/production");
    assert!(why[0].ends_with("see the local scope; requests are answered 503"), "{why:?}");
    // Also where no Origin of that name is expected.
    let other = referring("pets", &[], "north", "pods");
    world.advance("production", position(1, 2), vec![other], &[]);
    world.stands(2, 1).await;
    let why = world.waits_for("runtime/eu-west/production");
    assert!(why[0].contains("of the Origin north is not there"), "{why:?}");
}

#[tokio::test]
async fn a_set_is_for_upstreams_of_its_organization_only() {
    let mut world = World::with_reference(&["http://own"]).await;
    let origin = origin(&["default", "shop"], &KINDS);
    world.advance("production", position(1, 2), vec![origin], &[]);
    // One of another Organization, and one that says so under the key of this one.
    let (_, of_shop) = set_of("shop", "pods", &["http://shop"]);
    let sets = vec![("endpoints/default/pods".into(), of_shop), set_of("shop", "pods", &["http://shop"])];
    world.publishes(position(7, 2), sets, &[]);
    world.stands(2, 2).await;
    world.goes_to(&["http://own"]);
    let found = world.quarantine_of(&east());
    assert!(found[0].1.starts_with("organization: is of \"shop\""), "{found:?}");
}

#[tokio::test]
async fn no_local_upstream_refers_to_a_set() {
    let mut world = World::with_reference(&["http://own"]).await;
    let local = vec![
        route_entry(route("cats", "/cats", &["GET /"])),
        referring("cats", &["http://cats"], "east", "pods"),
        set(&["http://a"]),
    ];
    world.publishes(position(7, 2), local, &[]);
    world.stands(1, 2).await;
    let found = world.quarantine_of(&east());
    let upstream = found.iter().find(|found| found.0 == "upstream/default/cats").unwrap();
    assert!(upstream.1.starts_with("endpoints_from: is for Upstreams of the control plane"), "{found:?}");
    world.goes_to(&["http://a"]);
}

#[tokio::test]
async fn an_upstream_that_verifies_its_endpoints_uses_no_set_in_the_clear() {
    let mut world = World::with_reference(&["https://own"]).await;
    let from = runtime::EndpointsFrom { origin: "east".to_owned(), name: "pods".to_owned() };
    let verifying = runtime::Upstream {
        server_name: "pets.example".to_owned(),
        endpoints_from: Some(from),
        ..upstream(&["https://own"])
    };
    world.advance("production", position(1, 2), vec![upstream_entry("pets", verifying)], &[]);
    world.publishes(position(7, 2), vec![set(&["https://a", "http://b"])], &[]);
    world.stands(2, 2).await;
    world.goes_to(&["https://own"]);
    let why = world.waits_for("runtime/eu-west/production");
    assert!(why[0].contains("has an http endpoint, and the Upstream has `tls`"), "{why:?}");
    world.publishes(position(7, 3), vec![set(&["https://a", "https://b"])], &[]);
    world.stands(2, 3).await;
    world.goes_to(&["https://a", "https://b"]);
    assert!(world.waits_for("runtime/eu-west/production").is_empty());
}

/// An agent holds last good versions by what gateways acknowledge. A set that is not there makes no difference to that.
#[tokio::test]
async fn what_waits_for_a_set_is_acknowledged() {
    const MANY: usize = 600; // more than a gateway names by key
    let mut world = World::with_reference(&["http://own"]).await;
    let first: Vec<_> =
        (0..MANY).map(|at| referring(&format!("u{at}"), &["http://own"], "east", "pods")).collect();
    let agent = Replicas::remembering(Default::default());
    let holds = |revision, upserts| {
        agent
            .update(&scope("production"), |agent| agent.advance(position(1, revision), upserts, vec![]))
            .unwrap();
    };
    holds(2, first.clone());
    world.advance("production", position(1, 2), first.clone(), &[]);
    world.stands(2, 1).await;
    let confirm = |world: &World| {
        let effective = world.handle.effective.borrow();
        let InUse { position, quarantine } = &effective[&scope("production")];
        let but = quarantine.exceptions().expect("few are not in force as received");
        agent.confirm(&scope("production"), position, &but);
    };
    confirm(&world);
    let production = |world: &World| {
        let summary = world.handle.summary.load();
        summary.iter().find(|one| one.scope == "runtime/eu-west/production").unwrap().clone()
    };
    let told = production(&world);
    assert_eq!((told.unusable, told.waiting, told.waits_for.len()), (0, MANY + 1, 8));

    // One that no gateway can use comes. The agent has the version before it for gateways that join.
    let bad = vec![("upstream/default/u1".into(), Bytes::from_static(b"\xff"))];
    holds(3, bad.clone());
    world.advance("production", position(1, 3), bad, &[]);
    world.stands(3, 1).await;
    confirm(&world);
    let last_good = agent.read(|map| map[&scope("production")].last_good_of("upstream/default/u1").cloned());
    assert_eq!(last_good.as_ref(), Some(&first[1].1));
}

#[tokio::test]
async fn a_change_of_a_set_keeps_the_health_of_endpoints_that_stay_and_touches_its_users_only() {
    let mut world = World::with_reference(&["http://own"]).await;
    world.advance("production", position(1, 2), api("orders"), &[]);
    world.publishes(position(7, 2), vec![set(&["http://a", "http://b"])], &[]);
    world.stands(2, 2).await;
    let before = (served(&world.handle.table.load(), "/pets"), served(&world.handle.table.load(), "/orders"));
    let health = |served: &Served, url: &str| -> Arc<EndpointHealth> {
        let endpoints = served.upstream.as_ref().unwrap().endpoints();
        endpoints.iter().find(|endpoint| &*endpoint.health.url == url).unwrap().health.clone()
    };
    let upstream = before.0.upstream.as_ref().unwrap();
    let b = upstream.endpoints().iter().find(|endpoint| &*endpoint.health.url == "http://b").unwrap();
    assert!((0..100).any(|_| upstream.failed(b, Failure::Connect)), "it is ejected");
    world.publishes(position(7, 3), vec![set(&["http://b", "http://c"])], &[]);
    world.stands(2, 3).await;
    let now = millis(Instant::now());
    let after = (served(&world.handle.table.load(), "/pets"), served(&world.handle.table.load(), "/orders"));
    assert!(Arc::ptr_eq(&health(&before.0, "http://b"), &health(&after.0, "http://b")));
    assert!(health(&after.0, "http://b").is_ejected(now) && !health(&after.0, "http://c").is_ejected(now));
    assert!(!Arc::ptr_eq(&before.0, &after.0) && Arc::ptr_eq(&before.1, &after.1));
}

/// The routes of the property, each with an Upstream of its name.
const ROUTES: [&str; 2] = ["one", "two"];
const SETS: [&str; 2] = ["red", "blue"];
const URLS: [&str; 3] = ["http://x", "http://y", "http://z"];

#[derive(Debug, Clone)]
enum Event {
    /// The Upstream of a Route: whether it has an endpoint of its own, and the set that it refers to.
    Upstream(usize, bool, Option<usize>),
    UpstreamGoes(usize),
    /// A set with so many of the URLs; `None`: one that cannot be used.
    Set(usize, Option<usize>),
    SetGoes(usize),
    /// The Origin allows Endpoints, or does not.
    Allows(bool),
    /// The local scope is gone until something is published again.
    ScopeGoes,
}

fn event() -> impl Strategy<Value = Event> {
    let upstream = (0..2usize, any::<bool>(), prop::option::of(0..2usize));
    prop_oneof![
        1 => upstream.prop_map(|(at, own, from)| Event::Upstream(at, own, from)),
        1 => (0..2usize).prop_map(Event::UpstreamGoes),
        3 => (0..2usize, prop::option::weighted(0.85, 0..=3usize)).prop_map(|(at, urls)| Event::Set(at, urls)),
        1 => (0..2usize).prop_map(Event::SetGoes),
        1 => prop::bool::weighted(0.7).prop_map(Event::Allows),
        1 => Just(Event::ScopeGoes),
    ]
}

/// What should be served, by plain rules.
#[derive(Default)]
struct Oracle {
    /// As received, and as received when the keeper looked last.
    sets: [Option<Option<usize>>; 2],
    seen: [Option<Option<usize>>; 2],
    is_there: bool,
    allows: bool,
    upstreams: [Option<(bool, Option<usize>)>; 2],
    /// In force: the last that was there, and the last good set.
    used_upstreams: [(bool, Option<usize>); 2],
    used_sets: [Option<usize>; 2],
}

impl Oracle {
    fn settle(&mut self) {
        for at in 0..2 {
            if let Some(upstream) = self.upstreams[at] {
                self.used_upstreams[at] = upstream;
            }
            self.used_sets[at] = match self.sets[at] {
                _ if !self.is_there || !self.allows => None,
                None => None,
                Some(Some(good)) => Some(good),
                // What the Origin newly allows was good, too.
                Some(None) => self.seen[at].flatten().or(self.used_sets[at]),
            };
        }
        self.seen = self.sets;
    }

    fn urls(&self, route: usize) -> Vec<String> {
        let (has_own, from) = self.used_upstreams[route];
        let own: &[&str] = if has_own { &["http://own"] } else { &[] };
        let urls = from.and_then(|set| self.used_sets[set]).map_or(own, |urls| &URLS[..urls]);
        urls.iter().map(|&url| url.to_owned()).collect()
    }
}

/// A keeper without its task.
struct Bench {
    seed: KeeperSeed,
    state: Keeping,
}

impl Bench {
    fn over(replicas: &Replicas) -> Self {
        let (seed, _handle) =
            KeeperSeed::new(replicas.clone(), Vec::new(), EXTERNAL.to_vec(), GatewayMetrics::new(1));
        let state = Keeping::over(&seed.handle);
        Self { seed, state }
    }

    fn takes_in(&mut self) {
        let Self { seed, state } = self;
        state.step(&seed.replicas, None, false, &seed.handle, (&seed.proven, &None));
    }

    fn step(&mut self) -> [Vec<String>; 2] {
        self.takes_in();
        let table = self.seed.handle.table.load();
        ROUTES.map(|route| urls(&table, &format!("/{route}")))
    }
}

#[test]
fn a_set_may_come_before_all_that_refers_to_it() {
    let replicas = Replicas::remembering(Default::default());
    let mut bench = Bench::over(&replicas);
    let red = vec![set_of("default", "red", &["http://a"])];
    replicas.update(&east(), |replica| replica.advance(position(7, 1), red, vec![])).unwrap();
    bench.takes_in();
    let mut made = vec![listener("production", &[]), origin(&["default"], &KINDS)];
    for name in ROUTES {
        made.extend(api(name));
        made.push(referring(name, &["http://own"], "east", "red"));
    }
    replicas.update(&scope("production"), |replica| replica.advance(position(1, 1), made, vec![])).unwrap();
    assert_eq!(bench.step(), [["http://a"], ["http://a"]]);
}

fn happens(replicas: &Replicas, revision: u64, event: &Event, oracle: &mut Oracle) {
    let made = |upserts: Vec<(Arc<str>, Bytes)>, removals: Vec<Arc<str>>| {
        let to = position(1, revision);
        replicas.update(&scope("production"), |replica| replica.advance(to, upserts, removals)).unwrap();
    };
    let published = |upserts: Vec<(Arc<str>, Bytes)>, removals: Vec<Arc<str>>| {
        let to = position(7, revision);
        replicas.update(&east(), |replica| replica.advance(to, upserts, removals)).unwrap();
    };
    let set_key = |at: usize| -> Arc<str> { format!("endpoints/default/{}", SETS[at]).into() };
    match *event {
        Event::Upstream(at, has_own, from) => {
            let own: &[&str] = if has_own { &["http://own"] } else { &[] };
            let upstream = match from {
                Some(set) => referring(ROUTES[at], own, "east", SETS[set]),
                None => upstream_entry(ROUTES[at], upstream(own)),
            };
            made(vec![upstream], vec![]);
            oracle.upstreams[at] = Some((has_own, from));
        }
        Event::UpstreamGoes(at) => {
            made(vec![], vec![format!("upstream/default/{}", ROUTES[at]).into()]);
            oracle.upstreams[at] = None;
        }
        Event::Set(at, urls) => {
            let set = urls.map(|urls| set_of("default", SETS[at], &URLS[..urls]));
            published(vec![set.unwrap_or_else(|| (set_key(at), Bytes::from_static(b"\xff")))], vec![]);
            oracle.sets[at] = Some(urls);
            oracle.is_there = true;
        }
        Event::SetGoes(at) => {
            if oracle.sets[at].take().is_some() {
                published(vec![], vec![set_key(at)]);
            }
        }
        Event::Allows(allows) => {
            let kinds: &[&str] = if allows { &KINDS } else { &["route", "upstream"] };
            made(vec![origin(&["default"], kinds)], vec![]);
            oracle.allows = allows;
        }
        Event::ScopeGoes => {
            replicas.remove(&east());
            (oracle.sets, oracle.is_there) = ([None, None], false);
        }
    }
}

#[test]
fn what_was_barred_meanwhile_does_not_come_back() {
    let replicas = Replicas::remembering(Default::default());
    let mut first = vec![listener("production", &[])];
    first.extend(ROUTES.iter().flat_map(|name| api(name)));
    replicas.update(&scope("production"), |replica| replica.advance(position(1, 1), first, vec![])).unwrap();
    let (mut bench, mut oracle, mut revision) = (Bench::over(&replicas), Oracle::default(), 1);
    // A good set, a bad one that comes while none is allowed, and the permission.
    for (event, goes_to) in [
        (Event::Upstream(0, true, Some(0)), "http://own"),
        (Event::Allows(true), "http://own"),
        (Event::Set(0, Some(1)), "http://x"),
        (Event::Allows(false), "http://own"),
        (Event::Set(0, None), "http://own"),
        (Event::Allows(true), "http://own"),
    ] {
        revision += 1;
        happens(&replicas, revision, &event, &mut oracle);
        assert_eq!(bench.step()[0], [goes_to], "after {event:?}");
        assert_eq!(Bench::over(&replicas).step()[0], [goes_to], "after {event:?} and a restart");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes and goes in whatever order: Upstreams that refer to sets, sets, the permission to publish them, the scope. A gateway
    /// that starts with what another one holds serves the same.
    #[test]
    fn endpoints_are_those_of_the_set_that_is_there_else_the_upstreams_own(
        steps in prop::collection::vec(prop::collection::vec(event(), 1..5), 1..16),
    ) {
        let replicas = Replicas::remembering(Default::default());
        let mut first = vec![listener("production", &[])];
        first.extend(ROUTES.iter().flat_map(|name| api(name)));
        replicas.update(&scope("production"), |replica| replica.advance(position(1, 1), first, vec![])).unwrap();
        let mut oracle = Oracle::default();
        let (mut bench, mut revision) = (Bench::over(&replicas), 1);
        for at in 0..2 {
            happens(&replicas, 2 + at as u64, &Event::Upstream(at, true, None), &mut oracle);
        }
        happens(&replicas, 4, &Event::Allows(true), &mut oracle);
        revision += 3;
        oracle.settle();
        bench.step();
        for events in &steps {
            for event in events {
                revision += 1;
                happens(&replicas, revision, event, &mut oracle);
            }
            oracle.settle();
            let wanted = [oracle.urls(0), oracle.urls(1)];
            prop_assert_eq!(&bench.step(), &wanted, "after {:?}", events);
            prop_assert_eq!(&Bench::over(&replicas).step(), &wanted, "after a restart");
        }
    }
}
