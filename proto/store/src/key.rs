//! The key that seals a store's own key. It is kept outside of the data directory.

use std::{
    env, fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// Octets of a key: AES-256.
pub(crate) const KEY_BYTES: usize = 32;
/// Random octets in the name of a file that is being made: no two processes use the same.
const NAME_BYTES: usize = 8;
/// Keys are for the owner alone.
const MODE: u32 = 0o600;
/// Mode bits of others than the owner.
const OTHERS: u32 = 0o077;

/// Where the key that opens a node's store comes from. It must not lie in the data directory: a copy of that,
/// a backup or a disk, is unreadable without this key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKey {
    /// `{ file = "PATH" }`: a file with 64 hexadecimal digits, mode 0600, made if it is not there.
    File(PathBuf),
    /// `{ environment = "VARIABLE" }`: a variable with 64 hexadecimal digits.
    Environment(String),
    /// `{ secret = "PATH" }`: a file from outside, such as a mounted Kubernetes Secret, with 64 hexadecimal
    /// digits or 32 octets. Never made.
    Secret(PathBuf),
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("store_key: cannot {action} {path}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The variable is not set.
    #[error("store_key: the environment variable {0} is not set")]
    Variable(String),
    /// There is no file, and none is to be made.
    #[error("store_key: {0} is gone; put it back")]
    Lost(PathBuf),
    /// What is there is no key.
    #[error(
        "store_key: {0} holds no key: 64 hexadecimal digits are needed (make one with `openssl rand -hex 32`)"
    )]
    NoKey(String),
}

pub(crate) type Key = [u8; KEY_BYTES];

impl StoreKey {
    /// The default: a file beside the data directory, of the same name with `.store-key`.
    pub fn beside(data_dir: &Path) -> Self {
        // `data/..` and the like have no name of their own before they are resolved.
        let resolved = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        let resolved = resolved.canonicalize().unwrap_or(resolved);
        let name =
            resolved.file_name().map_or_else(|| "hanse".into(), |name| name.to_string_lossy().into_owned());
        Self::File(resolved.with_file_name(format!("{name}.store-key")))
    }

    /// Whether it lies in `dir` or below, where it protects nothing.
    pub(crate) fn lies_in(&self, dir: &Path) -> bool {
        match self {
            // A link in `dir` to a file elsewhere is in no copy of it, and one elsewhere to a file in it is.
            Self::File(path) | Self::Secret(path) => resolved(path).starts_with(resolved(dir)),
            Self::Environment(_) => false,
        }
    }

    /// Reads the key. A [`Self::File`] that is not there is made.
    pub(crate) fn load_or_make(&self) -> Result<Key, KeyError> {
        if let (Self::File(path), Err(KeyError::Lost(_))) = (self, self.load()) {
            make(path).map_err(|source| KeyError::File { action: "make", path: path.clone(), source })?;
        }
        // Also after it was made: the key in the file counts, which another process may have made first.
        self.load()
    }

    /// Reads the key. Makes none.
    pub(crate) fn load(&self) -> Result<Key, KeyError> {
        match self {
            Self::File(path) => match fs::read(path) {
                Ok(content) => {
                    warn_of_readers(path);
                    parse(&content).ok_or_else(|| KeyError::NoKey(path.display().to_string()))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(KeyError::Lost(path.clone())),
                Err(source) => Err(KeyError::File { action: "read", path: path.clone(), source }),
            },
            Self::Environment(variable) => {
                let text = env::var(variable).map_err(|_| KeyError::Variable(variable.clone()))?;
                parse_digits(text.as_bytes()).ok_or_else(|| KeyError::NoKey(variable.clone()))
            }
            Self::Secret(path) => {
                let read = fs::read(path);
                let content =
                    read.map_err(|source| KeyError::File { action: "read", path: path.clone(), source })?;
                parse(&content).ok_or_else(|| KeyError::NoKey(path.display().to_string()))
            }
        }
    }
}

/// Where it is, for people.
impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Secret(path) => path.display().fmt(f),
            Self::Environment(variable) => write!(f, "the environment variable {variable}"),
        }
    }
}

/// A fresh random key.
pub(crate) fn random() -> Key {
    let mut key = [0; KEY_BYTES];
    rand::fill(&mut key).expect("the system's source of randomness works, or nothing that is secret does");
    key
}

fn parse(content: &[u8]) -> Option<Key> {
    content.try_into().ok().or_else(|| parse_digits(content))
}

fn parse_digits(content: &[u8]) -> Option<Key> {
    let mut key = [0; KEY_BYTES];
    hex::decode_to_slice(content.trim_ascii(), &mut key).ok()?;
    Some(key)
}

/// The path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = path.ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    match existing.and_then(|(ancestor, real)| Some(real.join(path.strip_prefix(ancestor).ok()?))) {
        // Joined with nothing, it would end with a separator.
        Some(real) => real.components().collect(),
        None => path,
    }
}

/// Makes the file, whole or not at all. A file that another process made meanwhile stays: it may have sealed something with it.
fn make(path: &Path) -> io::Result<()> {
    // Under a name that no other process uses. A crash leaves it, with a key that seals nothing.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}.new", hex::encode(&random()[..NAME_BYTES])));
    let fresh = PathBuf::from(fresh);
    // The parent of a bare name is empty, and means here.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let published = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&fresh)?;
        file.write_all(format!("{}\n", hex::encode(random())).as_bytes())?;
        file.sync_all()?;
        // A rename would replace the file of another process.
        fs::hard_link(&fresh, path)
    };
    let published = published();
    let removed = fs::remove_file(&fresh);
    match published {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => removed?,
    }
    File::open(parent)?.sync_all()
}

