//! JoinToken.

use super::{Verdict, invalid, tenancy::check_distinct};
use crate::kinds::{JoinRole, JoinTokenSpec};

/// The longest time a join token may be good for: long enough to ship machines, short enough to be forgotten safely.
const MAX_LIFETIME_SECONDS: u64 = 30 * 24 * 60 * 60;
/// The most machines one token may let in.
const MAX_USES: u64 = 10_000;

pub(super) fn check_join_token(spec: &JoinTokenSpec, now_ms: u64) -> Verdict {
    let now = now_ms / 1000;
    if spec.expires_at <= now {
        let detail = format!("{} is not in the future: now it is {now}", spec.expires_at);
        return Err(invalid("expiresAt", detail, "give Unix seconds within the next 30 days"));
    }
    if spec.expires_at - now > MAX_LIFETIME_SECONDS {
        let detail = format!("{} is more than 30 days away: now it is {now}", spec.expires_at);
        return Err(invalid("expiresAt", detail, "give Unix seconds within the next 30 days"));
    }
    if !(1..=MAX_USES).contains(&spec.uses) {
        let detail = format!("{} is not between 1 and {MAX_USES}", spec.uses);
        return Err(invalid("uses", detail, "say how many may join with it"));
    }
    check_distinct("environments", &spec.environments)?;
    if spec.force && spec.role == JoinRole::Agent {
        let detail = "only a control node takes the place of one that runs";
        return Err(invalid(
            "force",
            detail,
            "leave `force` out; `replace: true` lets an agent take over its name",
        ));
    }
    match (spec.role, &spec.region) {
        (JoinRole::Agent, None) => {
            Err(invalid("region", "an agent belongs to a region", "name the region it may join"))
        }
        (JoinRole::Server, Some(_)) => {
            Err(invalid("region", "a control-plane node belongs to no region", "leave the region out"))
        }
        (JoinRole::Server, None) if !spec.environments.is_empty() => Err(invalid(
            "environments",
            "a control-plane node serves no environment",
            "leave the environments out",
        )),
        (JoinRole::Agent, Some(_)) | (JoinRole::Server, None) => Ok(()),
    }
}
