//! Seals Secrets with the versions of the federation key that this node holds.

use hanse_management::{Problem, ProblemName, ResourceKey, kinds::SealedValue};
use hanse_state::{
    FederationKeys,
    port::{Sealing, ToSeal},
};
use sha2::{Digest as _, Sha256};

use super::{
    cipher::{self, Place},
    key::Key,
    keyring::{Keys, Unopened},
};

impl Sealing for Keys {
    fn seal(&self, keys: &FederationKeys, value: ToSeal<'_>, data: &str) -> Result<SealedValue, Problem> {
        let keyring = self.current();
        let ToSeal { secret, field, version, present } = value;
        let place = place(secret, field)?;
        let key = keyring.of_version(keys, version).ok_or_else(|| lacks(version))?;
        let sealed = sealed(key, version, place, data.as_bytes()).ok_or_else(|| {
            Problem::new(ProblemName::Internal, format!("{secret}: sealed data does not open"))
                .remedy("report it; nothing was changed")
        })?;
        let same_as = match present.filter(|present| present.version != version) {
            Some(present) => {
                let opened = match keyring.open(keys, secret, field, present) {
                    Err(Unopened::Lacks(version)) => return Err(lacks(version)),
                    opened => opened.ok(),
                };
                let is_equal = opened.as_deref() == Some(data.as_bytes());
                is_equal.then(|| Sha256::digest(&present.sealed).into())
            }
            None => None,
        };
        Ok(SealedValue { version, sealed, same_as })
    }
}

/// Seals data, and opens it again: what does not open is lost for good, so it is tried before anything rests on it. `None`: it does not
/// open.
pub(super) fn sealed(key: &Key, version: u32, place: Place<'_>, data: &[u8]) -> Option<Vec<u8>> {
    let sealed = cipher::seal(key, version, place, data);
    (cipher::open(key, version, place, &sealed).as_deref() == Some(data)).then_some(sealed)
}

pub(super) fn place<'a>(secret: &'a ResourceKey, field: &'a str) -> Result<Place<'a>, Problem> {
    let organization = secret
        .organization
        .as_ref()
        .ok_or_else(|| Problem::new(ProblemName::Internal, format!("{secret} belongs to no organization")))?;
    Ok(Place { organization: organization.as_str(), name: secret.name.as_str(), field })
}

fn lacks(version: u32) -> Problem {
    let detail =
        format!("this control node lacks version {version} of the federation key, which seals Secrets");
    Problem::new(ProblemName::Busy, detail).remedy("ask another control node, or try again")
}

#[cfg(test)]
mod tests {
    use hanse_management::Kind;
    use hanse_topology::Name;

    use super::*;
    use crate::secrets::fixture::Federation;

    fn secret() -> ResourceKey {
        let name = |name: &str| Name::new(name).unwrap();
        ResourceKey::owned(Kind::Secret, name("shop"), name("upstream"))
    }

    fn seal(
        held: &[&Key],
        federation: &Federation,
        version: u32,
        present: Option<&SealedValue>,
        data: &str,
    ) -> Result<SealedValue, Problem> {
        let keys = Keys::fixed(held.iter().map(|key| (*key).clone()).collect());
        let secret = secret();
        let value = ToSeal { secret: &secret, field: "password", version, present };
        keys.seal(federation.state.federation_keys(), value, data)
    }

    #[test]
    fn equal_data_under_another_version_is_told() {
        let (first, second) = (Key::from([1; 32]), Key::from([2; 32]));
        let mut federation = Federation::new();
        federation.add(&first).used(1);
        let old = seal(&[&first], &federation, 1, None, "private").unwrap();
        assert_eq!((old.version, old.same_as), (1, None));
        assert_eq!(seal(&[&first], &federation, 1, Some(&old), "private").unwrap(), old);
        federation.rotate().add(&second).used(2);
        let both = [&first, &second];
        let same = seal(&both, &federation, 2, Some(&old), "private").unwrap();
        assert_eq!(same.same_as, Some(Sha256::digest(&old.sealed).into()));
        assert_ne!(same.sealed, old.sealed);
        assert_eq!(seal(&both, &federation, 2, Some(&old), "other").unwrap().same_as, None);
        let altered = SealedValue { sealed: old.sealed[1..].to_vec(), ..old };
        assert_eq!(seal(&both, &federation, 2, Some(&altered), "private").unwrap().same_as, None);
    }

    #[test]
    fn a_node_that_lacks_a_version_says_so_and_seals_nothing() {
        let (first, second) = (Key::from([1; 32]), Key::from([2; 32]));
        let mut federation = Federation::new();
        federation.add(&first).used(1);
        let old = seal(&[&first], &federation, 1, None, "private").unwrap();
        federation.rotate().add(&second).used(2);
        for (held, present, lacks) in [
            (&[&first][..], None, "version 2"),
            (&[&second], Some(&old), "version 1"),
            (&[], None, "version 2"),
        ] {
            let problem = seal(held, &federation, 2, present, "private").unwrap_err();
            assert_eq!(problem.name, ProblemName::Busy);
            assert!(problem.detail.contains(lacks) && !problem.to_string().contains("private"), "{problem}");
        }
        seal(&[&second], &federation, 2, None, "private").unwrap();
    }
}
