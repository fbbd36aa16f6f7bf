//! Which local scopes are followed of those that a publisher offers, and what one that is behind or too large costs.

use super::*;

#[test]
fn an_origin_may_come_after_the_offer_and_go_before_it() {
    let mut pair = Pair::with_origin(false);
    pair.write(HOLDER, 1, 1, &[("a", "1")]);
    assert_eq!(pair.exchange(untouched), ["replace at 12: nothing held"]);
    assert_eq!(pair.a_second_later(untouched), Vec::<String>::new());
    pair.origin.is(Some(HOLDER));
    assert_eq!(pair.a_second_later(untouched), ["replace at 1: nothing held"]);

    pair.origin.is(None);
    assert_eq!(pair.a_second_later(untouched), ["leave local/r/e/pods"]);
    pair.write(HOLDER, 1, 2, &[("a", "2")]);
    assert_eq!(pair.a_second_later(untouched), Vec::<String>::new());
    assert_eq!(pair.held(), Some(in_generation(1, 1)), "the session removes nothing");
    pair.origin.is(Some(HOLDER));
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
