//! A node whose build does not know the state's version stays up to say so, and does nothing else.
//!
//! It cannot follow what the others do, so it must not vote, lead, or show its state as the current one. It serves its admin port
//! only, and leaves its log and its snapshots as they are for the release that knows the version.

use hanse_identity::{ADMIN_CONNECTIONS, Bounds, Listener, ListenerMetrics};
use hanse_process::{Metrics, Shutdown, Supervisor, admin, bind};
use hanse_state::UnknownVersion;
use tokio::sync::watch;
use tracing::error;

use crate::{Config, Error};

/// Says which release the state needs, until the shutdown.
pub(crate) async fn stay(config: &Config, unknown: &UnknownVersion, shutdown: Shutdown) -> Result<(), Error> {
    let remedy = format!(
        "this node neither votes nor serves; start release {} or a later one on its data directory",
        unknown.release
    );
    error!(name = %config.name, error = %unknown, remedy, "this control node is too old for the state");
    let metrics = Metrics::new();
    let listeners = metrics.register(ListenerMetrics::register);
    let supervisor = Supervisor::new(&metrics, shutdown.clone());
    let (_ready, readiness) = watch::channel(Err(format!("{unknown}; {remedy}")));
    let socket = bind("admin", &config.listen.admin).await?;
    let pages = admin::router(metrics, supervisor.announce(readiness));
    let port = Listener::new("admin", socket, Bounds::of_admin(ADMIN_CONNECTIONS), &listeners);
    supervisor.spawn("admin", (port, pages), |(port, pages), shutdown| port.serve(pages, shutdown));
    shutdown.wait().await;
    supervisor.drain().await;
    Ok(())
}
