//! What a consumer cannot use as it received it.

use std::sync::Arc;

use hanse_proto::sync::{self, Quarantined};

/// How many are named, per scope: enough for a person to see what is wrong.
const MAX_NAMED: usize = 64;
/// How much of a reason is told, in octets: a sentence with a name or two in it.
const MAX_REASON_BYTES: usize = 256;

/// The resources of one scope that its consumer has in quarantine. Cloning shares them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quarantine {
    total: u64,
    named: Arc<[Quarantined]>,
}

impl Quarantine {
    /// These; beyond 64 they are only counted.
    pub fn of(all: impl IntoIterator<Item = Quarantined>) -> Self {
        let mut all = all.into_iter();
        let named: Arc<[_]> = all.by_ref().take(MAX_NAMED).map(shortened).collect();
        Self { total: (named.len() + all.count()) as u64, named }
    }

    /// As a message has them. A message that names more than it counts, or more than may be, is cut to what may be.
    pub(crate) fn received(named: Vec<Quarantined>, total: u64) -> Self {
        let named: Arc<[_]> = named.into_iter().take(MAX_NAMED).collect();
        Self { total: total.max(named.len() as u64), named }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The first of them.
    pub fn named(&self) -> &[Quarantined] {
        &self.named
    }

    /// Whether all are named.
    pub fn is_complete(&self) -> bool {
        self.total == self.named.len() as u64
    }

    /// As a scope's status in a Report.
    pub fn of_status(status: &sync::ScopeStatus) -> Self {
        Self::received(status.quarantined.clone(), status.quarantined_total)
    }
}

fn shortened(quarantined: Quarantined) -> Quarantined {
    let reason = &quarantined.reason;
    let end = reason.floor_char_boundary(MAX_REASON_BYTES);
    let reason = if end < reason.len() { format!("{}…", &reason[..end]) } else { reason.clone() };
    Quarantined { reason, ..quarantined }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> impl Iterator<Item = Quarantined> {
        (0..count).map(|index| Quarantined { key: format!("plan/o/{index}"), ..Default::default() })
    }

    #[test]
    fn many_are_counted_and_the_first_are_named() {
        assert_eq!(Quarantine::of(keys(0)), Quarantine::default());
        let few = Quarantine::of(keys(3));
        assert_eq!((few.total(), few.named().len(), few.is_complete()), (3, 3, true));
        let many = Quarantine::of(keys(1_000));
        assert_eq!((many.total(), many.named().len(), many.is_complete()), (1_000, MAX_NAMED, false));
    }

    #[test]
    fn what_is_received_is_bounded_and_adds_up() {
        let odd = Quarantine::received(keys(2).collect(), 0);
        assert_eq!((odd.total(), odd.is_complete()), (2, true));
        let long = Quarantine::received(keys(500).collect(), 500);
        assert_eq!((long.total(), long.named().len()), (500, MAX_NAMED));
    }
}
