//! What a holder signs: the head of a local scope.
//!
//! ```text
//! "hanse local head 1" 0x00
//! u32 length of the scope's name, the name
//! u64 generation, 16 octets id, 16 octets parent's id, u64 parent's revision    zeros: there is no parent
//! u64 revision
//! 32 octets root
//! ```
//! All numbers are big-endian. The signature is ECDSA with P-256 and SHA-256, made with the key that the agent joined with.
//!
//! A generation has a counter in its upper half, and random bits in its lower one: a holder that crashes before its claim is on disk takes
//! the counter again, and must not make another lineage of the same generation. A lineage's id begins with the key's digest, so that no holder
//! continues the lineage of another.

use hanse_identity::{KeyDigest, KeyPair, PkiError, is_signed_by};
use hanse_sync::{ContentRoot, HeadSignature};
use hanse_topology::{Lineage, Position, ScopeId};
use sha2::{Digest as _, Sha256};

/// No certificate begins so: those begin with an ASN.1 sequence. So no signature here is one of a certificate, which the same key
/// makes too.
const DOMAIN: &[u8] = b"hanse local head 1\0";
/// How much of an id is the key's: the rest is random.
const KEY_OCTETS: usize = 8;
/// The longest SubjectPublicKeyInfo of a P-256 key is 91 octets. No other is hashed.
const MAX_SPKI_OCTETS: usize = 128;
/// The longest ECDSA P-256 signature is 72 octets. No other is verified.
const MAX_SIGNATURE_OCTETS: usize = 80;

/// Why a head is not a holder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// The signature does not fit the key, or covers something else.
    #[error("its signature does not fit it")]
    Signature,
    /// The lineage begins with another key.
    #[error("its lineage belongs to another key than the one that signed")]
    Lineage,
}

/// What is signed.
fn payload(scope: &ScopeId, position: &Position, root: &ContentRoot) -> Vec<u8> {
    let Position { lineage: Lineage { generation, id, parent }, revision } = position;
    let (parent_id, parent_revision) = parent.unwrap_or_default();
    let scope = scope.to_string();
    let length = u32::try_from(scope.len()).expect("names have at most 63 octets");
    [
        DOMAIN,
        &length.to_be_bytes(),
        scope.as_bytes(),
        &generation.to_be_bytes(),
        id,
        &parent_id,
        &parent_revision.to_be_bytes(),
        &revision.to_be_bytes(),
        &root.0,
    ]
    .concat()
}

/// Signs that the content of `scope` has this root at this position.
pub fn sign(
    key: &KeyPair,
    scope: &ScopeId,
    position: &Position,
    root: &ContentRoot,
) -> Result<HeadSignature, PkiError> {
    let signature = key.sign(&payload(scope, position, root))?;
    Ok(HeadSignature { spki: key.public_key_der().into(), signature: signature.into() })
}

/// The digest of the key that signed a head.
pub fn verify(
    scope: &ScopeId,
    position: &Position,
    root: &ContentRoot,
    HeadSignature { spki, signature }: &HeadSignature,
) -> Result<KeyDigest, Unsigned> {
    if spki.len() > MAX_SPKI_OCTETS || signature.len() > MAX_SIGNATURE_OCTETS {
        return Err(Unsigned::Signature);
    }
    let key = digest_of(spki);
    if position.lineage.id[..KEY_OCTETS] != key[..KEY_OCTETS] {
        return Err(Unsigned::Lineage);
    }
    match is_signed_by(spki, &payload(scope, position, root), signature) {
        true => Ok(key),
        false => Err(Unsigned::Signature),
    }
}

/// What a key goes by.
pub(crate) fn digest_of(spki: &[u8]) -> KeyDigest {
    Sha256::digest(spki).into()
}

/// The id of a lineage that begins with this key.
pub(crate) fn id_of(key: &KeyDigest, random: [u8; 8]) -> [u8; 16] {
    let mut id = [0; 16];
    id[..KEY_OCTETS].copy_from_slice(&key[..KEY_OCTETS]);
    id[KEY_OCTETS..].copy_from_slice(&random);
    id
}

/// The counter in a generation.
pub(crate) fn counter_of(lineage: &Lineage) -> u32 {
    u32::try_from(lineage.generation >> 32).expect("32 bits are left")
}

