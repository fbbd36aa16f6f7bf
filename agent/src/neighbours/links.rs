//! The links that run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, Router, routing::get};
use hanse_identity::{LiveCredentials, LiveTrust, TlsError, client_tls_to};
use hanse_link::{
    EffectiveSource, LinkStatus, ReplicaMap, Replicas, ReportSource, Service, SubscriberOptions,
    SubscriberTask, Wanted,
};
use hanse_local::{Directory, DirectoryReader, HoldingHandle, Merge, Origins, Target, followed};
use hanse_process::{Shutdown, Supervisor, telemetry};
use hanse_sync::Heads;
use hanse_topology::{Identity, Name, Position, ScopeId};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{error, info};

/// Least time between two looks at who is to be followed. The hub changes many times a second, and its agents seldom.
const LOOK_SPACING: Duration = Duration::from_millis(250);

/// What the links of one agent have in common.
#[derive(Clone)]
pub(crate) struct Common {
    /// The agent's certificate.
    pub(crate) credentials: LiveCredentials,
    /// Whom it believes.
    pub(crate) trust: LiveTrust,
    /// What it holds.
    pub(crate) replicas: Replicas,
    /// The Origins that it knows.
    pub(crate) origins: Origins,
    /// Hears of heads that links bring and the agent does not take.
    pub(crate) holding: HoldingHandle,
    /// What it says to relays of its gateways.
    pub(crate) report: ReportSource,
    /// Fires when that changes.
    pub(crate) report_on: watch::Receiver<u64>,
}

/// Starts and stops links, so that the agents are followed that the directory and the Origins name.
pub(crate) struct Links {
    common: Common,
    supervisor: Supervisor,
    running: BTreeMap<Name, Running>,
    /// The agents that could not be followed, as they were then: each is said once.
    failed: BTreeMap<Name, Target>,
    reader: DirectoryReader,
    directory: watch::Sender<Arc<Directory>>,
    shown: Shown,
}

/// One link. Dropping it ends it.
struct Running {
    target: Target,
    _part: Supervisor,
}

/// How the links stand, for the admin port. Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct Shown(Arc<Mutex<BTreeMap<Name, ShownLink>>>);

struct ShownLink {
    address: String,
    status: watch::Receiver<LinkStatus>,
    hub: Replicas,
    /// When the agent began to follow. A link that never stood has been down since then.
    begun: Instant,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.running.keys()).finish()
    }
}

impl Links {
    /// No link yet. `supervisor` is for the links alone: what it runs ends with them.
    pub(crate) fn new(region: Name, common: Common, supervisor: Supervisor) -> Self {
        let (running, failed) = Default::default();
        let (directory, shown) = (watch::Sender::default(), Shown::default());
        Self { common, supervisor, running, failed, reader: DirectoryReader::new(region), directory, shown }
    }

    /// The agents of the region, as the last look found them.
    pub(crate) fn directory(&self) -> watch::Receiver<Arc<Directory>> {
        self.directory.subscribe()
    }

