//! Local scopes in the table: what their Origins allow, what they lose, and that none holds up a start.

use bytes::Bytes;
use hanse_proto::runtime::{self, resource::Kind};

use super::{super::local_wait::LOCAL_WITHIN, *};
use crate::testbed::{entry, route_of};

const EAST: &str = "local/eu-west/production/east";

pub(super) fn east() -> ScopeId {
    EAST.parse().unwrap()
}

/// The Origin `east`, for these Organizations and kinds.
pub(super) fn origin(organizations: &[&str], kinds: &[&str]) -> (Arc<str>, Bytes) {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let origin = runtime::Origin {
        made_at_ms: 1,
        name: "east".to_owned(),
        organizations: owned(organizations),
        kinds: owned(kinds),
        holders: Vec::new(),
    };
    entry("origin/east", Kind::Origin(origin))
}

fn api_of(organization: &str, name: &str) -> Vec<(Arc<str>, Bytes)> {
    route_of(organization, route(name, &format!("/{name}"), &["GET /"])).into()
}

/// What the local scope has in quarantine, with the field at fault; `-` after it where something is used all the same.
fn quarantined(world: &World) -> Vec<String> {
    let effective = world.handle.effective.borrow();
    let Some(used) = effective.get(&east()) else { return Vec::new() };
    let named = used.quarantine.named().iter();
    let used = |effective: &Bytes| if effective.is_empty() { "" } else { "-" };
    named.map(|found| format!("{} {}{}", found.key, found.field, used(&found.effective))).collect()
}

impl World {
    /// Offered `production` and the local scope `east`.
    pub(super) fn with_local() -> Self {
        let world = Self::start();
        world.link.send_modify(|status| status.offered = [scope("production"), east()].into());
        world
    }

    pub(super) fn publishes(&self, to: Position, upserts: Vec<(Arc<str>, Bytes)>, removals: &[&str]) {
        let removals = removals.iter().map(|&key| key.into()).collect();
        self.replicas.update(&east(), |replica| replica.advance(to, upserts, removals)).unwrap();
    }

    /// Waits until the control plane's scope and the local one stand there.
    pub(super) async fn stands(&mut self, control: u64, local: u64) {
        let at = |now: &BTreeMap<ScopeId, InUse>, scope: &ScopeId| now.get(scope).map(|used| used.position);
        let wanted = (Some(position(1, control)), Some(position(7, local)));
        let reached =
            self.handle.effective.wait_for(|now| (at(now, &scope("production")), at(now, &east())) == wanted);
        tokio::time::timeout(SOON, reached).await.expect("in time").unwrap();
    }
}

#[tokio::test]
async fn a_local_scope_serves_what_its_origin_allows() {
    let mut world = World::with_local();
    let mut made = vec![listener("production", &[]), origin(&["acme"], &["route", "upstream"])];
    made.extend(api("orders"));
    world.advance("production", position(1, 1), made, &[]);
    let mut local = api_of("acme", "pets");
    local.extend(api_of("shop", "carts"));
    local.push(listener("production", &["stolen.example"]));
    world.publishes(position(7, 1), local, &[]);
    world.stands(1, 1).await;
    assert!(world.serves("/orders") && world.serves("/pets") && !world.serves("/carts"));
    let barred =
        ["listener/production kind", "route/shop/carts organization", "upstream/shop/carts organization"];
    assert_eq!(quarantined(&world), barred);
    let summary = world.handle.summary.load();
    let summary = summary.iter().find(|summary| summary.scope == EAST).unwrap();
    assert_eq!((summary.counts.resources, summary.counts.routes, summary.unusable), (5, 1, 3));

    // The permission moves from one Organization to the other: nothing of the first is in force any more, not as a last good version either.
    world.advance("production", position(1, 2), vec![origin(&["shop"], &["route", "upstream"])], &[]);
    world.stands(2, 1).await;
    assert!(!world.serves("/pets") && world.serves("/carts"));
    // The kind Upstream is not allowed any more.
    world.advance("production", position(1, 3), vec![origin(&["acme", "shop"], &["route"])], &[]);
    world.stands(3, 1).await;
    let kept = ["route/acme/pets kind", "upstream/acme/pets kind"].map(str::to_owned);
    assert!(kept.iter().all(|kept| quarantined(&world).contains(kept)));
    assert!(!world.serves("/carts") && !world.serves("/pets"), "no Route is in force without its Upstream");
    // One that this gateway cannot use leaves the last good one.
    world.advance("production", position(1, 4), vec![origin(&["acme"], &["route", "upstream"])], &[]);
    world.stands(4, 1).await;
    world.advance("production", position(1, 5), vec![("origin/east".into(), "\u{7f}".into())], &[]);
    world.stands(5, 1).await;
    assert!(world.serves("/pets"));
    // The Origin goes.
    world.advance("production", position(1, 6), vec![], &["origin/east"]);
    world.stands(6, 1).await;
    assert!(!world.serves("/pets") && world.serves("/orders"));
}

