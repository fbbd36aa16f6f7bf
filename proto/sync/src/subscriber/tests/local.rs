//! Local scopes: what a subscriber takes in of them, asks for, and lets go.

mod met;
mod offer;

use std::sync::Mutex;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{Disbelief, HeadSignature, Heads, HeldHead, LastGoodRecord, PublisherSession, Received};

/// The key that signs in these tests, one that is a holder's later, and one that is no holder's.
const HOLDER: &[u8] = b"holder";
const SUCCESSOR: &[u8] = b"successor";
const STRANGER: &[u8] = b"stranger";

fn local() -> ScopeId {
    "local/r/e/pods".parse().unwrap()
}

/// In place of a signature: everything that one would cover.
fn sign(key: &'static [u8], scope: &ScopeId, position: &Position, root: &ContentRoot) -> HeadSignature {
    let covered = format!("{key:?} {scope} {position} {root}");
    HeadSignature { spki: key.into(), signature: Sha256::digest(covered).to_vec().into() }
}

/// The key that is believed, as long as there is an Origin, and the head that another node showed.
#[derive(Debug, Default)]
struct Origin {
    holder: Mutex<Option<&'static [u8]>>,
    met: Mutex<Option<HeldHead>>,
    /// What the node itself holds, beside the link.
    own: Mutex<Option<HeldHead>>,
}

impl Origin {
    fn is(&self, holder: Option<&'static [u8]>) {
        *self.holder.lock().unwrap() = holder;
    }

    /// Another node shows this head.
    fn meets(&self, position: Position) -> HeldHead {
        let root = ContentRoot([5; 32]);
        let head = HeldHead { position, root, signature: sign(HOLDER, &local(), &position, &root) };
        *self.met.lock().unwrap() = Some(head.clone());
        head
    }
}

impl Heads for Origin {
    fn wants(&self, scope: &ScopeId) -> bool {
        *scope == local() && self.holder.lock().unwrap().is_some()
    }

    fn met(&self, _: &ScopeId) -> Option<HeldHead> {
        self.met.lock().unwrap().clone()
    }

    fn own(&self, _: &ScopeId, link: Option<&Position>) -> Option<HeldHead> {
        let is_greater = |head: &HeldHead| {
            link.is_none_or(|link| head.position.lineage.generation > link.lineage.generation)
        };
        self.own.lock().unwrap().clone().filter(is_greater)
    }

    fn is_holders(&self, _: &ScopeId, _: &Position, signature: &HeadSignature) -> Result<(), String> {
        match *self.holder.lock().unwrap() == Some(&*signature.spki) {
            true => Ok(()),
            false => Err("it is not the holder's".to_owned()),
        }
    }

