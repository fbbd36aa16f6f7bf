//! Two releases in one federation: rolled node by node under writes and traffic, in both orders, and back before an operator
//! finalizes. The later one is the test release ([`next_binary`]).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{
    Answer, Cli, Client, Operator, World, WorldOptions, binary,
    load::{Load, LoadOptions},
    process::{next_binary, until},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    damaged_log::{admin, takes_no_part},
    leader::ControlPlane,
    open_api,
    outage::under_load,
    say,
};

/// For a new state of things to be seen everywhere: elections, reconnects of at most 5 s, reports, a loaded machine with dev builds.
const SEEN_WITHIN: Duration = Duration::from_secs(40);
/// Between two writes: a stream that an election interrupts, and no load test.
const WRITE_EVERY: Duration = Duration::from_millis(60);
/// Requests a second over both gateways; every one is judged.
const PER_SECOND: u32 = 40;
/// What a caller waits.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The release that version 2 came with.
const LATER: &str = "0.2.0";
/// More writes than there are entries between two snapshots of the test release.
const PAST_A_SNAPSHOT: usize = 60;

/// A resource of the kind that the later release brings.
const MEMO: &str = "/v1/organizations/default/memos/hello";

const SERVERS: [&str; 3] = ["cp-1", "cp-2", "cp-3"];
const GATEWAYS: [&str; 2] = ["gateway-eu-west", "gateway-us-east"];
/// In one region the agent first, in the other the gateway.
const DATA_PLANES: [&str; 4] = ["agent-eu-west", "gateway-eu-west", "gateway-us-east", "agent-us-east"];

/// One write after the other, as a script of an operator does it, until it is stopped.
struct Writes {
    stop: Arc<AtomicBool>,
    task: JoinHandle<BTreeMap<String, u64>>,
}

impl Writes {
    /// Each round writes names of its own. A write that fails is tried at the next control node.
    fn start(plane: ControlPlane, round: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut acknowledged, mut server) = (BTreeMap::new(), 0);
            let mut ticks = tokio::time::interval(WRITE_EVERY);
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                ticks.tick().await;
                let name = format!("{round}-{number}");
                match plane.create(server, &name).await {
                    Some(revision) => drop(acknowledged.insert(name, revision)),
                    None => server = (server + 1) % SERVERS.len(),
                }
            }
            acknowledged
        });
        Self { stop, task }
    }

    /// What was acknowledged, each with its revision.
    async fn stop(self) -> Result<BTreeMap<String, u64>> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

/// A federation of two releases.
struct Mixed {
    world: World,
    client: Client,
    plain: PathBuf,
    next: PathBuf,
    operator: Operator,
}

impl Mixed {
    async fn set_up(options: WorldOptions) -> Result<Self> {
        let (plain, next) = (binary()?, next_binary()?);
        let world = World::set_up(options).await?;
        let operator = Operator::new(&next, world.operator().config());
        let client = Client::new(Some(&world.ca_file()))?;
        Ok(Self { world, client, plain, next, operator })
    }

    async fn upgrade(&mut self, nodes: &[&str]) -> Result<()> {
        self.replace(nodes, &self.next.clone()).await
    }

    async fn step_back(&mut self, nodes: &[&str]) -> Result<()> {
        self.replace(nodes, &self.plain.clone()).await
    }

    /// Node by node: the next one after this one serves.
    async fn replace(&mut self, nodes: &[&str], binary: &Path) -> Result<()> {
        for node in nodes {
            let replaced = self.world.replace(node, binary).await;
            replaced.with_context(|| format!("{} in place at {node}", binary.display()))?;
        }
        Ok(())
    }

    /// One call to one control node.
    async fn call(&self, node: &str, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let bearer = format!("Bearer {}", self.world.token()?);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.client.call(method, &format!("{}{path}", self.world.url(node)?), &headers, body).await
    }

    /// What one control node says at a path.
    async fn get(&self, node: &str, path: &str) -> Result<Value> {
        let answer = self.call(node, "GET", path, &Value::Null).await?;
        ensure!(answer.status == 200, "{path} of {node}: {answer:?}");
        answer.json()
    }

