//! Which requests served Bindings ask for, and whose they are: an index by Environment, host and context, and the grants of each
//! Environment. Both are kept up with each change.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use hanse_management::{
    Claim, Kind, ResourceKey, Spec,
    kinds::{ApiSpec, EnvironmentSpec, HostGrantSpec},
};
use hanse_runtime::{Area, Context, Grant, Grants, HostPattern};
use hanse_topology::Name;

use super::{
    State,
    query::{as_binding, lowest_key},
};
use crate::Resource;

/// A Binding's place in the index: its Environment, a host of its Api, the context, and the Binding.
///
/// A host is written with its labels reversed, `a.example` as `example.a` and `*.example` as `example.*`, so that the hosts of a
/// wildcard follow each other. Every host is `*`.
pub(crate) type Place = (Name, Arc<str>, Arc<str>, ResourceKey);

/// Every host, as the index has it.
const ANY: &str = "*";

/// What a served Binding asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// The requests: of the hosts of its Api, else of those of its Environment, else of any host.
    pub(crate) areas: Vec<Area>,
    /// Whether the Api names these hosts.
    pub(crate) is_listed: bool,
    /// Where.
    pub(crate) regions: Vec<Name>,
}

/// Which Bindings of an area are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// All that ask for some of its requests.
    All,
    /// Those whose host is the area's, or wider. With every Binding of an Environment asked for, this finds each pair that meets.
    Wider,
}

impl State {
    /// The grants of an Environment. `None`: it has none.
    pub(crate) fn grants(&self, environment: &Name) -> Option<&Grants> {
        self.grants.get(environment).map(Arc::as_ref)
    }

    /// The grant that owns an area of an Environment.
    pub(crate) fn owner_of(&self, environment: &Name, area: &Area) -> Option<&Grant> {
        self.grants(environment)?.owner_of(area)
    }

    /// The HostGrant of that grant.
    pub(crate) fn host_grant(&self, environment: &Name, grant: &Grant) -> Option<&ResourceKey> {
        let Area { host, context } = &grant.area;
        let (host, prefix) = (host.to_string().as_str().into(), context.to_string().as_str().into());
        let claim = Claim::Grant { environment: environment.clone(), host, prefix };
        let holder = self.holders(&claim).next()?.clone();
        self.resources.get_key_value(&holder).map(|(key, _)| key)
    }

