//! Problems as answers (RFC 9457).

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use hanse_management::{Problem, ProblemName};
use hanse_topology::one_line;
use http::{HeaderValue, StatusCode, header};

use crate::answer::ProblemDetails;

/// What every refused request is answered with.
#[derive(Debug)]
pub(crate) struct Rejection {
    problem: Problem,
    status: StatusCode,
    /// RFC 6750 §3: the challenge of a 401.
    challenge: Option<&'static str>,
}

impl Rejection {
    /// The media type of problem details.
    pub(crate) const MEDIA_TYPE: &'static str = "application/problem+json";

    /// With another status than the problem's usual one.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With a `WWW-Authenticate`.
    pub(crate) fn challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        let status =
            StatusCode::from_u16(problem.name.status()).expect("problems have statuses from 400 to 504");
        Self { problem, status, challenge: None }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let Self { problem, status, challenge } = self;
        if problem.name == ProblemName::Internal {
            tracing::error!(
                detail = &*one_line(&problem.detail),
                field = &*one_line(&problem.field),
                "request failed by our own fault"
            );
        } else {
            let detail = &*one_line(&problem.detail);
            tracing::debug!(problem = problem.name.as_str(), detail, "request refused");
        }
        let body = ProblemDetails { status: status.as_u16(), ..ProblemDetails::from(&problem) };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Self::MEDIA_TYPE));
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if matches!(problem.name, ProblemName::NoQuorum | ProblemName::Busy) {
            // An election takes 1–2 s, and so does the largest apply.
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

impl From<&Problem> for ProblemDetails {
    fn from(problem: &Problem) -> Self {
        Self {
            urn: Self::urn(problem.name),
            title: title(problem.name).to_owned(),
            status: problem.name.status(),
            detail: one_line(&problem.detail).into_owned(),
            field: one_line(&problem.field).into_owned(),
            remedy: one_line(&problem.remedy).into_owned(),
        }
    }
}

/// The problem's summary: the same for every occurrence.
const fn title(name: ProblemName) -> &'static str {
    match name {
        ProblemName::BadRequest => "The request cannot be read",
        ProblemName::Invalid => "A value is not allowed",
        ProblemName::Unauthenticated => "No valid token was shown",
        ProblemName::Forbidden => "The token may not do this",
        ProblemName::NotFound => "There is no such thing",
        ProblemName::MissingReference => "A resource referred to does not exist",
        ProblemName::InUse => "The resource is still referred to",
        ProblemName::Conflict => "It conflicts with what exists",
        ProblemName::Stale => "The resource has changed meanwhile",
        ProblemName::PreconditionRequired => "A replacement must say what it replaces",
        ProblemName::TooLarge => "It is larger than the limit",
        ProblemName::KeyReused => "The idempotency key belongs to another request",
        ProblemName::Upgrade => "An upgrade has to come first",
        ProblemName::JoinRefused => "The join token is not accepted",
        ProblemName::Gone => "The history asked for is no longer kept",
        ProblemName::AuditFull => "The audit log is full",
        ProblemName::ApprovalNeeded => "A second owner must approve it",
        ProblemName::NoQuorum => "The control plane has no quorum",
        ProblemName::Busy => "The node is busy with other requests",
        ProblemName::UnknownFate => "Whether the write happened is not known",
        ProblemName::Internal => "The server has a defect",
    }
}

/// A request that cannot be read.
pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemName::BadRequest, detail)
}

/// A value that is not allowed.
pub(crate) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemName::Invalid, detail)
}

#[cfg(test)]
mod tests {
    use hanse_topology::MAX_LINE_CHARS;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_answer_repeats_no_more_than_a_line_of_the_request() {
        let long = "a\n\u{1b}".repeat(1 << 20);
        let problem = Problem::new(ProblemName::Invalid, &*long).at(&*long).remedy(&*long);
        let answer = Rejection::from(problem).into_response();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.len() < 8 << 10, "{} bytes", body.len());
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        for member in ["detail", "field", "remedy"] {
            let text = document[member].as_str().unwrap();
            assert!(text.chars().count() <= MAX_LINE_CHARS && !text.contains(char::is_control), "{member}");
        }
    }
}
