//! A client: sends a request and waits for its reply. The only I/O of this crate.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{BadReply, Reply, Transport, message::MAX_MESSAGE, request::Request};

/// A request over UDP is sent again after so long: a datagram was lost, or the server is busy.
const AGAIN: Duration = Duration::from_secs(1);

/// A reply, and how it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What the server said.
    pub reply: Reply,
    /// How the reply came.
    pub transport: Transport,
    /// Octets of the message.
    pub octets: usize,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not until the deadline.
    #[error("{0} did not answer within {1:?}")]
    Silent(SocketAddr, Duration),
    /// The system says so, such as that the port is closed.
    #[error("cannot ask {0}")]
    Io(SocketAddr, #[source] io::Error),
    /// The server answered, but not this way.
    #[error("cannot use the answer of {0}")]
    Reply(SocketAddr, #[source] BadReply),
}

/// Sends the request and waits for its reply. Over UDP the request is sent again each second, and over TCP when the reply says that it is
/// truncated; both within one deadline.
///
/// Over UDP the wait goes on after a datagram that cannot be read or believed: an attacker can send one with the server's address, and the
/// server's own may come behind it (RFC 8945 §5.4). If none comes, the error is that of the last such datagram.
pub async fn ask(
    server: SocketAddr,
    request: &Request,
    transport: Transport,
    deadline: Duration,
) -> Result<Answered, AskError> {
    let mut bad = None;
    let asked = async {
        match transport {
            Transport::Udp => {
                let answered = over_udp(server, request, &mut bad).await?;
                if answered.reply.truncated { over_tcp(server, request).await } else { Ok(answered) }
            }
            Transport::Tcp => over_tcp(server, request).await,
        }
    };
    match timeout(deadline, asked).await {
        Ok(asked) => asked,
        Err(_) => Err(match bad {
            Some(bad) => AskError::Reply(server, bad),
            None => AskError::Silent(server, deadline),
        }),
    }
}

/// `bad`: why the last datagram that had the request's id is no reply.
async fn over_udp(
    server: SocketAddr,
    request: &Request,
    bad: &mut Option<BadReply>,
) -> Result<Answered, AskError> {
    let io = |error| AskError::Io(server, error);
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    // Connected: datagrams of other addresses do not come in, and a closed port is told.
    let socket = UdpSocket::bind((any, 0)).await.map_err(io)?;
    socket.connect(server).await.map_err(io)?;
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        tokio::select! {
            _ = again.tick() => { socket.send(request.message()).await.map_err(io)?; }
            received = socket.recv(&mut buffer) => {
                let octets = received.map_err(io)?;
                match request.read(&buffer[..octets], now()) {
                    Ok(reply) => return Ok(Answered { reply, transport: Transport::Udp, octets }),
                    Err(BadReply::Another) => {}
                    Err(error @ (BadReply::Broken | BadReply::Signature(_))) => *bad = Some(error),
                }
            }
        }
    }
}

async fn over_tcp(server: SocketAddr, request: &Request) -> Result<Answered, AskError> {
    let io = |error| AskError::Io(server, error);
    let mut stream = TcpStream::connect(server).await.map_err(io)?;
    send(&mut stream, request.message()).await.map_err(io)?;
    let message = receive(&mut stream).await.map_err(io)?;
    let reply = request.read(&message, now()).map_err(|bad| AskError::Reply(server, bad))?;
    Ok(Answered { reply, transport: Transport::Tcp, octets: message.len() })
}

/// Writes a message with its length before it, in one piece (RFC 7766 §8).
pub async fn send(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

/// Reads a message with its length before it.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}
