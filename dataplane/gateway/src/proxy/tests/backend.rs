//! An upstream that dies, comes back, and does what it is told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::proxy::upstream::STALE_WITHIN;

/// What checks ask for.
pub(super) const HEALTH: &str = "/up";
/// Instead of a status: reads the request, its body included, and closes without a word.
pub(super) const CLOSES: u16 = 0;
/// Instead of a status: answers the first request of each connection and closes upon the second.
pub(super) const CLOSES_ON_THE_SECOND: u16 = 1;
/// Instead of a status: never answers.
pub(super) const HANGS: u16 = 2;
/// Instead of a status: answers the first request of each connection, and closes a while after the second.
pub(super) const CLOSES_LATE_ON_THE_SECOND: u16 = 3;

/// Later than any endpoint's close that crossed with a request.
const LATE: Duration = STALE_WITHIN.saturating_add(Duration::from_millis(200));

/// A backend. It dies when dropped.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    running: JoinHandle<()>,
}

struct State {
    /// What requests are answered with.
    status: AtomicU16,
    /// What checks are answered with.
    health: AtomicU16,
    checks: AtomicUsize,
    /// Request lines and bodies, checks apart.
    arrivals: Mutex<Vec<String>>,
}

impl Backend {
    pub(super) async fn start() -> Self {
        let state = Arc::new(State {
            status: AtomicU16::new(200),
            health: AtomicU16::new(200),
            checks: AtomicUsize::new(0),
            arrivals: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(serve(listener, state.clone()));
        Self { address, state, running }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn answers(&self, status: u16) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    pub(super) fn health(&self, status: u16) {
        self.state.health.store(status, Ordering::SeqCst);
    }

    pub(super) fn checks(&self) -> usize {
        self.state.checks.load(Ordering::SeqCst)
    }

    pub(super) fn arrivals(&self) -> Vec<String> {
        self.state.arrivals.lock().unwrap().clone()
    }

    pub(super) fn arrived(&self) -> usize {
        self.state.arrivals.lock().unwrap().len()
    }

    /// Stops, with every connection, and returns when nothing listens any more.
    pub(super) async fn die(&mut self) {
        self.running.abort();
        let _ = (&mut self.running).await;
    }

    /// Comes back where it was.
    pub(super) async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.running = tokio::spawn(serve(listener, self.state.clone()));
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new(); // ends them with itself
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, state.clone()));
    }
}

async fn converse(mut stream: TcpStream, state: Arc<State>) {
    let mut got = Vec::new();
    let mut answered = 0;
    while let Some(request) = next_request(&mut stream, &mut got).await {
        let is_check = request.starts_with(&format!("GET {HEALTH} "));
        let status = if is_check {
            state.checks.fetch_add(1, Ordering::SeqCst);
            state.health.load(Ordering::SeqCst)
        } else {
            state.arrivals.lock().unwrap().push(request);
            state.status.load(Ordering::SeqCst)
        };
        let status = match status {
            CLOSES => return,
            CLOSES_ON_THE_SECOND if answered > 0 => return,
            CLOSES_LATE_ON_THE_SECOND if answered > 0 => return tokio::time::sleep(LATE).await,
            CLOSES_ON_THE_SECOND | CLOSES_LATE_ON_THE_SECOND => 200,
            HANGS => std::future::pending().await,
            status => status,
        };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        answered += 1;
    }
}

/// The request line and the body.
async fn next_request(stream: &mut TcpStream, got: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(request) = parse(got) {
            return Some(request);
        }
        if stream.read_buf(got).await.ok()? == 0 {
            return None;
        }
    }
}

fn parse(got: &mut Vec<u8>) -> Option<String> {
    let end = got.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&got[..end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    if got.len() < end + length {
        return None;
    }
    let body = String::from_utf8_lossy(&got[end..end + length]).into_owned();
    got.drain(..end + length);
    Some(format!("{} {body}", head.lines().next()?))
}
