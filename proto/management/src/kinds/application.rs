//! Application: who calls.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Column, ManagementKind,
    check::{Verdict, text},
};

/// A calling program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct ApplicationSpec {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl ManagementKind for ApplicationSpec {
    const PLURAL: &'static str = "applications";
    const COLUMNS: &'static [Column] =
        &[Column::at("OWNER", "/spec/owner"), Column::at("DISPLAY NAME", "/spec/displayName")];

    fn bounds() -> Vec<Bounded> {
        vec![
            ("ApplicationSpec", "displayName", Bound::Text(1, text::MAX_TEXT_BYTES)),
            ("ApplicationSpec", "owner", Bound::Text(1, text::MAX_TEXT_BYTES)),
        ]
    }

    fn check(&self, _name: &Name) -> Verdict {
        text::check_optional_line("displayName", self.display_name.as_ref())?;
        text::check_optional_line("owner", self.owner.as_ref())
    }
}
