//! Answers the gateway gives by itself: problem documents (RFC 9457).

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use hanse_topology::{Name, one_line};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{
    config::{MAX_HEAD, MAX_HEADERS},
    proxy::{MAX_ANSWER_HEAD, MAX_ANSWER_HEADERS},
};

/// Why the gateway answers by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The head has more lines or octets than it may.
    HeadTooLarge,
    /// The body has a transfer coding beside `chunked`.
    TransferCoding,
    /// The body is framed badly.
    BadBody,
    /// The request has passed this gateway too often.
    Loop,
    /// No configuration has come yet.
    NotReady,
    /// The `Host` is missing, doubled or malformed.
    BadHost,
    /// The path cannot be matched safely.
    BadPath(String),
    /// No Api, or no operation of it, has this host and path.
    NoRoute,
    /// The path is known, the method is not.
    MethodNotAllowed {
        /// The methods it has.
        allow: HeaderValue,
    },
    /// The Api is blocked.
    ApiBlocked,
    /// No API key where one is needed.
    KeyMissing {
        /// How to show one.
        challenge: Challenge,
    },
    /// A key that no Credential has.
    KeyUnknown {
        /// How to show one.
        challenge: Challenge,
    },
    /// A key past its time.
    KeyExpired {
        /// How to show one.
        challenge: Challenge,
    },
    /// The application has no subscription to the Api.
    NotSubscribed,
    /// More than may be sent.
    BodyTooLarge {
        /// The limit in octets.
        limit: u64,
    },
    /// The plan's rate is used up.
    OverPlan {
        /// Until the next request passes.
        retry_after: Duration,
    },
    /// The client stopped sending the body.
    BodyTimeout,
    /// The Api has no endpoint here.
    NoEndpoint,
    /// The process has as many connections to upstreams as it may.
    UpstreamsFull,
    /// The environment's egress denies the endpoint, or the gateway would call itself.
    EgressDenied,
    /// No connection to the endpoint, or it broke before an answer.
    UpstreamUnreachable,
    /// The head of the endpoint's answer has more lines or octets than the gateway takes.
    AnswerHeadTooLarge,
    /// No connection or no answer in time.
    UpstreamTimeout,
    /// No gateway of a serving region can be reached.
    TunnelUnreachable {
        /// The region.
        region: Name,
    },
    /// As many requests are under way through tunnels as may be.
    TunnelFull,
    /// A gateway of another region sent a request that this one does not serve for it.
    TunnelRefused {
        /// Why not.
        why: &'static str,
    },
}

/// How a client shows an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `WWW-Authenticate` (RFC 9110 §11.6.1).
    pub authenticate: HeaderValue,
    /// The documents of the refusals that tell it, in the order of [`Reason::OF_KEYS`]. A flood of wrong keys must be cheap.
    documents: Arc<[Bytes; 3]>,
}

impl Challenge {
    /// `detail` says the same in a sentence.
    pub fn new(authenticate: HeaderValue, detail: &str) -> Self {
        let documents = Reason::OF_KEYS.map(|reason| reason.document_with(detail));
        Self { authenticate, documents: Arc::new(documents) }
    }

    fn document(&self, reason: Reason) -> Bytes {
        let of = Reason::OF_KEYS.iter().position(|one| *one == reason);
        of.map_or_else(Bytes::new, |at| self.documents[at].clone())
    }
}

/// The kinds of [`Refusal`], for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // as in Refusal
pub enum Reason {
    HeadTooLarge,
    TransferCoding,
    BadBody,
    Loop,
    NotReady,
    BadHost,
    BadPath,
    NoRoute,
    MethodNotAllowed,
    ApiBlocked,
    KeyMissing,
    KeyUnknown,
    KeyExpired,
    NotSubscribed,
    BodyTooLarge,
    OverPlan,
    BodyTimeout,
    NoEndpoint,
    UpstreamsFull,
    EgressDenied,
    UpstreamUnreachable,
    AnswerHeadTooLarge,
    UpstreamTimeout,
    TunnelUnreachable,
    TunnelFull,
    TunnelRefused,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Those that tell how to show an API key.
    const OF_KEYS: [Self; 3] = [Self::KeyMissing, Self::KeyUnknown, Self::KeyExpired];
    /// Each once, in order.
    pub const ALL: [Self; 26] = [
        Self::HeadTooLarge,
        Self::TransferCoding,
        Self::BadBody,
        Self::Loop,
        Self::NotReady,
        Self::BadHost,
        Self::BadPath,
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::ApiBlocked,
        Self::KeyMissing,
        Self::KeyUnknown,
        Self::KeyExpired,
        Self::NotSubscribed,
        Self::BodyTooLarge,
        Self::OverPlan,
        Self::BodyTimeout,
        Self::NoEndpoint,
        Self::UpstreamsFull,
        Self::EgressDenied,
        Self::UpstreamUnreachable,
        Self::AnswerHeadTooLarge,
        Self::UpstreamTimeout,
        Self::TunnelUnreachable,
        Self::TunnelFull,
        Self::TunnelRefused,
    ];

