//! How a session stands with its publisher: silence, scopes that come and go, which publisher is followed.

use super::*;

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
fn places_that_were_not_agreed_end_the_stream() {
    let mut example = Example::following();
    let said = example.take(message(publisher_message::Body::Places(sync::Places::default())));
    assert_eq!(said, ["alarm malformed message", "disconnect"]);
    assert!(example.is_as_before(), "what is held stays");
}

#[test]
fn places_that_were_agreed_are_taken_in_row_by_row() {
    let mut example = Example::following();
    let welcome = sync::Welcome {
        features: vec!["places".into()],
        scopes: vec![scope("e").to_string()],
        publisher: "p".into(),
        ..sync::Welcome::default()
    };
    assert!(example.take(message(publisher_message::Body::Welcome(welcome))).is_empty());
    let row = |region: &str| sync::PlaceRow {
        region: region.into(),
        environment: "e".into(),
        ..sync::PlaceRow::default()
    };
    let rows = vec![row("r"), row("No Name"), row("s")];
    let said = example.take(message(publisher_message::Body::Places(sync::Places { rows })));
    assert_eq!(said, ["places 2, 1 unread"]);
    let rows = vec![row("r"); hanse_proto::places::MAX_PLACE_ROWS + 1];
    let said = example.take(message(publisher_message::Body::Places(sync::Places { rows })));
    assert_eq!(said, ["alarm malformed message", "disconnect"], "a message is taken whole or not at all");
}

#[test]
fn a_neighbour_tells_no_places() {
    let features = |wanted| super::super::features(&wanted).collect::<Vec<_>>();
    assert_eq!(features(Wanted::All), FEATURES);
    assert_eq!(features(Wanted::Local), [crate::LAST_GOOD_IN_DELTAS]);
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
    example.take(bookmark(at(12), ContentRoot([7; 32])));
    for _ in 0..5 {
        assert_eq!(example.tick_after(1000), Vec::<String>::new());
        example.take(bookmark(at(14), ContentRoot([7; 32])));
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

/// A relay that an attacker took over offers and sends what the control plane alone may say.
#[test]
fn of_a_neighbour_local_scopes_alone_are_asked_for_and_nothing_else_is_taken_in() {
    let now = Instant::now();
    let start = || SubscriberSession::start(Wanted::Local, "test", BOOT, Patience::default(), now).0;
    let session = start().judging(Arc::new(AnyOrigin));
    let mut example = Example { session, replicas: holding(replica_at(12)), now };
    let mut offer = welcome(&["e", "x1"], Some(at(99)));
    if let Some(publisher_message::Body::Welcome(welcome)) = &mut offer.body {
        welcome.scopes.extend(["agents/r".to_owned(), "local/r/e/pods".to_owned()]);
    }
    assert_eq!(example.take(offer), ["hello local/r/e/pods at nowhere none"]);
    assert_eq!(example.take(snapshot(at(13))), Vec::<String>::new());
    assert_eq!(example.take(chunk(&[("a", "2")], &[])), Vec::<String>::new());
    assert_eq!(example.session.scopes().count(), 1, "nothing of the others is staged");
    assert!(example.is_as_before());

    // One that has nothing is as good as any: no warning tells of it, and no other is sought.
    let session = start();
    let mut example = Example { session, replicas: ReplicaMap::new(), now };
    example.take(welcome(&[], None));
    for _ in 0..60 {
        assert_eq!(example.tick_after(1000), Vec::<String>::new());
        assert_eq!(example.session.standing(example.now), Standing::Good);
    }
}

/// Every local scope has an Origin, and no holder.
#[derive(Debug)]
struct AnyOrigin;

impl crate::Heads for AnyOrigin {
    fn wants(&self, _: &ScopeId) -> bool {
        true
    }

    fn is_holders(&self, _: &ScopeId, _: &Position, _: &sync::HeadSignature) -> Result<(), String> {
        Err("there is none".to_owned())
    }

    fn judge(
        &self,
        _: &ScopeId,
        _: &Position,
        _: &crate::ContentRoot,
        _: &sync::HeadSignature,
    ) -> Result<(), crate::Disbelief> {
        Err(crate::Disbelief::Unknown("there is none".to_owned()))
    }
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
    for seconds in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
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
