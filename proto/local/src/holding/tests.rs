use hanse_identity::{Authority, KeyPair, LiveTrust, Refused};
use hanse_sync::HeadSignature;
use hanse_topology::Lineage;

use super::*;
use crate::{Merge, OriginKeeper, testbed::*};

/// An agent that is the holder of `local/eu-west/production/pods`, with a source.
struct Agent {
    hub: Replicas,
    keeper: OriginKeeper,
    origins: Origins,
    holding: Holding,
    handle: HoldingHandle,
    key: KeyPair,
    /// Of another agent.
    other: KeyPair,
    trust: LiveTrust,
    wishes: watch::Sender<Wishes>,
    now: Instant,
}

impl Agent {
    fn new() -> Self {
        let (authority, trust) = agent();
        let (hub, key) = (Replicas::new(), authority.key().clone());
        control_plane_says(&hub, "production", &[("origin/pods", &origin(&key))]);
        let (keeper, origins) = OriginKeeper::new(hub.clone(), trust.clone());
        let other = KeyPair::generate().unwrap();
        let (wishes, seen) = watch::channel(Wishes::new());
        let live = LiveAuthority::new(authority);
        let (holding, handle) = Holding::new(hub.clone(), origins.clone(), live, seen);
        Self { hub, keeper, origins, holding, handle, key, other, trust, wishes, now: Instant::now() }
    }

    /// The Origin has these holders from now on.
    fn origin_is(&mut self, origin: &Bytes) {
        control_plane_says(&self.hub, "production", &[("origin/pods", origin)]);
        self.keeper.step();
    }

    /// The other agent is a holder too, and has taken over twice. This one answered once, and follows it now.
    fn follows_another(&mut self) {
        self.origin_is(&origin_of(&[&self.key, &self.other], MADE_AT_MS));
        self.wish("production", 1, &[("a", "1")]);
        assert_eq!(self.held(), said(1, 1, "a=1 "));
        holds(&self.hub, &pods("production"), &self.other, 5);
        assert_eq!(self.held(), said(6, 1, "a=1 "));
        holds(&self.hub, &pods("production"), &self.other, 7);
        assert_eq!(self.held(), said(7, 1, "a=1 "));
    }

    fn is_due_later(&mut self) -> bool {
        let due = self.holding.step(self.now, &mut draw);
        due.is_none_or(|due| due > self.now)
    }

