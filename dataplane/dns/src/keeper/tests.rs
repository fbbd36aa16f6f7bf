use std::time::Duration;

use hanse_dns_wire::absolute;
use hanse_process::{Metrics, ShutdownTrigger};
use hanse_proto::runtime;
use hanse_topology::{Lineage, Name};
use sha2::{Digest as _, Sha256};
use tokio::{task::JoinHandle, time::timeout};

use super::*;
use crate::{
    testbed::{host, host_entry, zone, zone_entry},
    zones::Found,
};

/// Generous: the machine may be busy.
const SOON: Duration = Duration::from_secs(30);
/// How long a version is served with until it is proven: without one that is proven nothing is held back.
const PROVEN: Duration = Duration::from_millis(20);
/// A host of this name ends what compiles it, unless that version is held back.
const DEADLY: &str = "host/deadly";

/// Panics where the content has what is deadly.
pub(super) fn fault(all: &[(Key, Bytes)], held_back: &HeldBack) {
    let is_held = |key: &Key, bytes: &Bytes| {
        held_back.poisoned.get(key).is_some_and(|hash| Sha256::digest(bytes)[..] == *hash)
    };
    let deadly = all.iter().find(|(key, bytes)| &**key == DEADLY && !is_held(key, bytes));
    assert!(deadly.is_none(), "a host ends what compiles it");
}

struct Bench {
    scope: ScopeId,
    replicas: Replicas,
    kept: KeeperHandle,
    metrics: Arc<DnsMetrics>,
    shown: Metrics,
    task: JoinHandle<()>,
    _trigger: ShutdownTrigger,
}

impl Bench {
    fn start() -> Self {
        let scope = ScopeId::Dns { region: Name::new("eu-west").unwrap() };
        let replicas = Replicas::remembering(Default::default());
        let metrics = Arc::new(DnsMetrics::new(1));
        let proven = ProvenVersions::unkept(PROVEN);
        let shown = Metrics::new();
        shown.register(|registry| proven.register(registry));
        let (mut keeper, kept) = ZoneKeeper::new(
            scope.clone(),
            replicas.clone(),
            proven,
            Pulse::new(),
            metrics.clone(),
            Arc::default(),
        );
        let (trigger, shutdown) = ShutdownTrigger::new();
        let task = tokio::spawn(async move {
            keeper.prepare().await;
            keeper.run(shutdown).await;
        });
        Self { scope, replicas, kept, metrics, shown, task, _trigger: trigger }
    }

    fn publish(&self, revision: u64, upserts: Vec<(Key, Bytes)>, removals: Vec<Key>) {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let to = Position { lineage, revision };
        self.replicas.update(&self.scope, |replica| replica.advance(to, upserts, removals)).unwrap();
    }

    /// Waits until this revision is in use. What of it is not in force as received.
    async fn uses(&self, revision: u64) -> Vec<String> {
        let mut effective = self.kept.effective.clone();
        let reached = effective.wait_for(|in_use| {
            in_use.get(&self.scope).is_some_and(|in_use| in_use.position.revision >= revision)
        });
        let in_use = timeout(SOON, reached).await.unwrap().unwrap()[&self.scope].clone();
        in_use.quarantine.named().iter().map(|quarantined| quarantined.key.clone()).collect()
    }

    /// The address of a host; `None`: it is not answered.
    fn address(&self, name: &str) -> Option<String> {
        let zones = self.kept.zones.load_full()?;
        match zones.find(&absolute(name).unwrap()) {
            Found::Here(_, node) => {
                let host = node.host.as_ref()?;
                Some(host.model.candidates[0].addresses[0].to_string())
            }
            Found::Elsewhere | Found::Nowhere(_) => None,
        }
    }
}

fn orders(address: &str) -> (Key, Bytes) {
    host_entry(host("orders.gslb.example.com", &[("eu-west", &[address])]))
}

const ORDERS: &str = "orders.gslb.example.com";