    /// What the later release brings, each asked for at one control node.
    async fn use_what_is_newer(&self, node: &str) -> Result<Vec<Answer>> {
        let api = json!({"spec": {"context": "/noted", "version": "1", "note": "beware",
            "operations": [{"method": "GET", "path": "/now-1"}]}});
        let asked = [
            (MEMO, json!({"spec": {"text": "hello"}})),
            ("/v1/organizations/default/apis/noted", api),
            ("/v1/motto", json!({"motto": "festina lente"})),
        ];
        let mut answers = Vec::new();
        for (path, body) in asked {
            answers.push(self.call(node, "PUT", path, &body).await?);
        }
        Ok(answers)
    }

    /// Nothing newer is accepted at any control node: one of the later release says why.
    async fn refuses_what_is_newer(&self, later: &[&str]) -> Result<()> {
        self.world.agreed_leader().await?;
        for node in SERVERS {
            let mut answers = self.use_what_is_newer(node).await?;
            answers.push(self.call(node, "DELETE", MEMO, &Value::Null).await?);
            for answer in answers {
                ensure!(answer.status.is_client_error(), "{node} accepted it: {answer:?}");
                if later.contains(&node) {
                    let problem = answer.json()?;
                    ensure!(
                        answer.status == 409 && problem["type"] == "urn:hanse:problem:upgrade",
                        "{problem}"
                    );
                    let text = problem.to_string();
                    ensure!(text.contains(LATER) && text.contains("hanse upgrade finalize"), "{problem}");
                }
            }
        }
        Ok(())
    }

    /// `upgrade check` names these and no others, and `finalize` is refused.
    async fn is_blocked_by(&self, nodes: &[&str], why: &str) -> Result<()> {
        until("the check names what is not ready", SEEN_WITHIN, || async {
            let Cli { code, stderr, .. } = self.operator.run(&["upgrade", "check"], "", &[])?;
            ensure!(code == 5, "the check ended with {code}: {stderr}");
            for node in SERVERS.iter().chain(&GATEWAYS) {
                let named =
                    stderr.lines().any(|line| line.contains(&format!("{node}.")) && line.contains(why));
                ensure!(named == nodes.contains(node), "{node}: {stderr}");
            }
            Ok(())
        })
        .await?;
        let refused = self.operator.run(&["upgrade", "finalize"], "", &[])?;
        ensure!(refused.code != 0 && refused.stderr.contains(why), "{refused:?}");
        ensure!(self.get("cp-1", "/v1/upgrade").await?["version"] == 1);
        Ok(())
    }

    /// `upgrade check` finds no obstacle, and shows that each scope changes.
    async fn is_ready(&self) -> Result<()> {
        until("all are ready for the next version", SEEN_WITHIN, || async {
            let ran = self.operator.run(&["upgrade", "check"], "", &[])?;
            ensure!(ran.code == 0 && ran.stderr.contains("all are ready for version 2"), "{ran:?}");
            for region in ["eu-west", "us-east"] {
                ensure!(ran.stdout.lines().any(|line| line.starts_with(region)), "{}", ran.stdout);
            }
            Ok(())
        })
        .await
    }

    /// These say what only the later release says, and no other node does, as a control node of that release hears it.
    async fn moods_are_of(&self, nodes: &[&str]) -> Result<()> {
        until("the new fact goes up", SEEN_WITHIN, || async {
            let answer = self.get("cp-1", "/v1/motto").await?;
            let moods = answer["moods"].as_object().context("moods")?;
            for name in SERVERS.iter().chain(&DATA_PLANES) {
                let (_, mood) = moods
                    .iter()
                    .find(|(identity, _)| identity.starts_with(&format!("{name}.")))
                    .with_context(|| format!("{name} is not there: {answer}"))?;
                let expected = if nodes.contains(name) { "curious" } else { "" };
                ensure!(mood == expected, "{name}: {answer}");
            }
            Ok(())
        })
        .await
    }

