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
    hosts::{ANY, HostSet, patterns, reversed, wider},
    query::{as_binding, lowest_key},
};
use crate::Resource;

/// A Binding's place in the index: its Environment, a host of its Api, the context, and the Binding.
///
/// A host is written as [`reversed`] does it.
pub(crate) type Place = (Name, Arc<str>, Arc<str>, ResourceKey);

/// How many things of an Environment are looked up one by one. For more of them, all its Bindings are gone through once. Tests go both
/// ways with few Bindings.
pub(crate) const FEW: usize = if cfg!(test) { 2 } else { 64 };

/// What a served Binding asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// The Environment.
    pub(crate) environment: Name,
    /// For each ApiRevision that it serves: a part for each host of its Api, or one for all hosts of the Environment.
    pub(crate) parts: Vec<Part>,
    /// Where.
    pub(crate) regions: Vec<Name>,
}

/// The requests to one host of an Api, or of an Api without hosts to all hosts of its Environment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    /// The host that the Api names. `Any`: it names none.
    pub(crate) host: HostPattern,
    /// Those of its hosts that the Environment answers to; not empty.
    pub(crate) hosts: Arc<[HostPattern]>,
    /// Below this context.
    pub(crate) context: Context,
}

impl Part {
    /// Its requests, by host.
    pub(crate) fn areas(&self) -> impl Iterator<Item = Area> + '_ {
        self.hosts.iter().map(|host| Area { host: host.clone(), context: self.context.clone() })
    }

    /// Its requests as the Api names them.
    pub(crate) fn named(&self) -> Area {
        Area { host: self.host.clone(), context: self.context.clone() }
    }
}

impl Asked {
    /// The requests of `area` that it asks for.
    pub(crate) fn within<'a>(&'a self, area: &'a Area) -> impl Iterator<Item = Area> + 'a {
        let parts = self.parts.iter().filter_map(|part| Some((part, part.context.common(&area.context)?)));
        let parts = parts.filter(|(part, _)| part.host.common(&area.host).is_some());
        parts.flat_map(move |(part, context)| {
            let hosts = part.hosts.iter().filter_map(|host| host.common(&area.host));
            hosts.map(move |host| Area { host: host.clone(), context: context.clone() })
        })
    }

    /// The requests that both ask for in one Environment.
    pub(crate) fn common(&self, other: &Self) -> Vec<Area> {
        let pairs = self.parts.iter().flat_map(|one| other.parts.iter().map(move |other| (one, other)));
        let areas = pairs.filter_map(|(one, other)| {
            let context = one.context.common(&other.context)?;
            // The wider of the two has all hosts that the Environment has of the narrower one.
            let hosts = if other.host.covers(&one.host) { &one.hosts } else { &other.hosts };
            let area = |host: &HostPattern| Area { host: host.clone(), context: context.clone() };
            one.host.common(&other.host).map(|_| hosts.iter().map(area).collect::<Vec<_>>())
        });
        areas.flatten().collect()
    }
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
        match self.environment(environment).map(|spec| HostSet::new(&spec.hostnames)) {
            Some(hosts) => self.hostnames.insert(environment.clone(), Arc::new(hosts)),
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

    /// What a Binding asks for; `None`: nothing, as it is served nowhere, or it is no Binding.
    pub(crate) fn asked(&self, key: &ResourceKey) -> Option<Asked> {
        let binding = self.get(key)?;
        let (_, spec) = as_binding(binding)?;
        let regions = self.regions_reached(binding);
        let hostnames = self.hostnames.get(&spec.environment)?;
        let mut parts = Vec::new();
        for api in self.served(binding) {
            let context = Context::parse(&api.context)?;
            for host in patterns(&api.hosts).iter() {
                let hosts = match host {
                    HostPattern::Any => hostnames.all.clone(),
                    host => hostnames.common(host).into(),
                };
                if !hosts.is_empty() {
                    parts.push(Part { host: host.clone(), hosts, context: context.clone() });
                }
            }
        }
        let environment = spec.environment.clone();
        (!parts.is_empty() && !regions.is_empty()).then_some(Asked { environment, parts, regions })
    }

    /// The Bindings of an Environment that may ask for requests of one of `areas`. Of many areas: all its Bindings.
    pub(crate) fn reached(&self, environment: &Name, areas: &[Area]) -> BTreeSet<ResourceKey> {
        if areas.len() > FEW {
            let key = ResourceKey::global(Kind::Environment, environment.clone());
            return self.referrers_of_kind(&key, Kind::Binding).cloned().collect();
        }
        areas.iter().flat_map(|area| self.meeting(environment, area, None)).collect()
    }

    /// The Bindings of other Organizations than `own` that may ask for requests of `area` in an Environment.
    pub(crate) fn meeting(
        &self,
        environment: &Name,
        area: &Area,
        own: Option<&Name>,
    ) -> BTreeSet<ResourceKey> {
        let mut found = BTreeSet::new();
        let host = reversed(&area.host);
        let context = context(&area.context);
        let is_had =
            || self.hostnames.get(environment).is_some_and(|hosts| !hosts.common(&area.host).is_empty());
        // Those of every host ask for the hosts of the Environment.
        let wider = wider(&host).into_iter().filter(|wider| *wider != ANY || is_had());
        for wider in wider {
            self.at_host(environment, &wider, &context, own, &mut found);
        }
        if let Some(below) = host.strip_suffix(ANY) {
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
    state.served(binding).into_iter().flat_map(areas_listed).map(place).collect()
}

/// The areas that an Api names; without hosts, one of any host.
pub(crate) fn areas_listed(api: &ApiSpec) -> Vec<Area> {
    let Some(context) = Context::parse(&api.context) else { return Vec::new() };
    patterns(&api.hosts).iter().map(|host| Area { host: host.clone(), context: context.clone() }).collect()
}

/// A context as the index has it: `/` is empty.
fn context(context: &Context) -> String {
    String::from_utf8_lossy(context.octets()).into_owned()
}
