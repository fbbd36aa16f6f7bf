//! A sample upstream with a seeded bug: what proves that a verdict can fail.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The bug: what goes wrong with every so manieth request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// None: it echoes headers as `hanse upstream` does.
    None,
    /// 500 instead of an answer.
    Fails(u64),
    /// The answer to another request.
    MixesUp(u64),
    /// The connection is closed without an answer.
    HangsUp(u64),
    /// No answer at all.
    FallsSilent(u64),
}

/// The upstream. Ends when dropped.
#[derive(Debug)]
pub struct FlakyUpstream {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl FlakyUpstream {
    /// Listens at `address` (port 0: any) with this bug.
    pub async fn start(address: SocketAddr, bug: Bug) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, bug));
        Ok(Self { address, task })
    }
}

impl Drop for FlakyUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, bug: Bug) {
    let count = Arc::new(AtomicU64::new(0));
    // A failed accept is this listener's end; who calls then is refused and says so.
    while let Ok((stream, _)) = listener.accept().await {
        let count = count.clone();
        let service = service_fn(move |request| {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            async move { respond(request, number, bug).await }
        });
        tokio::spawn(async move {
            // An error is a connection that broke: the caller's side reports it.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// An error makes hyper close the connection.
#[derive(Debug, thiserror::Error)]
#[error("the seeded bug hangs up")]
struct HangUp;

async fn respond(request: Request<Incoming>, number: u64, bug: Bug) -> Result<Response<Full<Bytes>>, HangUp> {
    let hits = |every: u64| number.is_multiple_of(every);
    let (status, headers) = match bug {
        Bug::Fails(every) if hits(every) => (StatusCode::INTERNAL_SERVER_ERROR, Map::new()),
        Bug::MixesUp(every) if hits(every) => (StatusCode::OK, Map::new()),
        Bug::HangsUp(every) if hits(every) => return Err(HangUp),
        Bug::FallsSilent(every) if hits(every) => std::future::pending().await,
        _ => (StatusCode::OK, echoed(&request)),
    };
    let mut response = Response::new(Full::new(Bytes::from(json!({"headers": headers}).to_string())));
    *response.status_mut() = status;
    Ok(response)
}

fn echoed(request: &Request<Incoming>) -> Map<String, Value> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    request.headers().iter().map(|(name, value)| (name.to_string(), text(value).into())).collect()
}
