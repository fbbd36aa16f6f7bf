//! Which requests served Bindings ask for, and whose they are: an index by Environment, host and context, and the grants of each
//! Environment. Both are kept up with each change.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use hanse_management::{
    Claim, Kind, ResourceKey, Spec,
    kinds::{ApiSpec, HostGrantSpec},
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

/// What a served Binding asks for: the requests to hosts of its Api, else of its Environment, else to any host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// The hosts and the context of each ApiRevision that it serves.
    served: Vec<(Arc<[HostPattern]>, Context)>,
    /// Whether the Api names these hosts.
    pub(crate) is_listed: bool,
    /// Where.
    pub(crate) regions: Vec<Name>,
}

impl Asked {
    /// The hosts, each with its context.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&HostPattern, &Context)> {
        self.served.iter().flat_map(|(hosts, context)| hosts.iter().map(move |host| (host, context)))
    }

    /// The requests of `area` that it asks for.
    pub(crate) fn parts<'a>(&'a self, area: &'a Area) -> impl Iterator<Item = Area> + 'a {
        self.served.iter().flat_map(move |(hosts, own)| {
            let context = own.common(&area.context);
            let hosts = hosts.iter().take_while(move |_| context.is_some());
            hosts.filter_map(move |host| {
                Some(Area { host: host.common(&area.host)?.clone(), context: context?.clone() })
            })
        })
    }

    /// The requests that both ask for.
    pub(crate) fn common(&self, other: &Self) -> Vec<Area> {
        let mut all = Vec::new();
        for (own_hosts, own) in &self.served {
            for (hosts, context) in &other.served {
                let Some(context) = own.common(context) else { continue };
                let mut add =
                    |host: &HostPattern| all.push(Area { host: host.clone(), context: context.clone() });
                if Arc::ptr_eq(own_hosts, hosts) {
                    // Those of an Environment: what two of them have in common is one of them.
                    own_hosts.iter().for_each(add);
                    continue;
                }
                let pairs =
                    own_hosts.iter().flat_map(|own| hosts.iter().filter_map(move |host| own.common(host)));
                pairs.for_each(&mut add);
            }
        }
        all
    }
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

    /// The grant that owns the requests to `host` below `context` in an Environment.
    pub(crate) fn owner_of(
        &self,
        environment: &Name,
        host: &HostPattern,
        context: &Context,
    ) -> Option<&Grant> {
        self.grants(environment)?.owner_of(host, context)
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

    /// Reads the hostnames of an Environment anew.
    pub(crate) fn rehost(&mut self, environment: &Name) {
        match self.environment(environment).map(|spec| patterns(&spec.hostnames)) {
            Some(hosts) => self.hostnames.insert(environment.clone(), hosts),
            None => self.hostnames.remove(environment),
        };
    }

    /// Computes the index, all grants and all hostnames anew.
    pub(crate) fn rebuild_areas(&mut self) {
        let bindings = self.list(Kind::Binding, None);
        self.places = bindings.flat_map(|binding| places_of(self, binding)).collect();
        self.grants.clear();
        let environments: Vec<Name> =
            self.list(Kind::Environment, None).map(|environment| environment.key.name.clone()).collect();
        self.hostnames.clear();
        for environment in &environments {
            self.regrant(environment);
            self.rehost(environment);
        }
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
        let is_listed = served.iter().all(|api| !api.hosts.is_empty());
        let asked = served.into_iter().filter_map(|api| {
            let hosts = match api.hosts.as_slice() {
                [] => self.hostnames.get(&spec.environment)?.clone(),
                hosts => patterns(hosts),
            };
            Some((hosts, Context::parse(&api.context)?))
        });
        Some(Asked { served: asked.collect(), is_listed, regions })
    }

    /// The Bindings of other Organizations than `own` that ask for requests of `area` in an Environment.
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
        let is_had = |area: &HostPattern| {
            let hosts = self.hostnames.get(environment);
            hosts.is_some_and(|hosts| hosts.iter().any(|own| own.common(area).is_some()))
        };
        // Those of every host ask for the hosts of the Environment.
        let wider = wider(&host).into_iter().filter(|wider| *wider != ANY || is_had(&area.host));
        for wider in wider {
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
    let Some(context) = Context::parse(&api.context) else { return Vec::new() };
    patterns(&api.hosts).iter().map(|host| Area { host: host.clone(), context: context.clone() }).collect()
}

/// Hosts as patterns; without any, every host.
fn patterns(hosts: &[String]) -> Arc<[HostPattern]> {
    match hosts {
        [] => Arc::new([HostPattern::Any]),
        hosts => hosts.iter().filter_map(|host| HostPattern::parse(host)).collect(),
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
