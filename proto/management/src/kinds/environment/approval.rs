//! Which changes of an Environment need a second owner.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Duration,
    check::{Verdict, invalid},
};

/// A second owner needs some time to look.
const SHORTEST: Duration = Duration::from_millis(60 * 1000);
/// What waits for longer rests on a state that is gone. It also takes the place of other proposals.
const LONGEST: Duration = Duration::from_millis(30 * 24 * 60 * 60 * 1000);

/// That changes of the Environment need the approval of a token of a second owner: changes of the Environment itself, of its
/// HostGrants, of its Bindings and of what these serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApprovalSpec {
    /// How long a proposal can be approved: 1 minute to 30 days. Default: 24 hours.
    #[serde(default = "default_expires_after")]
    #[schema(value_type = String)]
    pub expires_after: Duration,
}

fn default_expires_after() -> Duration {
    ApprovalSpec::DEFAULT_EXPIRES_AFTER
}

impl ApprovalSpec {
    /// A proposal of Friday afternoon is decided by Saturday noon, or proposed again on Monday.
    pub const DEFAULT_EXPIRES_AFTER: Duration = Duration::from_millis(24 * 60 * 60 * 1000);

    pub(super) fn check(&self) -> Verdict {
        if (SHORTEST..=LONGEST).contains(&self.expires_after) {
            return Ok(());
        }
        let detail = format!("{} is not between {SHORTEST} and {LONGEST}", self.expires_after);
        Err(invalid("approval.expiresAfter", detail, "choose a time such as \"24h\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_can_be_approved_for_a_minute_to_thirty_days() {
        let read = |text: &str| serde_json::from_str::<ApprovalSpec>(text).unwrap();
        let check = |text: &str| read(&format!("{{\"expiresAfter\": \"{text}\"}}")).check();
        for good in ["1m", "24h", "30days"] {
            check(good).unwrap();
        }
        for bad in ["59s 999ms", "30days 1ms", "0s"] {
            let problem = check(bad).unwrap_err();
            assert_eq!(problem.field, "spec.approval.expiresAfter", "{bad}");
            assert!(problem.detail.ends_with("is not between 1m and 30days"), "{problem}");
        }
        assert_eq!(read("{}").expires_after.to_string(), "1day");
        assert!(serde_json::from_str::<ApprovalSpec>("{\"by\": \"ann\"}").is_err());
    }
}
