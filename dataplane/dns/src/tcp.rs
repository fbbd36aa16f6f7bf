//! Queries over TCP (RFC 7766): any number on one connection, one after the other.

use std::{
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hanse_dns_wire::Transport;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::{metrics::DnsMetrics, respond::Sender, worker::Serving};

/// Connections of the process: resolvers come over TCP seldom, and each connection costs a descriptor and up to 64 KB.
pub(crate) const MOST_CONNECTIONS: i64 = 1_024;
/// How long a connection may be silent, in the middle of a message too, or take nothing of an answer: resolvers that want to ask again
/// open another one (RFC 7766, section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// After an error that says that the process is out of something, file descriptors mostly: time for connections to end.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves every connection.
pub(crate) async fn serve(listener: TcpListener, serving: Rc<Serving>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => match Open::new(&serving.metrics) {
                Some(open) => {
                    let sender = Sender { address: peer.ip(), transport: Transport::Tcp };
                    let serving = serving.clone();
                    connections.spawn_local(async move {
                        let _ended = connection(stream, sender, &serving).await; // by the client, or by its silence
                        drop(open);
                    });
                }
                None => serving.own_metrics().refuse_connection(), // and it is closed
            },
            Err(error) => {
                if let Some(left_out) = serving.errors.allows() {
                    tracing::warn!(%error, left_out, "cannot accept connections for a moment");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(mut stream: TcpStream, sender: Sender, serving: &Serving) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = Vec::new();
    loop {
        timeout(IDLE, receive(&mut stream, &mut message)).await??;
        // A message that is no query ends the connection: behind it nothing can be trusted to be one.
        let Some(answer) = serving.answer(&message, sender) else { return Ok(()) };
        timeout(IDLE, send(&mut stream, answer)).await??;
    }
}

/// A message behind its length (RFC 1035, section 4.2.2).
async fn receive(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
    let length = stream.read_u16().await?;
    message.resize(length.into(), 0);
    stream.read_exact(message).await?;
    Ok(())
}

async fn send(stream: &mut TcpStream, mut answer: Vec<u8>) -> io::Result<()> {
    let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
    answer.splice(0..0, length.to_be_bytes()); // one write, and so mostly one packet
    stream.write_all(&answer).await
}

/// A connection among those that may be open.
struct Open(Arc<DnsMetrics>);

impl Open {
    fn new(metrics: &Arc<DnsMetrics>) -> Option<Self> {
        let open = Self(metrics.clone());
        (open.0.connections.fetch_add(1, Ordering::Relaxed) < MOST_CONNECTIONS).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_connections_are_open_than_may_be() {
        let metrics = Arc::new(DnsMetrics::new(1));
        let mut open: Vec<_> = (0..MOST_CONNECTIONS).map_while(|_| Open::new(&metrics)).collect();
        assert_eq!(open.len() as i64, MOST_CONNECTIONS);
        assert!(Open::new(&metrics).is_none());
        open.pop();
        assert!(Open::new(&metrics).is_some(), "one that was refused counts no more");
        drop(open);
        assert_eq!(metrics.connections.load(Ordering::Relaxed), 0);
    }
}
