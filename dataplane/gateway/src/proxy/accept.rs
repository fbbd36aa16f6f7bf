//! Listening sockets, one per thread on one address, and the loop that takes connections from one.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

/// Connections that may wait to be accepted: a burst of clients while a thread is busy. The kernel caps it at
/// `net.core.somaxconn`, 4,096 by default.
const BACKLOG: i32 = 4_096;
/// After an error that says the process is out of something, file descriptors mostly: time for connections to end.
const PAUSE: Duration = Duration::from_millis(50);
/// A peer that is silent for so long is asked whether it is still there: a host that lost its power says no goodbye.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(60);
/// And asked again this often,
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// this many times, before it counts as gone.
pub(super) const KEEPALIVE_RETRIES: u32 = 3;
/// The kernel takes so much of an answer beyond what the client has room for: enough for the road while a busy thread comes back to
/// it. More would only wait there, megabytes of each client that does not read, and would hide how a slow one gets on.
const UNSENT: u32 = 128 << 10;
/// After the order to stop: for what clients have already sent to be noticed. The kernel has it, and reading it takes
/// microseconds; the rest is for a busy machine.
pub(super) const GRACE: Duration = Duration::from_millis(20);

/// Binds `count` sockets to one address; with port 0 the kernel chooses one port for all. The kernel spreads
/// connections over them.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // Sockets that share a port hide that somebody else has it. So ask for it alone first.
    let alone = socket(address, false)?;
    let address = alone.local_addr()?.as_socket().unwrap_or(address);
    if count == 1 {
        return Ok(vec![listen(alone)?]);
    }
    drop(alone);
    (0..count).map(|_| listen(socket(address, true)?)).collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?; // a restart must not wait for connections in TIME_WAIT
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Hands every connection to `serve` until `stop` resolves, and then those that still wait in the kernel's queue, which
/// would otherwise be reset.
pub(super) async fn accept(
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    serve: impl Fn(TcpStream, SocketAddr),
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => serve(stream, peer),
            Err(error) if of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for a moment");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let rest = async {
        while let Ok((stream, peer)) = listener.accept().await {
            serve(stream, peer);
        }
    };
    let _ = tokio::time::timeout(GRACE, rest).await; // it seldom ends by itself
    Ok(())
}

/// Prepares a connection with a client. Only a dead socket refuses it.
pub(super) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Whether it concerns only the connection that would have been accepted.
fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
