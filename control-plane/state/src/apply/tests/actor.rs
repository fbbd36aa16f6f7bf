//! The Token of the actor, judged where the command is applied.

use hanse_management::{ProblemName, kinds::TokenRole};

use crate::{
    Command, CommandBody, Origin, Outcome,
    fixture::{World, changes, delete, name},
};

fn token(name: &str, spec: &str) -> String {
    let digest = if name == "root" { "1" } else { "2" }.repeat(64);
    format!("{{kind: Token, name: {name}, spec: {{{spec}, digest: 'sha256:{digest}'}}}}")
}

fn world() -> World {
    World::with_orders()
        .with(&token("root", "role: admin"))
        .with(&token("ci", "role: publisher, organization: default"))
}

/// A put of Plan `plan` by `ci`, as the node that was asked knew it, under the key `k`.
fn by_ci(world: &World, plan: &str) -> Command {
    Command {
        actor: "ci".into(),
        request_id: "r".into(),
        time_ms: world.now_ms,
        idempotency_key: Some("k".into()),
        only_in_term: None,
        force_grants: false,
        origin: Origin {
            owner: "ci".into(),
            role: Some(TokenRole::Publisher),
            organization: Some(name("default")),
            from: String::new(),
            reason: String::new(),
        },
        body: CommandBody::Apply(changes(&format!("{{kind: Plan, name: {plan}}}"))),
    }
}

/// The command is refused, and changes nothing, whether or not it was carried out before.
#[track_caller]
fn refused(mut world: World, why: &str) {
    for plan in ["silver", "new"] {
        let (command, before) = (by_ci(&world, plan), world.state.clone());
        let Outcome::Rejected(problem) = world.state.apply(&command) else { panic!("{why}: {plan}") };
        assert_eq!(problem.name, ProblemName::Forbidden, "{why}");
        assert!(world.state == before, "{why}");
    }
}

#[test]
fn a_token_that_is_gone_or_another_one_changes_nothing_and_learns_nothing() {
    let mut world = world();
    let command = by_ci(&world, "silver");
    assert!(matches!(world.state.apply(&command), Outcome::Accepted(_)));
    // It is the same request: it is answered.
    assert!(matches!(world.state.apply(&command), Outcome::Accepted(_)));

    let mut gone = world.clone();
    gone.change(vec![delete("Token ci", false)]).unwrap();
    refused(gone, "deleted");
    for (why, spec) in [
        ("demoted", "role: viewer, organization: default"),
        ("promoted", "role: admin"),
        ("another organization", "role: publisher, organization: retail"),
        ("another owner", "role: publisher, organization: default, owner: ann"),
    ] {
        let changed = world.clone().with("{kind: Organization, name: retail}").with(&token("ci", spec));
        refused(changed, why);
    }
    let end = world.now_ms / 1_000 + 60;
    let mut expiring = world
        .clone()
        .with(&token("ci", &format!("role: publisher, organization: default, expiresAt: {end}")));
    let command = by_ci(&expiring, "bronze");
    expiring.state.apply(&Command { idempotency_key: None, ..command });
    assert!(expiring.has("Plan bronze"));
    // The command's own time may be old: the state's counts, too.
    expiring.now_ms = end * 1_000;
    expiring.put("{kind: Plan, name: later}");
    expiring.now_ms = 0;
    refused(expiring, "expired");
}

#[test]
fn a_cascade_and_a_revocation_of_a_publisher_stay_in_its_organization() {
    let world = world()
        .with("{kind: Organization, name: retail}\n---\n{kind: Plan, organization: retail, name: gold}");
    let refused = |body: CommandBody| {
        let mut state = world.state.clone();
        let command = Command { idempotency_key: None, body, ..by_ci(&world, "x") };
        let Outcome::Rejected(problem) = state.apply(&command) else { panic!("accepted") };
        assert_eq!(problem.name, ProblemName::Forbidden, "{problem}");
        assert!(state == world.state);
        problem
    };
    refused(CommandBody::Apply(changes("{kind: Plan, organization: retail, name: gold, labels: {a: b}}")));
    refused(CommandBody::Apply(changes("{kind: Organization, name: default, labels: {a: b}}")));
    refused(CommandBody::Apply(vec![delete("Environment production", true)]));
    refused(CommandBody::Apply(vec![delete("Plan retail/gold", false)]));
    refused(CommandBody::Revoke {
        identity: "g.gateway.eu-west.hanse.internal".into(),
        control_nodes: Vec::new(),
        keys: Vec::new(),
        known_keys: Vec::new(),
    });
}
