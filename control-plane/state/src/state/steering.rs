//! Where clients of GlobalHosts are sent, as far as it is decided; and what of it is accepted although it does not hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use hanse_management::{
    Claim, Kind, ResourceKey, Spec,
    kinds::{
        DnsZoneSpec, DrainSpec, DrillSpec, EnvironmentSpec, FailoverPlanSpec, FailoverSpec, GlobalHostSpec,
    },
};
use hanse_runtime::{Context, HostPattern};
use hanse_topology::{Name, WHOLE_PERCENT};

use super::{
    State,
    unserved::{NAMED, has_host},
};
use crate::listed::listed;

/// The kinds that DNS answers are made of. A command that puts or deletes a resource of one of them raises [`State::dns_revision`],
/// also where no answer changes: this rule needs no look at what the command did.
pub(crate) const STEERING: [Kind; 7] = [
    Kind::DnsZone,
    Kind::GlobalHost,
    Kind::FailoverPlan,
    Kind::Failover,
    Kind::Drain,
    Kind::Environment,
    Kind::Region,
];

impl State {
    /// The DnsZone of that name.
    pub(crate) fn dns_zone(&self, name: &Name) -> Option<&DnsZoneSpec> {
        let key = ResourceKey::global(Kind::DnsZone, name.clone());
        if let Spec::DnsZone(spec) = &self.get(&key)?.spec { Some(spec) } else { None }
    }

    /// The GlobalHost of that name.
    pub(crate) fn global_host(&self, name: &Name) -> Option<&GlobalHostSpec> {
        let key = ResourceKey::global(Kind::GlobalHost, name.clone());
        if let Spec::GlobalHost(spec) = &self.get(&key)?.spec { Some(spec) } else { None }
    }

    /// The FailoverPlan of that name.
    pub(crate) fn failover_plan(&self, name: &Name) -> Option<&FailoverPlanSpec> {
        let key = ResourceKey::global(Kind::FailoverPlan, name.clone());
        if let Spec::FailoverPlan(spec) = &self.get(&key)?.spec { Some(spec) } else { None }
    }

    /// What was decided about the FailoverPlan of that name. `None`: nothing yet, so its active region serves.
    pub(crate) fn failover(&self, plan: &Name) -> Option<&FailoverSpec> {
        let key = ResourceKey::global(Kind::Failover, plan.clone());
        if let Spec::Failover(spec) = &self.get(&key)?.spec { Some(spec) } else { None }
    }

    /// The percents of the clients of a plan's hosts by region: as its Failover says, or all in its active region.
    pub fn shares_of(&self, plan: &Name) -> BTreeMap<Name, u8> {
        match (self.failover(plan), self.failover_plan(plan)) {
            (Some(failover), _) => {
                failover.serving.iter().map(|one| (one.region.clone(), one.percent)).collect()
            }
            (None, Some(spec)) => BTreeMap::from([(spec.active.clone(), WHOLE_PERCENT)]),
            (None, None) => BTreeMap::new(),
        }
    }

    /// The Drill of that name.
    pub(crate) fn drill(&self, name: &Name) -> Option<&DrillSpec> {
        let key = ResourceKey::global(Kind::Drill, name.clone());
        if let Spec::Drill(spec) = &self.get(&key)?.spec { Some(spec) } else { None }
    }

    /// The Drain of a region, if it is drained.
    pub(crate) fn drain(&self, region: &Name) -> Option<&DrainSpec> {
        let key = ResourceKey::global(Kind::Drain, region.clone());
        if let Spec::Drain(spec) = &self.get(&key)?.spec { Some(spec) } else { None }
    }

    /// Whether a region is drained.
    pub(crate) fn is_drained(&self, region: &Name) -> bool {
        self.drain(region).is_some()
    }

    /// The FailoverPlan that has a GlobalHost.
    pub(crate) fn plan_of(&self, host: &Name) -> Option<Name> {
        self.holders(&Claim::PlanOfHost(host.clone())).next().map(|key| key.name.clone())
    }