#[tokio::test]
async fn zones_follow_the_scope_and_go_with_it() {
    let bench = Bench::start();
    assert!(bench.kept.zones.load().is_none(), "there never was a configuration");
    let why = bench.kept.ready.borrow().clone().unwrap_err();
    assert!(why.contains("dns/eu-west is missing"), "{why}");

    bench.publish(1, vec![zone_entry(zone("gslb.example.com")), orders("192.0.2.1")], vec![]);
    assert!(bench.uses(1).await.is_empty());
    assert_eq!(bench.address(ORDERS).as_deref(), Some("192.0.2.1"));
    assert_eq!(*bench.kept.ready.borrow(), Ok(()));
    let before = bench.kept.zones.load_full().unwrap();
    bench.publish(2, vec![], vec![]);
    bench.uses(2).await;
    assert!(Arc::ptr_eq(&before, &bench.kept.zones.load_full().unwrap()), "only the position moved");
    bench.publish(3, vec![orders("192.0.2.2")], vec![]);
    bench.uses(3).await;
    assert_eq!(bench.address(ORDERS).as_deref(), Some("192.0.2.2"));

    bench.replicas.remove(&bench.scope);
    let mut ready = bench.kept.ready.clone();
    timeout(SOON, ready.wait_for(Result::is_err)).await.unwrap().unwrap();
    assert!(bench.address(ORDERS).is_none());
    assert!(bench.kept.zones.load().is_some(), "there was a configuration: names are refused");

    bench.publish(4, vec![zone_entry(zone("gslb.example.com")), orders("192.0.2.4")], vec![]);
    timeout(SOON, ready.wait_for(Result::is_ok)).await.unwrap().unwrap();
    assert_eq!(bench.address(ORDERS).as_deref(), Some("192.0.2.4"));
}

#[tokio::test]
async fn what_cannot_be_used_is_told_and_its_last_good_version_is_served() {
    let bench = Bench::start();
    let shop = |address| host_entry(host("shop.gslb.example.com", &[("eu-west", &[address])]));
    bench.publish(
        1,
        vec![zone_entry(zone("gslb.example.com")), orders("192.0.2.1"), shop("192.0.2.1")],
        vec![],
    );
    bench.uses(1).await;
    bench.publish(2, vec![("host/orders".into(), Bytes::from_static(b"\xff")), shop("192.0.2.2")], vec![]);
    assert_eq!(bench.uses(2).await, ["host/orders"]);
    assert_eq!(bench.address(ORDERS).as_deref(), Some("192.0.2.1"));
    assert_eq!(bench.address("shop.gslb.example.com").as_deref(), Some("192.0.2.2"));
    let kept = bench.replicas.read(|map| map[&bench.scope].last_good_of("host/orders").cloned());
    assert_eq!(kept, Some(orders("192.0.2.1").1), "for the responders that start later");
    let summary = bench.kept.summary.load_full();
    let page = serde_json::to_value(summary.as_ref().as_ref().unwrap()).unwrap();
    assert_eq!((&page["zones"], &page["hosts"], &page["unusable"]), (&1.into(), &2.into(), &1.into()));
    assert_eq!(
        (&page["served"][0]["serial"], &page["unusableResources"][0]["key"]),
        (&41.into(), &"host/orders".into())
    );
}

#[tokio::test]
async fn without_a_zone_in_force_the_responder_is_not_ready() {
    let bench = Bench::start();
    let bad = runtime::Zone { contact: String::new(), ..zone("gslb.example.com") };
    bench.publish(1, vec![zone_entry(bad.clone()), orders("192.0.2.1")], vec![]);
    bench.uses(1).await;
    let why = bench.kept.ready.borrow().clone().unwrap_err();
    assert!(why.contains("zone/gslb") && why.contains("contact"), "{why}");

    let other = runtime::Zone { name: "other".to_owned(), ..zone("other.example.com") };
    bench.publish(2, vec![zone_entry(other)], vec![]);
    assert_eq!(bench.uses(2).await, ["host/orders", "zone/gslb"]);
    assert_eq!(*bench.kept.ready.borrow(), Ok(()), "a zone in force is enough");
}

#[tokio::test]
async fn what_ends_the_compiler_is_held_back_and_the_rest_is_served() {
    let bench = Bench::start();
    bench.publish(1, vec![zone_entry(zone("gslb.example.com")), orders("192.0.2.1")], vec![]);
    bench.uses(1).await;
    let all_proven = async {
        while !bench.shown.encode().contains("unproven 0\n") {
            tokio::time::sleep(PROVEN).await;
        }
    };
    timeout(SOON, all_proven).await.unwrap();
    let deadly = host_entry(host("deadly.gslb.example.com", &[("eu-west", &["192.0.2.9"])]));
    bench.publish(2, vec![deadly, orders("192.0.2.2")], vec![]);
    bench.uses(2).await;
    assert_eq!(bench.metrics.following.load(Ordering::Relaxed), 1);
    assert!(bench.address("deadly.gslb.example.com").is_none());
    assert!(bench.address(ORDERS).is_some());
    assert!(!bench.task.is_finished());
}