    /// What a gateway answers in the header that the later release adds.
    async fn notes_are(&self, path: &str, note: &str) -> Result<()> {
        for gateway in GATEWAYS {
            let url = format!("{}{path}", self.world.url(gateway)?);
            until(&format!("{gateway} answers with the note {note:?}"), SEEN_WITHIN, || async {
                let answer = self.client.get(&url, &[]).await?;
                ensure!(answer.status == 200 && answer.header("hanse-note") == note, "{answer:?}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    fn snapshot(&self, node: &str) -> PathBuf {
        self.world.data_dir(node).join("raft/snapshots/state.snapshot")
    }

    /// Whether the snapshot of a node is of the later version.
    fn has_later_snapshot(&self, node: &str) -> Result<bool> {
        let snapshot = fs::read(self.snapshot(node))?;
        Ok(snapshot.windows(LATER.len()).any(|bytes| bytes == LATER.as_bytes()))
    }

    /// Waits for a snapshot that was not there yet.
    async fn new_snapshot(&self, node: &str) -> Result<()> {
        let written = || Ok::<_, anyhow::Error>(fs::metadata(self.snapshot(node))?.modified()?);
        let before = written().ok();
        until("a new snapshot", SEEN_WITHIN, || async {
            ensure!(Some(written()?) != before, "{node} has the one from before");
            Ok(())
        })
        .await
    }

    /// The release before stays up on the files of `node`, not ready, and names the later one, which then goes on with them.
    async fn is_too_old_at(&mut self, node: &str) -> Result<()> {
        self.world.replace_only(node, &self.plain.clone())?;
        until("the node names the release", SEEN_WITHIN, || async {
            let (status, text) = admin(&self.world, node, "/readyz").await?;
            ensure!(status == 503 && text.contains(&format!("needs release {LATER}")), "{status} {text}");
            Ok(())
        })
        .await?;
        ensure!(admin(&self.world, node, "/livez").await?.0 == 200, "{node} is not live");
        takes_no_part(&self.world, node).await?;
        self.upgrade(&[node]).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_releases_run_side_by_side_until_an_operator_finalizes() -> Result<()> {
    let mut mixed = Mixed::set_up(WorldOptions::default()).await?;
    let upstream = mixed.world.url("upstream")?;
    mixed.world.operator().apply(&open_api("tick", &upstream, 1))?;
    let targets = GATEWAYS.map(|gateway| mixed.world.target(gateway, "/tick/now-1", None));
    let targets = targets.into_iter().collect::<Result<_>>()?;
    let load = Load::start(targets, LoadOptions { per_second: PER_SECOND, timeout: TIMEOUT })?;
    let plane = ControlPlane::of(&mixed.world)?;
    let writes = Writes::start(plane.clone(), "first");

    // The control plane first.
    mixed.upgrade(&["cp-1"]).await?;
    mixed.is_blocked_by(&["cp-2", "cp-3"], "knows versions up to 1").await?;
    mixed.refuses_what_is_newer(&["cp-1"]).await?;
    mixed.upgrade(&["cp-2", "cp-3"]).await?;
    mixed.is_blocked_by(&GATEWAYS, "does not know the feature \"note\"").await?;
    mixed.refuses_what_is_newer(&SERVERS).await?;
    mixed.moods_are_of(&SERVERS).await?;
    mixed.upgrade(&DATA_PLANES[..3]).await?;
    // One of them by an agent of the release before.
    mixed.moods_are_of(&[&SERVERS[..], &DATA_PLANES[..3]].concat()).await?;
    mixed.upgrade(&DATA_PLANES[3..]).await?;
    mixed.is_ready().await?;
    under_load(&load, &GATEWAYS).await?;

    // All of them back: what the later release wrote is what the release before reads.
    until("each control node has a snapshot of the later release", SEEN_WITHIN, || async {
        for node in SERVERS {
            ensure!(mixed.snapshot(node).exists(), "{node} wrote none");
        }
        Ok(())
    })
    .await?;
    mixed.step_back(&["gateway-us-east", "agent-eu-west", "agent-us-east", "gateway-eu-west"]).await?;
    mixed.step_back(&["cp-3", "cp-1", "cp-2"]).await?;
    under_load(&load, &GATEWAYS).await?;
    let acknowledged = writes.stop().await?;
    plane.has_all(&acknowledged).await?;
    mixed.world.operator().ok(&["wait", "--revision", "latest", "--timeout", "30s"])?;
    say(format!("control plane first, and back: {} writes acknowledged, none lost", acknowledged.len()));

    // The data planes first.
    let writes = Writes::start(plane.clone(), "second");
    mixed.upgrade(&DATA_PLANES).await?;
    mixed.upgrade(&["cp-1"]).await?;
    mixed.moods_are_of(&[&SERVERS[..1], &DATA_PLANES[..]].concat()).await?;
    mixed.is_blocked_by(&["cp-2", "cp-3"], "knows versions up to 1").await?;
    mixed.upgrade(&["cp-2", "cp-3"]).await?;
    mixed.is_ready().await?;
    mixed.refuses_what_is_newer(&SERVERS).await?;
    mixed.notes_are("/tick/now-1", "").await?;

    // The next snapshot of this node is some writes away.
    let leader = mixed.world.agreed_leader().await?;
    let node = SERVERS.into_iter().find(|node| *node != leader).context("a follower")?;
    mixed.new_snapshot(node).await?;
    let acknowledged = writes.stop().await?;
    plane.has_all(&acknowledged).await?;
    say(format!("data planes first: {} writes acknowledged, none lost", acknowledged.len()));
    ensure!(mixed.operator.ok(&["upgrade", "finalize"])?.trim() == "version 2");
    mixed.notes_are("/tick/now-1", "none").await?;
    ensure!(!mixed.has_later_snapshot(node)?, "the log of {node} alone has the version");
    mixed.is_too_old_at(node).await?;

    for answer in mixed.use_what_is_newer(node).await? {
        ensure!(answer.status.is_success(), "{answer:?}");
    }
    // The Api is there already; what it needs is not.
    let noted = open_api("noted", &upstream, 1);
    mixed.operator.apply(noted.split_once("---\n").context("several manifests")?.1)?;
    mixed.notes_are("/noted/now-1", "beware").await?;
    for number in 0..PAST_A_SNAPSHOT {
        plane.create(0, &format!("third-{number}")).await.context("a write")?;
    }
    until("the snapshot is of the later version", SEEN_WITHIN, || async {
        ensure!(mixed.has_later_snapshot(node)?, "{node} has one of version 1");
        Ok(())
    })
    .await?;
    mixed.is_too_old_at(node).await?;
    mixed.moods_are_of(&[&SERVERS[..], &DATA_PLANES[..]].concat()).await?;
    for node in SERVERS {
        ensure!(mixed.get(node, "/v1/motto").await?["motto"] == "festina lente", "{node} has another motto");
        let memo = mixed.get(node, MEMO).await?;
        ensure!(memo["spec"]["text"] == "hello", "{node}: {memo}");
    }
    under_load(&load, &GATEWAYS).await?;
    let ledger = load.stop()?;
    let summary = ledger.verdict(mixed.world.windows())?;
    say(format!("traffic: {summary}; {} failed on connections to the replaced", ledger.failures().count()));
    Ok(())
}

/// The step back is what fails if the later release proposes what came with it before it is finalized.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_stores_newer_things_too_early_is_noticed() -> Result<()> {
    let options = WorldOptions {
        control_nodes: 1,
        regions: Vec::new(),
        seeded_bug: Some("newer-before-finalize".to_owned()),
        ..WorldOptions::default()
    };
    let mut mixed = Mixed::set_up(options).await?;
    mixed.upgrade(&["cp-1"]).await?;
    let memo = json!({"spec": {"text": "hello"}});
    let answer = mixed.call("cp-1", "PUT", MEMO, &memo).await?;
    ensure!(answer.status.is_success(), "the bug is not there: {answer:?}");
    mixed.world.replace_only("cp-1", &mixed.plain.clone())?;
    until("the release before says that it cannot read this", SEEN_WITHIN, || async {
        let log = mixed.world.process("cp-1")?.log();
        ensure!(log.contains("is not a kind") || log.contains("too old"), "{log}");
        Ok(())
    })
    .await?;
    let ready = admin(&mixed.world, "cp-1", "/readyz").await;
    ensure!(!matches!(ready, Ok((200, _))), "it serves");
    Ok(())
}
