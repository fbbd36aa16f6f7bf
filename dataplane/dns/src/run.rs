//! A responder from its configuration to its end.

use std::{io, net::SocketAddr, sync::Arc};

use hanse_dns_wire::cookie::Secret;
use hanse_identity::{Credentials, LiveCredentials};
use hanse_link::{EffectiveSource, LinkStatus, PROVEN_AFTER, report_of, responder, serving};
use hanse_node::{Consumer, JoinedNode, Shell};
use hanse_process::{Shutdown, WallClock, raise_descriptor_limit};
use hanse_proto::{
    nested,
    sync::{Facts, Report, Responder},
};
use hanse_runtime::FEATURES;
use hanse_topology::ScopeId;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tracing::info;

use crate::{
    Config, Error, admin,
    geo::GeoFile,
    keeper::{self, KeeperHandle, ZoneKeeper},
    keys::Keys,
    metrics::{Collected, DnsMetrics},
    notify::Notifier,
    places::SeenPlaces,
    sockets::{self, Pair},
    worker::{self, Known, Worker},
};

/// Runs a responder until the shutdown. Answers on threads of its own; everything else runs on the caller's runtime.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    run_with_clock(config, WallClock::system(), shutdown).await
}

/// The same, with certificates judged by another clock than the system's.
pub async fn run_with_clock(config: Config, clock: WallClock, shutdown: Shutdown) -> Result<(), Error> {
    config.check()?;
    raise_descriptor_limit();
    let shell = Shell::start(config.node(), clock, shutdown.clone()).await?;
    let keys = Arc::new(Keys::read(&config.tsig)?); // in `data_dir`, files are private by now
    let Some(own) = shell.join::<Credentials>(&shell.config.pki_dir()).await? else { return Ok(()) };
    let mut node = JoinedNode::open(shell, LiveCredentials::new(own)).await?;
    node.renew_certificate();

    let metrics = Arc::new(DnsMetrics::new(config.thread_count()));
    let proven = node.proven_versions(PROVEN_AFTER, |_| true).await;
    let region = node.credentials.identity().region.clone().expect("a responder's identity has a region");
    let pulse = node.shell.supervisor.pulse("the keeper", keeper::HANGS_AFTER);
    let (scope, replicas) = (ScopeId::Dns { region }, node.replicas.clone());
    let geo = GeoFile::new(config.geo_file());
    geo.refresh().await;
    let (mut keeper, kept) =
        ZoneKeeper::new(scope, replicas, proven.clone(), pulse, metrics.clone(), keys.clone());
    keeper.prepare().await; // so that the first query finds what is on disk
    let places = SeenPlaces::new(node.places.clone());
    let known =
        Known { zones: kept.zones.clone(), places: places.clone(), geo: geo.in_use(), keys: keys.clone() };
    let started = match Answering::start(&config, &known, &metrics, &node, &shutdown).await {
        Ok(answering) => follow(&config, &kept, &geo, &node).map(|link| (answering, link)),
        Err(error) => Err(error),
    };
    let (answering, link) = match started {
        Ok(started) => started,
        Err(error) => {
            proven.withdraw().await; // a port is taken, say
            return Err(error);
        }
    };

    let supervisor = &node.shell.supervisor;
    supervisor.spawn("seen-places", places.clone(), SeenPlaces::follow);
    supervisor.spawn_lasting("keeper", keeper, |keeper, shutdown| Box::pin(keeper.run(shutdown)));
    let notifier = Notifier::new(kept.clone(), keys, metrics.clone());
    supervisor.spawn_lasting("notifier", notifier, |notifier, shutdown| Box::pin(notifier.run(shutdown)));
    supervisor.spawn_lasting("geo file", geo.clone(), |geo, shutdown| Box::pin(geo.follow(shutdown)));
    node.shell.metrics.register(|registry| {
        registry.register_collector(Box::new(Collected(metrics)));
        geo.register(registry);
    });
    node.shell.ready_by(kept.ready, Result::clone);
    let own = node.credentials.identity().to_string();
    let pages = admin::router(own, kept.summary, node.durable.clone(), link, kept.zones, places, geo);
    node.shell.show(pages.merge(node.place_pages()));

    answering.ended().await?;
    node.close().await;
    Ok(())
}

