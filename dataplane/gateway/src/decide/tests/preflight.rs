//! Preflights of CORS.

use super::*;

#[test]
fn preflights_are_answered_before_method_and_key() {
    let cors = |origin: &str| hanse_proto::runtime::Policy {
        cors: Some(hanse_proto::runtime::Cors { origins: vec![origin.to_owned()], ..Default::default() }),
        ..Default::default()
    };
    let mut api = with_key(route("web", "/web", &["GET /a", "PUT /a", "OPTIONS /own"]));
    api.policies = vec![cors("https://app.example")];
    api.operations[1].policies = vec![cors("https://admin.example")];
    let mut apps = route("apps", "/apps", &["GET /a", "* /any"]);
    apps.policies = vec![cors("https://*.example.com")];
    apps.policies[0].cors.as_mut().unwrap().origins.extend(["capacitor://localhost".into(), "null".into()]);
    let judge = Judge::new(vec![
        listener("production", &[]),
        route_entry(api),
        upstream_entry("web", upstream(&["http://127.0.0.1:9"])),
        route_entry(route("plain", "/plain", &["GET /a"])),
        upstream_entry("plain", upstream(&["http://127.0.0.1:9"])),
        route_entry(apps),
        upstream_entry("apps", upstream(&["http://127.0.0.1:9"])),
    ]);
    let ask = |path: &str, origin: &str, method: &str| {
        judge.judge(
            &format!("OPTIONS {path}"),
            &[("origin", origin), ("access-control-request-method", method)],
        )
    };
    assert_eq!(ask("/web/a", "https://app.example", "GET"), "preflight GET, HEAD, PUT");
    assert_eq!(ask("/web/a", "https://app.example", "DELETE"), "preflight GET, HEAD, PUT");
    assert_eq!(ask("/web/a", "https://app.example", "PUT"), "preflight refused"); // the operation's own policy
    assert_eq!(ask("/web/a", "https://admin.example", "PUT"), "preflight GET, HEAD, PUT");
    assert_eq!(ask("/web/unknown", "https://app.example", "GET"), "404 no-route");
    assert_eq!(ask("/plain/a", "https://app.example", "GET"), "405 method-not-allowed");
    for origin in ["https://a.example.com", "https://a.b.example.com", "capacitor://localhost", "null"] {
        assert_eq!(ask("/apps/a", origin, "GET"), "preflight GET, HEAD", "{origin}");
    }
    for origin in
        ["https://example.com", "https://example.com.evil", "https://evilexample.com", "ionic://localhost"]
    {
        assert_eq!(ask("/apps/a", origin, "GET"), "preflight refused", "{origin}");
    }
    assert_eq!(ask("/apps/any", "null", "BREW"), "preflight BREW");
    assert_eq!(judge.judge("OPTIONS /web/a", &[]), "405 method-not-allowed");
    assert_eq!(judge.judge("OPTIONS /web/own", &[]), "401 key-missing");
}
