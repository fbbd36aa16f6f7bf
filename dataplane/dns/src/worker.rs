//! A serving thread: its runtime, its sockets, and what it answers with.

use std::{
    cell::RefCell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use hanse_dns_wire::cookie::Secret;
use hanse_process::{BoundedLog, Pulse, Shutdown};
use rand::{RngCore as _, SeedableRng as _, rngs::SmallRng};
use tokio::{
    runtime::{Builder, LocalOptions},
    task::JoinSet,
};
use tracing::error;

use crate::{
    config::Limits,
    geo::InUse,
    keys::Keys,
    metrics::{DnsMetrics, ThreadMetrics},
    places::SeenPlaces,
    respond::{Moment, Outcome, Responder, Response, Sender},
    sockets::Pair,
    tcp, udp,
    zones::Zones,
};

/// How often a serving thread shows that it turns.
const PULSE: Duration = Duration::from_secs(1);
/// A serving thread that has not shown it for so long hangs: nothing on it may take even a hundredth of that.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(10);

/// Octets of the header of a message (RFC 1035, section 4.1.1).
const HEADER: usize = 12;
/// The code of a server that failed.
const SERVFAIL: u8 = 2;

/// What all serving threads answer from.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) zones: Arc<ArcSwapOption<Zones>>,
    pub(crate) places: SeenPlaces,
    pub(crate) geo: InUse,
    pub(crate) keys: Arc<Keys>,
}

/// A serving thread before it runs.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) known: Known,
    pub(crate) limits: Limits,
    pub(crate) secret: Secret,
    pub(crate) metrics: Arc<DnsMetrics>,
    pub(crate) pulse: Pulse,
}

/// What the tasks of one serving thread share.
pub(crate) struct Serving {
    zones: Arc<ArcSwapOption<Zones>>,
    /// What is known of other regions, and the clock by which it is dated.
    places: SeenPlaces,
    geo: InUse,
    pub(crate) metrics: Arc<DnsMetrics>,
    index: usize,
    state: RefCell<State>,
    panics: BoundedLog,
    fallbacks: BoundedLog,
    /// Errors of sockets.
    pub(crate) errors: BoundedLog,
}

struct State {
    responder: Responder,
    draws: SmallRng,
    /// The zones that the responder last heard of.
    zones: Option<Arc<Zones>>,
}

impl Worker {
    /// Answers until the shutdown.
    pub(crate) fn run(self, pairs: Vec<Pair>, shutdown: Shutdown) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(self.serve(pairs, shutdown))
    }

    async fn serve(self, pairs: Vec<Pair>, shutdown: Shutdown) -> io::Result<()> {
        let rate = self.limits.of_each(self.metrics.threads.len());
        let serving = Rc::new(Serving {
            zones: self.known.zones,
            places: self.known.places,
            geo: self.known.geo,
            metrics: self.metrics,
            index: self.index,
            state: RefCell::new(State {
                responder: Responder::new(rate, self.secret, self.known.keys),
                draws: SmallRng::from_os_rng(),
                zones: None,
            }),
            panics: BoundedLog::default(),
            fallbacks: BoundedLog::default(),
            errors: BoundedLog::default(),
        });
        let mut tasks = JoinSet::new();
        for Pair { udp, tcp } in pairs {
            let (udp, tcp) = (tokio::net::UdpSocket::from_std(udp)?, tokio::net::TcpListener::from_std(tcp)?);
            tasks.spawn_local(udp::serve(udp, serving.clone()));
            tasks.spawn_local(tcp::serve(tcp, serving.clone()));
        }
        let pulse = self.pulse;
        tasks.spawn_local(async move {
            loop {
                pulse.beat();
                tokio::time::sleep(PULSE).await;
            }
        });
        tokio::select! {
            () = shutdown.wait() => Ok(()),
            _ended = tasks.join_next() => Err(io::Error::other("a task of a serving thread ended")),
        }
    }
}

