use hanse_identity::KeyDigest;
use hanse_management::{Digest, manifest};
use hanse_state::{Change, Command, Lineage, MintedToken, Outcome};

use super::*;

/// A state, and what is heard of its agents.
struct World {
    state: State,
    heard: HeardAgents,
}

impl Observed for World {
    fn gateway_keys(&self, _: &Identity) -> Vec<KeyDigest> {
        Vec::new()
    }

    fn minted_tokens(&self) -> Vec<(Identity, MintedToken)> {
        Vec::new()
    }

    fn holders(&self) -> Vec<crate::reconcile::Holder> {
        Vec::new()
    }

    fn next_key(&self, _: &State) -> Option<CommandBody> {
        None
    }

    fn reseal(&self, _: &State) -> Option<CommandBody> {
        None
    }

    fn agents(&self) -> HeardAgents {
        self.heard.clone()
    }

    fn heard_standbys(&self, _: &Name) -> Vec<hanse_state::port::Standby> {
        Vec::new()
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn agent(text: &str) -> Identity {
    Identity::agent(name(text), name("eu-west"))
}

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(3_600);

impl World {
    /// With these agents, which are heard. The leader has watched for long.
    fn of(agents: &[&str]) -> Self {
        let heard = HeardAgents { watched_for: LONG, agents: BTreeMap::new() };
        let mut world = Self { state: State::default(), heard };
        world.run(CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None }));
        world.put(
            "{kind: Organization, name: shop}\n---\n{kind: Region, name: eu-west}\n---\n\
             {kind: Environment, name: production, spec: {regions: [eu-west]}}",
        );
        for one in agents {
            world.join(one, "[]", one.as_bytes()[0]);
            world.hear(one, NOW);
        }
        world
    }

    fn run(&mut self, body: CommandBody) {
        let outcome = self.state.apply(&Command {
            actor: "test".to_owned(),
            request_id: "test".to_owned(),
            time_ms: 1_000,
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: hanse_state::Origin::default(),
            body,
        });
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }

    fn put(&mut self, yaml: &str) {
        let manifests = manifest::parse_yaml(yaml, &name("shop")).unwrap();
        self.run(CommandBody::Apply(manifests.into_iter().map(Change::from).collect()));
    }

    /// An agent joins with a token for these environments.
    fn join(&mut self, one: &str, environments: &str, key: u8) {
        let digest = Digest::of(b"s");
        self.put(&format!(
            "{{kind: JoinToken, name: t-{one}, spec: {{role: agent, region: eu-west, environments: {environments}, uses: 99, \
             replace: true, expiresAt: 1000, digest: '{digest}'}}}}"
        ));
        self.run(CommandBody::UseJoinToken {
            token: name(&format!("t-{one}")),
            secret_digest: digest.0,
            joiner: agent(one).to_string(),
            key_digest: [key; 32],
            seat: None,
        });
    }

    fn revoke(&mut self, one: &str) {
        let (control_nodes, keys, known_keys) = (Vec::new(), Vec::new(), Vec::new());
        self.run(CommandBody::Revoke { identity: agent(one).to_string(), control_nodes, keys, known_keys });
    }

    /// It was heard so long ago, and has said its address for long.
    fn hear(&mut self, one: &str, heard_ago: Duration) {
        let heard = HeardAgent { heard_ago, address: format!("{one}.example:7443"), address_for: LONG };
        self.heard.agents.insert(agent(one), heard);
    }

    /// It says another address, for so long.
    fn says(&mut self, one: &str, address: &str, address_for: Duration) {
        let heard = HeardAgent { heard_ago: NOW, address: address.to_owned(), address_for };
        self.heard.agents.insert(agent(one), heard);
    }

    /// Carries out one plan, and checks that it is at most one command that changes something. Whether there was one.
    fn look(&mut self) -> bool {
        let plan = Neighbours.plan(&self.state, self, 0);
        assert!(plan.len() <= 1, "{plan:?}");
        let revision = self.state.revision();
        let is_planned = !plan.is_empty();
        plan.into_iter().for_each(|body| self.run(body));
        assert_eq!(self.state.revision() > revision, is_planned, "what is planned changes something");
        is_planned
    }

    /// After all that is to do: the relays, each with a star, and the others with an address.
    fn settled(&mut self) -> String {
        for _ in 0..10 {
            if !self.look() {
                return self.said();
            }
        }
        panic!("it does not settle: {}", self.said());
    }

    fn said(&self) -> String {
        let said = self.state.members().filter(|(_, member)| member.relay || !member.address.is_empty());
        let said = said.map(|(identity, member)| {
            let mark = if member.relay { "*" } else { "" };
            format!("{}{mark}", identity.split('.').next().unwrap())
        });
        said.collect::<Vec<_>>().join(" ")
    }

