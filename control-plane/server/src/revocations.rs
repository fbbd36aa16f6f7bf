//! Who is refused, from the replicated state to this node's connections and to its agents.

use std::{collections::BTreeSet, sync::Arc};

use hanse_link::{Position, Revoked};
use hanse_state::{State, port::Replicated};
use hanse_transport::{Identity, KeyDigest, LiveTrust, Refused, Shutdown};
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
    let refused = Refused {
        identities: revoked(state).map(|(identity, _)| identity).collect(),
        keys: revoked(state).filter_map(|(_, key)| key).collect(),
    };
    if !refused.identities.is_empty() {
        info!(refused = refused.identities.len(), "identities are revoked");
    }
    trust.refuse(refused);
    state.revoked_revision()
}

/// Who is revoked, and the key of the authority that agents and control nodes of them joined with: whoever has it can give itself
/// another name. The node that founded the control plane did not join, and its key is not known here.
fn revoked(state: &State) -> impl Iterator<Item = (Identity, Option<KeyDigest>)> {
    state.revocations().filter_map(|(text, _)| {
        let key = state.member(text).map(|member| member.key_digest);
        Some((text.parse().ok()?, key))
    })
}

/// What an agent is told: control nodes, and whoever else is of its region. Not itself: what it would pass on of itself is
/// worth nothing, and gateways that have no other agent could not be told that it is readmitted.
pub(crate) fn told_to(state: &State, agent: &Identity) -> Option<Revoked> {
    let lineage = lineage_of(state.lineage()?);
    let region = agent.region.as_ref()?;
    let concerns =
        |identity: &Identity| identity != agent && identity.region.as_ref().is_none_or(|of| of == region);
    let (mut identities, mut authorities) = (Vec::new(), BTreeSet::new());
    for (identity, key) in revoked(state).filter(|(identity, _)| concerns(identity)) {
        identities.push(identity.to_string());
        authorities.extend(key);
    }
    let as_of = Position { lineage, revision: state.revoked_revision() };
    Some(Revoked { as_of, identities, authorities: authorities.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use hanse_state::{
        Action, Change, Command, CommandBody, Kind, Lineage, Outcome, ResourceKey, Spec,
        spec::{Digest, JoinTokenSpec, RegionSpec},
    };
    use hanse_topology::Name;
    use hanse_transport::{Authority, LiveTrust};

    use super::*;

    fn run(state: &mut State, body: CommandBody) {
        let command = Command {
            actor: "alice".into(),
            request_id: "r".into(),
            time_ms: 1,
            idempotency_key: None,
            body,
        };
        let outcome = state.apply(&command);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }

    #[test]
    fn the_authority_of_whoever_is_revoked_is_refused_until_it_is_readmitted() {
        let name = |text: &str| Name::new(text).unwrap();
        let mut state = State::default();
        let digest = Digest::of(b"secret");
        let put = |kind, called, spec: Spec| {
            let action = Action::Put { labels: Default::default(), spec };
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
        run(&mut state, CommandBody::UseJoinToken { token, secret_digest: digest.0, joiner, key_digest });
        // Here, and as its own and another region are told.
        let refused = |state: &State| {
            let told = |agent: &str| {
                let agent = format!("{agent}.hanse.internal").parse().unwrap();
                told_to(state, &agent).unwrap().authorities
            };
            assert!(told("agent-1.agent.eu-west").is_empty(), "nobody hears of itself");
            (
                revoked(state).filter_map(|(_, key)| key).collect::<Vec<_>>(),
                told("agent-2.agent.eu-west"),
                told("agent-3.agent.us-east"),
            )
        };
        assert_eq!(refused(&state), (vec![], vec![], vec![]));
        run(&mut state, CommandBody::Revoke { identity: identity.clone(), control_nodes: Vec::new() });
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
            let action = Action::Put { labels: Default::default(), spec: spec.into() };
            run(&mut state, CommandBody::Apply(vec![Change { key, action, if_revision: None }]));
        }
        let control_nodes: Vec<_> = ["cp-1", "cp-2", "cp-3"].map(name).into();
        for identity in [
            "g.gateway.eu-west.hanse.internal",
            "g.gateway.us-east.hanse.internal",
            "cp-3.server.control.hanse.internal",
        ] {
            let identity = identity.to_owned();
            run(&mut state, CommandBody::Revoke { identity, control_nodes: control_nodes.clone() });
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
