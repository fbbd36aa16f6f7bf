//! Content roots: one hash over a scope's content, kept up to date at a cost proportional to what changed.
//!
//! Keys fall into 4,096 buckets by the first 12 bits of their SHA-256, 64 buckets to a group, 64 groups to the root:
//!
//! ```text
//! value hash  = SHA-256(value)
//! bucket hash = SHA-256("hanse root 1: bucket" 0x00, then for each key in byte order:
//!                       u32 big-endian length of the key, key, value hash)
//! group hash  = SHA-256("hanse root 1: group" 0x00, its 64 bucket hashes in order)
//! root        = SHA-256("hanse root 1: root" 0x00, the 64 group hashes in order)
//! ```
//! A bucket without keys, and a group of nothing but such buckets, are 32 zero bytes.

use std::{collections::BTreeMap, fmt, sync::Arc};

use hanse_proto::InvalidMessage;
use sha2::{Digest, Sha256};

/// Buckets in a group, and groups in a tree.
const FAN_OUT: usize = 64;
const BUCKET_DOMAIN: &[u8] = b"hanse root 1: bucket\0";
const GROUP_DOMAIN: &[u8] = b"hanse root 1: group\0";
const ROOT_DOMAIN: &[u8] = b"hanse root 1: root\0";
const EMPTY: Hash = [0; 32];

pub(crate) type Hash = [u8; 32];

/// The hash of a scope's whole content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentRoot(pub [u8; 32]);

impl ContentRoot {
    /// The root of a scope that holds nothing.
    pub fn of_nothing() -> Self {
        root_of(&[EMPTY; FAN_OUT])
    }
}

impl fmt::Display for ContentRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ContentRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentRoot({})", hex::encode(&self.0[..6]))
    }
}

impl TryFrom<&[u8]> for ContentRoot {
    type Error = InvalidMessage;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidMessage> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| InvalidMessage::new("root", format!("{} bytes instead of 32", bytes.len())))
    }
}

/// The hash of one value.
pub(crate) fn hash_value(value: &[u8]) -> Hash {
    Sha256::digest(value).into()
}

/// The keys of one bucket in byte order. Vectors: with 100,000 keys a bucket holds 24.
#[derive(Debug, Clone, Default)]
struct Bucket {
    keys: Vec<(Arc<str>, Hash)>,
    hash: Hash,
}

impl Bucket {
    fn set(&mut self, key: &Arc<str>, value: Option<Hash>) {
        match (self.keys.binary_search_by(|(held, _)| held.cmp(key)), value) {
            (Ok(index), Some(hash)) => self.keys[index].1 = hash,
            (Ok(index), None) => {
                self.keys.remove(index);
            }
            (Err(index), Some(hash)) => self.keys.insert(index, (Arc::clone(key), hash)),
            (Err(_), None) => {}
        }
    }

    fn seal(&mut self) {
        self.hash = match self.keys.is_empty() {
            true => EMPTY,
            false => {
                let mut hasher = Sha256::new_with_prefix(BUCKET_DOMAIN);
                for (key, value) in &self.keys {
                    let length =
                        u32::try_from(key.len()).expect("keys come in messages of far less than 4 GiB");
                    hasher.update(length.to_be_bytes());
                    hasher.update(key.as_bytes());
                    hasher.update(value);
                }
                hasher.finalize().into()
            }
        };
    }
}

/// The tree over one scope. Buckets without keys take no memory.
#[derive(Debug, Clone)]
pub(crate) struct ContentTree {
    buckets: BTreeMap<u16, Bucket>,
    groups: [Hash; FAN_OUT],
    root: ContentRoot,
}

/// What a change makes of a tree, computed without touching it.
#[derive(Debug)]
pub(crate) struct StagedTree {
    buckets: BTreeMap<u16, Bucket>,
    groups: [Hash; FAN_OUT],
    root: ContentRoot,
}

impl StagedTree {
    pub(crate) fn root(&self) -> ContentRoot {
        self.root
    }
}

impl ContentTree {
    pub(crate) fn new() -> Self {
        Self { buckets: BTreeMap::new(), groups: [EMPTY; FAN_OUT], root: ContentRoot::of_nothing() }
    }

    pub(crate) fn root(&self) -> ContentRoot {
        self.root
    }

    /// The hash of the value at `key`.
    pub(crate) fn value_hash(&self, key: &str) -> Option<&Hash> {
        let bucket = self.buckets.get(&bucket_of(key))?;
        let index = bucket.keys.binary_search_by(|(held, _)| (**held).cmp(key)).ok()?;
        Some(&bucket.keys[index].1)
    }

    /// Computes the tree after `changes`: a hash sets a key, `None` removes it. Costs the buckets and groups touched.
    pub(crate) fn stage<'a>(
        &self,
        changes: impl Iterator<Item = (&'a Arc<str>, Option<Hash>)>,
    ) -> StagedTree {
        let mut buckets = BTreeMap::<u16, Bucket>::new();
        for (key, value) in changes {
            let index = bucket_of(key);
            let held = || self.buckets.get(&index).cloned().unwrap_or_default();
            buckets.entry(index).or_insert_with(held).set(key, value);
        }
        let mut groups = self.groups;
        let mut sealed = None;
        buckets.values_mut().for_each(Bucket::seal);
        for index in buckets.keys() {
            let group = usize::from(*index) / FAN_OUT;
            if sealed.replace(group) != Some(group) {
                groups[group] = self.group_hash(group, &buckets);
            }
        }
        let root = if sealed.is_some() { root_of(&groups) } else { self.root };
        StagedTree { buckets, groups, root }
    }

    /// Makes a staged tree the tree. It must have been staged on the tree as it is.
    pub(crate) fn commit(&mut self, staged: StagedTree) {
        for (index, bucket) in staged.buckets {
            if bucket.keys.is_empty() {
                self.buckets.remove(&index);
            } else {
                self.buckets.insert(index, bucket);
            }
        }
        self.groups = staged.groups;
        self.root = staged.root;
    }

    fn group_hash(&self, group: usize, staged: &BTreeMap<u16, Bucket>) -> Hash {
        let mut hasher = Sha256::new_with_prefix(GROUP_DOMAIN);
        let mut empty = true;
        for place in 0..FAN_OUT {
            let index = u16::try_from(group * FAN_OUT + place).expect("64 × 64 fits into 16 bits");
            let bucket = staged.get(&index).or_else(|| self.buckets.get(&index));
            let hash = bucket.map_or(EMPTY, |bucket| bucket.hash);
            empty &= hash == EMPTY;
            hasher.update(hash);
        }
        if empty { EMPTY } else { hasher.finalize().into() }
    }
}

fn root_of(groups: &[Hash; FAN_OUT]) -> ContentRoot {
    let mut hasher = Sha256::new_with_prefix(ROOT_DOMAIN);
    groups.iter().for_each(|hash| hasher.update(hash));
    ContentRoot(hasher.finalize().into())
}

/// The first 12 bits of the key's SHA-256: group in the upper six, bucket of the group in the lower six.
fn bucket_of(key: &str) -> u16 {
    let hash = Sha256::digest(key.as_bytes());
    u16::from_be_bytes([hash[0], hash[1]]) >> 4
}

#[cfg(test)]
mod tests;
