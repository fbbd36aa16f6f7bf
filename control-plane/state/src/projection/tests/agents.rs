//! The scopes of agents.

use super::*;
use crate::{NeighbourAt, member::agent_identity};

fn agents(region: &str) -> ScopeId {
    ScopeId::Agents { region: name(region) }
}

fn identity(agent: &str, region: &str) -> String {
    agent_identity(&name(agent), &name(region))
}

fn join(agent: &str, region: &str, key: u8) -> CommandBody {
    CommandBody::UseJoinToken {
        token: name("join"),
        secret_digest: hanse_management::Digest::of(b"join").0,
        joiner: identity(agent, region),
        key_digest: [key; 32],
        seat: None,
    }
}

fn revoke(agent: &str, region: &str) -> CommandBody {
    CommandBody::Revoke {
        identity: identity(agent, region),
        control_nodes: Vec::new(),
        keys: Vec::new(),
        known_keys: Vec::new(),
    }
}

/// With a token that lets agents join, which may learn `production`.
fn with_token() -> World {
    let mut world = World::with_orders();
    let token = json!({
        "role": "agent", "region": "eu", "environments": ["production"], "uses": 9, "replace": true, "expiresAt": 1_000,
        "digest": hanse_management::Digest::of(b"join").to_string(),
    });
    world.accept(vec![put("JoinToken", "join", token)]);
    world
}

impl World {
    /// What a command does to scopes: each with how many keys are made or changed, and go.
    fn then(&mut self, body: CommandBody) -> Vec<(String, usize, usize)> {
        let outcome = self.run(body);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        let changes = self.advance();
        changes.iter().map(|one| (one.scope.to_string(), one.upserts.len(), one.removals.len())).collect()
    }
}

fn told(scope: &str, made: usize, gone: usize) -> Vec<(String, usize, usize)> {
    vec![(scope.to_owned(), made, gone)]
}

#[test]
fn a_region_has_its_agents_but_those_that_are_revoked() {
    let mut world = with_token();
    assert_eq!(world.then(join("one", "eu", 1)), told("agents/eu", 1, 0));
    assert_eq!(world.then(join("two", "eu", 2)), told("agents/eu", 1, 0));
    assert_eq!(world.then(join("one", "us", 3)), told("agents/us", 1, 0));
    assert_eq!(world.then(join("one", "eu", 4)), told("agents/eu", 1, 0), "its key changed");
    let record = CommandBody::RecordServer {
        identity: "cp-1.server.control.hanse.internal".into(),
        key_digest: [9; 32],
        node_id: 1,
    };
    assert_eq!(world.then(record), [], "a control node is no agent");
    let held = |world: &World, key: &str| {
        let resource = runtime::Resource::decode(world.content[&agents("eu")][key].clone()).unwrap();
        let Some(Runtime::Neighbour(agent)) = resource.kind else { panic!("{resource:?}") };
        (agent.key[0], agent.environments, agent.address, agent.relay)
    };
    let environments = || vec!["production".to_owned()];
    assert_eq!(held(&world, "agent/one"), (4, environments(), String::new(), false));
    let at = NeighbourAt { name: name("two"), address: "two.example:7443".into(), relay: true };
    let set = CommandBody::SetNeighbours { region: name("eu"), agents: vec![at] };
    assert_eq!(world.then(set), told("agents/eu", 1, 0));
    assert_eq!(held(&world, "agent/two"), (2, environments(), "two.example:7443".to_owned(), true));

    assert_eq!(world.then(revoke("one", "eu")), told("agents/eu", 0, 1));
    assert_eq!(world.then(revoke("two", "eu")), told("agents/eu", 0, 1));
    assert!(!world.content.contains_key(&agents("eu")), "a scope without content is gone");
    assert_eq!(world.then(CommandBody::Readmit { identity: identity("two", "eu") }), told("agents/eu", 1, 0));
    assert_eq!(world.accept(vec![delete("JoinToken", "join")]), []);
}

#[test]
fn members_that_changed_over_several_revisions_may_have_been_anything() {
    let mut world = with_token();
    world.then(join("one", "eu", 1));
    world.run(join("one", "eu", 2));
    world.run(join("one", "eu", 1));
    assert_eq!(world.advance(), []);
    assert_eq!(*world.projection.last_between(&agents("eu")), Between::Unknown);
    let runtime = scope("eu", "production");
    assert_eq!(*world.projection.last_between(&runtime), Between::default(), "its history goes on");
    world.then(join("two", "eu", 3));
    assert_eq!(
        *world.projection.last_between(&agents("eu")),
        Between::default(),
        "of one revision the change says all"
    );
    let plan =
        |requests: u8| put("Plan", "acme/gold", json!({"rate": {"requests": requests, "per": "second"}}));
    world.accept(vec![plan(1)]);
    world.apply(vec![plan(2)]);
    world.apply(vec![plan(1)]);
    world.advance();
    assert!(matches!(world.projection.last_between(&agents("eu")), Between::Touched(_)), "no member changed");
}

#[test]
fn without_a_journal_agents_are_compared() {
    let mut world = with_token();
    world.then(join("one", "eu", 1));
    world.run(join("two", "eu", 2));
    world.run(revoke("one", "eu"));
    world.state.journal.clear();
    let changes = world.advance();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].effect(), ScopeEffect { scope: agents("eu"), upserts: 1, removals: 1 });
}
