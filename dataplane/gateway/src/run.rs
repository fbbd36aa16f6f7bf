//! A gateway from its configuration to its end.

mod telling;
mod traffic;
mod tunnels;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_identity::{Credentials, LiveCredentials};
use hanse_link::{EffectiveSource, LinkStatus, PROVEN_AFTER};
use hanse_node::{Consumer, JoinedNode, Shell};
use hanse_process::{Shutdown, WallClock, raise_descriptor_limit};
use tokio::sync::watch;
use tracing::warn;

use crate::{
    Config, Error, admin,
    health::{HealthChecks, millis},
    keeper::{self, KeeperHandle, KeeperSeed, TableKeeper, stand_in::may_be_held},
    metrics::{Collected, GatewayMetrics, TrafficWindow},
    proxy::{Connector, Slots},
    stored,
    tunnel::Addresses,
};
use telling::{Telling, Told};
pub(crate) use traffic::Bound;
use traffic::Traffic;

/// Runs a gateway until the shutdown. Serves on threads of its own; everything else runs on the caller's runtime.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    run_with_clock(config, WallClock::system(), shutdown).await
}

/// The same, with certificates judged by another clock than the system's.
pub async fn run_with_clock(config: Config, clock: WallClock, shutdown: Shutdown) -> Result<(), Error> {
    run_proving(config, clock, PROVEN_AFTER, shutdown).await
}

/// The same, with another time after which what is served is proven.
async fn run_proving(
    config: Config,
    clock: WallClock,
    proven_after: Duration,
    shutdown: Shutdown,
) -> Result<(), Error> {
    config.check()?;
    let sockets = config.listeners() * config.worker_count();
    let shares = config.limits.connections(raise_descriptor_limit(), sockets);
    if let Some(warning) = &shares.warning {
        warn!("{warning}");
    }
    Connector::bound_lookups(shares.lookups);
    let shell = Shell::start(config.node(), clock, shutdown.clone()).await?;
    let Some(own) = shell.join::<Credentials>(&shell.config.pki_dir()).await? else { return Ok(()) };
    let mut node = JoinedNode::open(shell, LiveCredentials::new(own)).await?;
    node.renew_certificate();

    let (metrics, slots) = (GatewayMetrics::new(config.worker_count()), Slots::new(shares.upstreams));
    let (seed, kept) = KeeperSeed::new(
        node.replicas.clone(),
        config.environments.clone(),
        config.listen.faces(),
        metrics.clone(),
    );
    let seed = resume(seed, &config, &node);
    let proven = node.proven_versions(proven_after, may_be_held).await;
    let started = async {
        let told = tell(&config, &kept, &node);
        let (mut keeper, link) = follow(seed.proving(proven.clone()), &kept, &node, told)?;
        keeper.prepare().await; // so that the first request finds a table
        let between = between(&config, &kept, &node)?;
        let served = (&kept, &slots, &metrics, between);
        let own = (&node.credentials, node.shell.admin);
        let traffic = Traffic::start(&config, &shares, own, served, &shutdown).await?;
        Ok::<_, Error>((keeper, link, traffic))
    };
    let (keeper, link, traffic) = match started.await {
        Ok(started) => started,
        Err(error) => {
            proven.withdraw().await; // a port is taken, say
            return Err(error);
        }
    };

    let supervisor = &node.shell.supervisor;
    supervisor.spawn_lasting("keeper", keeper, |keeper, shutdown| Box::pin(keeper.run(shutdown)));
    let checks = HealthChecks::new(kept.endpoints.clone(), metrics.clone(), slots.clone());
    supervisor.spawn_lasting("health-checks", checks, |checks, shutdown| Box::pin(checks.run(shutdown)));
    node.shell.metrics.register(|registry| {
        let collected = Collected(metrics.clone(), kept.endpoints.clone(), slots);
        registry.register_collector(Box::new(collected));
    });
    supervisor.prove("a serving thread", move || metrics.turns(millis(Instant::now())));
    node.shell.ready_by(kept.ready, Result::clone);
    let own = node.credentials.identity().to_string();
    let entries = traffic.bound();
    let pages = admin::router(own, entries, kept.summary, node.durable.clone(), link, kept.endpoints);
    node.shell.show(pages.merge(node.place_pages()));

    traffic.ended().await?;
    node.close().await;
    Ok(())
}

/// Serves what is stored, if that is all that an earlier process served.
fn resume(seed: KeeperSeed, config: &Config, node: &JoinedNode) -> KeeperSeed {
    let environments = &config.environments;
    let may_serve = stored::may_serve(&node.replicas, &node.store, node.is_partial, environments);
    let seed = if may_serve { seed.resuming() } else { seed };
    seed.noting(stored::note_completeness(node.store.clone(), environments.clone()))
}

/// Has the agent told what the gateway serves, from now on.
fn tell(config: &Config, kept: &KeeperHandle, node: &JoinedNode) -> Told {
    let window = TrafficWindow::new(kept.hosts.clone());
    let (served, ready) = (kept.served.clone(), node.shell.readiness.clone());
    let tunnels = config.tunnel.as_ref().map_or_else(Vec::new, |tunnel| tunnel.advertise.clone());
    let (telling, told) = Telling::new((config.advertise.clone(), tunnels), served, ready, window);
    node.shell.supervisor.spawn("telling", telling, Telling::run);
    told
}

/// What passes between this gateway and those of other regions. Its agent tells it neither a leaf for tunnels nor where those gateways are: what
/// other regions serve is refused here, and no gateway of another region is let in.
fn between(config: &Config, kept: &KeeperHandle, node: &JoinedNode) -> Result<tunnels::Served, Error> {
    let sources =
        tunnels::Sources { identity: watch::channel(None).1, addresses: watch::channel(Addresses::new()).1 };
    tunnels::follow(config.tunnel.as_ref(), sources, &node.trust, &kept.endpoints, &node.shell.supervisor)
}

/// Follows the region's agents. What is in use is what the keeper has put into the table.
fn follow(
    seed: KeeperSeed,
    kept: &KeeperHandle,
    node: &JoinedNode,
    told: Told,
) -> Result<(TableKeeper, watch::Receiver<LinkStatus>), Error> {
    let seed = seed.beating(node.shell.supervisor.pulse("the keeper", keeper::HANGS_AFTER));
    let report_on = Some(told.changed());
    let link = node.follow(Consumer {
        effective: EffectiveSource::Served(kept.effective.clone()),
        report: Arc::new(move |facts| told.report(facts)),
        report_on,
        relays: false,
    })?;
    Ok((seed.over(link.status.clone()), link.status))
}

#[cfg(test)]
mod tests;
