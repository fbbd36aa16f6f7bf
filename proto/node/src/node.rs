//! A node: who it is, whom it believes, what it holds, and the link that keeps that in step.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use axum::Router;
use hanse_identity::{LiveCredentials, LiveTrust, client_tls};
use hanse_link::{
    EffectiveSource, KeptPlaces, KeptRevocations, KeptRoots, Persistence, Persister, ProvenVersions,
    Replicas, Service, Store, SubscriberHandle, SubscriberOptions, SubscriberTask, keep_offer, keep_places,
    kept_offer, kept_places, own_facts, watch_revoked,
};
use hanse_local::{OriginKeeper, Origins};
use hanse_proto::sync::{Facts, Report};
use hanse_topology::{Position, Role, ScopeId};
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet};
use tracing::info;

use crate::{Error, Shell, joining, places};

/// A link that does not turn for so long hangs: it turns every 15 s at least, whether or not there is a publisher.
const LINK_HANGS_AFTER: Duration = Duration::from_secs(60);
/// The hub is read every second; no reader or writer has it for longer than a large replica takes to copy.
const HUB_HANGS_AFTER: Duration = Duration::from_secs(60);
/// How often the hub is read for its pulse.
const READ_EVERY: Duration = Duration::from_secs(1);

/// A process that has joined, with what it holds.
#[derive(Debug)]
pub struct JoinedNode {
    /// Its process.
    pub shell: Shell,
    /// Its own certificate.
    pub credentials: LiveCredentials,
    /// Whom it believes.
    pub trust: LiveTrust,
    /// Whom it was told to refuse.
    pub revoked: KeptRevocations,
    /// Which roots it was told to believe.
    pub roots: KeptRoots,
    /// Where regions are reached, as it was told, by an earlier process too.
    pub places: KeptPlaces,
    /// What it holds.
    pub replicas: Replicas,
    /// The Origins among that, and so the local scopes that it asks for.
    pub origins: Origins,
    /// Where that is kept, and what is no replica.
    pub store: Store,
    /// Where what is on disk stands.
    pub durable: watch::Receiver<BTreeMap<ScopeId, Position>>,
    /// Whether some of what was on disk could not be used.
    pub is_partial: bool,
    /// Writes what it holds, once the node follows or says what is proven.
    persister: Persister,
    /// That, running. Apart from the others: it bounds itself, and needs more time at a stop.
    persisting: Mutex<JoinSet<()>>,
}

/// What a role does with what its node follows.
pub struct Consumer {
    /// What it uses of it.
    pub effective: EffectiveSource,
    /// Makes the report that goes up every second, from the facts that every node states of itself.
    pub report: Arc<dyn Fn(Facts) -> Report + Send + Sync>,
    /// Has a report sent before its time.
    pub report_on: Option<watch::Receiver<u64>>,
    /// It passes on what it is offered, and says the same after a restart.
    pub relays: bool,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("effective", &self.effective).finish_non_exhaustive()
    }
}

impl JoinedNode {
    /// Puts in force what an earlier process was told, and opens what it held. Nothing is written to the store before the node
    /// follows, but what the role itself puts there.
    pub async fn open(shell: Shell, credentials: LiveCredentials) -> Result<Self, Error> {
        let (config, own) = (&shell.config, credentials.identity());
        if own.name != config.name || own.role != config.role {
            let (dir, name) = (config.pki_dir(), config.name.clone());
            return Err(Error::OtherIdentity { dir, found: own, name });
        }
        shell.not_ready("starting".to_owned());
        let trust = LiveTrust::new(credentials.current().trust_anchor()?, shell.clock().clone());
        let dir = &config.data_dir;
        let revoked = KeptRevocations::restore(dir.clone(), trust.clone());
        let roots = KeptRoots::restore(dir.clone(), trust.clone(), credentials.clone());
        let kept = Persistence::open(config.store(&own), &config.wanted).await?;
        let Persistence { replicas, store, persister, durable, is_partial } = kept;
        shell.metrics.register(|registry| {
            replicas.metrics().register(registry);
            store.metrics().register(registry);
        });
        let places = kept_places(&store);
        let state = (replicas.clone(), shell.supervisor.pulse("the hub", HUB_HANGS_AFTER));
        shell.supervisor.spawn("hub-pulse", state, |(replicas, pulse), shutdown| async move {
            while !shutdown.is_triggered() {
                replicas.read(|_| pulse.beat());
                tokio::select! { () = shutdown.wait() => {}, () = tokio::time::sleep(READ_EVERY) => {} }
            }
        });
        let (keeper, origins) = OriginKeeper::new(replicas.clone(), trust.clone());
        shell.supervisor.spawn("origins", keeper, OriginKeeper::run);
        Ok(Self {
            shell,
            credentials,
            trust,
            revoked,
            roots,
            places,
            replicas,
            origins,
            store,
            durable,
            is_partial,
            persister,
            persisting: Mutex::default(),
        })
    }

