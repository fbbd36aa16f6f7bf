//! `hanse upstream`: a sample upstream that answers with what it was sent.

use anyhow::Context as _;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request},
    http::HeaderMap,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hanse_process::shutdown;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};

use crate::{args::UpstreamArgs, out::say};

/// The largest body shown: more than any gateway lets through by itself.
const MAX_BODY_BYTES: usize = 32 << 20;

/// Answers until it is told to stop.
pub(crate) async fn run(args: &UpstreamArgs) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signals();
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("listening on {}", args.listen))?;
    let address = listener.local_addr().context("reading the address")?;
    if let Some(file) = &args.address_file {
        std::fs::write(file, address.to_string()).with_context(|| format!("writing {}", file.display()))?;
    }
    say(format!("answering at http://{address}"));
    let stopped = async move { shutdown.wait().await };
    axum::serve(listener, router()).with_graceful_shutdown(stopped).await.context("serving")
}

fn router() -> Router {
    Router::new().fallback(echo).layer(DefaultBodyLimit::disable())
}

/// Method, path, query, headers and body as JSON, with 200.
async fn echo(request: Request) -> Json<Value> {
    let (head, body) = request.into_parts();
    let body = http_body_util::Limited::new(body, MAX_BODY_BYTES).collect().await;
    let mut echoed = json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query().unwrap_or_default(),
        "headers": headers(&head.headers),
    });
    match body.map(|body| body.to_bytes()) {
        Ok(body) => show(&mut echoed, body),
        Err(error) => echoed["bodyError"] = error.to_string().into(),
    }
    Json(echoed)
}

/// Repeated headers joined by commas (RFC 9110 §5.3).
fn headers(headers: &HeaderMap) -> Value {
    let mut shown = Map::new();
    for name in headers.keys() {
        let values =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        shown.insert(name.to_string(), values.collect::<Vec<_>>().join(", ").into());
    }
    Value::Object(shown)
}

fn show(echoed: &mut Value, body: Bytes) {
    match std::str::from_utf8(&body) {
        Ok(text) => echoed["body"] = text.into(),
        Err(_) => echoed["bodyBase64"] = BASE64_STANDARD.encode(&body).into(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;

    use super::*;

    #[tokio::test]
    async fn it_answers_with_what_it_was_sent() {
        let request = |body: Body| {
            Request::post("http://h/a%2Fb?c=d")
                .header("x-a", "1")
                .header("x-a", "2")
                .body(body)
                .expect("a request")
        };
        let Json(echoed) = echo(request(Body::from("text"))).await;
        let expected = json!({
            "method": "POST", "path": "/a%2Fb", "query": "c=d", "headers": {"x-a": "1, 2"}, "body": "text",
        });
        assert_eq!(echoed, expected);
        let Json(echoed) = echo(request(Body::from(vec![0xff]))).await;
        assert_eq!(echoed["bodyBase64"], "/w==");
    }
}
