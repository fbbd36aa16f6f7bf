//! Which gateways may learn which of the agent's scopes, and what they are told of who is revoked.

use std::{collections::BTreeSet, sync::Arc};

use hanse_identity::{Credentials, PeerKeys};
use hanse_link::{Admission, HeldHead, KeptRoots, LinkStatus, Offer, Revoked, TrustedRoots, Unknown};
use hanse_local::HoldingHandle;
use hanse_process::Shutdown;
use hanse_topology::{Identity, Role, ScopeId};
use tokio::sync::watch;

use crate::gateways::Gateways;

/// A gateway that this agent admitted, with the key it joined with, may learn what the agent itself is offered, and the local scopes
/// that it holds, of the environments its token named. Who is revoked is no secret from any gateway of the region.
pub(crate) struct GatewayAdmission {
    gateways: Arc<Gateways>,
    link: watch::Receiver<LinkStatus>,
    revoked: watch::Receiver<Option<Revoked>>,
    roots: KeptRoots,
    local: LocalScopes,
    changed: watch::Receiver<u64>,
}

/// The local scopes of an agent.
#[derive(Clone)]
pub(crate) struct LocalScopes {
    /// Those that it holds and may pass on.
    pub(crate) held: watch::Receiver<BTreeSet<ScopeId>>,
    /// Hears what gateways hold of them.
    pub(crate) holding: HoldingHandle,
}

impl GatewayAdmission {
    /// The admission, and what says when its answers may have changed. `own` fires when the agent's own certificate is
    /// replaced.
    pub(crate) fn new(
        gateways: Arc<Gateways>,
        link: watch::Receiver<LinkStatus>,
        revoked: watch::Receiver<Option<Revoked>>,
        roots: KeptRoots,
        local: LocalScopes,
        own: watch::Receiver<Arc<Credentials>>,
    ) -> (Self, Answers) {
        let (sender, changed) = watch::channel(0);
        let answers = Answers {
            sender,
            link: link.clone(),
            revoked: revoked.clone(),
            roots: roots.changed(),
            local: local.held.clone(),
            own,
            admitted: gateways.changed(),
        };
        (Self { gateways, link, revoked, roots, local, changed }, answers)
    }
}

/// What the answers come from.
#[derive(Clone)]
pub(crate) struct Answers {
    sender: watch::Sender<u64>,
    link: watch::Receiver<LinkStatus>,
    revoked: watch::Receiver<Option<Revoked>>,
    roots: watch::Receiver<Option<TrustedRoots>>,
    local: watch::Receiver<BTreeSet<ScopeId>>,
    own: watch::Receiver<Arc<Credentials>>,
    admitted: watch::Receiver<()>,
}

impl Answers {
    /// Fires when the agent is offered other scopes than before, believes heads of other local ones, when others are revoked or other
    /// roots believed, and when a gateway is admitted; and once at the beginning, for what came while nothing watched.
    pub(crate) async fn watch(mut self, shutdown: Shutdown) {
        let mut known = self.link.borrow_and_update().offered.clone();
        self.sender.send_modify(|version| *version += 1);
        loop {
            let is_news = tokio::select! {
                () = shutdown.wait() => return,
                changed = self.link.changed() => changed.map(|()| {
                    let offered = self.link.borrow_and_update().offered.clone();
                    let is_news = offered != known;
                    known = offered;
                    is_news
                }),
                changed = self.revoked.changed() => changed.map(|()| true),
                changed = self.roots.changed() => changed.map(|()| true),
                changed = self.local.changed() => changed.map(|()| true),
                // Which root to use is told by those whose own certificate comes from it.
                changed = self.own.changed() => changed.map(|()| true),
                changed = self.admitted.changed() => changed.map(|()| true),
            };
            match is_news {
                Ok(true) => self.sender.send_modify(|version| *version += 1),
                Ok(false) => {}
                Err(_) => return, // what answers come from ends with the agent
            }
        }
    }
}

