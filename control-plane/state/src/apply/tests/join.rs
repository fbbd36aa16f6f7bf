//! JoinTokens.

use hanse_management::{Digest, Problem, ProblemName};

use crate::{
    Accepted, CommandBody,
    fixture::{START_MS, World, name},
};

const DAY: u64 = 86_400;

fn token(uses: u64, expires_in: u64) -> String {
    let digest = Digest::of(b"secret");
    let expires_at = START_MS / 1000 + expires_in;
    format!(
        "{{kind: JoinToken, name: t, spec: {{role: agent, region: eu-west, uses: {uses}, expiresAt: {expires_at}, digest: '{digest}'}}}}"
    )
}

fn spend(world: &mut World, token: &str, secret: &[u8]) -> Result<Accepted, Problem> {
    // Another joiner each time.
    let number = world.state.revision() as u8;
    spend_as(world, token, secret, &format!("agent-{number}"), number)
}

fn spend_as(
    world: &mut World,
    token: &str,
    secret: &[u8],
    joiner: &str,
    key: u8,
) -> Result<Accepted, Problem> {
    let digest = Digest::of(secret).0;
    world.run(CommandBody::UseJoinToken {
        token: name(token),
        secret_digest: digest,
        joiner: joiner.into(),
        key_digest: [key; 32],
        seat: None,
    })
}

#[test]
fn uses_are_counted_and_end() {
    let mut world = World::new().with(&token(2, DAY));
    let accepted = spend(&mut world, "t", b"secret").unwrap();
    assert_eq!(crate::fixture::told(&accepted), ["updated JoinToken t 3"]);
    let status = serde_json::json!({"uses": 1, "usedBy": ["agent-2"]});
    assert_eq!(world.get("JoinToken t").status(), Some(status));
    spend(&mut world, "t", b"secret").unwrap();
    let problem = spend(&mut world, "t", b"secret").unwrap_err();
    assert_eq!(
        (problem.name, problem.detail.as_str()),
        (ProblemName::JoinRefused, "the join token t is used up: 2 of 2 uses spent, by agent-2, agent-3")
    );
}

#[test]
fn a_wrong_secret_and_an_unknown_name_look_alike() {
    let mut world = World::new().with(&token(1, DAY));
    let wrong = spend(&mut world, "t", b"guess").unwrap_err();
    let unknown = spend(&mut world, "u", b"guess").unwrap_err();
    assert_eq!(wrong.detail.replace("token t", "token u"), unknown.detail);
    assert_eq!(world.get("JoinToken t").metadata.uses, 0);
}

#[test]
fn expiry_goes_by_the_commands_time() {
    let mut world = World::new().with(&token(1, DAY));
    world.now_ms = START_MS + DAY * 1000 - 1; // the next command comes a millisecond later: at the end
    assert_eq!(spend(&mut world, "t", b"secret").unwrap_err().detail, "the join token t has expired");
}

#[test]
fn another_secret_starts_counting_anew_and_other_edits_do_not() {
    let mut world = World::new().with(&token(1, DAY));
    spend(&mut world, "t", b"secret").unwrap();
    world.put(&token(2, DAY));
    assert_eq!(world.get("JoinToken t").metadata.uses, 1);
    world.put(&token(2, DAY).replace(&Digest::of(b"secret").to_string(), &Digest::of(b"other").to_string()));
    assert_eq!(world.get("JoinToken t").metadata.uses, 0);
    assert!(world.get("JoinToken t").metadata.used_by.is_empty());
}

#[test]
fn a_spent_token_put_again_as_shown_stays_as_it_is() {
    let mut world = World::new().with(&token(1, DAY));
    spend(&mut world, "t", b"secret").unwrap();
    let shown = world.shown("JoinToken t");
    let again = hanse_management::manifest::from_json(&shown, &name("default")).unwrap();
    assert_eq!(world.change(vec![again.into()]).unwrap().changes[0].action, "unchanged");
}

