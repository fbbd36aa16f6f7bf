//! Sets of hosts, found by the hosts that cover a host and by those that it covers.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use hanse_runtime::HostPattern;

/// Every host, reversed.
pub(crate) const ANY: &str = "*";

/// The hosts that an Environment answers to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HostSet {
    /// All of them.
    pub(crate) all: Arc<[HostPattern]>,
    by_reversed: BTreeMap<String, HostPattern>,
}

impl HostSet {
    /// Reads hosts; without any, it has every host.
    pub(crate) fn new(hosts: &[String]) -> Self {
        let all = patterns(hosts);
        let by_reversed = all.iter().map(|host| (reversed(host), host.clone())).collect();
        Self { all, by_reversed }
    }

    /// The hosts of `host` that are in the set.
    pub(crate) fn common(&self, host: &HostPattern) -> Vec<HostPattern> {
        let own = reversed(host);
        if wider(&own).iter().any(|wider| self.by_reversed.contains_key(wider)) {
            return vec![host.clone()];
        }
        below(&self.by_reversed, &own).map(|(_, host)| host.clone()).collect()
    }
}

/// Hosts as patterns; without any, every host.
pub(crate) fn patterns(hosts: &[String]) -> Arc<[HostPattern]> {
    match hosts {
        [] => Arc::new([HostPattern::Any]),
        hosts => hosts.iter().filter_map(|host| HostPattern::parse(host)).collect(),
    }
}

/// A host with its labels reversed: `a.example` as `example.a`, `*.example` as `example.*`, and every host as `*`. So the hosts of a
/// wildcard follow each other.
pub(crate) fn reversed(host: &HostPattern) -> String {
    let labels = |name: &str| name.rsplit('.').collect::<Vec<_>>().join(".");
    match host {
        HostPattern::Exact(name) => labels(name),
        HostPattern::Suffix(suffix) => format!("{}.{ANY}", labels(suffix)),
        HostPattern::Any => ANY.to_owned(),
    }
}

/// A reversed host, and those that cover it.
pub(crate) fn wider(host: &str) -> Vec<String> {
    let mut all = vec![host.to_owned()];
    if host == ANY {
        return all;
    }
    let mut rest = host.strip_suffix(ANY).map_or(host, |suffix| suffix.trim_end_matches('.'));
    while let Some((parent, _)) = rest.rsplit_once('.') {
        all.push(format!("{parent}.{ANY}"));
        rest = parent;
    }
    all.push(ANY.to_owned());
    all
}

/// The hosts of a map that a reversed host covers, without itself.
pub(crate) fn below<'a, 'b, T>(
    map: &'a BTreeMap<String, T>,
    host: &'b str,
) -> impl Iterator<Item = (&'a String, &'a T)> + use<'a, 'b, T> {
    let within = host.strip_suffix(ANY);
    let after = within.map(|within| map.range::<str, _>((Excluded(within), Unbounded)));
    let hosts = after.into_iter().flatten();
    hosts
        .take_while(move |(found, _)| within.is_some_and(|within| found.starts_with(within)))
        .filter(move |(found, _)| *found != host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_that_cover_one() {
        let check = |host: &str, expected: &[&str]| {
            let pattern = HostPattern::parse(host).unwrap_or(HostPattern::Any);
            assert_eq!(wider(&reversed(&pattern)), expected, "{host}");
        };
        check("a.b.example", &["example.b.a", "example.b.*", "example.*", "*"]);
        check("*.b.example", &["example.b.*", "example.*", "*"]);
        check("localhost", &["localhost", "*"]);
        check("*", &["*"]);
    }

    #[test]
    fn the_hosts_of_a_set_that_are_of_a_pattern() {
        let check = |set: &[&str], host: &str, expected: &[&str]| {
            let set: Vec<String> = set.iter().map(|&host| host.to_owned()).collect();
            let host = HostPattern::parse(host).unwrap_or(HostPattern::Any);
            let found: Vec<String> =
                HostSet::new(&set).common(&host).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{set:?} {host}");
        };
        check(&[], "a.example", &["a.example"]);
        check(&[], "*", &["any host"]);
        check(&["*.example"], "a.b.example", &["a.b.example"]);
        check(&["*.example"], "example", &[]);
        check(&["a.example", "b.example", "c.other"], "*.example", &["a.example", "b.example"]);
        check(&["a.example", "*.b.example"], "*", &["a.example", "*.b.example"]);
        check(&["a.example"], "b.example", &[]);
        check(&["*.b.example"], "*.example", &["*.b.example"]);
    }
}
