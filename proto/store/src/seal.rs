//! Sealing records, each bound to where it belongs.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use bytes::Bytes;
use hanse_proto::{store::SealedRecord, sync::Lineage};

use crate::key::Key;

/// Separates the records of the store from all else that is sealed with the same key.
const STORE: &[u8] = b"hanse store 1";

/// Where a record belongs. It opens there and nowhere else.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'a str,
    /// The scope, where the table has one.
    pub(crate) scope: &'a str,
    pub(crate) key: &'a str,
    /// The history the scope's content belongs to, where that is known before the record is opened.
    pub(crate) lineage: Option<&'a Lineage>,
}

/// A record that does not open: it was altered, or belongs elsewhere, or the key is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DoesNotOpen;

/// Seals and opens the records of one node with one key.
pub(crate) struct Sealer {
    domain: &'static [u8],
    key: RandomizedNonceKey,
    node: String,
}

impl Sealer {
    /// Of the store's records.
    pub(crate) fn of_store(key: &Key, node: &str) -> Self {
        Self::new(STORE, key, node)
    }

    /// Of what has a `domain` of its own.
    pub(crate) fn new(domain: &'static [u8], key: &Key, node: &str) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, key).expect("the key has the algorithm's length");
        Self { domain, key, node: node.to_owned() }
    }

    /// Seals a value; `None`: that there is none any more.
    pub(crate) fn seal(&self, place: Place<'_>, revision: u64, value: Option<&[u8]>) -> SealedRecord {
        let mut sealed = value.unwrap_or_default().to_vec();
        let removed = value.is_none();
        let aad = self.aad(place, revision, removed);
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(aad), &mut sealed)
            .expect("randomness is there, and values are far below the algorithm's limit of 64 GiB");
        SealedRecord { revision, removed, nonce: nonce.as_ref().to_vec().into(), sealed: sealed.into() }
    }

    /// Opens a record: its value, or `None` where that is what was sealed.
    pub(crate) fn open(&self, place: Place<'_>, record: &SealedRecord) -> Result<Option<Bytes>, DoesNotOpen> {
        let nonce: [u8; NONCE_LEN] = (*record.nonce).try_into().map_err(|_| DoesNotOpen)?;
        let aad = self.aad(place, record.revision, record.removed);
        let mut text = record.sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.key.open_in_place(nonce, Aad::from(aad), &mut text).map_err(|_| DoesNotOpen)?;
        let length = opened.len();
        text.truncate(length);
        Ok((!record.removed).then(|| text.into()))
    }

    /// Every part with its length before it, so that no two places spell the same.
    fn aad(&self, place: Place<'_>, revision: u64, removed: bool) -> Vec<u8> {
        let (generation, id) =
            place.lineage.map_or((0, &[][..]), |lineage| (lineage.generation, &lineage.id[..]));
        let mut aad = self.domain.to_vec();
        for part in
            [self.node.as_bytes(), place.table.as_bytes(), place.scope.as_bytes(), place.key.as_bytes(), id]
        {
            aad.extend(u64::try_from(part.len()).expect("a usize fits into 64 bits").to_be_bytes());
            aad.extend(part);
        }
        aad.extend(generation.to_be_bytes());
        aad.extend(revision.to_be_bytes());
        aad.push(u8::from(removed));
        aad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_where_it_belongs_and_nowhere_else() {
        let sealer = Sealer::of_store(&[1; 32], "gateway-1");
        let lineage = Lineage { generation: 2, id: vec![3; 16].into(), ..Default::default() };
        let other = Lineage { generation: 3, ..lineage.clone() };
        let place = Place { table: "records", scope: "runtime/r/e", key: "plan/a", lineage: Some(&lineage) };
        let sealed = sealer.seal(place, 7, Some(b"gold"));
        assert!(!sealed.sealed.windows(4).any(|window| window == b"gold"));
        assert_eq!(sealer.open(place, &sealed), Ok(Some(Bytes::from("gold"))));
        for wrong in [
            Place { table: "usable", ..place },
            Place { scope: "runtime/r/f", ..place },
            Place { key: "plan/b", ..place },
            Place { scope: "runtime/r/eplan/", key: "a", ..place },
            Place { lineage: Some(&other), ..place },
            Place { lineage: None, ..place },
        ] {
            assert_eq!(sealer.open(wrong, &sealed), Err(DoesNotOpen), "{wrong:?}");
        }
        for altered in [
            SealedRecord { revision: 8, ..sealed.clone() },
            SealedRecord { removed: true, ..sealed.clone() },
            SealedRecord { nonce: vec![0; 12].into(), ..sealed.clone() },
            SealedRecord { nonce: vec![0; 3].into(), ..sealed.clone() },
            SealedRecord { sealed: sealed.sealed.slice(1..), ..sealed.clone() },
            SealedRecord { sealed: Bytes::new(), ..sealed.clone() },
        ] {
            assert_eq!(sealer.open(place, &altered), Err(DoesNotOpen), "{altered:?}");
        }
        assert_eq!(Sealer::of_store(&[1; 32], "gateway-2").open(place, &sealed), Err(DoesNotOpen));
        assert_eq!(Sealer::of_store(&[2; 32], "gateway-1").open(place, &sealed), Err(DoesNotOpen));
    }

    #[test]
    fn removals_and_empty_values_differ_and_no_two_seals_are_alike() {
        let sealer = Sealer::of_store(&[1; 32], "n");
        let place = Place { table: "records", ..Default::default() };
        assert_eq!(sealer.open(place, &sealer.seal(place, 1, None)), Ok(None));
        assert_eq!(sealer.open(place, &sealer.seal(place, 1, Some(b""))), Ok(Some(Bytes::new())));
        assert_ne!(sealer.seal(place, 1, Some(b"a")), sealer.seal(place, 1, Some(b"a")));
    }
}
