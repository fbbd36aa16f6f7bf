//! Resources that end the gateway that compiles them, met by real processes.

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use hanse_link::UNCLEAN_ENDS;
use nix::sys::resource::{Resource, setrlimit};

use super::*;
use crate::testbed::DEADLY;

/// The variable that names the configuration of the gateway that this test's executable is to be.
const CONFIG: &str = "HANSE_DEADLY_TEST_CONFIG";
/// After which what these gateways serve is proven: longer than it takes one to find its agent.
const AFTER: Duration = Duration::from_secs(5);
/// What is not proven when the gateway ends: the deadly Route and the Upstream that came with it.
fn held(way: &str) -> Vec<String> {
    vec!["route/default/orders".to_owned(), format!("upstream/default{DEADLY}{way}")]
}
/// Address space of such a gateway: enough for one, and reached soon by one that eats memory.
const MOST_MEMORY: u64 = 4 << 30;

/// Is a gateway, where a test has started it as one.
#[test]
fn is_a_gateway() {
    let Some(file) = env::var_os(CONFIG) else { return };
    setrlimit(Resource::RLIMIT_AS, MOST_MEMORY, MOST_MEMORY).unwrap();
    let config = toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_trigger, shutdown) = ShutdownTrigger::new();
    runtime.block_on(run_proving(config, WallClock::system(), AFTER, shutdown)).unwrap();
}

/// A gateway in a process of its own. Killed when dropped.
struct Process(Child);

impl Process {
    fn start(dir: &Path, config: &Config) -> Self {
        let file = dir.join("gateway.toml");
        fs::write(&file, toml::to_string(config).unwrap()).unwrap();
        let output = fs::File::options().create(true).append(true).open(dir.join("output")).unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "run::tests::deadly::is_a_gateway", "--nocapture"])
            .env(CONFIG, file)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self(child)
    }

    async fn ends(&mut self) {
        eventually("it ends", async || self.0.try_wait().unwrap().is_some()).await;
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The keys that the agent hears of as poisoned.
fn poisoned(agent: &Agent) -> Vec<String> {
    let quarantined = agent.quarantined().into_iter();
    quarantined.filter(|it| it.reason.contains("is poisoned")).map(|it| it.key).collect()
}

/// Waits until a gateway says that so many resources are not proven.
async fn unproven(config: &Config, count: usize) {
    let line = format!("hanse_config_unproven {count}\n");
    eventually(&line, async || get(&config.listen.admin, "/metrics").await.1.contains(&line)).await;
}

/// A gateway that has served `/orders` for long, and the agent that it follows.
async fn serving(dir: &Path) -> (Agent, Config, Process) {
    let agent = Agent::start().await;
    agent.publish(3, "orders");
    let config = agent.config(dir);
    let gateway = Process::start(dir, &config);
    until(&http_of(&config), "/orders", 502).await;
    unproven(&config, 0).await;
    // With the next position, that is on disk too.
    agent.publish_nothing(4);
    eventually("it is durable", async || agent.durable() == Some(4)).await;
    (agent, config, gateway)
}

/// A service manager starts the gateway as often as it ends.
async fn is_survived(way: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (agent, config, mut gateway) = serving(dir.path()).await;
    let http = http_of(&config);
    agent.publish_deadly(5, way);
    for _ in 1..UNCLEAN_ENDS {
        gateway.ends().await;
        gateway = Process::start(dir.path(), &config);
    }
    gateway.ends().await;

    let begun = Instant::now();
    let gateway = Process::start(dir.path(), &config);
    until(&http, "/orders", 502).await;
    println!("{way}: served {:?} after the start", begun.elapsed());
    eventually("it is told", async || poisoned(&agent) == held(way)).await;
    assert_eq!(get(&http, "/orders").await.0, 502, "it has the Upstream that the deadly change removed");
    // What else changes is served. A restart changes nothing.
    agent.publish_at(6, "items", "/items");
    until(&http, "/items", 502).await;
    unproven(&config, held(way).len()).await;
    gateway.kill();
    let gateway = Process::start(dir.path(), &config);
    until(&http, "/items", 502).await;
    assert_eq!(get(&http, "/orders").await.0, 502);
    eventually("it is told again", async || poisoned(&agent) == held(way)).await;
    // Other bytes are used, as far as nothing that they need is held back.
    agent.publish_at(7, "orders", "/tame");
    agent.publish_upstream(8, &format!("{DEADLY}{way}")[1..], "http://127.0.0.1:8");
    until(&http, "/tame", 502).await;
    eventually("it is told no more", async || poisoned(&agent).is_empty()).await;
    gateway.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_that_aborts_is_held_back_after_three_ends() {
    is_survived("abort").await;
}

/// It is in force, and was acknowledged, when the gateway ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_that_aborts_after_a_while_is_held_back_after_three_ends() {
    is_survived("late").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_that_exhausts_memory_is_held_back_after_three_ends() {
    is_survived("memory").await;
}

/// No process ends by it, and so none has to be started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_that_panics_is_held_back_at_once() {
    let (dir, way) = (tempfile::tempdir().unwrap(), "panic");
    let (agent, config, gateway) = serving(dir.path()).await;
    let http = http_of(&config);
    agent.publish_at(5, "items", "/items");
    until(&http, "/items", 502).await;
    agent.publish_deadly(6, way);
    eventually("it is told", async || poisoned(&agent) == held(way)).await;
    assert_eq!((get(&http, "/orders").await.0, get(&http, "/items").await.0), (502, 502));
    gateway.kill();
    let gateway = Process::start(dir.path(), &config);
    until(&http, "/orders", 502).await;
    gateway.kill();
}
