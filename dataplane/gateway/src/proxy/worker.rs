//! A serving thread: its runtime, its listeners, its connections.

use std::{
    cell::Cell,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::{Arc, Once, atomic::Ordering},
    time::Instant,
};

use arc_swap::ArcSwap;
use hanse_identity::TunnelServer;
use hanse_process::{BoundedLog, Shutdown};
use hanse_topology::Exposure;
use http::HeaderValue;
use rustls::ServerConfig;
use tokio::{
    net::TcpStream,
    runtime::{Builder, LocalOptions},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    accept::{accept, prepare},
    connection,
    places::Places,
    tries::SpareMaps,
    upstream::{self, Slots, UpstreamClient},
};
use crate::{
    access_log::AccessLog,
    config::{Drain, Limits, Network},
    health::millis,
    metrics::{GatewayMetrics, PULSE, WorkerMetrics},
    table::RoutingTable,
    tunnel::Tunnels,
};

/// A serving thread before it runs.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) table: Arc<ArcSwap<RoutingTable>>,
    pub(super) limits: Limits,
    pub(super) max_connections: usize,
    pub(super) slots: Arc<Slots>,
    pub(super) drain: Drain,
    pub(super) loop_id: HeaderValue,
    pub(super) trusted_proxies: Arc<[Network]>,
    pub(super) metrics: Arc<GatewayMetrics>,
    pub(super) access_log: Option<AccessLog>,
    pub(super) tunnels: Arc<Tunnels>,
}

/// One of its listeners.
pub(super) struct Entry {
    pub(super) listener: TcpListener,
    pub(super) exposure: Exposure,
    pub(super) proxy_protocol: bool,
    pub(super) speaks: Speaks,
}

/// What is spoken at a listener.
#[derive(Clone)]
pub(super) enum Speaks {
    Http,
    Https(Arc<ServerConfig>),
    /// What gateways of other regions speak.
    Tunnel(TunnelServer),
}

/// What the tasks of one serving thread share.
pub(super) struct Serving {
    pub(super) index: usize,
    pub(super) table: Arc<ArcSwap<RoutingTable>>,
    pub(super) limits: Limits,
    pub(super) loop_id: HeaderValue,
    pub(super) trusted_proxies: Arc<[Network]>,
    pub(super) metrics: Arc<GatewayMetrics>,
    pub(super) access_log: Option<AccessLog>,
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) upstreams: UpstreamClient,
    pub(super) spare_maps: SpareMaps,
    /// It was told to stop: answers ask their clients to leave.
    pub(super) draining: Cell<bool>,
    /// What goes into the log of clients that cannot shake hands.
    pub(super) refusals: BoundedLog,
}

impl Serving {
    /// What this thread counts.
    pub(super) fn own_metrics(&self) -> &WorkerMetrics {
        &self.metrics.workers[self.index]
    }
}

