//! Whether a region can carry what would be added.

use super::{Capacity, Finding, MAX_AGE, Verdict};

/// The load of the plan's hosts in all regions and of the standby's other hosts is within the capacity that the operator declares.
///
/// Google Cloud, June 2025: after the fault was mended, all tasks of a large region started at once, and overloaded what they
/// read from for 2 h 40 min.
pub const CAPACITY: &str = "capacity";

pub(super) fn judge(capacity: &Capacity) -> Finding {
    let other = capacity.other.filter(|other| other.age <= MAX_AGE);
    let (verdict, why) = match (capacity.declared, capacity.plan, other) {
        (None, _, _) => (Verdict::Unknown, "the region declares no capacity".to_owned()),
        (Some(_), None, _) => (Verdict::Unknown, "the load of the plan's hosts was never heard".to_owned()),
        (Some(_), Some(_), None) => (
            Verdict::Unknown,
            format!("the load of its other hosts was not heard in the last {} s", MAX_AGE.as_secs()),
        ),
        (Some(declared), Some(plan), Some(other)) => {
            let wanted = plan.value.saturating_add(other.value);
            let verdict = if wanted <= declared { Verdict::Ready } else { Verdict::NotReady };
            let load = format!("{} requests/s of the plan and {} of other hosts", plan.value, other.value);
            (verdict, format!("{load}; it can carry {declared}"))
        }
    };
    Finding { rule: CAPACITY.into(), verdict, why, age: capacity.other.map(|other| other.age) }
}
