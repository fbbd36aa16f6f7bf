//! One connection to one endpoint: TCP to an address that the egress allows and, for `https`, TLS, together within the profile's
//! time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hanse_identity::{TunnelClient, TunnelStream};
use http::Uri;
use hyper::client::conn::http1;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use tokio::net::TcpStream;
use tower::Service;

use super::{
    names::{self, LookupError, Names},
    slots::NoSlot,
    tcp::Tcp,
};
use crate::table::ConnectProfile;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The most header lines of an upstream's answer: far above what servers send. hyper has room for 100 on its stack; more is on the
/// heap, and costs each answer some 550 instructions, for 200 lines as for 256.
pub(crate) const MAX_ANSWER_HEADERS: usize = 256;
/// The largest head of an upstream's answer, in octets: four times what a client may send, because upstreams set cookies, links
/// and policies.
pub(crate) const MAX_ANSWER_HEAD: usize = 256 << 10;

/// HTTP/1.1 to an upstream, with the gateway's limits for its answers.
pub(crate) fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_ANSWER_HEADERS).max_header_size(MAX_ANSWER_HEAD).max_buf_size(MAX_ANSWER_HEAD);
    builder
}

/// No connection within the profile's time.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectTimeout {
    /// All of it went by.
    #[error("no connection within {0:?}")]
    Connection(Duration),
    /// What a lookup may take of it did.
    #[error("no connection, for the lookup of the name took too long")]
    Lookup(#[source] BoxError),
}

/// Connects as one profile says.
#[derive(Clone)]
pub(crate) struct Connector {
    inner: HttpsConnector<Tcp>,
    /// The same without TLS.
    tcp: Tcp,
    timeout: Duration,
}

impl Connector {
    /// Looks names up as the process does.
    pub(crate) fn new(profile: &ConnectProfile) -> Self {
        Self::over(profile, &Names::default())
    }

    /// Whether names can be looked up at all: to be asked before a client is served.
    pub(crate) fn check() -> std::io::Result<()> {
        Names::default().check()
    }

    /// Bounds the lookups of the process at so many descriptors. Holds if nothing has been looked up yet.
    pub(crate) fn bound_lookups(descriptors: usize) {
        names::bound(descriptors);
    }

    /// Lookups of the process that found no address so far.
    pub(crate) fn failed_lookups() -> u64 {
        Names::default().failed()
    }

    pub(super) fn over(profile: &ConnectProfile, names: &Names) -> Self {
        let tcp = Tcp::new(names.within(profile.timeout), profile);
        let own = tcp.clone();
        let mut config = (*profile.tls).clone();
        config.alpn_protocols.clear(); // the builder says itself what is spoken
        let tls = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let inner = match &profile.server_name {
            Some(name) => tls
                .with_server_name_resolver(FixedServerNameResolver::new(name.clone()))
                .enable_http1()
                .wrap_connector(tcp),
            None => tls.enable_http1().wrap_connector(tcp),
        };
        Self { inner, tcp: own, timeout: profile.timeout }
    }

    /// A connection to a gateway of another region.
    pub(super) async fn tunnel(
        &mut self,
        tunnel: &TunnelClient,
        uri: Uri,
    ) -> Result<TokioIo<TunnelStream<TcpStream>>, BoxError> {
        let host = uri.host().unwrap_or_default().to_owned();
        let connecting = self.tcp.call(uri);
        within(self.timeout, async {
            let tcp = connecting.await?.into_inner();
            Ok(TokioIo::new(tunnel.connect(&host, tcp).await?))
        })
        .await
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(within(self.timeout, self.inner.call(uri)))
    }
}

/// Bounds what makes a connection.
async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    match tokio::time::timeout(timeout, work).await {
        Err(_elapsed) => Err(ConnectTimeout::Connection(timeout).into()),
        Ok(Err(error)) if is_late_lookup(&*error) => Err(ConnectTimeout::Lookup(error).into()),
        Ok(connected) => connected,
    }
}

/// The lookup that it is, below all that wraps it.
fn lookup_of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a LookupError> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

fn is_late_lookup(error: &(dyn std::error::Error + 'static)) -> bool {
    lookup_of(error).is_some_and(LookupError::is_timeout)
}

/// Whether it is for want of something of ours that there is no connection: that speaks not against the endpoint.
pub(crate) fn is_ours(error: &(dyn std::error::Error + 'static)) -> bool {
    lookup_of(error).is_some_and(LookupError::is_ours) || lacks_descriptors(error) || error.is::<NoSlot>()
}

/// Whether the process or the system may open no more files: no endpoint is to blame for that.
fn lacks_descriptors(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let code = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if code.is_some_and(|code| code == Errno::EMFILE as i32 || code == Errno::ENFILE as i32) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_not_to_blame_for_our_want_of_descriptors() {
        let of = |code: Errno| BoxError::from(std::io::Error::from_raw_os_error(code as i32));
        assert!(is_ours(&*of(Errno::EMFILE)) && is_ours(&*of(Errno::ENFILE)));
        assert!(is_ours(&ConnectTimeout::Lookup(of(Errno::EMFILE))), "causes count");
        assert!(is_ours(&NoSlot));
        assert!(!is_ours(&*of(Errno::ECONNREFUSED)));
    }
}
