//! TLS handshakes, each within its time.

use std::{io, net::SocketAddr};

use rustls::server::Acceptor;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::LazyConfigAcceptor;

use super::{
    bounds::{CLIENT_HELLO, HANDSHAKE, LINGER},
    metrics::Ended,
};
use crate::{ServerTls, peer::TlsConnection, tls::explained};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoHandshake {
    /// The client left before it began.
    Left,
    /// It did not come to an end in time.
    Late(Ended),
    /// It was refused, by either side.
    Refused {
        error: io::Error,
        /// For the client to read why; none where nothing can be read any more.
        stream: Option<TcpStream>,
    },
}

/// The handshake of a connection that was accepted now. Until the client says something, nothing is kept for it but its
/// descriptor.
pub(crate) async fn shake_hands(
    tls: ServerTls,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<TlsConnection, NoHandshake> {
    let accepted = Instant::now();
    let hello = async {
        stream.readable().await?;
        LazyConfigAcceptor::new(Acceptor::default(), stream).await
    };
    let late = |why| move |_| NoHandshake::Late(why);
    let hello = timeout_at(accepted + CLIENT_HELLO, hello).await.map_err(late(Ended::NoHello))?;
    let hello = hello.map_err(|error| refused(error, None))?;
    let shaking = hello.into_stream(tls.config).into_fallible();
    let shaken = timeout_at(accepted + HANDSHAKE, shaking).await.map_err(late(Ended::SlowHandshake))?;
    let stream = shaken.map_err(|(error, stream)| refused(error, Some(stream)))?;
    Ok(TlsConnection::new(stream, address, tls.trust.as_ref()))
}

fn refused(error: io::Error, stream: Option<TcpStream>) -> NoHandshake {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => NoHandshake::Left,
        _ => NoHandshake::Refused { error: explained(error), stream },
    }
}

/// Reads what a refused client still sends: closing with unread bytes resets the connection, and the reset would
/// overtake the alert that tells the client why.
pub(crate) async fn linger(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        while stream.read(&mut [0; 1024]).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, drained).await; // it is closed either way
}
