use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::{
    Quarantine, Replica,
    examples::{
        BOOT, at, describe, holding, in_generation, keys, of_an_impostor, puts, replica, replica_at, scope,
        short,
    },
};

fn message(body: subscriber_message::Body) -> SubscriberMessage {
    SubscriberMessage { body: Some(body) }
}

fn introduction() -> SubscriberMessage {
    introduction_with(&FEATURES)
}

fn introduction_with(features: &[&str]) -> SubscriberMessage {
    let features = features.iter().map(|feature| (*feature).to_owned()).collect();
    message(subscriber_message::Body::Introduction(sync::Introduction { features, ..Default::default() }))
}

fn hello(scope: &str, position: Option<Position>, root: Option<ContentRoot>) -> SubscriberMessage {
    message(subscriber_message::Body::Hello(sync::Hello {
        scope: scope.to_owned(),
        position: position.map(Into::into),
        root: root.map(|root| root.0.to_vec().into()).unwrap_or_default(),
        ..sync::Hello::default()
    }))
}

/// A session that has introduced itself, may have `runtime/r/e`, and was welcomed.
struct Example {
    session: PublisherSession,
    replicas: ReplicaMap,
    start: Instant,
    elapsed: Duration,
}

impl Example {
    fn new(replicas: ReplicaMap) -> Self {
        Self::introduced(replicas, introduction())
    }

    fn introduced(replicas: ReplicaMap, introduction: SubscriberMessage) -> Self {
        let start = Instant::now();
        let mut example =
            Self { session: PublisherSession::new("p".into()), replicas, start, elapsed: Duration::ZERO };
        example.session.admit([scope("e")], None);
        example.session.handle(introduction).unwrap();
        assert_eq!(example.next(), ["welcome to runtime/r/e as of nowhere"]);
        example
    }

    fn next(&mut self) -> Vec<String> {
        let freshness = Freshness { confirmed_at: self.start, quorum: true };
        let messages = self.session.next(&self.replicas, freshness, self.start + self.elapsed);
        messages.iter().map(describe).collect()
    }

    fn after(&mut self, ms: u64) -> Vec<String> {
        self.elapsed += Duration::from_millis(ms);
        self.next()
    }

    fn hello(&mut self, position: Option<Position>, root: Option<ContentRoot>) {
        self.session.handle(hello("runtime/r/e", position, root)).unwrap();
    }

    fn replica(&mut self) -> &mut Replica {
        self.replicas.get_mut(&scope("e")).unwrap()
    }
}

#[test]
fn the_introduction_says_which_process_comes() {
    let introduced = |boot_id: Vec<u8>| {
        let introduction = sync::Introduction { boot_id: boot_id.into(), ..Default::default() };
        let introduction = message(subscriber_message::Body::Introduction(introduction));
        PublisherSession::new("p".into()).handle(introduction)
    };
    let boot = |boot| Ok(Received::Introduced { software: String::new(), boot });
    assert_eq!(introduced(vec![8; 16]), boot(Some(BOOT)));
    assert_eq!(introduced(vec![]), boot(None));
    let unreadable = introduced(vec![8; 15]).unwrap_err();
    assert!(matches!(unreadable, ProtocolError::Malformed(_)), "{unreadable}");
}

#[test]
fn a_feature_that_only_the_subscriber_knows_is_not_agreed() {
    let mut session = PublisherSession::new("p".into());
    session.handle(introduction_with(&["of a later release", LAST_GOOD_IN_DELTAS])).unwrap();
    let Some(publisher_message::Body::Welcome(welcome)) = session.welcome().unwrap().body else { panic!() };
    assert_eq!(welcome.features, [LAST_GOOD_IN_DELTAS]);
    assert!(!session.takes_places());
}

