//! A gateway from its configuration to its end.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_identity::{
    Bounds, ClientTls, Expect, ExpiryMetrics, Listener, ListenerMetrics, LiveCredentials, LiveTrust,
    TlsError, client_tls,
};
use hanse_link::{
    EffectiveSource, InUse, KeptRoots, KeptTrust, Persistence, Replicas, SubscriberHandle, SubscriberOptions,
    SubscriberTask, watch_revoked,
};
use hanse_process::{
    Metrics, Shutdown, ShutdownTrigger, WallClock, admin, raise_descriptor_limit, tell_service_manager,
};
use hanse_proto::sync::Report;
use hanse_topology::{Position, Role, ScopeId};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tracing::{error, info, warn};

use crate::{
    Config, Error,
    access_log::AccessLog,
    health::{HealthChecks, millis},
    identity,
    keeper::KeeperSeed,
    metrics::{Collected, GatewayMetrics},
    proxy::{Connector, Dataplane, DataplaneOptions, Slots, bind},
    stored::{self, Stored},
};

/// Connections to the admin port: probes and a few Prometheus servers.
const ADMIN: usize = 64;
/// For the access log's last lines to reach the disk.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Runs a gateway until the shutdown. Serves on threads of its own; everything else runs on the caller's runtime.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    run_with_clock(config, WallClock::system(), shutdown).await
}

/// The same, with certificates judged by another clock than the system's.
pub async fn run_with_clock(config: Config, clock: WallClock, shutdown: Shutdown) -> Result<(), Error> {
    config.check()?;
    hanse_process::private::keep_private(&config.data_dir);
    let shares = config.limits.connections(raise_descriptor_limit());
    if let Some(warning) = &shares.warning {
        warn!("{warning}");
    }
    Connector::bound_lookups(shares.lookups);
    let slots = Slots::new(shares.upstreams);
    let Some((credentials, stored)) = begin(&config, &clock, &shutdown).await? else { return Ok(()) };
    let Stored { persistence, may_serve } = stored;
    let Persistence { replicas, store, persister, durable, .. } = persistence;
    let trust = LiveTrust::new(credentials.current().trust_anchor()?, clock);
    let kept_trust = KeptTrust::restore(config.data_dir.clone(), trust.clone());
    let kept_roots = KeptRoots::restore(config.data_dir.clone(), trust.clone(), credentials.clone());
    let workers = config.worker_count();
    let metrics = GatewayMetrics::new(workers);
    let (keeper, kept) = KeeperSeed::new(replicas.clone(), config.environments.clone(), metrics.clone());
    let keeper = if may_serve { keeper.resuming() } else { keeper };
    let keeper = keeper.noting(stored::note_completeness(store.clone(), config.environments.clone()));
    let tls = agents_tls(&credentials, &trust)?;
    let (subscriber, link) = subscriber(
        &config,
        &credentials,
        tls.clone(),
        &kept_roots,
        replicas.clone(),
        kept.effective,
        durable.clone(),
    );
    let mut keeper = keeper.over(link.status.clone());
    keeper.prepare().await;

    let registry = Metrics::new();
    let listeners = registry.register(ListenerMetrics::register);
    registry.register(|registry| {
        registry.register_collector(Box::new(Collected(
            metrics.clone(),
            kept.endpoints.clone(),
            slots.clone(),
        )));
        replicas.metrics().register(registry);
        ExpiryMetrics::register(registry, credentials.clone(), None);
        store.metrics().register(registry);
    });
    let listen = &config.listen;
    let http = sockets("http", listen.http.as_deref(), workers).await?;
    let https = sockets("https", listen.https.as_deref(), workers).await?;
    let on_admin = TcpListener::bind(&listen.admin).await.map_err(cannot_listen("admin", &listen.admin))?;
    let (access_log, written) = match &config.access_log {
        Some(target) => {
            AccessLog::open(target, metrics.clone()).map(|(log, written)| (Some(log), Some(written)))
        }
        None => Ok((None, None)),
    }
    .map_err(Error::AccessLog)?;
    let client_facing = if https.is_empty() { None } else { Some(client_facing_tls(&credentials)?) };
    let options = DataplaneOptions {
        table: kept.table,
        limits: config.limits,
        max_connections: shares.clients,
        slots: slots.clone(),
        drain: config.drain,
        http,
        https,
        tls: client_facing,
        access_log,
        metrics: metrics.clone(),
        abort_on_panic: true,
    };
    Connector::check().map_err(Error::Serving)?;
    let dataplane = Dataplane::start(options, &shutdown).map_err(Error::Serving)?;
    info!(
        identity = %credentials.identity(), workers,
        http = ?dataplane.http, https = ?dataplane.https, "gateway listens"
    );

    let ready = ready_until(kept.ready, &shutdown);
    let alive = {
        let metrics = metrics.clone();
        move || metrics.turns(millis(Instant::now()))
    };
    tokio::spawn(tell_service_manager(ready.clone(), alive, shutdown.clone()));
    let pages = admin::router(registry, ready).merge(crate::admin::router(
        credentials.identity().to_string(),
        kept.summary,
        durable,
        link.status,
        kept.endpoints.clone(),
    ));
    let checks = HealthChecks::new(kept.endpoints, metrics, slots);
    let tasks = [
        ("the configuration keeper", tokio::spawn(keeper.run(shutdown.clone()))),
        ("the link to the agent", tokio::spawn(subscriber.run(shutdown.clone()))),
        ("the health checks", tokio::spawn(checks.run(shutdown.clone()))),
    ];
    // Each of several, for the one that is followed may be the one that is revoked, and would not say so.
    for address in config.agents.iter().filter(|_| config.agents.len() > 1) {
        let kept_trust = kept_trust.clone();
        tokio::spawn(watch_revoked(address.clone(), tls.clone(), kept_trust, shutdown.clone()));
    }
    tokio::spawn(kept_trust.follow(link.revoked, shutdown.clone()));
    tokio::spawn(kept_roots.follow(link.roots, shutdown.clone()));
    let persisting = tokio::spawn(persister.run(shutdown.clone()));
    tokio::spawn(identity::keep_renewed(config, credentials, trust, shutdown.clone()));
    // The pages stay to the end: somebody may ask why the gateway is not ready any more.
    let (_end, ended) = ShutdownTrigger::new();
    tokio::spawn(Listener::new("admin", on_admin, Bounds::of_admin(ADMIN), &listeners).serve(pages, ended));
    tokio::select! {
        ended = dataplane.ended() => ended.map_err(Error::Serving)?,
        error = unexpected_end(tasks, &shutdown) => return Err(error),
    }
    if let Some(written) = written {
        written.within(LAST_LINES).await;
    }
    // It bounds itself.
    if let Err(error) = persisting.await {
        error!(%error, "the store's task failed");
    }
    Ok(())
}