fn warn_of_readers(path: &Path) {
    let mode = fs::metadata(path).map_or(MODE, |metadata| metadata.permissions().mode());
    if mode & OTHERS != 0 {
        warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others may read the store's key; chmod 600 it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_once_and_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("agent");
        let StoreKey::File(path) = StoreKey::beside(&data) else { panic!("a file") };
        assert_eq!(path.file_name().unwrap(), "agent.store-key");
        assert!(!StoreKey::File(path.clone()).lies_in(&data));
        assert!(StoreKey::File(data.join("keys/k")).lies_in(&data));
        let key = StoreKey::File(path.clone());
        let made = key.load_or_make().unwrap();
        assert_eq!(key.load_or_make().unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_ne!(StoreKey::File(dir.path().join("other")).load_or_make().unwrap(), made);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn a_lost_file_is_not_made_by_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(matches!(StoreKey::File(path.clone()).load(), Err(KeyError::Lost(_))));
        assert!(!path.exists());
    }

    #[test]
    fn all_who_make_one_file_at_once_have_the_key_that_stays() {
        /// As many as find it absent at once.
        const MAKERS: usize = 8;
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("key");
            let key = StoreKey::File(path.clone());
            let barrier = std::sync::Barrier::new(MAKERS);
            let made: Vec<Key> = std::thread::scope(|scope| {
                let make = || {
                    barrier.wait();
                    make(&path).unwrap();
                    key.load().unwrap()
                };
                let makers: Vec<_> = (0..MAKERS).map(|_| scope.spawn(make)).collect();
                makers.into_iter().map(|maker| maker.join().unwrap()).collect()
            });
            let stays = key.load().unwrap();
            assert!(made.iter().all(|key| *key == stays));
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");
        }
    }

    #[test]
    fn a_bare_name_is_a_file_here() {
        let name = format!("hanse-test-{}.store-key", std::process::id());
        let key = StoreKey::File(name.clone().into());
        let (made, again) = (key.load_or_make(), key.load());
        fs::remove_file(&name).unwrap();
        assert_eq!(made.unwrap(), again.unwrap());
        assert!(key.lies_in(Path::new(".")) && !key.lies_in(Path::new("/nowhere")));
    }

    #[test]
    fn links_are_followed_to_where_the_key_lies() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (data, safe) = (dir.path().join("data"), dir.path().join("safe"));
        fs::create_dir(&data).unwrap();
        fs::create_dir(&safe).unwrap();
        symlink(&data, dir.path().join("link-to-data")).unwrap();
        symlink(&safe, data.join("link-to-safe")).unwrap();
        fs::write(safe.join("present"), "").unwrap();
        symlink(safe.join("present"), data.join("link-to-key")).unwrap();
        let table = [
            ("data/k", true),
            ("link-to-data/k", true),
            ("link-to-data/not/yet/k", true),
            ("data/link-to-safe/k", false),
            ("data/link-to-key", false),
            ("data-2/k", false),
        ];
        for (path, expected) in table {
            for key in [StoreKey::File(dir.path().join(path)), StoreKey::Secret(dir.path().join(path))] {
                assert_eq!(key.lies_in(&data), expected, "{path}");
                assert_eq!(key.lies_in(&dir.path().join("link-to-data")), expected, "{path}");
            }
        }
    }

    #[test]
    fn secrets_are_read_and_never_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let secret = StoreKey::Secret(path.clone());
        assert!(matches!(secret.load_or_make(), Err(KeyError::File { .. })));
        assert!(!path.exists());
        fs::write(&path, [7; KEY_BYTES]).unwrap();
        assert_eq!(secret.load_or_make().unwrap(), [7; KEY_BYTES]);
        fs::write(&path, format!(" {}\n", "08".repeat(KEY_BYTES))).unwrap();
        assert_eq!(secret.load_or_make().unwrap(), [8; KEY_BYTES]);
        for wrong in ["", "08", &"0g".repeat(KEY_BYTES)] {
            fs::write(&path, wrong).unwrap();
            assert!(matches!(secret.load_or_make(), Err(KeyError::NoKey(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let error = StoreKey::Environment("HANSE_TEST_NO_SUCH_KEY".to_owned()).load().unwrap_err();
        assert!(error.to_string().contains("HANSE_TEST_NO_SUCH_KEY"), "{error}");
    }

    #[test]
    fn configurations_name_one_source() {
        #[derive(Deserialize)]
        struct Config {
            store_key: StoreKey,
        }
        let read = |text: &str| toml::from_str::<Config>(text).map(|config| config.store_key);
        assert_eq!(read("store_key = { file = \"k\" }").unwrap(), StoreKey::File("k".into()));
        assert_eq!(read("store_key = { environment = \"K\" }").unwrap(), StoreKey::Environment("K".into()));
        assert_eq!(read("[store_key]\nsecret = \"k\"").unwrap(), StoreKey::Secret("k".into()));
        assert!(read("store_key = { file = \"k\", secret = \"k\" }").is_err());
        assert!(read("store_key = { vault = \"k\" }").is_err());
    }
}