impl Serving {
    /// Answers one message, also where answering panics.
    pub(crate) fn answer(&self, message: &[u8], sender: Sender) -> Response {
        let began = Instant::now();
        let answered = catch_unwind(AssertUnwindSafe(|| self.respond(message, sender, began)));
        let response = answered.unwrap_or_else(|_| {
            if let Some(left_out) = self.panics.allows() {
                error!(
                    left_out,
                    octets = message.len(),
                    "answering a query panicked; its client gets SERVFAIL"
                );
            }
            Response::of(failed(message), Outcome::Failed)
        });
        if response.fell_back
            && let Some(left_out) = self.fallbacks.allows()
        {
            error!(left_out, "a policy failed or gave no address; never-empty answered in its place");
        }
        self.own_metrics().count(sender.transport, &response, began.elapsed());
        response
    }

    fn respond(&self, message: &[u8], sender: Sender, now: Instant) -> Response {
        let (zones, places, geo) = (self.zones.load(), self.places.load(), self.geo.load());
        let state = &mut *self.state.borrow_mut();
        if !is_same(state.zones.as_ref(), zones.as_ref()) {
            state.zones.clone_from(&zones);
            if let Some(zones) = &*zones {
                state.responder.zones_changed(zones);
            }
        }
        let moment = Moment {
            zones: zones.as_deref(),
            places: &places,
            geo: geo.as_deref(),
            now: self.places.clock(now),
            unix: unix_now(),
            draw: state.draws.next_u64(),
        };
        state.responder.respond(message, &moment, sender)
    }

    /// What this thread counts.
    pub(crate) fn own_metrics(&self) -> &ThreadMetrics {
        &self.metrics.threads[self.index]
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// SERVFAIL to a query, without its question: a header alone, which no code of messages makes. So the client asks another name server at
/// once. `None`: the message is no query.
fn failed(message: &[u8]) -> Option<Vec<u8>> {
    let &[id_high, id_low, flags, ..] = message.first_chunk::<HEADER>()?;
    let is_response = flags & 0x80 != 0;
    let opcode_and_recursion_desired = flags & 0x79;
    let mut header = vec![0; HEADER];
    header[..4].copy_from_slice(&[id_high, id_low, 0x80 | opcode_and_recursion_desired, SERVFAIL]);
    (!is_response).then_some(header)
}

fn is_same(one: Option<&Arc<Zones>>, other: Option<&Arc<Zones>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use hanse_dns_wire::{Question, RecordType, Transport, absolute};

    use super::*;
    use hanse_link::KeptPlaces;
    use hanse_process::bring_back;

    #[test]
    fn a_query_that_panics_takes_no_other_down() {
        let serving = Serving {
            zones: Arc::default(),
            places: SeenPlaces::new(KeptPlaces::default()),
            geo: InUse::default(),
            metrics: Arc::new(DnsMetrics::new(1)),
            index: 0,
            state: RefCell::new(State {
                responder: Responder::new(None, Secret::new([9; 16]), Arc::default()),
                draws: SmallRng::seed_from_u64(1),
                zones: None,
            }),
            panics: BoundedLog::default(),
            fallbacks: BoundedLog::default(),
            errors: BoundedLog::default(),
        };
        let request = Question::new(absolute("orders.example").unwrap(), RecordType::A).request(None, 0);
        let sender = Sender { address: [192, 0, 2, 1].into(), transport: Transport::Udp };
        let answer = |message: &[u8]| bring_back("query-panics", || serving.answer(message, sender)).message;
        let message = request.message();
        let failed = answer(message).unwrap();
        assert_eq!(failed, [message[0], message[1], 0x80 | message[2] & 1, SERVFAIL, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer(&message[..11]), None, "no header");
        let mut response = message.to_vec();
        response[2] |= 0x80;
        assert_eq!(answer(&response), None, "two servers must not answer each other");
        assert!(serving.answer(message, sender).message.is_some_and(|answer| answer.len() > HEADER));
    }
}
