//! A gateway from its configuration to its end.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use hanse_link::{
    EffectiveSource, Persistence, Position, Replicas, SubscriberHandle, SubscriberOptions, SubscriberTask,
};
use hanse_topology::ScopeId;
use hanse_transport::{Expect, LiveCredentials, Metrics, Role, Shutdown, admin, client_tls};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tracing::{error, info, warn};

use crate::{
    Config, Error,
    access_log::AccessLog,
    identity,
    keeper::KeeperSeed,
    metrics::{Collected, GatewayMetrics},
    proxy::{Dataplane, DataplaneOptions, bind},
    stored::{self, Stored},
};

/// For the access log's last lines to reach the disk.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Runs a gateway until the shutdown. Serves on threads of its own; everything else runs on the caller's runtime.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    config.check()?;
    raise_descriptor_limit();
    let Some((credentials, stored)) = begin(&config, &shutdown).await? else { return Ok(()) };
    let Stored { persistence, may_serve } = stored;
    let Persistence { replicas, store, persister, durable, .. } = persistence;
    let workers = config.worker_count();
    let metrics = GatewayMetrics::new(workers);
    let (keeper, kept) = KeeperSeed::new(replicas.clone(), config.environments.clone(), metrics.clone());
    let keeper = if may_serve { keeper.resuming() } else { keeper };
    let completeness =
        stored::keep_completeness(store.clone(), config.environments.clone(), kept.effective.clone());
    let (subscriber, link) =
        subscriber(&config, &credentials, replicas.clone(), kept.effective, durable.clone())?;
    let mut keeper = keeper.over(link.status.clone());
    keeper.prepare().await;

    let registry = Metrics::new();
    registry.register(|registry| {
        registry.register_collector(Box::new(Collected(metrics.clone())));
        replicas.metrics().register(registry);
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
    let tls = if https.is_empty() { None } else { Some(client_facing_tls(&credentials)?) };
    let options = DataplaneOptions {
        table: kept.table,
        limits: config.limits,
        http,
        https,
        tls,
        access_log,
        metrics,
        abort_on_panic: true,
    };
    let dataplane = Dataplane::start(options, &shutdown).map_err(Error::Serving)?;
    info!(
        identity = %credentials.identity(), workers,
        http = ?dataplane.http, https = ?dataplane.https, "gateway listens"
    );

    let pages = admin::router(registry, kept.ready).merge(crate::admin::router(
        credentials.identity().to_string(),
        kept.summary,
        durable,
        link.status,
    ));
    let sync = [
        ("the configuration keeper", tokio::spawn(keeper.run(shutdown.clone()))),
        ("the link to the agent", tokio::spawn(subscriber.run(shutdown.clone()))),
    ];
    tokio::spawn(completeness);
    let persisting = tokio::spawn(persister.run(shutdown.clone()));
    tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            if let Err(error) = admin::serve(on_admin, pages, shutdown).await {
                error!(%error, "the admin port failed");
            }
        }
    });
    tokio::select! {
        ended = dataplane.ended() => ended.map_err(Error::Serving)?,
        error = unexpected_end(sync, &shutdown) => return Err(error),
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

/// Opens what is there: credentials, and the store, whose records are bound to their name. Whoever can serve from the store
/// waits for nobody.
async fn begin(config: &Config, shutdown: &Shutdown) -> Result<Option<(LiveCredentials, Stored)>, Error> {
    let found = identity::found(config)?;
    let stored = match &found {
        Some(found) => Some(Stored::open(config, found.identity()).await?),
        None => None,
    };
    let may_serve = stored.as_ref().is_some_and(|stored| stored.may_serve);
    let Some(credentials) = identity::credentials(config, found, may_serve, shutdown).await? else {
        return Ok(None);
    };
    let stored = match stored {
        Some(stored) => stored,
        None => Stored::open(config, &credentials.identity()).await?,
    };
    Ok(Some((credentials, stored)))
}

/// Resolves when one of the tasks ends before it is told to: the gateway would serve on and never follow, unseen.
async fn unexpected_end(tasks: [(&'static str, JoinHandle<()>); 2], shutdown: &Shutdown) -> Error {
    let [(first, one), (second, other)] = tasks;
    let (task, ended) = tokio::select! {
        ended = one => (first, ended),
        ended = other => (second, ended),
    };
    if shutdown.is_triggered() {
        std::future::pending::<()>().await; // the serving threads say when it is over
    }
    Error::TaskEnded { task, source: ended.err() }
}

/// Lets the process have as many descriptors as it may: many systems start processes with 1,024.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        warn!(%error, "cannot raise the limit of file descriptors");
    }
}

fn subscriber(
    config: &Config,
    credentials: &LiveCredentials,
    replicas: Replicas,
    effective: watch::Receiver<BTreeMap<ScopeId, Position>>,
    durable: watch::Receiver<BTreeMap<ScopeId, Position>>,
) -> Result<(SubscriberTask, SubscriberHandle), Error> {
    let identity = credentials.identity();
    let trust = credentials.current().trust_anchor()?;
    let expect = Expect { roles: vec![Role::Agent], region: identity.region.clone() };
    let (_, publishers) = watch::channel(config.agents.clone());
    let options = SubscriberOptions {
        identity,
        publishers,
        tls: client_tls(Some(credentials), &trust, expect)?,
        wanted: config.wanted(),
    };
    let (task, handle) = SubscriberTask::new(options, replicas, EffectiveSource::Served(effective), None);
    Ok((task.with_durable(durable), handle))
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
