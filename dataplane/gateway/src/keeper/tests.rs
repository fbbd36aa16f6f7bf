mod local;
mod sets;

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use hanse_process::{Metrics, ShutdownTrigger, Supervisor};
use hanse_sync::LastGoodRecord;
use hanse_topology::{Exposure, Lineage};

use bytes::Bytes;

use super::*;
use crate::{
    table::Protocol,
    testbed::{
        DEADLY, EXTERNAL, SOON, closed_listener, internal_listener, listener, route, route_entry, scope,
        upstream, upstream_entry,
    },
};

fn position(generation: u64, revision: u64) -> Position {
    Position { lineage: Lineage { generation, id: [generation as u8; 16], parent: None }, revision }
}

fn api(name: &str) -> Vec<(Arc<str>, Bytes)> {
    vec![
        route_entry(route(name, &format!("/{name}"), &["GET /"])),
        upstream_entry(name, upstream(&["http://127.0.0.1:9"])),
    ]
}

fn positions(in_use: &BTreeMap<ScopeId, InUse>) -> BTreeMap<ScopeId, Position> {
    in_use.iter().map(|(scope, used)| (scope.clone(), used.position)).collect()
}

struct World {
    replicas: Replicas,
    handle: KeeperHandle,
    metrics: Arc<GatewayMetrics>,
    link: watch::Sender<LinkStatus>,
    /// How often all that is offered was there for the first time.
    noted: Arc<AtomicUsize>,
    supervisor: Supervisor,
    pulse: Pulse,
    _trigger: ShutdownTrigger,
}

impl World {
    /// The agent offers `production`.
    fn start() -> Self {
        Self::offered(&["production"], &[])
    }

