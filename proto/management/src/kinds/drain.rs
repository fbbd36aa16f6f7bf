//! Drain: a region that gets no new clients.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Column, Field, Kind, ManagementKind, Refer, ShownWith, Written,
    check::{
        Verdict,
        text::{MAX_TEXT_BYTES, check_line, check_optional_line},
    },
};

/// That the Region of the same name gets no new clients. Operators decide by commands; no manifest has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DrainSpec {
    /// Why.
    pub reason: String,
    /// Why it was decided although Bindings are served in that region only; absent: there was none, and no rule was overruled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub forced: Option<String>,
}

impl ManagementKind for DrainSpec {
    const PLURAL: &'static str = "drains";
    const GLOBAL: bool = true;
    const WRITTEN: Written = Written::ByHandlers;
    const COLUMNS: &'static [Column] =
        &[Column::at("REASON", "/spec/reason"), Column::at("FORCED", "/spec/forced")];
    const SHOWN_WITH: &'static [ShownWith] =
        &[ShownWith { kind: Kind::Region, field: ShownWith::BY_NAME, title: "Drain" }];

    fn bounds() -> Vec<Bounded> {
        vec![("DrainSpec", "reason", Bound::Text(1, MAX_TEXT_BYTES))]
    }

    fn check(&self, _name: &Name) -> Verdict {
        check_line("reason", &self.reason)?;
        check_optional_line("forced", self.forced.as_ref())
    }

    fn references(&self, refer: &mut Refer<'_>) {
        refer.needs(Kind::Region, &refer.from().name, Field::Name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::tests::check;

    #[test]
    fn a_drain_has_a_reason() {
        check(Kind::Drain, "{reason: maintenance}", "");
        check(Kind::Drain, "{reason: maintenance, forced: 'nobody uses it'}", "");
        check(Kind::Drain, "{reason: ''}", "spec.reason: it must not be empty");
        check(Kind::Drain, "{reason: r, forced: ''}", "spec.forced: it must not be empty");
        check(Kind::Drain, "{}", "missing field `reason`");
    }
}
