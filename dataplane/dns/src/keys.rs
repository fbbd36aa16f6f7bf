//! The TSIG keys of a responder (RFC 8945): each in a file of its own, by the name that DnsZones call it.
//!
//! Keys are the responder's and not the state's: else each agent of a region would hold keys of other name servers.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hanse_dns_wire::{
    Name, absolute,
    tsig::{Key, KeyError},
};
use hanse_runtime::{DomainName, Zone};

use crate::{config::TsigKey, key::NameKey, zones::Zones};

/// Mode bits of users that are neither the owner nor in the group. A group may read: orchestrators give secrets to one.
const OTHERS: u32 = 0o007;

/// The keys by their names. Both ends compare names without case.
#[derive(Debug, Default)]
pub(crate) struct Keys(HashMap<NameKey, Key>);

/// Why a key of the configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum BadKey {
    /// The file cannot be read.
    #[error("tsig.secret_file: cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Every user of the machine may read the file.
    #[error("tsig.secret_file: other users may read {0}; run `chmod o-rwx {0}`")]
    Open(PathBuf),
    /// What is in the file is no secret.
    #[error(
        "tsig.secret_file: {0} holds no base64 text alone; write the value of `secret` that `tsig-keygen` prints, without quotes"
    )]
    NoBase64(PathBuf),
    /// The name or the secret cannot be used.
    #[error("tsig: {0}")]
    Key(#[from] KeyError),
}

impl Keys {
    /// Reads the files. The configuration has been checked.
    pub(crate) fn read(configured: &[TsigKey]) -> Result<Self, BadKey> {
        let one = |configured: &TsigKey| {
            let name = absolute(&configured.name).expect("the names of a checked configuration are names");
            let secret = secret(&configured.secret_file)?;
            Ok((NameKey::of(&name), Key::new(name, &secret)?))
        };
        configured.iter().map(one).collect::<Result<_, BadKey>>().map(Self)
    }

    /// The key that a message says it was signed with.
    pub(crate) fn get(&self, name: &Name) -> Option<&Key> {
        self.0.get(&NameKey::of(name))
    }

    /// The key that a DnsZone names.
    pub(crate) fn of_zone(&self, name: &DomainName) -> Option<&Key> {
        self.0.get(&NameKey::of_domain(name))
    }

    /// The names of keys that zones name and that are not here, in order.
    pub(crate) fn missing(&self, zones: &Zones) -> BTreeSet<String> {
        let named = zones.iter().flat_map(|served| named(&served.zone));
        named.filter(|name| self.of_zone(name).is_none()).map(ToString::to_string).collect()
    }
}

/// The keys that a zone names.
fn named(zone: &Zone) -> impl Iterator<Item = &DomainName> {
    let secondaries = zone.secondaries.iter().map(|secondary| &secondary.key);
    secondaries.chain(zone.publish.iter().map(|publish| &publish.key))
}

fn secret(path: &Path) -> Result<Vec<u8>, BadKey> {
    let read = |source| BadKey::Read { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(read)?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(BadKey::Open(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(read)?;
    STANDARD.decode(text.trim()).map_err(|_| BadKey::NoBase64(path.to_owned()))
}

/// Keys without files.
#[cfg(test)]
pub(crate) fn test_keys(keys: &[(&str, &[u8])]) -> Keys {
    let one = |(name, secret): &(&str, &[u8])| {
        let name = absolute(name).unwrap();
        (NameKey::of(&name), Key::new(name, secret).unwrap())
    };
    Keys(keys.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs::Permissions};

    use hanse_proto::runtime;

    use super::*;
    use crate::{
        testbed::{zone, zone_entry},
        zones::ScopeIndex,
    };

    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";

    #[test]
    fn a_key_is_read_or_named_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("to-bind.key");
        let check = |name: &str, text: &str, mode: u32, wrong: Option<&str>| {
            let _ = fs::remove_file(&path); // of the row before
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = Keys::read(&[TsigKey { name: name.to_owned(), secret_file: path.clone() }]);
            match (read, wrong) {
                (Ok(keys), None) => assert!(keys.get(&absolute("TO-bind").unwrap()).is_some()),
                (Err(bad), Some(wrong)) => assert!(bad.to_string().contains(wrong), "{bad}"),
                (read, wrong) => panic!("{name} {text:?} {mode:o}: {read:?}, not {wrong:?}"),
            }
        };
        check("to-bind", SECRET, 0o600, None);
        check("To-Bind.", SECRET.trim(), 0o440, None);
        check("to-bind", SECRET, 0o644, Some("run `chmod o-rwx"));
        check("to-bind", SECRET, 0o602, Some("other users"));
        check("to-bind", "no secret!", 0o600, Some("no base64"));
        check("to-bind", "c2hvcnQ=", 0o600, Some("has 5 octets"));
        check(&format!("{}.{}", "a".repeat(63), "b".repeat(63)), SECRET, 0o600, Some("use one of at most"));
        fs::remove_file(&path).unwrap();
        let bad =
            Keys::read(&[TsigKey { name: "to-bind".to_owned(), secret_file: path.clone() }]).unwrap_err();
        assert!(matches!(bad, BadKey::Read { .. }), "{bad}");
    }

    #[test]
    fn keys_that_zones_name_and_nobody_configured_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, SECRET).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let mut zone = zone("gslb.example.com");
        let secondary = |key: &str, last: u8| runtime::Secondary {
            address: format!("192.0.2.{last}:53"),
            key: key.to_owned(),
        };
        zone.secondaries = vec![secondary("to-bind", 1), secondary("to-knot", 2), secondary("to-knot", 3)];
        zone.publish = Some(runtime::Publish {
            server: "192.0.2.7:53".to_owned(),
            key: "to-primary".to_owned(),
            from: vec!["eu-west".to_owned()],
        });
        let mut index = ScopeIndex::default();
        let zones = index.hold(vec![zone_entry(zone)], Vec::new(), &BTreeMap::new());
        assert!(index.quarantined().is_empty(), "{:?}", index.quarantined());
        let keys = Keys::read(&[TsigKey { name: "to-bind".to_owned(), secret_file: path }]).unwrap();
        assert_eq!(keys.missing(&zones).into_iter().collect::<Vec<_>>(), ["to-knot", "to-primary"]);
        assert!(keys.missing(&Zones::default()).is_empty());
    }
}
