use hanse_proto::runtime::{self, resource::Kind};
use proptest::prelude::*;

use super::*;
use crate::testbed::*;

/// An environment with nothing but a listener.
fn environment(name: &str, listener: runtime::Listener) -> Arc<ScopeTable> {
    let listener = runtime::Listener { environment: name.to_owned(), ..listener };
    index(name, vec![entry(&format!("listener/{name}"), Kind::Listener(listener))]).table()
}

fn both(internal: bool, hostnames: &[&str]) -> runtime::Listener {
    let hostnames = hostnames.iter().map(|&name| name.to_owned()).collect();
    runtime::Listener { http: true, https: true, internal, hostnames, ..Default::default() }
}

/// The environment that a client finds; `-`: none; `not-ready`: there is nothing to look in.
fn found(table: &RoutingTable, (protocol, exposure): Face, host: &str) -> String {
    if !table.is_configured(exposure) {
        return "not-ready".to_owned();
    }
    let found = table.environment(protocol, exposure, host);
    let name = found.and_then(|environment| environment.scope().environment().map(ToString::to_string));
    name.unwrap_or_else(|| "-".to_owned())
}

#[test]
fn an_internal_environment_is_found_by_internal_entries_only() {
    let inner = || environment("inner", both(true, &["inner.example", "*.inner.example"]));
    let ours = || environment("ours", both(false, &["api.example"]));
    let check = |environments: Vec<Arc<ScopeTable>>, host: &str, outside: &str, inside: &str| {
        let table = RoutingTable::new(environments, &FACES);
        for protocol in PROTOCOLS {
            let at = |exposure| found(&table, (protocol, exposure), host);
            assert_eq!(
                (&*at(Exposure::External), &*at(Exposure::Internal)),
                (outside, inside),
                "{protocol:?} {host}"
            );
        }
    };
    for host in ["inner.example", "a.inner.example"] {
        check(vec![inner(), ours()], host, "-", "inner");
        // Outside it is as if there were no such environment, also where another has every host.
        check(vec![inner(), environment("rest", both(false, &[]))], host, "rest", "inner");
    }
    check(vec![inner(), ours()], "api.example", "ours", "ours");
    // The client of HTTP/1.0 that names no host.
    check(vec![environment("all", both(true, &[]))], "", "not-ready", "all");
    check(vec![], "", "not-ready", "not-ready");
    // One that accepts nothing yet is no secret.
    check(vec![environment("all", both(true, &[])), index("new", Vec::new()).table()], "", "-", "all");
    check(vec![environment("all", both(true, &[])), ours()], "other.example", "-", "all");
    // One that names a host goes before one that has every host, at both exposures.
    check(vec![environment("all", both(true, &[])), ours()], "api.example", "ours", "ours");
    // Of two that claim one host, the first has it at each entry that serves it.
    let claim = |name: &str, internal| environment(name, both(internal, &["shared.example"]));
    check(vec![claim("a", true), claim("b", false), claim("c", false)], "shared.example", "b", "a");
    check(vec![claim("a", false), claim("b", true)], "shared.example", "a", "a");
}

#[test]
fn an_environment_is_dark_where_no_entry_serves_it() {
    let http_only = runtime::Listener { https: false, ..both(true, &["h.example"]) };
    let environments = vec![
        environment("inner", both(true, &["inner.example"])),
        environment("inner-http", http_only),
        environment("ours", both(false, &[])),
        index("no-listener", Vec::new()).table(),
    ];
    let check = |faces: &[Face], wanted: &[(&str, &str)]| {
        let dark = RoutingTable::new(environments.clone(), faces).dark();
        let dark: Vec<_> = dark.iter().map(|(scope, why)| (scope.to_string(), why.as_str())).collect();
        let wanted: Vec<_> = wanted.iter().map(|(name, why)| (scope(name).to_string(), *why)).collect();
        assert_eq!(dark, wanted, "{faces:?}");
    };
    let inner = ("inner", "it needs an internal entry under [listen], for http or https");
    let inner_http = ("inner-http", "it needs an internal entry under [listen], for http");
    let ours = ("ours", "it needs an entry under [listen], for http or https");
    check(&EXTERNAL, &[inner, inner_http]);
    check(&[(Protocol::Https, Exposure::Internal)], &[inner_http]);
    check(&[(Protocol::Http, Exposure::Internal)], &[]);
    check(&[], &[inner, inner_http, ours]);
}

#[test]
fn a_host_is_had_at_the_faces_of_the_gateway_alone() {
    let shared = |name: &str, internal| environment(name, both(internal, &["h.example"]));
    let place = runtime::Route { hosts: vec!["h.example".to_owned()], ..route("a", "/a", &["GET /"]) };
    let local = local_index("east", vec![route_entry(place)]);
    // An internal environment has the host first, and an external one second. A local scope adds to one of them.
    let check = |added_to_internal: bool, faces: &[Face], is_lost: bool| {
        let (inner, outer) =
            if added_to_internal { ("production", "other") } else { ("other", "production") };
        let scopes = vec![shared(inner, true), shared(outer, false), local.table()];
        let table = RoutingTable::new(scopes, faces);
        let served = local.in_force("route/default/a").unwrap();
        let lost = table.lost(&local.table().scope, served).next();
        assert_eq!(lost.is_some(), is_lost, "{added_to_internal} {faces:?}: {lost:?}");
    };
    let at = |exposure| Protocol::ALL.map(|protocol| (protocol, exposure));
    for (faces, internal_is_lost, external_is_lost) in [
        (&FACES[..], false, false),
        (&at(Exposure::Internal)[..], false, true),
        (&at(Exposure::External)[..], true, false),
        (&[], true, true),
    ] {
        check(true, faces, internal_is_lost);
        check(false, faces, external_is_lost);
    }
}

/// A listener of any kind, of hosts that often meet.
fn listeners() -> impl Strategy<Value = runtime::Listener> {
    let hosts = prop::sample::subsequence(vec!["a.example", "b.example", "*.example", "x.a.example"], 0..=3);
    (any::<bool>(), any::<bool>(), any::<bool>(), hosts).prop_map(|(http, https, internal, hosts)| {
        let hostnames = hosts.into_iter().map(str::to_owned).collect();
        runtime::Listener { http, https, internal, hostnames, ..Default::default() }
    })
}

proptest! {
    /// What external entries find is what a gateway finds that never heard of internal environments. What internal entries find is
    /// what one finds for which none is internal.
    #[test]
    fn an_entry_finds_what_a_table_of_its_environments_finds(
        listeners in prop::collection::vec(listeners(), 0..6),
    ) {
        let table = |keep: fn(&runtime::Listener) -> bool, internal: Option<bool>| {
            let kept = listeners.iter().enumerate().filter(|(_, listener)| keep(listener));
            let tables = kept.map(|(at, listener)| {
                let internal = internal.unwrap_or(listener.internal);
                environment(&format!("e-{at}"), runtime::Listener { internal, ..listener.clone() })
            });
            RoutingTable::new(tables.collect(), &FACES)
        };
        let whole = table(|_| true, None);
        let outside = table(|listener| !listener.internal, Some(false));
        let inside = table(|_| true, Some(false));
        for protocol in PROTOCOLS {
            for host in ["", "a.example", "b.example", "c.example", "x.a.example", "example", "other"] {
                let plain = |table| found(table, (protocol, Exposure::External), host);
                prop_assert_eq!(found(&whole, (protocol, Exposure::External), host), plain(&outside));
                prop_assert_eq!(found(&whole, (protocol, Exposure::Internal), host), plain(&inside));
            }
        }
    }
}