#[test]
fn every_hello_has_its_answer() {
    let held = |revision| Some(replica_at(revision).root());
    let now = short(replica().root());
    let end = format!("end 13 {now}");
    let bookmark = format!("bookmark 13 {now} age 0");
    let snapshot = |reason: &str| {
        vec![format!("snapshot 13: {reason}"), "chunk a=2".into(), end.clone(), bookmark.clone()]
    };
    let delta =
        |from, chunk: &str| vec![format!("delta {from} to 13"), chunk.into(), end.clone(), bookmark.clone()];
    let wrong = Some(ContentRoot([7; 32]));
    let table = [
        ("holds nothing", None, None, snapshot("nothing held")),
        ("at the floor", Some(at(10)), held(10), delta(10, "chunk a=2 -b")),
        ("inside the window", Some(at(12)), held(12), delta(12, "chunk -b")),
        ("here", Some(at(13)), held(13), vec![bookmark.clone()]),
        ("here, with other content", Some(at(13)), wrong, snapshot("root differs")),
        ("older than the window", Some(at(9)), wrong, snapshot("outside the window")),
        ("older than the window, with this content", Some(at(9)), held(13), vec![bookmark.clone()]),
        ("asks for a snapshot", Some(at(12)), None, snapshot("asked for")),
        ("asks for a snapshot here", Some(at(13)), None, snapshot("asked for")),
        ("ahead", Some(at(14)), wrong, vec!["behind at 13".into()]),
        ("ahead, and asks for a snapshot", Some(at(14)), None, vec!["behind at 13".into()]),
        ("in a greater lineage", Some(in_generation(2, 1)), held(13), vec!["behind at 13".into()]),
        ("in a lineage that contradicts", Some(of_an_impostor(12)), held(12), vec!["behind at 13".into()]),
    ];
    for (name, position, root, expected) in table {
        let mut example = Example::new(holding(replica()));
        example.hello(position, root);
        assert_eq!(example.next(), expected, "{name}");
        assert_eq!(example.next(), Vec::<String>::new(), "{name}: said once");
    }
}

/// a=1 at 10, a=2 at 11, both confirmed; a=3 at 12 cannot be used, a=4 at 13 neither.
fn remembering() -> Replica {
    let mut replica = Replica::new();
    replica.remember_last_good(BTreeMap::new());
    let mut put = |revision: u64, but: &[&str]| {
        let value = (revision - 9).to_string();
        replica.advance(at(revision), puts(&[("a", &value)]), vec![]).unwrap();
        let but: BTreeMap<_, _> = but.iter().map(|key| (Arc::from(*key), None)).collect();
        replica.confirm(&at(revision), &but);
    };
    put(10, &[]);
    put(11, &[]);
    put(12, &["a"]);
    put(13, &["a"]);
    replica
}

#[test]
fn a_delta_carries_the_last_good_versions_it_skips() {
    let root = |value: &str| {
        let mut replica = Replica::new();
        replica.advance(at(1), puts(&[("a", value)]), vec![]).unwrap();
        Some(replica.root())
    };
    let table = [
        ("missed the good version", 10, root("1"), "chunk a=4 a~2"),
        ("had it", 11, root("2"), "chunk a=4"),
        ("had it, and the bad one after it", 12, root("3"), "chunk a=4"),
    ];
    for (name, from, root, chunk) in table {
        let mut example = Example::new(holding(remembering()));
        example.hello(Some(at(from)), root);
        assert_eq!(example.next()[1], chunk, "{name}");
        let mut example = Example::introduced(holding(remembering()), introduction_with(&[]));
        example.hello(Some(at(from)), root);
        assert_eq!(example.next()[1], "chunk a=4", "{name}, and does not know the feature");
    }
}

#[test]
fn a_lesser_lineage_gets_a_snapshot() {
    let mut newer = Replica::new();
    newer.replace(in_generation(2, 4), puts(&[("a", "2")])).unwrap();
    let root = short(newer.root());
    let mut example = Example::new(holding(newer));
    example.hello(Some(at(13)), Some(replica().root()));
    assert_eq!(
        example.next(),
        [
            "snapshot 2:4: new lineage".into(),
            "chunk a=2".into(),
            format!("end 2:4 {root}"),
            format!("bookmark 2:4 {root} age 0")
        ]
    );
}

#[test]
fn a_scope_without_content_is_behind_everybody() {
    for replicas in [ReplicaMap::new(), holding(Replica::new())] {
        for position in [None, Some(at(3))] {
            let mut example =
                Example::new(replicas.keys().map(|scope| (scope.clone(), Replica::new())).collect());
            example.hello(position, None);
            assert_eq!(example.next(), ["behind at nowhere"]);
            assert_eq!(example.after(999), Vec::<String>::new());
            assert_eq!(example.after(1), ["behind at nowhere"]);
        }
    }
}

#[test]
fn behind_lasts_until_caught_up() {
    let mut example = Example::new(holding(replica()));
    let mut ahead = replica();
    ahead.advance(at(15), puts(&[("c", "1")]), vec![]).unwrap();
    example.hello(Some(at(15)), Some(ahead.root()));
    assert_eq!(example.next(), ["behind at 13"]);
    example.replica().advance(at(14), vec![], vec![]).unwrap();
    assert_eq!(example.after(500), Vec::<String>::new(), "nothing else of the scope");
    example.replica().advance(at(15), puts(&[("c", "1")]), vec![]).unwrap();
    assert_eq!(example.after(500), [format!("bookmark 15 {} age 1000", short(ahead.root()))]);
}