    /// How the links stand.
    pub(crate) fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// Keeps to the directory and the Origins until the shutdown.
    pub(crate) async fn run(&mut self, shutdown: Shutdown) {
        let (mut hub, mut origins) = (self.common.replicas.subscribe(), self.common.origins.changed());
        loop {
            self.look(&shutdown);
            tokio::select! {
                () = shutdown.wait() => return,
                Ok(_) = hub.changed() => {}
                Ok(()) = origins.changed() => {}
                else => return,
            }
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(LOOK_SPACING) => {}
            }
        }
    }

    fn look(&mut self, shutdown: &Shutdown) {
        if let Some(agents) = self.common.replicas.read(|replicas| self.reader.read(replicas)) {
            // The scope's position moves with each revision of the control plane, and its agents seldom.
            self.directory.send_if_modified(|known| {
                let is_news = **known != agents;
                if is_news {
                    *known = Arc::new(agents);
                }
                is_news
            });
        }
        let own = self.common.credentials.identity();
        let wanted = followed(&own.name, &self.directory.borrow(), &self.common.origins.holders());
        self.running.retain(|name, running| {
            let stays = wanted.get(name) == Some(&running.target);
            if !stays {
                info!(agent = %name, address = running.target.address, "following this agent no more");
                self.shown.0.lock().remove(name);
            }
            stays
        });
        self.failed.retain(|name, target| wanted.get(name) == Some(target));
        for (name, target) in wanted {
            if self.running.contains_key(&name) {
                continue;
            }
            match self.start(&name, &target, shutdown.clone()) {
                Ok(part) => {
                    info!(agent = %name, address = target.address, "following this agent");
                    self.failed.remove(&name);
                    self.running.insert(name, Running { target, _part: part });
                }
                Err(error) => {
                    if self.failed.insert(name.clone(), target).is_none() {
                        error!(agent = %name, error = %telemetry::causes(&error), "cannot follow this agent");
                    }
                }
            }
        }
    }

    /// Follows one agent, with a hub of the link's own.
    fn start(&self, name: &Name, target: &Target, shutdown: Shutdown) -> Result<Supervisor, TlsError> {
        let Common { credentials, trust, replicas, origins, holding, report, report_on } = &self.common;
        let peer = Identity { name: name.clone(), ..credentials.identity() };
        let options = SubscriberOptions {
            identity: credentials.identity(),
            publishers: watch::channel(vec![target.address.clone()]).1,
            tls: client_tls_to(credentials, trust.clone(), peer, target.key)?,
            wanted: Wanted::Local,
            service: Service::Neighbours,
        };
        let holder = (!target.is_relay).then(|| name.clone());
        let heads: Arc<dyn Heads> = Arc::new(origins.of_link(replicas.clone(), holder));
        // As far as the agent is itself, so that nothing is sent that it has.
        let hub = replicas.copy_of(|scope| scope.is_local() && heads.wants(scope));
        // A holder that is no relay tells nobody, and may learn less than this agent.
        let report = target.is_relay.then(|| report.clone());
        let (task, handle) = SubscriberTask::new(options, hub.clone(), EffectiveSource::Immediate, report);
        let task = task.with_heads(heads.clone()).with_report_on(report_on.clone());
        let part = self.supervisor.part(shutdown);
        part.spawn("neighbour-link", task, SubscriberTask::run);
        let (own, origins, holding) = (replicas.clone(), origins.clone(), holding.clone());
        let merge = Merge { link: hub.clone(), own, heads, origins, holding };
        part.spawn("neighbour-merge", merge, Merge::run);
        let link =
            ShownLink { address: target.address.clone(), status: handle.status, hub, begun: Instant::now() };
        self.shown.0.lock().insert(name.clone(), link);
        Ok(part)
    }
}

/// Local scopes, and the position of each.
type LocalPositions = BTreeMap<String, String>;

/// `/neighbours`: whether the agent is a relay, its links to other agents, and the local scopes that it holds, and how far it has them on disk.
pub(crate) fn pages(
    own: Name,
    replicas: Replicas,
    durable: watch::Receiver<BTreeMap<ScopeId, Position>>,
    directory: watch::Receiver<Arc<Directory>>,
    shown: Shown,
) -> Router {
    let page = async move || {
        // First what is on disk: it is not ahead of what is held.
        let stored = local_positions(durable.borrow().iter().map(|(scope, at)| (scope, Some(at))));
        let local = replicas.read(local_scopes);
        Json(page(&own, &directory.borrow(), &shown.0.lock(), (&local, &stored), Instant::now()))
    };
    Router::new().route("/neighbours", get(page))
}

/// The local scopes of a hub.
fn local_scopes(replicas: &ReplicaMap) -> LocalPositions {
    local_positions(replicas.iter().map(|(scope, replica)| (scope, replica.position())))
}

/// The local ones of these scopes.
fn local_positions<'a>(scopes: impl Iterator<Item = (&'a ScopeId, Option<&'a Position>)>) -> LocalPositions {
    let at = |position: Option<&Position>| position.map(ToString::to_string).unwrap_or_default();
    let local = scopes.filter(|(scope, _)| scope.is_local());
    local.map(|(scope, position)| (scope.to_string(), at(position))).collect()
}

fn page(
    own: &Name,
    directory: &Directory,
    links: &BTreeMap<Name, ShownLink>,
    (local, stored): (&LocalPositions, &LocalPositions),
    now: Instant,
) -> Value {
    let link = |(name, link): (&Name, &ShownLink)| {
        let status = link.status.borrow();
        let since = now.saturating_duration_since(status.since.unwrap_or(link.begun)).as_secs();
        json!({
            "agent": name,
            "address": link.address,
            "connected": status.connected_to.is_some(),
            "sinceSeconds": since,
            "lastFailure": status.last_failure,
            "lastAlarm": status.last_alarm,
            "localScopes": link.hub.read(local_scopes),
        })
    };
    let relays: BTreeSet<&Name> =
        directory.iter().filter(|(_, agent)| agent.relay).map(|(name, _)| name).collect();
    json!({
        "relay": relays.contains(own),
        "relays": relays,
        "agents": directory.len(),
        "links": links.iter().map(link).collect::<Vec<_>>(),
        "localScopes": local,
        "stored": stored,
    })
}
