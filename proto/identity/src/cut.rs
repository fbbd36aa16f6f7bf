//! Connections that end when their peer is refused, or the root it was believed by is.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::info;

use crate::{LiveTrust, pki::Shown};
use hanse_topology::Identity;

/// A stream that fails from the moment its peer is refused. The refusal wakes the tasks that wait to read
/// from it or to write to it. So a connection in use ends at once with all streams on it, also where the peer has stopped reading.
pub(crate) struct Guarded<S> {
    stream: S,
    guard: Guard,
}

enum Guard {
    /// Nothing can refuse the peer.
    Off,
    Watching {
        peer: Identity,
        /// One for each direction: reader and writer may be different tasks, and a future wakes one.
        reading: Refusal,
        writing: Refusal,
    },
    Cut,
}

type Refusal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who waits.
#[derive(Clone, Copy)]
enum Waiting {
    Reader,
    Writer,
}

impl<S> Guarded<S> {
    /// Guards the stream to a peer by whom `trust` refuses and which roots it believes; without either it is a plain stream.
    pub(crate) fn new(stream: S, trust: Option<&LiveTrust>, peer: Option<Shown>) -> Self {
        let guard = match trust.zip(peer) {
            Some((trust, shown)) => {
                let peer = shown.identity.clone();
                let reading = Box::pin(trust.refusal_of(shown.clone()));
                let writing = Box::pin(trust.refusal_of(shown));
                Guard::Watching { peer, reading, writing }
            }
            None => Guard::Off,
        };
        Self { stream, guard }
    }

