//! What the process of a control node has for as long as it lives: admin port, metrics, supervision, readiness, and its word with
//! the service manager.
//!
//! The node may stop taking part in its group before the process ends: its log is damaged, or its release is too old. The process
//! stays then, and says so.

use hanse_identity::{ADMIN_CONNECTIONS, Bounds, Listener, ListenerMetrics};
use hanse_process::{Metrics, Shutdown, Supervisor, admin, bind};
use tokio::sync::watch;

use crate::{Config, Error};

/// Why a node is not ready that is on its way.
pub(crate) const STARTING: &str = "starting";

/// The process of a control node.
pub(crate) struct Shell {
    /// What the admin port shows.
    pub(crate) metrics: Metrics,
    /// What the process's listeners count.
    pub(crate) listeners: ListenerMetrics,
    /// Runs the tasks of the process. Those of the node's part in the group are run by a [part](Supervisor::part) of it.
    pub(crate) supervisor: Supervisor,
    /// When the process is to stop.
    pub(crate) shutdown: Shutdown,
    ready: watch::Sender<Result<(), String>>,
}

impl Shell {
    /// Opens the admin port of a node that is not ready yet.
    pub(crate) async fn start(config: &Config, shutdown: Shutdown) -> Result<Self, Error> {
        hanse_process::private::keep_private(&config.data_dir);
        let metrics = Metrics::new();
        let listeners = metrics.register(ListenerMetrics::register);
        let supervisor = Supervisor::new(&metrics, shutdown.clone());
        let port = bind("admin", &config.listen.admin).await?;
        let (ready, readiness) = watch::channel(Err(STARTING.to_owned()));
        let pages = admin::router(metrics.clone(), supervisor.announce(readiness));
        let port = Listener::new("admin", port, Bounds::of_admin(ADMIN_CONNECTIONS), &listeners);
        supervisor.spawn("admin", (port, pages), |(port, pages), shutdown| port.serve(pages, shutdown));
        Ok(Self { metrics, listeners, supervisor, shutdown, ready })
    }

    /// The node takes part and serves.
    pub(crate) fn ready(&self) {
        let _ = self.ready.send_replace(Ok(()));
    }

    /// Says why the node does not take part.
    pub(crate) fn not_ready(&self, why: String) {
        let _ = self.ready.send_replace(Err(why));
    }

    /// Lets the tasks end after the shutdown. A process that ends by itself ends them at once.
    pub(crate) async fn end(self) {
        if self.shutdown.is_triggered() {
            self.supervisor.drain().await;
        }
    }
}
