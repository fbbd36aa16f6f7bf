//! The admin port: liveness, readiness, metrics. Plain HTTP; bind it to loopback or a private address.

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::watch;

use crate::Metrics;

/// The OpenMetrics media type.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/livez` (200 while the process runs), `/readyz` (200, or 503 with the reason) and `/metrics`.
pub fn router(metrics: Metrics, ready: watch::Receiver<Result<(), String>>) -> Router {
    Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(async move || readiness(&ready.borrow())))
        .route("/metrics", get(async move || ([(CONTENT_TYPE, OPEN_METRICS)], metrics.encode())))
}

fn readiness(ready: &Result<(), String>) -> Response {
    match ready {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use prometheus_client::metrics::counter::Counter;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn shows_liveness_readiness_and_metrics() {
        let metrics = Metrics::new();
        let counter = Counter::<u64>::default();
        metrics.register(|registry| {
            registry.sub_registry_with_prefix("hanse_test").register(
                "events",
                "Events seen",
                counter.clone(),
            );
        });
        let (ready, watched) = watch::channel(Err("no configuration yet".to_owned()));
        let router = router(metrics, watched);

        assert_eq!(get(&router, "/livez").await, (StatusCode::OK, "live\n".into()));
        let expected = (StatusCode::SERVICE_UNAVAILABLE, "not ready: no configuration yet\n".into());
        assert_eq!(get(&router, "/readyz").await, expected);
        ready.send(Ok(())).unwrap();
        assert_eq!(get(&router, "/readyz").await, (StatusCode::OK, "ready\n".into()));

        counter.inc();
        let (status, text) = get(&router, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("hanse_test_events_total 1\n") && text.ends_with("# EOF\n"), "{text}");
    }
}
