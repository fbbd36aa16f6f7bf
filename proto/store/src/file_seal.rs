//! Sealing small files of a node's data directory with the key that seals its store.

use std::fmt;

use hanse_proto::store::SealedRecord;
use prost::Message as _;

use crate::{
    key::KeyError,
    seal::{Place, Sealer},
    store::StoreOptions,
};

/// Separates sealed files from the records of the store.
const TABLE: &str = "files";

/// Seals and opens files of one node.
pub struct FileSeal(Sealer);

impl FileSeal {
    /// Takes the key that opens the node's store. A key file that is not there is made, unless something `is_sealed` with the
    /// key that it had.
    pub fn load(options: &StoreOptions, is_sealed: bool) -> Result<Self, KeyError> {
        Ok(Self(Sealer::new(&options.key.load(is_sealed)?, &options.node)))
    }

    /// Seals the content of the file `name`.
    pub fn seal(&self, name: &str, content: &[u8]) -> Vec<u8> {
        self.0.seal(place(name), 0, Some(content)).encode_to_vec()
    }

    /// Opens it. `None`: it was altered, or is of another name or node, or another key sealed it.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let record = SealedRecord::decode(sealed).ok()?;
        self.0.open(place(name), &record).ok()?.map(Into::into)
    }
}

impl fmt::Debug for FileSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileSeal(secret)")
    }
}

fn place(name: &str) -> Place<'_> {
    Place { table: TABLE, key: name, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::options;

    #[test]
    fn a_file_opens_under_its_name_on_its_node_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path());
        let seal = FileSeal::load(&options, false).unwrap();
        let sealed = seal.seal("key.pem", b"secret");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(seal.open("key.pem", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(FileSeal::load(&options, true).unwrap().open("key.pem", &sealed).unwrap(), b"secret");

        assert_eq!(seal.open("key.previous.pem", &sealed), None);
        let elsewhere = StoreOptions { node: "another".to_owned(), ..options.clone() };
        assert_eq!(FileSeal::load(&elsewhere, true).unwrap().open("key.pem", &sealed), None);
        for octet in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[octet] ^= 1;
            assert_eq!(seal.open("key.pem", &altered), None, "octet {octet}");
        }
        assert_eq!(seal.open("key.pem", b""), None);
    }
}