    /// Says which versions of what the node holds are proven, and counts this start on disk. To be called before the node follows, by
    /// a role that serves with what it holds; from then on the store is written. `may_hold`: whether versions of a key may be held back.
    pub async fn proven_versions(&mut self, after: Duration, may_hold: fn(&str) -> bool) -> ProvenVersions {
        let durable = self.durable.clone();
        let proven = ProvenVersions::open(&self.store, &self.replicas, durable, after, may_hold);
        self.shell.metrics.register(|registry| proven.register(registry));
        self.persister = self.persister.clone().proving(proven.clone());
        self.persist();
        proven.count_start().await;
        proven
    }

    fn persist(&self) {
        let mut persisting = self.persisting.lock();
        if persisting.is_empty() {
            persisting.spawn(self.shell.supervisor.keep("store", self.persister.clone(), Persister::run));
        }
    }

    /// Keeps what the node holds in step with one of its publishers until the shutdown, on its disk too, and with who is revoked
    /// and which roots are believed. To be called once.
    pub fn follow(&self, consumer: Consumer) -> Result<SubscriberHandle, Error> {
        let Self { shell, credentials, roots, revoked, .. } = self;
        let (config, supervisor) = (&shell.config, &shell.supervisor);
        let own = credentials.identity();
        let tls = client_tls(Some(credentials), &self.trust, config.expect(&own))?;
        let addresses = joining::publishers(config)?;
        let options = SubscriberOptions {
            identity: own,
            publishers: watch::channel(addresses.clone()).1,
            tls: tls.clone(),
            wanted: config.wanted.clone(),
            service: Service::default(),
        };
        let (believed, shown, report_of) = (roots.clone(), credentials.clone(), consumer.report);
        let report = move || report_of(own_facts(believed.status(), &shown));
        let (task, handle) =
            SubscriberTask::new(options, self.replicas.clone(), consumer.effective, Some(Arc::new(report)));
        let mut task = task
            .with_durable(self.durable.clone())
            .with_places(self.places.clone())
            .with_heads(Arc::new(self.origins.clone()))
            .with_pulse(supervisor.pulse("the link", LINK_HANGS_AFTER));
        if let Some(changed) = consumer.report_on {
            task = task.with_report_on(changed);
        }
        if consumer.relays {
            if let Some((offered, as_of)) = kept_offer(&self.store) {
                task = task.with_offer(offered, as_of);
            }
            let state = (self.store.clone(), handle.status.clone());
            supervisor.spawn("offer", state, |(store, status), shutdown| keep_offer(store, status, shutdown));
        }
        let state = (self.store.clone(), self.places.clone());
        supervisor.spawn("places", state, |(store, places), shutdown| keep_places(store, places, shutdown));
        supervisor.spawn("link", task, SubscriberTask::run);
        self.persist();
        // Every agent is asked who is revoked: the one that is followed may be revoked itself, and would not say so.
        if config.role.admitted_by() == Role::Agent && addresses.len() > 1 {
            for address in addresses {
                let state = (address, tls.clone(), revoked.clone());
                supervisor.spawn("watch-revocations", state, |(address, tls, revoked), shutdown| {
                    watch_revoked(address, tls, revoked, shutdown)
                });
            }
        }
        let state = (revoked.clone(), handle.revoked.clone());
        supervisor
            .spawn("follow-revocations", state, |(revoked, told), shutdown| revoked.follow(told, shutdown));
        let state = (roots.clone(), handle.roots.clone());
        supervisor.spawn("follow-roots", state, |(roots, told), shutdown| roots.follow(told, shutdown));
        Ok(handle)
    }

    /// A page of the admin port, `/places`: what the node knows of where regions are reached.
    pub fn place_pages(&self) -> Router {
        places::pages(self.places.clone())
    }

    /// Lets everything come to its end, after the shutdown.
    pub async fn close(self) {
        let mut persisting = self.persisting.into_inner();
        self.shell.close(async { while persisting.join_next().await.is_some() {} }).await;
        info!("stopped");
    }
}
