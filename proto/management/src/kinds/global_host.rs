//! GlobalHost: a host that is answered with the addresses of regions.

mod step;

use std::collections::BTreeSet;

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use step::{
    FailoverStepSpec, GeoStepSpec, MultivalueStepSpec, OriginRuleSpec, OriginStepSpec, PolicyStepSpec, Step,
};

use crate::{
    Bound, Bounded, Claim, Column, Duration, Field, Kind, ManagementKind, Refer, ResourceKey, ShownWith,
    check::{
        Verdict,
        host::{MAX_HOST_BYTES, check_domain_name},
        invalid, text,
    },
    column::{each, or},
    kinds::ApiSpec,
};

/// The most steps of a policy: each kind of step once, and some to spare.
const MAX_STEPS: usize = 8;
/// The most region names of a policy: 1,024 rules with four regions each. Every change of the host or its Environment reads all of them.
const MAX_NAMES: usize = 4_096;
/// Resolvers may keep no answer for less than a second.
const SHORTEST_TTL: Duration = Duration::from_millis(1_000);
/// Clients come back from a region that is gone after the TTL: a day is as long as any outage that an operator acts on.
const LONGEST_TTL: Duration = Duration::from_millis(24 * 60 * 60 * 1_000);
/// Half a minute until clients follow a failover, at two questions a minute of each resolver.
const DEFAULT_TTL: Duration = Duration::from_millis(30_000);

/// A host that DNS answers with addresses of the regions of an Environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GlobalHostSpec {
    /// The host: the name of its zone, or a name below it.
    pub host: String,
    /// The DnsZone.
    pub zone: Name,
    /// The Environment whose gateways serve it.
    pub environment: Name,
    /// How long resolvers keep an answer: 1 second to 1 day. Default 30s.
    #[serde(default = "default_ttl")]
    #[schema(value_type = String)]
    pub ttl: Duration,
    /// Which of the Environment's regions a client is sent to. Each step leaves some of those that the step before it left. Empty: all
    /// of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<PolicyStepSpec>,
}

fn default_ttl() -> Duration {
    DEFAULT_TTL
}

impl GlobalHostSpec {
    /// The steps of its policy, in their order.
    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        self.policy.iter().filter_map(PolicyStepSpec::step)
    }

    /// The regions that its policy names, each once, with the first field below `spec` that has it.
    pub fn regions(&self) -> impl Iterator<Item = (Field, &Name)> {
        let mut seen = BTreeSet::new();
        self.named().filter(move |(_, region)| seen.insert(*region))
    }

    fn named(&self) -> impl Iterator<Item = (Field, &Name)> {
        self.policy.iter().enumerate().flat_map(|(at, step)| step.regions(at))
    }
}