impl Admission for GatewayAdmission {
    /// A gateway is known to the agent that it joined at, with the key that it joined with. To another agent of the region it is not
    /// known, and tries the next: what it says there would stand for what it said to its own.
    fn offer_to(&self, peer: &Identity, keys: &PeerKeys) -> Result<Offer, Unknown> {
        let unknown = |why: String| Err(Unknown { why });
        let name = &peer.name;
        match self.gateways.admitted(peer) {
            Some(admitted) if admitted.joined_with(keys) => {
                let link = self.link.borrow();
                let local = self.local.held.borrow();
                let all = link.offered.iter().chain(local.iter());
                let scopes = all.filter(|scope| admitted.may_learn(scope)).cloned().collect();
                Ok(Offer { scopes, as_of: link.offered_as_of })
            }
            Some(_) => unknown(format!(
                "{peer} joined at this agent with another key: join under another name; or, if that key is lost, remove \
                 gateways/{name}.json from this agent's data directory and join again"
            )),
            None => unknown(format!(
                "this agent did not admit {peer}: join here with a token (hanse agent mint-token --join {role}), or copy \
                 gateways/{name}.json from the data directory of the agent that did",
                role = peer.role
            )),
        }
    }

    /// The port admits other agents too, and those may call nothing but the Neighbours service.
    fn may_call(&self, peer: &Identity, _keys: &PeerKeys) -> Result<(), Unknown> {
        match peer.role {
            Role::Gateway | Role::Dns => Ok(()),
            Role::Server | Role::Agent => Err(Unknown {
                why: format!(
                    "{peer} is no gateway and no DNS responder, and only those follow an agent's scopes"
                ),
            }),
        }
    }

    fn revoked_for(&self, _peer: &Identity) -> Option<Revoked> {
        self.revoked.borrow().clone()
    }

