//! What a consumer cannot use as it received it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hanse_proto::sync::{self, Quarantined};
use sha2::{Digest as _, Sha256};

/// How many are named, per scope: enough for a person to see what is wrong.
const MAX_NAMED: usize = 64;
/// How much of a reason is told, in octets: a sentence with a name or two in it.
const MAX_REASON_BYTES: usize = 256;
/// The most that one of those named takes on receipt, in octets: a key and a field of the longest names there can be, a reason, two
/// hashes. Records live as long as their subscriber, so none may be as large as a message.
const MAX_NAMED_BYTES: usize = 2 << 10;
/// How many are told by digest where they are more than are named: 64 KiB every second, a chunk of a transfer.
const MAX_DIGESTS: usize = 8_192;

/// Stands for a key: the first 8 octets of its SHA-256. Where two keys have the same, one that is in use counts as excepted
/// like the other, which only keeps its version before for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyDigest([u8; 8]);

impl KeyDigest {
    pub(crate) fn of(key: &str) -> Self {
        Self(*Sha256::digest(key).first_chunk().expect("a hash is longer"))
    }
}

/// The resources of one scope that its consumer has in quarantine. Cloning shares them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quarantine {
    total: u64,
    named: Arc<[Quarantined]>,
    /// Of all, ascending, where they are more than are named and not too many.
    digests: Arc<[KeyDigest]>,
}

impl Quarantine {
    /// These; beyond 64 they are told by digest, and beyond 8,192 only counted.
    pub fn of(all: impl IntoIterator<Item = Quarantined>) -> Self {
        let (mut total, mut named, mut digests) = (0, Vec::new(), Vec::new());
        for quarantined in all {
            total += 1;
            if digests.len() <= MAX_DIGESTS {
                digests.push(KeyDigest::of(&quarantined.key));
            }
            if named.len() < MAX_NAMED {
                named.push(shortened(quarantined));
            }
        }
        if !(MAX_NAMED + 1..=MAX_DIGESTS).contains(&digests.len()) {
            digests.clear();
        }
        digests.sort_unstable();
        Self { total, named: named.into(), digests: digests.into() }
    }

    /// As a message has them. A message that names more than it counts, or more than may be, is cut to what may be; what is
    /// larger than it may be is counted and not named.
    pub(crate) fn received(named: Vec<Quarantined>, mut total: u64, digests: &[u8]) -> Self {
        total = total.max(named.len() as u64);
        let named: Arc<[_]> = named.into_iter().filter(fits).take(MAX_NAMED).collect();
        let (digests, rest) = digests.as_chunks();
        let are_sound = rest.is_empty() && digests.len() <= MAX_DIGESTS && digests.is_sorted();
        let digests = digests.iter().filter(|_| are_sound).map(|digest| KeyDigest(*digest)).collect();
        Self { total, named, digests }
    }

