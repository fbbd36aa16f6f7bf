//! Environment: a deployment target.

mod approval;
mod egress;

use hanse_topology::{Exposure, Name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use approval::ApprovalSpec;
pub use egress::EgressSpec;

use crate::{
    Bound, Bounded, Column, Duration, Field, Kind, ManagementKind, Refer, ShownWith,
    check::{Verdict, check_distinct, host, invalid},
    column::{or, text_of},
};

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
            ("EnvironmentSpec", "listeners", Bound::Items(1, ListenerProtocol::both().len())),
        ];
        [&own[..], &egress::BOUNDS].concat()
    }

    fn check(&self, _name: &Name) -> Verdict {
        host::check_patterns("hostnames", &self.hostnames)?;
        if self.listeners.is_empty() {
            return Err(invalid("listeners", "it accepts nothing", "name http, https or both"));
        }
        check_distinct("listeners", &self.listeners)?;
        check_distinct("regions", &self.regions)?;
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
