//! Honest clients: what they ask for, and how long it takes them.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};

use super::allowed;
use crate::{
    World,
    http::tls_config,
    load::{Entry, Ledger, Load, LoadOptions, Target},
    percentile,
};

/// Requests a second over the three honest clients and the one that meets no node: enough for a percentile, little enough to load no
/// machine.
const PER_SECOND: u32 = 80;
/// What an honest client waits.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The gateway that honest clients call.
const GATEWAY: &str = "gateway-eu-west";
/// The control node whose API honest clients ask when another role is attacked.
const CONTROL_NODE: &str = "cp-1";
/// Calls of the upstream without a gateway: how long they take says how busy the machine is.
const NO_NODE: &str = "upstream alone";
/// The Api that honest clients call: context and path.
const PATH: &str = "/honest/item";

/// The honest clients of one node.
#[derive(Debug, Clone)]
pub(super) struct Honest {
    targets: Vec<Target>,
}

/// Publishes what honest clients call through a gateway.
pub(super) fn publish(world: &World) -> Result<()> {
    let upstream = world.url("upstream")?;
    world.operator().apply(&format!(
        "kind: Api\nname: honest\nspec: {{context: /honest, version: \"1\", operations: [{{method: GET, path: /item}}]}}\n---\n\
         kind: Upstream\nname: honest\nspec: {{endpoints: [{{url: \"{upstream}\"}}]}}\n---\n\
         kind: Binding\nname: honest\nspec: {{api: honest, environment: production, upstream: honest}}\n"
    ))
}

/// A change of this name is said to be served by both gateways within so many seconds, so it went through both agents.
pub(super) fn change_arrives(world: &World, name: &str, within: Duration) -> Result<()> {
    let plan = format!("kind: Plan\nname: {name}\nspec: {{rate: {{requests: 10, per: second}}}}\n");
    let ran =
        world.operator().run(&["apply", "-f", "-", &format!("--wait={}s", within.as_secs())], &plan, &[])?;
    ensure!(ran.code == 0 && ran.stderr.contains("2 of 2 gateways"), "{ran:?}");
    Ok(())
}

impl Honest {
    /// Reads of the attacked control node's API, or of another's where no control node is attacked, and calls of a gateway.
    pub(super) fn of(world: &World, node: &str) -> Result<Self> {
        let node = if node.starts_with("cp-") { node } else { CONTROL_NODE };
        let gateway = world.url(GATEWAY)?;
        let tls = Arc::new(tls_config(Some(&world.ca_file()))?);
        let bearer = format!("Bearer {}", world.token()?);
        let api = |name: &str, fresh| Target {
            tls: Some(tls.clone()),
            echoes: false,
            fresh,
            ..Target::echoing(name, format!("{}/v1/regions/eu-west", world.url(node).unwrap_or_default()))
                .header("authorization", &bearer)
        };
        Ok(Self {
            targets: vec![
                api("api", false),
                api("api, new connections", true),
                Target::echoing("gateway", format!("{gateway}{PATH}")),
                Target::echoing(NO_NODE, format!("{}/item", world.url("upstream")?)),
            ],
        })
    }

    pub(super) fn start(&self) -> Result<Load> {
        Load::start(self.targets.clone(), LoadOptions { per_second: PER_SECOND, timeout: TIMEOUT })
    }

    pub(super) async fn for_some_time(&self, duration: Duration) -> Result<Ledger> {
        let load = self.start()?;
        tokio::time::sleep(duration).await;
        tokio::task::spawn_blocking(|| load.stop()).await?
    }
}

/// How many times as long calls took that meet no node.
pub(super) fn slowdown_without_node(quiet: &Ledger, attacked: &Ledger) -> f64 {
    p99(attacked, NO_NODE).as_secs_f64() / p99(quiet, NO_NODE).as_secs_f64().max(f64::MIN_POSITIVE)
}

fn p99(ledger: &Ledger, target: &str) -> Duration {
    let mut latencies: Vec<_> = ledger.of(target).map(Entry::latency).collect();
    latencies.sort_unstable();
    percentile(&latencies, 99)
}

/// The target that comes nearest to its bound, or exceeds it most, with its 99th percentile before and after.
pub(super) fn slowest(quiet: &Ledger, attacked: &Ledger) -> (String, Duration, Duration) {
    let mut targets: Vec<_> = quiet.entries().iter().map(|entry| entry.target.clone()).collect();
    targets.retain(|target| target != NO_NODE);
    targets.sort_unstable();
    targets.dedup();
    let grown = targets.into_iter().map(|target| {
        let (before, after) = (p99(quiet, &target), p99(attacked, &target));
        (target, before, after)
    });
    grown
        .max_by(|a, b| {
            let part = |(_, before, after): &(String, Duration, Duration)| {
                after.as_secs_f64() / allowed(*before, 1.0).as_secs_f64()
            };
            part(a).total_cmp(&part(b))
        })
        .unwrap_or_default()
}
