//! Who is refused, from the replicated state to this node's connections and to its agents.

use std::{collections::BTreeSet, sync::Arc};

use hanse_identity::{KeyDigest, LiveTrust, Refused};
use hanse_link::Revoked;
use hanse_process::Shutdown;
use hanse_state::{Member, State, port::Replicated};
use hanse_topology::{Identity, Position, Role};
use tracing::{info, warn};

use crate::projector::lineage_of;

/// Has `trust` refuse whom the state refuses, from now on until the shutdown: as soon as this node has applied it.
pub(crate) async fn enforce(replicated: Arc<dyn Replicated>, trust: LiveTrust, shutdown: Shutdown) {
    let mut state = replicated.current();
    let mut enforced = refuse(&trust, &state);
    loop {
        // From the very state that was enforced: what comes in between is not missed.
        state = tokio::select! {
            () = shutdown.wait() => return,
            state = replicated.changed_since(state.revision()) => state,
        };
        if state.revoked_revision() != enforced {
            enforced = refuse(&trust, &state);
        }
    }
}

/// Refuses whom this state refuses, and says of which revision that is.
fn refuse(trust: &LiveTrust, state: &State) -> u64 {
    let unreadable = state.revocations().filter(|(text, _)| text.parse::<Identity>().is_err());
    unreadable.for_each(|(text, _)| warn!(text, "cannot refuse what is no identity"));
    let mut refused = Refused::default();
    for revoked in revoked(state) {
        refused.keys.extend(&revoked.authorities);
        refused.gateway_keys.extend(&revoked.gateway_keys);
        refused.identities.insert(revoked.identity);
    }
    if !refused.identities.is_empty() {
        info!(refused = refused.identities.len(), "identities are revoked");
    }
    trust.refuse(refused);
    state.revoked_revision()
}

/// An identity that is revoked, and the keys that are refused with it.
struct RevokedOne {
    identity: Identity,
    /// Of an agent or a control node: also the key that it joined with, and those that it replaced, which the state has. A peer
    /// that has such a key can give itself another name.
    authorities: Vec<KeyDigest>,
    /// Of a gateway.
    gateway_keys: Vec<KeyDigest>,
}

fn revoked(state: &State) -> impl Iterator<Item = RevokedOne> {
    state.revocations().filter_map(|(text, revocation)| {
        let identity: Identity = text.parse().ok()?;
        let keys = revocation.keys.clone();
        if identity.role.admitted_by() == Role::Agent {
            return Some(RevokedOne { identity, authorities: Vec::new(), gateway_keys: keys });
        }
        let joined = state.member(text).into_iter().flat_map(Member::keys);
        let authorities = keys.into_iter().chain(joined).collect();
        Some(RevokedOne { identity, authorities, gateway_keys: Vec::new() })
    })
}

