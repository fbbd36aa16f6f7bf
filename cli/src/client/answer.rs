//! What the operator API answers.

use anyhow::Context as _;
use hanse_management::{Problem, ProblemName};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// The state's revision after a write.
const REVISION_HEADER: &str = "hanse-revision";
/// On what a node has, while that may be older than its answers before its last restart.
const RESTARTED_HEADER: &str = "hanse-restarted";

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Value,
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
        let restarted = headers.get(RESTARTED_HEADER).is_some_and(|value| value == "true");
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

/// Problem details (RFC 9457) with our members.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    r#type: String,
    title: String,
    detail: String,
    field: String,
    remedy: String,
}

fn failure(status: StatusCode, body: &[u8]) -> Failure {
    let Ok(details) = serde_json::from_slice::<Details>(body) else {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        let message =
            if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {text}") };
        return Failure::new(exit_of(status), message);
    };
    let said = if details.detail.is_empty() { details.title } else { details.detail };
    let said = if said.is_empty() { format!("HTTP {status}") } else { said };
    match details.r#type.strip_prefix("urn:hanse:problem:").and_then(ProblemName::parse) {
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

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) items: Vec<Value>,
    pub(super) revision: u64,
    #[serde(rename = "continue", default)]
    pub(super) next: Option<String>,
}

/// A whole list.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Listed {
    /// The resources.
    pub(crate) items: Vec<Value>,
    /// The revision they were read at.
    pub(crate) revision: u64,
}

/// What an apply did, or would do.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ApplyAnswer {
    /// The state's revision after it.
    pub(crate) revision: u64,
    /// What happened to each resource.
    pub(crate) changes: Vec<Changed>,
    /// What it did to the gateways' configuration.
    #[serde(default)]
    pub(crate) scopes: Vec<ScopeEffect>,
    /// What of it does not hold yet.
    #[serde(default)]
    pub(crate) warnings: Vec<Warning>,
}

/// Something that is accepted although it does not hold yet.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Warning {
    /// The kind of the resource that says it.
    pub(crate) kind: String,
    /// Its owner, if it has one.
    #[serde(default)]
    pub(crate) organization: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// Where it says so.
    pub(crate) field: String,
    /// What is not done.
    pub(crate) detail: String,
}

/// What happened to one resource.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Changed {
    /// Its kind.
    pub(crate) kind: String,
    /// Its owner, if it has one.
    #[serde(default)]
    pub(crate) organization: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// `created`, `updated`, `unchanged`, `deleted`.
    pub(crate) action: String,
}

/// What a change did to one region's gateways of one environment.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ScopeEffect {
    /// The region.
    pub(crate) region: String,
    /// The environment; absent for scopes that have none.
    #[serde(default)]
    pub(crate) environment: Option<String>,
    /// Runtime resources made or changed.
    pub(crate) upserts: u64,
    /// Runtime resources removed.
    pub(crate) removals: u64,
}

/// Who serves a revision.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Convergence {
    /// The revision asked about.
    pub(crate) revision: u64,
    /// Whether every gateway in scope serves it.
    pub(crate) converged: bool,
    /// Every gateway that is concerned.
    pub(crate) gateways: Vec<GatewayConvergence>,
    /// Agents that have more gateways than they can name.
    #[serde(default)]
    pub(crate) partial: Vec<String>,
}

/// Where one gateway stands.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct GatewayConvergence {
    /// Its name.
    pub(crate) name: String,
    /// Its region.
    pub(crate) region: String,
    /// The environment.
    pub(crate) environment: String,
    /// `effective`, `behind`, `absent`, `fused`.
    pub(crate) state: String,
    /// The revision it serves.
    #[serde(default)]
    pub(crate) revision: Option<u64>,
    /// Why it does not serve the one asked for.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}