    fn judge(
        &self,
        scope: &ScopeId,
        position: &Position,
        root: &ContentRoot,
        signature: &HeadSignature,
    ) -> Result<(), Disbelief> {
        self.is_holders(scope, position, signature).map_err(Disbelief::Unknown)?;
        let keys = [HOLDER, SUCCESSOR];
        match keys.iter().any(|key| *signature == sign(key, scope, position, root)) {
            true => Ok(()),
            false => Err(Disbelief::Forged("it does not fit".to_owned())),
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
        let origin = Arc::new(Origin { holder: Mutex::new(there.then_some(HOLDER)), ..Origin::default() });
        let (session, effects) =
            SubscriberSession::start(Wanted::All, "test", BOOT, Patience::default(), now);
        let mut remembering = Replica::new();
        remembering.remember_last_good(std::collections::BTreeMap::new());
        let replicas = ReplicaMap::from([(local(), remembering)]);
        let example = Example { session: session.judging(origin.clone()), replicas, now };
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
    let (_, hello) = Subscription::ask(&local(), Some(held), None, false, None, Instant::now());
    let mut received = effects.into_iter().chain([hello]).map(|effect| match effect {
        Effect::Send(message) => publisher.handle(message).unwrap(),
        other => panic!("{other:?}"),
    });
    let head = HeldHead { position: to, root, signature };
    let subscribed = Received::Subscribed { scope: local(), position: Some(to), head: Some(head), met: None };
    assert_eq!(received.nth(1), Some(subscribed));
}

#[test]
fn a_head_that_is_not_a_holders_is_dropped_and_the_stream_stays() {
    use publisher_message::Body;
    // What is done to the messages of an honest publisher.
    let forgeries: [(&str, Tamper); 4] = [
        ("unsigned", |body| {
            if let Body::End(end) = body {
                end.signature = None;
            }
        }),
        ("of another position", |body| match body {
            Body::Begin(begin) if begin.scope.starts_with("local") => {
                begin.to = Some(in_generation(1, 9).into());
            }
            Body::End(end) if end.scope.starts_with("local") => end.to = Some(in_generation(1, 9).into()),
            _ => {}
        }),
        ("of another content", |body| match body {
            Body::Chunk(chunk) if chunk.scope.starts_with("local") => chunk.upserts[0].value = "2".into(),
            Body::End(end) if end.scope.starts_with("local") => {
                let mut other = Replica::new();
                let root = other.advance(in_generation(1, 1), puts(&[("a", "2")]), vec![]).unwrap();
                end.root = root.0.to_vec().into();
            }
            _ => {}
        }),
        ("of another lineage", |body| match body {
            Body::Begin(begin) if begin.scope.starts_with("local") => {
                begin.to = Some(in_generation(2, 1).into());
            }
            Body::End(end) if end.scope.starts_with("local") => end.to = Some(in_generation(2, 1).into()),
            _ => {}
        }),
    ];
    for (name, tamper) in forgeries {
        let mut pair = Pair::new();
        pair.exchange(untouched);
        pair.write(HOLDER, 1, 1, &[("a", "1")]);
        assert_eq!(pair.exchange(tamper), ["alarm forged head", "leave local/r/e/pods"], "{name}");
        assert_eq!(pair.held(), None, "{name}");

        // The scopes of the control plane go on, and the publisher is left alone for half a minute.
        pair.theirs.insert(scope("e"), replica_at(13));
        for second in 1..30 {
            let expected: &[&str] = if second == 1 { &["replace at 13: outside the window"] } else { &[] };
            assert_eq!(pair.a_second_later(tamper), expected, "{name} after {second} s");
        }
        assert_eq!(pair.example.session.standing(pair.example.now), Standing::Good, "{name}");
        assert_eq!(pair.a_second_later(untouched), ["replace at 1: nothing held"], "{name}");
    }
}

/// Another agent is the holder now, which never met the one before: it begins with the first counter.
#[test]
fn a_head_whose_holder_is_none_any_more_counts_no_longer_and_is_used_on() {
    // Whether the publisher follows the new holder before the subscriber knows of it, or later.
    for knows_late in [true, false] {
        let mut pair = Pair::new();
        pair.write(HOLDER, 5, 7, &[("a", "old"), ("b", "old")]);
        pair.exchange(untouched);
        assert_eq!(pair.held(), Some(in_generation(5, 7)));
        pair.theirs.insert(local(), Replica::new());
        if knows_late {
            pair.write(SUCCESSOR, 2, 1, &[("a", "new")]);
            assert_eq!(pair.a_second_later(untouched), Vec::<String>::new(), "it is behind");
            assert_eq!(pair.held(), Some(in_generation(5, 7)));
        }
        pair.origin.is(Some(SUCCESSOR));
        if !knows_late {
            assert_eq!(pair.a_second_later(untouched), Vec::<String>::new());
            let held = &pair.example.replicas[&local()];
            assert_eq!((held.position(), held.len()), (Some(&in_generation(5, 7)), 2), "it is used on");
            pair.write(SUCCESSOR, 2, 1, &[("a", "new")]);
        }
        assert_eq!(pair.a_second_later(untouched), ["replace at 1: nothing held"]);
        let held = &pair.example.replicas[&local()];
        assert_eq!((held.position(), held.len()), (Some(&in_generation(2, 1)), 1));
        assert_eq!(held.root(), pair.theirs[&local()].root());
        // From there on it is as any other scope.
        pair.write(SUCCESSOR, 2, 2, &[("a", "newer")]);
        assert_eq!(pair.a_second_later(untouched), ["advance to 2"]);
        // The one before is as good as a stranger, however great its head is.
        pair.theirs.insert(local(), Replica::new());
        pair.write(HOLDER, 9, 1, &[("a", "old")]);
        assert_eq!(pair.a_second_later(untouched), ["leave local/r/e/pods"]);
        assert_eq!(pair.held(), Some(in_generation(2, 2)));
    }
}

/// The Origin that names a holder comes by another way than what the holder publishes.
#[test]
fn a_head_of_a_holder_that_is_not_known_yet_is_no_alarm_and_is_asked_for_again() {
    let mut pair = Pair::new();
    pair.exchange(untouched);
    pair.write(SUCCESSOR, 2, 1, &[("a", "1")]);
    assert_eq!(pair.exchange(untouched), ["leave local/r/e/pods"]);
    assert_eq!(pair.a_second_later(untouched), Vec::<String>::new());
    pair.origin.is(Some(SUCCESSOR));
    assert_eq!(pair.a_second_later(untouched), ["replace at 1: nothing held"]);

    // One that no Origin names is an alarm after half a minute, and then every half minute.
    pair.write(STRANGER, 3, 1, &[("a", "2")]);
    assert_eq!(pair.a_second_later(untouched), ["leave local/r/e/pods"]);
    for second in 1..=60 {
        let is_asked = second % 30 == 0;
        let expected: &[&str] =
            if is_asked { &["alarm head of no holder", "leave local/r/e/pods"] } else { &[] };
        assert_eq!(pair.a_second_later(untouched), expected, "after {second} s");
    }
    // A publisher that offers the scope anew has something else, and is asked at once.
    pair.publisher.admit([scope("e")], Some(at(12)));
    pair.a_second_later(untouched);
    pair.theirs.insert(local(), Replica::new());
    pair.write(SUCCESSOR, 3, 1, &[("a", "3")]);
    pair.publisher.admit([scope("e"), local()], Some(at(12)));
    assert_eq!(pair.a_second_later(untouched), ["replace at 1: new lineage"]);
}

/// Last good versions are in no root and have no signature: any neighbour could make them.
#[test]
fn no_last_good_version_of_a_local_scope_is_sent_or_taken_in() {
    use publisher_message::Body;
    let add: Tamper = |body| {
        if let Body::Chunk(chunk) = body
            && chunk.scope.starts_with("local")
        {
            // As much as the scope may have: it counts for nothing.
            let value = Bytes::from(vec![0; crate::MAX_LOCAL_BYTES]);
            chunk.last_good.push(sync::Upsert { key: "a".to_owned(), value });
        }
    };
    let count: Tamper = |body| {
        if let Body::Chunk(chunk) = body {
            assert_eq!(chunk.last_good.len(), usize::from(chunk.scope.starts_with("runtime")));
        }
    };
    for tamper in [add, count] {
        let mut pair = Pair::new();
        pair.write(HOLDER, 1, 1, &[("a", "1")]);
        pair.theirs.insert(scope("e"), replica_at(10));
        for replica in pair.theirs.values_mut() {
            let kept = LastGoodRecord { value: Some(Bytes::from("0")), since: 1 };
            replica.remember_last_good([(Arc::from("a"), kept)].into());
        }
        for replica in [scope("e"), local()] {
            pair.example.replicas.entry(replica).or_default().remember_last_good(BTreeMap::new());
        }
        let said = pair.exchange(tamper);
        assert_eq!(said, ["replace at 10: nothing held", "replace at 1: nothing held"]);
        assert_eq!(pair.example.replicas[&local()].last_good().count(), 0);
        assert_eq!(pair.example.replicas[&scope("e")].last_good().count(), 1);
        // Deltas carry none either.
        pair.write(HOLDER, 1, 2, &[("a", "2"), ("b", "1")]);
        assert_eq!(pair.a_second_later(tamper), ["advance to 2"]);
        assert_eq!(pair.example.replicas[&local()].last_good().count(), 0);
    }
}

#[test]
fn silence_about_a_local_scope_costs_that_scope_and_silence_about_all_costs_the_stream() {
    let mut pair = Pair::new();
    pair.write(HOLDER, 1, 1, &[("a", "1")]);
    pair.exchange(untouched);
    let mut said = Vec::new();
    let mut seconds = |pair: &mut Pair, about_the_rest: bool| {
        for _ in 0..8 {
            pair.example.now += Duration::from_secs(1);
            let effects = pair.example.session.tick(&pair.example.replicas, pair.example.now);
            said.extend(pair.carry_out(effects));
            let freshness = Freshness { confirmed_at: pair.example.now, quorum: true };
            for message in pair.publisher.next(&pair.theirs, freshness, pair.example.now) {
                let is_said = matches!(&message.body, Some(publisher_message::Body::Bookmark(bookmark))
                    if bookmark.scope.starts_with("runtime"));
                if is_said && about_the_rest {
                    assert_eq!(pair.example.take(message), Vec::<String>::new());
                }
            }
        }
        std::mem::take(&mut said)
    };
    assert_eq!(seconds(&mut pair, true), ["alarm stalled", "leave local/r/e/pods"]);
    assert_eq!(pair.example.session.standing(pair.example.now), Standing::Good);
    let silence = seconds(&mut pair, false);
    assert_eq!(silence[..2], ["alarm stalled", "disconnect"], "{silence:?}");
}

#[test]
fn what_is_on_its_way_of_a_local_scope_that_ended_is_no_alarm() {
    let mut pair = Pair::new();
    pair.write(HOLDER, 1, 1, &[("a", "1")]);
    pair.exchange(untouched);
    // The Origin goes, and the replica with it. Only then come the next bookmark and the next delta, before any tick.
    pair.origin.is(None);
    pair.example.replicas.remove(&local());
    pair.write(HOLDER, 1, 2, &[("a", "2")]);
    pair.example.now += Duration::from_secs(1);
    assert_eq!(pair.exchange(untouched), Vec::<String>::new());
    assert_eq!(pair.a_second_later(untouched), ["leave local/r/e/pods"]);
    // A Welcome that comes before the tick tells the publisher too.
    pair.origin.is(Some(HOLDER));
    assert_eq!(pair.a_second_later(untouched), ["replace at 2: nothing held"]);
    pair.origin.is(None);
    pair.publisher.admit([scope("e"), scope("f"), local()], Some(at(12)));
    pair.theirs.insert(scope("f"), replica_at(12));
    assert_eq!(pair.exchange(untouched), ["leave local/r/e/pods", "replace at 12: nothing held"]);
    assert!(!pair.publisher.scopes().any(ScopeId::is_local));
}

/// The keeper of Origins removes a replica, and a holder writes one, while a change of it is on its way into the hub.
#[test]
fn a_local_scope_that_another_task_changed_is_asked_for_anew() {
    let mut pair = Pair::new();
    pair.write(HOLDER, 1, 1, &[("a", "1")]);
    pair.exchange(untouched);
    pair.example.replicas.remove(&local());
    assert_eq!(pair.a_second_later(untouched), ["replace at 1: nothing held"]);

    // The change does not come into force: the shell says so.
    pair.write(HOLDER, 1, 2, &[("a", "2")]);
    let other = pair.theirs[&local()].clone();
    pair.example.now += Duration::from_secs(1);
    let freshness = Freshness { confirmed_at: pair.example.now, quorum: true };
    let mut messages = pair.publisher.next(&pair.theirs, freshness, pair.example.now).into_iter();
    let is_change = |effects: &Vec<Effect>| matches!(&effects[..], [Effect::Advance { .. }]);
    let handled = messages
        .by_ref()
        .map(|message| pair.example.session.handle(message, &pair.example.replicas, pair.example.now))
        .any(|effects| is_change(&effects));
    assert!(handled, "a change is on its way into the hub");
    pair.example.replicas.insert(local(), other);
    let effects = pair.example.session.ask_anew(&local(), &pair.example.replicas, pair.example.now);
    assert_eq!(pair.carry_out(effects).len(), 1);
    pair.write(HOLDER, 1, 3, &[("a", "3")]);
    assert_eq!(pair.a_second_later(untouched), ["advance to 3"]);
    // What is not subscribed to is not asked for.
    pair.origin.is(None);
    assert!(pair.example.session.ask_anew(&local(), &pair.example.replicas, pair.example.now).is_empty());
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
