//! Origin: which agents of a region publish routes that they found in their region.

use std::fmt;

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Column, Field, Kind, ManagementKind, Refer, ShownWith,
    check::{Verdict, check_distinct, invalid},
};

/// The most agents that hold an Origin. Each one may publish the whole content after another one ended: a few are enough.
const MAX_HOLDERS: usize = 8;
/// The most Environments of an Origin: each is a scope of its own at every gateway there, and a cluster or a site serves a few stages.
const MAX_ENVIRONMENTS: usize = 64;
/// The most Organizations of an Origin: an Origin is a cluster or a site, which a few dozen teams share.
const MAX_ORGANIZATIONS: usize = 64;

/// Agents that may publish resources of their region by themselves, without the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OriginSpec {
    /// The region of its agents and of the gateways that get its resources.
    pub region: Name,
    /// The Environments in which gateways get its resources.
    pub environments: Vec<Name>,
    /// The Organizations that its resources may belong to.
    pub organizations: Vec<Name>,
    /// The kinds of runtime resources that it may have.
    pub kinds: Vec<OriginKind>,
    /// The names of the agents that may publish. They need not have joined yet.
    pub holders: Vec<Name>,
}

/// A kind of runtime resource that an Origin may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum OriginKind {
    /// A Route.
    Route,
    /// An Upstream.
    Upstream,
    /// Endpoints for Upstreams, those of the control plane too.
    Endpoints,
}

impl OriginKind {
    /// The first part of the keys of its resources.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Upstream => "upstream",
            Self::Endpoints => "endpoints",
        }
    }
}

impl ManagementKind for OriginSpec {
    const PLURAL: &'static str = "origins";
    const GLOBAL: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::at("REGION", "/spec/region"),
        Column::at("ENVIRONMENTS", "/spec/environments"),
        Column::at("ORGANIZATIONS", "/spec/organizations"),
        Column::at("HOLDERS", "/spec/holders"),
    ];
    const SHOWN_WITH: &'static [ShownWith] = &[
        ShownWith { kind: Kind::Region, field: "/spec/region", title: "Origins" },
        ShownWith { kind: Kind::Environment, field: "/spec/environments", title: "Origins" },
        ShownWith { kind: Kind::Organization, field: "/spec/organizations", title: "Origins" },
    ];

    fn bounds() -> Vec<Bounded> {
        vec![
            ("OriginSpec", "environments", Bound::Items(1, MAX_ENVIRONMENTS)),
            ("OriginSpec", "organizations", Bound::Items(1, MAX_ORGANIZATIONS)),
            ("OriginSpec", "kinds", Bound::NotEmpty),
            ("OriginSpec", "holders", Bound::Items(1, MAX_HOLDERS)),
        ]
    }

    fn check(&self, _name: &Name) -> Verdict {
        let remedy = "name the Environments of its gateways";
        check_list("environments", &self.environments, MAX_ENVIRONMENTS, remedy)?;
        let remedy = "name the Organizations that its resources may belong to";
        check_list("organizations", &self.organizations, MAX_ORGANIZATIONS, remedy)?;
        check_list("kinds", &self.kinds, usize::MAX, "name one or more of Route, Upstream and Endpoints")?;
        check_list("holders", &self.holders, MAX_HOLDERS, "name the agents that may publish for it")
    }

    fn references(&self, refer: &mut Refer<'_>) {
        refer.needs(Kind::Region, &self.region, Field::Plain("region"));
        for (at, environment) in self.environments.iter().enumerate() {
            refer.lists(Kind::Environment, environment, Field::Item("environments", at));
        }
        for (at, organization) in self.organizations.iter().enumerate() {
            refer.lists(Kind::Organization, organization, Field::Item("organizations", at));
        }
    }
}

/// A list has something, no item twice, and at most `most` items.
fn check_list<T: Ord + fmt::Debug>(field: &str, items: &[T], most: usize, remedy: &str) -> Verdict {
    if items.is_empty() {
        return Err(invalid(field, "the list is empty", remedy));
    }
    if items.len() > most {
        let detail = format!("{} items are more than {most}", items.len());
        return Err(invalid(field, detail, "leave some out, or make a second Origin"));
    }
    check_distinct(field, items)
}
