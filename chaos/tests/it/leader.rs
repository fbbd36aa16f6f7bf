//! The leader is lost in the middle of a stream of writes: killed, then frozen.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{
    Client, Role, World, WorldOptions,
    load::{Load, LoadOptions},
    process::until,
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{open_api, say};

/// Several at once, so that a batch is under way whenever the leader goes.
const WRITERS: usize = 8;
/// One write may take an election (about 2 s); what takes longer is given up and not counted as acknowledged.
const WRITE_WITHIN: Duration = Duration::from_secs(4);
/// Writes go on after an election; a loaded machine gets more.
const RESUMED_WITHIN: Duration = Duration::from_secs(30);
/// Acknowledged writes before the fault, and again after it: enough that the fault falls into the stream.
const ACKNOWLEDGED: usize = 200;

/// Names whose write was acknowledged, and at which revision.
#[derive(Clone, Default)]
struct Acknowledged(Arc<Mutex<BTreeMap<String, u64>>>);

impl Acknowledged {
    fn note(&self, name: String, revision: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, revision);
    }

    fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// What writers write to, and as whom.
#[derive(Clone)]
pub(crate) struct ControlPlane {
    client: Client,
    servers: Vec<String>,
    bearer: String,
}

impl ControlPlane {
    pub(crate) fn of(world: &World) -> Result<Self> {
        let servers =
            world.of_role(Role::Server).iter().map(|name| world.url(name)).collect::<Result<_>>()?;
        let client = Client::new(Some(&world.dir().join("ca.crt")))?;
        Ok(Self { client, servers, bearer: format!("Bearer {}", world.token()?) })
    }

    /// Creates a Plan; its revision, if the server acknowledged it.
    pub(crate) async fn create(&self, server: usize, name: &str) -> Option<u64> {
        let url = format!("{}/v1/organizations/default/plans/{name}", self.servers[server]);
        let headers = [
            ("authorization", self.bearer.as_str()),
            ("content-type", "application/json"),
            ("if-none-match", "*"),
        ];
        let call = self.client.call("PUT", &url, &headers, r#"{"spec": {}}"#);
        let answer = tokio::time::timeout(WRITE_WITHIN, call).await.ok()?.ok()?;
        if answer.status != 201 {
            return None;
        }
        answer.header("hanse-revision").parse().ok()
    }

    /// Every Plan with its revision as one node has it, once it has reached `revision`.
    async fn plans(&self, server: usize, revision: u64) -> Result<BTreeMap<String, u64>> {
        let mut plans = BTreeMap::new();
        let mut next = None;
        loop {
            let from = next.map(|next: String| format!("&continue={next}")).unwrap_or_default();
            let url = format!(
                "{}/v1/organizations/default/plans?limit=1000&min_revision={revision}{from}",
                self.servers[server]
            );
            let answer = self.client.get(&url, &[("authorization", &self.bearer)]).await?;
            ensure!(answer.status == 200, "{url}: {answer:?}");
            let page = answer.json()?;
            for item in page["items"].as_array().context("items")? {
                let name = item["name"].as_str().context("a name")?.to_owned();
                plans.insert(name, item["revision"].as_u64().context("a revision")?);
            }
            match page["continue"].as_str() {
                Some(more) => next = Some(more.to_owned()),
                None => return Ok(plans),
            }
        }
    }

    /// Every write that was acknowledged at its revision is on every node.
    pub(crate) async fn has_all(&self, acknowledged: &BTreeMap<String, u64>) -> Result<()> {
        let last = acknowledged.values().copied().max().context("writes")?;
        for (server, url) in self.servers.iter().enumerate() {
            let there = self.plans(server, last).await?;
            for (written, revision) in acknowledged {
                let found = there.get(written);
                ensure!(
                    found == Some(revision),
                    "{written} was acknowledged at {revision}; {url} has {found:?}"
                );
            }
        }
        Ok(())
    }
}

/// Writes until told to stop, to another server after each failure.
async fn write(
    plane: ControlPlane,
    writer: usize,
    round: &'static str,
    noted: Acknowledged,
    stop: Arc<AtomicBool>,
    tries: Arc<AtomicU64>,
) {
    let mut server = writer % plane.servers.len();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        tries.fetch_add(1, Ordering::Relaxed);
        let name = format!("{round}-{writer}-{number}");
        match plane.create(server, &name).await {
            Some(revision) => noted.note(name, revision),
            None => server = (server + 1) % plane.servers.len(),
        }
    }
}

