//! Greater heads that other nodes showed the subscriber, and Hellos that cross what answers an earlier one.

use super::*;

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
}

#[test]
fn a_publisher_hears_once_of_a_greater_head_that_another_node_showed() {
    let mut pair = Pair::new();
    pair.write(HOLDER, 2, 1, &[("a", "1")]);
    pair.exchange(untouched);
    for (what, met, is_told) in [
        ("the publisher has it", in_generation(2, 1), false),
        ("of the lineage before", in_generation(1, 9), false),
        ("greater", in_generation(3, 1), true),
        ("its next revision", in_generation(3, 2), true),
        ("an older one", in_generation(3, 1), false),
        ("of a later takeover", in_generation(5, 1), true),
        // Two nodes could show one after the other for ever.
        ("of one generation with what it was told", of_an_impostor(5), false),
    ] {
        let head = pair.origin.meets(met);
        let expected = if is_told { vec![head] } else { Vec::new() };
        assert_eq!(pair.told(), expected, "{what}");
        assert_eq!(pair.told(), Vec::new(), "{what}, a second time");
    }
    assert_eq!(pair.held(), Some(in_generation(2, 1)), "it is no content");
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
fn a_head_that_cannot_be_read_ends_the_stream() {
    let whole: sync::HeldHead = Pair::new().origin.meets(in_generation(3, 1)).into();
    for (met, why) in [
        (sync::HeldHead { position: None, ..whole.clone() }, "hello.met.position"),
        (sync::HeldHead { signature: None, ..whole.clone() }, "hello.met.signature"),
        (sync::HeldHead { root: Bytes::new(), ..whole }, "root"),
    ] {
        let mut pair = Pair::new();
        let hello = sync::Hello { scope: local().to_string(), met: Some(met), ..sync::Hello::default() };
        let hello = SubscriberMessage { body: Some(subscriber_message::Body::Hello(hello)) };
        let error = pair.publisher.handle(hello).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
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
