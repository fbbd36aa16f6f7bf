//! Subscription: an Application may call an Api under a Plan.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ApiSpec;
use crate::{Claim, Column, Field, Kind, ManagementKind, Refer, ResourceKey, ShownWith};

/// Lets an Application call an Api under a Plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SubscriptionSpec {
    /// The Application.
    pub application: Name,
    /// The Api.
    pub api: Name,
    /// The Plan.
    pub plan: Name,
}

impl ManagementKind for SubscriptionSpec {
    const PLURAL: &'static str = "subscriptions";
    const COLUMNS: &'static [Column] = &[
        Column::at("APPLICATION", "/spec/application"),
        Column::at("API", "/spec/api"),
        Column::at("PLAN", "/spec/plan"),
    ];
    const SHOWN_WITH: &'static [ShownWith] = &[
        ShownWith { kind: Kind::Api, field: "/spec/api", title: "Subscriptions" },
        ShownWith { kind: Kind::Plan, field: "/spec/plan", title: "Subscriptions" },
        ShownWith { kind: Kind::Application, field: "/spec/application", title: "Subscriptions" },
    ];

    fn references(&self, refer: &mut Refer<'_>) {
        refer.needs(Kind::Application, &self.application, Field::Plain("application"));
        refer.needs(Kind::Api, &self.api, Field::Plain("api"));
        refer.needs(Kind::Plan, &self.plan, Field::Plain("plan"));
    }

    fn claims(&self, key: &ResourceKey, _served: Option<&ApiSpec>) -> Vec<Claim> {
        vec![Claim::Subscription {
            organization: key.owner(),
            application: self.application.clone(),
            api: self.api.clone(),
        }]
    }
}
