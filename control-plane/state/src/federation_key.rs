//! The federation key: the key that Secrets are sealed with, in versions. The state has no key in the clear. It names each version
//! by a digest, and has it wrapped to the recovery key, so that an operator can open it when no control node is left. Opaque here: who
//! proposes a key has wrapped it.
//!
//! | A version is | When |
//! |---|---|
//! | pending | it is the newest, it was made after the last rotation was asked for, and is not used yet |
//! | active | it is the last one that was used: Secrets are sealed with it |
//! | retired | it was active before |
//! | skipped | a newer one was made before it was used |

pub(crate) mod wire;

use hanse_management::Revision;

/// Most versions. None is ever dropped, because an old log entry or a Secret may be sealed with it: 200 bytes for each. A rotation a
/// week takes 19 years.
pub const MAX_KEY_VERSIONS: usize = 1_000;

/// SHA-256 of a public key (SubjectPublicKeyInfo), or of a federation key behind a fixed text.
type KeyDigest = [u8; 32];

/// The public keys of an operator's two recovery pairs, DER (SubjectPublicKeyInfo). The private keys are in no control node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryKey {
    /// Whose signature will found another lineage.
    pub sign: Vec<u8>,
    /// Which every version of the federation key is wrapped to.
    pub wrap: Vec<u8>,
}

/// One version of the federation key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVersion {
    /// What tells it from others: a digest of the key itself.
    pub digest: KeyDigest,
    /// The key, wrapped to the recovery key.
    pub wrapped: Vec<u8>,
    /// The revision that brought it.
    pub made_at: Revision,
    /// Whether Secrets are, or were, sealed with it.
    pub used: bool,
}

/// The versions of the federation key, and the recovery key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FederationKeys {
    pub(crate) recovery: Option<RecoveryKey>,
    /// A version's number is its place here, from 1 on.
    pub(crate) versions: Vec<KeyVersion>,
    /// The revision that asked for the last rotation: versions made before it are not used from then on.
    pub(crate) rotate_after: Revision,
}

impl FederationKeys {
    /// The recovery key, if there is one.
    pub fn recovery(&self) -> Option<&RecoveryKey> {
        self.recovery.as_ref()
    }

    /// Every version with its number, the oldest first.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = (u32, &KeyVersion)> {
        self.versions.iter().enumerate().map(|(before, version)| (number_behind(before), version))
    }

    /// The version with that number.
    pub fn get(&self, version: u32) -> Option<&KeyVersion> {
        self.versions.get(usize::try_from(version).ok()?.checked_sub(1)?)
    }

    /// The version with that digest, with its number.
    pub fn with_digest(&self, digest: &KeyDigest) -> Option<(u32, &KeyVersion)> {
        self.versions().find(|(_, version)| version.digest == *digest)
    }

    /// The version that Secrets are sealed with, with its number.
    pub fn active(&self) -> Option<(u32, &KeyVersion)> {
        self.versions().rfind(|(_, version)| version.used)
    }

    /// The version that is to be used next, with its number.
    pub fn pending(&self) -> Option<(u32, &KeyVersion)> {
        self.newest().filter(|(_, version)| !version.used && version.made_at > self.rotate_after)
    }

    /// The version that was made last, with its number.
    pub fn newest(&self) -> Option<(u32, &KeyVersion)> {
        self.versions().next_back()
    }

    /// The number that the next version gets; `None`: there is no room for another.
    pub fn next_number(&self) -> Option<u32> {
        (self.versions.len() < MAX_KEY_VERSIONS).then(|| number_behind(self.versions.len()))
    }

    /// The revision that asked for the last rotation; 0: none did.
    pub fn rotate_after(&self) -> Revision {
        self.rotate_after
    }

    /// Whether another version is to be made: there is none yet, or a rotation was asked for, and there is room for one.
    pub fn wants_new(&self) -> bool {
        self.next_number().is_some()
            && self.newest().is_none_or(|(_, newest)| newest.made_at < self.rotate_after)
    }
}

/// The number of the version behind so many. There are at most [`MAX_KEY_VERSIONS`].
fn number_behind(versions: usize) -> u32 {
    u32::try_from(versions).map_or(u32::MAX, |versions| versions.saturating_add(1))
}
