//! What the database holds: keys, and entries cut into records.
//!
//! Another form of them, such as another kind of entry, is written only under the replicated version that brings it: until then the
//! release before must be able to read the log. The record at [`FORM`] names that version and its release. It is the same in every
//! form, so that a release that does not know the version says which release does.

use bytes::Bytes;

/// Where the form of the other records is kept.
pub(super) const FORM: &[u8] = b"f";
/// Where the vote is kept.
pub(super) const VOTE: &[u8] = b"v";
/// Where the last known committed log id is kept.
pub(super) const COMMITTED: &[u8] = b"c";
/// Where the last purged log id is kept.
pub(super) const PURGED: &[u8] = b"p";
/// Where the id of the node is kept that the log belongs to.
pub(super) const OWNER: &[u8] = b"o";
/// Before every key of the log.
pub(super) const LOG: u8 = b'l';

/// Bytes of an entry in one record. sled moves records over a quarter of a segment into files that it never syncs.
pub(super) const MAX_PART_BYTES: usize = 60 << 10;

/// sled rewrites a whole leaf, up to 17 records, as one item of its log; 17 × 60 KiB = 1020 KiB must stay below a quarter
/// of a segment, for the same reason.
pub(super) const SEGMENT_BYTES: usize = 8 << 20;

const KEY_BYTES: usize = 1 + 8 + 2;
const LAST: u8 = 1;
const MORE: u8 = 0;

/// The key of one part of one entry; keys sort by index, then part.
pub(super) fn key(index: u64, part: u16) -> [u8; KEY_BYTES] {
    let mut key = [LOG; KEY_BYTES];
    key[1..9].copy_from_slice(&index.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Index and part of a key of the log.
pub(super) fn parse_key(key: &[u8]) -> Option<(u64, u16)> {
    let key: &[u8; KEY_BYTES] = key.try_into().ok()?;
    let index = u64::from_be_bytes(key[1..9].try_into().ok()?);
    let part = u16::from_be_bytes(key[9..].try_into().ok()?);
    (key[0] == LOG).then_some((index, part))
}

/// Cuts an encoded entry into records, in order. Each says whether it is the last.
pub(super) fn split(encoded: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let parts = encoded.len().div_ceil(MAX_PART_BYTES).max(1);
    (0..parts).map(move |part| {
        let bytes = &encoded[part * MAX_PART_BYTES..encoded.len().min((part + 1) * MAX_PART_BYTES)];
        let mut record = Vec::with_capacity(1 + bytes.len());
        record.push(if part + 1 == parts { LAST } else { MORE });
        record.extend_from_slice(bytes);
        record
    })
}

/// Puts records together again.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    index: u64,
    next_part: u16,
    bytes: Vec<u8>,
}

/// A record that does not continue the one before it.
#[derive(Debug)]
pub(super) struct Misfit;

impl Joiner {
    /// Takes the next record in key order; gives the entry's bytes when it is whole.
    pub(super) fn push(&mut self, index: u64, part: u16, record: &[u8]) -> Result<Option<Bytes>, Misfit> {
        if part != self.next_part || (part > 0 && index != self.index) {
            return Err(Misfit);
        }
        let (last, bytes) = record.split_first().ok_or(Misfit)?;
        self.index = index;
        self.bytes.extend_from_slice(bytes);
        match *last {
            LAST => {
                self.next_part = 0;
                Ok(Some(Bytes::from(std::mem::take(&mut self.bytes))))
            }
            MORE => {
                self.next_part += 1;
                Ok(None)
            }
            _ => Err(Misfit),
        }
    }

    /// The index of an entry whose last record has not come, if one was begun.
    pub(super) fn unfinished(&self) -> Option<u64> {
        (self.next_part > 0).then_some(self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_any_size_come_back_whole() {
        for size in [0, 1, MAX_PART_BYTES - 1, MAX_PART_BYTES, MAX_PART_BYTES + 1, 5 * MAX_PART_BYTES + 7] {
            let entry: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let records: Vec<_> = split(&entry).collect();
            assert!(records.iter().all(|record| record.len() <= MAX_PART_BYTES + 1));
            let mut joiner = Joiner::default();
            let last = records.len() - 1;
            for (part, record) in records.iter().enumerate() {
                let whole = joiner.push(7, part as u16, record).unwrap();
                assert_eq!(whole.is_some(), part == last);
                assert_eq!(joiner.unfinished(), (part < last).then_some(7));
                if let Some(whole) = whole {
                    assert_eq!(whole, entry);
                }
            }
        }
    }

    #[test]
    fn a_record_that_does_not_continue_is_refused() {
        let entry = vec![1; 2 * MAX_PART_BYTES];
        let records: Vec<_> = split(&entry).collect();
        assert!(Joiner::default().push(1, 1, &records[1]).is_err());
        let mut joiner = Joiner::default();
        joiner.push(1, 0, &records[0]).unwrap();
        assert!(joiner.push(2, 1, &records[1]).is_err());
    }

    #[test]
    fn keys_sort_by_index_then_part() {
        assert!(key(1, u16::MAX) < key(2, 0));
        assert!(key(255, 0) < key(256, 0));
        assert_eq!(parse_key(&key(77, 3)), Some((77, 3)));
        assert_eq!(parse_key(VOTE), None);
    }
}
