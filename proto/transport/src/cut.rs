//! Connections that end when their peer is refused by name.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::info;

use crate::{Identity, LiveTrust};

/// A stream that fails from the moment its peer is refused. Whoever reads from it is woken by that, so a connection in use
/// ends at once, and all streams on it.
pub(crate) struct Guarded<S> {
    stream: S,
    guard: Guard,
}

enum Guard {
    /// Nobody can refuse the peer.
    Off,
    Watching {
        peer: Identity,
        refusal: Pin<Box<dyn Future<Output = ()> + Send>>,
    },
    Cut,
}

impl<S> Guarded<S> {
    /// Guards the stream to `peer` by whom `trust` refuses; without either it is a plain stream.
    pub(crate) fn new(stream: S, trust: Option<&LiveTrust>, peer: Option<Identity>) -> Self {
        let guard = match trust.zip(peer) {
            Some((trust, peer)) => {
                let refusal = Box::pin(trust.refusal_of(peer.clone()));
                Guard::Watching { peer, refusal }
            }
            None => Guard::Off,
        };
        Self { stream, guard }
    }

    /// Looks whether the peer is refused; the reader is woken when it is.
    fn look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Guard::Watching { peer, refusal } = &mut self.guard
            && refusal.as_mut().poll(cx).is_ready()
        {
            info!(%peer, "connection cut: the peer is revoked");
            self.guard = Guard::Cut;
        }
        self.check()
    }

    fn check(&self) -> io::Result<()> {
        match self.guard {
            Guard::Off | Guard::Watching { .. } => Ok(()),
            Guard::Cut => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the peer is revoked")),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.look(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: fmt::Debug> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use crate::{
        Alpn, Clients, Expect, LiveTrust, Role, client_tls, connect,
        enrolment::tests::{Desk, ask_desk, serve},
        server_tls,
        testbed::{Federation, dial, identity, listen, soon},
    };

    /// An agent's listener for gateways, and a gateway's client, each with a trust of its own.
    struct Pair {
        federation: Federation,
        agent: LiveTrust,
        gateway: LiveTrust,
    }

    impl Pair {
        fn new() -> Self {
            let federation = Federation::new();
            let (agent, gateway) = (federation.anchor().into(), federation.anchor().into());
            Self { federation, agent, gateway }
        }

        fn server(&self) -> crate::ServerTls {
            let clients = Clients::Mutual { trust: self.agent.clone(), roles: vec![Role::Gateway] };
            server_tls(&self.federation.live("a.agent.eu-west"), clients, Alpn::Http2).unwrap()
        }

        fn client(&self) -> crate::ClientTls {
            let expect = Expect { roles: vec![Role::Agent], region: None };
            client_tls(Some(&self.federation.live("g.gateway.eu-west")), &self.gateway, expect).unwrap()
        }
    }

    fn only(who: &str) -> BTreeSet<crate::Identity> {
        BTreeSet::from([identity(who)])
    }

    #[tokio::test]
    async fn a_server_cuts_whom_it_refuses_and_nobody_else() {
        let pair = Pair::new();
        let (mut listener, address) = listen(pair.server()).await;
        let (stream, connection) =
            soon(async { tokio::join!(dial(address, pair.client()), listener.next_connection()) }).await;
        let (mut stream, mut connection) = (stream.unwrap(), connection);
        pair.agent.refuse(only("other.gateway.eu-west"));
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        soon(connection.read_exact(&mut heard)).await.unwrap();

        let reading = tokio::spawn(async move {
            let error = connection.read(&mut [0; 1]).await.unwrap_err();
            (error.to_string(), connection.write_all(b"x").await.is_err())
        });
        tokio::task::yield_now().await;
        assert!(!reading.is_finished());
        pair.agent.refuse(only("g.gateway.eu-west"));
        let (error, writing_fails) = soon(reading).await.unwrap();
        assert!(error.contains("revoked") && writing_fails, "{error}");

        // And it does not come back, until that is lifted.
        let _serving = serve(listener, Desk::echo());
        let ask = async || {
            let channel = soon(connect(&address.to_string(), pair.client())).await.unwrap();
            soon(ask_desk(channel)).await
        };
        ask().await.unwrap_err();
        pair.agent.refuse(BTreeSet::new());
        assert_eq!(ask().await.unwrap().role, "g.gateway.eu-west.hanse.internal");
    }

    #[tokio::test]
    async fn a_client_cuts_whom_it_refuses() {
        let pair = Pair::new();
        let (listener, address) = listen(pair.server()).await;
        let _serving = serve(listener, Desk::echo());
        let channel = soon(connect(&address.to_string(), pair.client())).await.unwrap();
        soon(ask_desk(channel.clone())).await.unwrap();
        pair.gateway.refuse(only("a.agent.eu-west"));
        soon(ask_desk(channel)).await.unwrap_err();
        let refused = soon(connect(&address.to_string(), pair.client())).await.unwrap_err();
        let text = crate::telemetry::causes(&refused).to_string();
        assert!(text.contains("a.agent.eu-west.hanse.internal is refused here: it is revoked"), "{text}");
    }
}
