//! Join tokens for gateways: minted on the agent's own machine, spent by it alone, so that a gateway can join with the
//! control plane gone. A token says which role joins with it; it may be any that agents admit.
//!
//! A token is a file with a digest in the agent's data directory: an account that may write there may admit gateways.

use std::time::Duration;

use hanse_identity::{Authority, JoinToken};
use hanse_process::{WallClock, json_file};
use hanse_proto::sync::MintedToken;
use hanse_topology::{Name, Role};
use rand::Rng;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{Config, Error, gateways::unsaid};

/// How long a token may wait for its gateway: a working day for the operator who rolls it out.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long an agent tells of a token that it made, beyond its lifetime: it bears more than a long weekend without a control plane.
const TOLD_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many of its tokens an agent tells of at once: with the environments of each, 19 KB at most, beside 43 KB of other facts in the 64 KiB
/// that a report may have of them.
const TOLD: usize = 64;
/// How long it tells of these before it tells of others: the leader records 16 a second, so all 64 are recorded by then.
const TURN_SECONDS: u64 = 60;
/// How many environments of a token are named.
const ENVIRONMENTS_TOLD: usize = 4;

/// What the agent keeps of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Minted {
    /// SHA-256 of the secret, in hexadecimal.
    digest: String,
    /// What the node that joins with it is; a gateway unless said.
    #[serde(default = "unsaid")]
    role: Role,
    /// The environments the node may learn; empty: all of the agent's.
    environments: Vec<Name>,
    /// Unix seconds.
    expires_at: u64,
    /// Unix seconds; 0 in a file of an earlier release.
    #[serde(default)]
    minted_at: u64,
    /// SHA-256 of the public key that spent it, in hexadecimal: the same gateway asking again (its answer was lost) is
    /// answered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spent_by: Option<String>,
    /// The name that the gateway joined under with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spent_as: Option<Name>,
}

/// Makes a join token for one node of a role that agents admit, and returns it; only its digest is kept.
pub fn mint_token(config: &Config, role: Role, environments: &[Name]) -> Result<String, Error> {
    mint_token_by(&WallClock::system(), config, role, environments)
}

/// The same, by another clock than the system's.
pub fn mint_token_by(
    clock: &WallClock,
    config: &Config,
    role: Role,
    environments: &[Name],
) -> Result<String, Error> {
    if role.admitted_by() != Role::Agent {
        return Err(Error::NotAdmitted(role));
    }
    if !environments.is_empty() && !role.has_environments() {
        return Err(Error::NoEnvironments(role));
    }
    let now = clock.unix_seconds();
    if !config.authority_dir().exists() {
        return Err(Error::NotEnrolled);
    }
    let anchor = Authority::load(config.authority_dir())?.trust_anchor()?;
    let id = Name::new(format!("gw-{}", hex::encode(rand::rng().random::<[u8; 5]>())))
        .expect("a letter prefix and hexadecimal digits are a name");
    let token = JoinToken::generate(id.clone(), &anchor);
    let minted = Minted {
        digest: hex::encode(token.secret_digest()),
        role,
        environments: environments.to_vec(),
        expires_at: now + LIFETIME.as_secs(),
        minted_at: now,
        spent_by: None,
        spent_as: None,
    };
    forget_expired(config, now)?;
    json_file::write(&config.tokens_dir(), id.as_str(), &minted)?;
    Ok(token.to_string())
}

/// The tokens that this agent made of late, the oldest first: what the control plane notes in the audit. Of more than it tells at once,
/// it tells others each minute, and so of each in turn.
pub(crate) fn of_late(config: &Config, now: u64) -> Result<Vec<MintedToken>, Error> {
    let dir = config.tokens_dir();
    let mut found = Vec::new();
    for id in json_file::names(&dir)? {
        // One that cannot be read admits nobody.
        let Ok(Some(minted)) = json_file::read::<Minted>(&dir, &id) else { continue };
        if minted.expires_at + TOLD_FOR.as_secs() <= now {
            continue;
        }
        let environments = minted.environments.iter().take(ENVIRONMENTS_TOLD).map(Name::to_string);
        found.push(MintedToken {
            id,
            minted_at: minted.minted_at,
            role: minted.role.as_str().to_owned(),
            environments: environments.collect(),
            environments_total: u32::try_from(minted.environments.len()).unwrap_or(u32::MAX),
        });
    }
    found.sort_by(|a, b| (a.minted_at, &a.id).cmp(&(b.minted_at, &b.id)));
    Ok(told_at(found, now))
}

/// Those that are told in this minute.
fn told_at<T>(mut all: Vec<T>, now: u64) -> Vec<T> {
    let turns = all.len().div_ceil(TOLD).max(1) as u64;
    let turn = usize::try_from(now / TURN_SECONDS % turns).unwrap_or_default();
    all.drain(..turn * TOLD);
    all.truncate(TOLD);
    all
}

/// Removes the files of tokens that can no longer be used, and that were told long enough.
fn forget_expired(config: &Config, now: u64) -> Result<(), Error> {
    let dir = config.tokens_dir();
    for id in json_file::names(&dir)? {
        match json_file::read::<Minted>(&dir, &id) {
            Ok(Some(minted)) if minted.expires_at + TOLD_FOR.as_secs() <= now => {
                json_file::remove(&dir, &id)?;
            }
            Ok(_not_yet) => {}
            // Of a later release, say. It admits nobody.
            Err(error) => {
                warn!(token = %id, error = &error as &dyn std::error::Error, "a token cannot be read")
            }
        }
    }
    Ok(())
}

/// A token that was shown with its secret.
pub(crate) struct Shown {
    id: Name,
    minted: Minted,
}