impl Worker {
    /// Serves until the shutdown, then until the connections have ended or the time for that is over.
    pub(super) fn run(self, entries: Vec<Entry>, shutdown: Shutdown) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let ended = runtime.block_on(self.serve(entries, shutdown));
        // A blocking task is left to itself: nothing waits for it.
        runtime.shutdown_background();
        ended
    }

    async fn serve(self, entries: Vec<Entry>, shutdown: Shutdown) -> io::Result<()> {
        let drain = self.drain;
        let serving = Rc::new(Serving {
            index: self.index,
            table: self.table,
            limits: self.limits,
            loop_id: self.loop_id,
            trusted_proxies: self.trusted_proxies,
            metrics: self.metrics,
            access_log: self.access_log,
            tunnels: self.tunnels,
            upstreams: UpstreamClient::new(self.slots),
            spare_maps: SpareMaps::default(),
            draining: Cell::new(false),
            refusals: BoundedLog::default(),
        });
        tokio::task::spawn_local({
            let upstreams = serving.upstreams.clone();
            async move {
                loop {
                    tokio::time::sleep(upstream::SWEEP).await;
                    upstreams.sweep();
                }
            }
        });
        let places = Rc::<Places>::default();
        tokio::task::spawn_local({
            let (serving, places) = (serving.clone(), places.clone());
            async move {
                let evict = || {
                    let is_one = places.evict_holding();
                    serving.own_metrics().evicted_connections.fetch_add(is_one.into(), Ordering::Relaxed);
                    is_one
                };
                serving.upstreams.give_way(evict).await;
            }
        });
        tokio::task::spawn_local({
            let serving = serving.clone();
            async move {
                loop {
                    serving.own_metrics().pulse.store(millis(Instant::now()), Ordering::Relaxed);
                    tokio::time::sleep(PULSE).await;
                }
            }
        });
        let max_connections = i64::try_from(self.max_connections).unwrap_or(i64::MAX);
        let tasks = TaskTracker::new();
        // Of this thread alone: each wake-up of each connection asks it, and must not meet other cores there.
        let stop = CancellationToken::new();
        tokio::task::spawn_local({
            let (stop, serving) = (stop.clone(), serving.clone());
            async move {
                shutdown.wait().await;
                serving.draining.set(true);
                tokio::time::sleep(drain.announce()).await;
                stop.cancel();
            }
        });
        let spawn = |mut stream: TcpStream,
                     peer: SocketAddr,
                     exposure: Exposure,
                     speaks: Speaks,
                     proxy_protocol: bool| {
            if serving.metrics.open_connections() >= max_connections {
                let own = serving.own_metrics();
                if !places.evict() {
                    own.refused_connections.fetch_add(1, Ordering::Relaxed);
                    return; // closed before anything is read of it
                }
                own.evicted_connections.fetch_add(1, Ordering::Relaxed);
            }
            prepare(&stream);
            let open = Open::new(serving.clone());
            let taken = places.take(peer.ip());
            let stop = stop.clone();
            tasks.spawn_local(async move {
                let (serving, place) = (open.0.clone(), taken.place().clone());
                let served = async {
                    let peer = match proxy_protocol {
                        true => connection::announced(&serving, &place, &mut stream, peer, &stop).await,
                        false => Some(peer),
                    };
                    let Some(peer) = peer else { return };
                    let client = (peer, exposure);
                    match speaks {
                        Speaks::Http => connection::http(serving, place, stream, client, stop).await,
                        Speaks::Https(tls) => {
                            connection::https(serving, place, stream, client, tls, stop).await;
                        }
                        Speaks::Tunnel(server) => {
                            connection::tunnel(serving, place, stream, peer, server, stop).await;
                        }
                    }
                };
                tokio::select! {
                    biased;
                    () = taken.evicted() => {}
                    () = served => {}
                }
            });
        };
        let accepting = entries.into_iter().map(|entry| {
            let Entry { listener, exposure, proxy_protocol, speaks } = entry;
            let spawn = &spawn;
            accept(listener, stop.cancelled(), move |stream, peer| {
                spawn(stream, peer, exposure, speaks.clone(), proxy_protocol);
            })
        });
        futures_util::future::try_join_all(accepting).await?;
        stop.cancelled().await;
        tasks.close();
        if tokio::time::timeout(drain.limit(), tasks.wait()).await.is_err() {
            let connections = tasks.len();
            serving.own_metrics().cut_connections.fetch_add(connections as u64, Ordering::Relaxed);
            tracing::warn!(
                worker = serving.index, connections, limit = ?drain.limit(),
                "connections cut at the end of the drain; raise drain.limit_ms if their requests need longer"
            );
        }
        Ok(())
    }
}

/// An open client connection, counted.
struct Open(Rc<Serving>);

impl Open {
    fn new(serving: Rc<Serving>) -> Self {
        let metrics = serving.own_metrics();
        metrics.accepted.fetch_add(1, Ordering::Relaxed);
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self(serving)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.own_metrics().connections.fetch_sub(1, Ordering::Relaxed);
    }
}

thread_local! {
    static ABORTS: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic on this thread ends the process: the runtime would swallow it with the task it happened in, and
/// what it left half done would go on serving.
pub(super) fn abort_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            if ABORTS.get() {
                std::process::abort();
            }
        }));
    });
    ABORTS.set(true);
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::Command};

    use super::*;

    /// Set in the process that is to panic.
    const PANICS: &str = "HANSE_TEST_PANICS";

    #[test]
    fn a_panic_on_a_serving_thread_ends_the_process_and_elsewhere_it_does_not() {
        if std::env::var_os(PANICS).is_some() {
            std::thread::spawn(abort_on_panic).join().unwrap();
            assert!(std::thread::spawn(|| panic!("elsewhere")).join().is_err());
            let serving = std::thread::spawn(|| {
                abort_on_panic();
                let runtime = Builder::new_current_thread().build_local(LocalOptions::default()).unwrap();
                runtime.block_on(async { tokio::task::spawn_local(async { panic!("in a task") }).await })
            });
            println!("survived: {:?}", serving.join()); // not reached
            return;
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "proxy::worker::tests::a_panic_on_a_serving_thread_ends_the_process_and_elsewhere_it_does_not"])
            .args(["--nocapture", "--test-threads", "1"])
            .env(PANICS, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.signal(), Some(6), "{said}"); // SIGABRT
        assert!(!said.contains("survived"), "{said}");
    }
}
