//! Every version of the federation key, wrapped to another recovery key.

use hanse_identity::{PkiError, WrappedAs, check_public_key, public_key_from_pem, wrap_key};
use hanse_management::{Problem, ProblemName};
use hanse_process::telemetry;
use hanse_state::{RecoveryKey, State, port::RecoveryWrapping};

use super::keyring::Keys;

/// See the module.
pub(crate) struct Rewrap(pub(crate) Keys);

impl RecoveryWrapping for Rewrap {
    fn read(&self, sign: &str, wrap: &str) -> Result<RecoveryKey, Problem> {
        let read = |field: &str, pem: &str| {
            public_key_from_pem(pem).and_then(|key| check_public_key(&key).map(|()| key)).map_err(|error| {
                Problem::new(ProblemName::Invalid, telemetry::causes(&error).to_string())
                    .at(format!("body: {field}"))
                    .remedy("give a public key of P-256 as PEM, as hanse recovery-key new makes it")
            })
        };
        Ok(RecoveryKey { sign: read("sign", sign)?, wrap: read("wrap", wrap)? })
    }

    fn wrapped(&self, state: &State, recovery: &RecoveryKey) -> Result<Vec<Vec<u8>>, Problem> {
        let (keyring, keys) = (self.0.current(), state.federation_keys());
        let pending = keys.pending().map(|(pending, _)| pending);
        let wrapped = keys.versions().map(|(version, known)| {
            match keyring.key(&known.digest) {
                Some(key) => {
                    wrap_key(&recovery.wrap, WrappedAs { version, digest: &known.digest }, key.bytes())
                        .map_err(|error| cannot_wrap(&error))
                }
                None if known.used || pending == Some(version) => Err(lacks(version)),
                // It was skipped: nothing is sealed with it, and there may be no node that has it.
                None => Ok(Vec::new()),
            }
        });
        wrapped.collect()
    }
}

fn cannot_wrap(error: &PkiError) -> Problem {
    Problem::new(ProblemName::Internal, telemetry::causes(error).to_string())
}

fn lacks(version: u32) -> Problem {
    let detail = format!("this control node lacks version {version} of the federation key");
    Problem::new(ProblemName::Busy, detail).remedy("ask another control node, or try again")
}

#[cfg(test)]
mod tests {
    use hanse_identity::KeyPair;
    use hanse_state::State;

    use super::*;
    use crate::secrets::{Key, Keyring, fixture::Federation};

    #[test]
    fn every_version_opens_with_the_other_pair() {
        let keys: Vec<_> = (1..=3).map(|byte| Key::from([byte; 32])).collect();
        let mut federation = Federation::new();
        // Version 2 was skipped.
        federation.add(&keys[0]).used(1).rotate().add(&keys[1]).add(&keys[2]);
        let state: &State = &federation.state;
        let pair = KeyPair::generate().unwrap();
        let (sign, wrap) = (KeyPair::generate().unwrap(), pair.public_key_pem());
        let holding = |held: &[Key]| Rewrap(Keys::fixed(held.iter().cloned().collect::<Keyring>()));
        let recovery = holding(&[]).read(&sign.public_key_pem(), &wrap).unwrap();
        assert_eq!(recovery.wrap, pair.public_key_der());

        let wrapped = holding(&[keys[0].clone(), keys[2].clone()]).wrapped(state, &recovery).unwrap();
        let open = |version: u32| {
            let digest = keys[version as usize - 1].digest();
            pair.unwrap_key(WrappedAs { version, digest: &digest }, &wrapped[version as usize - 1])
        };
        assert_eq!((open(1), open(2), open(3)), (Some([1; 32]), None, Some([3; 32])));
        for lacks in [&keys[..1], &keys[1..]] {
            let problem = holding(lacks).wrapped(state, &recovery).unwrap_err();
            assert_eq!(problem.name, ProblemName::Busy);
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused_with_its_field() {
        let (good, rewrap) =
            (KeyPair::generate().unwrap().public_key_pem(), Rewrap(Keys::fixed(Keyring::default())));
        let field = |sign: &str, wrap: &str| rewrap.read(sign, wrap).unwrap_err().field;
        assert_eq!(field("", &good), "body: sign");
        assert_eq!(field(&good, &good.replace("PUBLIC", "PRIVATE")), "body: wrap");
    }
}
