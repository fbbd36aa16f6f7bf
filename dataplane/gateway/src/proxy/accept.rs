//! Listening sockets, one per thread on one address, and the loop that takes connections from one.

use std::{
    future::{Future, poll_fn},
    io,
    net::{SocketAddr, TcpListener},
    task::Poll,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

/// Connections that may wait to be accepted: a burst of clients while a thread is busy. The kernel caps it at
/// `net.core.somaxconn`, 4,096 by default.
const BACKLOG: i32 = 4_096;
/// After an error that says the process is out of something, file descriptors mostly: time for connections to end.
const PAUSE: Duration = Duration::from_millis(50);

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
    poll_fn(|cx| {
        while let Poll::Ready(Ok((stream, peer))) = listener.poll_accept(cx) {
            serve(stream, peer);
        }
        Poll::Ready(())
    })
    .await;
    Ok(())
}

/// Whether it concerns only the connection that would have been accepted.
fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
