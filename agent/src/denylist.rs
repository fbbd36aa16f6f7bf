//! Who is refused by name: learnt from the control plane, kept on disk, and held to with the control plane gone.

use std::{collections::BTreeSet, sync::Arc};

use hanse_link::{Lineage, Position, Revoked};
use hanse_transport::{Identity, KeyDigest, LiveTrust, Refused, Shutdown, telemetry};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::{Config, Error, ledger};

/// Its name in the agent's data directory.
const FILE: &str = "revoked";

/// The list as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The lineage's generation and id, and the revision of the list's last change.
    generation: u64,
    lineage: String,
    revision: u64,
    /// Who is refused by name.
    identities: Vec<String>,
    /// The keys, as hexadecimal SHA-256, of authorities that are refused. Files of before there were any do not name it.
    #[serde(default)]
    authorities: Vec<String>,
}

impl Kept {
    fn of(revoked: &Revoked) -> Self {
        Self {
            generation: revoked.as_of.lineage.generation,
            lineage: hex::encode(revoked.as_of.lineage.id),
            revision: revoked.as_of.revision,
            identities: revoked.identities.clone(),
            authorities: revoked.authorities.iter().map(hex::encode).collect(),
        }
    }

    fn refused(&self) -> Refused {
        Refused { identities: identities(&self.identities), keys: keys(&self.authorities) }
    }

    /// Where it stands; `None` where its lineage cannot be read, and then anything may follow it.
    fn position(&self) -> Option<Position> {
        let id = hex::decode(&self.lineage).ok()?.try_into().ok()?;
        let lineage = Lineage { generation: self.generation, id, parent: None };
        Some(Position { lineage, revision: self.revision })
    }

    /// Whether `revoked` is as late or later. A control node that lags must not take a revocation back.
    fn gives_way_to(&self, revoked: &Revoked) -> bool {
        self.position().is_none_or(|held| revoked.as_of.may_follow(&held))
    }
}

/// The list in force, and its file. What is in force is in memory: no trouble with the disk takes a refusal back.
pub(crate) struct Denylist {
    config: Arc<Config>,
    trust: LiveTrust,
    held: Option<Kept>,
    /// Whether the file says the same.
    is_written: bool,
}

impl Denylist {
    /// Refuses whom the list on disk refuses. To be called before anybody is let in.
    ///
    /// A list that cannot be read is moved aside and the agent starts: what the control plane says next counts. Not to start
    /// would stop the region for want of a list that is mostly empty.
    pub(crate) fn restore(config: Arc<Config>, trust: LiveTrust) -> Self {
        let held = ledger::read::<Kept>(&config.data_dir, FILE).unwrap_or_else(|error| {
            error!(
                error = %telemetry::causes(&error),
                "cannot read who is revoked: nobody is refused until a control node says who is"
            );
            if matches!(error, Error::Damaged { .. })
                && let Err(error) = ledger::set_aside(&config.data_dir, FILE)
            {
                error!(error = %telemetry::causes(&error), "cannot move the damaged list aside");
            }
            None
        });
        if let Some(held) = &held {
            trust.refuse(held.refused());
        }
        Self { config, trust, is_written: held.is_some(), held }
    }

    /// Refuses whom the control plane refuses, and keeps that, until the shutdown.
    pub(crate) async fn follow(mut self, mut told: watch::Receiver<Option<Revoked>>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                changed = told.changed() => if changed.is_err() { return },
            }
            let revoked = told.borrow_and_update().clone();
            if let Some(revoked) = revoked
                && let Err(error) = self.take(&revoked)
            {
                error!(error = %telemetry::causes(&error), "cannot keep who is revoked; it is refused until a restart");
            }
        }
    }

    /// Puts a list in force, unless a later one is held; then writes it down. What could not be written is tried again with
    /// whatever is heard next.
    fn take(&mut self, revoked: &Revoked) -> Result<(), Error> {
        let fresh = Kept::of(revoked);
        if self.held.as_ref().is_none_or(|held| *held != fresh && held.gives_way_to(revoked)) {
            self.trust.refuse(fresh.refused());
            info!(refused = fresh.identities.len(), revision = fresh.revision, "who is revoked has changed");
            self.held = Some(fresh);
            self.is_written = false;
        }
        if let Some(held) = self.held.as_ref().filter(|_| !self.is_written) {
            ledger::write(&self.config.data_dir, FILE, held)?;
            self.is_written = true;
        }
        Ok(())
    }
}

/// What cannot be read cannot be refused either: a later version's role, say.
fn identities(texts: &[String]) -> BTreeSet<Identity> {
    let read = |text: &String| {
        text.parse().inspect_err(|error| warn!(text, %error, "cannot refuse what is no identity")).ok()
    };
    texts.iter().filter_map(read).collect()
}

