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

use std::{io, net::TcpListener, sync::Arc};

use arc_swap::ArcSwap;
use hanse_identity::TunnelServer;
use hanse_process::Shutdown;
use hanse_topology::Exposure;
use http::HeaderValue;
use rustls::ServerConfig;
use tokio::sync::oneshot;

pub use accept::bind;

pub(crate) use self::hops::own_id;
pub use self::upstream::Slots;
pub(crate) use self::upstream::{
    Connector, MAX_ANSWER_HEAD, MAX_ANSWER_HEADERS, MOST_LOOKUP_DESCRIPTORS, http1, is_ours, judge_literal,
};
use self::worker::{Speaks, Worker};
use crate::{
    access_log::AccessLog,
    config::{Drain, Limits, Network},
    metrics::GatewayMetrics,
    table::{Protocol, RoutingTable},
    tunnel::Tunnels,
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
    /// Where clients come in.
    pub entries: Vec<BoundEntry>,
    /// Where gateways of other regions come in.
    pub tunnel: Option<BoundTunnel>,
    /// What is shared of tunnels.
    pub tunnels: Arc<Tunnels>,
    /// For HTTPS; without it no entry of that protocol is served.
    pub tls: Option<Arc<ServerConfig>>,
    /// The proxies before it.
    pub trusted_proxies: Arc<[Network]>,
    /// How this gateway shows itself in `CDN-Loop`.
    pub loop_id: HeaderValue,
    /// One line per request.
    pub access_log: Option<AccessLog>,
    /// Counters; made for as many threads as there are to be.
    pub metrics: Arc<GatewayMetrics>,
    /// Whether a panic on a serving thread ends the process: else a core would be gone without a word.
    pub abort_on_panic: bool,
}

/// An address for clients, bound.
pub struct BoundEntry {
    /// How clients speak there.
    pub protocol: Protocol,
    /// Which environments they find there.
    pub exposure: Exposure,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// One socket per thread, all on one address.
    pub sockets: Vec<TcpListener>,
}

/// An address for gateways of other regions, bound.
pub struct BoundTunnel {
    /// What they are shown, and who is let in.
    pub server: TunnelServer,
    /// One socket per thread, all on one address.
    pub sockets: Vec<TcpListener>,
}

/// Running serving threads.
pub struct Dataplane {
    threads: Vec<oneshot::Receiver<io::Result<()>>>,
}

impl Dataplane {
    /// Starts one thread per entry of `options.metrics.workers`. They stop with the shutdown, after requests in flight.
    pub fn start(options: DataplaneOptions, shutdown: &Shutdown) -> io::Result<Self> {
        let (mut entries, mut tunnel) = (options.entries, options.tunnel);
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
                tunnels: options.tunnels.clone(),
            };
            let own = entries.iter_mut().filter_map(|entry| {
                let BoundEntry { protocol, exposure, proxy_protocol, ref mut sockets } = *entry;
                let speaks = match protocol {
                    Protocol::Http => Speaks::Http,
                    Protocol::Https => Speaks::Https(options.tls.clone()?),
                };
                Some(worker::Entry { listener: sockets.pop()?, exposure, proxy_protocol, speaks })
            });
            let of_tunnel = tunnel.as_mut().and_then(|tunnel| {
                let (listener, exposure) = (tunnel.sockets.pop()?, Exposure::Internal);
                let speaks = Speaks::Tunnel(tunnel.server.clone());
                Some(worker::Entry { listener, exposure, proxy_protocol: false, speaks })
            });
            let own = own.chain(of_tunnel).collect();
            let shutdown = shutdown.clone();
            let abort = options.abort_on_panic;
            let (end, ended) = oneshot::channel();
            std::thread::Builder::new().name(format!("gateway-{index}")).spawn(move || {
                if abort {
                    worker::abort_on_panic();
                }
                let _ = end.send(worker.run(own, shutdown)); // the receiver may be gone
            })?;
            threads.push(ended);
        }
        Ok(Self { threads })
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