#[test]
fn a_joiner_whose_answer_was_lost_spends_nothing_and_is_remembered() {
    let mut world = World::new().with(&token(1, DAY));
    spend_as(&mut world, "t", b"secret", "agent-1", 7).unwrap();
    let revision = world.state.revision();
    spend_as(&mut world, "t", b"secret", "agent-1", 7).unwrap();
    assert_eq!((world.state.revision(), world.get("JoinToken t").metadata.uses), (revision, 1));
    for (joiner, key) in [("agent-1", 8), ("agent-2", 7)] {
        let problem = spend_as(&mut world, "t", b"secret", joiner, key).unwrap_err();
        assert_eq!(problem.name, ProblemName::JoinRefused, "another one does not pass as the first");
    }
    let member = world.state.member("agent-1").unwrap();
    let token = member.token.as_ref().unwrap();
    assert_eq!((token.as_str(), member.key_digest, member.environments.len()), ("t", [7; 32], 0));
    assert_eq!(world.state.member("agent-2"), None);
}

#[test]
fn an_identity_stays_with_its_key_unless_the_token_may_replace() {
    let mut world = World::new().with(&token(9, DAY));
    spend_as(&mut world, "t", b"secret", "agent-1", 7).unwrap();
    let problem = spend_as(&mut world, "t", b"secret", "agent-1", 8).unwrap_err();
    assert_eq!(problem.name, ProblemName::JoinRefused);
    assert_eq!(problem.detail, "agent-1 joined already, with another key");
    assert!(problem.remedy.contains("`replace: true`"), "{problem}");
    assert_eq!(world.state.member("agent-1").unwrap().key_digest, [7; 32]);
    assert_eq!(world.get("JoinToken t").metadata.uses, 1, "and no use is spent");

    // Another token lets the same key join again.
    let other =
        |spec: &str| token(9, DAY).replace("name: t", "name: u").replace("role:", &format!("{spec} role:"));
    world.put(&other(""));
    spend_as(&mut world, "u", b"secret", "agent-1", 7).unwrap();
    assert_eq!(world.state.member("agent-1").unwrap().token.as_ref().unwrap().as_str(), "u");
    spend_as(&mut world, "u", b"secret", "agent-1", 8).unwrap_err();

    world.put(&other("replace: true,"));
    spend_as(&mut world, "u", b"secret", "agent-1", 8).unwrap();
    assert_eq!(world.state.member("agent-1").unwrap().key_digest, [8; 32]);
}

#[test]
fn replace_is_shown_only_where_it_is_meant() {
    let mut world = World::new().with(&token(1, DAY));
    assert_eq!(world.get("JoinToken t").spec.shown().get("replace"), None);
    world.put(&token(1, DAY).replace("role:", "replace: true, role:"));
    assert_eq!(world.get("JoinToken t").spec.shown()["replace"], true);
}

#[test]
fn a_key_joins_under_one_name_only() {
    let mut world = World::new().with(&token(9, DAY));
    spend_as(&mut world, "t", b"secret", "agent-1", 7).unwrap();
    let problem = spend_as(&mut world, "t", b"secret", "agent-2", 7).unwrap_err();
    assert_eq!(
        (problem.name, problem.detail.as_str()),
        (ProblemName::JoinRefused, "this key joined already, as agent-1")
    );
    assert_eq!(world.get("JoinToken t").metadata.uses, 1);
    // What the name has no more, another may have.
    world.put(&token(9, DAY).replace("role:", "replace: true, role:"));
    spend_as(&mut world, "t", b"secret", "agent-1", 8).unwrap();
    spend_as(&mut world, "t", b"secret", "agent-2", 7).unwrap();
    spend_as(&mut world, "t", b"secret", "agent-2", 8).unwrap_err();
}

/// Seats of control nodes.
mod seats {
    use super::*;
    use crate::{Incumbent, Seat, SeatAsked, server_identity};

    fn server(extra: &str) -> String {
        token(9, DAY).replace("role: agent, region: eu-west,", &format!("role: server, {extra}"))
    }

    /// A federation whose founder is cp-1, with the key 1 and the id 11.
    fn founded(extra: &str) -> World {
        let mut world = World::new().with(&server(extra));
        record(&mut world, "cp-1", 1, 11).unwrap();
        world
    }