    /// The NAME of `urn:hanse:problem:NAME`, and the label in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "head-too-large",
            Self::TransferCoding => "transfer-coding",
            Self::BadBody => "bad-body",
            Self::Loop => "loop",
            Self::NotReady => "not-ready",
            Self::BadHost => "bad-host",
            Self::BadPath => "bad-path",
            Self::NoRoute => "no-route",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::ApiBlocked => "api-blocked",
            Self::KeyMissing => "key-missing",
            Self::KeyUnknown => "key-unknown",
            Self::KeyExpired => "key-expired",
            Self::NotSubscribed => "not-subscribed",
            Self::BodyTooLarge => "body-too-large",
            Self::OverPlan => "over-plan",
            Self::BodyTimeout => "body-timeout",
            Self::NoEndpoint => "no-endpoint",
            Self::UpstreamsFull => "upstreams-full",
            Self::EgressDenied => "egress-denied",
            Self::UpstreamUnreachable => "upstream-unreachable",
            Self::AnswerHeadTooLarge => "answer-head-too-large",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::TunnelUnreachable => "tunnel-unreachable",
            Self::TunnelFull => "tunnel-full",
            Self::TunnelRefused => "tunnel-refused",
        }
    }

    /// The status it is answered with.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::BadBody | Self::BadHost | Self::BadPath => StatusCode::BAD_REQUEST,
            Self::KeyMissing | Self::KeyUnknown | Self::KeyExpired => StatusCode::UNAUTHORIZED,
            Self::NotSubscribed => StatusCode::FORBIDDEN,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::OverPlan => StatusCode::TOO_MANY_REQUESTS,
            Self::EgressDenied | Self::UpstreamUnreachable | Self::AnswerHeadTooLarge => {
                StatusCode::BAD_GATEWAY
            }
            Self::NotReady
            | Self::ApiBlocked
            | Self::NoEndpoint
            | Self::UpstreamsFull
            | Self::TunnelUnreachable
            | Self::TunnelFull
            | Self::TunnelRefused => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What is always said, as JSON without its end. Names and titles need no escapes.
    fn document(self) -> String {
        let (name, title, status) = (self.name(), self.title(), self.status().as_u16());
        format!(r#"{{"type":"urn:hanse:problem:{name}","title":"{title}","status":{status}"#)
    }

    fn document_with(self, detail: &str) -> Bytes {
        let detail = serde_json::Value::String(detail.to_owned());
        format!("{},\"detail\":{detail}}}", self.document()).into()
    }

    const fn title(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "The head of the request is too large",
            Self::TransferCoding => "The request body has a transfer coding that the gateway does not know",
            Self::BadBody => "The request body is framed badly",
            Self::Loop => "The request comes back to the gateway again and again",
            Self::NotReady => "The gateway has no configuration yet",
            Self::BadHost => "The request does not say which host it is for",
            Self::BadPath => "The path is ambiguous or malformed",
            Self::NoRoute => "Nothing is served at this host and path",
            Self::MethodNotAllowed => "The path does not have this method",
            Self::ApiBlocked => "The API is blocked by its owner",
            Self::KeyMissing => "An API key is needed",
            Self::KeyUnknown => "The API key is not known",
            Self::KeyExpired => "The API key has expired",
            Self::NotSubscribed => "The application is not subscribed to this API",
            Self::BodyTooLarge => "The request body is too large",
            Self::OverPlan => "The subscription's plan is used up for now",
            Self::BodyTimeout => "The request body did not come in time",
            Self::UpstreamsFull => "The gateway has as many connections to backends as it may",
            Self::NoEndpoint => "The API has no endpoint in this region",
            Self::EgressDenied => "The gateway may not connect to the API's backend",
            Self::UpstreamUnreachable => "The API's backend cannot be reached",
            Self::AnswerHeadTooLarge => "The head of the answer of the API's backend is too large",
            Self::UpstreamTimeout => "The API's backend did not answer in time",
            Self::TunnelUnreachable => "The region that serves this host cannot be reached from here",
            Self::TunnelFull => "The gateway passes on as many requests between regions as it may",
            Self::TunnelRefused => "The region that this was sent to does not serve it",
        }
    }
}

