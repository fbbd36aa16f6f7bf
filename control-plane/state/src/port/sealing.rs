//! The port by which Secrets are sealed, before they are proposed.

use hanse_management::{Problem, ProblemName, ResourceKey, kinds::SealedValue};

use crate::FederationKeys;

/// The field of a refusal: the command's Secrets are sealed under a version of the federation key that is not the active one any more. A
/// node that has applied all that was committed seals them under the active one.
pub const SEAL_OUTDATED: &str = "federation key";

/// One value of a Secret, to be sealed.
#[derive(Debug, Clone, Copy)]
pub struct ToSeal<'a> {
    /// The Secret.
    pub secret: &'a ResourceKey,
    /// The field. Secret and field are the place in which the sealed value opens.
    pub field: &'a str,
    /// The version of the federation key.
    pub version: u32,
    /// The value that is there now.
    pub present: Option<&'a SealedValue>,
}

/// Seals data with the federation key. The state has digests of its versions only.
pub trait Sealing: Send + Sync + 'static {
    /// Seals `data`. Equal data in one place gives equal bytes under one version. Where the present value has equal data under another
    /// version, the answer says so ([`SealedValue::same_as`]). Refused where this node lacks a version of `keys` that it needs.
    fn seal(&self, keys: &FederationKeys, value: ToSeal<'_>, data: &str) -> Result<SealedValue, Problem>;
}

/// For commands that have no Secrets: those that control nodes make themselves.
#[derive(Debug, Clone, Copy)]
pub struct NoSecrets;

impl Sealing for NoSecrets {
    fn seal(&self, _: &FederationKeys, value: ToSeal<'_>, _: &str) -> Result<SealedValue, Problem> {
        let detail = format!("{} is written where no Secret is sealed", value.secret);
        Err(Problem::new(ProblemName::Internal, detail).remedy("write it by the operator API"))
    }
}
