//! gRPC channels over our own TLS.

use std::{error::Error as _, io, sync::Arc, time::Duration};

use hanse_process::telemetry::causes;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use crate::{ClientTls, cut::Guarded, identity_of, pki::Shown, tls};

/// Longest time for TCP and TLS together. Cross-continent takes under a second; a lost SYN is repeated after one and
/// three seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A ping after so much silence, on both ends…
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// …and the connection is given up when its answer takes longer than this: together below the 15 s lease.
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes in flight per stream: a chunk's worth, so that a snapshot does not wait for window updates on a long road.
pub(crate) const STREAM_WINDOW: u32 = 2 << 20;
/// Bytes in flight per connection.
pub(crate) const CONNECTION_WINDOW: u32 = 4 << 20;

/// An address that is not `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not an address: expected host:port, like cp-1.example.com:7444 or [::1]:7444")]
pub struct InvalidAddress {
    /// What was given.
    pub given: String,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be read.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// No peer answered, this process refused the peer, or the peer refused this process: the source says which.
    #[error("cannot connect to {address}")]
    Transport {
        /// Where to.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

/// Connects to `host:port` and returns when TLS is established. The channel reconnects by itself, with the credentials
/// that are current then.
///
/// In TLS 1.3 a client is done before the server has judged its certificate: where the server refuses it, the first
/// call fails, not this.
pub async fn connect(address: &str, tls: ClientTls) -> Result<Channel, ConnectError> {
    let (endpoint, connector) = prepare(address, tls)?;
    endpoint
        .connect_with_connector(tower::service_fn(move |_| connector.clone().establish()))
        .await
        .map_err(|source| ConnectError::Transport { address: address.to_owned(), source })
}

/// A channel that connects at its first use, for peers that may well be away.
pub fn connect_lazy(address: &str, tls: ClientTls) -> Result<Channel, InvalidAddress> {
    let (endpoint, connector) = prepare(address, tls)?;
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_| connector.clone().establish())))
}

fn prepare(address: &str, tls: ClientTls) -> Result<(Endpoint, Connector), InvalidAddress> {
    let invalid = || InvalidAddress { given: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
    port.parse::<u16>().map_err(|_| invalid())?;
    let bare_host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let server_name = ServerName::try_from(bare_host.to_owned()).map_err(|_| invalid())?;
    // `http`, because TLS is the connector's business.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| invalid())?
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    Ok((endpoint, Connector { address: address.into(), server_name, tls }))
}

#[derive(Clone)]
struct Connector {
    address: Arc<str>,
    server_name: ServerName<'static>,
    tls: ClientTls,
}

impl Connector {
    async fn establish(self) -> io::Result<TokioIo<Guarded<TlsStream<TcpStream>>>> {
        let attempt = async {
            let tcp = TcpStream::connect(&*self.address).await?;
            tcp.set_nodelay(true)?;
            let trust = self.tls.trust.clone();
            let connector = TlsConnector::from(Arc::from(self.tls));
            let stream = connector.connect(self.server_name, tcp).await.map_err(tls::explained)?;
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let peer = chain.first().and_then(|leaf| identity_of(leaf).ok());
            let root = trust.as_ref().and_then(|trust| trust.current().root_of(chain));
            let peer = peer.map(|identity| Shown { identity, keys: tls::of_server(chain), root });
            Ok(Guarded::new(stream, trust.as_ref(), peer))
        };
        match timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(established) => established.map(TokioIo::new),
            Err(_) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {CONNECT_TIMEOUT:?}")))
            }
        }
    }
}

/// What a gRPC status says, with what is below it: a refusal of our certificate is told by an alert, deep in its sources.
pub fn explain(status: &tonic::Status) -> String {
    match status.source() {
        Some(source) => format!("{}: {}", status.message(), causes(source)),
        None => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests;