    fn record(world: &mut World, node: &str, key: u8, node_id: u64) -> Result<Accepted, Problem> {
        let identity = server_identity(node);
        world.run(CommandBody::RecordServer { identity, key_digest: [key; 32], node_id })
    }

    fn join(
        world: &mut World,
        node: &str,
        key: u8,
        node_id: u64,
        incumbent: Incumbent,
    ) -> Result<Accepted, Problem> {
        world.run(CommandBody::UseJoinToken {
            token: name("t"),
            secret_digest: Digest::of(b"secret").0,
            joiner: server_identity(node),
            key_digest: [key; 32],
            seat: Some(SeatAsked { node_id, incumbent }),
        })
    }

    #[test]
    fn a_seat_is_taken_by_whom_the_token_lets() {
        use Incumbent::{Heard, None, Silent, Unknown};
        let (plain, replace, force) = ("", "replace: true,", "force: true,");
        for (node, incumbent, spec, passes) in [
            // A fresh name is unaffected.
            ("cp-2", None, plain, true),
            ("cp-2", Unknown, plain, true),
            // A node of the Raft group that the state does not know yet.
            ("cp-2", Heard, plain, false),
            ("cp-2", Heard, replace, false),
            ("cp-2", Heard, force, true),
            ("cp-2", Silent, plain, false),
            ("cp-2", Silent, replace, true),
            // The founder.
            ("cp-1", Heard, plain, false),
            ("cp-1", Heard, replace, false),
            ("cp-1", Heard, force, true),
            ("cp-1", Silent, plain, false),
            ("cp-1", Silent, replace, true),
            ("cp-1", None, plain, false),
            ("cp-1", None, replace, true),
            // No leader looked: it counts as heard.
            ("cp-1", Unknown, replace, false),
            ("cp-1", Unknown, force, true),
        ] {
            let mut world = founded(spec);
            let joined = join(&mut world, node, 2, 12, incumbent);
            assert_eq!(joined.is_ok(), passes, "{node} {incumbent:?} {spec:?}: {joined:?}");
            if let Err(problem) = &joined {
                assert!(problem.detail.contains(&server_identity(node)), "{problem}");
                assert!(problem.remedy.contains("--replace"), "{problem}");
                assert_eq!(world.get("JoinToken t").metadata.uses, 0);
                continue;
            }
            let seat = world.state.member(&server_identity(node)).unwrap().seat;
            assert_eq!(seat, Some(Seat { node_id: 12, forced: spec == force }));
            // A lost answer is repeated, also if the leader hears the node by now.
            join(&mut world, node, 2, 12, Heard).unwrap();
            assert_eq!(world.get("JoinToken t").metadata.uses, 1);
        }
    }

    #[test]
    fn another_id_is_another_node() {
        let mut world = founded("");
        join(&mut world, "cp-1", 1, 12, Incumbent::None).unwrap_err();
        join(&mut world, "cp-1", 1, 11, Incumbent::None).unwrap();
    }

    #[test]
    fn a_node_records_itself_once() {
        let mut world = founded("");
        let revision = world.state.revision();
        assert_eq!(record(&mut world, "cp-1", 1, 11).unwrap().revision, revision);
        // One that was replaced changes nothing by coming back.
        assert_eq!(record(&mut world, "cp-1", 2, 12).unwrap().revision, revision);
        assert_eq!(world.state.member(&server_identity("cp-1")).unwrap().key_digest, [1; 32]);
        assert_eq!(record(&mut world, "cp-2", 1, 12).unwrap_err().name, ProblemName::JoinRefused);
        let agent = CommandBody::RecordServer {
            identity: "a.agent.eu-west.hanse.internal".into(),
            key_digest: [3; 32],
            node_id: 3,
        };
        assert_eq!(world.run(agent).unwrap_err().name, ProblemName::Invalid);
    }