impl Refusal {
    /// Its kind.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::HeadTooLarge => Reason::HeadTooLarge,
            Self::TransferCoding => Reason::TransferCoding,
            Self::BadBody => Reason::BadBody,
            Self::Loop => Reason::Loop,
            Self::NotReady => Reason::NotReady,
            Self::BadHost => Reason::BadHost,
            Self::BadPath(_) => Reason::BadPath,
            Self::NoRoute => Reason::NoRoute,
            Self::MethodNotAllowed { .. } => Reason::MethodNotAllowed,
            Self::ApiBlocked => Reason::ApiBlocked,
            Self::KeyMissing { .. } => Reason::KeyMissing,
            Self::KeyUnknown { .. } => Reason::KeyUnknown,
            Self::KeyExpired { .. } => Reason::KeyExpired,
            Self::NotSubscribed => Reason::NotSubscribed,
            Self::BodyTooLarge { .. } => Reason::BodyTooLarge,
            Self::OverPlan { .. } => Reason::OverPlan,
            Self::BodyTimeout => Reason::BodyTimeout,
            Self::NoEndpoint => Reason::NoEndpoint,
            Self::UpstreamsFull => Reason::UpstreamsFull,
            Self::EgressDenied => Reason::EgressDenied,
            Self::UpstreamUnreachable => Reason::UpstreamUnreachable,
            Self::AnswerHeadTooLarge => Reason::AnswerHeadTooLarge,
            Self::UpstreamTimeout => Reason::UpstreamTimeout,
            Self::TunnelUnreachable { .. } => Reason::TunnelUnreachable,
            Self::TunnelFull => Reason::TunnelFull,
            Self::TunnelRefused { .. } => Reason::TunnelRefused,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::HeadTooLarge => {
                Some(format!("It may have {} KiB and {MAX_HEADERS} headers.", MAX_HEAD >> 10))
            }
            Self::AnswerHeadTooLarge => {
                Some(format!("It may have {} KiB and {MAX_ANSWER_HEADERS} headers.", MAX_ANSWER_HEAD >> 10))
            }
            Self::TransferCoding => Some("Send it with chunked alone.".to_owned()),
            Self::BadPath(why) => Some(one_line(why).into_owned()),
            Self::TunnelRefused { why } => Some((*why).to_owned()),
            Self::MethodNotAllowed { allow } => allow.to_str().ok().map(|allow| format!("It has {allow}.")),
            Self::BodyTooLarge { limit } => Some(format!("At most {limit} octets may be sent.")),
            Self::OverPlan { retry_after } => {
                Some(format!("The next request passes in {} s.", whole_seconds(*retry_after)))
            }
            _ => None,
        }
    }

    /// The answer.
    pub fn response(&self) -> Response<Bytes> {
        let reason = self.reason();
        let status = reason.status();
        let mut response = Response::new(self.document());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // A cache must not keep what the next configuration may change.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.add_headers(headers);
        response
    }

    /// Made once per kind, but for those that have more to say: a flood of refusals must be cheap.
    fn document(&self) -> Bytes {
        static WITHOUT_DETAIL: LazyLock<[&str; Reason::COUNT]> = LazyLock::new(|| {
            Reason::ALL.map(|reason| &*Box::leak(format!("{}}}", reason.document()).into_boxed_str()))
        });
        if let Self::KeyMissing { challenge }
        | Self::KeyUnknown { challenge }
        | Self::KeyExpired { challenge } = self
        {
            return challenge.document(self.reason());
        }
        match self.detail() {
            None => Bytes::from_static(WITHOUT_DETAIL[self.reason() as usize].as_bytes()),
            Some(detail) => self.reason().document_with(&detail),
        }
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::MethodNotAllowed { allow } => drop(headers.insert(header::ALLOW, allow.clone())),
            Self::KeyMissing { challenge }
            | Self::KeyUnknown { challenge }
            | Self::KeyExpired { challenge } => {
                headers.insert(header::WWW_AUTHENTICATE, challenge.authenticate.clone());
            }
            Self::OverPlan { retry_after } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(*retry_after)));
            }
            // It is not known where the next request begins.
            Self::TransferCoding | Self::BadBody => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::NotReady | Self::UpstreamsFull | Self::TunnelUnreachable { .. } | Self::TunnelFull => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
    }
}

/// Rounded up, at least 1: a client that waits so long passes.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_problem_documents() {
        let response = Refusal::OverPlan { retry_after: Duration::from_millis(1_001) }.response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        insta::assert_snapshot!(
            String::from_utf8_lossy(response.body()),
            @r#"{"type":"urn:hanse:problem:over-plan","title":"The subscription's plan is used up for now","status":429,"detail":"The next request passes in 2 s."}"#
        );
        let allow = HeaderValue::from_static("GET, HEAD");
        let response = Refusal::MethodNotAllowed { allow }.response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::ALLOW]),
            (405, &"GET, HEAD".parse().unwrap())
        );
    }

    #[test]
    fn every_document_is_json() {
        for reason in Reason::ALL {
            let document: serde_json::Value =
                serde_json::from_str(&format!("{}}}", reason.document())).unwrap();
            assert_eq!(document["title"], reason.title());
        }
        let quoted = Refusal::BadPath("a \"\\\n".to_owned()).response();
        let document: serde_json::Value = serde_json::from_slice(quoted.body()).unwrap();
        assert_eq!((&document["detail"], &document["status"]), (&"a \"\\ ".into(), &400.into()));
        let long = Refusal::BadPath("%".repeat(64 << 10)).response();
        assert!(long.body().len() < 1 << 10, "{} octets", long.body().len());
        let plain = Refusal::NoRoute.response();
        let document: serde_json::Value = serde_json::from_slice(plain.body()).unwrap();
        assert_eq!((&document["type"], document.get("detail")), (&"urn:hanse:problem:no-route".into(), None));
    }

    #[test]
    fn reasons_are_counted_by_their_place() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
