//! ApiRevision: an Api with what it refers to, as it was.

use std::collections::{BTreeMap, BTreeSet};

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ApiSpec, PolicySpec, UpstreamSpec};
use crate::{
    Bounded, Column, Field, Kind, ManagementKind, Problem, ProblemName, Refer, ResourceKey, ShownWith,
    Written,
    check::{Verdict, invalid},
    column::count,
};

/// An immutable numbered copy of an Api with what it refers to, named `API-rNUMBER`. The server makes it; operators write it only
/// as a part of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApiRevisionSpec {
    /// The Api it copies.
    pub api: Name,
    /// 1, 2, 3, … per Api, never used twice.
    pub number: u64,
    /// The Api as it was.
    pub spec: ApiSpec,
    /// The Policies it named, as they were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub policies: BTreeMap<Name, PolicySpec>,
    /// The Upstream it named, as it was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub upstreams: BTreeMap<Name, UpstreamSpec>,
}

impl ApiRevisionSpec {
    /// The key of revision `number` of an Api. `None` when that is no name: the Api's is too long.
    pub fn key(organization: &Name, api: &Name, number: u64) -> Option<ResourceKey> {
        let name = Name::new(format!("{api}-r{number}")).ok()?;
        Some(ResourceKey::owned(Kind::ApiRevision, organization.clone(), name))
    }

    /// Whether `other` has the same content. Numbers and lifecycles do not count: the number is what a new content gets,
    /// and the lifecycle is the Api's own, not a revision's.
    pub fn same_content(&self, other: &Self) -> bool {
        let Self { api, number: _, spec, policies, upstreams } = self;
        let ApiSpec {
            context,
            version,
            hosts,
            operations,
            security,
            policies: names,
            lifecycle: _,
            upstream,
            max_body_bytes,
            #[cfg(feature = "next")]
            note,
        } = spec;
        #[cfg(feature = "next")]
        if *note != other.spec.note {
            return false;
        }
        *api == other.api
            && *context == other.spec.context
            && *version == other.spec.version
            && *hosts == other.spec.hosts
            && *operations == other.spec.operations
            && *security == other.spec.security
            && *names == other.spec.policies
            && *upstream == other.spec.upstream
            && *max_body_bytes == other.spec.max_body_bytes
            && *policies == other.policies
            && *upstreams == other.upstreams
    }
}

impl ManagementKind for ApiRevisionSpec {
    const PLURAL: &'static str = "api-revisions";
    const WRITTEN: Written = Written::ByApply;
    const COLUMNS: &'static [Column] = &[
        Column::at("API", "/spec/api"),
        Column::at("NUMBER", "/spec/number"),
        Column::at("VERSION", "/spec/spec/version"),
        Column::of("OPERATIONS", |item| count(&item["spec"]["spec"]["operations"])),
    ];
    const SHOWN_WITH: &'static [ShownWith] =
        &[ShownWith { kind: Kind::Api, field: "/spec/api", title: "Revisions" }];

    /// It has the Api's schemas.
    fn bounds() -> Vec<Bounded> {
        ApiSpec::bounds()
    }

    fn normalize(&mut self) {
        let Self { api: _, number: _, spec, policies, upstreams } = self;
        spec.normalize();
        policies.values_mut().for_each(ManagementKind::normalize);
        upstreams.values_mut().for_each(ManagementKind::normalize);
    }

    /// As the Api, the Policies and the Upstream would be checked.
    fn check(&self, name: &Name) -> Verdict {
        let Self { api, number, spec, policies, upstreams } = self;
        if *number == 0 || name.as_str() != format!("{api}-r{number}") {
            let detail = format!("{name} is not the name of revision {number} of Api {api}");
            let remedy = format!("call it {api}-rNUMBER; numbers begin at 1");
            return Err(Problem::new(ProblemName::Invalid, detail).at("name").remedy(remedy));
        }
        ManagementKind::check(spec, api).map_err(|problem| below("spec", problem))?;
        for (name, policy) in policies {
            ManagementKind::check(policy, name)
                .map_err(|problem| below(&format!("policies.{name}"), problem))?;
        }
        for (name, upstream) in upstreams {
            ManagementKind::check(upstream, name)
                .map_err(|problem| below(&format!("upstreams.{name}"), problem))?;
        }
        check_embedded("policies", spec.policy_names(), policies)?;
        check_embedded("upstreams", spec.upstream.iter().collect(), upstreams)
    }

    fn references(&self, refer: &mut Refer<'_>) {
        // What it embeds are copies: only the Api itself is referred to.
        refer.needs(Kind::Api, &self.api, Field::Plain("api"));
    }
}

/// A problem of something that stands at `place` of the revision.
fn below(place: &str, problem: Problem) -> Problem {
    let rest =
        problem.field.strip_prefix("spec").map_or_else(|| format!(".{}", problem.field), str::to_owned);
    Problem { field: format!("spec.{place}{rest}"), ..problem }
}

/// A revision embeds what its Api names, and nothing else.
fn check_embedded<T>(field: &str, named: BTreeSet<&Name>, embedded: &BTreeMap<Name, T>) -> Verdict {
    let missing = named.iter().find(|name| !embedded.contains_key(**name));
    let surplus = embedded.keys().find(|name| !named.contains(name));
    let detail = match (missing, surplus) {
        (None, None) => return Ok(()),
        (Some(name), _) => format!("{name}, which the Api names, is not among them"),
        (None, Some(name)) => format!("the Api does not name {name}"),
    };
    Err(invalid(field, detail, "embed what the Api names, and nothing else"))
}