    fn address(&self, one: &str) -> &str {
        &self.state.member(&agent(one).to_string()).unwrap().address
    }
}

#[test]
fn three_agents_that_are_heard_are_relays_and_stay_so() {
    let mut world = World::of(&["d", "a", "b", "c"]);
    assert_eq!(world.settled(), "a* b* c*");
    assert_eq!(world.address("a"), "a.example:7443");
    world.join("0", "[]", b'0');
    world.hear("0", NOW);
    assert_eq!(world.settled(), "a* b* c*", "a name before theirs replaces none");

    let mut world = World::of(&["a", "b"]);
    assert_eq!(world.settled(), "a* b*", "of fewer all are relays");
    world.join("c", "[]", b'c');
    assert_eq!(world.settled(), "a* b*", "one that is not heard is none");
    world.hear("c", NOW);
    assert_eq!(world.settled(), "a* b* c*");
}

#[test]
fn a_relay_that_is_silent_for_a_minute_is_replaced_by_one_that_is_heard() {
    let mut world = World::of(&["a", "b", "c", "d", "e"]);
    world.settled();
    world.hear("a", SILENT_FOR - Duration::from_secs(1));
    assert_eq!(world.settled(), "a* b* c*");
    world.hear("a", SILENT_FOR);
    world.hear("d", LEASE);
    assert_eq!(world.settled(), "b* c* e*", "d has no lease");
    world.hear("a", NOW);
    assert_eq!(world.settled(), "b* c* e*", "one that comes back takes no place");

    // One at a time.
    world.hear("b", LONG);
    world.hear("c", LONG);
    world.hear("d", NOW);
    world.look();
    assert_eq!(world.said(), "a* c* e*");
    world.look();
    assert_eq!(world.said(), "a* d* e*");
}

#[test]
fn silence_alone_takes_no_place_away() {
    let mut world = World::of(&["a", "b", "c", "d"]);
    world.settled();
    world.heard.agents.clear();
    assert_eq!(world.settled(), "a* b* c*", "with none to take the place");
    world.hear("d", NOW);
    world.heard.watched_for = SILENT_FOR - Duration::from_secs(1);
    assert_eq!(world.settled(), "a* b* c*", "a leader that started a moment ago has heard nothing yet");
    world.heard.watched_for = SILENT_FOR;
    assert!(world.look());
    assert_eq!(world.said(), "b* c* d*");
}

#[test]
fn a_revoked_or_restricted_agent_is_no_relay() {
    let mut world = World::of(&["a", "b", "c"]);
    world.join("r", "[production]", b'r');
    world.hear("r", NOW);
    assert_eq!(world.settled(), "a* b* c*");
    world.heard.watched_for = NOW;
    world.revoke("a");
    assert!(!world.look(), "there is nobody else, and a revoked agent counts for nothing");
    world.join("d", "[]", b'd');
    world.hear("d", NOW);
    world.look();
    assert_eq!(world.said(), "b* c* d*", "the revoked one has its mark no more");
    world.join("b", "[production]", b'b');
    world.look();
    assert_eq!(world.said(), "c* d*", "it may learn some environments only");
    world.join("c", "[]", b'9');
    assert_eq!(world.said(), "d*", "it has another key");
    world.look();
    assert_eq!(world.said(), "c* d*");
}

#[test]
fn holders_have_an_address_and_others_have_none() {
    let mut world = World::of(&["a", "b", "c", "h", "x"]);
    world.put(
        "{kind: Origin, name: east, spec: {region: eu-west, environments: [production], organizations: [shop], \
         kinds: [Route], holders: [h, unknown]}}",
    );
    assert_eq!(world.settled(), "a* b* c* h");
    world.join("r", "[production]", b'r');
    world.says("r", "", LONG);
    world.put(
        "{kind: Origin, name: east, spec: {region: eu-west, environments: [production], organizations: [shop], \
         kinds: [Route], holders: [r]}}",
    );
    assert_eq!(world.settled(), "a* b* c*", "it does not say its address");
    world.says("r", "r.example:1", NOW);
    assert_eq!(world.settled(), "a* b* c* r", "a restricted agent may hold");
}

#[test]
fn an_address_changes_once_it_holds_and_is_kept_when_it_is_not_said() {
    let mut world = World::of(&["a"]);
    world.settled();
    world.says("a", "new.example:1", ADDRESS_HOLDS_AFTER - Duration::from_secs(1));
    assert!(!world.look());
    world.says("a", "new.example:1", ADDRESS_HOLDS_AFTER);
    world.settled();
    assert_eq!(world.address("a"), "new.example:1");
    world.says("a", "", LONG);
    assert!(!world.look());
    world.heard.agents.clear();
    assert!(!world.look());
    assert_eq!(world.address("a"), "new.example:1");
}
