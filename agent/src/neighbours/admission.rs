//! What other agents of the region may learn from this one.

use std::{collections::BTreeSet, sync::Arc};

use hanse_identity::PeerKeys;
use hanse_link::{Admission, HeldHead, Offer, Unknown};
use hanse_local::Directory;
use hanse_process::Shutdown;
use hanse_topology::{Identity, Name, Role, ScopeId};
use tokio::sync::watch;

use crate::admission::LocalScopes;

/// An agent of this region that joined, under the key that it joined with, may learn the local scopes that this agent holds, of the
/// environments that it may learn. It learns nothing that comes from the control plane: no other scope, no revocation, no root. One
/// agent that an attacker took over could otherwise speak for the control plane.
pub(crate) struct NeighbourAdmission {
    region: Name,
    directory: watch::Receiver<Arc<Directory>>,
    local: LocalScopes,
    changed: watch::Receiver<u64>,
}

/// What the answers come from.
#[derive(Clone)]
pub(crate) struct Answers {
    sender: watch::Sender<u64>,
    directory: watch::Receiver<Arc<Directory>>,
    held: watch::Receiver<BTreeSet<ScopeId>>,
}

impl NeighbourAdmission {
    /// The admission, and what says when its answers may have changed.
    pub(crate) fn new(
        region: Name,
        directory: watch::Receiver<Arc<Directory>>,
        local: LocalScopes,
    ) -> (Self, Answers) {
        let (sender, changed) = watch::channel(0);
        let answers = Answers { sender, directory: directory.clone(), held: local.held.clone() };
        (Self { region, directory, local, changed }, answers)
    }
}

impl Answers {
    /// Fires when the agents of the region or the local scopes that are held have changed; and once at the beginning.
    pub(crate) async fn watch(mut self, shutdown: Shutdown) {
        loop {
            self.sender.send_modify(|version| *version += 1);
            let changed = tokio::select! {
                () = shutdown.wait() => return,
                changed = self.directory.changed() => changed,
                changed = self.held.changed() => changed,
            };
            if changed.is_err() {
                return; // what answers come from ends with the agent
            }
        }
    }
}

impl Admission for NeighbourAdmission {
    fn offer_to(&self, peer: &Identity, keys: &PeerKeys) -> Result<Offer, Unknown> {
        let unknown = |why: String| Err(Unknown { why });
        if peer.role != Role::Agent || peer.region.as_ref() != Some(&self.region) {
            return unknown(format!("{peer} is no agent of {}", self.region));
        }
        let directory = self.directory.borrow();
        let Some(neighbour) = directory.get(&peer.name) else {
            return unknown(format!(
                "this agent does not know that {peer} joined: try again, it may not have heard of it yet"
            ));
        };
        if neighbour.key != keys.issuer_digest() {
            return unknown(format!(
                "as far as this agent knows, {peer} joined with another key: try again, it may not have heard of a new one yet"
            ));
        }
        let may_learn = |scope: &&ScopeId| {
            let is_named =
                |environment: &Name| neighbour.environments.iter().any(|own| own == environment.as_str());
            neighbour.environments.is_empty() || scope.environment().is_some_and(is_named)
        };
        let scopes = self.local.held.borrow().iter().filter(may_learn).cloned().collect();
        // A local scope ends with its Origin, also where a neighbour still offers it.
        Ok(Offer { scopes, as_of: None })
    }

    /// Only agents of the region have anything to ask of a neighbour.
    fn may_call(&self, peer: &Identity, keys: &PeerKeys) -> Result<(), Unknown> {
        self.offer_to(peer, keys).map(drop)
    }

    fn note_head(&self, scope: &ScopeId, head: &HeldHead) {
        self.local.holding.meet(scope, head);
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

#[cfg(test)]
mod tests {
    use hanse_identity::{Authority, LiveAuthority};
    use hanse_link::Replicas;
    use hanse_local::{Holding, OriginKeeper, Wishes};
    use hanse_runtime::Neighbour;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn keys(issuer: &[u8]) -> PeerKeys {
        PeerKeys { own: b"leaf".to_vec(), issuer: issuer.to_vec() }
    }

    fn agent(text: &str) -> Neighbour {
        Neighbour {
            name: text.to_owned(),
            key: keys(text.as_bytes()).issuer_digest(),
            environments: Vec::new(),
            address: None,
            relay: false,
        }
    }

    #[tokio::test]
    async fn an_agent_of_the_region_is_known_by_name_and_key_and_gets_local_scopes_only() {
        let root = Authority::new_root().unwrap();
        let region = root.new_control_intermediate(&name("cp-1")).unwrap();
        let region = LiveAuthority::new(region.new_regional_intermediate(&name("eu-west")).unwrap());
        let (_keeper, origins) = OriginKeeper::new(Replicas::new(), root.trust_anchor().unwrap().into());
        let wishes = watch::channel(Wishes::new()).1;
        let (_holding, holding) = Holding::new(Replicas::new(), origins, region, wishes);
        let scopes = ["local/eu-west/production/pods", "local/eu-west/sandbox/pods"];
        let (_hold, held) = watch::channel(scopes.map(|scope| scope.parse().unwrap()).into());
        let restricted = Neighbour { environments: vec!["sandbox".to_owned()], ..agent("b") };
        let directory = Directory::from([(name("a"), agent("a")), (name("b"), restricted)]);
        let (change, known) = watch::channel(Arc::new(directory));
        let (admission, answers) =
            NeighbourAdmission::new(name("eu-west"), known, LocalScopes { held, holding });
        let (_trigger, shutdown) = hanse_process::ShutdownTrigger::new();
        tokio::spawn(answers.watch(shutdown));
        let asked = |peer: Identity, key: &str| {
            let offer = admission.offer_to(&peer, &keys(key.as_bytes()));
            assert_eq!(admission.may_call(&peer, &keys(key.as_bytes())).is_ok(), offer.is_ok());
            assert_eq!((admission.revoked_for(&peer), admission.roots()), (None, None));
            offer.map(|offer| {
                assert_eq!(offer.as_of, None, "nothing is dropped on a neighbour's word");
                offer.scopes.iter().map(ToString::to_string).collect::<Vec<_>>()
            })
        };
        let of = |text: &str| Identity::agent(name(text), name("eu-west"));
        assert_eq!(asked(of("a"), "a").unwrap(), scopes);
        assert_eq!(asked(of("b"), "b").unwrap(), scopes[1..]);
        let why = |peer: Identity, key: &str| asked(peer, key).unwrap_err().why;
        assert!(why(of("a"), "b").contains("joined with another key"));
        assert!(why(of("c"), "a").contains("does not know that c.agent.eu-west"));
        assert!(why(Identity::agent(name("a"), name("us-east")), "a").contains("is no agent of eu-west"));
        assert!(why(Identity::gateway(name("a"), name("eu-west")), "a").contains("is no agent of eu-west"));

        let mut changed = admission.changed();
        changed.mark_unchanged();
        change.send_replace(Arc::new(Directory::from([(name("b"), agent("b"))])));
        tokio::time::timeout(std::time::Duration::from_secs(30), changed.changed())
            .await
            .expect("streams are looked at again")
            .unwrap();
        assert!(why(of("a"), "a").contains("does not know"), "it was revoked");
    }
}
