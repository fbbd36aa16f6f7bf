//! What a process has before it has joined: an admin port, metrics, supervision, and the way to join.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    handler::Handler as _,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use hanse_identity::{ADMIN_CONNECTIONS, Bounds, Held, Listener, ListenerMetrics, ServerTls};
use hanse_process::{
    BindError, Metrics, Shutdown, ShutdownTrigger, Supervisor, WallClock, admin, bind, private::keep_private,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tonic::service::Routes;
use tower::ServiceExt as _;

use crate::{Error, NodeConfig, joining};

/// For answers of the admin port that are under way at the end. One that is not taken holds up no stop.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A process that is about to be a node.
#[derive(Debug)]
pub struct Shell {
    /// What it was told.
    pub config: Arc<NodeConfig>,
    /// What the admin port shows.
    pub metrics: Metrics,
    /// What its listeners count.
    pub listeners: ListenerMetrics,
    /// Runs its control tasks.
    pub supervisor: Supervisor,
    /// When it is to stop.
    pub shutdown: Shutdown,
    /// The address of its admin port.
    pub admin: SocketAddr,
    /// What `/readyz` says.
    pub readiness: watch::Receiver<Result<(), String>>,
    clock: WallClock,
    /// Whether the role is ready. What the supervisor says comes first.
    ready: watch::Sender<Result<(), String>>,
    /// The role's own pages of the admin port, once there are some.
    pages: Arc<OnceLock<Router>>,
    /// Serves the admin port, to the very end: operators ask why a node that drains is not ready.
    admin_port: JoinSet<()>,
    /// Ends it.
    end: ShutdownTrigger,
}

impl Shell {
    /// Opens the admin port of a process that is not ready yet.
    pub async fn start(config: NodeConfig, clock: WallClock, shutdown: Shutdown) -> Result<Self, Error> {
        keep_private(&config.data_dir);
        let metrics = Metrics::new();
        let listeners = metrics.register(ListenerMetrics::register);
        let supervisor = Supervisor::new(&metrics, shutdown.clone());
        let (ready, own) = watch::channel(Err("not joined yet".to_owned()));
        let pages: Arc<OnceLock<Router>> = Arc::default();
        let readiness = supervisor.announce(own);
        let router = admin::router(metrics.clone(), readiness.clone());
        let router = router.fallback_service(role_page.with_state(Arc::clone(&pages)));
        let port = bind("admin", &config.admin).await?;
        let unknown = |source| BindError { face: "admin", address: config.admin.clone(), source };
        let address = port.local_addr().map_err(unknown)?;
        let port = Listener::new("admin", port, Bounds::of_admin(ADMIN_CONNECTIONS), &listeners);
        let (end, ended) = ShutdownTrigger::new();
        let mut admin_port = JoinSet::new();
        let state = (port, router, ended);
        admin_port
            .spawn(supervisor.keep("admin", state, |(port, router, ended), _| port.serve(router, ended)));
        let config = Arc::new(config);
        Ok(Self {
            config,
            metrics,
            listeners,
            supervisor,
            shutdown,
            admin: address,
            readiness,
            clock,
            ready,
            pages,
            admin_port,
            end,
        })
    }

    /// What this node holds in `dir`, which may have expired, or else gets for its join token. `None`: told to stop first.
    pub async fn join<T: Held>(&self, dir: &Path) -> Result<Option<T>, Error> {
        joining::read_or_join(self, dir).await
    }

    /// Says why the node is not ready yet.
    pub(crate) fn not_ready(&self, why: String) {
        let _ = self.ready.send_replace(Err(why));
    }

    /// The clock that certificates and tokens are judged by.
    pub fn clock(&self) -> &WallClock {
        &self.clock
    }

    /// Has the role ready when `says` finds nothing against it in what is watched.
    pub fn ready_by<T: Send + Sync + 'static>(
        &self,
        watched: watch::Receiver<T>,
        says: impl Fn(&T) -> Result<(), String> + Clone + Send + Sync + 'static,
    ) {
        let state = (self.ready.clone(), watched, says);
        self.supervisor.spawn("role-readiness", state, |(ready, mut watched, says), shutdown| async move {
            loop {
                let now = says(&watched.borrow_and_update());
                ready.send_if_modified(|before| {
                    let is_news = *before != now;
                    *before = now;
                    is_news
                });
                tokio::select! {
                    () = shutdown.wait() => return,
                    changed = watched.changed() => if changed.is_err() { return },
                }
            }
        });
    }

    /// Adds the role's pages to the admin port. The first call counts.
    pub fn show(&self, pages: Router) {
        let _ = self.pages.set(pages);
    }

    /// Serves gRPC on a port until the shutdown.
    pub fn serve_grpc(
        &self,
        face: &'static str,
        port: TcpListener,
        bounds: Bounds,
        tls: ServerTls,
        routes: Routes,
    ) {
        let listener = Listener::new(face, port, bounds, &self.listeners).with_tls(tls);
        self.supervisor.spawn(face, (listener, routes), |(listener, routes), shutdown| {
            listener.serve_grpc(routes, shutdown)
        });
    }

    /// Waits for the tasks, which have noticed the shutdown, and for `last`. The admin port is closed after that.
    pub(crate) async fn close(mut self, last: impl Future<Output = ()>) {
        tokio::join!(last, self.supervisor.drain());
        self.end.trigger();
        let _ = timeout(LAST_ANSWERS, self.admin_port.join_next()).await;
    }
}

/// Answers by the pages that the role has added.
async fn role_page(State(pages): State<Arc<OnceLock<Router>>>, request: Request) -> Response {
    match pages.get().cloned() {
        Some(pages) => pages.oneshot(request).await.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
