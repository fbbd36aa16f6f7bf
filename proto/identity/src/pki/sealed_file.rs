//! Small secrets beside a private key, each in a file of its own, sealed as the key is. None is ever written in the clear.

use std::{fs, io};

use hanse_process::{
    durable::{self, SECRET_MODE},
    private,
};

use super::{KeyDir, PkiError, files::io_error, keys};
use crate::pki::files::SEALED;

impl KeyDir {
    /// Writes a secret to the file `name`, durably.
    pub fn write_secret(&self, name: &str, secret: &[u8]) -> Result<(), PkiError> {
        let dir = self.path();
        let path = dir.join(name);
        let Some(seal) = self.seal() else { return Err(PkiError::NotSealed { path }) };
        private::make_dir(dir).map_err(io_error("create", dir))?;
        let content = keys::to_pem(SEALED, &seal.seal(name, secret));
        durable::replace(&path, content.as_bytes(), SECRET_MODE).map_err(io_error("write", &path))
    }

    /// The secrets of the files whose names end so, each with its name, or why it cannot be read.
    #[expect(clippy::type_complexity, reason = "a list of two cases")]
    pub fn read_secrets(&self, ending: &str) -> Result<Vec<(String, Result<Vec<u8>, PkiError>)>, PkiError> {
        let entries = match fs::read_dir(self.path()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error("read", self.path())(error)),
        };
        let mut secrets = Vec::new();
        for entry in entries {
            let name = entry.map_err(io_error("read", self.path()))?.file_name();
            if let Some(name) = name.to_str().filter(|name| name.ends_with(ending)) {
                secrets.push((name.to_owned(), self.read_secret(name)));
            }
        }
        Ok(secrets)
    }

    fn read_secret(&self, name: &str) -> Result<Vec<u8>, PkiError> {
        let path = self.path().join(name);
        let text = fs::read_to_string(&path).map_err(io_error("read", &path))?;
        let opened = keys::from_pem(SEALED, &text).and_then(|sealed| self.seal()?.open(name, &sealed));
        opened.ok_or(PkiError::DoesNotOpen { path })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Seal;

    /// Adds a number to each octet, and the name.
    #[derive(Debug)]
    struct Add(u8);

    impl Seal for Add {
        fn seal(&self, name: &str, content: &[u8]) -> Vec<u8> {
            name.bytes().chain(content.iter().map(|octet| octet.wrapping_add(self.0))).collect()
        }

        fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
            let content = sealed.strip_prefix(name.as_bytes())?;
            Some(content.iter().map(|octet| octet.wrapping_sub(self.0)).collect())
        }
    }

    #[test]
    fn a_secret_is_sealed_under_its_name_or_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let control = KeyDir::sealed(dir.path().join("control"), Arc::new(Add(1)));
        let keys = control.beside(dir.path().join("keys"));
        assert!(keys.read_secrets(".key").unwrap().is_empty());
        keys.write_secret("a.key", b"secret").unwrap();
        keys.write_secret("b.key", b"other").unwrap();
        keys.write_secret("note", b"no key").unwrap();
        let mut secrets = keys.read_secrets(".key").unwrap();
        secrets.sort_by(|one, other| one.0.cmp(&other.0));
        let secrets: Vec<_> = secrets.into_iter().map(|(name, secret)| (name, secret.unwrap())).collect();
        assert_eq!(
            secrets,
            [("a.key".to_owned(), b"secret".to_vec()), ("b.key".to_owned(), b"other".to_vec())]
        );
        let written = fs::read_to_string(dir.path().join("keys/a.key")).unwrap();
        assert!(written.starts_with("-----BEGIN HANSE SEALED KEY-----") && !written.contains("secret"));

        fs::rename(dir.path().join("keys/b.key"), dir.path().join("keys/a.key")).unwrap();
        let [(_, moved)] = &keys.read_secrets(".key").unwrap()[..] else { panic!("one is left") };
        assert!(
            matches!(moved, Err(PkiError::DoesNotOpen { .. })),
            "under another name it is another secret"
        );

        let plain = KeyDir::from(dir.path().join("plain"));
        assert!(matches!(plain.write_secret("a.key", b"secret"), Err(PkiError::NotSealed { .. })));
        assert!(!dir.path().join("plain").exists());
    }
}
