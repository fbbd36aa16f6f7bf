//! What one connection is doing: pure bookkeeping, so that a listener knows which connections it may close.
//!
//! A request is *in flight* while the next step is this process's: its body has arrived and its answer is being made, or a
//! stream waits for something to say. While the client has the next step (it has not sent all of the body, or has not taken
//! what was answered) the connection may be closed in favour of another; so half a request protects nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    bounds::{HEAD, UNTAKEN},
    metrics::Ended,
};

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Requests {
    state: Mutex<State>,
    /// Wakes the connection's task: it gives its place to another.
    evicted: Notify,
}

#[derive(Debug)]
struct State {
    /// When the connection was accepted, then when a request last began, got on or ended.
    quiet_since: Instant,
    /// Whether there ever was a request.
    begun: bool,
    /// Whether the last request was HTTP/1, where heads can be half sent between two requests.
    http1: bool,
    /// When the first octets of the next head came.
    half_head: Option<Instant>,
    next: u64,
    open: BTreeMap<u64, Turn>,
}

/// Whose step is next in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The service waits for more of the body.
    Sending,
    /// This process works on the request.
    Ours,
    /// It makes the next part of the answer, or waits for something to say. What else the client sends decides nothing any more.
    Answering,
    /// The client has not taken what was last said.
    Taking(Instant),
}

/// A request and its answer, until both are over.
#[derive(Debug)]
pub(super) struct OpenRequest {
    requests: Arc<Requests>,
    number: u64,
}

/// How long things may take on a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) first_request: Duration,
    pub(super) idle: Duration,
    /// For the client to take what was answered.
    pub(super) untaken: Option<Duration>,
}

/// What a look at the connection says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It is over.
    End(Ended),
    /// Nothing can be over before then.
    Again(Instant),
}

impl Requests {
    /// Of a connection accepted now.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                quiet_since: Instant::now(),
                begun: false,
                http1: false,
                half_head: None,
                next: 0,
                open: BTreeMap::new(),
            }),
            evicted: Notify::new(),
        })
    }

    /// A request's head has come.
    pub(super) fn open(self: &Arc<Self>, http1: bool) -> Arc<OpenRequest> {
        let mut state = self.state.lock();
        state.quiet_since = Instant::now();
        state.begun = true;
        state.http1 = http1;
        state.half_head = None;
        state.next += 1;
        let number = state.next;
        state.open.insert(number, Turn::Ours);
        Arc::new(OpenRequest { requests: self.clone(), number })
    }

    /// Octets came.
    pub(super) fn heard(&self) {
        let mut state = self.state.lock();
        if state.begun && state.http1 && state.open.is_empty() {
            state.half_head.get_or_insert_with(Instant::now);
        }
    }

    /// The client took a part of what had waited for it.
    pub(super) fn taken(&self) {
        let mut state = self.state.lock();
        // Before the first request there is nothing to take but the server's settings.
        if state.begun {
            state.quiet_since = Instant::now();
        }
    }

    /// Since when nothing has come of the connection, if it may be closed in favour of another: no request is in flight.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        let in_flight = state.open.values().any(|turn| matches!(turn, Turn::Ours | Turn::Answering));
        (!in_flight).then_some(state.quiet_since)
    }

    /// Has the connection's task end it.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    /// Resolves when it is to be ended.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Whether it has taken too long over something by `now`.
    pub(super) fn look(&self, patience: &Patience, now: Instant) -> Look {
        let state = self.state.lock();
        let due = match (state.begun, state.half_head) {
            (false, _) => Some((state.quiet_since + patience.first_request, Ended::NoRequest)),
            (true, Some(since)) => Some((since + HEAD, Ended::HalfHead)),
            (true, None) if state.open.is_empty() => Some((state.quiet_since + patience.idle, Ended::Idle)),
            (true, None) => None,
        };
        let untaken = patience.untaken.and_then(|untaken| {
            let taking = |turn: &Turn| if let Turn::Taking(since) = turn { Some(*since) } else { None };
            Some((state.open.values().filter_map(taking).min()? + untaken, Ended::Untaken))
        });
        let over = [due, untaken].into_iter().flatten().find(|(at, _)| *at <= now);
        if let Some((_, ended)) = over {
            return Look::End(ended);
        }
        // What begins after this look takes at least the shortest of these.
        let shortest = patience.idle.min(HEAD).min(patience.untaken.unwrap_or(UNTAKEN));
        let first = [due, untaken].into_iter().flatten().map(|(at, _)| at).min();
        Look::Again(first.unwrap_or(now + shortest).min(now + shortest))
    }
}

