//! Filling replicas from a publisher: one task that always follows one of several.

mod acks;
mod link;
mod rota;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_identity::{ClientTls, connect, explain};
use hanse_process::{Pulse, Shutdown, backoff::Backoff, sleep_until, telemetry};
use hanse_proto::sync::Report;
use hanse_sync::{BootId, Freshness, Heads, NoHeads, Patience, Quarantine, Revoked, TrustedRoots, Wanted};
use hanse_topology::{Identity, Position, ScopeId};
use tokio::sync::watch;
use tracing::{Instrument as _, debug, info, info_span, warn};

use crate::{KeptPlaces, Replicas, publisher::fires};
use link::{Ended, Link};
use rota::Rota;
pub use status::LinkStatus;

/// First ceiling of the wait between attempts: a publisher that restarts is back within a second.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// Last ceiling: how late a subscriber notices that its publisher is back, against how often thousands of them knock.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How long a publisher is left alone at which another process took this one's place, and by how much it may be longer. Two
/// processes with one identity take turns then, instead of ending each other's streams all the time; each serves what it holds.
const SUPERSEDED_PAUSE: Duration = Duration::from_secs(30);
const SUPERSEDED_SPREAD: Duration = Duration::from_secs(5);

/// Whose service a link uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Service {
    /// That of a node's own publishers: all that the node may learn.
    #[default]
    Sync,
    /// That of another agent of the region: local scopes.
    Neighbours,
}

/// Whom to follow, and as whom.
#[derive(Clone)]
pub struct SubscriberOptions {
    /// Who this node is; the publisher knows it from the certificate, this is for logs.
    pub identity: Identity,
    /// Where publishers are, as `host:port`. Tried in turn.
    pub publishers: watch::Receiver<Vec<String>>,
    /// This node's certificate, and whom to accept as a publisher.
    pub tls: ClientTls,
    /// The scopes to ask for among those offered.
    pub wanted: Wanted,
    /// Which of the publisher's services.
    pub service: Service,
}

impl fmt::Debug for SubscriberOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let publishers = self.publishers.borrow();
        f.debug_struct("SubscriberOptions")
            .field("identity", &self.identity)
            .field("publishers", &*publishers)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

/// What this node acknowledges as in use.
#[derive(Debug, Clone)]
pub enum EffectiveSource {
    /// What its replicas hold: it serves them as they are (agents).
    Immediate,
    /// What its consumer says it uses (gateways: what their tables serve).
    Served(watch::Receiver<BTreeMap<ScopeId, InUse>>),
}

/// What a consumer uses of one scope.
#[derive(Debug, Clone, PartialEq)]
pub struct InUse {
    /// Its content at this position,
    pub position: Position,
    /// but for what it cannot use of it.
    pub quarantine: Quarantine,
}

/// Makes the report that goes up every second.
pub type ReportSource = Arc<dyn Fn() -> Report + Send + Sync>;

/// Follows one of several publishers for as long as it runs. A clone takes the place of one that ended.
#[derive(Clone)]
pub struct SubscriberTask {
    options: SubscriberOptions,
    replicas: Replicas,
    effective: EffectiveSource,
    durable: Option<watch::Receiver<BTreeMap<ScopeId, Position>>>,
    report: Option<ReportSource>,
    report_changed: Option<watch::Receiver<u64>>,
    status: watch::Sender<LinkStatus>,
    freshness: watch::Sender<Freshness>,
    revoked: watch::Sender<Option<Revoked>>,
    roots: watch::Sender<Option<TrustedRoots>>,
    /// Which local scopes to ask for, and whom to believe in them.
    heads: Arc<dyn Heads>,
    /// Which process this is.
    boot: BootId,
    /// Of the link before, whomever it was to: what is slow is mostly this node's own way out.
    patience: Patience,
    /// Takes in where regions are reached.
    places: KeptPlaces,
    /// Beaten while the task turns.
    pulse: Pulse,
}

impl fmt::Debug for SubscriberTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberTask").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What others see of a [`SubscriberTask`].
#[derive(Debug, Clone)]
pub struct SubscriberHandle {
    /// How the link stands.
    pub status: watch::Receiver<LinkStatus>,
    /// How fresh the replicas are, to be passed on by a publisher that relays them.
    pub freshness: watch::Receiver<Freshness>,
    /// Who is refused by name, as the publisher followed last said it. Positions may go back: see [`Revoked::as_of`].
    pub revoked: watch::Receiver<Option<Revoked>>,
    /// Which roots of trust are believed, as the publisher followed last said it. Positions may go back here, too.
    pub roots: watch::Receiver<Option<TrustedRoots>>,
}

impl SubscriberTask {
    /// A task that fills `replicas`, acknowledges what `effective` says, and sends up what `report` makes.
    pub fn new(
        options: SubscriberOptions,
        replicas: Replicas,
        effective: EffectiveSource,
        report: Option<ReportSource>,
    ) -> (Self, SubscriberHandle) {
        let (status, status_seen) = watch::channel(LinkStatus::default());
        let (freshness, freshness_seen) = watch::channel(Freshness::unconfirmed(Instant::now()));
        let (revoked, revoked_seen) = watch::channel(None);
        let (roots, roots_seen) = watch::channel(None);
        let task = Self {
            options,
            replicas,
            effective,
            durable: None,
            report,
            report_changed: None,
            status,
            freshness,
            revoked,
            roots,
            heads: Arc::new(NoHeads),
            boot: BootId::new(rand::random()),
            patience: Patience::default(),
            places: KeptPlaces::default(),
            pulse: Pulse::new(),
        };
        let handle = SubscriberHandle {
            status: status_seen,
            freshness: freshness_seen,
            revoked: revoked_seen,
            roots: roots_seen,
        };
        (task, handle)
    }

