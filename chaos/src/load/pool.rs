//! Kept connections, so that the ledger can say of each request whether its connection was new.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// A connection that can take a request.
pub(super) struct Kept {
    pub(super) sender: SendRequest<Empty<Bytes>>,
    /// When its making began.
    pub(super) opened: Instant,
}

/// Idle connections by `host:port`. Cloning shares them.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<HashMap<String, Vec<Kept>>>>);

impl Pool {
    /// An idle connection that was not seen to be closed.
    pub(super) fn take(&self, authority: &str) -> Option<Kept> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = idle.get_mut(authority)?;
        while let Some(kept) = idle.pop() {
            if kept.sender.is_ready() && !kept.sender.is_closed() {
                return Some(kept);
            }
        }
        None
    }

    /// Keeps a connection once it can take another request; drops it if it cannot.
    pub(super) fn give(&self, authority: String, mut kept: Kept) {
        let pool = self.clone();
        tokio::spawn(async move {
            if kept.sender.ready().await.is_ok() {
                let mut idle = pool.0.lock().unwrap_or_else(PoisonError::into_inner);
                idle.entry(authority).or_default().push(kept);
            }
        });
    }
}

/// A new connection.
pub(super) async fn connect(
    authority: &str,
    tls: Option<&Arc<ClientConfig>>,
    opened: Instant,
) -> Result<Kept, String> {
    let stream = TcpStream::connect(authority).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let Some(tls) = tls else { return speak(stream, opened).await };
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connected = TlsConnector::from(tls.clone()).connect(name, stream).await;
    speak(connected.map_err(|error| error.to_string())?, opened).await
}

async fn speak<S>(stream: S, opened: Instant) -> Result<Kept, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // How it ends is told to the request on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Kept { sender, opened })
}
