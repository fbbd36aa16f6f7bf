//! Memo: a text for operators. Only the test release has it.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, ManagementKind,
    check::{Verdict, text},
};

/// A text for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct MemoSpec {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl ManagementKind for MemoSpec {
    const PLURAL: &'static str = "memos";

    fn bounds() -> Vec<Bounded> {
        vec![("MemoSpec", "text", Bound::Text(1, text::MAX_TEXT_BYTES))]
    }

    fn check(&self, _name: &Name) -> Verdict {
        text::check_optional_line("text", self.text.as_ref())
    }
}
