//! Organization: a tenant.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Column, ManagementKind,
    check::{Verdict, text},
};

/// A tenant: a department or line of business.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct OrganizationSpec {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

impl ManagementKind for OrganizationSpec {
    const PLURAL: &'static str = "organizations";
    const GLOBAL: bool = true;
    const COLUMNS: &'static [Column] = &[Column::at("DISPLAY NAME", "/spec/displayName")];

    fn bounds() -> Vec<Bounded> {
        vec![("OrganizationSpec", "displayName", Bound::Text(1, text::MAX_TEXT_BYTES))]
    }

    fn check(&self, _name: &Name) -> Verdict {
        text::check_optional_line("displayName", self.display_name.as_ref())
    }
}