#[tokio::test]
async fn what_a_key_says_of_its_organization_holds() {
    let mut world = World::with_local();
    let made = vec![listener("production", &[]), origin(&["acme", "shop"], &["route", "upstream"])];
    world.advance("production", position(1, 1), made, &[]);
    // A Route under the key of one Organization that says it is of another, and one that uses the Upstream of another.
    let [(_, of_shop), upstream] = route_of("shop", route("carts", "/carts", &["GET /"]));
    let mut crossing = route("pets", "/pets", &["GET /"]);
    "acme".clone_into(&mut crossing.organization);
    "upstream/shop/carts".clone_into(&mut crossing.upstream);
    let local =
        vec![("route/acme/carts".into(), of_shop), upstream, entry("route/acme/pets", Kind::Route(crossing))];
    world.publishes(position(7, 1), local, &[]);
    world.stands(1, 1).await;
    assert!(!world.serves("/carts") && !world.serves("/pets"));
    assert_eq!(quarantined(&world), ["route/acme/carts organization", "route/acme/pets upstream"]);
}

#[tokio::test]
async fn a_route_that_loses_its_place_is_told() {
    let mut world = World::with_local();
    let mut made = vec![listener("production", &[]), origin(&["default"], &["route", "upstream"])];
    made.extend(api("orders"));
    world.advance("production", position(1, 1), made, &[]);
    let of_two = |hosts: &[&str]| {
        let mut route = route("local", "/orders", &["GET /"]);
        route.hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        route_entry(route)
    };
    let upstream = upstream_entry("local", upstream(&["http://127.0.0.1:9"]));
    world.publishes(position(7, 1), vec![of_two(&[]), upstream], &[]);
    world.stands(1, 1).await;
    assert_eq!(quarantined(&world), ["route/default/local context"]);
    let why = |world: &World| world.handle.effective.borrow()[&east()].quarantine.named()[0].reason.clone();
    assert_eq!(why(&world), "any host/orders is served by route/default/orders");
    let gauge =
        |world: &World| world.handle.summary.load().iter().find(|of| of.scope == EAST).unwrap().unusable;
    assert_eq!(gauge(&world), 1);

    // At one of two places it answers.
    let mut exact = route("exact", "/orders", &["GET /"]);
    exact.hosts = vec!["a.example".to_owned()];
    let mut exact_made = vec![route_entry(exact)];
    exact_made.push(upstream_entry("exact", crate::testbed::upstream(&["http://127.0.0.1:9"])));
    world.advance("production", position(1, 2), exact_made, &[]);
    world.publishes(position(7, 2), vec![of_two(&["a.example", "b.example"])], &[]);
    world.stands(2, 2).await;
    assert_eq!(quarantined(&world), ["route/default/local context-"]);
    assert_eq!(why(&world), "a.example/orders is served by route/default/exact");
    // The control plane's go, and all its places are its own.
    world.advance("production", position(1, 3), vec![], &["route/default/exact", "route/default/orders"]);
    world.stands(3, 2).await;
    assert_eq!(quarantined(&world), Vec::<String>::new());
}

