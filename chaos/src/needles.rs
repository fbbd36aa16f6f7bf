//! Secret octets in files: whether anything in a directory has them, in the forms that programs write them in.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Before a private key in an EC key of P-256 (RFC 5915): version 1, and an octet string of 32 octets.
const BEFORE_SCALAR: [u8; 5] = [0x02, 0x01, 0x01, 0x04, 0x20];
/// Octets of such a key.
const SCALAR_BYTES: usize = 32;

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Needles(BTreeSet<Vec<u8>>);

impl Needles {
    /// A secret as it is, in hexadecimal and in base64.
    pub fn of(secret: &[u8]) -> Self {
        let hexadecimal = hex::encode(secret);
        let upper = hexadecimal.to_ascii_uppercase().into_bytes();
        let plain = [secret.to_vec(), hexadecimal.into_bytes(), upper];
        Self(plain.into_iter().chain((0..3).flat_map(|before| in_base64(secret, before))).collect())
    }

    /// A private key of P-256, as PKCS #8 in PEM: its scalar, which every encoding of the key has, and each line of the PEM.
    pub fn of_private_key(pem: &str) -> Result<Self> {
        let body: Vec<&str> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body.concat()).context("the key is no PEM")?;
        let at = der.windows(BEFORE_SCALAR.len()).position(|window| window == BEFORE_SCALAR);
        let at = at.context("the key is not of P-256")? + BEFORE_SCALAR.len();
        let scalar = der.get(at..at + SCALAR_BYTES).context("the key is cut off")?;
        // The first line is the same in every key, and the last ones are of its public half.
        let line = body.get(1).context("the key has one line")?;
        Ok(Self(Self::of(scalar).0.into_iter().chain(Self::of(line.as_bytes()).0).collect()))
    }

    /// Whether one of them is there, with line breaks in it or not.
    pub fn are_in(&self, content: &[u8]) -> bool {
        self.hold(content) || self.hold(&without_breaks(content))
    }

    /// One pass for all of them: a log has megabytes.
    fn hold(&self, content: &[u8]) -> bool {
        let mut begins = [false; 256];
        let first = self.0.iter().filter_map(|needle| needle.first());
        first.for_each(|first| begins[usize::from(*first)] = true);
        let mut begin = content.iter().enumerate().filter(|(_, octet)| begins[usize::from(**octet)]);
        begin.any(|(at, _)| self.0.iter().any(|needle| content[at..].starts_with(needle)))
    }

    /// The files of a directory, and of those below, that have one of them.
    pub fn files_with(&self, dir: &Path) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                found.extend(self.files_with(&path)?);
            } else if entry.file_type()?.is_file() && self.are_in(&fs::read(&path)?) {
                found.push(path.display().to_string());
            }
        }
        Ok(found)
    }
}

/// What base64 makes of the secret after so many other octets, without the characters at both ends that depend on its neighbours.
fn in_base64(secret: &[u8], before: usize) -> [Vec<u8>; 2] {
    let whole = [&[0, 0, 0][..before], secret].concat();
    [STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)].map(|text| {
        let first = (before * 8).div_ceil(6);
        let last = whole.len() * 8 / 6;
        text.as_bytes()[first..last].to_vec()
    })
}

/// Without line breaks, those that JSON spells out included.
fn without_breaks(content: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(content.len());
    let mut rest = content;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\r' | b'\n', _) => tail,
            (b'\\', [b'n' | b'r', tail @ ..]) => tail,
            _ => {
                joined.push(*first);
                tail
            }
        };
    }
    joined
}

#[cfg(test)]
mod tests {
    use hanse_identity::KeyPair;

    use super::*;

    #[test]
    fn a_key_is_found_in_every_form() {
        let pem = KeyPair::generate().unwrap().to_pem();
        let needles = Needles::of_private_key(&pem).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(&body).unwrap();
        let scalar = der[36..68].to_vec();
        assert_eq!(der[31..36], BEFORE_SCALAR);
        let text = |text: String| text.into_bytes();
        let after = |octets: &[u8]| STANDARD.encode([octets, &scalar[..]].concat());
        for (form, content) in [
            ("PEM", text(pem.clone())),
            ("PEM of other breaks", text(pem.replace('\n', "\r\n"))),
            ("PEM in JSON", serde_json::to_vec(&pem).unwrap()),
            ("PEM in base64", text(STANDARD.encode(&pem))),
            ("DER", der.clone()),
            ("DER in hexadecimal", text(hex::encode(&der))),
            ("DER in capitals", text(hex::encode_upper(&der))),
            ("DER in base64", text(body)),
            ("scalar", scalar.clone()),
            ("scalar in base64", text(after(b""))),
            ("after one octet", text(after(b"1"))),
            ("after two octets", text(after(b"12"))),
            ("in base64url", text(URL_SAFE_NO_PAD.encode(&scalar))),
        ] {
            let planted = [b"before \xff", &content[..], b"\0 after"].concat();
            assert!(needles.are_in(&planted), "{form}");
        }
        assert!(!needles.are_in(KeyPair::generate().unwrap().to_pem().as_bytes()), "another key");
    }

    #[test]
    fn directories_are_searched_to_the_bottom() {
        let dir = tempfile::tempdir().unwrap();
        let needles = Needles::of(b"a secret of some length");
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/other"), "nothing").unwrap();
        assert!(needles.files_with(dir.path()).unwrap().is_empty());
        let planted = dir.path().join("a/b/planted");
        fs::write(&planted, "has a secret of some length in it").unwrap();
        assert_eq!(needles.files_with(dir.path()).unwrap(), [planted.display().to_string()]);
    }
}
