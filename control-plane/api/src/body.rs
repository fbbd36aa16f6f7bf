//! Request bodies: read within bounds, and told apart by their media type.

use axum::body::Body;
use hanse_state::{Action, Problem, ProblemName, ResourceKey};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::{Limits, rejection::bad_request};

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

/// The whole body, if it is within the limit.
pub(crate) async fn read(body: Body, headers: &HeaderMap, limits: &Limits) -> Result<Vec<u8>, Problem> {
    timeout(limits.body_deadline, read_all(body, headers, limits.body)).await.unwrap_or_else(|_| {
        Err(bad_request(format!("the body did not arrive within {:?}", limits.body_deadline))
            .remedy("send a smaller one, or over a faster link"))
    })
}

async fn read_all(mut body: Body, headers: &HeaderMap, limit: usize) -> Result<Vec<u8>, Problem> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        // A client that waits for `100 Continue` is not sending yet.
        if !headers.contains_key(header::EXPECT) {
            drain(&mut body).await;
        }
        return Err(too_large(limit));
    }
    match Limited::new(&mut body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => {
            drain(&mut body).await;
            Err(too_large(limit))
        }
        Err(error) => Err(bad_request(format!("the body broke off: {error}")).remedy("send it again")),
    }
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

/// The body as one JSON value.
pub(crate) fn json(bytes: &[u8]) -> Result<serde_json::Value, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let field = format!("line {}, column {}", error.line(), error.column());
        // The parser's words end with the place, which is the field.
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or(&words);
        bad_request(format!("the body is not JSON: {words}")).at(field).remedy(if bytes.is_empty() {
            "send a body"
        } else {
            "correct it there; YAML needs Content-Type: application/yaml"
        })
    })
}

/// Refuses changes that would not fit into one command, before they are replicated only to be refused by the state.
pub(crate) fn check_command<'a>(
    changes: impl IntoIterator<Item = (&'a ResourceKey, &'a Action)>,
    limits: &Limits,
) -> Result<(), Problem> {
    let mut size = 0_usize;
    for (key, action) in changes {
        if let Action::Put { spec, .. } = action {
            size = size.saturating_add(spec.to_json().to_string().len());
        }
        if size > limits.command {
            let detail =
                format!("together the resources are larger than the limit of {}", human(limits.command));
            return Err(Problem::new(ProblemName::TooLarge, detail)
                .at(key.to_string())
                .remedy("split the request: what refers to something goes after it"));
        }
    }
    Ok(())
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
