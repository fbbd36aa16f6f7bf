//! Requests by host pattern, as the gateway counts them.

use super::harness::*;
use crate::{metrics::TrafficWindow, testbed::*};

#[tokio::test]
async fn requests_count_for_the_pattern_of_the_route_and_never_for_a_clients_host() {
    let backend = Upstream::start().await;
    let mut several = route("a", "/a", &["GET /{p}"]);
    several.hosts = ["*.example.com", "api.example.com", "*.eu.example.com"].map(str::to_owned).to_vec();
    let gateway = Gateway::serving(vec![
        listener("production", &[]),
        route_entry(several),
        route_entry(route("any", "/", &["GET /{p}"])),
        upstream_entry("a", upstream(&[&backend.url()])),
        upstream_entry("any", upstream(&[&backend.url()])),
    ]);
    let mut window = TrafficWindow::new(gateway.hosts.clone());
    for (host, path, status) in [
        ("api.example.com", "/a/x", 200),
        ("API.example.com:80", "/a/x", 200),
        ("b.example.com", "/a/x", 200),
        ("x.y.eu.example.com", "/a/x", 200),
        ("api.example.com", "/a/x/y", 404), // the Route answers that it has no such operation
        ("made-up.invalid", "/x", 200),
        ("made-up-too.invalid", "/x", 200),
        ("api.example.com", "/x", 200),
        ("api.example.com", "/x/y", 404),
    ] {
        let mut request = request(&format!("GET {path}"), &[], "");
        request.headers_mut().insert("host", http::HeaderValue::from_static(host));
        let answer = gateway.call(request).await;
        assert_eq!(answer.status, status, "{host} {path}");
    }
    let rows: Vec<_> =
        window.turn().rows.into_iter().map(|row| (row.environment, row.host, row.requests)).collect();
    let of = |host: &str, requests| ("production".to_owned(), host.to_owned(), requests);
    assert_eq!(
        rows,
        [of("*", 4), of("*.eu.example.com", 1), of("*.example.com", 1), of("api.example.com", 3)]
    );
}
