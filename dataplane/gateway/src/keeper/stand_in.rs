//! What is used in place of a poisoned version.
//!
//! Who may call is never taken from an older version: the newer one may have taken access away. Example: an operator asks for an API key
//! on an Api, and a minute later another change ends the gateway three times. The Api is not open again. Its Route keeps its place and
//! answers 503, so that its requests do not come to another Api either.

use bytes::Bytes;
use hanse_proto::runtime::{self, Operation, Route, resource::Kind};
use hanse_runtime::ResourceKind;
use prost::Message as _;

/// Whether a version of a key may be held back. A Listener says which requests are of its environment: without the newest, they would go
/// to another. An Origin says who may publish: the newest may have taken that away.
pub(crate) fn may_be_held(key: &str) -> bool {
    !matches!(ResourceKind::of_key(key), Some(ResourceKind::Listener | ResourceKind::Origin))
}

/// What is used in place of the poisoned version of a key, or of a key that is gone (`None`), where this is its proven version.
pub(super) fn stand_in(key: &str, poisoned: Option<&Bytes>, proven: &Bytes) -> Option<Bytes> {
    let Some(poisoned) = poisoned else {
        // It is compiled for what needs it, and removed.
        return Some(proven.clone());
    };
    match ResourceKind::of_key(key) {
        Some(ResourceKind::Credential | ResourceKind::Subscription | ResourceKind::Secret) => None,
        // A proven set has stood for five minutes. One that changes with each instance of a service was proven long ago, and its addresses
        // may be another service's by now. The Upstream's own endpoints are used, or its requests are answered 503.
        Some(ResourceKind::Endpoints) => None,
        Some(ResourceKind::Route) => route(poisoned, proven),
        Some(
            ResourceKind::Listener
            | ResourceKind::Upstream
            | ResourceKind::Plan
            | ResourceKind::Origin
            | ResourceKind::Neighbour
            | ResourceKind::Zone
            | ResourceKind::GlobalHost
            | ResourceKind::Shift,
        )
        | None => Some(proven.clone()),
    }
}

/// The proven Route, blocked unless it lets the same callers in.
fn route(poisoned: &Bytes, proven: &Bytes) -> Option<Bytes> {
    // Read without the rules of a Route: they may be what the poisoned version ends.
    let read = |resource: &Bytes| runtime::Resource::decode(resource.clone()).ok();
    let mut resource = read(proven)?;
    let Some(Kind::Route(route)) = &mut resource.kind else { return None };
    let lets_same_in = match read(poisoned)?.kind {
        Some(Kind::Route(poisoned)) => access_of(poisoned) == access_of(route.clone()),
        _ => false,
    };
    if lets_same_in {
        return Some(proven.clone());
    }
    route.blocked = true;
    Some(resource.encode_to_vec().into())
}

/// All of a Route that may have to do with who may call: all but what certainly has not.
fn access_of(route: Route) -> Route {
    let is_plain = |operation: &Operation| {
        operation.security.is_none() && operation.policies.is_empty() && operation.scopes.is_empty()
    };
    let operations = if route.operations.iter().all(is_plain) { Vec::new() } else { route.operations };
    Route {
        version: String::new(),
        api_revision: 0,
        upstream: String::new(),
        max_body_bytes: 0,
        deprecated: false,
        operations,
        ..route
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{entry, listener, open, route, route_entry, upstream, upstream_entry, with_key};

    /// How `proven` is used in place of `poisoned`.
    fn check(poisoned: Route, proven: Route) -> &'static str {
        let ((key, poisoned), (_, before)) = (route_entry(poisoned), route_entry(proven.clone()));
        let used = stand_in(&key, Some(&poisoned), &before).unwrap();
        let (_, blocked) = route_entry(Route { blocked: true, ..proven });
        match used {
            used if used == before => "as it was",
            used if used == blocked => "blocked",
            _ => "otherwise",
        }
    }

    #[test]
    fn a_route_that_lets_the_same_in_takes_the_place_of_another() {
        let pets = || route("pets", "/pets", &["GET /a", "POST /a"]);
        for poisoned in [
            route("pets", "/pets", &["GET /a", "POST /a", "GET /b"]),
            Route { upstream: "upstream/default/other".to_owned(), api_revision: 9, ..pets() },
        ] {
            assert_eq!(check(poisoned, pets()), "as it was");
        }
        let mut half_open = pets();
        half_open.operations[0].security = open();
        let mut open_below = route("pets", "/pets", &["GET /a", "* /*"]);
        open_below.operations[1].security = open();
        for (poisoned, proven) in [
            (route("pets", "/pets", &["GET /a", "POST /b", "* /*"]), open_below),
            (Route { blocked: true, ..pets() }, pets()),
            (with_key(pets()), pets()),
            (Route { hosts: vec!["internal.example".to_owned()], ..pets() }, pets()),
            (Route { policies: vec![runtime::Policy::default()], ..pets() }, pets()),
            (route("pets", "/animals", &["GET /a", "POST /a"]), pets()),
            (with_key(pets()), half_open.clone()),
            (route("pets", "/pets", &["GET /a", "POST /a", "GET /{id}"]), half_open),
        ] {
            assert_eq!(check(poisoned.clone(), proven), "blocked", "{poisoned:?}");
        }
    }

    #[test]
    fn no_older_version_says_who_calls_or_which_instances_there_are() {
        let bytes = Bytes::from_static(b"x");
        for key in ["credential/default/c", "subscription/default/s", "endpoints/default/e"] {
            assert_eq!(stand_in(key, Some(&bytes), &bytes), None, "{key}");
            assert_eq!(stand_in(key, None, &bytes).as_ref(), Some(&bytes), "{key} is removed again");
        }
        let (key, resource) = upstream_entry("pets", upstream(&["http://127.0.0.1:9"]));
        assert_eq!(stand_in(&key, Some(&bytes), &resource), Some(resource));
        let (_, plan) = entry("plan/default/p", Kind::Plan(runtime::Plan::default()));
        assert_eq!(stand_in("plan/default/p", Some(&bytes), &plan), Some(plan));
        let (key, resource) = route_entry(route("pets", "/pets", &["GET /"]));
        assert_eq!(stand_in(&key, Some(&Bytes::from_static(&[7])), &resource), None, "it cannot be read");
        assert!(may_be_held(&key) && !may_be_held(&listener("production", &[]).0));
    }
}