    fn roots(&self) -> Option<TrustedRoots> {
        self.roots.to_tell()
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
    use std::time::Duration;

    use hanse_identity::{Authority, EndorsedRoot, LiveAuthority, LiveCredentials, Rotation};
    use hanse_link::{Replicas, TrustedRoot};
    use hanse_local::{Holding, OriginKeeper, Wishes};
    use hanse_process::ShutdownTrigger;
    use hanse_topology::{Lineage, Name, Position, Role, ScopeId};

    use super::*;
    use crate::{gateways::Admitted, testbed};

    /// For all that must happen: far above what a busy machine needs.
    const SOON: Duration = Duration::from_secs(30);

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn keys(own: &[u8]) -> PeerKeys {
        PeerKeys { own: own.to_vec(), issuer: b"agent".to_vec() }
    }

    #[tokio::test]
    async fn gateways_are_offered_by_key_and_told_who_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = Identity::gateway(name("gateway-1"), name("eu-west"));
        let gateways = Arc::new(Gateways::open(testbed::config(dir.path()).into(), 0).unwrap());
        let admit = |key: &[u8], environments: &[&str]| {
            let key = hex::encode(keys(key).own_digest());
            let environments = environments.iter().map(|environment| name(environment)).collect();
            gateways
                .admit(&gateway.name, Admitted { role: Role::Gateway, environments, key, seen: 0 })
                .unwrap();
        };
        admit(b"first", &[]);
        let scope = ScopeId::runtime(name("eu-west"), name("production"));
        let status = LinkStatus { offered: [scope].into(), ..LinkStatus::default() };
        let (_link, link) = watch::channel(status);
        let (tell, told) = watch::channel(None);
        let root = Authority::new_root().unwrap();
        let region = root.new_control_intermediate(&name("cp-1")).unwrap();
        let region = region.new_regional_intermediate(&name("eu-west")).unwrap();
        let own = Identity::agent(name("agent-1"), name("eu-west"));
        let live = LiveCredentials::new(region.issue_credentials(&own, &[]).unwrap());
        let trust = root.trust_anchor().unwrap().into();
        let roots = KeptRoots::restore(dir.path().to_owned(), trust, live.clone());
        let (hold, held) = watch::channel(BTreeSet::new());
        let (hub, believed_here) = (Replicas::new(), root.trust_anchor().unwrap().into());
        let (_keeper, origins) = OriginKeeper::new(hub.clone(), believed_here);
        let (_holding, holding) =
            Holding::new(hub, origins, LiveAuthority::new(region), watch::channel(Wishes::new()).1);
        let local = LocalScopes { held, holding };
        let (_trigger, shutdown) = ShutdownTrigger::new();
        let (admission, watcher) =
            GatewayAdmission::new(gateways.clone(), link, told, roots.clone(), local, live.replaced());
        let (believe, believed) = watch::channel(None);
        tokio::spawn(roots.follow(believed, shutdown.clone()));
        let mut changed = admission.changed();
        tokio::spawn(watcher.watch(shutdown));
        let mut fires =
            async || tokio::time::timeout(SOON, changed.changed()).await.expect("it fires").unwrap();
        let offered =
            |key: &[u8]| admission.offer_to(&gateway, &keys(key)).ok().map(|offer| offer.scopes.len());
        assert_eq!((offered(b"first"), offered(b"second")), (Some(1), None));
        let why = |peer: &Identity, key: &[u8]| admission.offer_to(peer, &keys(key)).unwrap_err().why;
        assert!(why(&gateway, b"second").contains("with another key"));
        let stranger = Identity::gateway(name("gateway-2"), name("eu-west"));
        assert!(why(&stranger, b"first").contains("did not admit gateway-2.gateway.eu-west"));
        let foreign = Identity::gateway(name("gateway-1"), name("us-east"));
        assert!(why(&foreign, b"first").contains("did not admit gateway-1.gateway.us-east"));
        assert!(admission.may_call(&stranger, &keys(b"first")).is_ok(), "the call itself decides");
        let may_call = |peer: &Identity| admission.may_call(peer, &keys(b"first"));
        for peer in [&own, &Identity::server(name("cp-1"))] {
            assert!(may_call(peer).unwrap_err().why.contains("is no gateway"), "{peer}");
        }
        let responder = Identity { role: Role::Dns, ..gateway.clone() };
        assert!(may_call(&responder).is_ok(), "as gateways");
        assert!(
            why(&responder, b"first").contains("did not admit gateway-1.dns.eu-west"),
            "its name is a gateway's"
        );

        // Its entry was removed, and another key has its name: the streams of the first are looked at again.
        admit(b"second", &[]);
        fires().await;
        assert_eq!((offered(b"first"), offered(b"second")), (None, Some(1)));

        // A local scope that the agent holds is offered beside what control nodes offer.
        hold.send_replace(["local/eu-west/production/pods".parse().unwrap()].into());
        fires().await;
        assert_eq!(offered(b"second"), Some(2));
        admit(b"second", &["staging"]);
        fires().await;
        assert_eq!(offered(b"second"), Some(0), "the gateway may learn another environment only");
        admit(b"second", &[]);
        fires().await;

        assert_eq!(admission.revoked_for(&gateway), None);
        let lineage = Lineage { generation: 1, id: [1; 16], parent: None };
        let as_of = Position { lineage, revision: 5 };
        let revoked = Revoked {
            as_of,
            identities: vec!["x".to_owned()],
            authorities: vec![[7; 32]],
            gateway_keys: Vec::new(),
        };
        tell.send_replace(Some(revoked.clone()));
        fires().await;
        assert_eq!(admission.revoked_for(&gateway), Some(revoked));

        assert_eq!(admission.roots(), None);
        let rotation = Rotation::new(&root, &Authority::new_root().unwrap()).unwrap();
        let of = |root: &EndorsedRoot| TrustedRoot {
            certificate: root.anchor.certificate().to_vec(),
            endorsement: root.endorsement.to_vec(),
        };
        let issuing = Some(rotation.fresh.anchor.spki_sha256());
        let told = TrustedRoots {
            as_of,
            believed: vec![of(&rotation.present), of(&rotation.fresh)],
            issuing,
            dropped: Vec::new(),
        };
        believe.send_replace(Some(told.clone()));
        fires().await;
        assert_eq!(
            admission.roots(),
            Some(TrustedRoots { issuing: None, ..told }),
            "it is under the old one itself"
        );
    }
}
