//! Request bodies: read within bounds, and told apart by their media type.

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::body::Body;
use hanse_management::{Problem, ProblemName};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    Limits, OperatorApi,
    bounds::{Place, SMALL_BODY},
    rejection::bad_request,
};

/// How much of a body that is too large is read and thrown away, so that the client, busy sending, gets to read the
/// answer instead of a reset connection.
const DRAIN: usize = 64 << 20;

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON value.
    Json,
    /// YAML documents.
    Yaml,
}

/// The body's format by `Content-Type`; JSON where none is given.
pub(crate) fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(Format::Json) };
    let given = String::from_utf8_lossy(given.as_bytes());
    let (media_type, parameters) = given.split_once(';').unwrap_or((&given, ""));
    let charset = parameters.split(';').find_map(|pair| pair.trim().strip_prefix("charset="));
    let readable = charset.is_none_or(|name| name.trim_matches('"').eq_ignore_ascii_case("utf-8"));
    match media_type.trim().to_ascii_lowercase().as_str() {
        "application/json" if readable => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" | "text/plain"
            if readable =>
        {
            Ok(Format::Yaml)
        }
        _ => Err(bad_request(format!("a body of type {given:?} cannot be read"))
            .at("header: Content-Type")
            .remedy("send application/json or application/yaml, in UTF-8")),
    }
}

/// A body, and its place among the bodies of all requests.
#[derive(Debug, Clone)]
pub(crate) struct Bytes {
    bytes: Arc<Vec<u8>>,
    _place: Option<Arc<Place>>,
}

impl Bytes {
    /// Of an operation that takes none.
    pub(crate) fn none() -> Self {
        Self { bytes: Arc::default(), _place: None }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The whole body, if it is within the limit, once there is a place for it.
pub(crate) async fn read(mut body: Body, headers: &HeaderMap, api: &OperatorApi) -> Result<Bytes, Problem> {
    let limits = &api.limits;
    let header = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok();
    let announced = http_body::Body::size_hint(&body).exact().or_else(header);
    let announced = announced.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let length = announced.unwrap_or(limits.body);
    let read = async {
        if length > limits.body {
            return Err(too_large(limits.body));
        }
        let mut bytes = Vec::new();
        // What a client only announces takes a small place.
        let place = api.bounds.body(length.min(SMALL_BODY), &api.metrics).await?;
        let is_whole = collect(&mut body, &mut bytes, SMALL_BODY, limits).await?;
        if is_whole {
            return Ok(Bytes { bytes: Arc::new(bytes), _place: Some(Arc::new(place)) });
        }
        drop(place);
        let place = api.bounds.body(length.max(SMALL_BODY + 1), &api.metrics).await?;
        bytes.reserve_exact(announced.unwrap_or_default().saturating_sub(bytes.len()));
        collect(&mut body, &mut bytes, limits.body, limits).await?;
        Ok(Bytes { bytes: Arc::new(bytes), _place: Some(Arc::new(place)) })
    };
    let read = read.await;
    let refused = read.as_ref().is_err_and(|problem| problem.name != ProblemName::BadRequest);
    // A client that waits for `100 Continue` is not sending yet.
    if refused && !headers.contains_key(header::EXPECT) {
        let _ = timeout(limits.body_patience, drain(&mut body)).await;
    }
    read
}

/// Adds what comes to `bytes`, until there are more than `enough`. Whether that is all. A client that sends less than a body's least
/// rate is given up.
async fn collect(
    body: &mut Body,
    bytes: &mut Vec<u8>,
    enough: usize,
    limits: &Limits,
) -> Result<bool, Problem> {
    let (began, before) = (Instant::now(), bytes.len());
    while bytes.len() <= enough {
        let at_rate = (bytes.len() - before) / (limits.body_rate / 1_000);
        let until = began + limits.body_patience + Duration::from_millis(at_rate as u64);
        let Ok(frame) = timeout_at(until, body.frame()).await else {
            let detail = format!("{} bytes of the body came, and then too little", bytes.len());
            return Err(bad_request(detail).remedy("send a smaller one, or over a faster link"));
        };
        let Some(frame) = frame else { return Ok(true) };
        let frame = frame
            .map_err(|error| bad_request(format!("the body broke off: {error}")).remedy("send it again"))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > limits.body {
            return Err(too_large(limits.body));
        }
        bytes.extend_from_slice(data);
    }
    Ok(false)
}

async fn drain(body: &mut Body) {
    let mut rest = DRAIN;
    while let Some(Ok(frame)) = body.frame().await {
        rest = rest.saturating_sub(frame.data_ref().map_or(0, |data| data.len()));
        if rest == 0 {
            return;
        }
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the request's body is larger than the limit of {}", human(limit));
    Problem::new(ProblemName::TooLarge, detail).remedy("split it into several requests")
}

/// The body as text.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        bad_request(format!("the body is not UTF-8 from byte {} on", error.valid_up_to()))
            .remedy("save it as UTF-8")
    })
}

fn human(bytes: usize) -> String {
    const MIB: usize = 1 << 20;
    if bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{bytes} bytes") }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn formats_go_by_content_type() {
        for (content_type, expected) in [
            ("application/json", Some(Format::Json)),
            ("Application/JSON; charset=UTF-8", Some(Format::Json)),
            ("application/yaml", Some(Format::Yaml)),
            ("application/x-yaml", Some(Format::Yaml)),
            ("text/yaml; charset=\"utf-8\"", Some(Format::Yaml)),
            ("text/plain", Some(Format::Yaml)),
            ("text/plain; charset=latin1", None),
            ("application/x-www-form-urlencoded", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(format(&headers).ok(), expected, "{content_type:?}");
        }
        assert_eq!(format(&HeaderMap::new()), Ok(Format::Json));
    }
}
