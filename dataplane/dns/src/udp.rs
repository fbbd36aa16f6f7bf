//! Queries over UDP.

use std::{io, rc::Rc, time::Duration};

use hanse_dns_wire::Transport;
use tokio::net::UdpSocket;

use crate::{respond::Sender, worker::Serving};

/// Octets of the longest datagram that is read: above every query, and what is longer is cut and then malformed.
const LONGEST: usize = 4_096;
/// After an error of the socket: it must not turn a core.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers every datagram.
pub(crate) async fn serve(socket: UdpSocket, serving: Rc<Serving>) {
    let mut buffer = [0; LONGEST];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, peer)) if peer.port() != 0 => {
                let sender = Sender { address: peer.ip(), transport: Transport::Udp };
                let Some(answer) = serving.answer(&buffer[..length], sender).message else { continue };
                // What the kernel has no room for is lost, as on any way: clients ask again.
                if let Err(error) = socket.try_send_to(&answer, peer)
                    && error.kind() != io::ErrorKind::WouldBlock
                {
                    warn(&serving, &error, "cannot send an answer");
                }
            }
            Ok(_) => {} // nothing can be sent to port 0
            Err(error) => {
                warn(&serving, &error, "cannot receive queries for a moment");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn warn(serving: &Serving, error: &io::Error, what: &str) {
    if let Some(left_out) = serving.errors.allows() {
        tracing::warn!(%error, left_out, "{what}");
    }
}
