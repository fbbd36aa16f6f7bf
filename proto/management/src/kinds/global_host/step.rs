//! A step of a policy.

use std::collections::{BTreeMap, BTreeSet};

use hanse_runtime::Cidr;
use hanse_topology::{MAX_REGIONS, Name};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Field,
    check::{Verdict, invalid, region::check_regions},
};

/// The most rules of one step: every site of a large company. A DNS server walks them for each query.
const MAX_RULES: usize = 1_024;
/// The greatest weight: sums stay far inside 32 bits.
const MAX_WEIGHT: u32 = 1_000_000;
/// The most regions of one answer: clients try few of them. Eight with an address each fit 512 bytes.
const MAX_COUNT: u32 = 8;

/// The bounds of its members.
pub(super) const BOUNDS: [Bounded; 6] = [
    ("OriginStepSpec", "rules", Bound::Items(1, MAX_RULES)),
    ("OriginRuleSpec", "cidr", Bound::Text(1, Cidr::MAX_TEXT)),
    ("OriginRuleSpec", "regions", Bound::Items(1, MAX_REGIONS)),
    ("GeoStepSpec", "default", Bound::Items(1, MAX_REGIONS)),
    ("FailoverStepSpec", "order", Bound::Items(1, MAX_REGIONS)),
    ("MultivalueStepSpec", "count", Bound::Number(1, MAX_COUNT as u64)),
];

/// A step of a policy: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct PolicyStepSpec {
    /// By the network that the client is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<OriginStepSpec>,
    /// The regions nearest to the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geo: Option<GeoStepSpec>,
    /// One region by lot: each region and its share. A region with weight 0, or without one, gets no new clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub weighted: Option<BTreeMap<Name, u32>>,
    /// The first region of a list that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover: Option<FailoverStepSpec>,
    /// The first regions of those that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multivalue: Option<MultivalueStepSpec>,
}

/// Regions by the network that the client is in. The longest network that has the client decides; a client that is in none is left with
/// all regions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OriginStepSpec {
    /// The networks.
    pub rules: Vec<OriginRuleSpec>,
}

/// Clients of one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OriginRuleSpec {
    /// In CIDR notation: `10.0.0.0/8`.
    pub cidr: String,
    /// Where they are sent.
    pub regions: Vec<Name>,
}

/// The regions nearest to the client, by `location` of the Regions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GeoStepSpec {
    /// Where clients are sent whose place is not known.
    pub default: Vec<Name>,
}

/// Regions in an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FailoverStepSpec {
    /// The regions, the preferred one first.
    pub order: Vec<Name>,
}

