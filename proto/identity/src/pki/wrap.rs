//! A federation key, wrapped to a public key: the operator who has the private key opens it, without any control node.
//!
//! HPKE (RFC 9180) in base mode, with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM. P-256 is the one type of key in a
//! federation, so the pair is an ordinary [`KeyPair`].

use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey},
    encoding::{AsBigEndian, EcPrivateKeyBin},
};
use rcgen::PublicKeyData as _;
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_P256_HKDF_SHA256_AES_256,
    hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey, HpkePublicKey},
};

use super::{KeyPair, PkiError, authority::checked_public_key};

/// What the wrapping is for: bytes that were made for another purpose do not open here.
const INFO: &[u8] = b"hanse federation key 1";
/// The encapsulated key, an uncompressed point of P-256. The ciphertext follows it.
const ENCAPSULATED_BYTES: usize = 65;

/// Which key it is: it opens as this version with this digest only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrappedAs<'a> {
    /// Its number.
    pub version: u32,
    /// What the state knows it by.
    pub digest: &'a [u8; 32],
}

impl WrappedAs<'_> {
    fn aad(&self) -> Vec<u8> {
        [&self.version.to_be_bytes()[..], self.digest].concat()
    }
}

/// Wraps `key` to a public key (SubjectPublicKeyInfo, DER).
pub fn wrap_key(public_key: &[u8], wrapped_as: WrappedAs<'_>, key: &[u8; 32]) -> Result<Vec<u8>, PkiError> {
    let point = HpkePublicKey(checked_public_key(public_key)?.der_bytes().to_vec());
    let sealed = DH_KEM_P256_HKDF_SHA256_AES_256.seal(INFO, &wrapped_as.aad(), key, &point);
    let (EncapsulatedSecret(encapsulated), ciphertext) = sealed.map_err(PkiError::Wrap)?;
    Ok([encapsulated, ciphertext].concat())
}

/// Refuses bytes that are no public key of a federation: a SubjectPublicKeyInfo, DER, with a point of P-256.
pub fn check_public_key(public_key: &[u8]) -> Result<(), PkiError> {
    checked_public_key(public_key).map(drop)
}

impl KeyPair {
    /// Opens a key that was wrapped to this pair. `None`: it was wrapped to another pair or as another key, or was altered.
    pub fn unwrap_key(&self, wrapped_as: WrappedAs<'_>, wrapped: &[u8]) -> Option<[u8; 32]> {
        let (encapsulated, ciphertext) = wrapped.split_at_checked(ENCAPSULATED_BYTES)?;
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        let own = PrivateKey::from_private_key_der(&ECDH_P256, self.private_key_der().secret_der()).ok()?;
        let scalar: EcPrivateKeyBin<'_> = own.as_be_bytes().ok()?;
        let secret = HpkePrivateKey::from(scalar.as_ref().to_vec());
        let aad = wrapped_as.aad();
        let suite = DH_KEM_P256_HKDF_SHA256_AES_256;
        suite.open(&encapsulated, INFO, &aad, ciphertext, &secret).ok()?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: [u8; 32] = [4; 32];
    const AS_VERSION_3: WrappedAs<'_> = WrappedAs { version: 3, digest: &DIGEST };

    #[test]
    fn a_key_opens_with_the_pair_that_it_is_wrapped_to() {
        let (pair, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let wrapped = wrap_key(&pair.public_key_der(), AS_VERSION_3, &[9; 32]).unwrap();
        assert_eq!(wrapped.len(), 65 + 32 + 16);
        assert_eq!(pair.unwrap_key(AS_VERSION_3, &wrapped), Some([9; 32]));
        let again = wrap_key(&pair.public_key_der(), AS_VERSION_3, &[9; 32]).unwrap();
        assert_ne!(again, wrapped, "each has a key of its own");

        assert_eq!(other.unwrap_key(AS_VERSION_3, &wrapped), None);
        assert_eq!(pair.unwrap_key(WrappedAs { version: 2, ..AS_VERSION_3 }, &wrapped), None);
        assert_eq!(pair.unwrap_key(WrappedAs { digest: &[5; 32], ..AS_VERSION_3 }, &wrapped), None);
        for at in [1, 70, wrapped.len() - 1] {
            let mut altered = wrapped.clone();
            altered[at] ^= 1;
            assert_eq!(pair.unwrap_key(AS_VERSION_3, &altered), None);
        }
        for short in [0, 64, 65, 100] {
            assert_eq!(pair.unwrap_key(AS_VERSION_3, &wrapped[..short]), None);
        }
    }

    /// Written by another implementation of RFC 9180. Bytes that were wrapped once must open for ever.
    #[test]
    fn a_key_that_was_wrapped_elsewhere_opens() {
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjFhTeFE/X3ouFFbu\n\
                   VAQmBf24kDkr7O+t0qsYD9Avs0GhRANCAATnM+0/zCM81IZJqb4oMcQ6G1Cr2P4K\n\
                   FXgCijl33pdJpTjI3yJTytK3V7R/1Ks/bZcwJEg/6mCCBXFgK7YPO/FO\n\
                   -----END PRIVATE KEY-----\n";
        let digest = "f30ef732b9bc615e7e7b3ab345ca743f1c0be32b07bc7d44c3a1e17e6f75394e";
        let wrapped = "049a781ca6d055a7f30d0c9ff87936c739f6816ef5f5e72b4b946404b0a1a83b2ac19f842945ea2bf65aa1649b2b\
                       02ff79854c8d5ecfcd403862e8a97ea66c71c172637a87fefc5f9c2fd9e5b2d121ff3bac32795298bcc168e4df07\
                       86cb0c0ccc7a150c2f891adedb4d84a342488253cf";
        let digest: [u8; 32] = hex::decode(digest).unwrap().try_into().unwrap();
        let wrapped_as = WrappedAs { version: 3, digest: &digest };
        let pair = KeyPair::from_pem(pem).unwrap();
        assert_eq!(pair.unwrap_key(wrapped_as, &hex::decode(wrapped).unwrap()), Some([7; 32]));
    }

    #[test]
    fn only_public_keys_of_the_federations_type_are_taken() {
        let pair = KeyPair::generate().unwrap();
        check_public_key(&pair.public_key_der()).unwrap();
        let mut off_the_curve = pair.public_key_der();
        *off_the_curve.last_mut().unwrap() ^= 1;
        for wrong in [&off_the_curve[..], &pair.public_key_der()[1..], b"key", b""] {
            assert!(check_public_key(wrong).is_err());
            assert!(wrap_key(wrong, AS_VERSION_3, &[9; 32]).is_err());
        }
    }
}