/// Writers write, the leader goes, writes resume, the leader returns; then every acknowledged write is on every node.
async fn round(world: &mut World, name: &'static str, frozen: bool) -> Result<()> {
    let plane = ControlPlane::of(world)?;
    let (noted, stop, tries) =
        (Acknowledged::default(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(plane.clone(), writer, name, noted.clone(), stop.clone(), tries.clone()));
    }
    let reached = |count: usize| {
        let noted = noted.clone();
        move || {
            let now = noted.count();
            async move {
                ensure!(now >= count, "{now} of {count} writes are acknowledged");
                Ok(())
            }
        }
    };
    until("writes before the fault", RESUMED_WITHIN, reached(ACKNOWLEDGED)).await?;
    let leader = world.leader().await?;
    if frozen {
        world.freeze(&leader)?
    } else {
        world.kill(&leader)?
    }
    let lost = Instant::now();
    let before = noted.count();
    // Some acknowledgements may still have been on their way: the writes that show resumption come after those.
    until("a write after the fault", RESUMED_WITHIN, reached(before + WRITERS + 1)).await?;
    let gap = lost.elapsed();
    until("writes after the fault", RESUMED_WITHIN, reached(before + ACKNOWLEDGED)).await?;
    let next = world.leader().await?;
    ensure!(next != leader, "{leader} is away and is said to lead");
    if frozen {
        world.thaw(&leader).await?
    } else {
        world.start(&leader).await?
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended?;
    }
    let acknowledged = noted.all();
    plane.has_all(&acknowledged).await?;
    say(format!(
        "{name}: {} of {} writes acknowledged, none lost; writes resumed {:.1} s after {leader} went",
        acknowledged.len(),
        tries.load(Ordering::Relaxed),
        gap.as_secs_f64()
    ));
    Ok(())
}

/// What the gateways' position is said to be, once every gateway is connected.
fn everybody_is_connected(status: &Value) -> Result<()> {
    for region in status["regions"].as_array().context("regions")? {
        for node in ["agents", "gateways"].iter().flat_map(|kind| region[kind].as_array()).flatten() {
            ensure!(node["connected"] == true, "{node} is not connected");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_leader_loses_no_acknowledged_write_and_agents_follow() -> Result<()> {
    let mut world = World::set_up(WorldOptions::default()).await?;
    let upstream = world.url("upstream")?;
    world.operator().apply(&open_api("tick", &upstream, 0))?;
    let gateways = world.of_role(Role::Gateway);
    let targets = gateways.iter().map(|gateway| world.target(gateway, "/tick/now-0", None));
    let options = LoadOptions { per_second: 50, timeout: Duration::from_secs(5) };
    let load = Load::start(targets.collect::<Result<_>>()?, options)?;

    for (number, name, frozen) in [(1, "killed", false), (2, "frozen", true)] {
        round(&mut world, name, frozen).await?;
        // A change made afterwards reaches the gateways, whichever node their agents follow now.
        world.operator().apply(&open_api("tock", &upstream, number))?;
        for gateway in &gateways {
            let url = format!("{}/tock/now-{number}", world.url(gateway)?);
            let answer = world.client().get(&url, &[]).await?;
            ensure!(answer.status == 200, "{gateway} does not serve what was made after {name}: {answer:?}");
        }
    }
    until("agents and gateways connected", Duration::from_secs(20), || async {
        everybody_is_connected(&world.status()?)
    })
    .await?;
    // No gateway was touched: nothing is excused.
    let summary = load.stop()?.verdict(&[])?;
    say(format!("traffic: {summary}"));
    Ok(())
}