/// The revocations that an agent is told: of control nodes, and of the other members of its region. Its own is left out: what
/// an agent passes on of itself is worth nothing, and gateways that have no other agent could not be told that it is readmitted.
pub(crate) fn told_to(state: &State, agent: &Identity) -> Option<Revoked> {
    let lineage = lineage_of(state.lineage()?);
    let region = agent.region.as_ref()?;
    let concerns =
        |identity: &Identity| identity != agent && identity.region.as_ref().is_none_or(|of| of == region);
    let (mut identities, mut authorities) = (Vec::new(), BTreeSet::new());
    let mut gateway_keys = BTreeSet::new();
    for one in revoked(state).filter(|one| concerns(&one.identity)) {
        identities.push(one.identity.to_string());
        authorities.extend(one.authorities);
        gateway_keys.extend(one.gateway_keys);
    }
    Some(Revoked {
        as_of: Position { lineage, revision: state.revoked_revision() },
        identities,
        authorities: authorities.into_iter().collect(),
        gateway_keys: gateway_keys.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use hanse_identity::{Authority, LiveTrust};
    use hanse_management::{
        Digest, Kind, ResourceKey, Spec,
        kinds::{JoinTokenSpec, RegionSpec},
    };
    use hanse_state::{Action, Change, Command, CommandBody, Lineage, Outcome};
    use hanse_topology::Name;

    use super::*;
    use crate::reconcile::{HeardAgents, Holder, Observed, Reconciler as _, RefuseKeys};

    /// One gateway was reported, with keys.
    struct Reported(String, Vec<KeyDigest>);

    impl Observed for Reported {
        fn gateway_keys(&self, gateway: &Identity) -> Vec<KeyDigest> {
            if gateway.to_string() == self.0 { self.1.clone() } else { Vec::new() }
        }

        fn minted_tokens(&self) -> Vec<(Identity, hanse_state::MintedToken)> {
            Vec::new()
        }

        fn holders(&self) -> Vec<Holder> {
            Vec::new()
        }

        fn next_key(&self, _: &State) -> Option<CommandBody> {
            None
        }

        fn reseal(&self, _: &State) -> Option<CommandBody> {
            None
        }

        fn agents(&self) -> HeardAgents {
            HeardAgents::default()
        }

        fn heard_standbys(&self, _: &Name) -> Vec<hanse_state::port::Standby> {
            Vec::new()
        }
    }

    fn run(state: &mut State, body: CommandBody) {
        let command = Command {
            actor: "alice".into(),
            request_id: "r".into(),
            time_ms: 1,
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: hanse_state::Origin::default(),
            body,
        };
        let outcome = state.apply(&command);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }

    fn revoke(identity: &str, control_nodes: &[Name]) -> CommandBody {
        CommandBody::Revoke {
            identity: identity.to_owned(),
            control_nodes: control_nodes.to_vec(),
            keys: Vec::new(),
            known_keys: Vec::new(),
        }
    }

    #[test]
    fn the_keys_of_a_revoked_gateway_are_told_its_region_and_learnt_later() {
        let name = |text: &str| Name::new(text).unwrap();
        let mut state = State::default();
        run(&mut state, CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None }));
        let spec: RegionSpec = serde_json::from_str("{}").unwrap();
        let action = Action::put(Default::default(), spec);
        let key = ResourceKey::global(Kind::Region, name("eu-west"));
        run(&mut state, CommandBody::Apply(vec![Change { key, action, if_revision: None }]));
        let gateway = "g.gateway.eu-west.hanse.internal";
        run(&mut state, revoke(gateway, &[]));
        let told = |state: &State, region: &str| {
            let told = told_to(state, &Identity::agent(name("agent-1"), name(region))).unwrap();
            assert!(told.authorities.is_empty(), "an agent's word cuts off gateways only");
            told.gateway_keys
        };
        assert!(told(&state, "eu-west").is_empty());

        let reported = Reported(gateway.to_owned(), vec![[3; 32], [5; 32]]);
        let unknown = RefuseKeys.plan(&state, &reported, 0);
        let keys = reported.1.clone();
        assert_eq!(unknown, [CommandBody::RefuseKeys { identity: gateway.to_owned(), keys }]);
        let [refusal] = unknown.try_into().unwrap();
        run(&mut state, refusal);
        assert!(RefuseKeys.plan(&state, &reported, 0).is_empty(), "they are known now");
        assert_eq!(told(&state, "eu-west"), [[3; 32], [5; 32]]);
        assert!(told(&state, "us-east").is_empty());

        let trust: LiveTrust = Authority::new_root().unwrap().trust_anchor().unwrap().into();
        refuse(&trust, &state);
        assert!(trust.refuses_gateway_key(&[3; 32]) && !trust.refuses_gateway_key(&[4; 32]));
    }

    #[test]
    fn the_keys_of_a_founder_are_refused_with_it() {
        let mut state = State::default();
        run(&mut state, CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None }));
        let identity = hanse_state::server_identity("cp-1");
        let record =
            CommandBody::RecordServer { identity: identity.clone(), key_digest: [9; 32], node_id: 1 };
        run(&mut state, record);
        // It got a new key since.
        let record =
            CommandBody::RecordServer { identity: identity.clone(), key_digest: [8; 32], node_id: 1 };
        run(&mut state, record);
        let control_nodes = ["cp-1", "cp-2", "cp-3"].map(|node| Name::new(node).unwrap());
        run(&mut state, revoke(&identity, &control_nodes));
        let told = told_to(&state, &"agent-1.agent.eu-west.hanse.internal".parse().unwrap()).unwrap();
        assert_eq!(told.authorities, [[8; 32], [9; 32]]);
    }

    #[test]
    fn the_authority_of_whoever_is_revoked_is_refused_until_it_is_readmitted() {
        let name = |text: &str| Name::new(text).unwrap();
        let mut state = State::default();
        let digest = Digest::of(b"secret");
        let put = |kind, called, spec: Spec| {
            let action = Action::put(Default::default(), spec);
            Change { key: ResourceKey::global(kind, name(called)), action, if_revision: None }
        };
        let region: RegionSpec = serde_json::from_str("{}").unwrap();
        let token = serde_json::json!({"role": "agent", "region": "eu-west", "expiresAt": 60, "digest": digest.to_string()});
        let token: JoinTokenSpec = serde_json::from_value(token).unwrap();
        let changes =
            vec![put(Kind::Region, "eu-west", region.into()), put(Kind::JoinToken, "t", token.into())];
        run(&mut state, CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None }));
        run(&mut state, CommandBody::Apply(changes));
        let identity = "agent-1.agent.eu-west.hanse.internal".to_owned();
        let (joiner, key_digest) = (identity.clone(), [7; 32]);
        let token = name("t");
        let seat = None;
        run(
            &mut state,
            CommandBody::UseJoinToken { token, secret_digest: digest.0, joiner, key_digest, seat },
        );
        // Here, and as its own and another region are told.
        let refused = |state: &State| {
            let told = |agent: &str| {
                let agent = format!("{agent}.hanse.internal").parse().unwrap();
                told_to(state, &agent).unwrap().authorities
            };
            assert!(told("agent-1.agent.eu-west").is_empty(), "nobody hears of itself");
            (
                revoked(state).flat_map(|one| one.authorities).collect::<Vec<_>>(),
                told("agent-2.agent.eu-west"),
                told("agent-3.agent.us-east"),
            )
        };
        assert_eq!(refused(&state), (vec![], vec![], vec![]));
        run(&mut state, revoke(&identity, &[]));
        assert_eq!(refused(&state), (vec![key_digest], vec![key_digest], vec![]));
        run(&mut state, CommandBody::Readmit { identity });
        assert_eq!(refused(&state), (vec![], vec![], vec![]));
    }

    #[test]
    fn a_region_hears_of_its_own_and_of_control_nodes() {
        let name = |text: &str| Name::new(text).unwrap();
        let mut state = State::default();
        run(&mut state, CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None }));
        for region in ["eu-west", "us-east"] {
            let spec: RegionSpec = serde_json::from_str("{}").unwrap();
            let key = ResourceKey::global(Kind::Region, name(region));
            let action = Action::put(Default::default(), spec);
            run(&mut state, CommandBody::Apply(vec![Change { key, action, if_revision: None }]));
        }
        let control_nodes: Vec<_> = ["cp-1", "cp-2", "cp-3"].map(name).into();
        for identity in [
            "g.gateway.eu-west.hanse.internal",
            "g.gateway.us-east.hanse.internal",
            "cp-3.server.control.hanse.internal",
        ] {
            run(&mut state, revoke(identity, &control_nodes));
        }
        let told = told_to(&state, &Identity::agent(name("agent-1"), name("eu-west"))).unwrap();
        assert_eq!(
            told.identities,
            ["cp-3.server.control.hanse.internal", "g.gateway.eu-west.hanse.internal"]
        );
        assert_eq!(told.as_of.revision, state.revision());

        let trust: LiveTrust = Authority::new_root().unwrap().trust_anchor().unwrap().into();
        assert_eq!(refuse(&trust, &state), state.revision());
        for (who, refused) in
            [("g.gateway.us-east", true), ("cp-3.server.control", true), ("h.gateway.us-east", false)]
        {
            let who: Identity = format!("{who}.hanse.internal").parse().unwrap();
            assert_eq!(trust.refuses(&who), refused, "{who}");
        }
    }
}
