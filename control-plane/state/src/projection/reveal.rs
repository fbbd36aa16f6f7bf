//! How the projection comes by the data of Secrets.

use bytes::Bytes;
use hanse_management::{ResourceKey, kinds::SealedValue};

use crate::FederationKeys;

/// Opens sealed values, for the scopes that have them in the clear.
///
/// The state names each version of the federation key by its digest. So all control nodes that hold the keys of a state make the same
/// bytes of it.
pub trait Reveal: Send + Sync {
    /// The data of one value. `None`: it does not open.
    fn reveal(
        &self,
        keys: &FederationKeys,
        secret: &ResourceKey,
        field: &str,
        sealed: &SealedValue,
    ) -> Option<Bytes>;
}

/// Leaves values as they are, where only it matters which ones differ: sealed bytes change with the data.
#[derive(Debug, Clone, Copy)]
pub struct AsSealed;

impl Reveal for AsSealed {
    fn reveal(&self, _: &FederationKeys, _: &ResourceKey, _: &str, sealed: &SealedValue) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&sealed.sealed))
    }
}