#[test]
fn bookmarks_come_every_second_and_soon_after_a_move() {
    let mut example = Example::new(holding(replica()));
    let root = short(replica().root());
    example.hello(Some(at(13)), Some(replica().root()));
    assert_eq!(example.next(), [format!("bookmark 13 {root} age 0")]);
    assert_eq!(example.after(999), Vec::<String>::new());
    assert_eq!(example.session.next_due(), Some(example.start + Duration::from_secs(1)));
    assert_eq!(example.after(1), [format!("bookmark 13 {root} age 1000")]);
    example.replica().advance(at(14), vec![], vec![]).unwrap();
    assert_eq!(example.after(60), [format!("bookmark 14 {root} age 1060")]);
    example.replica().advance(at(15), vec![], vec![]).unwrap();
    assert_eq!(example.after(10), Vec::<String>::new(), "moves are told together");
    example.replica().advance(at(16), vec![], vec![]).unwrap();
    assert_eq!(example.session.next_due(), Some(example.start + Duration::from_millis(1110)));
    assert_eq!(example.after(40), [format!("bookmark 16 {root} age 1110")]);
}

#[test]
fn bookmarks_come_every_second_under_constant_change() {
    let mut example = Example::new(holding(replica()));
    example.hello(Some(at(13)), Some(replica().root()));
    example.next();
    let mut bookmarks = 0;
    for revision in 14..44 {
        example.replica().advance(at(revision), puts(&[("a", &revision.to_string())]), vec![]).unwrap();
        let said = example.after(100);
        assert!(said[0].starts_with("delta"), "{said:?}");
        bookmarks += said.iter().filter(|line| line.starts_with("bookmark")).count();
    }
    assert_eq!(bookmarks, 3, "in three seconds");
}

#[test]
fn changes_coalesce_to_the_latest() {
    let mut example = Example::new(holding(replica()));
    example.hello(Some(at(10)), Some(replica_at(10).root()));
    example.next();
    example.replica().advance(at(14), puts(&[("c", "1"), ("d", "1")]), vec![]).unwrap();
    example.replica().advance(at(15), puts(&[("c", "2")]), keys(&["d"])).unwrap();
    let root = short(example.replica().root());
    assert_eq!(example.next(), ["delta 13 to 15".into(), "chunk c=2 -d".into(), format!("end 15 {root}")]);
}

#[test]
fn transfers_come_in_chunks_and_a_hello_starts_over() {
    let mut wide = Replica::new();
    let values: Vec<_> = (0..5).map(|n| (Arc::from(format!("k{n}")), Bytes::from("x".repeat(30)))).collect();
    wide.advance(at(1), values, vec![]).unwrap();
    let mut example = Example::new(holding(wide));
    example.session.chunk_bytes = 128;
    let x = "x".repeat(30);
    example.hello(None, None);
    assert_eq!(example.next(), ["snapshot 1: nothing held".into(), format!("chunk k0={x} k1={x}")]);
    assert_eq!(example.next(), [format!("chunk k2={x} k3={x}")]);
    example.hello(None, None);
    assert_eq!(example.next()[0], "snapshot 1: nothing held");
    example.next();
    // What changes meanwhile does not show in the transfer: it is of one position.
    example.replica().advance(at(2), puts(&[("k0", "new")]), vec![]).unwrap();
    let last = example.next();
    assert_eq!(last[0], format!("chunk k4={x}"));
    assert!(last[1].starts_with("end 1 "), "{last:?}");
    assert_eq!(example.next()[..2], ["delta 1 to 2", "chunk k0=new"]);
}

#[test]
fn a_value_larger_than_a_chunk_travels_alone() {
    let mut replica = Replica::new();
    let big = "x".repeat(300);
    replica.advance(at(1), puts(&[("a", "1"), ("b", &big), ("c", "1")]), vec![]).unwrap();
    let mut example = Example::new(holding(replica));
    example.session.chunk_bytes = 128;
    example.hello(None, None);
    assert_eq!(example.next()[1], "chunk a=1");
    assert_eq!(example.next(), [format!("chunk b={big}")]);
    assert_eq!(example.next()[0], "chunk c=1");
}

