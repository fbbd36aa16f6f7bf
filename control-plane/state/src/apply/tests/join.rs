//! JoinTokens.

use crate::{
    Accepted, CommandBody, Problem, ProblemName,
    fixture::{START_MS, World, name},
    spec::Digest,
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
    })
}

#[test]
fn uses_are_counted_and_end() {
    let mut world = World::new().with(&token(2, DAY));
    let accepted = spend(&mut world, "t", b"secret").unwrap();
    assert_eq!(crate::fixture::told(&accepted), ["updated JoinToken t 3"]);
    assert_eq!(world.get("JoinToken t").to_json()["status"], serde_json::json!({"uses": 1}));
    spend(&mut world, "t", b"secret").unwrap();
    let problem = spend(&mut world, "t", b"secret").unwrap_err();
    assert_eq!(
        (problem.name, problem.detail.as_str()),
        (ProblemName::JoinRefused, "the join token t is used up: 2 of 2 uses spent")
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
}

#[test]
fn a_spent_token_put_again_as_shown_stays_as_it_is() {
    let mut world = World::new().with(&token(1, DAY));
    spend(&mut world, "t", b"secret").unwrap();
    let shown = world.get("JoinToken t").to_json();
    let again = crate::manifest::from_json(&shown, &name("default")).unwrap();
    assert_eq!(world.change(vec![again.into_change()]).unwrap().changes[0].action, "unchanged");
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
    assert_eq!((member.token.as_str(), member.key_digest, member.environments.len()), ("t", [7; 32], 0));
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
    assert_eq!(world.state.member("agent-1").unwrap().token.as_str(), "u");
    spend_as(&mut world, "u", b"secret", "agent-1", 8).unwrap_err();

    world.put(&other("replace: true,"));
    spend_as(&mut world, "u", b"secret", "agent-1", 8).unwrap();
    assert_eq!(world.state.member("agent-1").unwrap().key_digest, [8; 32]);
}

#[test]
fn replace_is_shown_only_where_it_is_meant() {
    let mut world = World::new().with(&token(1, DAY));
    assert_eq!(world.get("JoinToken t").to_json()["spec"].get("replace"), None);
    world.put(&token(1, DAY).replace("role:", "replace: true, role:"));
    assert_eq!(world.get("JoinToken t").to_json()["spec"]["replace"], true);
}
