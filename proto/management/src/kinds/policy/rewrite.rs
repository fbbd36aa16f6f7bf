//! Addresses in answers, as clients know them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::check::{Verdict, invalid};

/// Turns addresses in the upstream's answers into those that clients know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct RewriteSpec {
    /// Those of `Location` and `Content-Location`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub location: bool,
    /// The paths of cookies.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cookies: bool,
}

impl RewriteSpec {
    pub(super) fn check(&self) -> Verdict {
        if self.location || self.cookies {
            return Ok(());
        }
        let remedy = "write {location: true}, {cookies: true} or both, or leave rewrite out";
        Err(invalid("rewrite", "it rewrites nothing", remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_rewritten() {
        for (location, cookies, good) in
            [(true, true, true), (true, false, true), (false, true, true), (false, false, false)]
        {
            assert_eq!(RewriteSpec { location, cookies }.check().is_ok(), good);
        }
    }
}