    /// Starts with what an earlier process was offered last, until a publisher says otherwise.
    pub fn with_offer(self, offered: BTreeSet<ScopeId>, as_of: Option<Position>) -> Self {
        self.status.send_modify(|status| {
            status.offered = offered;
            status.offered_as_of = as_of;
        });
        self
    }

    /// Asks for local scopes too, as `heads` say; without it, for none.
    pub fn with_heads(mut self, heads: Arc<dyn Heads>) -> Self {
        self.heads = heads;
        self
    }

    /// Keeps here what publishers tell of places; without it, it is forgotten.
    pub fn with_places(mut self, places: KeptPlaces) -> Self {
        self.places = places;
        self
    }

    /// Acknowledges as durable what `durable` says; without it, nothing is.
    pub fn with_durable(mut self, durable: watch::Receiver<BTreeMap<ScopeId, Position>>) -> Self {
        self.durable = Some(durable);
        self
    }

    /// Sends a report also when `changed` fires, at most four a second:
    /// [`Subscribers::changed`](crate::Subscribers::changed) of the node's own subscribers.
    pub fn with_report_on(mut self, changed: watch::Receiver<u64>) -> Self {
        self.report_changed = Some(changed);
        self
    }

    /// Beats this pulse while it turns, connected or not: at least every 15 s, which is what a publisher has for TCP, TLS and a
    /// stream, and the longest wait after that.
    pub fn with_pulse(mut self, pulse: Pulse) -> Self {
        self.pulse = pulse;
        self
    }

    /// Follows publishers until `shutdown`. The replicas keep what they hold when the link ends.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut rota = Rota::starting_at(usize::from(rand::random::<u16>()));
        let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
        let mut failing = false;
        let mut better = None;
        if self.status.borrow().connected_to.is_some() {
            self.note_failure("the link's task ended by a defect and was started again".to_owned());
        }
        while !shutdown.is_triggered() {
            self.pulse.beat();
            let publishers = self.options.publishers.borrow_and_update().clone();
            let next = better.take().or_else(|| rota.next(&publishers, Instant::now()));
            let Some(address) = next else {
                let free = rota.free_at(&publishers);
                if free.is_none() {
                    self.note_failure("no publisher is known".to_owned());
                }
                tokio::select! {
                    () = shutdown.wait() => return,
                    () = fires(&mut self.options.publishers) => continue,
                    () = sleep_until(free) => continue,
                    () = self.pulse.beat_on() => continue,
                }
            };
            let began = Instant::now();
            let following = info_span!("follow", publisher = address);
            let ended = tokio::select! {
                () = shutdown.wait() => break,
                ended = self.follow(&address, &mut rota).instrument(following) => ended,
            };
            match &ended {
                Ended::Better { standing, freshness, .. } => {
                    rota.mark_left(&address, *standing, *freshness, Instant::now())
                }
                Ended::Unreachable(_) | Ended::Lost(_) | Ended::Refused(_) | Ended::NotListed => {
                    rota.mark_poor(&address, Instant::now())
                }
                Ended::Superseded => {
                    let pause = SUPERSEDED_PAUSE + SUPERSEDED_SPREAD.mul_f32(rand::random());
                    rota.leave_alone(&address, Instant::now() + pause);
                }
            }
            let wait = match &ended {
                Ended::Better { standing, next, .. } => {
                    info!(
                        publisher = address,
                        standing = standing.as_str(),
                        next,
                        "leaving for another publisher"
                    );
                    better = Some(next.clone());
                    Duration::ZERO
                }
                Ended::NotListed => {
                    info!(publisher = address, "leaving a publisher that is no longer configured");
                    Duration::ZERO
                }
                Ended::Unreachable(reason) if failing => {
                    debug!(publisher = address, reason, "still cannot follow");
                    backoff.next()
                }
                Ended::Unreachable(reason) => {
                    warn!(publisher = address, reason, "cannot follow; trying on");
                    backoff.next()
                }
                Ended::Refused(reason) => {
                    warn!(publisher = address, reason, "link given up");
                    backoff.next()
                }
                Ended::Superseded => Duration::ZERO, // an alarm was raised already
                Ended::Lost(reason) => {
                    info!(publisher = address, reason, "link lost");
                    // A link that never lasts is no success: its publisher ends it for what this node says.
                    if began.elapsed() >= MAX_BACKOFF {
                        backoff.reset();
                    }
                    backoff.next()
                }
            };
            failing = matches!(ended, Ended::Unreachable(_));
            self.note_failure(ended.to_string());
            tokio::select! {
                () = shutdown.wait() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.note_failure("stopped".to_owned());
    }

    async fn follow(&mut self, address: &str, rota: &mut Rota) -> Ended {
        let channel = match connect(address, self.options.tls.clone()).await {
            Ok(channel) => channel,
            Err(error) => return Ended::Unreachable(telemetry::causes(&error).to_string()),
        };
        match Link::open(self, address, channel).await {
            Ok(link) => link.run(rota).await,
            Err(status) => Ended::Unreachable(explain(&status)),
        }
    }

    fn note_failure(&self, reason: String) {
        self.status.send_modify(|status| status.disconnected(reason));
    }
}