/// A local scope is awaited for a moment, so that a new gateway does not answer 404; one that does not come holds up nothing for longer.
#[tokio::test]
async fn a_damaged_local_scope_holds_up_no_readiness() {
    let mut world = World::with_local();
    let mut made = vec![listener("production", &[]), origin(&["acme"], &["route", "upstream"])];
    made.extend(api("orders"));
    world.advance("production", position(1, 1), made, &[]);
    let waits = |ready: &Result<(), String>| ready.as_ref().is_err_and(|why| why.contains(EAST));
    tokio::time::timeout(SOON, world.handle.ready.wait_for(waits)).await.unwrap().unwrap();
    let waited = Instant::now();
    assert!(!world.serves("/orders"));
    tokio::time::timeout(SOON, world.handle.ready.wait_for(Result::is_ok)).await.unwrap().unwrap();
    assert!(waited.elapsed() > LOCAL_WITHIN / 2, "it was waited for");
    assert!(world.serves("/orders"));
    // It comes at last.
    world.publishes(position(7, 1), api_of("acme", "pets"), &[]);
    world.stands(1, 1).await;
    assert!(world.serves("/pets"));
}

#[tokio::test]
async fn a_local_scope_that_comes_in_time_is_served_from_the_first_request_on() {
    let mut world = World::with_local();
    let mut made = vec![listener("production", &[]), origin(&["acme"], &["route", "upstream"])];
    made.extend(api("orders"));
    world.advance("production", position(1, 1), made, &[]);
    world.publishes(position(7, 1), api_of("acme", "pets"), &[]);
    tokio::time::timeout(SOON, world.handle.ready.wait_for(Result::is_ok)).await.unwrap().unwrap();
    assert!(world.serves("/orders") && world.serves("/pets"));
}

/// A Route of `acme` that ends what compiles it.
fn deadly() -> Vec<(Arc<str>, Bytes)> {
    let url = format!("http://127.0.0.1:9{DEADLY}panic");
    let [route, _] = route_of("acme", route("deadly", "/deadly", &["GET /"]));
    vec![route, entry("upstream/acme/deadly", Kind::Upstream(upstream(&[&url])))]
}

#[tokio::test]
async fn a_new_local_scope_that_cannot_be_compiled_holds_up_nothing() {
    let mut world = World::with_local();
    let mut made = vec![listener("production", &[]), origin(&["acme"], &["route", "upstream"])];
    made.extend(api("orders"));
    world.advance("production", position(1, 1), made, &[]);
    world.publishes(position(7, 1), [deadly(), api_of("acme", "pets")].concat(), &[]);
    world.stands(1, 1).await;
    assert!(world.serves("/orders") && !world.serves("/pets"), "nothing of it was ever proven");
    assert!(world.metrics.following.load(Ordering::Relaxed));
    // What it publishes next is used, and the control plane is followed.
    world.publishes(position(7, 2), api_of("acme", "carts"), &[]);
    world.advance("production", position(1, 2), api("items"), &[]);
    world.stands(2, 2).await;
    assert!(world.serves("/items") && world.serves("/carts") && !world.serves("/pets"));
}

#[tokio::test]
async fn what_was_barred_may_still_turn_out_deadly() {
    let mut world = World::with_local();
    let mut made = vec![listener("production", &[]), origin(&["shop"], &["route", "upstream"])];
    made.extend(api("orders"));
    world.advance("production", position(1, 1), made, &[]);
    world.publishes(position(7, 1), [deadly(), api_of("shop", "carts")].concat(), &[]);
    world.stands(1, 1).await;
    assert!(world.serves("/carts"));
    // Only now it is compiled.
    world.advance("production", position(1, 2), vec![origin(&["shop", "acme"], &["route", "upstream"])], &[]);
    world.stands(2, 1).await;
    assert!(world.serves("/carts") && world.serves("/orders"));
    assert!(quarantined(&world).contains(&"upstream/acme/deadly ".to_owned()));
}