impl ManagementKind for GlobalHostSpec {
    const PLURAL: &'static str = "global-hosts";
    const GLOBAL: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::at("HOST", "/spec/host"),
        Column::at("ENVIRONMENT", "/spec/environment"),
        Column::of("POLICY", |item| or(each(&item["spec"]["policy"], step::shown), "all")),
        Column::at("TTL", "/spec/ttl"),
    ];
    const SHOWN_WITH: &'static [ShownWith] = &[
        ShownWith { kind: Kind::DnsZone, field: "/spec/zone", title: "Hosts" },
        ShownWith { kind: Kind::Environment, field: "/spec/environment", title: "Global hosts" },
    ];

    fn bounds() -> Vec<Bounded> {
        let own = [
            ("GlobalHostSpec", "host", Bound::Text(1, MAX_HOST_BYTES)),
            ("GlobalHostSpec", "policy", Bound::Items(0, MAX_STEPS)),
        ];
        [&own[..], &step::BOUNDS].concat()
    }

    fn check(&self, _name: &Name) -> Verdict {
        check_domain_name("host", &self.host)?;
        text::check_seconds("ttl", self.ttl, SHORTEST_TTL..=LONGEST_TTL)?;
        if self.policy.len() > MAX_STEPS {
            let detail = format!("{} steps are more than {MAX_STEPS}", self.policy.len());
            return Err(invalid(
                "policy",
                detail,
                "leave some out: each step narrows what the one before it left",
            ));
        }
        self.policy.iter().enumerate().try_for_each(|(at, step)| step.check(&format!("policy[{at}]")))?;
        let names = self.named().count();
        if names > MAX_NAMES {
            let detail = format!("its steps name regions {names} times, more than {MAX_NAMES}");
            return Err(invalid(
                "policy",
                detail,
                "name fewer regions in a rule, or a shorter network for several longer ones",
            ));
        }
        Ok(())
    }

    fn references(&self, refer: &mut Refer<'_>) {
        refer.needs(Kind::DnsZone, &self.zone, Field::Plain("zone"));
        refer.needs(Kind::Environment, &self.environment, Field::Plain("environment"));
        for (field, region) in self.regions() {
            refer.lists(Kind::Region, region, field);
        }
    }

    fn claims(&self, _key: &ResourceKey, _served: Option<&ApiSpec>) -> Vec<Claim> {
        vec![Claim::GlobalHost(self.host.as_str().into())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::tests::check;

    #[test]
    fn a_policy_is_a_chain_of_steps() {
        let host = |more: &str| {
            format!("{{host: orders.gslb.example.com, zone: gslb, environment: production, {more}}}")
        };
        for good in [
            "ttl: 1s",
            "ttl: 1day, policy: []",
            "policy: [{origin: {rules: [{cidr: 10.0.0.0/8, regions: [on-prem]}, {cidr: 'fd00::/8', regions: [on-prem]}]}}]",
            "policy: [{geo: {default: [eu-west]}}, {weighted: {eu-west: 3, us-east: 0}}, {multivalue: {count: 2}}]",
            "policy: [{failover: {order: [eu-west, us-east]}}]",
        ] {
            check(Kind::GlobalHost, &host(good), "");
        }
        for (bad, expected) in [
            ("ttl: 500ms", "spec.ttl: 500ms is not a number of whole seconds between 1s and 1day"),
            ("ttl: 2days", "spec.ttl: 2days is not a number of whole seconds"),
            (
                "policy: [{}]",
                "spec.policy[0]: the step says nothing (write one of origin, geo, weighted, failover and multivalue)",
            ),
            (
                "policy: [{geo: {default: [a]}, weighted: {a: 1}}]",
                "spec.policy[0]: geo and weighted are two steps (write each as an item of its own)",
            ),
            ("policy: [{latency: {}}]", "unknown field `latency`"),
            ("policy: [origin]", "a mapping is wanted here"),
            (
                "policy: [{origin: {rules: []}}]",
                "spec.policy[0].origin.rules: 0 rules are not between 1 and 1024",
            ),
            (
                "policy: [{origin: {rules: [{cidr: 10.0.0.7/8, regions: [a]}]}}]",
                "spec.policy[0].origin.rules[0].cidr: \"10.0.0.7/8\" has bits",
            ),
            (
                "policy: [{origin: {rules: [{cidr: 10.0.0.0/8, regions: []}]}}]",
                "spec.policy[0].origin.rules[0].regions: it names no region",
            ),
            (
                "policy: [{origin: {rules: [{cidr: 10.0.0.0/8, regions: [a]}, {cidr: 10.0.0.0/8, regions: [b]}]}}]",
                "spec.policy[0].origin.rules[1].cidr: \"10.0.0.0/8\" is there already",
            ),
            ("policy: [{geo: {default: []}}]", "spec.policy[0].geo.default: it names no region"),
            ("policy: [{weighted: {}}]", "spec.policy[0].weighted: it names no region"),
            ("policy: [{weighted: {a: 0, b: 0}}]", "spec.policy[0].weighted: no region has a weight"),
            ("policy: [{weighted: {a: 1000001}}]", "spec.policy[0].weighted.a: 1000001 is more than 1000000"),
            ("policy: [{failover: {order: [a, a]}}]", "spec.policy[0].failover.order[1]: "),
            (
                "policy: [{multivalue: {count: 0}}]",
                "spec.policy[0].multivalue.count: 0 is not between 1 and 8",
            ),
        ] {
            check(Kind::GlobalHost, &host(bad), expected);
        }
        let nine = format!("policy: [{}]", ["{multivalue: {count: 1}}"; 9].join(", "));
        check(Kind::GlobalHost, &host(&nine), "spec.policy: 9 steps are more than 8");
        check(
            Kind::GlobalHost,
            "{host: '*.a', zone: z, environment: e}",
            "spec.host: \"*.a\" is no name in the DNS: a label has a-z",
        );
    }

    #[test]
    fn each_region_of_a_policy_is_named_with_its_field() {
        let spec: GlobalHostSpec = serde_json::from_value(serde_json::json!({
            "host": "a.example", "zone": "z", "environment": "e",
            "policy": [
                {"origin": {"rules": [{"cidr": "10.0.0.0/8", "regions": ["a", "b"]}]}}, {"geo": {"default": ["c"]}},
                {"weighted": {"d": 1}}, {"failover": {"order": ["e"]}}, {"multivalue": {"count": 1}},
            ],
        }))
        .unwrap();
        let told: Vec<String> = spec.regions().map(|(field, region)| format!("{field} {region}")).collect();
        assert_eq!(
            told,
            [
                "spec.policy[0].origin.rules[0] a",
                "spec.policy[0].origin.rules[0] b",
                "spec.policy[1].geo c",
                "spec.policy[2].weighted d",
                "spec.policy[3].failover e",
            ]
        );
    }
}
