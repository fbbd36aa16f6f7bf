//! Local scopes: what a subscriber takes in of them, asks for, and lets go.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{HeadSignature, Heads, PublisherSession, Received};

/// The key that signs in these tests, and one that is no holder's.
const HOLDER: &[u8] = b"holder";
const STRANGER: &[u8] = b"stranger";

fn local() -> ScopeId {
    "local/r/e/pods".parse().unwrap()
}

/// In place of a signature: everything that one would cover.
fn sign(key: &'static [u8], scope: &ScopeId, position: &Position, root: &ContentRoot) -> HeadSignature {
    let covered = format!("{key:?} {scope} {position} {root}");
    HeadSignature { spki: key.into(), signature: Sha256::digest(covered).to_vec().into() }
}

/// Believes [`HOLDER`], as long as there is an Origin.
#[derive(Debug)]
struct Origin(AtomicBool);

impl Heads for Origin {
    fn wants(&self, scope: &ScopeId) -> bool {
        *scope == local() && self.0.load(Ordering::SeqCst)
    }

    fn judge(
        &self,
        scope: &ScopeId,
        position: &Position,
        root: &ContentRoot,
        signature: &HeadSignature,
    ) -> Result<(), String> {
        match self.wants(scope) && *signature == sign(HOLDER, scope, position, root) {
            true => Ok(()),
            false => Err("it is not the holder's".to_owned()),
        }
    }
}

/// A publisher and a subscriber of `runtime/r/e` and of the local scope.
struct Pair {
    publisher: PublisherSession,
    theirs: ReplicaMap,
    example: Example,
    origin: Arc<Origin>,
}

/// What is done to messages on their way.
type Tamper = fn(&mut publisher_message::Body);

fn untouched(_: &mut publisher_message::Body) {}

impl Pair {
    fn new() -> Self {
        Self::with_origin(true)
    }

    fn with_origin(there: bool) -> Self {
        let now = Instant::now();
        let mut publisher = PublisherSession::new("p".to_owned());
        publisher.admit([scope("e"), local()], Some(at(12)));
        let theirs = ReplicaMap::from([(scope("e"), replica_at(12)), (local(), Replica::new())]);
        let origin = Arc::new(Origin(AtomicBool::new(there)));
        let (session, effects) =
            SubscriberSession::start(Wanted::All, "test", BOOT, Patience::default(), now);
        let example = Example { session: session.judging(origin.clone()), replicas: ReplicaMap::new(), now };
        let mut pair = Self { publisher, theirs, example, origin };
        pair.carry_out(effects);
        pair
    }

    /// The holder's next revision: `content`, signed with `key`.
    fn write(&mut self, key: &'static [u8], generation: u64, revision: u64, content: &[(&str, &str)]) {
        self.write_at(key, in_generation(generation, revision), puts(content));
    }

    fn write_at(&mut self, key: &'static [u8], to: Position, content: Vec<(Arc<str>, Bytes)>) {
        let replica = self.theirs.get_mut(&local()).unwrap();
        let change = replica.prepare_snapshot(to, content).unwrap();
        let signature = sign(key, &local(), &to, &change.root());
        replica.commit(change.signed(signature)).unwrap();
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Vec<String> {
        for effect in &effects {
            if let Effect::Send(message) = effect {
                self.publisher.handle(message.clone()).unwrap();
            }
        }
        self.example.carry_out(effects)
    }

    /// Everything on its way arrives. What came of it, but for Hellos.
    fn exchange(&mut self, tamper: Tamper) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let freshness = Freshness { confirmed_at: self.example.now, quorum: true };
            let messages = self.publisher.next(&self.theirs, freshness, self.example.now);
            if messages.is_empty() {
                said.retain(|line: &String| !line.starts_with("hello"));
                return said;
            }
            for mut message in messages {
                tamper(message.body.as_mut().unwrap());
                let effects = self.example.session.handle(message, &self.example.replicas, self.example.now);
                said.extend(self.carry_out(effects));
            }
        }
    }

    /// The same a second later, after a look at the time.
    fn a_second_later(&mut self, tamper: Tamper) -> Vec<String> {
        self.example.now += Duration::from_secs(1);
        let effects = self.example.session.tick(&self.example.replicas, self.example.now);
        let mut said = self.carry_out(effects);
        said.extend(self.exchange(tamper));
        said.retain(|line| !line.starts_with("hello"));
        said
    }

    fn held(&self) -> Option<Position> {
        self.example.replicas.get(&local()).and_then(|replica| replica.position().copied())
    }
}