    fn wish(&self, environment: &str, term: u64, content: &[(&str, &'static str)]) {
        let content =
            content.iter().map(|(key, value)| (Arc::from(*key), Bytes::from_static(value.as_bytes())));
        let wish = Arc::new(Wish { term, content: content.collect() });
        self.wishes.send_modify(|wishes| {
            wishes.insert(pods(environment), wish);
        });
    }

    /// Where the scope stands, if what is held of it is signed by the holder: counter, revision, keys and values.
    fn held(&mut self) -> Option<(u32, u64, String)> {
        self.holding.step(self.now, &mut draw);
        self.hub.read(|map| {
            let replica = map.get(&pods("production"))?;
            let (position, root) = (replica.position()?, replica.root());
            self.origins.judge(&pods("production"), position, &root, replica.signature()?).unwrap();
            let content =
                replica.iter().map(|(key, value)| format!("{key}={} ", String::from_utf8_lossy(value)));
            Some((head::counter_of(&position.lineage), position.revision, content.collect()))
        })
    }
}

fn said(counter: u32, revision: u64, content: &str) -> Option<(u32, u64, String)> {
    Some((counter, revision, content.to_owned()))
}

#[test]
fn wishes_are_published_signed() {
    let mut agent = Agent::new();
    assert_eq!(agent.held(), None);
    agent.wish("production", 1, &[("a", "1"), ("b", "1")]);
    assert_eq!(agent.held(), said(1, 1, "a=1 b=1 "));
    assert_eq!(agent.held(), said(1, 1, "a=1 b=1 "));
    agent.wish("production", 1, &[("a", "2")]);
    assert_eq!(agent.held(), said(1, 2, "a=2 "));
    let changes = agent.hub.read(|map| map[&pods("production")].changes_since(1)).unwrap();
    assert_eq!((changes.upserts.len(), changes.removals.len()), (1, 1), "a delta leads there");
    agent.wish("production", 2, &[("a", "2")]);
    assert_eq!(agent.held(), said(2, 1, "a=2 "));
    agent.wishes.send_replace(Wishes::new());
    assert_eq!(agent.held(), said(2, 1, "a=2 "), "without a wish what is held stays");
}

#[test]
fn only_what_its_origin_names_it_for_is_published() {
    let mut agent = Agent::new();
    agent.wish("staging", 1, &[("a", "1")]);
    agent.held();
    assert!(agent.hub.read(|map| !map.contains_key(&pods("staging"))));

    // The Origin names another holder from now on, and later this one again.
    agent.wish("production", 1, &[("a", "1")]);
    assert_eq!(agent.held(), said(1, 1, "a=1 "));
    let other = Authority::new_root().unwrap();
    control_plane_says(&agent.hub, "production", &[("origin/pods", &origin(other.key()))]);
    agent.keeper.step();
    agent.wish("production", 1, &[("a", "2")]);
    agent.holding.step(agent.now, &mut draw);
    assert_eq!(agent.hub.read(|map| map[&pods("production")].position().unwrap().revision), 1);
    control_plane_says(&agent.hub, "production", &[("origin/pods", &origin(&agent.key))]);
    agent.keeper.step();
    assert_eq!(agent.held(), said(2, 1, "a=2 "));
}

#[test]
fn a_head_that_a_gateway_holds_counts_if_a_holder_signed_it() {
    let mut agent = Agent::new();
    agent.wish("production", 1, &[("a", "1")]);
    assert_eq!(agent.held(), said(1, 1, "a=1 "));
    let scope = pods("production");
    // Any gateway can say that it holds the last counter.
    let stranger = Authority::new_root().unwrap();
    let claim = signed(stranger.key(), &scope, u32::MAX);
    agent.handle.meet(&scope, &claim);
    let unsigned = HeldHead { position: position(&agent.key, u32::MAX, 1), ..signed(&agent.key, &scope, 5) };
    agent.handle.meet(&scope, &unsigned);
    assert_eq!(agent.held(), said(1, 1, "a=1 "));

    // The data directory was lost, and a gateway of the agent holds what it published before.
    agent.handle.meet(&scope, &signed(&agent.key, &scope, 5));
    assert_eq!(agent.held(), said(6, 1, "a=1 "));
    agent.handle.meet(&scope, &signed(&agent.key, &scope, 3));
    assert_eq!(agent.held(), said(6, 1, "a=1 "));
}

/// Neither of two lineages of one generation follows the other, so no merge brings one where the other is held.
#[test]
fn a_holder_takes_over_when_a_link_has_another_lineage_of_the_same_generation() {
    let mut agent = Agent::new();
    agent.origin_is(&origin_of(&[&agent.key, &agent.other], MADE_AT_MS));
    agent.wish("production", 1, &[("a", "1")]);
    assert_eq!(agent.held(), said(1, 1, "a=1 "));
    let scope = pods("production");
    let own = agent.hub.read(|map| *map[&scope].position().unwrap());
    let id = head::id_of(&head::digest_of(&agent.other.public_key_der()), MADE_AT_MS, [3; 8]);
    let to = Position { lineage: Lineage { id, ..own.lineage }, revision: 1 };
    let link = Replicas::new();
    link.update(&scope, |replica| {
        let change = replica.prepare_afresh(to, vec![("a".into(), "2".into())]);
        let signature = head::sign(&agent.other, &scope, change.to(), &change.root()).unwrap();
        replica.commit(change.signed(signature)).unwrap();
    });
    let (own, origins, holding) = (agent.hub.clone(), agent.origins.clone(), agent.handle.clone());
    Merge { link, own, heads: Arc::new(origins.clone()), origins, holding }.step();
    assert_eq!(agent.held(), said(2, 1, "a=1 "));
}

#[test]
fn a_wish_beyond_the_bound_is_not_published_and_holds_up_no_other() {
    let mut agent = Agent::new();
    agent.wish("production", 1, &[("a", "1")]);
    agent.held();
    let content = (0..=MAX_LOCAL_KEYS).map(|key| (Arc::from(format!("k{key}")), Bytes::new())).collect();
    agent.wishes.send_replace([(pods("production"), Arc::new(Wish { term: 1, content }))].into());
    assert_eq!(agent.held(), said(1, 1, "a=1 "));
    agent.wish("production", 1, &[("a", "3")]);
    assert_eq!(agent.held(), said(1, 2, "a=3 "));
}

/// The hub is told of changes several times a second, so nothing may be due in the past.
#[test]
fn a_takeover_that_cannot_be_made_does_not_spin() {
    let too_many = || (0..=MAX_LOCAL_KEYS).map(|key| (Arc::from(format!("k{key}")), Bytes::new())).collect();
    for exhausted in [false, true] {
        let mut agent = Agent::new();
        agent.follows_another();
        if exhausted {
            agent.handle.meet(&pods("production"), &signed(&agent.other, &pods("production"), u32::MAX));
            agent.wish("production", 1, &[("a", "2")]);
        } else {
            let wish = Wish { term: 1, content: too_many() };
            agent.wishes.send_replace([(pods("production"), Arc::new(wish))].into());
        }
        assert!(agent.is_due_later());
        for _ in 0..10 {
            agent.now += Duration::from_secs(20);
            assert!(agent.is_due_later(), "{exhausted}");
        }
        assert_eq!(agent.held(), said(7, 1, "a=1 "));
        // When the cause is gone, it goes on.
        if exhausted {
            agent.origin_is(&origin(&agent.key));
        } else {
            agent.wish("production", 1, &[("a", "2")]);
        }
        agent.is_due_later();
        agent.now += Duration::from_secs(20);
        assert_eq!(agent.held(), said(if exhausted { 1 } else { 8 }, 1, "a=2 "), "{exhausted}");
    }
}

/// The agent's machine was lost, or another agent is the holder now, or the one before was revoked: each begins with what is believed.
#[test]
fn a_head_of_one_that_is_no_holder_any_more_does_not_count() {
    let scope = pods("production");
    for case in ["not named", "revoked", "another Origin"] {
        let mut agent = Agent::new();
        agent.origin_is(&origin_of(&[&agent.key, &agent.other], MADE_AT_MS));
        holds(&agent.hub, &scope, &agent.other, 9);
        agent.handle.meet(&scope, &signed(&agent.other, &scope, u32::MAX));
        match case {
            "not named" => agent.origin_is(&origin(&agent.key)),
            "revoked" => {
                let keys = [head::digest_of(&agent.other.public_key_der())].into();
                agent.trust.refuse(Refused { keys, ..Refused::default() });
            }
            _ => agent.origin_is(&origin_of(&[&agent.key, &agent.other], MADE_AT_MS + 1)),
        }
        agent.wish("production", 1, &[("a", "1"), ("b", "1")]);
        assert_eq!(agent.held(), said(1, 1, "a=1 b=1 "), "{case}");
        assert!(agent.origins.met_changed().borrow().is_empty(), "{case}");
        agent.wish("production", 1, &[("a", "2")]);
        assert_eq!(agent.held(), said(1, 2, "a=2 "), "{case}");
    }
}

/// Its own head does not count any more, and it must not take over again and again.
#[test]
fn a_holder_that_is_revoked_publishes_nothing() {
    let mut agent = Agent::new();
    agent.wish("production", 1, &[("a", "1")]);
    assert_eq!(agent.held(), said(1, 1, "a=1 "));
    let keys = [head::digest_of(&agent.key.public_key_der())].into();
    agent.trust.refuse(Refused { keys, ..Refused::default() });
    agent.wish("production", 2, &[("a", "2")]);
    for _ in 0..3 {
        assert!(agent.is_due_later());
        agent.now += Duration::from_secs(20);
    }
    let held = agent.hub.read(|map| map[&pods("production")].position().copied()).unwrap();
    assert_eq!((head::counter_of(&held.lineage), held.revision), (1, 1));
}

/// The sessions of an agent's links ask for it: one that the agent follows may be a holder, or know one.
#[test]
fn a_head_that_was_met_is_told_to_those_that_the_agent_follows() {
    let mut agent = Agent::new();
    let scope = pods("production");
    agent.origin_is(&origin_of(&[&agent.other], MADE_AT_MS));
    let head = signed(&agent.other, &scope, 5);
    for claim in [&signed(&agent.key, &scope, 9), &head, &signed(&agent.other, &scope, 3)] {
        agent.handle.meet(&scope, claim);
    }
    assert_eq!(agent.origins.met(&scope), Some(head.clone()));
    let link = agent.origins.of_link(agent.hub.clone(), Some("agent-2".parse().unwrap()));
    assert_eq!(link.met(&scope), Some(head), "on a link to one holder too");
    agent.origin_is(&origin(&agent.key));
    assert_eq!(agent.origins.met(&scope), None, "its holder is none any more");
}

/// A head that came after it was met is told by the links, as far as they lack it.
#[test]
fn a_head_that_the_agent_has_by_now_is_forgotten_and_told_as_its_own() {
    let mut agent = Agent::new();
    let scope = pods("production");
    agent.origin_is(&origin_of(&[&agent.other], MADE_AT_MS));
    let head = signed(&agent.other, &scope, 5);
    agent.handle.meet(&scope, &head);
    agent.held();
    assert_eq!(agent.origins.met(&scope), Some(head), "it has no content of it");
    holds(&agent.hub, &scope, &agent.other, 5);
    agent.held();
    assert_eq!(agent.origins.met(&scope), None);

    let link = agent.origins.of_link(agent.hub.clone(), None);
    let other = agent.other.clone();
    let own = |heads: &Origins, counter: Option<u32>| {
        let at = counter.map(|counter| position(&other, counter, 1));
        heads.own(&scope, at.as_ref()).map(|head| head.position)
    };
    let held = agent.hub.read(|map| map[&scope].position().copied());
    for (counter, expected) in [(None, held), (Some(4), held), (Some(5), None), (Some(6), None)] {
        assert_eq!(own(&link, counter), expected, "{counter:?}");
    }
    assert_eq!(own(&agent.origins, None), None, "on a link that fills the hub of the agent");
    agent.origin_is(&origin(&agent.key));
    assert_eq!(own(&link, None), None, "it counts no longer");
}

/// A head that is kept must not keep the message that it came in.
#[test]
fn of_a_head_that_is_kept_key_and_signature_are_copied() {
    let mut agent = Agent::new();
    let scope = pods("production");
    agent.origin_is(&origin_of(&[&agent.other], MADE_AT_MS));
    let HeldHead { position, root, signature } = signed(&agent.other, &scope, 5);
    let message = Bytes::from([&signature.spki[..], &signature.signature, &[0; 4_000]].concat());
    let (spki, rest) = (message.slice(..signature.spki.len()), message.slice(signature.spki.len()..));
    let signature = HeadSignature { spki, signature: rest.slice(..signature.signature.len()) };
    drop(rest);
    let head = HeldHead { position, root, signature };
    agent.handle.meet(&scope, &head);
    let kept = agent.origins.met(&scope).unwrap();
    assert_eq!(kept, head);
    let is_of_message = |octets: &Bytes| message.as_ptr_range().contains(&octets.as_ptr());
    assert!(is_of_message(&head.signature.spki));
    assert!(!is_of_message(&kept.signature.spki) && !is_of_message(&kept.signature.signature));
}

#[test]
fn what_any_gateway_may_claim_is_counted() {
    let agent = Agent::new();
    let scope = pods("production");
    let claims = [
        signed(&agent.other, &scope, 5),
        HeldHead { position: position(&agent.key, 9, 1), ..signed(&agent.key, &scope, 5) },
    ];
    for (at, claim) in claims.iter().enumerate() {
        agent.handle.meet(&scope, claim);
        assert_eq!(agent.hub.metrics().heads_disbelieved.get(), at as u64 + 1);
    }
    agent.handle.meet(&scope, &signed(&agent.key, &scope, 5));
    assert_eq!(agent.hub.metrics().heads_disbelieved.get(), 2);
}

#[tokio::test]
async fn the_task_publishes_when_wishes_origins_and_heads_change() {
    let Agent { hub, keeper, handle, mut holding, key, wishes, .. } = Agent::new();
    let (trigger, shutdown) = hanse_process::ShutdownTrigger::new();
    let running = tokio::spawn(async move { holding.run(shutdown).await });
    let mut changed = hub.subscribe();
    let scope = pods("production");
    let mut until = async |counter: u32, revision: u64| {
        let is_there = |_: &u64| {
            let position = hub.read(|map| map.get(&scope).and_then(|replica| replica.position().copied()));
            position.is_some_and(|at| (head::counter_of(&at.lineage), at.revision) == (counter, revision))
        };
        let soon = Duration::from_secs(30);
        tokio::time::timeout(soon, changed.wait_for(is_there)).await.expect("in time").unwrap();
    };
    let wish = |value: &'static str| {
        let content = [(Arc::from("a"), Bytes::from(value))].into();
        wishes.send_replace([(scope.clone(), Arc::new(Wish { term: 1, content }))].into());
    };
    wish("1");
    until(1, 1).await;
    wish("2");
    until(1, 2).await;
    handle.meet(&scope, &signed(&key, &scope, 7));
    until(8, 1).await;
    drop(keeper);
    trigger.trigger();
    running.await.unwrap();
}