impl OpenRequest {
    fn turn(&self, change: impl FnOnce(Turn) -> Turn) {
        if let Some(turn) = self.requests.state.lock().open.get_mut(&self.number) {
            *turn = change(*turn);
        }
    }

    /// The service waits for a part of the body.
    pub(super) fn awaits(&self) {
        self.turn(|turn| if turn == Turn::Ours { Turn::Sending } else { turn });
    }

    /// A part of the body has come.
    pub(super) fn arrives(&self) {
        self.requests.state.lock().quiet_since = Instant::now();
        self.received();
    }

    /// All of the body has come, or the service wants no more of it.
    pub(super) fn received(&self) {
        self.turn(|turn| if turn == Turn::Sending { Turn::Ours } else { turn });
    }

    /// The answer's head is there, or the client took what there was: the next part of the answer is this process's to make.
    pub(super) fn answering(&self) {
        self.turn(|_| Turn::Answering);
    }

    /// A part of the answer waits for the client.
    pub(super) fn offers(&self) {
        self.turn(|_| Turn::Taking(Instant::now()));
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut state = self.requests.state.lock();
        state.open.remove(&self.number);
        state.quiet_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        first_request: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        untaken: Some(Duration::from_secs(60)),
    };

    /// Lets time pass, looking as a connection's task would; what ended it and when.
    async fn ends(requests: &Requests, within: u64) -> Option<(Ended, u64)> {
        let begun = Instant::now();
        loop {
            match requests.look(&PATIENCE, Instant::now()) {
                Look::End(ended) => return Some((ended, begun.elapsed().as_secs())),
                Look::Again(at) if at > begun + Duration::from_secs(within) => return None,
                Look::Again(at) => tokio::time::sleep_until(at).await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_ends() {
        let requests = Requests::new();
        requests.heard();
        assert_eq!(ends(&requests, 100).await, Some((Ended::NoRequest, 10)));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_counts_from_the_last_request_and_an_open_stream_is_not_idle() {
        let requests = Requests::new();
        let stream = requests.open(false);
        assert_eq!(ends(&requests, 3_600).await, None);
        assert!(requests.quiet_since().is_none());
        drop(stream);
        assert!(requests.quiet_since().is_some());
        assert_eq!(ends(&requests, 100).await, Some((Ended::Idle, 75)));
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_after_a_request_ends_sooner_than_idleness() {
        let requests = Requests::new();
        drop(requests.open(true));
        requests.heard();
        assert_eq!(ends(&requests, 100).await, Some((Ended::HalfHead, 10)));
        // A head that is completed is none; an HTTP/2 connection answers pings between two requests.
        let request = requests.open(true);
        requests.heard();
        drop(request);
        drop(requests.open(false));
        requests.heard();
        assert_eq!(ends(&requests, 100).await, Some((Ended::Idle, 75)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_in_flight_only_while_the_next_step_is_ours() {
        let requests = Requests::new();
        let request = requests.open(false);
        assert!(requests.quiet_since().is_none(), "the service has not asked for the body");
        request.awaits();
        assert!(requests.quiet_since().is_some(), "half a body");
        request.arrives();
        assert!(requests.quiet_since().is_none());
        request.offers();
        request.received();
        assert!(requests.quiet_since().is_some(), "the client does not take it");
        request.answering();
        assert!(requests.quiet_since().is_none());
        request.awaits();
        assert!(requests.quiet_since().is_none(), "a stream that was answered waits for messages");
        request.offers();
        assert_eq!(ends(&requests, 100).await, Some((Ended::Untaken, 60)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_quiet_only_since_it_last_took_something() {
        let requests = Requests::new();
        let accepted = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        requests.taken();
        assert_eq!(requests.quiet_since(), Some(accepted), "no request yet");
        drop(requests.open(true));
        tokio::time::advance(Duration::from_secs(5)).await;
        // The end of the answer lies in buffers.
        requests.taken();
        assert_eq!(requests.quiet_since(), Some(accepted + Duration::from_secs(10)));
    }
}