    /// As a gateway does, its replicas keep last good versions.
    fn offered(environments: &[&str], wanted: &[&str]) -> Self {
        let replicas = Replicas::remembering(Default::default());
        let wanted = wanted.iter().map(|&name| Name::new(name).unwrap()).collect();
        let (link, status) = watch::channel(LinkStatus::default());
        let metrics = GatewayMetrics::new(1);
        let (keeper, handle) = KeeperSeed::new(replicas.clone(), wanted, EXTERNAL.to_vec(), metrics.clone());
        // Who is served may count on it.
        let (served, noted) = (handle.table.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = noted.clone();
        let keeper = keeper.noting(move || {
            assert!(!served.load().is_configured(Exposure::External), "nothing is served yet");
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let (trigger, shutdown) = ShutdownTrigger::new();
        let supervisor = Supervisor::new(&Metrics::new(), shutdown);
        let pulse = supervisor.pulse("the keeper", HANGS_AFTER);
        let keeper = keeper.beating(pulse.clone()).over(status);
        supervisor.spawn_lasting("keeper", keeper, |keeper, shutdown| Box::pin(keeper.run(shutdown)));
        let world = Self { replicas, handle, metrics, link, noted, supervisor, pulse, _trigger: trigger };
        world.offers(environments);
        world
    }

    fn offers(&self, environments: &[&str]) {
        let offered = environments.iter().map(|name| scope(name)).collect();
        self.link.send_modify(|status| status.offered = offered);
    }

    fn advance(&self, environment: &str, to: Position, upserts: Vec<(Arc<str>, Bytes)>, removals: &[&str]) {
        let removals = removals.iter().map(|&key| key.into()).collect();
        self.replicas.update(&scope(environment), |replica| replica.advance(to, upserts, removals)).unwrap();
    }

    /// Waits until exactly these positions are effective.
    async fn effective(&mut self, wanted: &[(&str, Position)]) {
        let wanted: BTreeMap<ScopeId, Position> =
            wanted.iter().map(|(name, at)| (scope(name), *at)).collect();
        let reached = self.handle.effective.wait_for(|now| positions(now) == wanted);
        tokio::time::timeout(SOON, reached).await.expect("in time").unwrap();
    }

    fn serves(&self, path: &str) -> bool {
        let table = self.handle.table.load();
        let path = crate::table::RequestPath::parse(path).unwrap();
        table
            .environment(Protocol::Http, Exposure::External, "any")
            .is_some_and(|environment| environment.api("any", path.canonical()).is_some())
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_served() {
    let mut world = World::start();
    assert!(world.handle.ready.borrow().is_err());
    assert!(!world.handle.table.load().is_configured(Exposure::External));

    let mut first = vec![listener("production", &[])];
    first.extend(api("orders"));
    world.advance("production", position(1, 5), first, &[]);
    world.effective(&[("production", position(1, 5))]).await;
    assert!(world.serves("/orders") && world.handle.ready.borrow().is_ok());
    assert_eq!(world.noted.load(Ordering::SeqCst), 1, "what it has is a whole");

    world.advance("production", position(1, 6), api("items"), &["route/default/orders"]);
    world.effective(&[("production", position(1, 6))]).await;
    assert!(world.serves("/items") && !world.serves("/orders"));

    // Bookmarks move the position and leave the table alone.
    let table = world.handle.table.load_full();
    world.advance("production", position(1, 9), Vec::new(), &[]);
    world.effective(&[("production", position(1, 9))]).await;
    assert!(Arc::ptr_eq(&table, &world.handle.table.load_full()));
    assert_eq!(world.noted.load(Ordering::SeqCst), 1);
}

/// As a publisher tells what others could use since a revision.
fn told(items: &BTreeMap<Arc<str>, Bytes>, since: u64) -> BTreeMap<Arc<str>, LastGoodRecord> {
    let record = |value: &Bytes| LastGoodRecord { value: Some(value.clone()), since };
    items.iter().map(|(key, value)| (key.clone(), record(value))).collect()
}

/// Others could use a version that came and went while this gateway was away: it uses that too, though all it gets is a delta.
#[tokio::test]
async fn what_others_could_use_is_used_though_it_came_and_went_unseen() {
    let mut world = World::start();
    let mut first = vec![listener("production", &[])];
    first.extend(api("orders"));
    world.advance("production", position(1, 5), first, &[]);
    world.effective(&[("production", position(1, 5))]).await;

    let items: BTreeMap<_, _> = api("items").into_iter().collect();
    let bad = || Bytes::from_static(b"\xff");
    let unusable = items.keys().map(|key| (key.clone(), bad())).collect();
    world.replicas.update(&scope("production"), |replica| {
        replica.advance(position(1, 8), unusable, Vec::new()).unwrap();
        replica.remember_last_good(told(&items, 8));
    });
    world.effective(&[("production", position(1, 8))]).await;
    assert!(world.serves("/items") && world.serves("/orders"));
    let quarantine = world.handle.effective.borrow()[&scope("production")].quarantine.clone();
    assert_eq!(quarantine.total(), 2, "it is told all the same");

    // Mended: the content counts again.
    world.advance("production", position(1, 9), api("items"), &["route/default/orders"]);
    world.effective(&[("production", position(1, 9))]).await;
    assert!(world.serves("/items") && !world.serves("/orders"));
    world.replicas.read(|map| assert_eq!(map[&scope("production")].last_good().count(), 0));
}

/// The agent learnt what others could use only after this gateway had got what it cannot use.
#[tokio::test]
async fn what_others_could_use_is_used_though_the_key_did_not_change() {
    let mut world = World::start();
    let items: BTreeMap<_, _> = api("items").into_iter().collect();
    let mut first = vec![listener("production", &[])];
    first.extend(items.keys().map(|key| (key.clone(), Bytes::from_static(b"\xff"))));
    world.advance("production", position(1, 5), first, &[]);
    world.effective(&[("production", position(1, 5))]).await;
    assert!(!world.serves("/items"));

    world.replicas.update(&scope("production"), |replica| {
        replica.advance(position(1, 6), api("orders"), Vec::new()).unwrap();
        replica.remember_last_good(told(&items, 6));
    });
    world.effective(&[("production", position(1, 6))]).await;
    assert!(world.serves("/items") && world.serves("/orders"));
    let quarantine = world.handle.effective.borrow()[&scope("production")].quarantine.clone();
    assert_eq!(quarantine.total(), 2, "what came is unusable all the same");
}

/// While a version is compiled that turns out good, the next comes, which is bad; by itself, or with another history.
#[tokio::test]
async fn a_version_in_force_is_never_given_up_for_an_older_one() {
    for next in [position(1, 7), position(2, 3)] {
        let mut world = World::start();
        let route_to = |context: &str| route_entry(route("orders", context, &["GET /"]));
        let mut first = vec![listener("production", &[]), route_to("/one")];
        first.push(upstream_entry("orders", upstream(&["http://127.0.0.1:9"])));
        world.advance("production", position(1, 5), first, &[]);
        world.effective(&[("production", position(1, 5))]).await;

        let (key, second) = route_to("/two");
        let (replicas, bad) = (world.replicas.clone(), (key.clone(), Bytes::from_static(b"\xff")));
        let happens = move || {
            replicas.update(&scope("production"), |replica| {
                let mut content: BTreeMap<_, _> = replica.content().into_iter().collect();
                content.extend([bad]);
                replica.replace(next, content.into_iter().collect()).unwrap();
            });
        };
        let meanwhile = Meanwhile { revision: 6, happens: Box::new(happens) };
        *world.handle.faults.meanwhile.lock().unwrap() = Some(meanwhile);
        world.advance("production", position(1, 6), vec![(key.clone(), second.clone())], &[]);
        world.effective(&[("production", next)]).await;
        assert!(world.serves("/two") && !world.serves("/one"), "{next}");
        let last_good = world.replicas.read(|map| map[&scope("production")].last_good_of(&key).cloned());
        assert_eq!(last_good, Some(second), "others are to use it too, and this one after a restart");
    }
}

#[tokio::test]
async fn another_lineage_replaces_everything() {
    let mut world = World::start();
    let mut first = vec![listener("production", &[])];
    first.extend(api("orders"));
    world.advance("production", position(1, 50), first, &[]);
    world.effective(&[("production", position(1, 50))]).await;
    let mut second = vec![listener("production", &[])];
    second.extend(api("items"));
    world.replicas.update(&scope("production"), |replica| replica.replace(position(2, 7), second)).unwrap();
    world.effective(&[("production", position(2, 7))]).await;
    assert!(world.serves("/items") && !world.serves("/orders"));
}

#[tokio::test]
async fn an_environment_that_no_entry_serves_is_in_force_and_not_served() {
    let mut world = World::offered(&["inner", "production"], &[]);
    let at = position(1, 5);
    world.advance("production", at, vec![listener("production", &[])], &[]);
    world.advance("inner", at, vec![internal_listener("inner", &["inner.example"])], &[]);
    world.effective(&[("inner", at), ("production", at)]).await;
    assert!(world.handle.ready.borrow().is_ok(), "the others are served");
    let why = || {
        let summary = serde_json::to_value(&**world.handle.summary.load()).unwrap();
        [summary[0]["notServed"].clone(), summary[1]["notServed"].clone()]
    };
    let needs = "it needs an internal entry under [listen], for http or https";
    assert_eq!(why(), [needs.into(), serde_json::Value::Null]);
    assert_eq!(*world.handle.served.borrow(), [scope("production")].into());

    let next = position(1, 6);
    world.advance("inner", next, vec![listener("inner", &["inner.example"])], &[]);
    world.effective(&[("inner", next), ("production", at)]).await;
    let summary = serde_json::to_value(&**world.handle.summary.load()).unwrap();
    assert!(summary[0].get("notServed").is_none(), "{summary}");
    assert_eq!(*world.handle.served.borrow(), [scope("inner"), scope("production")].into());
}

#[tokio::test]
async fn scopes_come_and_go() {
    let mut world = World::offered(&["production", "sandbox"], &[]);
    let (production, sandbox) = (position(1, 5), position(1, 6));
    world.advance("production", production, vec![listener("production", &[])], &[]);
    world.advance("sandbox", sandbox, vec![listener("sandbox", &["sandbox.localhost"])], &[]);
    world.effective(&[("production", production), ("sandbox", sandbox)]).await;
    let summary = serde_json::to_value(&**world.handle.summary.load()).unwrap();
    assert_eq!(summary[1]["scope"], "runtime/eu-west/sandbox");
    assert_eq!((&summary[1]["revision"], &summary[1]["resources"]), (&6.into(), &1.into()));
    world.replicas.remove(&scope("production"));
    world.effective(&[("sandbox", sandbox)]).await;
    world.replicas.remove(&scope("sandbox"));
    world.effective(&[]).await;
    assert!(world.handle.ready.borrow().is_err());
}

#[tokio::test]
async fn people_and_the_control_plane_are_shown_the_same_unusable_resources() {
    const BAD: usize = 1_000;
    let mut world = World::start();
    let mut content = vec![listener("production", &[])];
    content.extend((0..BAD).map(|bad| (format!("plan/default/{bad}").into(), Bytes::from_static(b"\xff"))));
    world.advance("production", position(1, 5), content, &[]);
    world.effective(&[("production", position(1, 5))]).await;
    let summary = serde_json::to_value(&**world.handle.summary.load()).unwrap();
    let effective = world.handle.effective.borrow();
    let reported = &effective[&scope("production")].quarantine;
    assert_eq!((&summary[0]["unusable"], reported.total()), (&BAD.into(), BAD as u64));
    let shown = summary[0]["unusableResources"].as_array().unwrap();
    let shown: Vec<&str> = shown.iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert!(!shown.is_empty());
    assert_eq!(shown, reported.named().iter().map(|one| one.key.as_str()).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_changes_come_to_one_and_old_tables_are_freed_here() {
    let mut world = World::start();
    world.advance("production", position(1, 1), vec![listener("production", &[])], &[]);
    world.effective(&[("production", position(1, 1))]).await;
    let held = world.handle.table.load_full();
    let weak = Arc::downgrade(&held);
    for revision in 2..=300 {
        world.advance("production", position(1, revision), api(&format!("api-{}", revision % 7)), &[]);
    }
    world.effective(&[("production", position(1, 300))]).await;
    assert!((0..7).all(|number| world.serves(&format!("/api-{number}"))));
    assert_eq!(world.metrics.apis().len(), 7);
    assert_eq!(world.metrics.lost_log_lines.load(Ordering::Relaxed), 0);
    // The old table stays while a reader holds it. Then the keeper frees it, not the reader.
    assert!(weak.upgrade().is_some());
    drop(held);
    let begun = Instant::now();
    while weak.strong_count() > 0 {
        assert!(begun.elapsed() < SOON, "never freed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn nothing_is_served_before_every_offered_scope_is_there() {
    let mut world = World::offered(&[], &[]);
    world.advance("production", position(1, 5), vec![listener("production", &[])], &[]);
    world.offers(&["production", "sandbox"]);
    let missing =
        |ready: &Result<(), String>| ready.as_ref().is_err_and(|why| why.contains("sandbox is missing"));
    tokio::time::timeout(SOON, world.handle.ready.wait_for(missing)).await.unwrap().unwrap();
    assert!(!world.handle.table.load().is_configured(Exposure::External));
    assert!(world.handle.effective.borrow().is_empty());

    world.advance("sandbox", position(1, 6), vec![listener("sandbox", &["sandbox.localhost"])], &[]);
    world.effective(&[("production", position(1, 5)), ("sandbox", position(1, 6))]).await;
    assert!(
        world.handle.ready.borrow().is_ok() && world.handle.table.load().is_configured(Exposure::External)
    );
    // Later ones are added when they are there, and hold up nothing.
    world.offers(&["production", "sandbox", "staging"]);
    world.advance("production", position(1, 7), api("orders"), &[]);
    world.effective(&[("production", position(1, 7)), ("sandbox", position(1, 6))]).await;
    assert!(world.serves("/orders") && world.handle.ready.borrow().is_ok());
}

#[tokio::test]
async fn scopes_that_are_not_wanted_are_not_waited_for() {
    let mut world = World::offered(&["production", "sandbox"], &["production"]);
    world.advance("production", position(1, 5), vec![listener("production", &[])], &[]);
    world.effective(&[("production", position(1, 5))]).await;
}

#[tokio::test]
async fn a_panic_costs_one_attempt_and_two_are_told() {
    let mut world = World::start();
    world.handle.faults.panics.store(1, Ordering::SeqCst);
    let mut content = vec![listener("production", &[])];
    content.extend(api("orders"));
    world.advance("production", position(1, 5), content, &[]);
    world.effective(&[("production", position(1, 5))]).await;
    assert!(world.serves("/orders") && world.metrics.following.load(Ordering::Relaxed));

    world.handle.faults.panics.store(2, Ordering::SeqCst);
    world.advance("production", position(1, 6), api("items"), &[]);
    let begun = Instant::now();
    while world.metrics.following.load(Ordering::Relaxed) {
        assert!(begun.elapsed() < SOON, "never told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(world.serves("/orders") && !world.serves("/items"));
    assert_eq!(positions(&world.handle.effective.borrow()), [(scope("production"), position(1, 5))].into());
    // Then it is tried again.
    tokio::time::pause();
    tokio::time::advance(RETRY).await;
    tokio::time::resume();
    world.effective(&[("production", position(1, 6))]).await;
    assert!(world.serves("/orders") && world.serves("/items"));
}

#[tokio::test]
async fn an_egress_is_in_force_with_its_table_and_not_before() {
    let mut world = World::start();
    let mut content = vec![listener("production", &[])];
    content.extend(api("orders"));
    world.advance("production", position(1, 5), content, &[]);
    world.effective(&[("production", position(1, 5))]).await;
    let egress = world.handle.endpoints.egress(scope("production").environment());
    let (address, generation) = ("127.0.0.1:9".parse().unwrap(), egress.generation());
    assert_eq!(egress.judge(address), Ok(()));
    // The address that was in use is denied together with a move of the upstream, which cannot be compiled.
    let moved = |url: &str| {
        vec![closed_listener("production", &["127.0.0.1/32"]), upstream_entry("orders", upstream(&[url]))]
    };
    let deadly = moved(&format!("http://127.0.0.2:9{DEADLY}panic"));
    world.advance("production", position(1, 6), deadly, &[]);
    let begun = Instant::now();
    while world.metrics.following.load(Ordering::Relaxed) {
        assert!(begun.elapsed() < SOON, "never told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((egress.judge(address), egress.generation()), (Ok(()), generation), "as the table");
    world.advance("production", position(1, 7), moved("http://127.0.0.2:9"), &[]);
    tokio::time::pause();
    tokio::time::advance(RETRY).await;
    tokio::time::resume();
    world.effective(&[("production", position(1, 7))]).await;
    assert!(egress.judge(address).is_err());
}

#[tokio::test]
async fn a_keeper_that_hangs_gives_no_proof_of_life_and_one_that_waits_does() {
    let mut world = World::start();
    world.advance("production", position(1, 5), vec![listener("production", &[])], &[]);
    world.effective(&[("production", position(1, 5))]).await;
    let pass = async |time| {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    };
    for _ in 0..10 {
        pass(HANGS_AFTER / 2).await;
        let begun = Instant::now();
        while world.pulse.age() > HANGS_AFTER / 4 {
            assert!(begun.elapsed() < SOON, "it turns without news");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(world.supervisor.proof(), Ok(()));
    }
    let (release, hangs) = std::sync::mpsc::channel::<()>();
    let (reached, is_reached) = tokio::sync::oneshot::channel();
    let happens = Box::new(move || {
        let _ = reached.send(());
        let _ = hangs.recv();
    });
    *world.handle.faults.meanwhile.lock().unwrap() = Some(Meanwhile { revision: 6, happens });
    world.advance("production", position(1, 6), api("items"), &[]);
    tokio::time::timeout(SOON, is_reached).await.unwrap().unwrap();
    assert_eq!(world.supervisor.proof(), Ok(()), "compiling takes its time");
    pass(HANGS_AFTER + Duration::from_secs(1)).await;
    assert_eq!(world.supervisor.proof().unwrap_err().to_string(), "the keeper hangs");
    drop(release);
    let begun = Instant::now();
    while world.supervisor.proof().is_err() {
        assert!(begun.elapsed() < SOON, "it turns again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is to go wrong in steps, when they have read and not yet compiled.
#[derive(Default)]
pub(super) struct Faults {
    /// So many panic.
    panics: AtomicUsize,
    meanwhile: Mutex<Option<Meanwhile>>,
    /// The task itself has panicked for [`PANICS_THE_TASK`].
    has_ended: AtomicBool,
}

/// Content with this key ends the task that keeps the table, once.
pub(crate) const PANICS_THE_TASK: &str = "route/default/panics-the-task";

/// Happens in the step that reads the revision.
struct Meanwhile {
    revision: u64,
    happens: Box<dyn FnOnce() + Send>,
}

impl Published {
    pub(super) fn fault_of_task(&self, replicas: &Replicas) {
        let ends = replicas.read(|map| map.values().any(|replica| replica.get(PANICS_THE_TASK).is_some()));
        assert!(!ends || self.faults.has_ended.swap(true, Ordering::SeqCst), "a fault on purpose");
    }

    pub(super) fn fault(&self, news: &[News]) {
        let left = |faults: usize| faults.checked_sub(1);
        let panics = &self.faults.panics;
        assert!(panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_err(), "a fault on purpose");
        let is_read = |it: &mut Meanwhile| news.iter().any(|news| news.position.revision == it.revision);
        let meanwhile = self.faults.meanwhile.lock().unwrap().take_if(is_read);
        if let Some(meanwhile) = meanwhile {
            (meanwhile.happens)();
        }
    }
}
