//! Environment: a deployment target.

mod approval;
mod egress;

use std::{collections::BTreeMap, net::IpAddr};

use hanse_topology::{Exposure, MAX_REGIONS, Name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use approval::ApprovalSpec;
pub use egress::EgressSpec;

use super::dns_zone::check_addresses;
use crate::{
    Bound, Bounded, Column, Duration, Field, Kind, ManagementKind, Refer, ShownWith,
    check::{Verdict, check_distinct, host, invalid, region::check_regions_or_none},
    column::{or, text_of},
};

/// The most addresses of a region: a few load balancers, each with both families.
const MAX_ADDRESSES: usize = 8;

/// A deployment target that regions serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// Whether it may be reached from outside. An internal one is served at the internal entries of gateways only.
    #[serde(default)]
    pub exposure: Exposure,
    /// Hosts it answers to: exact names or `*.suffix`. Empty: every host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// What its gateways accept. Default: both.
    #[serde(default = "ListenerProtocol::both")]
    pub listeners: Vec<ListenerProtocol>,
    /// The regions that serve it.
    pub regions: Vec<Name>,
    /// Whether credentials stay good while a gateway is cut off.
    #[serde(default)]
    pub stale_credentials: StaleCredentials,
    /// Where its gateways may connect for its upstreams. Default: anywhere but to link-local addresses.
    #[serde(default, skip_serializing_if = "EgressSpec::is_empty")]
    pub egress: EgressSpec,
    /// The addresses of its gateways in each region, for DNS: at most 8 a region. They are needed where a DnsZone with its hosts is
    /// copied to other DNS servers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub addresses: BTreeMap<Name, Vec<IpAddr>>,
    /// Whether gateways of a region that does not serve a host send its requests on to gateways of a region that does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tunnel: bool,
    /// Which changes need a second owner. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub approval: Option<ApprovalSpec>,
}

/// A protocol clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListenerProtocol {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl ListenerProtocol {
    fn both() -> Vec<Self> {
        vec![Self::Http, Self::Https]
    }
}

/// What a gateway does with credentials it could not confirm for long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum StaleCredentials {
    /// Goes on accepting them.
    #[default]
    Serve,
    /// Refuses them once this long without news. Not accepted: no gateway of this version does so.
    #[schema(value_type = String)]
    DenyAfter(Duration),
}

impl ManagementKind for EnvironmentSpec {
    const PLURAL: &'static str = "environments";
    const GLOBAL: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::at("EXPOSURE", "/spec/exposure"),
        Column::of("HOSTS", |item| or(text_of(&item["spec"]["hostnames"]), "any")),
        Column::at("REGIONS", "/spec/regions"),
    ];
    const SHOWN_WITH: &'static [ShownWith] =
        &[ShownWith { kind: Kind::Region, field: "/spec/regions", title: "Environments" }];

    fn bounds() -> Vec<Bounded> {
        let own = [
            ("EnvironmentSpec", "hostnames", Bound::Items(0, host::MAX_HOSTS)),
            ("EnvironmentSpec", "hostnames", Bound::Each(1, host::MAX_PATTERN_BYTES)),
            ("EnvironmentSpec", "regions", Bound::Items(0, MAX_REGIONS)),
            ("EnvironmentSpec", "listeners", Bound::Items(1, ListenerProtocol::both().len())),
        ];
        [&own[..], &egress::BOUNDS].concat()
    }

    fn warnings(&self) -> Vec<(&'static str, String)> {
        let unread = || ("tunnel", "no gateway of this version sends requests on".to_owned());
        self.tunnel.then(unread).into_iter().collect()
    }

    fn check(&self, _name: &Name) -> Verdict {
        host::check_patterns("hostnames", &self.hostnames)?;
        if self.listeners.is_empty() {
            return Err(invalid("listeners", "it accepts nothing", "name http, https or both"));
        }
        check_distinct("listeners", &self.listeners)?;
        check_regions_or_none("regions", &self.regions)?;
        self.check_addresses()?;
        self.egress.check()?;
        self.approval.as_ref().map_or(Ok(()), ApprovalSpec::check)?;
        match self.stale_credentials {
            StaleCredentials::Serve => Ok(()),
            StaleCredentials::DenyAfter(_) => Err(invalid(
                "staleCredentials.denyAfter",
                "no gateway of this version refuses credentials that it could not confirm for long",
                "leave it out, or write `serve`; to shut a caller out, delete its Credential",
            )),
        }
    }

    fn references(&self, refer: &mut Refer<'_>) {
        for (at, region) in self.regions.iter().enumerate() {
            refer.lists(Kind::Region, region, Field::Item("regions", at));
        }
    }
}

impl EnvironmentSpec {
    fn check_addresses(&self) -> Verdict {
        for (region, addresses) in &self.addresses {
            let field = format!("addresses.{region}");
            if !self.regions.contains(region) {
                let detail = format!("{region} is no region of it");
                return Err(invalid(field, detail, "name it in `regions`, or take it out here"));
            }
            if addresses.is_empty() {
                return Err(invalid(field, "it has no address", "give one, or take the region out here"));
            }
            check_addresses(&field, addresses, MAX_ADDRESSES)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::tests::check;

    #[test]
    fn regions_are_as_many_as_a_host_has_candidates() {
        for (count, expected) in [(0, ""), (64, ""), (65, "spec.regions: 65 regions are more than 64")] {
            let regions: Vec<String> = (0..count).map(|at| format!("r{at}")).collect();
            check(Kind::Environment, &format!("{{regions: [{}]}}", regions.join(", ")), expected);
        }
    }

    #[test]
    fn addresses_are_those_of_its_regions() {
        let environment = |more: &str| format!("{{regions: [eu-west, us-east], {more}}}");
        for good in [
            "",
            "addresses: {}",
            "addresses: {eu-west: [192.0.2.1, '2001:db8::1'], us-east: [127.0.0.1]}",
            "tunnel: true",
        ] {
            check(Kind::Environment, &environment(good), "");
        }
        let nine = (1..=9).map(|last| format!("192.0.2.{last}")).collect::<Vec<_>>().join(", ");
        for (bad, expected) in [
            ("addresses: {ap-south: [192.0.2.1]}", "spec.addresses.ap-south: ap-south is no region of it"),
            ("addresses: {eu-west: []}", "spec.addresses.eu-west: it has no address"),
            ("addresses: {eu-west: [gateway.example]}", "spec.addresses.eu-west[0]: "),
            ("addresses: {eu-west: [192.0.2.1, 192.0.2.1]}", "spec.addresses.eu-west[1]: "),
            (
                "addresses: {eu-west: [224.0.0.1]}",
                "spec.addresses.eu-west[0]: 224.0.0.1 is the address of no host",
            ),
            (
                &format!("addresses: {{eu-west: [{nine}]}}"),
                "spec.addresses.eu-west: 9 addresses are more than 8",
            ),
        ] {
            check(Kind::Environment, &environment(bad), expected);
        }
    }
}
