mod local;
mod standing;

use hanse_proto::sync::begin::Kind;

use super::*;
use crate::{
    ContentRoot, Replica,
    examples::{
        BOOT, at, describe_request, holding, in_generation, keys, of_an_impostor, puts, replica, replica_at,
        scope, short,
    },
};

fn message(body: publisher_message::Body) -> PublisherMessage {
    PublisherMessage { body: Some(body) }
}

fn welcome(scopes: &[&str], as_of: Option<Position>) -> PublisherMessage {
    message(publisher_message::Body::Welcome(sync::Welcome {
        scopes: scopes.iter().map(|environment| scope(environment).to_string()).collect(),
        publisher: "p".into(),
        features: vec![],
        position: as_of.map(Into::into),
        revoked: None,
        roots: None,
    }))
}

fn delta(from: u64, to: Position) -> PublisherMessage {
    begin(Kind::Delta, from, to)
}

fn snapshot(to: Position) -> PublisherMessage {
    begin(Kind::Snapshot, 0, to)
}

fn begin(kind: Kind, from: u64, to: Position) -> PublisherMessage {
    message(publisher_message::Body::Begin(sync::Begin {
        scope: scope("e").to_string(),
        kind: kind.into(),
        from,
        to: Some(to.into()),
        reason: "because".into(),
    }))
}

fn chunk(upserts: &[(&str, &str)], removals: &[&str]) -> PublisherMessage {
    let upserts = puts(upserts).into_iter().map(|(key, value)| sync::Upsert { key: key.to_string(), value });
    message(publisher_message::Body::Chunk(sync::Chunk {
        scope: scope("e").to_string(),
        upserts: upserts.collect(),
        removals: removals.iter().map(|key| (*key).to_owned()).collect(),
        last_good: Vec::new(),
    }))
}

fn end(to: Position, root: ContentRoot) -> PublisherMessage {
    message(publisher_message::Body::End(sync::End {
        scope: scope("e").to_string(),
        to: Some(to.into()),
        root: root.0.to_vec().into(),
        signature: None,
    }))
}

fn bookmark(position: Position, root: ContentRoot) -> PublisherMessage {
    fresh_bookmark(position, root, 0, true)
}

fn fresh_bookmark(
    position: Position,
    root: ContentRoot,
    as_of_age_ms: u64,
    quorum: bool,
) -> PublisherMessage {
    message(publisher_message::Body::Bookmark(sync::Bookmark {
        scope: scope("e").to_string(),
        position: Some(position.into()),
        root: root.0.to_vec().into(),
        as_of_age_ms,
        quorum,
        signature: None,
    }))
}

fn behind(position: Option<Position>) -> PublisherMessage {
    let position = position.map(Into::into);
    message(publisher_message::Body::Behind(sync::Behind { scope: scope("e").to_string(), position }))
}

/// A session with its replicas.
struct Example {
    session: SubscriberSession,
    replicas: ReplicaMap,
    now: Instant,
}

impl Example {
    /// Welcomed to `runtime/r/e` with `replicas` held.
    fn new(replicas: ReplicaMap) -> Self {
        let now = Instant::now();
        let (session, effects) =
            SubscriberSession::start(Wanted::All, "test", BOOT, Patience::default(), now);
        assert!(
            matches!(&effects[..], [Effect::Send(message)] if describe_request(message) == "introduction")
        );
        let mut example = Self { session, replicas, now };
        let said = example.take(welcome(&["e"], None));
        assert!(said[0].starts_with("hello runtime/r/e at "), "{said:?}");
        example
    }

    /// Welcomed with the example held at 12, and in step with the publisher.
    fn following() -> Self {
        let mut example = Self::new(holding(replica_at(12)));
        assert_eq!(example.take(bookmark(at(12), replica_at(12).root())), Vec::<String>::new());
        example
    }

    /// Takes a message in and says, in a line each, what came of it. Commits what is to be committed.
    fn take(&mut self, message: PublisherMessage) -> Vec<String> {
        let effects = self.session.handle(message, &self.replicas, self.now);
        self.carry_out(effects)
    }

