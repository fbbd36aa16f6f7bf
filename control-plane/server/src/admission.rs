//! Which agents may learn which scopes.

use std::sync::Arc;

use hanse_identity::{Authority, LiveAuthority, PeerKeys};
use hanse_link::{Admission, Offer, Replicas, Revoked, TrustedRoots, Unknown};
use hanse_management::{Kind, Revision};
use hanse_process::Shutdown;
use hanse_state::{State, port::Replicated};
use hanse_topology::{Identity, Role, ScopeId};
use tokio::sync::watch;

use crate::{projector::ProjectorHandle, revocations, roots, secrets::Keys};

/// An agent may learn the scopes of its region, of the environments its join token named.
pub(crate) struct AgentAdmission {
    replicated: Arc<dyn Replicated>,
    replicas: Replicas,
    projector: ProjectorHandle,
    control: LiveAuthority,
    keys: Keys,
    changed: watch::Receiver<u64>,
}

impl AgentAdmission {
    /// The admission, and the task that says when its answers may have changed.
    pub(crate) fn new(
        replicated: Arc<dyn Replicated>,
        replicas: Replicas,
        projector: ProjectorHandle,
        control: LiveAuthority,
        keys: Keys,
    ) -> (Self, Answers) {
        let (sender, changed) = watch::channel(0);
        let answers = Answers {
            sender,
            replicated: replicated.clone(),
            replicas: replicas.clone(),
            projector: projector.clone(),
            authority: control.replaced(),
            keys: keys.clone(),
        };
        (Self { replicated, replicas, projector, control, keys, changed }, answers)
    }
}

/// What the answers come from.
#[derive(Clone)]
pub(crate) struct Answers {
    sender: watch::Sender<u64>,
    replicated: Arc<dyn Replicated>,
    replicas: Replicas,
    projector: ProjectorHandle,
    authority: watch::Receiver<Arc<Authority>>,
    keys: Keys,
}

/// Fires when there are other scopes than before, as soon as others are revoked or other roots believed (that waits for no
/// projection), when this node lacks a key or has it, and when a node may have joined: an agent may be here before this node has heard that it did, or with a key
/// that it has no more. Once at the beginning, too, for what came while nothing watched.
pub(crate) async fn watch_answers(answers: Answers, shutdown: Shutdown) {
    let Answers { sender, replicated, replicas, mut projector, mut authority, mut keys } = answers;
    let mut state = replicated.current(); // what came before it is told at the beginning
    let scopes = || replicas.read(|map| map.keys().cloned().collect::<Vec<_>>());
    let mut known = scopes();
    let mut lacks = keys.lacking(&state).is_some();
    sender.send_modify(|version| *version += 1);
    loop {
        let is_news = tokio::select! {
            () = shutdown.wait() => return,
            stepped = projector.stepped() => match stepped {
                Ok(()) => {
                    let now = scopes();
                    let is_news = now != known;
                    known = now;
                    is_news
                }
                Err(_) => return,
            },
            // Whether its own certificate comes from the root that others' should is part of the answer.
            Ok(()) = authority.changed() => true,
            () = keys.changed() => false, // it is looked at below
            fresh = replicated.changed_since(state.revision()) => {
                let is_news = fresh.revoked_revision() != state.revoked_revision()
                    || fresh.roots_revision() != state.roots_revision()
                    || may_have_joined(&fresh, state.revision());
                state = fresh;
                is_news
            }
        };
        let lacked = std::mem::replace(&mut lacks, keys.lacking(&state).is_some());
        if is_news || lacks != lacked {
            sender.send_modify(|version| *version += 1);
        }
    }
}

/// Joining spends a use of a JoinToken. A journal that does not reach back says nothing, so it may have happened.
fn may_have_joined(state: &State, since: Revision) -> bool {
    state.journal_since(since).is_none_or(|mut journal| {
        journal.any(|entry| entry.keys.iter().any(|key| key.kind == Kind::JoinToken))
    })
}

