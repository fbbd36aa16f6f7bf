//! What one listener lets its clients hold. docs/limits.md lists all of it.

use std::time::Duration;

use crate::connect::{CONNECTION_WINDOW, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW};

/// For a TLS client to send its ClientHello. Clients send it with the first packet they may; this leaves time for one that
/// is lost and sent again after a second.
pub(super) const CLIENT_HELLO: Duration = Duration::from_secs(3);
/// For the whole handshake, from the accept on. A round trip around the world and a busy CPU take under a second.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// For a client that was refused to read why and close.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// For the first request after the accept, where clients need no certificate: a slow client needs three round trips.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// The same for peers with a certificate. Some connect before they know what to ask; their number is bounded by identity.
const FIRST_REQUEST_OF_PEERS: Duration = Duration::from_secs(30);
/// For the rest of a later HTTP/1 request's head, once it has begun.
pub(super) const HEAD: Duration = Duration::from_secs(10);
/// For a connection without a request: above the 60 s after which common balancers close theirs, so that they never send into
/// a connection that is being closed.
const IDLE: Duration = Duration::from_secs(75);
/// The same for peers with a certificate: the next request would cost a handshake on both sides.
const IDLE_OF_PEERS: Duration = Duration::from_secs(600);
/// For a client without a certificate to take the next part of an answer. A phone in a tunnel may come back.
pub(super) const UNTAKEN: Duration = Duration::from_secs(60);
/// For a connection that was asked to end (HTTP/2 GOAWAY) to do so.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);
/// HTTP/2 pings to clients without a certificate, and the time for their answers: slower than among peers, whose lease
/// hangs on it.
const PING: Duration = Duration::from_secs(20);
/// TCP asks after so much silence whether the other end is still there: HTTP/1 has no ping, and a host that lost its power
/// says no goodbye.
pub(super) const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// It asks again this often,
pub(super) const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// this many times.
pub(super) const TCP_KEEPALIVE_RETRIES: u32 = 3;
/// Streams that a client opened and reset before they were looked at (CVE-2023-44487); more end the connection.
pub(super) const PENDING_RESETS: usize = 20;
/// Streams that this end reset because of what was sent on them, kept to tell late frames from new mistakes.
pub(super) const OWN_RESETS: usize = 64;
/// Connections of one authenticated peer to one listener. A peer needs two or three; the rest is for those that broke and
/// are not noticed yet.
const PER_IDENTITY: usize = 16;
/// Handshakes, and connections without an identity, on a listener for peers with certificates: a herd that reconnects passes
/// through, and silence takes no more than this of what peers need.
const HANDSHAKES: usize = 1_024;

/// What one listener lets its clients hold.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Of them, those in their handshake or without a certificate.
    pub unauthenticated: usize,
    /// Of them, those of one authenticated identity.
    pub per_identity: usize,
    /// Whether `per_identity` counts the connections under one authority: where each peer has an authority of its own.
    pub by_authority: bool,
    /// From the accept to the head of the first request.
    pub first_request: Duration,
    /// Without a request.
    pub idle: Duration,
    /// From a request's head to the head of its answer; `None`: the service bounds it.
    pub answer: Option<Duration>,
    /// Paths that `answer` does not concern: they take a stream of messages, and their service bounds it.
    pub unbounded: &'static [&'static str],
    /// Requests at once on one connection (HTTP/2).
    pub streams: u32,
    /// Octets of a request's head.
    pub head_bytes: u32,
    /// Octets of one request's body that were received and not read yet (HTTP/2).
    pub stream_window: u32,
    /// The same of one connection.
    pub connection_window: u32,
    /// How often an HTTP/2 client is asked for a sign of life, and how long it may take to answer.
    pub ping: (Duration, Duration),
    /// Whether only HTTP/2 is spoken.
    pub http2_only: bool,
}

impl Bounds {
    /// gRPC among peers with certificates, for streams that stay: synchronization.
    pub fn of_federation(connections: usize) -> Self {
        Self {
            connections,
            unauthenticated: HANDSHAKES.min(connections / 4).max(1),
            per_identity: PER_IDENTITY,
            by_authority: false,
            first_request: FIRST_REQUEST_OF_PEERS,
            idle: IDLE_OF_PEERS,
            // Streams are answered at once; what follows is not bounded by it.
            answer: Some(Duration::from_secs(10)),
            unbounded: &[],
            // A subscriber needs two: `Subscribe` and `WatchRevoked`.
            streams: 8,
            head_bytes: 16 << 10,
            // A report may have a megabyte, and should not wait for window updates on a long road.
            stream_window: 1 << 20,
            connection_window: 1 << 20,
            ping: (KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT),
            http2_only: true,
        }
    }

    /// gRPC among control nodes. `unbounded` are the paths of its client streams.
    pub fn of_raft(connections: usize, unbounded: &'static [&'static str]) -> Self {
        Self {
            // Adding a node may take a minute, a forwarded write 30 s; both bound themselves.
            answer: Some(Duration::from_secs(90)),
            unbounded,
            // Every request that a node forwards is one; with fewer, writes would wait for one another at the sender.
            streams: 4_096,
            stream_window: STREAM_WINDOW,
            connection_window: CONNECTION_WINDOW,
            ..Self::of_federation(connections)
        }
    }

    /// Enrolment, where anyone may come: one small message and its answer.
    pub fn of_enrolment(connections: usize) -> Self {
        Self {
            connections,
            unauthenticated: connections,
            per_identity: PER_IDENTITY,
            by_authority: false,
            first_request: FIRST_REQUEST,
            idle: IDLE,
            // A write through the quorum, possibly after an election: clients wait 15 s.
            answer: Some(Duration::from_secs(20)),
            unbounded: &[],
            // A client asks once; four leave room for one that gave up and asks again. With the windows, that is what an
            // unknown client may make this process keep: 32 KiB and as much again while messages are put together.
            streams: 4,
            head_bytes: 8 << 10,
            stream_window: 8 << 10,
            connection_window: 64 << 10,
            ping: (PING, PING),
            http2_only: true,
        }
    }

    /// The operator API: REST and watches, where tokens are looked at per request.
    pub fn of_api(connections: usize) -> Self {
        Self {
            // Handlers bound the body's arrival, reads and writes by themselves; watches stay.
            answer: None,
            streams: 100,
            head_bytes: 32 << 10,
            // 16 MiB over 100 ms of road take 13 s; a thousand connections hold 128 MiB at worst.
            stream_window: 128 << 10,
            connection_window: 128 << 10,
            http2_only: false,
            ..Self::of_enrolment(connections)
        }
    }

    /// The admin port: small pages without bodies.
    pub fn of_admin(connections: usize) -> Self {
        Self {
            answer: Some(Duration::from_secs(30)),
            streams: 8,
            head_bytes: 16 << 10,
            stream_window: 16 << 10,
            connection_window: 64 << 10,
            ..Self::of_api(connections)
        }
    }
}