    fn tick_after(&mut self, ms: u64) -> Vec<String> {
        self.now += Duration::from_millis(ms);
        let effects = self.session.tick(&self.replicas, self.now);
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Vec<String> {
        let mut commit = |scope: ScopeId, change: Prepared| {
            let line = format!("{}", change.to().revision);
            self.replicas.entry(scope).or_default().commit(change).unwrap();
            line
        };
        let line = |effect| match effect {
            Effect::Send(message) => describe_request(&message),
            Effect::Advance { scope, change } if change.is_empty() => {
                format!("move to {}", commit(scope, change))
            }
            Effect::Advance { scope, change } => format!("advance to {}", commit(scope, change)),
            Effect::Replace { scope, change, reason } => {
                format!("replace at {}: {reason}", commit(scope, change))
            }
            Effect::Withdraw { scope } => format!("withdraw {scope}"),
            Effect::Refused { scope, reason } => format!("refused {scope}: {reason}"),
            Effect::AskedAgain { scope } => format!("{scope} is asked for again"),
            Effect::Alarm { alarm, .. } => format!("alarm {}", alarm.kind()),
            Effect::Places { rows, unread } => {
                format!("places {}, {} unread", rows.len(), usize::from(unread.is_some()))
            }
            Effect::Disconnect { .. } => "disconnect".to_owned(),
            Effect::Superseded => "superseded".to_owned(),
        };
        effects.into_iter().map(line).collect()
    }

    fn held(&self) -> &Replica {
        &self.replicas[&scope("e")]
    }

    /// Whether what is held is the example at 12.
    fn is_as_before(&self) -> bool {
        self.held().position() == Some(&at(12)) && self.held().root() == replica_at(12).root()
    }
}

/// What a session that holds the example at 12 and follows does with a message, or with several of which all but the
/// last are silent.
fn check(name: &str, messages: Vec<PublisherMessage>, expected: &[&str], moved_to: Option<Position>) {
    let mut example = Example::following();
    let mut said = Vec::new();
    for message in messages {
        assert_eq!(said, Vec::<String>::new(), "{name}");
        said = example.take(message);
    }
    assert_eq!(said, expected, "{name}");
    match moved_to {
        Some(position) => assert_eq!(example.held().position(), Some(&position), "{name}"),
        None => assert!(example.is_as_before(), "{name}"),
    }
}

#[test]
fn every_message_has_its_effect() {
    let (then, now) = (replica_at(12).root(), replica_at(13).root());
    let wrong = ContentRoot([7; 32]);
    let twelve = format!("hello runtime/r/e at 12 {}", short(then));
    let ask_snapshot = "hello runtime/r/e at 12 none";
    let transfer = |begin, chunk, end| vec![begin, chunk, end];

    check(
        "a delta",
        transfer(delta(12, at(13)), chunk(&[], &["b"]), end(at(13), now)),
        &["advance to 13"],
        Some(at(13)),
    );
    check("a bookmark of the present", vec![bookmark(at(12), then)], &[], None);
    check("a bookmark ahead", vec![bookmark(at(19), then)], &["move to 19"], Some(at(19)));
    check(
        "a snapshot",
        transfer(snapshot(at(13)), chunk(&[("a", "2")], &[]), end(at(13), now)),
        &["replace at 13: because"],
        Some(at(13)),
    );
    check(
        "a snapshot here",
        transfer(snapshot(at(12)), chunk(&[("a", "2")], &[]), end(at(12), now)),
        &["replace at 12: because"],
        Some(at(12)),
    );
    check(
        "a snapshot of a greater lineage, at a lesser revision",
        transfer(snapshot(in_generation(2, 3)), chunk(&[("a", "2")], &[]), end(in_generation(2, 3), now)),
        &["replace at 3: because"],
        Some(in_generation(2, 3)),
    );

    check(
        "a delta that makes another root",
        transfer(delta(12, at(13)), chunk(&[], &["b"]), end(at(13), wrong)),
        &["alarm root mismatch", ask_snapshot],
        None,
    );
    check(
        "a snapshot that makes another root",
        transfer(snapshot(at(13)), chunk(&[("a", "9")], &[]), end(at(13), now)),
        &["alarm root mismatch", "disconnect"],
        None,
    );
    check("a delta from before", vec![delta(11, at(13))], &["alarm wrong from", &twelve], None);
    check("a delta from beyond", vec![delta(13, at(14))], &["alarm wrong from", &twelve], None);
    check("a delta to nowhere", vec![delta(12, at(12))], &["alarm wrong from", &twelve], None);
    check(
        "a delta of a greater lineage",
        vec![delta(12, in_generation(2, 13))],
        &["alarm wrong from", &twelve],
        None,
    );
    check("another root here", vec![bookmark(at(12), wrong)], &["alarm root differs", ask_snapshot], None);
    check("another root ahead", vec![bookmark(at(14), wrong)], &["alarm root differs", ask_snapshot], None);
    check(
        "a bookmark of a greater lineage",
        vec![bookmark(in_generation(2, 1), then)],
        &["alarm root differs", ask_snapshot],
        None,
    );
    check("a bookmark of before", vec![bookmark(at(11), then)], &["alarm backwards", "disconnect"], None);
    check("a snapshot of before", vec![snapshot(at(11))], &["alarm backwards", "disconnect"], None);
    check(
        "a snapshot of an impostor",
        vec![snapshot(of_an_impostor(99))],
        &["alarm lineage conflict", "disconnect"],
        None,
    );
    check(
        "a bookmark of an impostor",
        vec![bookmark(of_an_impostor(12), then)],
        &["alarm lineage conflict", "disconnect"],
        None,
    );
    check(
        "an impostor who is behind",
        vec![behind(Some(of_an_impostor(9)))],
        &["alarm lineage conflict"],
        None,
    );
    check("behind", vec![behind(Some(at(9)))], &[], None);
    check("a chunk of nothing", vec![chunk(&[], &["b"])], &["alarm unexpected message", &twelve], None);
    check("an end of nothing", vec![end(at(13), now)], &["alarm unexpected message", &twelve], None);
    check(
        "an end of something else",
        transfer(delta(12, at(13)), chunk(&[], &["b"]), end(at(14), now)),
        &["alarm unexpected message", &twelve],
        None,
    );
    check(
        "an empty message",
        vec![PublisherMessage { body: None }],
        &["alarm malformed message", "disconnect"],
        None,
    );
    check(
        "a transfer of no kind",
        vec![begin(Kind::Unspecified, 12, at(13))],
        &["alarm malformed message", "disconnect"],
        None,
    );
}

#[test]
fn a_lesser_lineage_is_never_taken_up() {
    let mut newer = Replica::new();
    newer.replace(in_generation(2, 3), puts(&[("a", "1")])).unwrap();
    for message in [snapshot(at(50)), bookmark(at(50), newer.root())] {
        let mut example = Example::new(holding(Replica::new()));
        example
            .replicas
            .get_mut(&scope("e"))
            .unwrap()
            .replace(in_generation(2, 3), puts(&[("a", "1")]))
            .unwrap();
        example.take(bookmark(in_generation(2, 3), newer.root()));
        assert_eq!(example.take(message), ["alarm backwards", "disconnect"]);
    }
}

#[test]
fn the_first_content_is_a_snapshot() {
    let mut example = Example::new(ReplicaMap::new());
    assert_eq!(example.take(snapshot(at(13))), Vec::<String>::new());
    assert_eq!(example.take(chunk(&[("a", "2")], &[])), Vec::<String>::new());
    assert!(example.replicas.is_empty(), "nothing is in force before the end");
    assert_eq!(example.take(end(at(13), replica_at(13).root())), ["replace at 13: because"]);
    assert_eq!(example.held().root(), replica().root());
}

#[test]
fn what_was_under_way_when_a_scope_is_asked_for_again_is_skipped() {
    let (then, now) = (replica_at(12).root(), replica_at(13).root());
    let mut example = Example::following();
    assert_eq!(example.take(bookmark(at(12), ContentRoot([7; 32])))[0], "alarm root differs");
    for stale in [
        delta(13, at(14)),
        chunk(&[("x", "1")], &[]),
        end(at(14), now),
        bookmark(at(14), now),
        bookmark(at(11), now),
    ] {
        assert_eq!(example.take(stale), Vec::<String>::new());
    }
    assert!(example.is_as_before());
    example.take(snapshot(at(12)));
    example.take(chunk(&[("a", "2"), ("b", "1")], &[]));
    assert_eq!(example.take(end(at(12), then)), ["replace at 12: because"]);
    assert_eq!(example.take(delta(12, at(13))), Vec::<String>::new());
    example.take(chunk(&[], &["b"]));
    assert_eq!(example.take(end(at(13), now)), ["advance to 13"]);
}

#[test]
fn a_publisher_that_keeps_failing_is_left() {
    let mut example = Example::following();
    for _ in 0..MAX_RESYNCS {
        assert_eq!(example.take(bookmark(at(12), ContentRoot([7; 32]))).len(), 2);
        assert_eq!(example.take(bookmark(at(12), replica_at(12).root())), Vec::<String>::new());
    }
    assert_eq!(example.take(bookmark(at(12), ContentRoot([7; 32]))), ["alarm root differs", "disconnect"]);
}

#[test]
fn a_transfer_may_start_over() {
    let mut example = Example::following();
    example.take(delta(12, at(14)));
    example.take(chunk(&[("x", "1")], &[]));
    example.take(delta(12, at(13)));
    example.take(chunk(&[], &["b"]));
    assert_eq!(example.take(end(at(13), replica_at(13).root())), ["advance to 13"]);
    assert_eq!(example.held().get("x"), None);
}