    /// Looks whether the peer is refused; who waits is woken when it is.
    fn look(&mut self, who: Waiting, cx: &mut Context<'_>) -> io::Result<()> {
        if let Guard::Watching { peer, reading, writing } = &mut self.guard {
            let refusal = match who {
                Waiting::Reader => reading,
                Waiting::Writer => writing,
            };
            if refusal.as_mut().poll(cx).is_ready() {
                info!(%peer, "connection cut: the peer is revoked, or its root is believed no more");
                self.guard = Guard::Cut;
            }
        }
        match self.guard {
            Guard::Off | Guard::Watching { .. } => Ok(()),
            Guard::Cut => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the peer is revoked, or its root dropped",
            )),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.look(Waiting::Reader, cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.look(Waiting::Writer, cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look(Waiting::Writer, cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look(Waiting::Writer, cx)?;
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
    use std::{
        collections::BTreeSet,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use crate::{
        Alpn, Clients, Credentials, Expect, LiveCredentials, LiveTrust, Refused, TrustBundle, client_tls,
        connect,
        enrolment::tests::{Desk, ask_desk, serve},
        key_digest,
        pki::Shown,
        server_tls,
        testbed::{Federation, dial, identity, listen, soon},
    };
    use hanse_topology::Role;

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
            let clients =
                Clients::Mutual { trust: self.agent.clone(), roles: vec![Role::Gateway], region: None };
            server_tls(&self.federation.live("a.agent.eu-west"), clients, Alpn::Http2).unwrap()
        }

        fn client(&self) -> crate::ClientTls {
            let expect = Expect { roles: vec![Role::Agent], region: None };
            client_tls(Some(&self.federation.live("g.gateway.eu-west")), &self.gateway, expect).unwrap()
        }
    }

    fn only(who: &str) -> crate::Refused {
        BTreeSet::from([identity(who)]).into()
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
        pair.agent.refuse(Default::default());
        assert_eq!(ask().await.unwrap().role, "g.gateway.eu-west.hanse.internal");
    }

    #[tokio::test]
    async fn a_peer_that_stopped_reading_is_cut_too() {
        let pair = Pair::new();
        let (mut listener, address) = listen(pair.server()).await;
        let (stream, mut connection) =
            soon(async { tokio::join!(dial(address, pair.client()), listener.next_connection()) }).await;
        let silent = stream.unwrap();
        let written = Arc::new(AtomicUsize::new(0));
        let count = written.clone();
        let writing = tokio::spawn(async move {
            loop {
                match connection.write(&[0; 65_536]).await {
                    Ok(bytes) => drop(count.fetch_add(bytes, Ordering::Relaxed)),
                    Err(error) => return error.to_string(),
                }
            }
        });
        // Nothing was taken for a while: the socket's buffers are full, and the writer waits.
        soon(async {
            let mut before = usize::MAX;
            while before != written.load(Ordering::Relaxed) {
                before = written.load(Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
        .await;
        assert!(!writing.is_finished() && written.load(Ordering::Relaxed) > 0);
        pair.agent.refuse(only("g.gateway.eu-west"));
        assert!(soon(writing).await.unwrap().contains("revoked"));
        drop(silent);
    }

    #[tokio::test]
    async fn who_has_an_authority_that_is_refused_gains_nothing_by_another_name() {
        let pair = Pair::new();
        let region = key_digest(&pair.federation.credentials("a.agent.eu-west").chain()[1]).unwrap();
        let control = key_digest(&pair.federation.credentials("a.agent.eu-west").chain()[2]).unwrap();
        let keys = |key| Refused { keys: BTreeSet::from([key]), ..Refused::default() };
        let (listener, address) = listen(pair.server()).await;
        let _serving = serve(listener, Desk::echo());
        for refused in [region, control] {
            // A client refuses any server under this key, under every name.
            pair.gateway.refuse(keys(refused));
            let error = soon(connect(&address.to_string(), pair.client())).await.unwrap_err();
            assert!(hanse_process::telemetry::causes(&error).to_string().contains("under a key that is"));
        }
        pair.gateway.refuse(Refused::default());
        let channel = soon(connect(&address.to_string(), pair.client())).await.unwrap();
        soon(ask_desk(channel.clone())).await.unwrap();
        pair.gateway.refuse(keys(control));
        soon(ask_desk(channel)).await.unwrap_err(); // and a connection there is, is cut

        // A server holds it against an agent of any name, and a control node's against control nodes.
        for (who, role, refused, passes) in [
            ("new-name.agent.eu-west", Role::Agent, region, false),
            ("new-name.agent.eu-west", Role::Agent, control, true),
            ("g.gateway.eu-west", Role::Gateway, region, true),
            ("x.server.control", Role::Server, control, false),
        ] {
            let trust: LiveTrust = pair.federation.anchor().into();
            trust.refuse(keys(refused));
            let clients = Clients::Mutual { trust, roles: vec![role], region: None };
            let tls = server_tls(&pair.federation.live("b.agent.eu-west"), clients, Alpn::Http2).unwrap();
            let (listener, address) = listen(tls).await;
            let _serving = serve(listener, Desk::echo());
            let client = pair.federation.client(who, &[Role::Agent]);
            let channel = soon(connect(&address.to_string(), client)).await.unwrap();
            assert_eq!(soon(ask_desk(channel)).await.is_ok(), passes, "{who}");
        }
    }

    #[tokio::test]
    async fn the_key_of_a_gateway_is_refused_of_those_that_agents_admit_only() {
        let pair = Pair::new();
        let own = |who: &str| {
            let live = pair.federation.live(who);
            let key = key_digest(&live.current().chain()[0]).unwrap();
            (live, Refused { gateway_keys: BTreeSet::from([key]), ..Refused::default() })
        };
        for (who, role, passes) in [
            ("g.gateway.eu-west", Role::Gateway, false),
            ("d.dns.eu-west", Role::Dns, false),
            ("a.agent.eu-west", Role::Agent, true),
        ] {
            let trust: LiveTrust = pair.federation.anchor().into();
            let clients = Clients::Mutual { trust: trust.clone(), roles: vec![role], region: None };
            let tls = server_tls(&pair.federation.live("b.agent.eu-west"), clients, Alpn::Http2).unwrap();
            let (listener, address) = listen(tls).await;
            let _serving = serve(listener, Desk::echo());
            let (live, refused) = own(who);
            let expect = || Expect { roles: vec![Role::Agent], region: None };
            let client = || client_tls(Some(&live), pair.federation.anchor(), expect()).unwrap();
            let before = soon(connect(&address.to_string(), client())).await.unwrap();
            soon(ask_desk(before.clone())).await.unwrap();
            trust.refuse(refused);
            assert_eq!(soon(ask_desk(before)).await.is_ok(), passes, "{who}: the connection it has");
            let after = soon(connect(&address.to_string(), client())).await;
            let served = match after {
                Ok(channel) => soon(ask_desk(channel)).await.is_ok(),
                Err(_) => false,
            };
            assert_eq!(served, passes, "{who}: another connection");
        }
    }

    #[tokio::test]
    async fn whoever_rests_on_a_root_that_is_dropped_is_cut_and_nobody_else() {
        let (pair, other) = (Pair::new(), Federation::new());
        let both = || TrustBundle::new([pair.federation.anchor(), other.anchor()]).unwrap();
        pair.agent.replace(both());
        pair.gateway.replace(both());
        let (listener, address) = listen(pair.server()).await;
        let _serving = serve(listener, Desk::echo());
        let expect = || Expect { roles: vec![Role::Agent], region: None };
        let moved = client_tls(Some(&other.live("g.gateway.eu-west")), &pair.gateway, expect()).unwrap();
        let stayed = soon(connect(&address.to_string(), pair.client())).await.unwrap();
        let moved = soon(connect(&address.to_string(), moved)).await.unwrap();
        soon(ask_desk(stayed.clone())).await.unwrap();
        pair.agent.replace(both().issued_by(other.anchor().spki_sha256()));
        soon(ask_desk(stayed.clone())).await.expect("that another is used drops nothing");
        pair.agent.replace(other.anchor());
        soon(ask_desk(stayed)).await.unwrap_err();
        soon(ask_desk(moved.clone())).await.unwrap();
        // A client does as a server does.
        pair.gateway.replace(other.anchor());
        soon(ask_desk(moved)).await.unwrap_err();
    }

    /// It is the leaf that counts, not what is shown beside it.
    #[tokio::test]
    async fn nobody_chooses_the_root_that_he_counts_under() {
        let (pair, other) = (Pair::new(), Federation::new());
        pair.agent.replace(TrustBundle::new([pair.federation.anchor(), other.anchor()]).unwrap());
        let (listener, address) = listen(pair.server()).await;
        let _serving = serve(listener, Desk::echo());
        let own = pair.federation.live("g.gateway.eu-west").current();
        let chain = own.chain().iter().cloned().chain([other.anchor().certificate().clone()]).collect();
        let showing = LiveCredentials::new(Credentials::new(chain, own.key().clone()).unwrap());
        let expect = Expect { roles: vec![Role::Agent], region: None };
        let both = TrustBundle::new([pair.federation.anchor(), other.anchor()]).unwrap();
        let trust = LiveTrust::new(both, pair.agent.clock().clone());
        let tls = client_tls(Some(&showing), &trust, expect).unwrap();
        let channel = soon(connect(&address.to_string(), tls)).await.unwrap();
        soon(ask_desk(channel.clone())).await.unwrap();
        pair.agent.replace(other.anchor());
        soon(ask_desk(channel)).await.unwrap_err();
    }

    #[tokio::test]
    async fn who_shook_hands_while_its_root_was_dropped_is_cut_too() {
        let trust = LiveTrust::from(Federation::new().anchor());
        let shown = Shown { identity: identity("g.gateway.eu-west"), keys: Vec::new(), root: None };
        soon(trust.refusal_of(shown)).await;
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
        let text = hanse_process::telemetry::causes(&refused).to_string();
        assert!(text.contains("a.agent.eu-west.hanse.internal is refused here: it is revoked"), "{text}");
    }
}