impl Admission for AgentAdmission {
    /// An agent is known when it joined, under the authority whose key it joined with. Any authority of a region can certify an agent
    /// of any name there: such a certificate alone says nothing. This node may lag behind the one where an agent joined.
    fn offer_to(&self, peer: &Identity, keys: &PeerKeys) -> Result<Offer, Unknown> {
        let unknown = |why: String| Err(Unknown { why });
        let (Role::Agent, Some(region)) = (peer.role, peer.region.as_ref()) else {
            return unknown(format!("{peer} is no agent"));
        };
        let state = self.replicated.current();
        if let Some(why) = self.keys.lacking(&state) {
            return unknown(format!("{why}; try another control node meanwhile"));
        }
        let Some(member) = state.member(&peer.to_string()) else {
            return unknown(format!(
                "this control node does not know that {peer} joined: try again, it may not have heard of it yet; if it stays so, \
                 join with a token (hanse token create --join agent)"
            ));
        };
        if member.key_digest != keys.issuer_digest() {
            return unknown(format!(
                "as far as this control node knows, {peer} joined with another key: try again, it may not have heard of a new one \
                 yet; if it stays so, join under another name, or with a token that says replace"
            ));
        }
        let is_limited = !member.environments.is_empty();
        let offered = |scope: &ScopeId| {
            scope.region() == region
                && match scope {
                    ScopeId::Runtime { environment, .. } | ScopeId::Local { environment, .. } => {
                        !is_limited || member.environments.contains(environment)
                    }
                    ScopeId::Agents { .. } => true,
                    // A region has one set of keys that sign tokens, and one of names, for all of its Environments.
                    ScopeId::Keys { .. } | ScopeId::Dns { .. } => !is_limited,
                }
        };
        // The position first: scopes that come in between are offered without harm.
        let as_of = self.projector.position();
        let scopes = self.replicas.read(|map| map.keys().filter(|scope| offered(scope)).cloned().collect());
        Ok(Offer { scopes, as_of })
    }

    /// Only known agents have anything to ask of a control node.
    fn may_call(&self, peer: &Identity, keys: &PeerKeys) -> Result<(), Unknown> {
        self.offer_to(peer, keys).map(drop)
    }

    fn revoked_for(&self, peer: &Identity) -> Option<Revoked> {
        revocations::told_to(&self.replicated.current(), peer)
    }