impl Shown {
    /// What its node is.
    pub(crate) fn role(&self) -> Role {
        self.minted.role
    }

    /// The environments its node may learn.
    pub(crate) fn environments(&self) -> &[Name] {
        &self.minted.environments
    }

    /// Whether another spent it: a token is for one name and one key. The same gateway asking again (its answer was lost) is
    /// answered again. A token that was spent before names were kept goes by the key alone.
    pub(crate) fn is_spent_by_another(&self, name: &Name, key: &str) -> bool {
        self.minted.spent_by.as_deref().is_some_and(|spender| spender != key)
            || self.minted.spent_as.as_ref().is_some_and(|spender| spender != name)
    }
}

/// Looks a token up. `None`: unknown, expired or with a wrong secret, which are not told apart.
pub(crate) fn check(config: &Config, id: &str, secret: &[u8], now: u64) -> Result<Option<Shown>, Error> {
    // Parsed as a name first: it becomes part of a path.
    let Ok(id) = Name::new(id) else { return Ok(None) };
    let Some(minted) = json_file::read::<Minted>(&config.tokens_dir(), id.as_str())? else { return Ok(None) };
    let right =
        minted.digest == hex::encode(hanse_identity::digest_secret(secret)) && now < minted.expires_at;
    Ok(right.then_some(Shown { id, minted }))
}

/// Spends a token: from now on it is of use to this name and key only.
pub(crate) fn spend(config: &Config, shown: &Shown, name: &Name, key: &str) -> Result<(), Error> {
    let (spent_by, spent_as) = (Some(key.to_owned()), Some(name.clone()));
    let spent = Minted { spent_by, spent_as, ..shown.minted.clone() };
    Ok(json_file::write(&config.tokens_dir(), shown.id.as_str(), &spent)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::config;

    #[test]
    fn a_token_admits_once_with_its_secret_and_not_after_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let now = WallClock::system().unix_seconds();
        assert!(matches!(mint_token(&config, Role::Gateway, &[]), Err(Error::NotEnrolled)));

        let root = Authority::new_root().unwrap();
        let control = root.new_control_intermediate(&Name::new("cp-1").unwrap()).unwrap();
        control.new_regional_intermediate(&config.region).unwrap().save(config.authority_dir()).unwrap();
        let production = Name::new("production").unwrap();
        let token: JoinToken =
            mint_token(&config, Role::Gateway, std::slice::from_ref(&production)).unwrap().parse().unwrap();
        for role in [Role::Server, Role::Agent] {
            let refused = mint_token(&config, role, &[]);
            assert!(matches!(refused, Err(Error::NotAdmitted(of)) if of == role), "{role}");
        }
        let limited = mint_token(&config, Role::Dns, std::slice::from_ref(&production));
        assert!(matches!(limited, Err(Error::NoEnvironments(Role::Dns))));

        let id = token.id().as_str();
        assert!(check(&config, id, b"another secret", now).unwrap().is_none());
        assert!(check(&config, "gw-0000000000", token.secret(), now).unwrap().is_none());
        assert!(check(&config, "../pki/region", token.secret(), now).unwrap().is_none(), "no path escapes");

        let shown = check(&config, id, token.secret(), now).unwrap().expect("it is the right one");
        assert_eq!((shown.role(), shown.environments()), (Role::Gateway, &[production][..]));
        let (g1, g2) = (Name::new("g-1").unwrap(), Name::new("g-2").unwrap());
        assert!(!shown.is_spent_by_another(&g1, "key-1"));
        spend(&config, &shown, &g1, "key-1").unwrap();
        let again = check(&config, id, token.secret(), now).unwrap().expect("its answer may have been lost");
        assert!(!again.is_spent_by_another(&g1, "key-1"));
        for (name, key) in [(&g1, "key-2"), (&g2, "key-1"), (&g2, "key-2")] {
            assert!(again.is_spent_by_another(name, key), "{name} {key}");
        }

        let late: JoinToken = mint_token(&config, Role::Gateway, &[]).unwrap().parse().unwrap();
        let tomorrow = now + LIFETIME.as_secs() + 60;
        assert!(
            check(&config, late.id().as_str(), late.secret(), tomorrow).unwrap().is_none(),
            "it has expired"
        );

        let (clock, hand) = WallClock::simulated(std::time::SystemTime::now());
        let told: Vec<_> = of_late(&config, now).unwrap();
        assert_eq!(told.len(), 2);
        let first = told.iter().find(|told| told.id == id).unwrap();
        assert_eq!(
            (first.role.as_str(), first.environments.as_slice()),
            ("gateway", &["production".to_owned()][..])
        );
        assert!(first.minted_at >= now && first.environments_total == 1);
        hand.advance(LIFETIME + TOLD_FOR + Duration::from_secs(60));
        assert_eq!(of_late(&config, clock.unix_seconds()).unwrap().len(), 0, "it is told no more");
        mint_token_by(&clock, &config, Role::Gateway, &[]).unwrap();
        let dir = config.tokens_dir();
        assert!(json_file::read::<Minted>(&dir, late.id().as_str()).unwrap().is_none(), "and is forgotten");
    }

    #[test]
    fn every_token_has_its_turn_to_be_told() {
        for count in [0, 1, TOLD, TOLD + 1, 5 * TOLD] {
            let all: Vec<usize> = (0..count).collect();
            let turns =
                (0..all.len().div_ceil(TOLD) as u64).map(|turn| told_at(all.clone(), turn * TURN_SECONDS));
            let told: Vec<usize> = turns.inspect(|told| assert!(told.len() <= TOLD)).flatten().collect();
            assert_eq!(told, all);
        }
    }
}