#[test]
fn only_admitted_scopes_are_served() {
    let mut example = Example::new(holding(replica()));
    let refused = example.session.handle(hello("runtime/r/other", None, None)).unwrap();
    assert_eq!(refused, Received::Refused { scope: "runtime/r/other".into() });
    example.session.handle(hello("nonsense", None, None)).unwrap();
    assert_eq!(
        example.next(),
        ["refused nonsense: not a scope", "refused runtime/r/other: not among the scopes offered"]
    );

    example.hello(Some(at(13)), Some(replica().root()));
    assert_eq!(example.next().len(), 1);
    example.session.admit([scope("other")], Some(at(20)));
    assert_eq!(
        example.after(5000),
        ["welcome to runtime/r/other as of 20"],
        "and no word of the other any more"
    );
    example.session.admit([scope("other")], Some(at(21)));
    assert_eq!(example.after(5000), Vec::<String>::new(), "the same scopes are no news");
}

#[test]
fn which_roots_are_believed_is_said_at_once_and_once() {
    let mut example = Example::new(holding(replica()));
    let roots = |revision| TrustedRoots {
        as_of: at(revision),
        believed: vec![crate::TrustedRoot { certificate: vec![1], endorsement: vec![2] }],
        issuing: Some([3; 32]),
        dropped: vec![[4; 32]],
    };
    let freshness = Freshness { confirmed_at: example.start, quorum: true };
    let mut said = |roots: Option<TrustedRoots>| -> Vec<sync::TrustedRoots> {
        example.session.trust(roots);
        let messages = example.session.next(&example.replicas, freshness, example.start);
        let bodies = messages.into_iter().filter_map(|message| message.body);
        let welcomes = bodies.filter_map(|body| match body {
            publisher_message::Body::Welcome(welcome) => welcome.roots,
            _ => None,
        });
        welcomes.collect()
    };
    assert_eq!(said(Some(roots(7))), [roots(7).into()]);
    assert_eq!(said(Some(roots(7))), [], "it is no news");
    assert_eq!(said(Some(roots(8))).len(), 1);
}

#[test]
fn who_is_revoked_is_said_at_once_and_once() {
    let mut example = Example::new(holding(replica()));
    let of = |revision, authorities: &[[u8; 32]]| Revoked {
        as_of: at(revision),
        identities: vec!["g.gateway.r".into()],
        authorities: authorities.to_vec(),
        gateway_keys: Vec::new(),
    };
    let revoked = |revision| of(revision, &[]);
    let welcomes = |example: &mut Example, revoked: Option<Revoked>| {
        example.session.revoke(revoked);
        example.after(5000).iter().filter(|said| said.starts_with("welcome")).count()
    };
    assert_eq!(welcomes(&mut example, Some(revoked(7))), 1);
    assert_eq!(welcomes(&mut example, Some(revoked(7))), 0, "it is no news");
    assert_eq!(welcomes(&mut example, Some(revoked(8))), 1, "the same list of a later revision is");
    assert_eq!(welcomes(&mut example, Some(of(8, &[[1; 32]]))), 1, "an authority is");
    assert_eq!(welcomes(&mut example, None), 1);
    example.session.revoke(Some(revoked(9)));
    assert!(example.session.welcome().is_some(), "asked for apart");
    assert_eq!(welcomes(&mut example, Some(revoked(9))), 0, "it is not said again");
}

#[test]
fn a_refusal_does_not_outlive_an_admission() {
    let ask = |example: &mut Example| {
        let hello = hello("runtime/r/e", Some(at(13)), Some(replica().root()));
        example.session.handle(hello).unwrap()
    };
    let bookmark = format!("bookmark 13 {} age 0", short(replica().root()));
    let refused = Received::Refused { scope: "runtime/r/e".into() };

    // The Hello came while the scope was not admitted: it is served all the same.
    let mut example = Example::new(holding(replica()));
    example.session.admit([], None);
    assert_eq!(ask(&mut example), refused);
    example.session.admit([scope("e")], None);
    assert_eq!(example.next(), ["welcome to runtime/r/e as of nowhere", &bookmark]);

    // A Hello that is served takes back the refusal of the one before.
    let mut example = Example::new(holding(replica()));
    example.session.admit([], None);
    assert_eq!(ask(&mut example), refused);
    example.session.admitted.insert(scope("e"));
    assert_eq!(
        ask(&mut example),
        Received::Subscribed { scope: scope("e"), position: Some(at(13)), head: None, met: None }
    );
    assert_eq!(example.next(), ["welcome to runtime/r/e as of nowhere", &bookmark]);

    // Admitted something else, it stays.
    let mut example = Example::new(holding(replica()));
    example.session.admit([], None);
    ask(&mut example);
    example.session.admit([scope("other")], None);
    assert_eq!(
        example.next(),
        ["welcome to runtime/r/other as of nowhere", "refused runtime/r/e: not among the scopes offered"]
    );
}

