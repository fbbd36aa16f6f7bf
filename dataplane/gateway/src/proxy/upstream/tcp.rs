//! One TCP connection to an address that the egress allows. Nothing else of the gateway connects to upstreams.

use std::{
    future::ready,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use http::{Uri, uri::Scheme};
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::Service;

use super::{connector::BoxError, names::Lookup};
use crate::{
    egress::{EgressDenied, EgressGuard},
    proxy::accept::{KEEPALIVE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES},
    table::ConnectProfile,
};

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Connects as one profile says.
#[derive(Clone)]
pub(super) struct Tcp {
    lookup: Lookup,
    egress: Arc<EgressGuard>,
    timeout: Duration,
}

/// Looks a name up, and leaves out the addresses that the egress denies at this port.
#[derive(Clone)]
struct AllowedAddresses {
    lookup: Lookup,
    egress: Arc<EgressGuard>,
    port: u16,
}

impl Tcp {
    pub(super) fn new(lookup: Lookup, profile: &ConnectProfile) -> Self {
        Self { lookup, egress: profile.egress.clone(), timeout: profile.timeout }
    }

    fn connector(&self, port: u16) -> HttpConnector<AllowedAddresses> {
        let (lookup, egress) = (self.lookup.clone(), self.egress.clone());
        let mut tcp = HttpConnector::new_with_resolver(AllowedAddresses { lookup, egress, port });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        // Shared between the addresses of a name, so that one that is silent leaves time for the next. More than the whole, which
        // so ends first where there is one address only.
        tcp.set_connect_timeout(Some(self.timeout + self.timeout / 8));
        tcp
    }
}

/// Judges an address that stands in place of a name. Such an address is not looked up, so the lookup cannot judge it.
pub(crate) fn judge_literal(egress: &EgressGuard, uri: &Uri) -> Result<(), EgressDenied> {
    // As the connector takes it apart.
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().map_or(Ok(()), |address| egress.judge(SocketAddr::new(address, port_of(uri))))
}

/// The port that a connection to it goes to.
fn port_of(uri: &Uri) -> u16 {
    const HTTP: u16 = 80;
    const HTTPS: u16 = 443;
    let of_scheme = if uri.scheme() == Some(&Scheme::HTTPS) { HTTPS } else { HTTP };
    uri.port_u16().unwrap_or(of_scheme)
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Boxed<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Err(denied) = judge_literal(&self.egress, &uri) {
            return Box::pin(ready(Err(denied.into())));
        }
        let connecting = self.connector(port_of(&uri)).call(uri);
        Box::pin(async move { Ok(connecting.await?) })
    }
}

impl Service<dns::Name> for AllowedAddresses {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Boxed<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Self::Future {
        let (looking, egress, port) = (self.lookup.call(name), self.egress.clone(), self.port);
        Box::pin(async move { Ok(egress.allowed(looking.await?, port)?.into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_one_that_is_said_or_that_of_the_scheme() {
        for (uri, port) in
            [("http://a/", 80), ("https://a/", 443), ("https://[::1]:8443/", 8443), ("http://a:443/", 443)]
        {
            assert_eq!(port_of(&uri.parse().unwrap()), port, "{uri}");
        }
    }
}