    fn roots(&self) -> Option<TrustedRoots> {
        roots::told(&self.replicated.current(), self.control.current().root_key().ok())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hanse_identity::Rotation;
    use hanse_management::Digest;
    use hanse_process::ShutdownTrigger;
    use hanse_state::{CommandBody, Lineage, port::RootCertificates};
    use hanse_topology::Name;

    use super::*;
    use crate::{
        projector::{Projector, tests::Alone},
        roots::Certificates,
        secrets::{Key, fixture::Federation},
    };

    /// For all that must happen: far above what a busy machine needs.
    const SOON: Duration = Duration::from_secs(30);

    fn agent() -> Identity {
        Identity::agent(Name::new("agent-1").unwrap(), Name::new("eu-west").unwrap())
    }

    fn keys(issuer: &[u8]) -> PeerKeys {
        PeerKeys { own: b"leaf".to_vec(), issuer: issuer.to_vec() }
    }

    fn under(root: &Authority) -> Authority {
        root.new_control_intermediate(&Name::new("cp-1").unwrap()).unwrap()
    }

    fn control() -> LiveAuthority {
        LiveAuthority::new(under(&Authority::new_root().unwrap()))
    }

    /// A state with a region, its environment, and an agent that joined with this authority.
    fn joined(authority: &[u8]) -> Arc<Alone> {
        let begun = Alone::default();
        begun.apply(CommandBody::StartLineage(Lineage { generation: 1, id: [1; 16], parent: None }));
        with_agent(begun.current(), authority)
    }

    fn with_agent(state: State, authority: &[u8]) -> Arc<Alone> {
        let alone = Arc::new(Alone::of(state));
        alone.put(
            "{kind: Region, name: eu-west}\n---\n{kind: Environment, name: production, spec: {regions: [eu-west]}}",
        );
        join(&alone, "t-1", false, authority);
        alone
    }

    fn join(alone: &Alone, token: &str, replace: bool, authority: &[u8]) {
        let digest = Digest::of(token.as_bytes());
        alone.put(&format!(
            "{{kind: JoinToken, name: {token}, spec: {{role: agent, region: eu-west, replace: {replace}, \
             expiresAt: 1900003600, digest: '{digest}'}}}}"
        ));
        alone.apply(CommandBody::UseJoinToken {
            token: Name::new(token).unwrap(),
            secret_digest: digest.0,
            joiner: agent().to_string(),
            key_digest: keys(authority).issuer_digest(),
            seat: None,
        });
    }

    #[tokio::test]
    async fn a_name_is_offered_what_its_key_may_have_until_another_key_replaces_it() {
        let alone = joined(b"first");
        let replicas = Replicas::new();
        let (projector, projected) = Projector::new(alone.clone(), replicas.clone(), Keys::none());
        let (_trigger, shutdown) = ShutdownTrigger::new();
        tokio::spawn(projector.run(shutdown.clone()));
        projected.begun().await;
        let (admission, watcher) =
            AgentAdmission::new(alone.clone(), replicas, projected, control(), Keys::none());
        tokio::spawn(watch_answers(watcher, shutdown));
        let offered = |authority: &[u8]| {
            let offer = admission.offer_to(&agent(), &keys(authority)).ok()?;
            Some((offer.scopes.len(), offer.as_of.is_some()))
        };
        assert_eq!((offered(b"first"), offered(b"second")), (Some((2, true)), None));

        let mut changed = admission.changed();
        changed.mark_unchanged();
        join(&alone, "t-2", true, b"second");
        tokio::time::timeout(SOON, changed.changed())
            .await
            .expect("its streams are looked at again")
            .unwrap();
        assert_eq!((offered(b"first"), offered(b"second")), (None, Some((2, true))));
    }

    #[tokio::test]
    async fn an_agent_for_some_environments_gets_neither_keys_nor_names_of_its_region() {
        let digest = Digest::of(b"limited");
        let alone = joined(b"first");
        let region = || Name::new("eu-west").unwrap();
        let scopes = [
            ScopeId::runtime(region(), Name::new("production").unwrap()),
            ScopeId::runtime(region(), Name::new("sandbox").unwrap()),
            ScopeId::Keys { region: region() },
            ScopeId::Dns { region: region() },
            ScopeId::Agents { region: region() },
        ];
        let replicas = Replicas::new();
        for scope in &scopes {
            let lineage = hanse_topology::Lineage { generation: 1, id: [1; 16], parent: None };
            let to = hanse_topology::Position { lineage, revision: 1 };
            let content = vec![("a".into(), "b".into())];
            replicas.update(scope, |replica| replica.advance(to, content, Vec::new())).unwrap();
        }
        let (_projector, projected) = Projector::new(alone.clone(), replicas.clone(), Keys::none()); // it never runs
        let (admission, _watcher) =
            AgentAdmission::new(alone.clone(), replicas, projected, control(), Keys::none());
        let offered = |authority: &[u8]| -> Vec<ScopeId> {
            admission.offer_to(&agent(), &keys(authority)).unwrap().scopes.into_iter().collect()
        };
        let mut all = scopes.to_vec();
        all.sort();
        assert_eq!(offered(b"first"), all, "it has all Environments");
        alone.put(&format!(
            "{{kind: Environment, name: sandbox, spec: {{regions: [eu-west]}}}}\n---\n{{kind: JoinToken, name: t-2, spec: {{role: agent, \
             region: eu-west, environments: [sandbox], replace: true, expiresAt: 1900003600, digest: '{digest}'}}}}"
        ));
        alone.apply(CommandBody::UseJoinToken {
            token: Name::new("t-2").unwrap(),
            secret_digest: digest.0,
            joiner: agent().to_string(),
            key_digest: keys(b"second").issuer_digest(),
            seat: None,
        });
        // It follows the relays of its region, which it finds in `agents/REGION`.
        let mut limited = [scopes[1].clone(), scopes[4].clone()];
        limited.sort();
        assert_eq!(offered(b"second"), limited);
    }

    #[tokio::test]
    async fn nobody_is_offered_anything_while_a_key_is_lacking() {
        let (federation, key) = (Federation::new(), Key::from([1; 32]));
        let alone = with_agent(federation.state.clone(), b"first");
        let (add, held) = Keys::growing();
        let (_projector, projected) = Projector::new(alone.clone(), Replicas::new(), held.clone()); // it never runs
        let (_trigger, shutdown) = ShutdownTrigger::new();
        let (admission, watcher) =
            AgentAdmission::new(alone.clone(), Replicas::new(), projected, control(), held);
        let mut changed = admission.changed();
        tokio::spawn(watch_answers(watcher, shutdown));
        let why = || admission.offer_to(&agent(), &keys(b"first")).err().map(|unknown| unknown.why);
        let mut fires = async || {
            tokio::time::timeout(SOON, changed.changed())
                .await
                .expect("streams are looked at again")
                .unwrap();
        };
        fires().await; // once at the beginning
        alone.apply(federation.addition(&key));
        assert_eq!(why(), None, "nothing is sealed with it yet");
        alone.apply(CommandBody::UseKey { version: 1 });
        fires().await;
        assert!(why().unwrap().contains("version 1 of the federation key"), "{:?}", why());
        add(key);
        fires().await;
        assert_eq!(why(), None);
    }

    #[tokio::test]
    async fn one_that_never_joined_is_unknown_whatever_its_certificate_says() {
        let alone = joined(b"first");
        let (_projector, projected) = Projector::new(alone.clone(), Replicas::new(), Keys::none());
        let (admission, _watcher) =
            AgentAdmission::new(alone, Replicas::new(), projected, control(), Keys::none());
        let name = |text| Name::new(text).unwrap();
        let why = |peer: Identity, key: &[u8]| admission.offer_to(&peer, &keys(key)).unwrap_err().why;
        let ghost = why(Identity::agent(name("ghost"), name("eu-west")), b"first");
        assert!(ghost.contains("ghost.agent.eu-west") && ghost.contains("try again"), "{ghost}");
        let elsewhere = why(Identity::agent(name("agent-1"), name("us-east")), b"first");
        assert!(elsewhere.contains("does not know that agent-1.agent.us-east"), "{elsewhere}");
        assert!(why(agent(), b"second").contains("another key"));
        let gateway = why(Identity::gateway(name("agent-1"), name("eu-west")), b"first");
        assert!(gateway.contains("is no agent"), "{gateway}");
    }

    #[tokio::test]
    async fn a_revocation_is_told_before_it_is_projected() {
        let alone = joined(b"first");
        let (_projector, projected) = Projector::new(alone.clone(), Replicas::new(), Keys::none()); // it never runs
        let (_trigger, shutdown) = ShutdownTrigger::new();
        let (admission, watcher) =
            AgentAdmission::new(alone.clone(), Replicas::new(), projected, control(), Keys::none());
        tokio::spawn(watch_answers(watcher, shutdown));
        let mut changed = admission.changed();
        let gateway = "g.gateway.eu-west.hanse.internal".to_owned();
        alone.apply(CommandBody::Revoke {
            identity: gateway.clone(),
            control_nodes: Vec::new(),
            keys: Vec::new(),
            known_keys: Vec::new(),
        });
        tokio::time::timeout(SOON, changed.changed()).await.expect("agents are told").unwrap();
        assert_eq!(admission.revoked_for(&agent()).unwrap().identities, [gateway]);
    }

    #[tokio::test]
    async fn which_root_to_use_is_told_once_this_nodes_own_certificates_come_from_it() {
        let alone = joined(b"first");
        let (_projector, projected) = Projector::new(alone.clone(), Replicas::new(), Keys::none());
        let (_trigger, shutdown) = ShutdownTrigger::new();
        let (old, new) = (Authority::new_root().unwrap(), Authority::new_root().unwrap());
        let control = LiveAuthority::new(under(&old));
        let (admission, watcher) =
            AgentAdmission::new(alone.clone(), Replicas::new(), projected, control.clone(), Keys::none());
        tokio::spawn(watch_answers(watcher, shutdown));
        let mut changed = admission.changed();
        let mut fires =
            async || tokio::time::timeout(SOON, changed.changed()).await.expect("it fires").unwrap();
        assert_eq!(admission.roots(), None);

        let pem = Rotation::new(&old, &new).unwrap().to_pem();
        let certificates = Certificates { control: control.clone() };
        let (present, fresh) = certificates.rotation(&pem).unwrap();
        alone.apply(CommandBody::TrustRoot { present, fresh });
        fires().await;
        let key = |root: &Authority| root.trust_anchor().unwrap().spki_sha256();
        let told = || admission.roots().unwrap();
        assert_eq!((told().believed.len(), told().issuing), (2, Some(key(&old))));
        alone.apply(CommandBody::UseRoot(key(&new)));
        fires().await;
        assert_eq!(told().issuing, None);
        control.replace(under(&new));
        fires().await;
        assert_eq!(told().issuing, Some(key(&new)));
        alone.apply(CommandBody::DropRoot(key(&old)));
        fires().await;
        assert_eq!((told().believed.len(), told().dropped), (1, vec![key(&old)]));
    }
}
