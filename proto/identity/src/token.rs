//! Join tokens: `hj1.ID.SECRET.CAHASH`.

use std::{fmt, str::FromStr};

use hanse_topology::{InvalidName, Name};
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};

use crate::TrustAnchor;

/// The format's name and version.
const PREFIX: &str = "hj1";

/// What a process needs to join: who vouches for it (id and secret) and whom to believe (the root's public key, by its
/// SHA-256). Displaying it reveals the secret; debugging does not.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: Name,
    secret: [u8; 32],
    anchor_sha256: [u8; 32],
}

/// Why a text is not a [`JoinToken`]. Never quotes the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Not of this format.
    #[error("not a join token: it must look like {PREFIX}.ID.SECRET.CAHASH and begin with \"{PREFIX}.\"")]
    Prefix,
    /// Cut off, or two pasted together.
    #[error("the join token has {found} parts between dots, not 4: is it complete?")]
    Parts {
        /// How many there are.
        found: usize,
    },
    /// The id is not a name.
    #[error("the join token's id is unusable")]
    Id(#[source] InvalidName),
    /// A part that should be 64 hexadecimal digits.
    #[error("the join token's {part} is not 64 hexadecimal digits: is it complete?")]
    Hex {
        /// Which part.
        part: &'static str,
    },
}

impl JoinToken {
    /// A new token with a random secret.
    pub fn generate(id: Name, anchor: &TrustAnchor) -> Self {
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        Self { id, secret, anchor_sha256: anchor.spki_sha256() }
    }

    /// Which token it is; not secret.
    pub fn id(&self) -> &Name {
        &self.id
    }

    /// What proves that its holder was given it.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// What the issuer keeps of the secret.
    pub fn secret_digest(&self) -> [u8; 32] {
        digest_secret(&self.secret)
    }

    /// SHA-256 of the root's public key.
    pub fn anchor_sha256(&self) -> &[u8; 32] {
        &self.anchor_sha256
    }
}

/// What is stored of a presented secret, to compare with [`JoinToken::secret_digest`]. The secret is random, so a plain
/// hash is enough, and comparing hashes needs no constant time.
pub fn digest_secret(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.{}.{}", self.id, hex::encode(self.secret), hex::encode(self.anchor_sha256))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let parts: Vec<_> = text.trim().split('.').collect();
        if parts.first() != Some(&PREFIX) {
            return Err(InvalidToken::Prefix);
        }
        let [_, id, secret, hash] = parts[..] else {
            return Err(InvalidToken::Parts { found: parts.len() });
        };
        let bytes = |text: &str, part| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidToken::Hex { part })?;
            Ok(bytes)
        };
        Ok(Self {
            id: Name::new(id).map_err(InvalidToken::Id)?,
            secret: bytes(secret, "secret")?,
            anchor_sha256: bytes(hash, "root hash")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Authority;

    fn token() -> JoinToken {
        let anchor = Authority::new_root().unwrap().trust_anchor().unwrap();
        JoinToken::generate(Name::new("t-1").unwrap(), &anchor)
    }

    #[test]
    fn text_and_back() {
        let token = token();
        let text = token.to_string();
        assert_eq!(text.parse::<JoinToken>().unwrap(), token);
        assert_eq!(format!("{text}\n").parse::<JoinToken>().unwrap(), token, "as read from a file");
        assert_eq!(token.secret_digest(), digest_secret(token.secret()));
    }

    #[test]
    fn debugging_does_not_reveal_the_secret() {
        assert_eq!(format!("{:?}", token()), "JoinToken(t-1)");
    }

    #[test]
    fn malformed_tokens_are_told_apart() {
        let good = token().to_string();
        let (head, hash) = good.rsplit_once('.').unwrap();
        let check = |text: &str, expected: &str| {
            let error = text.parse::<JoinToken>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
            assert!(!error.contains(&good[8..40]), "the error quotes the secret: {error}");
        };
        check("", "must look like hj1.ID");
        check("hello", "must look like hj1.ID");
        check(&good.replace("hj1", "hj2"), "must look like hj1.ID");
        check(head, "has 3 parts between dots, not 4");
        check(&format!("{good}.{hash}"), "has 5 parts");
        check(&good.replace("t-1", "T_1"), "id is unusable");
        check(&good[..good.len() - 1], "root hash is not 64 hexadecimal digits");
        check(&good.replace(head, "hj1.t-1.zz"), "secret is not 64 hexadecimal digits");
    }
}
