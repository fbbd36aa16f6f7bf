//! Sealing small files of a node's data directory with the key that seals its store.

use std::fmt;

use hanse_proto::store::SealedRecord;
use prost::Message as _;

use crate::{
    key::{Key, KeyError},
    seal::{Place, Sealer},
    store::StoreOptions,
};

/// Separates sealed files from all else that is sealed with the same key. A sealed file is readable for as long as its node lives,
/// also where the store's own form changes: a store is fetched again, a private key is not.
const DOMAIN: &[u8] = b"hanse sealed file 1";
/// Stands where the store has the name of a table.
const TABLE: &str = "files";

/// Seals and opens files of one node.
pub struct FileSeal(Sealer);

impl FileSeal {
    /// Takes the key that opens the node's store. Makes none.
    pub fn load(options: &StoreOptions) -> Result<Self, KeyError> {
        Ok(Self::with(&options.key.load()?, &options.node))
    }

    /// The same. A key file that is not there is made.
    pub fn load_or_make(options: &StoreOptions) -> Result<Self, KeyError> {
        Ok(Self::with(&options.key.load_or_make()?, &options.node))
    }

    fn with(key: &Key, node: &str) -> Self {
        Self(Sealer::new(DOMAIN, key, node))
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
        let seal = FileSeal::load_or_make(&options).unwrap();
        let sealed = seal.seal("key.pem", b"secret");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(seal.open("key.pem", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(FileSeal::load(&options).unwrap().open("key.pem", &sealed).unwrap(), b"secret");

        assert_eq!(seal.open("key.previous.pem", &sealed), None);
        let elsewhere = StoreOptions { node: "another".to_owned(), ..options.clone() };
        assert_eq!(FileSeal::load(&elsewhere).unwrap().open("key.pem", &sealed), None);
        for octet in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[octet] ^= 1;
            assert_eq!(seal.open("key.pem", &altered), None, "octet {octet}");
        }
        assert_eq!(seal.open("key.pem", b""), None);

        // The same key, node and place, in the store.
        let key = options.key.load().unwrap();
        let of_the_store = Sealer::of_store(&key, &options.node).seal(place("key.pem"), 0, Some(b"secret"));
        assert_eq!(seal.open("key.pem", &of_the_store.encode_to_vec()), None);
    }

    /// A file that was sealed by this form stays readable for as long as its node lives. Never change the octets.
    #[test]
    fn a_sealed_file_of_version_1_opens() {
        let seal = FileSeal::with(&[7; 32], "cp-1.server.control.hanse.internal");
        let sealed = hex::decode(
            "1a0c090909090909090909090909221d74dc33e118ff8a7e0befe86be239c5782b8f01eaf5d193d1ed4bcfcb37",
        )
        .unwrap();
        assert_eq!(seal.open("key.pem", &sealed).as_deref(), Some(&b"a private key"[..]));
    }
}
