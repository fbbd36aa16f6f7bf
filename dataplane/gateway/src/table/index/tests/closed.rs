//! What a later release publishes is never served more openly than it is meant.

use prost::Message as _;

use super::*;

/// A field that holds bytes: a tag below 16, a length below 128, the bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 128).unwrap();
    [&[number << 3 | 2, length], bytes].concat()
}

/// A route at `/orders` as a later release writes it: who may call is said by a scheme of the number 3.
fn with_a_later_scheme() -> (Key, Bytes) {
    let route = runtime::Route { security: None, ..route("orders", "/orders", &["GET /"]) };
    let security = field(9, &field(3, b""));
    let route = [route.encode_to_vec(), security].concat();
    ("route/default/orders".into(), field(2, &route).into())
}

#[test]
fn a_scheme_of_a_later_release_is_not_taken_for_none() {
    let mut fresh = index(
        "production",
        vec![
            listener("production", &[]),
            with_a_later_scheme(),
            upstream_entry("orders", upstream(&["http://a:1"])),
        ],
    );
    assert_eq!(serves(&fresh, "/orders"), "orders r1 -");
    assert!(is_blocked(&fresh, "/orders"), "its place is kept");
    assert_eq!(reasons(&fresh), ["route/default/orders security"]);
    change(&mut fresh, vec![route_entry(route("orders", "/orders", &["GET /"]))]);
    assert_eq!((serves(&fresh, "/orders").as_str(), reasons(&fresh).len()), ("orders r1 a:1", 0));

    // One that knew a version that it can use keeps that: with a key it was, with a key it stays.
    let mut before = start();
    change(&mut before, vec![route_entry(with_key(route("orders", "/orders", &["GET /"])))]);
    let served = |index: &ScopeIndex| index.routes.in_force("route/default/orders").unwrap().served.clone();
    let with_key = served(&before);
    change(&mut before, vec![with_a_later_scheme()]);
    assert!(Arc::ptr_eq(&with_key, &served(&before)) && with_key.routes.scheme.is_some());
    assert_eq!(reasons(&before), ["route/default/orders security"]);
}

#[test]
fn what_requires_an_unknown_feature_keeps_its_last_good_version() {
    let mut index = start();
    let mut second = route("orders", "/orders", &["GET /"]);
    second.api_revision = 2;
    let requires = |features: &[&str]| {
        let requires = features.iter().map(|&name| name.to_owned()).collect();
        let resource = runtime::Resource { kind: Some(Kind::Route(second.clone())), requires };
        vec![(Key::from("route/default/orders"), Bytes::from(resource.encode_to_vec()))]
    };
    change(&mut index, requires(&["addresses"]));
    assert_eq!(serves(&index, "/orders"), "orders r1 a:1");
    assert_eq!(reasons(&index), ["route/default/orders requires"]);
    let quarantined = in_quarantine(&index);
    assert!(quarantined[0].reason.contains("addresses") && !quarantined[0].effective.is_empty());
    change(&mut index, requires(&[]));
    assert_eq!((serves(&index, "/orders").as_str(), reasons(&index).len()), ("orders r2 a:1", 0));
}
