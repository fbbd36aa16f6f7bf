//! Binding: where a revision runs.

mod revision;

use std::sync::Arc;

use hanse_topology::{Name, RegionSelector};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

pub use revision::{Latest, New, RevisionRef};

use super::{ApiRevisionSpec, ApiSpec, selector};
use crate::{
    Claim, Column, Field, Kind, Known, ManagementKind, Refer, ResourceKey, ShownWith, check::Verdict,
};

/// Puts one revision of an Api into regions of an Environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BindingSpec {
    /// The Api.
    pub api: Name,
    /// A number; `latest`: the revision that was published last, whichever that is; or `new`: the one that is the latest after this
    /// write, stored as its number.
    #[serde(default)]
    pub revision: RevisionRef,
    /// The Environment.
    pub environment: Name,
    /// Which of the Environment's regions. Empty: all of them.
    #[serde(default, deserialize_with = "selector::read")]
    pub regions: RegionSelector,
    /// Where requests go, instead of the Api's own upstream. Followed live, not copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Name>,
    /// Which regions' endpoints a gateway may use.
    #[serde(default)]
    pub reach: Reach,
}

/// Which regions' endpoints a gateway may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Only its own region's.
    #[default]
    Local,
    /// Also those of the Environment's other regions: gateways of a region that the Binding does not select send its requests on to
    /// gateways of one that it selects.
    Federation,
}

impl ManagementKind for BindingSpec {
    const PLURAL: &'static str = "bindings";
    /// What it serves changes with a new revision of its Api, which is no change of the Binding.
    const ETAG_COVERS_STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::at("API", "/spec/api"),
        Column::at("API REVISION", "/spec/revision"),
        Column::at("SERVES", "/status/serving"),
        Column::at("ENVIRONMENT", "/spec/environment"),
        Column::of("REGIONS", |item| selector::shown(&item["spec"]["regions"])),
    ];
    const SHOWN_WITH: &'static [ShownWith] = &[
        ShownWith { kind: Kind::Api, field: "/spec/api", title: "Bindings" },
        ShownWith { kind: Kind::Upstream, field: "/spec/upstream", title: "Bindings" },
        ShownWith { kind: Kind::Environment, field: "/spec/environment", title: "Bindings" },
    ];

    fn warnings(&self) -> Vec<(&'static str, String)> {
        let idle = match self.regions.is_everywhere() {
            true => "every region of the Environment serves it, so none sends its requests on",
            false => "no gateway of this version sends requests on",
        };
        (self.reach == Reach::Federation).then(|| ("reach", idle.to_owned())).into_iter().collect()
    }

    fn check(&self, _name: &Name) -> Verdict {
        selector::check("regions", &self.regions)
    }

    fn references(&self, refer: &mut Refer<'_>) {
        refer.needs(Kind::Api, &self.api, Field::Plain("api"));
        refer.needs(Kind::Environment, &self.environment, Field::Plain("environment"));
        for (at, region) in self.regions.names.iter().enumerate() {
            refer.lists(Kind::Region, region, Field::Item("regions.names", at));
        }
        if let Some(upstream) = &self.upstream {
            refer.needs(Kind::Upstream, upstream, Field::Plain("upstream"));
        }
        if let (RevisionRef::Number(number), Some(organization)) = (self.revision, &refer.from().organization)
            && let Some(target) = ApiRevisionSpec::key(organization, &self.api, number)
        {
            refer.needs(Kind::ApiRevision, &target.name, Field::Plain("revision"));
        }
    }

    fn claims(&self, key: &ResourceKey, served: Option<&ApiSpec>) -> Vec<Claim> {
        let mut claims = vec![Claim::Placement {
            organization: key.owner(),
            api: self.api.clone(),
            environment: self.environment.clone(),
        }];
        if let Some(api) = served {
            claims.extend(addresses(&self.environment, api));
        }
        claims
    }

    fn status(&self, known: &Known<'_>) -> Option<Value> {
        Some(json!({ "serving": known.served.last()?, "served": known.served }))
    }
}

fn addresses(environment: &Name, api: &ApiSpec) -> Vec<Claim> {
    let context: Arc<str> = api.context.as_str().into();
    let claim = |host: Option<Arc<str>>| Claim::Address {
        environment: environment.clone(),
        context: context.clone(),
        host,
    };
    if api.hosts.is_empty() {
        vec![claim(None)]
    } else {
        api.hosts.iter().map(|host| claim(Some(host.as_str().into()))).collect()
    }
}