    /// The keys of what else the candidates of a GlobalHost are made of: its Environment, its plan with what was decided about it, the
    /// regions and their Drains. Nothing needs to be at a key.
    pub(crate) fn decides_about(&self, host: &Name) -> impl Iterator<Item = ResourceKey> {
        let environment = self.global_host(host).map(|spec| &spec.environment);
        let regions = environment.and_then(|name| self.environment(name)).map(|spec| spec.regions.as_slice());
        let mut keys: Vec<ResourceKey> = Vec::new();
        for region in regions.unwrap_or_default() {
            keys.extend([Kind::Region, Kind::Drain].map(|kind| ResourceKey::global(kind, region.clone())));
        }
        keys.extend(environment.map(|name| ResourceKey::global(Kind::Environment, name.clone())));
        if let Some(plan) = self.plan_of(host) {
            let kinds = [Kind::FailoverPlan, Kind::Failover];
            keys.extend(kinds.map(|kind| ResourceKey::global(kind, plan.clone())));
        }
        keys.into_iter()
    }

    /// The GlobalHosts of an Environment.
    pub(crate) fn hosts_of_environment(&self, environment: &Name) -> BTreeSet<Name> {
        let environment = ResourceKey::global(Kind::Environment, environment.clone());
        self.referrers_of_kind(&environment, Kind::GlobalHost).map(|key| key.name.clone()).collect()
    }

    /// The Organization that owns a GlobalHost: the one that the HostGrants of its Environment name for the host. `None`: no HostGrant
    /// has it, or it is no GlobalHost.
    pub fn owner_of_global_host(&self, key: &ResourceKey) -> Option<&str> {
        if key.kind != Kind::GlobalHost {
            return None;
        }
        self.owner_of_host(self.global_host(&key.name)?)
    }

    fn owner_of_host(&self, spec: &GlobalHostSpec) -> Option<&str> {
        let (host, every_path) = (HostPattern::parse(&spec.host)?, Context::parse("/")?);
        let grant = self.owner_of(&spec.environment, &host, &every_path)?;
        Some(&*grant.organization)
    }

    /// Of a GlobalHost: what its Environment does not have yet, and that no Organization owns it. Each field, and why.
    pub(super) fn unanswered(&self, spec: &GlobalHostSpec) -> Vec<(String, String)> {
        let Some(environment) = self.environment(&spec.environment) else { return Vec::new() };
        let name = &spec.environment;
        let mut told = Vec::new();
        let mut tell = |field: &str, detail: String| told.push((field.to_owned(), detail));
        if !has_host(&environment.hostnames, &spec.host) {
            let host = &spec.host;
            tell(
                "host",
                format!(
                    "Environment {name} does not answer to {host}: add it to the `hostnames` of the Environment"
                ),
            );
        }
        let unknown = without_address(environment);
        if !unknown.is_empty() {
            let regions = listed(unknown.into_iter(), NAMED);
            tell(
                "environment",
                format!(
                    "no-address-known: Environment {name} has no address for {regions}: add it to its `addresses`"
                ),
            );
        }
        for (region, family) in without_family(environment) {
            tell(
                "environment",
                format!(
                    "Environment {name} has no {family} address for {region}, and other regions have one"
                ),
            );
        }
        if self.owner_of_host(spec).is_none() {
            let host = &spec.host;
            tell(
                "host",
                format!("no Organization owns {host} in Environment {name}: grant it with a HostGrant"),
            );
        }
        told
    }
}

/// The regions of an Environment that it has no address for.
pub(crate) fn without_address(environment: &EnvironmentSpec) -> Vec<&Name> {
    environment.regions.iter().filter(|region| !environment.addresses.contains_key(*region)).collect()
}

/// The regions of an Environment that lack addresses of a family which others have: `IPv4` or `IPv6`.
pub(crate) fn without_family(environment: &EnvironmentSpec) -> Vec<(&Name, &'static str)> {
    let mut lacking = Vec::new();
    for family in ["IPv4", "IPv6"] {
        let has = |addresses: &Vec<IpAddr>| addresses.iter().any(|one| one.is_ipv4() == (family == "IPv4"));
        if environment.addresses.values().any(has) {
            let without = environment.addresses.iter().filter(|(_, addresses)| !has(addresses));
            lacking.extend(without.map(|(region, _)| (region, family)));
        }
    }
    lacking
}