/// What is no digest is no key either.
fn keys(texts: &[String]) -> BTreeSet<KeyDigest> {
    let read = |text: &String| {
        let key = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        if key.is_none() {
            warn!(text, "cannot refuse what is no digest of a key");
        }
        key
    };
    texts.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use hanse_topology::Name;
    use hanse_transport::{Authority, key_digest};

    use super::*;
    use crate::Addresses;

    const GATEWAY: &str = "g.gateway.eu-west.hanse.internal";

    fn config(dir: &std::path::Path) -> Arc<Config> {
        let address = || "127.0.0.1:0".to_owned();
        Arc::new(Config {
            name: Name::new("agent-1").unwrap(),
            region: Name::new("eu-west").unwrap(),
            data_dir: dir.to_owned(),
            store_key: None,
            servers: Vec::new(),
            enrolment: Vec::new(),
            join_token_file: None,
            listen: Addresses { federation: address(), enrolment: address(), admin: address() },
            advertise: None,
        })
    }

    fn revoked(generation: u64, revision: u64, identities: &[&str]) -> Revoked {
        let lineage = Lineage { generation, id: [generation as u8; 16], parent: None };
        Revoked {
            as_of: Position { lineage, revision },
            identities: identities.iter().map(|identity| (*identity).to_owned()).collect(),
            authorities: Vec::new(),
        }
    }

    fn trust() -> LiveTrust {
        Authority::new_root().unwrap().trust_anchor().unwrap().into()
    }

    #[test]
    fn the_latest_list_holds_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let gateway: Identity = GATEWAY.parse().unwrap();
        let live = trust();
        let mut list = Denylist::restore(config.clone(), live.clone());
        let mut refused_after = |told: &Revoked| {
            list.take(told).unwrap();
            let restarted = trust();
            Denylist::restore(config.clone(), restarted.clone());
            assert_eq!(restarted.refuses(&gateway), live.refuses(&gateway));
            live.refuses(&gateway)
        };
        assert!(refused_after(&revoked(1, 5, &[GATEWAY, "x.king.eu-west.hanse.internal"])));
        assert!(refused_after(&revoked(1, 4, &[])), "a control node that lags takes nothing back");
        assert!(!refused_after(&revoked(1, 6, &[])));
        assert!(refused_after(&revoked(2, 1, &[GATEWAY])), "a later history counts, whatever its revision");
        assert!(refused_after(&revoked(1, 9, &[])), "and an earlier one does not");
    }

    /// Resolves if this key is refused now.
    fn is_refused(trust: &LiveTrust, authority: &Authority) -> bool {
        let refused = std::pin::pin!(trust.refuses_chain(authority.chain()));
        futures_util::FutureExt::now_or_never(refused).is_some()
    }

    #[test]
    fn the_authority_of_who_is_refused_is_refused_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let authority = Authority::new_root().unwrap();
        let live = trust();
        let key = key_digest(&authority.chain()[0]).unwrap();
        let told = Revoked { authorities: vec![key], ..revoked(1, 5, &[GATEWAY]) };
        Denylist::restore(config.clone(), live.clone()).take(&told).unwrap();
        let restarted = trust();
        Denylist::restore(config, restarted.clone());
        assert!(is_refused(&live, &authority) && is_refused(&restarted, &authority));
    }

    #[test]
    fn a_list_kept_before_there_were_authorities_holds() {
        let dir = tempfile::tempdir().unwrap();
        let id = "01".repeat(16);
        let kept =
            format!(r#"{{"generation": 1, "lineage": "{id}", "revision": 5, "identities": ["{GATEWAY}"]}}"#);
        std::fs::write(dir.path().join("revoked.json"), kept).unwrap();
        let live = trust();
        Denylist::restore(config(dir.path()), live.clone());
        assert!(live.refuses(&GATEWAY.parse().unwrap()));
    }

    #[test]
    fn no_trouble_with_the_disk_takes_a_refusal_back() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let gateway: Identity = GATEWAY.parse().unwrap();
        let live = trust();
        let mut list = Denylist::restore(config(&data_dir), live.clone());
        std::fs::write(&data_dir, "a file where the directory should be").unwrap();
        list.take(&revoked(1, 5, &[GATEWAY])).unwrap_err();
        assert!(live.refuses(&gateway), "it is refused before it is written");
        list.take(&revoked(1, 4, &[])).unwrap_err();
        assert!(live.refuses(&gateway), "memory knows what is later");
        std::fs::remove_file(&data_dir).unwrap();
        list.take(&revoked(1, 5, &[GATEWAY])).expect("it is written when it can be");
        let restarted = trust();
        Denylist::restore(config(&data_dir), restarted.clone());
        assert!(restarted.refuses(&gateway));
    }

    #[test]
    fn a_damaged_list_is_moved_aside_and_the_next_one_holds() {
        let dir = tempfile::tempdir().unwrap();
        let gateway: Identity = GATEWAY.parse().unwrap();
        std::fs::write(dir.path().join("revoked.json"), "{").unwrap();
        let live = trust();
        let mut list = Denylist::restore(config(dir.path()), live.clone());
        assert_eq!(std::fs::read_to_string(dir.path().join("revoked.json.damaged")).unwrap(), "{");
        assert!(!dir.path().join("revoked.json").exists());
        list.take(&revoked(1, 5, &[GATEWAY])).unwrap();
        assert!(live.refuses(&gateway));
    }
}
