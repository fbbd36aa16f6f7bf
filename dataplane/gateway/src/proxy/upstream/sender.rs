//! One connection, as requests use it.

use std::sync::Arc;

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1::SendRequest},
};

use crate::{egress::EgressGuard, proxy::body::RequestBody};

/// Sends requests on one connection.
pub(in crate::proxy) struct Sender {
    pub(super) requests: SendRequest<RequestBody>,
    pub(super) egress: Arc<EgressGuard>,
    /// The generation of the egress that allowed the connection.
    pub(super) allowed_by: u64,
}

impl Sender {
    /// Whether the rules are those that allowed the connection. A connection that earlier rules allowed takes no request: another one
    /// is made, which is judged.
    pub(in crate::proxy) fn is_allowed(&self) -> bool {
        self.egress.generation() == self.allowed_by
    }

    pub(super) fn is_ready(&self) -> bool {
        self.requests.is_ready()
    }

    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        self.requests.ready().await
    }

    /// Sends a request. One that the connection did not take comes back with the error.
    pub(in crate::proxy) fn try_send_request(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<> {
        self.requests.try_send_request(request)
    }
}