/// A generation with this counter.
pub(crate) fn generation_of(counter: u32, random: u32) -> u64 {
    (u64::from(counter) << 32) | u64::from(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> ScopeId {
        "local/eu-west/production/pods".parse().unwrap()
    }

    fn at(key: &KeyPair, parent: Option<([u8; 16], u64)>, revision: u64) -> Position {
        let id = id_of(&digest_of(&key.public_key_der()), [7; 8]);
        Position { lineage: Lineage { generation: generation_of(3, 5), id, parent }, revision }
    }

    /// Every holder signs these octets, and every neighbour of every release verifies them.
    #[test]
    fn the_octets_that_are_signed_stay_what_they_were() {
        let lineage = Lineage { generation: 0x0304, id: [0x11; 16], parent: Some(([0x22; 16], 0x33)) };
        let position = Position { lineage, revision: 0x44 };
        let expected = [
            "68616e7365206c6f63616c2068656164203100", // hanse local head 1, 0
            "0000001d",
            "6c6f63616c2f65752d776573742f70726f64756374696f6e2f706f6473",
            "0000000000000304",
            "11111111111111111111111111111111",
            "22222222222222222222222222222222",
            "0000000000000033",
            "0000000000000044",
            "5555555555555555555555555555555555555555555555555555555555555555",
        ];
        assert_eq!(hex::encode(payload(&scope(), &position, &ContentRoot([0x55; 32]))), expected.concat());
        let first = Position { lineage: Lineage { parent: None, ..lineage }, revision: 0x44 };
        let expected = expected.concat().replace(&"22".repeat(16), &"00".repeat(16));
        let expected = expected.replace("0000000000000033", "0000000000000000");
        assert_eq!(hex::encode(payload(&scope(), &first, &ContentRoot([0x55; 32]))), expected);
    }

    #[test]
    fn a_signature_covers_scope_position_and_root() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let (position, root) = (at(&key, None, 4), ContentRoot([9; 32]));
        let signature = sign(&key, &scope(), &position, &root).unwrap();
        assert_eq!(verify(&scope(), &position, &root, &signature), Ok(digest_of(&key.public_key_der())));

        let elsewhere: ScopeId = "local/eu-west/staging/pods".parse().unwrap();
        let later = Position { revision: 5, ..position };
        let jumped = Position { lineage: Lineage { generation: u64::MAX, ..position.lineage }, ..position };
        let orphan = at(&key, Some(([1; 16], 1)), 4);
        for (scope, position, root) in [
            (&elsewhere, position, root),
            (&scope(), later, root),
            (&scope(), jumped, root),
            (&scope(), orphan, root),
            (&scope(), position, ContentRoot([8; 32])),
        ] {
            assert_eq!(verify(scope, &position, &root, &signature), Err(Unsigned::Signature), "{position}");
        }
        let mut damaged = signature.signature.to_vec();
        damaged[10] ^= 1;
        for signature in [
            HeadSignature { signature: damaged.into(), ..signature.clone() },
            HeadSignature { signature: vec![0; 4_000].into(), ..signature.clone() },
            HeadSignature { signature: Default::default(), ..signature.clone() },
        ] {
            assert_eq!(verify(&scope(), &position, &root, &signature), Err(Unsigned::Signature));
        }
        // Another key signs what is its own to sign, and cannot continue this lineage.
        let of_other = sign(&other, &scope(), &position, &root).unwrap();
        assert_eq!(verify(&scope(), &position, &root, &of_other), Err(Unsigned::Lineage));
        let spki = HeadSignature { spki: other.public_key_der().into(), ..signature };
        assert_eq!(verify(&scope(), &at(&other, None, 4), &root, &spki), Err(Unsigned::Signature));
    }

    #[test]
    fn a_generation_has_a_counter_and_random_bits() {
        let lineage = |generation| Lineage { generation, id: [0; 16], parent: None };
        for (counter, random) in [(0, 0), (1, u32::MAX), (u32::MAX, 7)] {
            assert_eq!(counter_of(&lineage(generation_of(counter, random))), counter);
        }
        assert!(generation_of(2, 0) > generation_of(1, u32::MAX), "the counter decides");
    }
}