    /// All of them as a message tells them.
    pub fn digests(&self) -> Bytes {
        self.digests.iter().flat_map(|digest| digest.0).collect()
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The first of them.
    pub fn named(&self) -> &[Quarantined] {
        &self.named
    }

    /// Whether all are named or told by digest.
    pub fn is_complete(&self) -> bool {
        [self.named.len(), self.digests.len()].contains(&usize::try_from(self.total).unwrap_or(usize::MAX))
    }

    /// Whether a key is among them, where all are told. Those told by digest are not looked up by name too: there are many, and
    /// acknowledgements come every second from every gateway.
    fn holds(&self, key: &str, digest: KeyDigest) -> bool {
        if self.named.len() as u64 == self.total {
            return self.named.iter().any(|named| named.key == key);
        }
        self.digests.binary_search(&digest).is_ok()
    }

    /// As a scope's status in a Report.
    pub fn of_status(status: &sync::ScopeStatus) -> Self {
        Self::received(status.quarantined.clone(), status.quarantined_total, &[])
    }
}

/// What a consumer does not use as it received it, to be given to [`Replica::confirm`](crate::Replica::confirm).
#[derive(Debug, Clone, Copy)]
pub enum Exceptions<'a> {
    /// As it knows it itself: each with the version that is in use instead, if there is one.
    Known(&'a BTreeMap<Arc<str>, Option<Bytes>>),
    /// As another was told.
    Told(&'a Quarantine),
}

impl Exceptions<'_> {
    /// Whether everything is in use as received. One that tells of some and not of all leaves open which.
    pub(crate) fn are_none(self) -> bool {
        match self {
            Self::Known(known) => known.is_empty(),
            Self::Told(quarantine) => quarantine.total() == 0,
        }
    }

    /// Whether it is known of every key whether it is among them.
    pub(crate) fn are_complete(self) -> bool {
        match self {
            Self::Known(_) => true,
            Self::Told(quarantine) => quarantine.is_complete(),
        }
    }

    /// Whether a key is among them.
    pub(crate) fn hold(self, key: &str, digest: KeyDigest) -> bool {
        match self {
            Self::Known(known) => known.contains_key(key),
            Self::Told(quarantine) => quarantine.holds(key, digest),
        }
    }
}

impl<'a> From<&'a BTreeMap<Arc<str>, Option<Bytes>>> for Exceptions<'a> {
    fn from(known: &'a BTreeMap<Arc<str>, Option<Bytes>>) -> Self {
        Self::Known(known)
    }
}

impl<'a> From<&'a Quarantine> for Exceptions<'a> {
    fn from(quarantine: &'a Quarantine) -> Self {
        Self::Told(quarantine)
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
    fn many_are_counted_and_the_first_are_named() {
        assert_eq!(Quarantine::of(keys(0)), Quarantine::default());
        let few = Quarantine::of(keys(3));
        assert_eq!((few.total(), few.named().len(), few.is_complete()), (3, 3, true));
        let many = Quarantine::of(keys(1_000));
        assert_eq!((many.total(), many.named().len(), many.is_complete()), (1_000, MAX_NAMED, true));
        let too_many = Quarantine::of(keys(MAX_DIGESTS + 1));
        let counted = MAX_DIGESTS as u64 + 1;
        assert_eq!(
            (too_many.total(), too_many.named().len(), too_many.is_complete()),
            (counted, MAX_NAMED, false)
        );
        assert!(too_many.digests().is_empty());
    }

    #[test]
    fn what_is_received_is_bounded_and_adds_up() {
        let odd = Quarantine::received(keys(2).collect(), 0, &[]);
        assert_eq!((odd.total(), odd.is_complete()), (2, true));
        let long = Quarantine::received(keys(500).collect(), 500, &[]);
        assert_eq!((long.total(), long.named().len(), long.is_complete()), (500, MAX_NAMED, false));
        let huge = Quarantined { reason: "x".repeat(MAX_NAMED_BYTES + 1), ..Default::default() };
        let cut = Quarantine::received(keys(1).chain([huge]).collect(), 2, &[]);
        assert_eq!((cut.total(), cut.named().len(), cut.is_complete()), (2, 1, false));
    }

    #[test]
    fn those_beyond_the_named_are_told_by_digest() {
        let sent = Quarantine::of(keys(500));
        let received = Quarantine::received(sent.named().to_vec(), sent.total(), &sent.digests());
        assert_eq!(received, sent);
        let holds = |of: &Quarantine, key: &str| of.holds(key, KeyDigest::of(key));
        assert!((0..500).all(|index| holds(&received, &format!("plan/o/{index}"))));
        assert!((500..5_000).all(|index| !holds(&received, &format!("plan/o/{index}"))));
        // What cannot be the digests of all of them is none.
        let mut unsorted = sent.digests().to_vec();
        unsorted.rotate_left(8);
        for digests in [&sent.digests()[8..], &sent.digests()[1..], &unsorted] {
            let received = Quarantine::received(sent.named().to_vec(), 500, digests);
            assert!(!received.is_complete() && received.total() == 500);
        }
    }
}
