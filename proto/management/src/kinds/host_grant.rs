//! HostGrant: which Organization owns a host, or a part of it.

use hanse_runtime::{Area, Context, HostPattern};
use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Claim, Column, Field, Kind, ManagementKind, Refer, ResourceKey, ShownWith,
    check::{Verdict, check_distinct, host, invalid, path},
    kinds::ApiSpec,
};

/// The prefix of a grant that names none.
const EVERY_PATH: &str = "/";

/// Requests to a host, below a path, belong to an Organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HostGrantSpec {
    /// The Environments in which it holds.
    pub environments: Vec<Name>,
    /// The host: an exact name or `*.suffix`.
    pub host: String,
    /// The path, in whole segments: `/orders` is for `/orders` and `/orders/7`, and not for `/orders-old`. Default: every path.
    #[serde(default = "every_path")]
    pub path_prefix: String,
    /// The owner: gateways answer these requests with Apis of this Organization only.
    pub organization: Name,
}

fn every_path() -> String {
    EVERY_PATH.to_owned()
}

impl HostGrantSpec {
    /// The requests that it is for. `None` only before [`check`](ManagementKind::check).
    pub fn area(&self) -> Option<Area> {
        let (host, context) = (HostPattern::parse(&self.host)?, Context::parse(&self.path_prefix)?);
        Some(Area { host, context })
    }
}

impl ManagementKind for HostGrantSpec {
    const PLURAL: &'static str = "host-grants";
    const GLOBAL: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::at("HOST", "/spec/host"),
        Column::at("PATH", "/spec/pathPrefix"),
        Column::at("ORGANIZATION", "/spec/organization"),
        Column::at("ENVIRONMENTS", "/spec/environments"),
    ];
    const SHOWN_WITH: &'static [ShownWith] = &[
        ShownWith { kind: Kind::Organization, field: "/spec/organization", title: "Host grants" },
        ShownWith { kind: Kind::Environment, field: "/spec/environments", title: "Host grants" },
    ];

    fn bounds() -> Vec<Bounded> {
        vec![
            ("HostGrantSpec", "environments", Bound::NotEmpty),
            ("HostGrantSpec", "host", Bound::Text(1, host::MAX_PATTERN_BYTES)),
            ("HostGrantSpec", "pathPrefix", Bound::Text(1, path::MAX_PATH_BYTES)),
        ]
    }

    fn check(&self, _name: &Name) -> Verdict {
        if self.environments.is_empty() {
            return Err(invalid(
                "environments",
                "it holds in no Environment",
                "name the Environments of the host",
            ));
        }
        check_distinct("environments", &self.environments)?;
        if self.host == "*" {
            let remedy = "name a host such as api.example.com, or *.example.com for all below it";
            return Err(invalid("host", "\"*\" is not a host, and nobody owns every host", remedy));
        }
        host::check_pattern("host", &self.host)?;
        path::check_context("pathPrefix", &self.path_prefix)
    }

    fn references(&self, refer: &mut Refer<'_>) {
        for (at, environment) in self.environments.iter().enumerate() {
            refer.lists(Kind::Environment, environment, Field::Item("environments", at));
        }
        refer.needs(Kind::Organization, &self.organization, Field::Plain("organization"));
    }

    fn claims(&self, _key: &ResourceKey, _served: Option<&ApiSpec>) -> Vec<Claim> {
        let claim = |environment: &Name| Claim::Grant {
            environment: environment.clone(),
            host: self.host.as_str().into(),
            prefix: self.path_prefix.as_str().into(),
        };
        self.environments.iter().map(claim).collect()
    }
}
