//! Digests of secrets: full at rest, shortened for people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A SHA-256, written `sha256:` and 64 hexadecimal digits.
///
/// The API shows it shortened, `sha256:0123abcd…`. That form may be sent back: it means "the digest that is there now",
/// so that what was read can be written again. It is held as the four bytes shown and 28 zeros. No known secret has
/// such a SHA-256; `State::apply` puts the present digest in its place or refuses it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// How many of its bytes are shown.
    const SHOWN: usize = 4;

    /// The digest of a secret.
    pub fn of(secret: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(secret).into())
    }

    /// The form people see: `sha256:0123abcd…`.
    pub fn shortened(&self) -> String {
        format!("sha256:{}…", hex::encode(&self.0[..Self::SHOWN]))
    }

    /// Whether it was read from the shortened form and stands for the digest that is there now.
    pub fn is_shortened(&self) -> bool {
        self.0[Self::SHOWN..].iter().all(|byte| *byte == 0)
    }

    /// Whether `self`, shortened, may stand for `full`.
    pub fn stands_for(&self, full: &Digest) -> bool {
        self.is_shortened() && self.0[..Self::SHOWN] == full.0[..Self::SHOWN]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shortened())
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        let mut digest = [0; 32];
        let (read, into) = match digits.strip_suffix('…') {
            Some(digits) => (digits, &mut digest[..Self::SHOWN]),
            None => (digits, &mut digest[..]),
        };
        hex::decode_to_slice(read, into).map_err(
            |_| "a digest is \"sha256:\" followed by 64 hexadecimal digits; never send the secret itself",
        )?;
        Ok(Self(digest))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortened_digest_stands_for_the_one_it_was_made_from() {
        let full = Digest::of(b"secret");
        assert_eq!(Digest::try_from(full.to_string()), Ok(full));
        let short = Digest::try_from(full.shortened()).unwrap();
        assert!(short.is_shortened() && !full.is_shortened());
        assert!(
            short.stands_for(&full) && !short.stands_for(&Digest::of(b"other")) && !full.stands_for(&full)
        );
        assert_eq!(Digest::try_from(short.to_string()), Ok(short), "its full form keeps the meaning");
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in ["", "secret", "sha256:", "sha256:zz", "sha256:abcd…", "sha256:0123456789…", "…"] {
            assert!(Digest::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn debug_does_not_show_the_whole() {
        assert_eq!(format!("{:?}", Digest([0xab; 32])), "sha256:abababab…");
    }
}
