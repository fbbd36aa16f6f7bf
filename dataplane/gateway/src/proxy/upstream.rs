//! Connections to upstreams: the seam behind which they are kept.
//!
//! One [`UpstreamClient`] per serving thread, which shares nothing. It sends a request once, on the connection it is
//! told to: what is sent again is decided in [`tries`](super::tries), and nowhere else.

mod connector;
mod names;
mod sender;
mod slots;
mod tcp;

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use hyper::{
    client::conn::http1::SendRequest,
    rt::{Read, Write},
};
use tokio::time::Instant;
use tower::Service as _;

pub(super) use self::sender::Sender;
pub use self::slots::Slots;
use self::{
    connector::{BoxError, ConnectTimeout},
    names::Names,
    slots::{NoSlot, Slot},
};
pub(crate) use self::{
    connector::{Connector, MAX_ANSWER_HEAD, MAX_ANSWER_HEADERS, http1, is_ours},
    names::MOST_LOOKUP_DESCRIPTORS,
    tcp::judge_literal,
};
use super::{body::RequestBody, framing::BadFraming};
use crate::{
    egress::EgressDenied,
    health::{EndpointHealth, Failure},
    problem::Refusal,
    table::{ConnectProfile, Endpoint},
};

/// Other threads have so long to close their idle connections before clients lose theirs.
const EVICT_AFTER: Duration = Duration::from_millis(50);
/// Idle connections kept per endpoint and thread: the requests in flight of a busy Api, and not a backend's limit.
const MAX_IDLE: usize = 256;
/// For how long: below the 60 s after which common servers and balancers close, so that we close first.
const IDLE: Duration = Duration::from_secs(50);
/// For a request that can go only once: common servers close after 5 s without one (Node.js, Apache httpd, Uvicorn), some
/// after 2 s (Gunicorn), and what is on its way then is lost. This leaves the slower ones of networks a second to carry it.
pub(super) const YOUNG: Duration = Duration::from_secs(1);
/// A kept connection that breaks so soon after a request went out on it had been closed before that came: the news takes
/// a round trip. Later it is a failure of the endpoint.
pub(super) const STALE_WITHIN: Duration = Duration::from_secs(1);
/// Between two looks at connections that no request takes: they live at most so much longer.
pub(super) const SWEEP: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    /// No connection in time.
    #[error("no connection in time")]
    ConnectTimeout(#[source] BoxError),
    /// No connection.
    #[error("unreachable")]
    Unreachable(#[source] BoxError),
    /// The gateway may not connect there.
    #[error(transparent)]
    EgressDenied(EgressDenied),
    /// The connection ended before it took the request: nothing was written.
    #[error("the connection closed before it took the request")]
    Unsent(#[source] hyper::Error),
    /// A kept connection broke at once: its endpoint had closed it, as it may while nothing is under way.
    #[error("a kept connection was closed already")]
    Stale(#[source] hyper::Error),
    /// The connection broke before the head of the answer.
    #[error("the connection broke before an answer")]
    Broken(#[source] hyper::Error),
    /// What came is no HTTP.
    #[error("what came is no answer")]
    Malformed(#[source] hyper::Error),
    /// The head of the answer is over our limits.
    #[error("the head of the answer is too large")]
    HeadTooLarge(#[source] hyper::Error),
    /// It is not certain where the answer ends.
    #[error("the answer is framed badly")]
    Framing(#[from] BadFraming),
    /// No head of an answer within one try's time.
    #[error("no answer within one try's time")]
    TryTimeout,
    /// No head of an answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer is none we can pass on.
    #[error("answered 101 to a request that asked for no upgrade")]
    UnaskedUpgrade,
    /// The process may open no more connections to upstreams.
    #[error(transparent)]
    NoSlot(#[from] NoSlot),
    /// There is nowhere to send it.
    #[error("no endpoint")]
    NoEndpoint,
    /// No request can be made of what came.
    #[error("no request can be made of it")]
    Request(#[source] http::Error),
    /// The client sent more than it may.
    #[error("the request body is too large")]
    TooLarge,
    /// The client stopped sending.
    #[error("the client stopped sending")]
    TooSlow,
    /// What the client sent is no body.
    #[error("the request body is framed badly")]
    BadBody,
    /// The client left.
    #[error("the client left")]
    ClientLeft,
}

/// Which kept connections will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Any: if it turns out to be closed, the request goes again.
    Any,
    /// Only one that was in use a moment ago: the request can go only once.
    Young,
    /// None.
    Never,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The client's.
    Downstream,
    /// The endpoint's.
    Upstream,
    /// Ours, or the configuration's.
    Internal,
}

/// Whether sending the request again is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resend {
    /// Nothing of it can have been seen.
    Always,
    /// It may have been acted on.
    IfIdempotent,
    /// It would not help, or there is no client to answer.
    Never,
}

impl UpstreamError {
    /// Whose fault it is.
    pub(super) const fn side(&self) -> Side {
        match self {
            Self::ConnectTimeout(_)
            | Self::Unreachable(_)
            | Self::Unsent(_)
            | Self::Stale(_)
            | Self::Broken(_)
            | Self::Malformed(_)
            | Self::HeadTooLarge(_)
            | Self::Framing(_)
            | Self::TryTimeout
            | Self::Timeout
            | Self::UnaskedUpgrade => Side::Upstream,
            Self::EgressDenied(_) | Self::NoSlot(_) | Self::NoEndpoint | Self::Request(_) => Side::Internal,
            Self::TooLarge | Self::TooSlow | Self::BadBody | Self::ClientLeft => Side::Downstream,
        }
    }

    /// Whether sending the request again is safe.
    pub(super) const fn resend(&self) -> Resend {
        match self {
            Self::ConnectTimeout(_) | Self::Unreachable(_) | Self::Unsent(_) => Resend::Always,
            Self::Stale(_) | Self::Broken(_) | Self::TryTimeout => Resend::IfIdempotent,
            Self::Malformed(_)
            | Self::HeadTooLarge(_)
            | Self::Framing(_)
            | Self::Timeout
            | Self::UnaskedUpgrade
            | Self::EgressDenied(_) // another endpoint takes its place, which is no repeat
            | Self::NoSlot(_)
            | Self::NoEndpoint
            | Self::Request(_)
            | Self::TooLarge
            | Self::TooSlow
            | Self::BadBody
            | Self::ClientLeft => Resend::Never,
        }
    }

    /// Whether no endpoint saw anything of the request.
    pub(super) const fn has_reached_none(&self) -> bool {
        matches!(
            self,
            Self::ConnectTimeout(_)
                | Self::Unreachable(_)
                | Self::Unsent(_)
                | Self::EgressDenied(_)
                | Self::NoEndpoint
        )
    }

    /// What speaks against the endpoint.
    pub(super) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Unreachable(error) if is_ours(&**error) => None,
            Self::ConnectTimeout(_) | Self::Unreachable(_) => Some(Failure::Connect),
            Self::TryTimeout | Self::Timeout => Some(Failure::Timeout),
            Self::Unsent(_)
            | Self::Broken(_)
            | Self::Malformed(_)
            | Self::Framing(_)
            | Self::UnaskedUpgrade => Some(Failure::Reset),
            // The endpoint did its part.
            Self::HeadTooLarge(_) => None,
            Self::Stale(_)
            | Self::EgressDenied(_)
            | Self::NoSlot(_)
            | Self::NoEndpoint
            | Self::Request(_)
            | Self::TooLarge
            | Self::TooSlow
            | Self::BadBody
            | Self::ClientLeft => None,
        }
    }

    /// What the client is told; `None`: it is gone.
    pub(super) fn refusal(&self, max_body: u64) -> Option<Refusal> {
        Some(match self {
            Self::ConnectTimeout(_) | Self::TryTimeout | Self::Timeout => Refusal::UpstreamTimeout,
            Self::Unreachable(_)
            | Self::Unsent(_)
            | Self::Stale(_)
            | Self::Broken(_)
            | Self::Malformed(_)
            | Self::Framing(_)
            | Self::UnaskedUpgrade => Refusal::UpstreamUnreachable,
            Self::EgressDenied(_) => Refusal::EgressDenied,
            Self::HeadTooLarge(_) => Refusal::AnswerHeadTooLarge,
            Self::NoSlot(_) => Refusal::UpstreamsFull,
            Self::NoEndpoint => Refusal::NoEndpoint,
            Self::Request(error) => Refusal::BadPath(error.to_string()),
            Self::TooLarge => Refusal::BodyTooLarge { limit: max_body },
            Self::TooSlow => Refusal::BodyTimeout,
            Self::BadBody => Refusal::BadBody,
            Self::ClientLeft => return None,
        })
    }
}

fn no_connection(error: BoxError) -> UpstreamError {
    match EgressDenied::of(&*error) {
        Some(denied) => UpstreamError::EgressDenied(*denied),
        None if error.is::<ConnectTimeout>() => UpstreamError::ConnectTimeout(error),
        None => UpstreamError::Unreachable(error),
    }
}

/// Speaks HTTP/1.1 on a connection. The slot is free again when it ends.
async fn speak<S>(stream: S, slot: Slot) -> Result<SendRequest<RequestBody>, UpstreamError>
where
    S: Read + Write + Unpin + 'static,
{
    let (requests, connection) = http1().handshake(stream).await.map_err(UpstreamError::Unsent)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "upstream connection ended");
        }
        drop(slot); // its descriptor is free
    });
    Ok(requests)
}

/// A serving thread's connections to upstreams. Cloning shares them.
#[derive(Clone)]
pub(super) struct UpstreamClient(Rc<Connections>);

/// By the number of an endpoint or a profile. Each request looks into both.
type ById<T> = HashMap<u64, T, foldhash::fast::RandomState>;

struct Connections {
    slots: Arc<Slots>,
    idle: RefCell<ById<Idle>>,
    connectors: RefCell<ById<(Weak<ConnectProfile>, Connector)>>,
    names: Names,
}

/// Connections to one endpoint that wait for a request, the last used at the end.
struct Idle {
    endpoint: Weak<EndpointHealth>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    sender: Sender,
    /// When the head of its last answer came. Its endpoint may count from then on: the gateway does not know when it sent the last
    /// of the body.
    answered: Instant,
    since: Instant,
}

impl Waiting {
    /// Whether it may still be used, as of `now`.
    fn is_fit(&self, reuse: Reuse, now: Instant) -> bool {
        let (since, limit) = match reuse {
            Reuse::Any => (self.since, IDLE),
            Reuse::Young => (self.answered, YOUNG),
            Reuse::Never => return false,
        };
        now.saturating_duration_since(since) < limit && self.sender.is_allowed() && self.sender.is_ready()
    }
}

impl UpstreamClient {
    /// None so far; each is to have one of these slots.
    pub(super) fn new(slots: Arc<Slots>) -> Self {
        Self::over(slots, Names::default())
    }

    fn over(slots: Arc<Slots>, names: Names) -> Self {
        let (idle, connectors) = (RefCell::default(), RefCell::default());
        Self(Rc::new(Connections { slots, idle, connectors, names }))
    }

    /// A kept connection, the last used of those that will do, of which nothing says that it has closed. The egress that allowed it
    /// must still hold.
    pub(super) fn kept(&self, endpoint: &Endpoint, reuse: Reuse, now: Instant) -> Option<Sender> {
        let mut idle = self.0.idle.borrow_mut();
        let waiting = &mut idle.get_mut(&endpoint.health.id)?.waiting;
        match waiting.iter().rposition(|one| one.is_fit(reuse, now)) {
            Some(at) => waiting.remove(at).map(|one| one.sender),
            None if reuse == Reuse::Young => {
                // A new one takes the oldest's place, so that what can go on young ones only leaves no heap of old ones behind.
                drop(waiting.pop_front());
                None
            }
            None => None,
        }
    }

    /// Judges an endpoint that is an address, before anything is taken up for a connection to it. Names are judged once their addresses
    /// are known.
    pub(super) fn judge(&self, endpoint: &Endpoint) -> Result<(), UpstreamError> {
        judge_literal(&endpoint.profile.egress, &endpoint.origin()).map_err(UpstreamError::EgressDenied)
    }

    /// A new connection, in this slot.
    pub(super) async fn connect(&self, endpoint: &Endpoint, slot: Slot) -> Result<Sender, UpstreamError> {
        let egress = endpoint.profile.egress.clone();
        let allowed_by = egress.generation(); // before any address is judged
        let mut connector = self.connector(&endpoint.profile);
        let requests = match &endpoint.profile.tunnel {
            None => speak(connector.call(endpoint.origin()).await.map_err(no_connection)?, slot).await?,
            Some(tunnel) => {
                let connecting = connector.tunnel(tunnel, endpoint.origin());
                speak(connecting.await.map_err(no_connection)?, slot).await?
            }
        };
        Ok(Sender { requests, egress, allowed_by })
    }

    /// A slot for a new connection. Where all are taken, kept ones give way.
    pub(super) async fn slot(&self) -> Result<Slot, NoSlot> {
        match self.0.slots.take() {
            Ok(slot) => Ok(slot),
            Err(NoSlot) => self.0.slots.wait().await,
        }
    }

    /// Closes connections of this thread as requests of any thread wait for slots: kept ones, those first that have waited for
    /// longest; and where no thread has one for a moment, what `evict` finds: clients that do not take their answers.
    pub(super) async fn give_way(&self, evict: impl Fn() -> bool) {
        let slots = &self.0.slots;
        let close = |close: &dyn Fn() -> bool| {
            while slots.claim() {
                if !close() {
                    return slots.unclaim();
                }
            }
        };
        loop {
            slots.wanted().await;
            close(&|| self.0.close_oldest());
            tokio::time::sleep(EVICT_AFTER).await;
            close(&|| self.0.close_oldest());
            close(&evict);
        }
    }

    /// Keeps a connection for the next request, once its answer is through.
    pub(super) fn keep(&self, endpoint: &Endpoint, mut sender: Sender) {
        let answered = Instant::now();
        if sender.is_ready() {
            return self.0.keep(&endpoint.health, Waiting { sender, answered, since: answered });
        }
        let (connections, health) = (self.0.clone(), endpoint.health.clone());
        tokio::task::spawn_local(async move {
            if sender.ready().await.is_ok() {
                connections.keep(&health, Waiting { sender, answered, since: Instant::now() });
            }
        });
    }

    /// Closes connections that waited too long, or for an endpoint that nothing names any more.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.0.idle.borrow_mut().retain(|_, idle| {
            idle.waiting.retain(|waiting| waiting.is_fit(Reuse::Any, now));
            idle.endpoint.strong_count() > 0 && !idle.waiting.is_empty()
        });
    }

    fn connector(&self, profile: &Arc<ConnectProfile>) -> Connector {
        let mut connectors = self.0.connectors.borrow_mut();
        if let Some((_, connector)) = connectors.get(&profile.id) {
            return connector.clone();
        }
        // A new profile is rare, and the time to forget those that nothing uses any more.
        connectors.retain(|_, (profile, _)| profile.strong_count() > 0);
        let connector = Connector::over(profile, &self.0.names);
        connectors.insert(profile.id, (Arc::downgrade(profile), connector.clone()));
        connector
    }
}

impl Connections {
    /// Closes the connection that has waited for longest.
    /// Whether there was one.
    fn close_oldest(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let oldest = idle.values_mut().filter(|idle| !idle.waiting.is_empty());
        let oldest = oldest.min_by_key(|idle| idle.waiting.front().map(|waiting| waiting.since));
        oldest.and_then(|idle| idle.waiting.pop_front()).is_some()
    }

    fn keep(&self, endpoint: &Arc<EndpointHealth>, one: Waiting) {
        if self.slots.is_wanted() {
            return; // closed: a request waits for its slot
        }
        let mut idle = self.idle.borrow_mut();
        let waiting = &mut idle
            .entry(endpoint.id)
            .or_insert_with(|| Idle { endpoint: Arc::downgrade(endpoint), waiting: VecDeque::new() })
            .waiting;
        if waiting.len() >= MAX_IDLE {
            waiting.pop_front();
        }
        waiting.push_back(one);
    }
}

#[cfg(test)]
mod tests;