/// Follows the region's agents. What is in use is what the keeper has compiled.
fn follow(
    config: &Config,
    kept: &KeeperHandle,
    geo: &GeoFile,
    node: &JoinedNode,
) -> Result<watch::Receiver<LinkStatus>, Error> {
    let (kept, geo) = (kept.clone(), geo.clone());
    let own = ResponderFacts::default();
    own.say(|said| said.address = config.advertise.clone().unwrap_or_default());
    let ready = node.shell.readiness.clone();
    let link = node.follow(Consumer {
        effective: EffectiveSource::Served(kept.effective.clone()),
        report: Arc::new(move |facts| {
            report(facts, Responder { geo: geo.digest(), ..own.said() }, &kept, &ready.borrow())
        }),
        report_on: None,
        relays: false,
    })?;
    Ok(link.status)
}

/// What the parts of a responder say of themselves, for its facts; its zones are the keeper's to say. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResponderFacts(Arc<Mutex<Responder>>);

impl ResponderFacts {
    /// Says something new. Lists are said whole: what there is no room for is left out when a report is made.
    pub(crate) fn say(&self, change: impl FnOnce(&mut Responder)) {
        change(&mut self.0.lock());
    }

    fn said(&self) -> Responder {
        self.0.lock().clone()
    }
}

/// What goes up, with the facts that every node states of itself.
fn report(facts: Facts, said: Responder, kept: &KeeperHandle, ready: &Result<(), String>) -> Report {
    let scopes: Vec<String> = kept.effective.borrow().keys().map(ToString::to_string).collect();
    let summary = kept.summary.load();
    let summary = summary.as_ref().as_ref();
    let zones = keeper::zones_served(summary);
    let missing_keys =
        summary.map(|summary| summary.missing_keys.iter().cloned().collect()).unwrap_or_default();
    let responder = responder(Responder { zones, missing_keys, ..said });
    let facts = Facts {
        features: FEATURES.iter().map(ToString::to_string).collect(),
        serving: nested::to_bytes(&serving(&scopes, (&[], &[], &[]), ready)),
        responder: Some(responder),
        ..facts
    };
    report_of(&facts, bytes::Bytes::new())
}

/// The serving threads. They alone end a responder.
struct Answering {
    threads: Vec<oneshot::Receiver<io::Result<()>>>,
}

impl Answering {
    async fn start(
        config: &Config,
        known: &Known,
        metrics: &Arc<DnsMetrics>,
        node: &JoinedNode,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let count = metrics.threads.len();
        let mut listening: Vec<Vec<Pair>> = (0..count).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for text in &config.listen.dns {
            let pairs = bind(text, count).await?;
            addresses.extend(pairs.first().and_then(|pair| pair.udp.local_addr().ok()));
            listening.iter_mut().zip(pairs).for_each(|(own, pair)| own.push(pair));
        }
        let secret = Secret::new(rand::random());
        let mut threads = Vec::new();
        for (index, pairs) in listening.into_iter().enumerate() {
            let worker = Worker {
                index,
                known: known.clone(),
                limits: config.limits,
                secret: secret.clone(),
                metrics: metrics.clone(),
                pulse: node.shell.supervisor.pulse("a serving thread", worker::HANGS_AFTER),
            };
            let (shutdown, (end, ended)) = (shutdown.clone(), oneshot::channel());
            let thread = std::thread::Builder::new().name(format!("dns-{index}"));
            thread
                .spawn(move || {
                    let _ = end.send(worker.run(pairs, shutdown)); // the receiver may be gone
                })
                .map_err(Error::Serving)?;
            threads.push(ended);
        }
        info!(identity = %node.credentials.identity(), threads = count, dns = ?addresses, "responder listens");
        Ok(Self { threads })
    }

    /// Returns when every thread has stopped, after the shutdown, or one has failed.
    async fn ended(self) -> Result<(), Error> {
        let ends = self.threads.into_iter().map(|ended| async {
            ended.await.unwrap_or_else(|_| Err(io::Error::other("a serving thread panicked")))
        });
        futures_util::future::try_join_all(ends).await.map(drop).map_err(Error::Serving)
    }
}

async fn bind(text: &str, count: usize) -> Result<Vec<Pair>, Error> {
    let refused = |source| Error::Listen { address: text.to_owned(), source };
    let found = tokio::net::lookup_host(text).await.map_err(refused)?.collect::<Vec<SocketAddr>>();
    let none = || refused(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    let address = *found.first().ok_or_else(none)?;
    sockets::bind(address, count).map_err(refused)
}

#[cfg(test)]
mod tests;
