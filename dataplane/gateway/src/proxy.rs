//! The shell around the decision: sockets, threads, bodies, upstreams.
//!
//! One thread per core, each with its own runtime, listening socket and upstream connections. Nothing is shared between
//! them but the routing table, which they read, and counters, which they do not wait for.

mod accept;
mod activity;
mod body;
mod client_stream;
mod connection;
mod exchange;
mod forward;
mod framing;
mod hops;
mod origin;
mod outgoing;
mod places;
mod proxy_protocol;
mod record;
mod tries;
mod upstream;
mod worker;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use arc_swap::ArcSwap;
use hanse_process::Shutdown;
use http::HeaderValue;
use rustls::ServerConfig;
use tokio::sync::oneshot;

pub use accept::bind;

pub(crate) use self::hops::own_id;
pub use self::upstream::Slots;
pub(crate) use self::upstream::{
    Connector, MAX_ANSWER_HEAD, MAX_ANSWER_HEADERS, MOST_LOOKUP_DESCRIPTORS, http1, is_ours, judge_literal,
};
use self::worker::Worker;
use crate::{
    access_log::AccessLog,
    config::{Drain, Limits, Network},
    metrics::GatewayMetrics,
    table::RoutingTable,
};

/// What serving threads need.
pub struct DataplaneOptions {
    /// What is served; replaced as a whole while requests are in flight.
    pub table: Arc<ArcSwap<RoutingTable>>,
    /// Bounds on what clients may do.
    pub limits: Limits,
    /// Client connections at once, on all threads.
    pub max_connections: usize,
    /// What connections to upstreams are counted on.
    pub slots: Arc<Slots>,
    /// How it stops.
    pub drain: Drain,
    /// One socket per thread for plain HTTP, all on one address; empty: none.
    pub http: Vec<TcpListener>,
    /// One socket per thread for HTTPS, all on one address; empty: none.
    pub https: Vec<TcpListener>,
    /// For HTTPS.
    pub tls: Option<Arc<ServerConfig>>,
    /// The proxies before it.
    pub trusted_proxies: Arc<[Network]>,
    /// Whether connections for plain HTTP begin with a PROXY header.
    pub http_proxy_protocol: bool,
    /// Whether connections for HTTPS begin with a PROXY header.
    pub https_proxy_protocol: bool,
    /// How this gateway shows itself in `CDN-Loop`.
    pub loop_id: HeaderValue,
    /// One line per request.
    pub access_log: Option<AccessLog>,
    /// Counters; made for as many threads as there are to be.
    pub metrics: Arc<GatewayMetrics>,
    /// Whether a panic on a serving thread ends the process: else a core would be gone without a word.
    pub abort_on_panic: bool,
}

/// Running serving threads.
pub struct Dataplane {
    threads: Vec<oneshot::Receiver<io::Result<()>>>,
    /// The address of plain HTTP.
    pub http: Option<SocketAddr>,
    /// The address of HTTPS.
    pub https: Option<SocketAddr>,
}

impl Dataplane {
    /// Starts one thread per entry of `options.metrics.workers`. They stop with the shutdown, after requests in flight.
    pub fn start(options: DataplaneOptions, shutdown: &Shutdown) -> io::Result<Self> {
        let address = |sockets: &[TcpListener]| sockets.first().map(TcpListener::local_addr).transpose();
        let (http_address, https_address) = (address(&options.http)?, address(&options.https)?);
        let (mut http, mut https) = (options.http.into_iter(), options.https.into_iter());
        let mut threads = Vec::new();
        for index in 0..options.metrics.workers.len() {
            let worker = Worker {
                index,
                table: options.table.clone(),
                limits: options.limits,
                max_connections: options.max_connections,
                slots: options.slots.clone(),
                drain: options.drain,
                loop_id: options.loop_id.clone(),
                trusted_proxies: options.trusted_proxies.clone(),
                metrics: options.metrics.clone(),
                access_log: options.access_log.clone(),
            };
            let sockets = worker::Sockets {
                http: http.next(),
                http_proxy_protocol: options.http_proxy_protocol,
                https: https.next(),
                https_proxy_protocol: options.https_proxy_protocol,
                tls: options.tls.clone(),
            };
            let shutdown = shutdown.clone();
            let abort = options.abort_on_panic;
            let (end, ended) = oneshot::channel();
            std::thread::Builder::new().name(format!("gateway-{index}")).spawn(move || {
                if abort {
                    worker::abort_on_panic();
                }
                let _ = end.send(worker.run(sockets, shutdown)); // the receiver may be gone
            })?;
            threads.push(ended);
        }
        Ok(Self { threads, http: http_address, https: https_address })
    }

    /// Returns when every thread has stopped, or one has failed.
    pub async fn ended(self) -> io::Result<()> {
        let ends = self.threads.into_iter().map(|ended| async {
            ended.await.unwrap_or_else(|_| Err(io::Error::other("a serving thread panicked")))
        });
        futures_util::future::try_join_all(ends).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