#[test]
fn a_signed_head_is_taken_in_kept_and_passed_on() {
    let mut pair = Pair::new();
    pair.exchange(untouched);
    pair.write(HOLDER, 1, 1, &[("a", "1")]);
    assert_eq!(pair.exchange(untouched), ["replace at 1: nothing held"]);
    let (root, to) = (pair.theirs[&local()].root(), in_generation(1, 1));
    let signature = sign(HOLDER, &local(), &to, &root);
    let held = &pair.example.replicas[&local()];
    assert_eq!(held.signature(), Some(&signature));
    assert_eq!(held.head().unwrap().signature, Some(signature.clone()), "it is kept with the content");
    assert_eq!(pair.example.replicas[&scope("e")].signature(), None);

    // A node that follows this one hears it in its Hello, whether or not it is believed.
    let mut publisher = PublisherSession::new("holder".to_owned());
    publisher.admit([local()], None);
    let (_, effects) =
        SubscriberSession::start(Wanted::All, "test", BOOT, Patience::default(), Instant::now());
    let hello = subscription::hello(&local(), Some(held), false);
    let mut received = effects.into_iter().chain([hello]).map(|effect| match effect {
        Effect::Send(message) => publisher.handle(message).unwrap(),
        other => panic!("{other:?}"),
    });
    let head = crate::HeldHead { position: to, root, signature };
    let subscribed = Received::Subscribed { scope: local(), position: Some(to), head: Some(head) };
    assert_eq!(received.nth(1), Some(subscribed));
}

