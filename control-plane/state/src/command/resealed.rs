//! A value of a Secret that was sealed anew, as a leader proposes it.

use hanse_management::{ResourceKey, kinds::SealedValue};
use hanse_proto::{InvalidMessage, control as proto};
use sha2::{Digest as _, Sha256};

use super::wire::fixed;

/// A value of a Secret, sealed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResealedValue {
    /// The Secret.
    pub secret: ResourceKey,
    /// The field.
    pub field: String,
    /// SHA-256 of the sealed bytes whose place it takes. Where others are there by now, they stay.
    pub was: [u8; 32],
    /// The version of the federation key that sealed it: the active one.
    pub version: u32,
    /// The same data, sealed with that version.
    pub sealed: Vec<u8>,
}

impl ResealedValue {
    /// What takes the place of the `present` value of a field.
    pub fn of(
        secret: &ResourceKey,
        field: &str,
        present: &SealedValue,
        version: u32,
        sealed: Vec<u8>,
    ) -> Self {
        let was = Sha256::digest(&present.sealed).into();
        Self { secret: secret.clone(), field: field.to_owned(), was, version, sealed }
    }

    /// Whether it was made of this value, and another version sealed that.
    pub(crate) fn replaces(&self, there: &SealedValue) -> bool {
        there.version != self.version && Sha256::digest(&there.sealed)[..] == self.was
    }

    pub(super) fn to_proto(&self) -> proto::ResealedValue {
        proto::ResealedValue {
            secret: Some(self.secret.to_proto()),
            field: self.field.clone(),
            was: self.was.to_vec().into(),
            version: self.version,
            sealed: self.sealed.clone().into(),
        }
    }

    pub(super) fn from_proto(value: proto::ResealedValue) -> Result<Self, InvalidMessage> {
        let missing = || InvalidMessage::new("ResealedValue", "it names no Secret");
        Ok(Self {
            secret: ResourceKey::from_proto(value.secret.ok_or_else(missing)?)?,
            field: value.field,
            was: fixed("ResealedValue", &value.was)?,
            version: value.version,
            sealed: value.sealed.to_vec(),
        })
    }
}
