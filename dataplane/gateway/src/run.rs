//! A gateway from its configuration to its end.

mod traffic;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_identity::{Credentials, LiveCredentials};
use hanse_link::{EffectiveSource, LinkStatus, PROVEN_AFTER, Proof, report_of};
use hanse_node::{Consumer, JoinedNode, Shell};
use hanse_process::{Shutdown, WallClock, raise_descriptor_limit};
use hanse_proto::sync::Facts;
use hanse_runtime::FEATURES;
use tokio::sync::watch;
use tracing::warn;

use crate::{
    Config, Error, admin,
    health::{HealthChecks, millis},
    keeper::{self, KeeperHandle, KeeperSeed, TableKeeper},
    metrics::{Collected, GatewayMetrics},
    proxy::{Connector, Slots},
    stored,
};
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
    let shares = config.limits.connections(raise_descriptor_limit());
    if let Some(warning) = &shares.warning {
        warn!("{warning}");
    }
    Connector::bound_lookups(shares.lookups);
    let shell = Shell::start(config.node(), clock, shutdown.clone()).await?;
    let Some(own) = shell.join::<Credentials>(&shell.config.pki_dir()).await? else { return Ok(()) };
    let mut node = JoinedNode::open(shell, LiveCredentials::new(own)).await?;
    node.renew_certificate();

    let (metrics, slots) = (GatewayMetrics::new(config.worker_count()), Slots::new(shares.upstreams));
    let (mut keeper, kept, link, proof) = follow(&config, &mut node, &metrics, proven_after).await?;
    keeper.prepare().await; // so that the first request finds a table
    let served = (&kept, &slots, &metrics);
    let traffic = Traffic::start(&config, &shares, &node.credentials, served, &shutdown).await;
    if traffic.is_err() {
        proof.withdraw().await; // a port is taken, say
    }
    let traffic = traffic?;

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
    node.shell.show(admin::router(own, kept.summary, node.durable.clone(), link, kept.endpoints));

    traffic.ended().await?;
    node.close().await;
    Ok(())
}

/// Follows the region's agents. What is in use is what the keeper has put into the table.
async fn follow(
    config: &Config,
    node: &mut JoinedNode,
    metrics: &Arc<GatewayMetrics>,
    proven_after: Duration,
) -> Result<(TableKeeper, KeeperHandle, watch::Receiver<LinkStatus>, Proof), Error> {
    let environments = &config.environments;
    let (keeper, kept) = KeeperSeed::new(node.replicas.clone(), environments.clone(), metrics.clone());
    let may_serve = stored::may_serve(&node.replicas, &node.store, node.is_partial, environments);
    let keeper = if may_serve { keeper.resuming() } else { keeper };
    let proof = node.prove(proven_after).await;
    let keeper = keeper
        .proving(proof.clone())
        .noting(stored::note_completeness(node.store.clone(), environments.clone()));
    let keeper = keeper.beating(node.shell.supervisor.pulse("the keeper", keeper::HANGS_AFTER));
    let link = node.follow(Consumer {
        effective: EffectiveSource::Served(kept.effective.clone()),
        report: Arc::new(|facts| {
            let features = FEATURES.iter().map(ToString::to_string).collect();
            report_of(&Facts { features, ..facts }, Bytes::new())
        }),
        report_on: None,
        relays: false,
    })?;
    Ok((keeper.over(link.status.clone()), kept, link.status, proof))
}

#[cfg(test)]
mod tests;