#[test]
fn a_head_that_is_not_a_holders_is_dropped_and_the_stream_stays() {
    use publisher_message::Body;
    // What is done to the messages of an honest publisher; and by whom the head is signed.
    let forgeries: [(&str, &'static [u8], Tamper); 5] = [
        ("a stranger's", STRANGER, untouched),
        ("unsigned", HOLDER, |body| {
            if let Body::End(end) = body {
                end.signature = None;
            }
        }),
        ("of another position", HOLDER, |body| match body {
            Body::Begin(begin) if begin.scope.starts_with("local") => {
                begin.to = Some(in_generation(1, 9).into());
            }
            Body::End(end) if end.scope.starts_with("local") => end.to = Some(in_generation(1, 9).into()),
            _ => {}
        }),
        ("of another content", HOLDER, |body| match body {
            Body::Chunk(chunk) if chunk.scope.starts_with("local") => chunk.upserts[0].value = "2".into(),
            Body::End(end) if end.scope.starts_with("local") => {
                let mut other = Replica::new();
                let root = other.advance(in_generation(1, 1), puts(&[("a", "2")]), vec![]).unwrap();
                end.root = root.0.to_vec().into();
            }
            _ => {}
        }),
        ("of another lineage", HOLDER, |body| match body {
            Body::Begin(begin) if begin.scope.starts_with("local") => {
                begin.to = Some(in_generation(2, 1).into());
            }
            Body::End(end) if end.scope.starts_with("local") => end.to = Some(in_generation(2, 1).into()),
            _ => {}
        }),
    ];
    for (name, key, tamper) in forgeries {
        let mut pair = Pair::new();
        pair.exchange(untouched);
        pair.write(key, 1, 1, &[("a", "1")]);
        assert_eq!(pair.exchange(tamper), ["alarm forged head", "leave local/r/e/pods"], "{name}");
        assert_eq!(pair.held(), None, "{name}");

        // The scopes of the control plane go on, and the publisher is left alone for half a minute.
        pair.theirs.insert(scope("e"), replica_at(13));
        for second in 1..30 {
            let expected: &[&str] = if second == 1 { &["replace at 13: outside the window"] } else { &[] };
            assert_eq!(pair.a_second_later(tamper), expected, "{name} after {second} s");
        }
        assert_eq!(pair.example.session.standing(pair.example.now), Standing::Good, "{name}");
        if key == HOLDER {
            assert_eq!(pair.a_second_later(untouched), ["replace at 1: nothing held"], "{name}");
        }
    }
}

#[test]
fn a_bookmark_that_moves_a_local_scope_is_signed() {
    use publisher_message::Body;
    for (tamper, moves) in [
        (untouched as Tamper, true),
        (
            |body| {
                if let Body::Bookmark(bookmark) = body {
                    bookmark.signature = None;
                }
            },
            false,
        ),
    ] {
        let mut pair = Pair::new();
        pair.exchange(untouched);
        pair.write(HOLDER, 1, 1, &[("a", "1")]);
        pair.exchange(untouched);
        // A publisher that jumped from 1 to 3 itself knows no changes between, and the content is the same.
        pair.write(HOLDER, 1, 3, &[("a", "1")]);
        let said = pair.a_second_later(tamper);
        match moves {
            true => assert_eq!(said, ["move to 3"]),
            false => assert_eq!(said, ["alarm forged head", "leave local/r/e/pods"]),
        }
        let revision = if moves { 3 } else { 1 };
        let held = &pair.example.replicas[&local()];
        assert_eq!(held.position(), Some(&in_generation(1, revision)));
        let signature = sign(HOLDER, &local(), &in_generation(1, revision), &held.root());
        assert_eq!(held.signature(), Some(&signature));
        assert_eq!(pair.a_second_later(untouched), Vec::<String>::new(), "one that does not move needs none");
    }
}

#[test]
fn an_origin_may_come_after_the_offer_and_go_before_it() {
    let mut pair = Pair::with_origin(false);
    pair.write(HOLDER, 1, 1, &[("a", "1")]);
    assert_eq!(pair.exchange(untouched), ["replace at 12: nothing held"]);
    assert_eq!(pair.a_second_later(untouched), Vec::<String>::new());
    pair.origin.0.store(true, Ordering::SeqCst);
    assert_eq!(pair.a_second_later(untouched), ["replace at 1: nothing held"]);

    pair.origin.0.store(false, Ordering::SeqCst);
    assert_eq!(pair.a_second_later(untouched), ["leave local/r/e/pods"]);
    pair.write(HOLDER, 1, 2, &[("a", "2")]);
    assert_eq!(pair.a_second_later(untouched), Vec::<String>::new());
    assert_eq!(pair.held(), Some(in_generation(1, 1)), "the session removes nothing");
    pair.origin.0.store(true, Ordering::SeqCst);
    assert_eq!(pair.a_second_later(untouched), ["advance to 2"]);
}

#[test]
fn no_offer_withdraws_a_local_scope() {
    let mut pair = Pair::new();
    pair.write(HOLDER, 1, 1, &[("a", "1")]);
    pair.exchange(untouched);
    // A publisher that has not heard of the scope, or of nothing any more.
    pair.publisher.admit([scope("e")], Some(at(99)));
    assert_eq!(pair.a_second_later(untouched), Vec::<String>::new());
    pair.publisher.admit([], Some(at(99)));
    assert_eq!(pair.a_second_later(untouched), ["withdraw runtime/r/e"]);
    assert_eq!(pair.held(), Some(in_generation(1, 1)));
}

#[test]
fn a_publisher_that_is_behind_in_a_local_scope_alone_is_good() {
    let mut pair = Pair::new();
    pair.exchange(untouched);
    for _ in 0..60 {
        assert_eq!(pair.a_second_later(untouched), Vec::<String>::new());
    }
    assert_eq!(pair.example.session.standing(pair.example.now), Standing::Good);
}

#[test]
fn two_lineages_of_one_generation_cost_the_scope_and_not_the_stream() {
    let mut pair = Pair::new();
    pair.write(HOLDER, 1, 1, &[("a", "1")]);
    pair.exchange(untouched);
    // The publisher stands in the other one, and says so although it was told where the subscriber stands.
    pair.theirs.insert(local(), Replica::new());
    pair.write_at(HOLDER, of_an_impostor(5), puts(&[("a", "2")]));
    let said = pair.exchange(untouched);
    assert_eq!(said, Vec::<String>::new(), "an honest one says that it is behind");
    let begin = sync::Begin {
        scope: local().to_string(),
        kind: Kind::Snapshot.into(),
        from: 0,
        to: Some(of_an_impostor(5).into()),
        reason: "because".into(),
    };
    let said = pair.example.take(message(publisher_message::Body::Begin(begin)));
    assert_eq!(said, ["alarm lineage conflict", "leave local/r/e/pods"]);
}

#[test]
fn a_local_scope_has_a_bound() {
    let many = |count: usize| (0..count).map(|key| (Arc::from(format!("k{key}")), Bytes::new())).collect();
    for (content, fits) in [
        (many(crate::MAX_LOCAL_KEYS), true),
        (many(crate::MAX_LOCAL_KEYS + 1), false),
        (vec![("a".into(), Bytes::from(vec![0; crate::MAX_LOCAL_BYTES - 1]))], true),
        (vec![("a".into(), Bytes::from(vec![0; crate::MAX_LOCAL_BYTES]))], false),
    ] {
        let mut pair = Pair::new();
        pair.exchange(untouched);
        pair.write_at(HOLDER, in_generation(1, 1), content);
        let expected: &[&str] = match fits {
            true => &["replace at 1: nothing held"],
            false => &["alarm local scope too large", "leave local/r/e/pods"],
        };
        assert_eq!(pair.exchange(untouched), expected);
    }
    // Small deltas may lead there too.
    let mut pair = Pair::new();
    pair.write_at(HOLDER, in_generation(1, 1), many(crate::MAX_LOCAL_KEYS));
    assert_eq!(pair.exchange(untouched).len(), 2);
    let replica = pair.theirs.get_mut(&local()).unwrap();
    let to = in_generation(1, 2);
    let change = replica.prepare_delta(to, puts(&[("one more", "1")]), vec![]).unwrap();
    let signature = sign(HOLDER, &local(), &to, &change.root());
    replica.commit(change.signed(signature)).unwrap();
    assert_eq!(pair.a_second_later(untouched), ["alarm local scope too large", "leave local/r/e/pods"]);
}

#[test]
fn scopes_that_this_release_cannot_spell_are_passed_over() {
    let mut example = Example::new(ReplicaMap::new());
    let mut message = welcome(&["e"], Some(at(1)));
    if let Some(publisher_message::Body::Welcome(welcome)) = &mut message.body {
        welcome.scopes.push("agents/r/of/a/later/release".to_owned());
    }
    assert_eq!(example.take(message), Vec::<String>::new());
    assert_eq!(example.session.offered().unwrap().0.len(), 1);
}
