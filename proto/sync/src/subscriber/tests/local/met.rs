//! Greater heads that other nodes showed the subscriber, and Hellos that cross what answers an earlier one.

use super::*;
use crate::subscriber::telling::{OWN_PAUSE, TELL_AGAIN_AFTER};

impl Pair {
    /// The heads of others that the publisher hears of at the next look at the time.
    fn told(&mut self) -> Vec<HeldHead> {
        self.example.now += Duration::from_secs(1);
        let effects = self.example.session.tick(&self.example.replicas, self.example.now);
        let told = effects.into_iter().filter_map(|effect| match effect {
            Effect::Send(message) => match self.publisher.handle(message).unwrap() {
                Received::Subscribed { met, .. } => met,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        });
        let told = told.collect();
        assert_eq!(self.exchange(untouched), Vec::<String>::new());
        told
    }

    /// What the publisher sends now.
    fn answers(&mut self) -> Vec<PublisherMessage> {
        let freshness = Freshness { confirmed_at: self.example.now, quorum: true };
        let next = || {
            let messages = self.publisher.next(&self.theirs, freshness, self.example.now);
            Some(messages).filter(|messages| !messages.is_empty())
        };
        std::iter::from_fn(next).flatten().collect()
    }
}

/// A position in a lineage of this generation, and not in that of `in_generation`.
fn of_another_holder(generation: u64) -> Position {
    let Position { lineage, revision } = in_generation(generation, 9);
    Position { lineage: hanse_topology::Lineage { id: [0xee; 16], ..lineage }, revision }
}

/// A head that is told costs a Hello, and a node could show another one at every moment.
#[test]
fn a_publisher_hears_of_a_greater_head_that_another_node_showed() {
    let mut pair = Pair::new();
    pair.write(HOLDER, 2, 1, &[("a", "1")]);
    pair.exchange(untouched);
    for (what, met, is_told) in [
        ("the publisher has it", in_generation(2, 1), false),
        ("of the lineage before", in_generation(1, 9), false),
        ("greater", in_generation(3, 1), true),
        ("its next revision", in_generation(3, 2), false),
        ("of a later takeover", in_generation(5, 1), true),
        ("of one generation with what it was told", of_another_holder(5), false),
    ] {
        let head = pair.origin.meets(met);
        let expected = if is_told { vec![head] } else { Vec::new() };
        assert_eq!(pair.told(), expected, "{what}");
        assert_eq!(pair.told(), Vec::new(), "{what}, a second time");
    }
    assert_eq!(pair.held(), Some(in_generation(2, 1)), "it is no content");
}

/// A publisher that does not know yet who is a holder drops a head. It hears of it again, as long as it lacks it.
#[test]
fn a_publisher_that_lacks_a_head_hears_of_it_again() {
    let mut pair = Pair::new();
    pair.write(HOLDER, 2, 1, &[("a", "1")]);
    pair.exchange(untouched);
    let head = pair.origin.meets(in_generation(3, 1));
    assert_eq!(pair.told(), std::slice::from_ref(&head));
    let told = |pair: &mut Pair, seconds| (0..seconds).flat_map(|_| pair.told()).count();
    let period = TELL_AGAIN_AFTER.as_secs();
    assert_eq!(told(&mut pair, period - 1), 0);
    assert_eq!((told(&mut pair, 1), told(&mut pair, period)), (1, 1));
    pair.write(HOLDER, 3, 1, &[("a", "2")]);
    pair.exchange(untouched);
    assert_eq!(told(&mut pair, 2 * period), 0, "it has it");
    // The same of a Hello for another reason.
    let (session, replicas) = (&mut pair.example.session, &pair.example.replicas);
    let again = session.ask_anew(&local(), replicas, pair.example.now);
    let [Effect::Send(SubscriberMessage { body: Some(subscriber_message::Body::Hello(hello)) })] = &again[..]
    else {
        panic!("{again:?}")
    };
    assert_eq!(hello.met, None);
}

/// The link brings nothing of it: for example, its publisher never met the holder that died.
#[test]
fn a_publisher_hears_of_what_the_node_itself_has_held_for_a_while() {
    let mut pair = Pair::new();
    pair.write(HOLDER, 2, 1, &[("a", "1")]);
    pair.exchange(untouched);
    let holds = |pair: &Pair, at| {
        let head = pair.origin.meets(at);
        (*pair.origin.met.lock().unwrap(), *pair.origin.own.lock().unwrap()) = (None, Some(head.clone()));
        head
    };
    let told = |pair: &mut Pair, seconds| (0..seconds).flat_map(|_| pair.told()).collect::<Vec<_>>();
    holds(&pair, in_generation(2, 7));
    assert_eq!(told(&mut pair, 20), [], "the link is behind, and gets it");
    let head = holds(&pair, in_generation(3, 1));
    assert_eq!(told(&mut pair, OWN_PAUSE.as_secs()), [], "another link may have been quicker");
    assert_eq!(told(&mut pair, 1), [head]);
    assert_eq!(told(&mut pair, 10), []);
}

/// Every Hello begins a new answer, and the conflict is the one of before.
#[test]
fn a_publisher_that_stays_in_conflict_is_one_alarm() {
    let mut pair = Pair::new();
    pair.write(HOLDER, 2, 1, &[("a", "1")]);
    pair.exchange(untouched);
    *pair.theirs.get_mut(&local()).unwrap() = Replica::new();
    pair.write_at(HOLDER, of_another_holder(2), puts(&[("a", "2")]));
    let mut said = Vec::new();
    for seconds in 0..40 {
        pair.origin.meets(in_generation(3 + seconds / 10, 1));
        let (session, replicas) = (&mut pair.example.session, &pair.example.replicas);
        let again = match seconds {
            0 => session.ask_anew(&local(), replicas, pair.example.now),
            _ => Vec::new(),
        };
        said.extend(pair.carry_out(again));
        said.extend(pair.exchange(untouched));
        said.extend(pair.a_second_later(untouched));
    }
    let alarms = said.iter().filter(|line| line.starts_with("alarm")).count();
    assert_eq!(alarms, 1, "{said:?}");
}

#[test]
fn a_head_that_was_shown_before_the_first_hello_is_told_with_it() {
    let mut pair = Pair::with_origin(false);
    pair.exchange(untouched);
    let head = pair.origin.meets(in_generation(3, 1));
    pair.origin.is(Some(HOLDER));
    assert_eq!(pair.told(), [head]);
    assert_eq!(pair.told(), Vec::new());
}

#[test]
fn a_head_that_cannot_be_read_is_none_and_the_scope_is_served() {
    let head = Pair::new().origin.meets(in_generation(3, 1));
    let whole: sync::HeldHead = head.clone().into();
    for (message, expected) in [
        (whole.clone(), Some(head)),
        (sync::HeldHead { position: None, ..whole.clone() }, None),
        (sync::HeldHead { signature: None, ..whole.clone() }, None),
        (sync::HeldHead { root: Bytes::new(), ..whole }, None),
    ] {
        let mut pair = Pair::new();
        let hello = sync::Hello { scope: local().to_string(), met: Some(message), ..sync::Hello::default() };
        let hello = SubscriberMessage { body: Some(subscriber_message::Body::Hello(hello)) };
        let received = pair.publisher.handle(hello).unwrap();
        assert_eq!(
            received,
            Received::Subscribed { scope: local(), position: None, head: None, met: expected }
        );
    }
}

/// Two answers that start at one position: the second is to a Hello that was sent before the first came.
#[test]
fn what_answers_an_earlier_hello_is_no_alarm() {
    for asks_anew in [true, false] {
        let mut pair = Pair::new();
        pair.write(HOLDER, 1, 1, &[("a", "1")]);
        pair.exchange(untouched);
        pair.write(HOLDER, 1, 2, &[("a", "2")]);
        let freshness = Freshness { confirmed_at: pair.example.now, quorum: true };
        let on_its_way = pair.publisher.next(&pair.theirs, freshness, pair.example.now);
        let again = match asks_anew {
            true => pair.example.session.ask_anew(&local(), &pair.example.replicas, pair.example.now),
            false => Vec::new(),
        };
        let repeated = on_its_way.clone();
        for message in on_its_way {
            pair.example.take(message);
        }
        assert_eq!(pair.held(), Some(in_generation(1, 2)), "the answer to the earlier one fits");
        pair.carry_out(again);
        let said = match asks_anew {
            true => pair.exchange(untouched),
            // A publisher that repeats itself.
            false => repeated.into_iter().flat_map(|message| pair.example.take(message)).collect(),
        };
        let alarms = said.iter().filter(|line| line.starts_with("alarm")).count();
        assert_eq!(alarms, usize::from(!asks_anew), "{said:?}");
        assert_eq!(pair.a_second_later(untouched), Vec::<String>::new());
        assert_eq!(pair.held(), Some(in_generation(1, 2)));
    }
}

/// A Hello of a scope that runs well, and at every step the next revision. The publisher answers a Hello before that, or with it.
#[test]
fn a_write_between_each_two_messages_costs_at_most_one_hello() {
    for (answers_first, asks_again) in [(true, 0), (false, 1)] {
        let mut pair = Pair::new();
        pair.write(HOLDER, 1, 1, &[("a", "1")]);
        pair.exchange(untouched);
        let (session, replicas) = (&mut pair.example.session, &pair.example.replicas);
        let mut on_its_way = session.ask_anew(&local(), replicas, pair.example.now);
        assert_eq!(on_its_way.len(), 1);
        let mut said = Vec::new();
        for revision in 2..9 {
            let mut answers = if answers_first { pair.answers() } else { Vec::new() };
            pair.write(HOLDER, 1, revision, &[("a", &revision.to_string())]);
            answers.extend(pair.answers());
            let mut hellos = Vec::new();
            for message in answers {
                let example = &mut pair.example;
                let effects = example.session.handle(message, &example.replicas, example.now);
                let is_sent = |effect: &Effect| matches!(effect, Effect::Send(_));
                let (sent, done): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_sent);
                hellos.extend(sent);
                said.extend(example.carry_out(done));
            }
            said.extend(pair.carry_out(std::mem::replace(&mut on_its_way, hellos)));
        }
        said.extend(pair.carry_out(on_its_way));
        said.extend(pair.exchange(untouched));
        let asked = said.iter().filter(|line| line.ends_with("is asked for again")).count();
        let alarms: Vec<&String> = said.iter().filter(|line| line.starts_with("alarm")).collect();
        assert_eq!((asked, alarms), (asks_again, Vec::new()), "{answers_first}: {said:?}");
        assert_eq!(pair.held(), Some(in_generation(1, 8)));
    }
}

