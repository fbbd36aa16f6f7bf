//! Answers of the operator API, taken apart.

use anyhow::Context as _;
use hanse_api::answer::{ProblemDetails, Resource};
use hanse_management::Problem;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// The state's revision after a write.
const REVISION_HEADER: &str = "hanse-revision";
/// On what a node has, while that may be older than its answers before its last restart.
const RESTARTED_HEADER: &str = "hanse-restarted";

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Value,
    /// The node may have shown more before its last restart.
    pub(super) restarted: bool,
    revision: Option<u64>,
}

impl Answer {
    /// Takes an answer apart; a problem becomes a [`Failure`].
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Self, Failure> {
        if !status.is_success() {
            return Err(failure(status, body));
        }
        let revision = headers.get(REVISION_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        let restarted = is_restarted(headers);
        let body = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) };
        let body =
            body.map_err(|error| Failure::new(Exit::General, format!("the answer is no JSON: {error}")))?;
        Ok(Self { body, restarted, revision })
    }

    pub(super) fn read<T: DeserializeOwned>(self) -> anyhow::Result<T> {
        serde_json::from_value(self.body)
            .context("the server's answer has an unknown form; are client and server of one version?")
    }

    /// The revision a write led to.
    pub(super) fn revision(&self) -> anyhow::Result<u64> {
        self.revision.context("the server's answer names no revision; are client and server of one version?")
    }
}

/// Whether the node may have shown more before its last restart.
pub(super) fn is_restarted(headers: &HeaderMap) -> bool {
    headers.get(RESTARTED_HEADER).is_some_and(|value| value == "true")
}

fn failure(status: StatusCode, body: &[u8]) -> Failure {
    let Ok(details) = serde_json::from_slice::<ProblemDetails>(body) else {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        let message =
            if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {text}") };
        return Failure::new(exit_of(status), message);
    };
    let name = details.name();
    let said = if details.detail.is_empty() { details.title } else { details.detail };
    let said = if said.is_empty() { format!("HTTP {status}") } else { said };
    match name {
        Some(name) => Problem { name, detail: said, field: details.field, remedy: details.remedy }.into(),
        None => Failure::new(exit_of(status), said).remedy(details.remedy),
    }
}

/// For answers that are none of our problems.
fn exit_of(status: StatusCode) -> Exit {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Auth,
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED | StatusCode::PRECONDITION_REQUIRED => {
            Exit::Conflict
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Exit::NoQuorum,
        _ => Exit::General,
    }
}

/// A part of a resource's spec: members that `T` does not name are passed over.
pub(crate) fn part_of<T: DeserializeOwned>(resource: &Resource) -> anyhow::Result<T> {
    T::deserialize(&resource.spec).with_context(|| {
        format!(
            "reading {} {} as the server answered with it; are client and server of one version?",
            resource.kind, resource.name
        )
    })
}
