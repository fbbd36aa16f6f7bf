//! Which proven version may be used in place of a poisoned one.
//!
//! Who may call is never taken from an older version: the newer one may have taken access away. Example: an operator blocks an Api, and
//! a minute later another change ends the gateway three times. The Api is not open again; nothing is served in its place.

use std::collections::BTreeSet;

use bytes::Bytes;
use hanse_proto::runtime::{self, Listener, Operation, Route, resource::Kind};
use hanse_runtime::ResourceKind;
use prost::Message as _;

/// Whether a proven version of a key may be used in place of its poisoned one, or of one that is gone (`None`).
pub(super) fn may_be(key: &str, poisoned: Option<&Bytes>, proven: &Bytes) -> bool {
    let Some(poisoned) = poisoned else {
        // It is compiled for what needs it, and removed.
        return true;
    };
    match ResourceKind::of_key(key) {
        Some(ResourceKind::Credential | ResourceKind::Subscription) => false,
        Some(ResourceKind::Route | ResourceKind::Listener) => match (kind(poisoned), kind(proven)) {
            (Some(Kind::Route(poisoned)), Some(Kind::Route(proven))) => !lets_in_more(&poisoned, &proven),
            (Some(Kind::Listener(poisoned)), Some(Kind::Listener(proven))) => !opens_more(&poisoned, &proven),
            _unreadable => false,
        },
        Some(ResourceKind::Upstream | ResourceKind::Plan) | None => true,
    }
}

/// Read without the rules of the kind: they may be what the poisoned version ends.
fn kind(resource: &Bytes) -> Option<Kind> {
    runtime::Resource::decode(resource.clone()).ok()?.kind
}

/// Whether calls that the poisoned Route refuses may pass by the proven one.
fn lets_in_more(poisoned: &Route, proven: &Route) -> bool {
    fn asks(operation: &Operation) -> (&str, &str, Option<&runtime::OperationSecurity>) {
        (&operation.method, &operation.path, operation.security.as_ref())
    }
    let of =
        |route: &Route| route.operations.iter().map(|it| format!("{:?}", asks(it))).collect::<BTreeSet<_>>();
    (poisoned.blocked && !proven.blocked)
        || poisoned.security != proven.security
        || !of(proven).is_subset(&of(poisoned))
}

/// Whether a listener takes what its poisoned version does not.
fn opens_more(poisoned: &Listener, proven: &Listener) -> bool {
    let is_narrower = |proven: &String| poisoned.hostnames.is_empty() || poisoned.hostnames.contains(proven);
    (proven.http && !poisoned.http)
        || (proven.https && !poisoned.https)
        || (poisoned.internal && !proven.internal)
        || (proven.hostnames.is_empty() && !poisoned.hostnames.is_empty())
        || !proven.hostnames.iter().all(is_narrower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{entry, listener, route, route_entry, upstream, upstream_entry, with_key};

    /// Whether `proven` may be used in place of `poisoned`.
    fn check(poisoned: Route, proven: Route) -> bool {
        let ((key, poisoned), (_, proven)) = (route_entry(poisoned), route_entry(proven));
        may_be(&key, Some(&poisoned), &proven)
    }

    #[test]
    fn a_route_that_lets_no_more_in_may_take_the_place_of_another() {
        let pets = || route("pets", "/pets", &["GET /a", "POST /a"]);
        assert!(check(pets(), pets()));
        assert!(check(route("pets", "/animals", &["GET /a", "POST /a", "GET /b"]), pets()));
        assert!(check(pets(), Route { blocked: true, ..pets() }));
        for poisoned in [
            Route { blocked: true, ..pets() },
            with_key(pets()),
            route("pets", "/pets", &["GET /a"]),
            route("pets", "/pets", &["GET /a", "POST /{id}"]),
        ] {
            assert!(!check(poisoned.clone(), pets()), "{poisoned:?}");
        }
        let mut guarded = pets();
        guarded.operations[1].security = Some(runtime::OperationSecurity::default());
        assert!(!check(guarded, pets()));
    }

    #[test]
    fn a_listener_that_opens_no_more_may_take_the_place_of_another() {
        let check = |poisoned: &[&str], proven: &[&str]| {
            let ((key, poisoned), (_, proven)) =
                (listener("production", poisoned), listener("production", proven));
            may_be(&key, Some(&poisoned), &proven)
        };
        assert!(check(&[], &["a.example"]) && check(&["a.example", "b.example"], &["a.example"]));
        assert!(!check(&["a.example"], &[]) && !check(&["a.example"], &["b.example"]));
    }

    #[test]
    fn no_older_version_says_who_calls() {
        let bytes = Bytes::from_static(b"x");
        for key in ["credential/default/c", "subscription/default/s"] {
            assert!(!may_be(key, Some(&bytes), &bytes), "{key}");
            assert!(may_be(key, None, &bytes), "{key} is removed again");
        }
        let (key, resource) = upstream_entry("pets", upstream(&["http://127.0.0.1:9"]));
        assert!(may_be(&key, Some(&bytes), &resource));
        let (_, plan) = entry("plan/default/p", Kind::Plan(runtime::Plan::default()));
        assert!(may_be("plan/default/p", Some(&bytes), &plan));
        let (key, resource) = route_entry(route("pets", "/pets", &["GET /"]));
        assert!(!may_be(&key, Some(&bytes), &resource), "what it says cannot be read");
    }
}