    #[test]
    fn a_node_replaces_its_own_key_and_no_other_node_does() {
        let key = |world: &World| world.state.member(&server_identity("cp-1")).unwrap().key_digest[0];
        let mut world = founded("");
        let revision = world.state.revision();
        record(&mut world, "cp-1", 2, 12).unwrap();
        assert_eq!((key(&world), world.state.revision()), (1, revision), "another id is another node");
        assert_eq!(record(&mut world, "cp-1", 2, 11).unwrap().revision, revision + 1);
        let member = world.state.member(&server_identity("cp-1")).unwrap().clone();
        assert_eq!((member.key_digest, member.seat.unwrap().node_id), ([2; 32], 11));
        assert_eq!(world.state.members_with(&[1; 32]).count(), 0, "the key before it is on record nowhere");
        assert_eq!(record(&mut world, "cp-1", 2, 11).unwrap().revision, revision + 1, "once");

        // The key of another node, and a key that is refused.
        record(&mut world, "cp-2", 3, 13).unwrap();
        assert_eq!(record(&mut world, "cp-1", 3, 11).unwrap_err().name, ProblemName::JoinRefused);
        let control_nodes: Vec<_> = ["cp-1", "cp-2", "cp-3", "cp-4", "cp-5"].map(name).into();
        let revoke = |node: &str, key| CommandBody::Revoke {
            identity: server_identity(node),
            control_nodes: control_nodes.clone(),
            keys: vec![[key; 32]],
            known_keys: Vec::new(),
        };
        world.run(revoke("cp-3", 4)).unwrap();
        assert_eq!(record(&mut world, "cp-1", 4, 11).unwrap_err().name, ProblemName::JoinRefused);
        world.run(revoke("cp-1", 2)).unwrap();
        assert_eq!(
            record(&mut world, "cp-1", 5, 11).unwrap_err().name,
            ProblemName::JoinRefused,
            "its name is"
        );
        assert_eq!(key(&world), 2);
    }

    #[test]
    fn a_key_that_was_replaced_comes_back_nowhere() {
        let mut world = founded("replace: true,");
        let identity = server_identity("cp-1");
        record(&mut world, "cp-1", 2, 11).unwrap();
        record(&mut world, "cp-1", 3, 11).unwrap();
        let revision = world.state.revision();
        for key in [1, 2] {
            // A copy of the data directory from before, another new node, and one that joins.
            for problem in [
                record(&mut world, "cp-1", key, 11).unwrap_err(),
                record(&mut world, "cp-9", key, 19).unwrap_err(),
                join(&mut world, "cp-1", key, 12, Incumbent::Silent).unwrap_err(),
            ] {
                assert_eq!(problem.name, ProblemName::JoinRefused);
                assert!(problem.detail.contains(&format!("{identity} had it")), "{problem}");
            }
        }
        assert_eq!(world.state.revision(), revision);
        let keys = |world: &World| -> Vec<u8> {
            world.state.member(&identity).unwrap().keys().map(|key| key[0]).collect()
        };
        assert_eq!(keys(&world), [3, 1, 2]);

        // Also after the node joined anew.
        join(&mut world, "cp-1", 4, 12, Incumbent::Silent).unwrap();
        assert_eq!(keys(&world), [4, 1, 2]);
        record(&mut world, "cp-1", 1, 12).unwrap_err();

        for key in 5..19 {
            record(&mut world, "cp-1", key, 12).unwrap();
        }
        let problem = record(&mut world, "cp-1", 19, 12).unwrap_err();
        assert_eq!(problem.name, ProblemName::TooLarge);
        assert_eq!(keys(&world).len(), 17);
    }

    #[test]
    fn a_node_that_joined_before_there_were_seats_gets_its_own() {
        let mut world = founded("");
        let identity = server_identity("cp-2");
        let before = CommandBody::UseJoinToken {
            token: name("t"),
            secret_digest: Digest::of(b"secret").0,
            joiner: identity.clone(),
            key_digest: [2; 32],
            seat: None,
        };
        world.run(before).unwrap();
        record(&mut world, "cp-2", 2, 12).unwrap();
        let member = world.state.member(&identity).unwrap();
        assert_eq!((member.token.as_ref().unwrap().as_str(), member.seat.unwrap().node_id), ("t", 12));
    }

    #[test]
    fn only_a_control_node_may_be_forced_in() {
        let agent = token(1, DAY).replace("role:", "force: true, role:");
        World::new().check(&agent, "JoinToken t: spec.force");
    }
}
