//! Whether a region can carry what would be added.

use super::{Capacity, Finding, MAX_AGE, Verdict};

/// The standby's own load and the last known load of the plan's hosts are within the capacity that the operator declares.
///
/// Google Cloud, June 2025: after the fault was mended, all tasks of a large region started at once, and overloaded what they
/// read from for 2 h 40 min.
pub const CAPACITY: &str = "capacity";

pub(super) fn judge(capacity: &Capacity) -> Finding {
    let own = capacity.own.filter(|own| own.age <= MAX_AGE);
    let (verdict, why) = match (capacity.declared, capacity.carried, own) {
        (None, _, _) => (Verdict::Unknown, "the region declares no capacity".to_owned()),
        (Some(_), None, _) => (Verdict::Unknown, "the load of the plan's hosts was never heard".to_owned()),
        (Some(_), Some(_), None) => {
            (Verdict::Unknown, format!("its own load was not heard in the last {} s", MAX_AGE.as_secs()))
        }
        (Some(declared), Some(carried), Some(own)) => {
            let wanted = carried.value.saturating_add(own.value);
            let verdict = if wanted <= declared { Verdict::Ready } else { Verdict::NotReady };
            let load = format!("{} requests/s of the plan and {} of its own", carried.value, own.value);
            (verdict, format!("{load}; it can carry {declared}"))
        }
    };
    Finding { rule: CAPACITY.into(), verdict, why, age: capacity.own.map(|own| own.age) }
}