/// Several regions in one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MultivalueStepSpec {
    /// How many at most: 1 to 8.
    pub count: u32,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// By the network that the client is in.
    Origin(&'a OriginStepSpec),
    /// The regions nearest to the client.
    Geo(&'a GeoStepSpec),
    /// One region by lot.
    Weighted(&'a BTreeMap<Name, u32>),
    /// The first region of a list that is there.
    Failover(&'a FailoverStepSpec),
    /// The first regions of those that are left.
    Multivalue(&'a MultivalueStepSpec),
}

impl Step<'_> {
    /// The word for it in a manifest.
    pub fn word(self) -> &'static str {
        match self {
            Self::Origin(_) => "origin",
            Self::Geo(_) => "geo",
            Self::Weighted(_) => "weighted",
            Self::Failover(_) => "failover",
            Self::Multivalue(_) => "multivalue",
        }
    }
}

impl PolicyStepSpec {
    fn all(&self) -> impl Iterator<Item = Step<'_>> {
        let Self { origin, geo, weighted, failover, multivalue } = self;
        [
            origin.as_ref().map(Step::Origin),
            geo.as_ref().map(Step::Geo),
            weighted.as_ref().map(Step::Weighted),
            failover.as_ref().map(Step::Failover),
            multivalue.as_ref().map(Step::Multivalue),
        ]
        .into_iter()
        .flatten()
    }

    /// What it does. `None` only before the check of the spec.
    pub fn step(&self) -> Option<Step<'_>> {
        self.all().next()
    }

    /// The regions that it names as item `at` of a policy, each with its field.
    pub(super) fn regions(&self, at: usize) -> impl Iterator<Item = (Field, &Name)> {
        let of = move |word| Field::Of("policy", at, word);
        let rules = self.origin.iter().flat_map(|step| step.rules.iter().enumerate());
        let rules = rules.flat_map(move |(rule, spec)| {
            spec.regions.iter().map(move |region| (Field::ItemOf("policy", at, "origin.rules", rule), region))
        });
        let geo = self.geo.iter().flat_map(|step| &step.default).map(move |region| (of("geo"), region));
        let weighted = self.weighted.iter().flat_map(BTreeMap::keys);
        let weighted = weighted.map(move |region| (of("weighted"), region));
        let failover = self.failover.iter().flat_map(|step| &step.order);
        let failover = failover.map(move |region| (of("failover"), region));
        rules.chain(geo).chain(weighted).chain(failover)
    }

    pub(super) fn check(&self, field: &str) -> Verdict {
        let mut steps = self.all();
        let step = match (steps.next(), steps.next()) {
            (Some(step), None) => step,
            (None, _) => {
                let remedy = "write one of origin, geo, weighted, failover and multivalue";
                return Err(invalid(field, "the step says nothing", remedy));
            }
            (Some(one), Some(other)) => {
                let detail = format!("{} and {} are two steps", one.word(), other.word());
                return Err(invalid(field, detail, "write each as an item of its own"));
            }
        };
        match step {
            Step::Origin(step) => check_rules(&format!("{field}.origin.rules"), &step.rules),
            Step::Geo(step) => check_regions(&format!("{field}.geo.default"), &step.default),
            Step::Weighted(weights) => check_weights(&format!("{field}.weighted"), weights),
            Step::Failover(step) => check_regions(&format!("{field}.failover.order"), &step.order),
            Step::Multivalue(MultivalueStepSpec { count }) => match count {
                1..=MAX_COUNT => Ok(()),
                _ => Err(invalid(
                    format!("{field}.multivalue.count"),
                    format!("{count} is not between 1 and {MAX_COUNT}"),
                    "say how many regions an answer may have",
                )),
            },
        }
    }
}

fn check_rules(field: &str, rules: &[OriginRuleSpec]) -> Verdict {
    if !(1..=MAX_RULES).contains(&rules.len()) {
        let detail = format!("{} rules are not between 1 and {MAX_RULES}", rules.len());
        return Err(invalid(field, detail, "name a shorter network for several longer ones"));
    }
    let mut seen = BTreeSet::new();
    for (at, OriginRuleSpec { cidr, regions }) in rules.iter().enumerate() {
        let of = format!("{field}[{at}].cidr");
        Cidr::parse(cidr).map_err(|bad| invalid(&of, bad.detail, bad.remedy))?;
        if !seen.insert(cidr) {
            return Err(invalid(of, format!("{cidr:?} is there already"), "name it once"));
        }
        check_regions(&format!("{field}[{at}].regions"), regions)?;
    }
    Ok(())
}

fn check_weights(field: &str, weights: &BTreeMap<Name, u32>) -> Verdict {
    if weights.is_empty() {
        return Err(invalid(
            field,
            "it names no region",
            "name each region with its share: {eu-west: 3, us-east: 1}",
        ));
    }
    if weights.len() > MAX_REGIONS {
        let detail = format!("{} regions are more than {MAX_REGIONS}", weights.len());
        return Err(invalid(field, detail, "leave some out"));
    }
    if let Some((region, weight)) = weights.iter().find(|(_, weight)| **weight > MAX_WEIGHT) {
        let detail = format!("{weight} is more than {MAX_WEIGHT}");
        return Err(invalid(
            format!("{field}.{region}"),
            detail,
            "choose smaller weights: only their shares count",
        ));
    }
    if weights.values().all(|weight| *weight == 0) {
        return Err(invalid(
            field,
            "no region has a weight above 0",
            "give one region a weight: 0 keeps new clients away",
        ));
    }
    Ok(())
}

/// The word of a step, as a table shows it.
pub(super) fn shown(step: &Value) -> String {
    step.as_object().and_then(|members| members.keys().next()).cloned().unwrap_or_default()
}
