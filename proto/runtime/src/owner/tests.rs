use proptest::prelude::*;

use super::*;

fn area(host: &str, context: &str) -> Area {
    let host = HostPattern::parse(host).unwrap_or(HostPattern::Any);
    Area { host, context: Context::parse(context).unwrap() }
}

/// `a.example/orders shop` → a grant.
fn grants(lines: &[(&str, &str, &str)]) -> Grants {
    Grants::new(lines.iter().map(|(host, prefix, organization)| Grant {
        area: area(host, prefix),
        organization: (*organization).into(),
    }))
}

#[test]
fn the_most_special_host_owns_then_the_longest_prefix() {
    let grants = grants(&[
        ("a.example", "/", "exact"),
        ("a.example", "/orders", "orders"),
        ("*.example", "/", "wild"),
        ("*.example", "/orders/v1", "wild-orders"),
        ("*.eu.example", "/", "eu"),
        ("b.example", "/only", "only"),
    ]);
    let owner =
        |host: &str, path: &str| grants.owner(host, path.as_bytes()).map(|grant| &*grant.organization);
    for (host, path, expected) in [
        ("a.example", "/", Some("exact")),
        ("a.example", "/orders", Some("orders")),
        ("a.example", "/orders/7", Some("orders")),
        ("a.example", "/orders-of", Some("exact")),
        // The host is more special, whatever the prefix.
        ("a.example", "/orders/v1/x", Some("orders")),
        ("c.example", "/orders/v1/x", Some("wild-orders")),
        ("c.example", "/orders/v2", Some("wild")),
        ("x.eu.example", "/orders/v1", Some("eu")),
        ("eu.example", "/", Some("wild")),
        ("example", "/", None),
        ("other", "/", None),
        // An exact host without a fitting prefix leaves the word to the wildcard.
        ("b.example", "/only/x", Some("only")),
        ("b.example", "/other", Some("wild")),
    ] {
        assert_eq!(owner(host, path), expected, "{host}{path}");
    }
    let owner_of = |host: &str, path: &str| {
        let Area { host, context } = area(host, path);
        grants.owner_of(&host, &context).map(|grant| &*grant.organization)
    };
    assert_eq!(owner_of("*.eu.example", "/a"), Some("eu"));
    assert_eq!(owner_of("*.de.example", "/orders/v1"), Some("wild-orders"));
    assert_eq!(owner_of("*.example", "/"), Some("wild"));
    assert_eq!(owner_of("*", "/"), None);
    assert_eq!(owner_of("b.example", "/"), Some("wild"));
    assert!(!grants.is_empty() && Grants::default().is_empty());
    assert_eq!(grants.iter().count(), 6);
}

#[test]
fn two_areas_have_the_narrower_parts_in_common() {
    for (one, other, common) in [
        (("a.example", "/"), ("*.example", "/x"), Some("a.example/x")),
        (("a.example", "/x/y"), ("*", "/x"), Some("a.example/x/y")),
        (("*", "/x"), ("*", "/xy"), None),
        (("a.example", "/"), ("b.example", "/"), None),
        (("*", "/"), ("*", "/"), Some("any host/")),
    ] {
        let (one, other) = (area(one.0, one.1), area(other.0, other.1));
        for (one, other) in [(&one, &other), (&other, &one)] {
            assert_eq!(one.common(other).map(|found| found.to_string()).as_deref(), common, "{one} {other}");
        }
    }
}

#[test]
fn what_a_gateway_cannot_use_is_named() {
    let grant = |host: &str, prefix: &str, organization: &str| runtime::HostGrant {
        host: host.to_owned(),
        path_prefix: prefix.to_owned(),
        organization: organization.to_owned(),
    };
    let good = grant("a.example", "/", "shop");
    for (bad, field) in [
        (grant("*", "/", "shop"), "grants[1].host"),
        (grant("a.example", "x", "shop"), "grants[1].path_prefix"),
        (grant("a.example", "/", ""), "grants[1].organization"),
    ] {
        assert_eq!(Grants::read(&[good.clone(), bad]).unwrap_err().field, field);
    }
}

const HOSTS: [&str; 9] = [
    "example",
    "a.example",
    "b.example",
    "a.b.example",
    "c.a.b.example",
    "*.example",
    "*.b.example",
    "*.a.b.example",
    "*.other",
];
const PATHS: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/a/bc"];

/// The owner by going through all grants: how special its host is, then how long its prefix.
fn naive<'a>(all: &'a [Grant], host: &str, path: &str) -> Option<&'a str> {
    let rank = |grant: &Grant| match &grant.area.host {
        HostPattern::Exact(_) => usize::MAX,
        HostPattern::Suffix(suffix) => suffix.len(),
        HostPattern::Any => 0,
    };
    let is_in = |grant: &&Grant| {
        let host_fits = match grant.area.host.to_string().strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix),
            None => grant.area.host.to_string() == host,
        };
        let prefix = grant.area.context.to_string();
        let segments = |text: &str| {
            text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        host_fits && segments(path).starts_with(&segments(&prefix))
    };
    let best = all.iter().filter(is_in).max_by_key(|grant| (rank(grant), grant.area.context.octets().len()));
    best.map(|grant| &*grant.organization)
}

proptest! {
    #[test]
    fn the_owner_is_the_one_that_a_search_through_all_finds(
        chosen in prop::collection::btree_map((0..HOSTS.len(), 0..PATHS.len()), 0..4_u8, 0..12),
    ) {
        let all: Vec<Grant> = chosen
            .iter()
            .map(|((host, path), organization)| Grant {
                area: area(HOSTS[*host], PATHS[*path]),
                organization: organization.to_string().into(),
            })
            .collect();
        let grants = Grants::new(all.clone());
        prop_assert_eq!(grants.iter().count(), all.len());
        for host in HOSTS.iter().filter(|host| !host.starts_with('*')).chain(&["x.a.b.example", "nowhere"]) {
            for path in PATHS.iter().chain(&["/a/b/c/d"]) {
                let found = grants.owner(host, path.as_bytes()).map(|grant| &*grant.organization);
                prop_assert_eq!(found, naive(&all, host, path), "{}{}", host, path);
            }
        }
        // What owns an area covers it, and no narrower grant covers it, too.
        for host in HOSTS {
            for path in PATHS {
                let asked = area(host, path);
                let owner = grants.owner_of(&asked.host, &asked.context);
                let covering: Vec<_> = all.iter().filter(|grant| grant.area.covers(&asked)).collect();
                prop_assert_eq!(owner.is_some(), !covering.is_empty());
                if let Some(owner) = owner {
                    prop_assert!(owner.area.covers(&asked));
                    prop_assert!(covering.iter().all(|other| other.area.host.covers(&owner.area.host)));
                }
            }
        }
    }
}