/// What `/readyz` says: as the keeper has it, until the order to stop, and from then on that.
fn ready_until(
    mut kept: watch::Receiver<Result<(), String>>,
    shutdown: &Shutdown,
) -> watch::Receiver<Result<(), String>> {
    let (say, said) = watch::channel(kept.borrow_and_update().clone());
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                () = shutdown.wait() => break,
                changed = kept.changed() => match changed {
                    Ok(()) => drop(say.send_replace(kept.borrow_and_update().clone())),
                    Err(_) => { // it ends with the gateway only
                        shutdown.wait().await;
                        break;
                    }
                },
            }
        }
        drop(say.send_replace(Err("draining".to_owned())));
    });
    said
}

/// Opens what is there: the credentials, and the store, whose records are bound to their name.
async fn begin(
    config: &Config,
    clock: &WallClock,
    shutdown: &Shutdown,
) -> Result<Option<(LiveCredentials, Stored)>, Error> {
    let Some(credentials) = identity::credentials(config, clock, shutdown).await? else { return Ok(None) };
    let stored = Stored::open(config, &credentials.identity()).await?;
    Ok(Some((credentials, stored)))
}

/// Resolves when one of the tasks ends before it is told to: the gateway would serve on and never follow, unseen.
async fn unexpected_end<const N: usize>(
    tasks: [(&'static str, JoinHandle<()>); N],
    shutdown: &Shutdown,
) -> Error {
    let (names, handles): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
    let (ended, at, _) = futures_util::future::select_all(handles).await;
    let task = names[at];
    if shutdown.is_triggered() {
        std::future::pending::<()>().await; // the serving threads say when it is over
    }
    Error::TaskEnded { task, source: ended.err() }
}

/// TLS towards the region's agents.
fn agents_tls(credentials: &LiveCredentials, trust: &LiveTrust) -> Result<ClientTls, TlsError> {
    let expect = Expect { roles: vec![Role::Agent], region: credentials.identity().region };
    client_tls(Some(credentials), trust, expect)
}

fn subscriber(
    config: &Config,
    credentials: &LiveCredentials,
    tls: ClientTls,
    roots: &KeptRoots,
    replicas: Replicas,
    effective: watch::Receiver<BTreeMap<ScopeId, InUse>>,
    durable: watch::Receiver<BTreeMap<ScopeId, Position>>,
) -> (SubscriberTask, SubscriberHandle) {
    let (_, publishers) = watch::channel(config.agents.clone());
    let options =
        SubscriberOptions { identity: credentials.identity(), publishers, tls, wanted: config.wanted() };
    let roots = roots.clone();
    let report = Arc::new(move || Report { trust: Some(roots.status()), ..Report::default() });
    let (task, handle) =
        SubscriberTask::new(options, replicas, EffectiveSource::Served(effective), Some(report));
    (task.with_durable(durable), handle)
}

/// TLS towards clients: any of them, TLS 1.2 and 1.3, with the gateway's own certificate.
fn client_facing_tls(credentials: &LiveCredentials) -> Result<Arc<ServerConfig>, Error> {
    let mut tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(credentials.clone()));
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls.ticketer = aws_lc_rs::Ticketer::new()?; // sessions resume on any thread
    Ok(Arc::new(tls))
}

/// One socket per serving thread; none where there is no address.
async fn sockets(
    face: &'static str,
    address: Option<&str>,
    count: usize,
) -> Result<Vec<std::net::TcpListener>, Error> {
    let Some(address) = address else { return Ok(Vec::new()) };
    let resolved: Option<SocketAddr> =
        tokio::net::lookup_host(address).await.map_err(cannot_listen(face, address))?.next();
    let resolved = resolved
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"))
        .map_err(cannot_listen(face, address))?;
    bind(resolved, count).map_err(cannot_listen(face, address))
}

fn cannot_listen(face: &'static str, address: &str) -> impl FnOnce(std::io::Error) -> Error {
    let address = address.to_owned();
    move |source| Error::Listen { face, address, source }
}

#[cfg(test)]
mod tests;