/// What an Origin bars never ended anything, whatever else does.
#[tokio::test]
async fn what_is_barred_is_not_poisoned_with_something_else() {
    let mut world = World::with_local();
    let mut made = vec![listener("production", &[]), origin(&["shop"], &["route", "upstream"])];
    made.extend(api("orders"));
    world.advance("production", position(1, 1), made, &[]);
    world.publishes(position(7, 1), api_of("acme", "pets"), &[]);
    world.stands(1, 1).await;
    assert!(world.serves("/orders") && !world.serves("/pets"));
    // Another Origin allows what is deadly.
    let (_, west) = origin(&["acme"], &["route", "upstream"]);
    world.advance("production", position(1, 2), vec![("origin/west".into(), west)], &[]);
    let scope: ScopeId = "local/eu-west/production/west".parse().unwrap();
    world.replicas.update(&scope, |replica| replica.advance(position(8, 1), deadly(), vec![])).unwrap();
    let held = world.handle.effective.wait_for(|now| now.contains_key(&scope));
    tokio::time::timeout(SOON, held).await.expect("in time").unwrap();
    // Now it is allowed.
    world.advance("production", position(1, 3), vec![origin(&["shop", "acme"], &["route", "upstream"])], &[]);
    world.stands(3, 1).await;
    assert!(world.serves("/pets"));
}

#[tokio::test]
async fn an_api_has_one_set_of_counters_in_all_scopes_of_an_environment() {
    let mut world = World::with_local();
    let mut made = vec![listener("production", &[]), origin(&["default"], &["route", "upstream"])];
    made.extend(api("orders"));
    world.advance("production", position(1, 1), made, &[]);
    let mut beside = route("orders", "/orders/beside", &["GET /"]);
    "beside".clone_into(&mut beside.binding);
    let upstream = upstream_entry("orders", upstream(&["http://127.0.0.1:9"]));
    world.publishes(position(7, 1), vec![route_entry(beside), upstream], &[]);
    world.stands(1, 1).await;
    let count = |world: &World, path: &str| {
        let table = world.handle.table.load();
        let environment = table.environment(Protocol::Http, Exposure::External, "any").unwrap();
        environment.api("any", path.as_bytes()).unwrap().stats.count(0, http::StatusCode::OK);
    };
    count(&world, "/orders");
    count(&world, "/orders/beside");
    let counted = |world: &World| world.metrics.apis().iter().map(|api| api.totals()[1]).collect::<Vec<_>>();
    assert_eq!(counted(&world), [2]);
    // The local Route goes, and no series falls.
    world.publishes(position(7, 2), vec![], &["route/default/beside"]);
    world.stands(1, 2).await;
    assert_eq!(counted(&world), [2]);
    count(&world, "/orders/beside");
    assert_eq!(counted(&world), [3]);
}

/// What an Origin newly allows is remembered as good, so that a restart serves it too.
#[tokio::test]
async fn what_an_origin_newly_allows_is_a_last_good_version() {
    let mut world = World::with_local();
    let made = vec![listener("production", &[]), origin(&["acme"], &["route", "upstream"])];
    world.advance("production", position(1, 1), made, &[]);
    let carts = api_of("shop", "carts");
    world.publishes(position(7, 1), carts.clone(), &[]);
    world.stands(1, 1).await;
    world.advance("production", position(1, 2), vec![origin(&["shop"], &["route", "upstream"])], &[]);
    world.stands(2, 1).await;
    assert!(world.serves("/carts"));
    let (key, good) = carts[0].clone();
    world.publishes(position(7, 2), vec![(key.clone(), Bytes::from_static(b"\xff"))], &[]);
    // Before the keeper sees that: a restart just now has it too.
    let last_good = |world: &World| world.replicas.read(|map| map[&east()].last_good_of(&key).cloned());
    assert_eq!(last_good(&world), Some(good.clone()));
    world.stands(2, 2).await;
    assert!(world.serves("/carts"));
    assert_eq!(last_good(&world), Some(good));
}

