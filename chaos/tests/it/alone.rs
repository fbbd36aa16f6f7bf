//! Gateways and an agent without those above them: what each has on its own disk is enough.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Client, Federation};
use tokio::task::JoinHandle;

use crate::eventually;

/// Between two calls of one caller.
const CALL_EVERY: Duration = Duration::from_millis(10);
/// For all that must happen soon.
const SOON: Duration = Duration::from_secs(20);

/// Calls one gateway all the time it is up, and remembers what went wrong.
struct Caller {
    up: Arc<AtomicBool>,
    /// Held during a call.
    turn: Arc<tokio::sync::Mutex<()>>,
    calls: Arc<AtomicUsize>,
    wrong: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Caller {
    fn start(url: String, key: String) -> Result<Self> {
        let (up, turn) = (Arc::new(AtomicBool::new(true)), Arc::new(tokio::sync::Mutex::new(())));
        let (calls, wrong) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let mine = (up.clone(), turn.clone(), calls.clone(), wrong.clone());
        // Connections of its own to each life of the gateway: a call on one to a dead process tells nothing.
        let mut client = Client::new(None)?;
        let task = tokio::spawn(async move {
            let (up, turn, calls, wrong) = mine;
            loop {
                let turn = turn.lock().await;
                if up.load(Ordering::SeqCst) {
                    let said = match client.get(&url, &[("x-api-key", &key)]).await {
                        Ok(answer) if answer.status == 200 => None,
                        Ok(answer) => Some(format!("{} {:?}", answer.status, answer.body)),
                        Err(error) => Some(format!("{error:#}")),
                    };
                    calls.fetch_add(1, Ordering::SeqCst);
                    wrong.lock().expect("no panic").extend(said);
                } else if let Ok(fresh) = Client::new(None) {
                    client = fresh;
                }
                drop(turn);
                tokio::time::sleep(CALL_EVERY).await;
            }
        });
        Ok(Self { up, turn, calls, wrong, task })
    }

    /// No call is under way and none begins until the gateway is up again.
    async fn pause(&self) {
        let _turn = self.turn.lock().await;
        self.up.store(false, Ordering::SeqCst);
    }

    fn resume(&self) {
        self.up.store(true, Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Says how many calls there were; fails if any of them did.
    fn end(self) -> Result<usize> {
        self.task.abort();
        let wrong = self.wrong.lock().expect("no panic").clone();
        ensure!(wrong.is_empty(), "{} of {} calls went wrong: {wrong:?}", wrong.len(), self.calls());
        Ok(self.calls())
    }
}

/// A federation in which `tick` is served to callers that have a key.
struct World {
    federation: Federation,
    client: Client,
}

impl World {
    fn start() -> Result<Self> {
        let federation = Federation::start(&["--control-nodes", "3", "--regions", "1"])?;
        let world = Self { federation, client: Client::new(None)? };
        world.federation.apply(&world.manifests(&["/now", "/later"], "1")?)?;
        Ok(world)
    }

    /// Publishes `tick` with these paths.
    fn manifests(&self, paths: &[&str], version: &str) -> Result<String> {
        let upstream = self.federation.process("upstream")?.http.context("it has an address")?;
        let operations: Vec<_> = paths.iter().map(|path| format!("{{method: GET, path: {path}}}")).collect();
        Ok(format!(
            "kind: Api\nname: tick\nspec: {{context: /tick, version: \"{version}\", operations: [{}], security: {{apiKey: {{header: X-API-Key}}}}}}\n---\n\
             kind: Upstream\nname: tick\nspec: {{endpoints: [{{url: \"{upstream}\"}}]}}\n---\n\
             kind: Binding\nname: tick\nspec: {{api: tick, environment: production, upstream: tick}}\n",
            operations.join(", ")
        ))
    }

    fn key(&self, application: &str) -> Result<String> {
        let plan = ["--plan", "unlimited", "--wait=30s"];
        let printed =
            self.federation.ok(&[&["subscribe", "tick", "--application", application], &plan[..]].concat())?;
        Ok(printed.trim().to_owned())
    }

    fn dev(&self, arguments: &[&str]) -> Result<String> {
        let data = self.federation.data_dir();
        let data = data.to_str().context("a plain path")?;
        self.federation.ok(&[&["dev"], arguments, &["--data-dir", data]].concat())
    }

    fn address(&self, gateway: &str) -> Result<String> {
        self.federation.process(gateway)?.http.context("a gateway has an address")
    }

    /// Kills a gateway and starts it again while others are called.
    async fn restart(&self, gateway: &str, caller: &Caller) -> Result<()> {
        caller.pause().await;
        self.dev(&["kill", gateway])?;
        self.dev(&["start", gateway])?;
        caller.resume();
        let before = caller.calls();
        self.until(&format!("{gateway} is called again"), || caller.calls() > before + 5).await
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) -> Result<()> {
        let begun = std::time::Instant::now();
        while !condition() {
            ensure!(begun.elapsed() < SOON, "never: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Calls on a connection of its own: a kept one may be to an earlier process.
    async fn status(&self, gateway: &str, path: &str, key: &str) -> Result<u16> {
        let url = format!("{}{path}", self.address(gateway)?);
        Ok(Client::new(None)?.get(&url, &[("x-api-key", key)]).await?.status.as_u16())
    }

    /// Waits until what a gateway serves is on its disk.
    async fn is_stored(&self, gateway: &str) -> Result<()> {
        let admin = self.federation.process(gateway)?.admin.context("it has an admin port")?;
        eventually(&self.client, &format!("{admin}/config"), &[], SOON, |answer| {
            let Ok(page) = answer.json() else { return false };
            let scopes = page["scopes"].as_array().cloned().unwrap_or_default();
            let stored = |scope: &serde_json::Value| {
                scope["scope"].as_str().is_some_and(|name| page["stored"][name] == scope["revision"])
            };
            !scopes.is_empty() && scopes.iter().all(stored)
        })
        .await?;
        Ok(())
    }
}

// Callers go on while commands of `hanse` are waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_above_may_die_and_everything_restarts_alone() -> Result<()> {
    let world = World::start()?;
    let gateway = "gateway-eu-west";
    let other = world.dev(&["add", "gateway", "--region", "eu-west"])?.trim().to_owned();
    let (used, unused) = (world.key("used")?, world.key("unused")?);
    for name in [gateway, &other] {
        world.is_stored(name).await?;
    }
    let call = |name: &str| Caller::start(format!("{}/tick/now", world.address(name)?), used.clone());
    let (caller, steady) = (call(gateway)?, call(&other)?);

    for node in ["cp-1", "cp-2", "cp-3"] {
        world.dev(&["kill", node])?;
    }
    world.restart(gateway, &caller).await?;

    world.dev(&["kill", "agent-eu-west"])?;
    world.restart(gateway, &caller).await?;
    assert_eq!(world.status(gateway, "/tick/later", &unused).await?, 200, "a key that was never used before");
    assert_eq!(world.status(gateway, "/tick/later", "hk_wrong").await?, 401);

    // The agent comes back to a dead control plane, and lets a new gateway in.
    world.dev(&["start", "agent-eu-west"])?;
    let new = world.dev(&["add", "gateway", "--region", "eu-west"])?.trim().to_owned();
    assert_eq!(world.status(&new, "/tick/now", &unused).await?, 200, "{new} got it from the agent's disk");

    // A gateway is down when the control plane returns and something is removed.
    world.dev(&["kill", &new])?;
    for node in ["cp-1", "cp-2", "cp-3"] {
        world.dev(&["start", node])?;
    }
    // Not to be waited for: one gateway that should serve it is down.
    let applied =
        world.federation.cli_with_input(&["apply", "-f", "-"], &world.manifests(&["/now"], "2")?)?;
    ensure!(applied.code == 0, "{applied:?}");
    world.dev(&["start", &new])?;
    for name in [gateway, &other, &new] {
        let url = format!("{}/tick/later", world.address(name)?);
        eventually(&world.client, &url, &[("x-api-key", &used)], SOON, |answer| answer.status == 404).await?;
    }
    let (calls, steady) = (caller.end()?, steady.end()?);
    ensure!(calls > 50 && steady > 50, "{calls} and {steady} calls");
    Ok(())
}

#[tokio::test]
async fn a_damaged_store_is_fetched_again() -> Result<()> {
    let world = World::start()?;
    let gateway = "gateway-eu-west";
    let key = world.key("used")?;
    world.is_stored(gateway).await?;
    for damage in ["truncated", "flipped"] {
        world.dev(&["kill", gateway])?;
        let dir = world.federation.data_dir().join("nodes").join(gateway).join("data").join("store");
        let mut content = std::fs::read(dir.join("store.redb"))?;
        match damage {
            "truncated" => content.truncate(content.len() / 3),
            _ => content.iter_mut().step_by(1_000).for_each(|byte| *byte ^= 1),
        }
        std::fs::write(dir.join("store.redb"), content)?;
        world.dev(&["start", gateway])?;
        assert_eq!(world.status(gateway, "/tick/now", &key).await?, 200, "{damage}");
        let aside = std::fs::read_dir(&dir)?.flatten();
        let aside = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("damaged-"));
        assert!(aside.count() > 0, "the {damage} file is kept aside");
        let admin = world.federation.process(gateway)?.admin.context("it has an admin port")?;
        let metrics = Client::new(None)?.get(&format!("{admin}/metrics"), &[]).await?;
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        assert!(metrics.contains("hanse_store_damaged_total{what=\"file\"} 1"), "{damage}: {metrics}");
        world.is_stored(gateway).await?;
    }
    Ok(())
}
