//! Listening sockets, one per thread on one address, and the loop that takes connections from one.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use hanse_process::BoundedLog;
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
/// The kernel takes so much of an answer beyond what the client has room for. More would only wait there and hide how a slow client
/// gets on; and while the kernel takes more than the client reads, larger and larger parts are read of the upstream: a connection whose client
/// takes nothing held a megabyte, and holds 220 KB with this. Large downloads are not slower for it, they took less CPU.
const UNSENT: u32 = 16 << 10;
/// After the order to stop: for what clients have already sent to be noticed. The kernel has it, and reading it takes
/// microseconds; the rest is for a busy machine.
pub(super) const GRACE: Duration = Duration::from_millis(20);

/// Binds `count` sockets to one address; with port 0 the kernel chooses one port for all. The kernel spreads
/// connections over them.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // Sockets that share a port hide that another process has it, or another entry of this one, whose exposure may be another. So ask for
    // it alone first.
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
    if address.is_ipv6() {
        socket.set_only_v6(false)?; // [::] stands for all addresses, whatever the system's default is
    }
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
    let log = BoundedLog::default();
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
                if let Some(left_out) = log.allows() {
                    tracing::warn!(%error, left_out, "cannot accept connections for a moment");
                }
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    use super::*;

    /// Set in the process that is to run out of descriptors.
    const STARVES: &str = "HANSE_TEST_STARVES";

    #[test]
    fn two_entries_never_share_an_address() {
        for (first, then) in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")]
        {
            for count in [1, 2] {
                let first = bind(format!("{first}:0").parse().unwrap(), count).unwrap();
                let port = first[0].local_addr().unwrap().port();
                let error = bind(format!("{then}:{port}").parse().unwrap(), count).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{then} {count}");
            }
        }
    }

    /// Tries to accept a connection again and again.
    async fn starve() {
        tracing::subscriber::set_global_default(Lines).unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let _waiting = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
        accept(listener, tokio::time::sleep(PAUSE * 30), |_, _| unreachable!("no descriptor is free"))
            .await
            .unwrap();
    }

    /// Says that there was a warning.
    struct Lines;

    impl tracing::Subscriber for Lines {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::WARN
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, _: &tracing::Event<'_>) {
            println!("a warning");
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[tokio::test]
    async fn want_of_descriptors_fills_no_log() {
        const NAME: &str = "proxy::accept::tests::want_of_descriptors_fills_no_log";
        if std::env::var_os(STARVES).is_some() {
            return starve().await;
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture", "--test-threads", "1"])
            .env(STARVES, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches("a warning").count(), 5, "{said}");
    }
}
