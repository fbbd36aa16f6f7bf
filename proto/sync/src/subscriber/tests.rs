use hanse_proto::sync::begin::Kind;

use super::*;
use crate::{
    Replica, Root,
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

fn end(to: Position, root: Root) -> PublisherMessage {
    message(publisher_message::Body::End(sync::End {
        scope: scope("e").to_string(),
        to: Some(to.into()),
        root: root.0.to_vec().into(),
    }))
}

fn bookmark(position: Position, root: Root) -> PublisherMessage {
    fresh_bookmark(position, root, 0, true)
}

fn fresh_bookmark(position: Position, root: Root, as_of_age_ms: u64, quorum: bool) -> PublisherMessage {
    message(publisher_message::Body::Bookmark(sync::Bookmark {
        scope: scope("e").to_string(),
        position: Some(position.into()),
        root: root.0.to_vec().into(),
        as_of_age_ms,
        quorum,
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
            Effect::Alarm { alarm, .. } => format!("alarm {}", alarm.kind()),
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
    let wrong = Root([7; 32]);
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
    assert_eq!(example.take(bookmark(at(12), Root([7; 32])))[0], "alarm root differs");
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
        assert_eq!(example.take(bookmark(at(12), Root([7; 32]))).len(), 2);
        assert_eq!(example.take(bookmark(at(12), replica_at(12).root())), Vec::<String>::new());
    }
    assert_eq!(example.take(bookmark(at(12), Root([7; 32]))), ["alarm root differs", "disconnect"]);
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

#[test]
fn a_session_says_which_process_it_is_and_hears_that_another_took_its_place() {
    let (_, effects) =
        SubscriberSession::start(Wanted::All, "test", BOOT, Patience::default(), Instant::now());
    let [Effect::Send(SubscriberMessage { body: Some(subscriber_message::Body::Introduction(said)) })] =
        &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(BootId::of_message(&said.boot_id).unwrap(), Some(BOOT));
    let mut example = Example::following();
    let superseded = message(publisher_message::Body::Superseded(sync::Superseded {}));
    assert_eq!(example.take(superseded), ["alarm superseded", "superseded"]);
    assert!(example.is_as_before(), "what is held stays");
}

#[test]
fn silence_is_an_alarm() {
    let stalled = ["alarm stalled", "disconnect"];
    let root = replica_at(12).root();

    let (mut unwelcome, _) =
        SubscriberSession::start(Wanted::All, "test", BOOT, Patience::default(), Instant::now());
    let start = unwelcome.started;
    let nothing = ReplicaMap::new();
    assert!(unwelcome.tick(&nothing, start + STALL).is_empty());
    assert_eq!(unwelcome.tick(&nothing, start + STALL + Duration::from_millis(1)).len(), 2);

    let mut example = Example::following();
    assert_eq!(example.tick_after(5000), Vec::<String>::new());
    assert_eq!(example.tick_after(1), stalled);

    let mut example = Example::following();
    for _ in 0..20 {
        example.tick_after(1000);
        example.take(behind(Some(at(3))));
    }
    assert_eq!(example.tick_after(5000), Vec::<String>::new(), "who says it is behind is alive");

    // Of two scopes one falls silent.
    let mut example = Example::new(holding(replica_at(12)));
    example.take(welcome(&["e", "other"], None));
    for _ in 0..5 {
        example.take(bookmark(at(12), root));
        assert_eq!(example.tick_after(1000), Vec::<String>::new());
    }
    example.take(bookmark(at(12), root));
    assert_eq!(example.tick_after(1), stalled);

    // A long transfer excuses the others.
    let mut example = Example::new(holding(replica_at(12)));
    example.take(welcome(&["e", "other"], None));
    example.take(snapshot(at(13)));
    for _ in 0..20 {
        example.take(chunk(&[("a", "2")], &[]));
        assert_eq!(example.tick_after(1000), Vec::<String>::new());
    }
    assert_eq!(example.tick_after(4001), stalled);
}

#[test]
fn asking_again_and_getting_nothing_is_silence() {
    let mut example = Example::following();
    example.take(bookmark(at(12), Root([7; 32])));
    for _ in 0..5 {
        assert_eq!(example.tick_after(1000), Vec::<String>::new());
        example.take(bookmark(at(14), Root([7; 32])));
    }
    assert_eq!(example.tick_after(1), ["alarm stalled", "disconnect"]);
}

#[test]
fn scopes_come_and_go() {
    let mut example = Example::following();
    assert_eq!(example.take(welcome(&["e", "f"], Some(at(20)))), ["hello runtime/r/f at nowhere none"]);
    assert_eq!(
        example.take(welcome(&["f"], None)),
        Vec::<String>::new(),
        "who names no position withdraws nothing"
    );
    assert!(example.replicas.contains_key(&scope("e")));
    assert_eq!(
        example.take(bookmark(at(19), replica_at(12).root())),
        Vec::<String>::new(),
        "not subscribed any more"
    );
    let again = example.take(welcome(&["e", "f"], None));
    assert_eq!(again, [format!("hello runtime/r/e at 12 {}", short(replica_at(12).root()))]);
    let table = [
        ("before what is held", Some(at(11)), false),
        ("where it is held", Some(at(12)), true),
        ("later", Some(at(20)), true),
        ("of a greater lineage", Some(in_generation(2, 1)), true),
        ("of an impostor", Some(of_an_impostor(20)), false),
    ];
    for (name, as_of, withdrawn) in table {
        let said = Example::following().take(welcome(&["f"], as_of));
        assert_eq!(said.contains(&"withdraw runtime/r/e".to_owned()), withdrawn, "{name}: {said:?}");
    }
}

#[test]
fn only_wanted_scopes_are_asked_for() {
    let now = Instant::now();
    let wanted = Wanted::Environments(vec![Name::new("e").unwrap()]);
    let (session, _) = SubscriberSession::start(wanted, "test", BOOT, Patience::default(), now);
    let held = ReplicaMap::from([(scope("f"), replica_at(12))]);
    let mut example = Example { session, replicas: held, now };
    let said = example.take(welcome(&["e", "f"], Some(at(99))));
    assert_eq!(said, ["hello runtime/r/e at nowhere none"], "and what another asked for is not touched");
}

#[test]
fn a_refused_scope_stays_as_it_is() {
    let mut example = Example::following();
    let refused = sync::Refused { scope: "runtime/r/e".into(), reason: "no".into() };
    assert_eq!(example.take(message(publisher_message::Body::Refused(refused))), ["refused runtime/r/e: no"]);
    assert!(example.is_as_before());
    assert_eq!(example.session.scopes().count(), 0);
}

#[test]
fn a_refused_scope_that_is_offered_is_asked_for_again_after_a_pause() {
    let refused = || {
        let refused = sync::Refused { scope: "runtime/r/e".into(), reason: "no".into() };
        message(publisher_message::Body::Refused(refused))
    };
    let root = replica_at(12).root();
    let hello = [format!("hello runtime/r/e at 12 {}", short(root))];
    let mut example = Example::following();
    for _ in 0..3 {
        example.take(refused());
        assert_eq!(example.tick_after(1999), Vec::<String>::new());
        assert_eq!(example.tick_after(1), hello);
    }
    assert_eq!(example.take(bookmark(at(13), root)), ["move to 13"], "and served, if it is");

    // A Welcome in between asks at once, and once.
    let mut example = Example::following();
    example.take(refused());
    assert_eq!(example.take(welcome(&["e"], None)), hello);
    assert_eq!(example.tick_after(3000), Vec::<String>::new());
    // What is not offered any more is not asked for.
    example.take(refused());
    example.take(welcome(&["f"], None));
    assert_eq!(example.tick_after(3000), Vec::<String>::new());
}

#[test]
fn a_transfer_given_up_for_silence_makes_the_next_one_more_patient() {
    let mut patience = Patience::default();
    for seconds in [5, 10, 20, 40, 60, 60] {
        let now = Instant::now();
        let (session, _) = SubscriberSession::start(Wanted::All, "test", BOOT, patience, now);
        let mut example = Example { session, replicas: holding(replica_at(12)), now };
        example.take(welcome(&["e", "other"], None));
        example.take(snapshot(at(13)));
        assert_eq!(example.tick_after(seconds * 1000), Vec::<String>::new(), "after {seconds} s");
        assert_eq!(example.tick_after(1), ["alarm stalled", "disconnect"], "after {seconds} s");
        patience = example.session.patience();
    }

    // Silence outside a transfer is borne no longer than ever.
    let now = Instant::now();
    let (session, _) = SubscriberSession::start(Wanted::All, "test", BOOT, patience, now);
    let mut example = Example { session, replicas: holding(replica_at(12)), now };
    example.take(welcome(&["e"], None));
    assert_eq!(example.tick_after(5001), ["alarm stalled", "disconnect"]);
    assert_eq!(example.session.patience(), patience);

    // One scope that is in step does not excuse another that is not; when all are, patience is as at first.
    let (session, _) = SubscriberSession::start(Wanted::All, "test", BOOT, patience, now);
    let mut example = Example { session, replicas: holding(replica_at(12)), now };
    example.take(welcome(&["e", "other"], None));
    example.take(bookmark(at(12), replica_at(12).root()));
    example.tick_after(100);
    assert_eq!(example.session.patience(), patience);
    example.take(welcome(&["e"], None));
    example.tick_after(100);
    assert_eq!(example.session.patience(), Patience::default());
}

#[test]
fn a_bookmark_that_answers_a_hello_leaves_a_gap() {
    let root = replica_at(10).root();
    let mut example = Example::new(holding(replica_at(10)));
    assert_eq!(example.take(bookmark(at(13), root)), ["move to 13"]);
    assert!(example.held().changes_since(10).unwrap().is_empty());
    assert_eq!(example.held().changes_since(11), None, "something may have come and gone");
    assert!(example.held().changes_since(13).unwrap().is_empty());
    // In step nothing is missed.
    assert_eq!(example.take(bookmark(at(16), root)), ["move to 16"]);
    assert!(example.held().changes_since(14).is_some());
}

#[test]
fn publishers_are_judged() {
    let root = replica_at(12).root();
    let check = |name: &str, messages: Vec<(u64, PublisherMessage)>, after: u64, standing: Standing| {
        let mut example = Example::new(holding(replica_at(12)));
        for (ms, message) in messages {
            example.now += Duration::from_millis(ms);
            example.take(message);
        }
        let later = example.now + Duration::from_millis(after);
        assert_eq!(example.session.standing(later), standing, "{name}");
    };
    let fresh = |age, quorum| fresh_bookmark(at(12), root, age, quorum);
    check("just welcomed", vec![], 0, Standing::Waiting);
    check("fresh", vec![(0, fresh(10, true))], 0, Standing::Good);
    check("aging", vec![(0, fresh(4000, true))], 1000, Standing::Good);
    check("aged", vec![(0, fresh(4000, true))], 1001, Standing::Stale);
    check("stale and without quorum", vec![(0, fresh(5001, false))], 0, Standing::Stale);
    check("without quorum", vec![(0, fresh(10, false))], 0, Standing::NoQuorum);
    check("just behind", vec![(0, behind(Some(at(3))))], 5000, Standing::Waiting);
    check("behind", vec![(0, behind(None)), (5000, behind(None))], 1, Standing::Behind);
    check("sending a snapshot", vec![(0, fresh(10, true)), (0, snapshot(at(13)))], 4900, Standing::Waiting);
    check("offering nothing", vec![(0, welcome(&[], None))], 30_000, Standing::Waiting);
    check("offering nothing for long", vec![(0, welcome(&[], None))], 30_001, Standing::OffersNothing);
    check(
        "offering nothing twice",
        vec![(0, welcome(&[], None)), (30_000, welcome(&[], None))],
        1,
        Standing::OffersNothing,
    );
}

#[test]
fn a_delta_over_several_revisions_is_one_step() {
    let mut example = Example::new(holding(replica_at(10)));
    example.take(delta(10, at(13)));
    example.take(chunk(&[("a", "2")], &["b", "never-seen"]));
    assert_eq!(example.take(end(at(13), replica().root())), ["advance to 13"]);
    let changes = example.held().changes_since(10).unwrap();
    assert_eq!(changes.removals, keys(&["b", "never-seen"]));
}

#[test]
fn who_is_revoked_is_known_from_the_last_welcome() {
    let now = Instant::now();
    let replicas = ReplicaMap::new();
    let (mut session, _) = SubscriberSession::start(Wanted::All, "test", BOOT, Patience::default(), now);
    assert_eq!(session.revoked(), None);
    let mut told = |revoked: Option<sync::Revoked>| {
        let welcome = sync::Welcome { publisher: "p".into(), revoked, ..Default::default() };
        let effects = session.handle(message(publisher_message::Body::Welcome(welcome)), &replicas, now);
        (session.revoked().cloned(), effects.len())
    };
    let list = crate::Revoked {
        as_of: at(7),
        identities: vec!["g.gateway.r.hanse.internal".into()],
        authorities: vec![[1; 32], [2; 32]],
        gateway_keys: vec![[3; 32]],
    };
    assert_eq!(told(Some(list.clone().into())), (Some(list), 0));
    assert_eq!(told(None), (None, 0), "a publisher that says nothing of it");
    let nowhere = sync::Revoked { as_of: None, ..Default::default() };
    let no_digest = sync::Revoked {
        as_of: Some(at(8).into()),
        authorities: vec![vec![1; 31].into()],
        ..Default::default()
    };
    let no_key =
        sync::Revoked { authorities: Vec::new(), gateway_keys: vec![vec![1].into()], ..no_digest.clone() };
    for malformed in [nowhere, no_digest, no_key] {
        let (_, effects) = told(Some(malformed));
        assert_eq!(effects, 2, "an alarm, and the end of the stream");
    }
}