    /// The HostGrants that hold in an Environment, in order of key.
    pub(crate) fn host_grants<'a>(
        &'a self,
        environment: &'a ResourceKey,
    ) -> impl Iterator<Item = (&'a ResourceKey, &'a HostGrantSpec)> + 'a {
        self.referrers_of_kind(environment, Kind::HostGrant)
            .filter_map(|key| Some((key, self.host_grant_spec(key)?)))
    }

    /// The spec of a HostGrant.
    pub(crate) fn host_grant_spec(&self, key: &ResourceKey) -> Option<&HostGrantSpec> {
        if let Spec::HostGrant(spec) = &self.get(key)?.spec { Some(spec) } else { None }
    }

    /// Computes the grants of an Environment anew.
    pub(crate) fn regrant(&mut self, environment: &Name) {
        let key = ResourceKey::global(Kind::Environment, environment.clone());
        let one = |(_, spec): (_, &HostGrantSpec)| {
            Some(Grant { area: spec.area()?, organization: spec.organization.as_str().into() })
        };
        let grants = Grants::new(self.host_grants(&key).filter_map(one));
        match grants.is_empty() {
            true => self.grants.remove(environment),
            false => self.grants.insert(environment.clone(), Arc::new(grants)),
        };
    }

    /// Computes the index and all grants anew.
    pub(crate) fn rebuild_areas(&mut self) {
        let bindings = self.list(Kind::Binding, None);
        self.places = bindings.flat_map(|binding| places_of(self, binding)).collect();
        self.grants.clear();
        let environments: Vec<Name> =
            self.list(Kind::Environment, None).map(|environment| environment.key.name.clone()).collect();
        environments.iter().for_each(|environment| self.regrant(environment));
    }

    /// What a Binding asks for; `None`: it is served nowhere, or is no Binding.
    pub(crate) fn asked(&self, key: &ResourceKey) -> Option<Asked> {
        let binding = self.get(key)?;
        let (_, spec) = as_binding(binding)?;
        let regions = self.regions_of(binding);
        let served = self.served(binding);
        if regions.is_empty() || served.is_empty() {
            return None;
        }
        let environment = self.environment(&spec.environment)?;
        let is_listed = served.iter().all(|api| !api.hosts.is_empty());
        let areas = served.into_iter().flat_map(|api| areas(api, environment)).collect();
        Some(Asked { areas, is_listed, regions })
    }

    /// The Bindings of other Organizations than `own` that ask for requests of `area` in an Environment. Those of every host are
    /// among them, whatever hostnames the Environment has.
    pub(crate) fn meeting(
        &self,
        environment: &Name,
        area: &Area,
        own: Option<&Name>,
        hosts: Hosts,
    ) -> BTreeSet<ResourceKey> {
        let mut found = BTreeSet::new();
        let host = reversed(&area.host);
        let context = context(&area.context);
        for wider in wider(&host) {
            self.at_host(environment, &wider, &context, own, &mut found);
        }
        if hosts == Hosts::All
            && let Some(below) = host.strip_suffix(ANY)
        {
            let mut last: Arc<str> = below.into();
            loop {
                let after = (environment.clone(), last.clone(), AFTER_CONTEXTS.into(), lowest_key());
                let next = self.places.range((Excluded(after), Unbounded)).next();
                let Some((of, narrower, ..)) = next else { break };
                if of != environment || !narrower.starts_with(below) {
                    break;
                }
                last = narrower.clone();
                if **narrower != *host {
                    self.at_host(environment, narrower, &context, own, &mut found);
                }
            }
        }
        found
    }

    /// Those with this host, and a context that begins `context` or is below it.
    fn at_host(
        &self,
        environment: &Name,
        host: &str,
        context: &str,
        own: Option<&Name>,
        found: &mut BTreeSet<ResourceKey>,
    ) {
        let host: Arc<str> = host.into();
        let mut see = |place: &Place| {
            if place.3.organization.as_ref() != own {
                found.insert(place.3.clone());
            }
        };
        let place = |context: &str| (environment.clone(), host.clone(), Arc::from(context), lowest_key());
        let ends = context.match_indices('/').map(|(at, _)| at).chain([context.len()]);
        for end in ends {
            let prefix = &context[..end];
            let at = self.places.range(place(prefix)..);
            let is_here = |one: &&Place| one.0 == *environment && one.1 == host && &*one.2 == prefix;
            at.take_while(is_here).for_each(&mut see);
        }
        // '0' follows '/'.
        let below = place(&format!("{context}/"))..place(&format!("{context}0"));
        self.places.range(below).for_each(see);
    }
}

/// Follows every context of a host: a context begins with `/`, or is empty.
const AFTER_CONTEXTS: &str = "0";

/// The places of a Binding in the index.
pub(crate) fn places_of(state: &State, binding: &Resource) -> Vec<Place> {
    let Some((_, spec)) = as_binding(binding) else { return Vec::new() };
    let place = |area: Area| {
        let (host, context) = (reversed(&area.host), context(&area.context));
        (spec.environment.clone(), host.into(), context.into(), binding.key.clone())
    };
    state.served(binding).into_iter().flat_map(listed).map(place).collect()
}

/// The areas that an Api names; without hosts, one of any host.
pub(crate) fn listed(api: &ApiSpec) -> Vec<Area> {
    of_hosts(&api.hosts, api)
}

/// The areas of an Api in an Environment.
fn areas(api: &ApiSpec, environment: &EnvironmentSpec) -> Vec<Area> {
    of_hosts(if api.hosts.is_empty() { &environment.hostnames } else { &api.hosts }, api)
}

fn of_hosts(hosts: &[String], api: &ApiSpec) -> Vec<Area> {
    let Some(context) = Context::parse(&api.context) else { return Vec::new() };
    let area = |host| Area { host, context: context.clone() };
    match hosts {
        [] => vec![area(HostPattern::Any)],
        hosts => hosts.iter().filter_map(|host| HostPattern::parse(host)).map(area).collect(),
    }
}

/// A context as the index has it: `/` is empty.
fn context(context: &Context) -> String {
    String::from_utf8_lossy(context.octets()).into_owned()
}

/// A host as the index has it.
fn reversed(host: &HostPattern) -> String {
    let labels = |name: &str| name.rsplit('.').collect::<Vec<_>>().join(".");
    match host {
        HostPattern::Exact(name) => labels(name),
        HostPattern::Suffix(suffix) => format!("{}.{ANY}", labels(suffix)),
        HostPattern::Any => ANY.to_owned(),
    }
}

/// A reversed host, and those that cover it.
fn wider(host: &str) -> Vec<String> {
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
}
