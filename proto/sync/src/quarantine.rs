//! What a consumer cannot use as it received it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hanse_proto::sync::Quarantined;

/// How many are named, per scope: enough for a person to see what is wrong.
const MAX_NAMED: usize = 64;
/// How much of a reason is told, in octets: a sentence with a name or two in it.
const MAX_REASON_BYTES: usize = 256;
/// The most that one of those named takes on receipt, in octets: a key and a field of the longest names there can be, a reason, two
/// hashes. Records live as long as their subscriber, so none may be as large as a message.
const MAX_NAMED_BYTES: usize = 2 << 10;
/// How many keys are told, per scope: with the longest keys there can be and all that is named, an Ack stays below what an agent
/// takes from a gateway. A scope with more is one whose gateways are to be replaced, not one to keep exact books of.
const MAX_KEYS: usize = 512;
/// The most that a key takes which is told alone, in octets: more than any there is, and little enough to be remembered.
const MAX_KEY_BYTES: usize = 256;

/// The keys that a consumer does not use as it received them, each with the version that it uses instead, where there is one and
/// it is known.
pub type Exceptions = BTreeMap<Arc<str>, Option<Bytes>>;

/// The resources of one scope that its consumer has in quarantine. Cloning shares them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quarantine {
    total: u64,
    named: Arc<[Quarantined]>,
    /// The keys of those that are not named, unless all together are more than are told.
    others: Arc<[String]>,
}

impl Quarantine {
    /// Of so many the reasons are told.
    pub const MAX_NAMED: usize = MAX_NAMED;

    /// These; beyond 64 only their keys are told, and beyond 512 they are only counted.
    pub fn of(all: impl IntoIterator<Item = Quarantined>) -> Self {
        let (mut total, mut named, mut others) = (0, Vec::new(), Vec::new());
        for quarantined in all {
            total += 1;
            if named.len() < MAX_NAMED {
                named.push(shortened(quarantined));
            } else if others.len() <= MAX_KEYS {
                others.push(quarantined.key);
            }
        }
        if named.len() + others.len() > MAX_KEYS {
            others.clear();
        }
        Self { total, named: named.into(), others: others.into() }
    }

    /// As a message has them. A message that names more than it counts, or more than may be, is cut to what may be; what is
    /// larger than it may be is counted and not named.
    pub(crate) fn received(named: Vec<Quarantined>, mut total: u64, mut others: Vec<String>) -> Self {
        total = total.max((named.len() + others.len()) as u64);
        let named: Arc<[_]> = named.into_iter().filter(fits).take(MAX_NAMED).collect();
        let is_long = |key: &String| key.len() > MAX_KEY_BYTES;
        if named.len() + others.len() > MAX_KEYS || others.iter().any(is_long) {
            others.clear();
        }
        Self { total, named, others: others.into() }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The first of them.
    pub fn named(&self) -> &[Quarantined] {
        &self.named
    }

    /// The keys of those that are not named.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// All of them. `None`: not all are told.
    pub fn exceptions(&self) -> Option<Exceptions> {
        let keys = self.named.iter().map(|named| &named.key).chain(&*self.others);
        let is_complete = (self.named.len() + self.others.len()) as u64 == self.total;
        is_complete.then(|| keys.map(|key| (key.as_str().into(), None)).collect())
    }
}

fn fits(named: &Quarantined) -> bool {
    let Quarantined { key, received, effective, field, reason } = named;
    key.len() + received.len() + effective.len() + field.len() + reason.len() <= MAX_NAMED_BYTES
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
    fn many_are_told_by_key_and_more_are_counted() {
        assert_eq!(Quarantine::of(keys(0)), Quarantine::default());
        let told = |quarantine: &Quarantine| quarantine.exceptions().map(|keys| keys.len());
        for (count, named, all) in
            [(0, 0, Some(0)), (3, 3, Some(3)), (65, 64, Some(65)), (512, 64, Some(512)), (513, 64, None)]
        {
            let sent = Quarantine::of(keys(count));
            assert_eq!((sent.total(), sent.named().len(), told(&sent)), (count as u64, named, all));
            let received = Quarantine::received(sent.named().to_vec(), sent.total(), sent.others().to_vec());
            assert_eq!(received, sent);
        }
        let exceptions = Quarantine::of(keys(100)).exceptions().unwrap();
        assert!(keys(100).all(|quarantined| exceptions.contains_key(&*quarantined.key)));
    }

    #[test]
    fn what_is_received_is_bounded_and_adds_up() {
        let others = |count| (0..count).map(|index| format!("plan/other/{index}")).collect::<Vec<_>>();
        let of = |quarantine: Quarantine| {
            let told = quarantine.exceptions().map(|keys| keys.len());
            (quarantine.total(), quarantine.named().len(), quarantine.others().len(), told)
        };
        let received = |named, total, others| of(Quarantine::received(named, total, others));
        assert_eq!(received(keys(2).collect(), 0, others(1)), (3, 2, 1, Some(3)));
        assert_eq!(received(keys(500).collect(), 500, vec![]), (500, MAX_NAMED, 0, None));
        assert_eq!(received(keys(1).collect(), 900, others(900)), (901, 1, 0, None));
        assert_eq!(received(vec![], 1, vec!["x".repeat(MAX_KEY_BYTES + 1)]), (1, 0, 0, None));
        let huge = Quarantined { reason: "x".repeat(MAX_NAMED_BYTES + 1), ..Default::default() };
        assert_eq!(received(keys(1).chain([huge]).collect(), 2, vec![]), (2, 1, 0, None));
    }
}