#[tokio::test]
async fn local_scopes_alone_make_nothing_ready() {
    let mut world = World::with_local();
    let made = vec![listener("production", &[]), origin(&["acme"], &["route", "upstream"])];
    world.advance("production", position(1, 1), made, &[]);
    world.publishes(position(7, 1), api_of("acme", "pets"), &[]);
    world.stands(1, 1).await;
    assert!(world.handle.ready.borrow().is_ok());
    world.replicas.remove(&scope("production"));
    let gone = world.handle.ready.wait_for(Result::is_err);
    tokio::time::timeout(SOON, gone).await.expect("in time").unwrap();

    // Nor do they make a first start complete: another scope that is offered later is waited for.
    let mut first = World::offered(&[], &[]);
    first.link.send_modify(|status| status.offered = [east()].into());
    let (reached, is_reached) = tokio::sync::oneshot::channel();
    let happens = Box::new(move || reached.send(()).unwrap());
    *first.handle.faults.meanwhile.lock().unwrap() = Some(Meanwhile { revision: 1, happens });
    first.publishes(position(7, 1), api_of("acme", "pets"), &[]);
    tokio::time::timeout(SOON, is_reached).await.unwrap().unwrap();
    first.offers(&["production", "sandbox"]);
    first.advance("production", position(1, 1), vec![listener("production", &[])], &[]);
    let missing =
        |ready: &Result<(), String>| ready.as_ref().is_err_and(|why| why.contains("sandbox is missing"));
    tokio::time::timeout(SOON, first.handle.ready.wait_for(missing)).await.expect("in time").unwrap();
}

#[tokio::test]
async fn a_route_that_is_at_its_last_good_version_and_loses_its_place_is_told_both() {
    let mut world = World::with_local();
    let mut made = vec![listener("production", &[]), origin(&["default"], &["route", "upstream"])];
    made.extend(api("orders"));
    world.advance("production", position(1, 1), made, &[]);
    let local = |upstream: &str| {
        let mut route = route("local", "/orders", &["GET /"]);
        upstream.clone_into(&mut route.upstream);
        route_entry(route)
    };
    let upstream = upstream_entry("local", upstream(&["http://127.0.0.1:9"]));
    world.publishes(position(7, 1), vec![local("upstream/default/local"), upstream], &[]);
    world.publishes(position(7, 2), vec![local("upstream/default/none")], &[]);
    world.stands(1, 2).await;
    let named = world.handle.effective.borrow()[&east()].quarantine.named().to_vec();
    let found = named.iter().find(|found| found.key == "route/default/local").unwrap();
    assert_eq!(found.field, "upstream");
    assert!(
        found.reason.ends_with("; any host/orders is served by route/default/orders"),
        "{}",
        found.reason
    );
}

#[test]
fn a_wait_for_local_scopes_begins_once_and_again_when_others_are_missing() {
    let now = Instant::now();
    let until = waited_until(None, Missing::Local, now);
    assert_eq!(until, Some(now + LOCAL_WITHIN));
    assert_eq!(waited_until(until, Missing::Local, now + LOCAL_WITHIN), until);
    assert_eq!(waited_until(until, Missing::Scope, now), None);
    assert_eq!(waited_until(until, Missing::Nothing, now), None);
}

/// Changes that keep coming do not make the wait longer.
#[tokio::test]
async fn a_damaged_local_scope_holds_up_no_readiness_while_changes_keep_coming() {
    let world = World::with_local();
    world.advance(
        "production",
        position(1, 1),
        vec![listener("production", &[]), origin(&["acme"], &["route"])],
        &[],
    );
    let started = Instant::now();
    for revision in 2.. {
        world.advance("production", position(1, revision), api("orders"), &[]);
        tokio::task::yield_now().await;
        if world.handle.ready.borrow().is_ok() {
            break;
        }
        assert!(started.elapsed() < LOCAL_WITHIN + SOON, "the wait has an end");
    }
    assert!(started.elapsed() > LOCAL_WITHIN / 2, "it was waited for");
}