#[test]
fn chunks_are_small_enough_for_slow_links() {
    let mut wide = Replica::new();
    let value = Bytes::from(vec![7; 2_000]);
    let values = (0..500).map(|n| (Arc::from(format!("k{n}")), value.clone())).collect();
    wide.advance(at(1), values, vec![]).unwrap();
    let replicas = holding(wide);
    let mut session = Example::new(ReplicaMap::new()).session;
    session.handle(hello("runtime/r/e", None, None)).unwrap();
    let (now, mut chunks) = (Instant::now(), Vec::new());
    loop {
        let messages = session.next(&replicas, Freshness::unconfirmed(now), now);
        let bodies = messages.into_iter().filter_map(|message| message.body);
        let is_chunk = |body: &publisher_message::Body| matches!(body, publisher_message::Body::Chunk(_));
        let sizes: Vec<_> = bodies.filter(is_chunk).map(|body| body.encoded_len()).collect();
        if sizes.is_empty() {
            break;
        }
        chunks.extend(sizes);
    }
    assert!(chunks.iter().all(|bytes| *bytes <= 64 << 10), "{chunks:?}");
    assert_eq!(chunks.len(), 1_000_000_usize.div_ceil(64 << 10), "and no smaller than need be");
}

#[test]
fn what_came_and_went_is_told() {
    let mut example = Example::new(holding(replica()));
    let root = replica().root();
    example.hello(Some(at(13)), Some(root));
    example.next();
    example.replica().advance(at(14), puts(&[("c", "1")]), vec![]).unwrap();
    example.replica().advance(at(15), vec![], keys(&["c"])).unwrap();
    assert_eq!(example.replica().root(), root);
    let told = ["delta 13 to 15".into(), "chunk -c".into(), format!("end 15 {}", short(root))];
    assert_eq!(example.after(100), told);
}

#[test]
fn a_scope_left_is_not_served() {
    let mut example = Example::new(holding(replica()));
    example.hello(None, None);
    let leave = sync::Leave { scope: "runtime/r/e".into() };
    example.session.handle(message(subscriber_message::Body::Leave(leave))).unwrap();
    assert_eq!(example.next(), Vec::<String>::new());
}

#[test]
fn nothing_is_said_before_the_introduction_and_rules_are_kept() {
    let mut session = PublisherSession::new("p".into());
    let now = Instant::now();
    assert_eq!(session.next(&ReplicaMap::new(), Freshness::unconfirmed(now), now), []);
    assert_eq!(session.handle(hello("runtime/r/e", None, None)), Err(ProtocolError::Introduction));
    session.handle(introduction()).unwrap();
    assert_eq!(session.handle(introduction()), Err(ProtocolError::Introduction));
    assert!(matches!(
        session.handle(SubscriberMessage { body: None }),
        Err(ProtocolError::Malformed(InvalidMessage { .. }))
    ));
    session.admit([scope("e")], None);
    let bad_root = hello("runtime/r/e", Some(at(1)), None);
    let mut bad_root = bad_root;
    if let Some(subscriber_message::Body::Hello(hello)) = &mut bad_root.body {
        hello.root = vec![1, 2, 3].into();
    }
    assert!(matches!(session.handle(bad_root), Err(ProtocolError::Malformed(_))));
    let flood = (0..=MAX_REFUSALS).map(|n| session.handle(hello(&format!("runtime/r/x{n}"), None, None)));
    assert_eq!(flood.last(), Some(Err(ProtocolError::TooManyRefusals)));
}

#[test]
fn acknowledgements_are_read() {
    let mut session = PublisherSession::new("p".into());
    session.handle(introduction()).unwrap();
    let named = [sync::Quarantined { key: "plan/o/a".into(), ..Default::default() }];
    let ack = ScopeAck { effective: Some(at(4)), quarantine: Quarantine::of(named), ..Default::default() };
    let said = ack.to_message(&scope("e"));
    assert_eq!(
        session.handle(message(subscriber_message::Body::Ack(said.clone()))),
        Ok(Received::Acked { scope: scope("e"), ack: ScopeAck { said: Some(said), ..ack } })
    );
}