/// A second Hello excuses one delta: the one that starts where the Hello said.
#[test]
fn what_no_earlier_hello_explains_is_an_alarm() {
    let whole = |revision| in_generation(1, revision);
    for (what, from, to, alarms) in [
        ("the answer, which came twice", 1, whole(2), 0),
        ("the answer, and more", 1, whole(3), 0),
        ("from beyond", 3, whole(4), 1),
        ("to nowhere", 2, whole(2), 1),
        ("to less than what is held", 1, whole(1), 1),
        ("from before", 0, whole(3), 1),
        ("another lineage", 1, in_generation(2, 3), 1),
    ] {
        let mut pair = Pair::new();
        pair.write(HOLDER, 1, 1, &[("a", "1")]);
        pair.exchange(untouched);
        let (session, replicas) = (&mut pair.example.session, &pair.example.replicas);
        let hello = session.ask_anew(&local(), replicas, pair.example.now);
        pair.write(HOLDER, 1, 2, &[("a", "2")]);
        assert_eq!(pair.exchange(untouched), ["advance to 2"], "it answers the earlier Hello");
        drop(hello); // the publisher of this test answers it by hand
        let delta = message(publisher_message::Body::Begin(sync::Begin {
            scope: local().to_string(),
            kind: Kind::Delta.into(),
            from,
            to: Some(to.into()),
            reason: String::new(),
        }));
        let said = pair.example.take(delta.clone());
        let alarm = said.iter().filter(|line| line.starts_with("alarm")).count();
        assert_eq!(alarm, alarms, "{what}: {said:?}");
        if to == whole(2) && alarms == 0 {
            assert_eq!(said, Vec::<String>::new(), "neither a Hello nor a count");
            assert_eq!(pair.a_second_later(untouched), Vec::<String>::new(), "it is in step");
            let said = pair.example.take(delta);
            assert!(said[0].starts_with("alarm"), "the excuse was used: {said:?}");
        }
    }
}
