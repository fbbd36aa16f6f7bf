//! Queries over TCP (RFC 7766): any number on one connection, one after the other.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use hanse_dns_wire::Transport;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

use crate::{
    metrics::DnsMetrics,
    respond::{Response, Sender},
    transfer::Outgoing,
    worker::{Serving, unix_now},
};

/// Connections of the process: resolvers come over TCP seldom, and each connection costs a descriptor and up to 64 KB.
pub(crate) const MOST_CONNECTIONS: i64 = 1_024;
/// Transfers of the process at a time: each has a thread and the records of its zone.
const MOST_TRANSFERS: i64 = 16;
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
            Ok((stream, peer)) => {
                match Counted::new(&serving.metrics, |metrics| &metrics.connections, MOST_CONNECTIONS) {
                    Some(open) => {
                        let sender = Sender { address: peer.ip(), transport: Transport::Tcp };
                        let serving = serving.clone();
                        connections.spawn_local(async move {
                            let _ended = connection(stream, sender, &serving).await; // by the client, or by its silence
                            drop(open);
                        });
                    }
                    None => serving.own_metrics().refuse_connection(), // and it is closed
                }
            }
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
        let Response { message: answer, transfer, .. } = serving.answer(&message, sender);
        match (transfer, answer) {
            (Some(outgoing), _) => {
                if let Err(error) = send_zone(&mut stream, *outgoing, serving).await {
                    serving.own_metrics().break_transfer();
                    return Err(error);
                }
            }
            (None, Some(answer)) => timeout(IDLE, send(&mut stream, answer)).await??,
            // A message that is no query ends the connection: behind it nothing can be trusted to be one.
            (None, None) => return Ok(()),
        }
    }
}

/// Sends a zone, of which a thread beside this one makes the messages. After an error the receiver sees that the last SOA is missing.
async fn send_zone(stream: &mut TcpStream, outgoing: Outgoing, serving: &Serving) -> io::Result<()> {
    let Some(_running) = Counted::new(&serving.metrics, |metrics| &metrics.transfers, MOST_TRANSFERS) else {
        let busy = outgoing.busy(unix_now()).map_err(io::Error::other)?;
        timeout(IDLE, send(stream, busy)).await??;
        return Err(io::Error::other("too many transfers run"));
    };
    let (made, mut messages) = mpsc::channel(1);
    let making = tokio::task::spawn_blocking(move || {
        outgoing.messages(unix_now, |message| made.blocking_send(message).is_ok());
    });
    while let Some(message) = messages.recv().await {
        timeout(IDLE, send(stream, message.map_err(io::Error::other)?)).await??;
    }
    making.await.map_err(io::Error::other)
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

/// One of those that may be at a time, in this process: connections, transfers.
struct Counted {
    metrics: Arc<DnsMetrics>,
    count: fn(&DnsMetrics) -> &AtomicI64,
}

impl Counted {
    fn new(metrics: &Arc<DnsMetrics>, count: fn(&DnsMetrics) -> &AtomicI64, most: i64) -> Option<Self> {
        let one = Self { metrics: metrics.clone(), count };
        (count(metrics).fetch_add(1, Ordering::Relaxed) < most).then_some(one)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.count)(&self.metrics).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_connections_are_open_than_may_be() {
        let metrics = Arc::new(DnsMetrics::new(1));
        let new = || Counted::new(&metrics, |metrics| &metrics.connections, MOST_CONNECTIONS);
        let mut open: Vec<_> = (0..MOST_CONNECTIONS).map_while(|_| new()).collect();
        assert_eq!(open.len() as i64, MOST_CONNECTIONS);
        assert!(new().is_none());
        open.pop();
        assert!(new().is_some(), "one that was refused counts no more");
        drop(open);
        assert_eq!(metrics.connections.load(Ordering::Relaxed), 0);
    }
}
