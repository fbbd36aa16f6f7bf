//! Asking processes whether they serve.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::plan::{Face, ProcessSpec, Role};

/// Longest wait for one answer on loopback.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two questions: a process is up within some hundreds of milliseconds.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// Where a process says whether it serves.
pub(super) fn url(spec: &ProcessSpec) -> Option<String> {
    match spec.role {
        Role::Server | Role::Agent | Role::Gateway => {
            Some(format!("http://{}/readyz", spec.address(Face::Admin)?))
        }
        // It is ready once its region has zones, and a new federation has none.
        Role::Dns => Some(format!("http://{}/livez", spec.address(Face::Admin)?)),
        Role::Upstream => Some(format!("http://{}/", spec.address(Face::Http)?)),
    }
}

/// Returns when `url` answers 200.
pub(super) async fn answers(url: &str) {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    loop {
        let request =
            Request::get(url).body(Empty::new()).expect("an URL of an address and a constant path is valid");
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.request(request)).await;
        if answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status() == StatusCode::OK)) {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}
