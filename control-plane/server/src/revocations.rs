//! Who is refused, from the replicated state to this node's connections and to its agents.

use std::{collections::BTreeSet, sync::Arc};

use hanse_link::{Position, Revoked};
use hanse_state::{State, port::Replicated};
use hanse_topology::Name;
use hanse_transport::{Identity, LiveTrust, Shutdown};
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
    let refused = identities(state).collect::<BTreeSet<_>>();
    if !refused.is_empty() {
        info!(refused = refused.len(), "identities are revoked");
    }
    trust.refuse(refused);
    state.revoked_revision()
}

fn identities(state: &State) -> impl Iterator<Item = Identity> {
    state.revocations().filter_map(|(text, _)| {
        text.parse().inspect_err(|error| warn!(text, %error, "cannot refuse what is no identity")).ok()
    })
}

/// What the agents of a region are told: control nodes, and whoever is of their region.
pub(crate) fn of_region(state: &State, region: &Name) -> Option<Revoked> {
    let lineage = lineage_of(state.lineage()?);
    let concerns = |identity: &Identity| identity.region.as_ref().is_none_or(|of| of == region);
    let told = identities(state).filter(concerns).map(|identity| identity.to_string());
    Some(Revoked {
        as_of: Position { lineage, revision: state.revoked_revision() },
        identities: told.collect(),
    })
}

#[cfg(test)]
mod tests {
    use hanse_state::{
        Action, Change, Command, CommandBody, Kind, Lineage, Outcome, ResourceKey, spec::RegionSpec,
    };
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
        let told = of_region(&state, &name("eu-west")).unwrap();
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
