//! Small histories, each with what is wrong with it.

use super::*;
use crate::history::operation::Seen;

/// A history in the making. Operations begin and end at whole steps of time.
#[derive(Default)]
struct Histories(Vec<Operation>);

impl Histories {
    /// With the keys `a` and `b`, made by operation 1 at revision 10.
    fn new() -> Self {
        Self::default().on("n1", 0..1, apply(&["a", "b"]), done(10))
    }

    fn on(mut self, node: &str, time: std::ops::Range<u64>, action: Action, outcome: Outcome) -> Self {
        let id = self.0.len() as u64 + 1;
        let (start_ns, end_ns) = (time.start * 1_000_000, time.end * 1_000_000);
        self.0.push(Operation { id, client: id, node: node.into(), action, start_ns, end_ns, outcome });
        self
    }

    /// The rules that it breaks, each with the operation that shows it.
    #[track_caller]
    fn breaks(self, expected: &[(&str, u64)]) -> Verdict {
        let verdict = judge(&self.0);
        let found: Vec<_> =
            verdict.violations.iter().map(|violation| (violation.rule, violation.operation)).collect();
        assert_eq!(found, expected, "{verdict}");
        verdict
    }
}

fn read(key: &str) -> Action {
    Action::Read { key: key.into() }
}

fn stale_read(key: &str) -> Action {
    Action::StaleRead { key: key.into() }
}

fn write(key: &str) -> Action {
    Action::Write { key: key.into() }
}

fn apply(keys: &[&str]) -> Action {
    Action::Apply { keys: keys.iter().map(|key| (*key).to_owned()).collect() }
}

fn swap(key: &str, expected_value: u64, expected_revision: u64) -> Action {
    Action::Cas { key: key.into(), expected_revision, expected_value }
}

fn done(revision: u64) -> Outcome {
    Outcome::Ok { revision, seen: BTreeMap::new(), restarted: false }
}

/// Answered from `revision`: key, value, revision of its last change.
fn saw(revision: u64, seen: &[(&str, u64, u64)]) -> Outcome {
    let seen = seen.iter().map(|&(key, value, revision)| (key.to_owned(), Seen { value, revision }));
    Outcome::Ok { revision, seen: seen.collect(), restarted: false }
}

fn restarted(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Ok { revision, seen, .. } => Outcome::Ok { revision, seen, restarted: true },
        other => other,
    }
}

fn refused(why: &str) -> Outcome {
    Outcome::Refused { why: why.into() }
}

fn unknown() -> Outcome {
    Outcome::Unknown { why: "gave up".into() }
}

#[test]
fn a_history_in_order_breaks_nothing() {
    let verdict = Histories::new()
        .on("n1", 2..3, write("a"), done(11))
        .on("n2", 4..5, read("a"), saw(11, &[("a", 2, 11)]))
        // Two at once, either order.
        .on("n1", 6..9, write("a"), done(12))
        .on("n2", 6..9, read("a"), saw(11, &[("a", 2, 11)]))
        .on("n3", 6..9, read("a"), saw(12, &[("a", 4, 12)]))
        .on("n3", 10..11, Action::List, saw(12, &[("a", 4, 12), ("b", 1, 10)]))
        .on("n3", 12..13, swap("b", 1, 10), done(13))
        .on("n3", 14..15, swap("b", 1, 10), refused("stale"))
        // Behind, but not behind what this node answered.
        .on("n2", 16..17, stale_read("b"), saw(11, &[("b", 1, 10)]))
        // Another node's revisions between are none of our keys'.
        .on("n2", 18..19, read("b"), saw(20, &[("b", 8, 13)]))
        .breaks(&[]);
    assert_eq!((verdict.with_outcome("ok"), verdict.with_outcome("refused")), (10, 1));
    verdict.checked().unwrap();
}

#[test]
fn an_empty_history_shows_nothing() {
    Histories::default().breaks(&[("something happened", 0)]).checked().unwrap_err();
}

#[test]
fn a_read_may_not_be_from_before_what_another_node_had_shown() {
    Histories::new()
        .on("n1", 2..3, write("a"), done(11))
        .on("n2", 4..5, read("a"), saw(10, &[("a", 1, 10)]))
        .breaks(&[("a read is not from before what was seen", 3)]);
    // What a stale read has shown counts, too: it was committed.
    let verdict = Histories::new()
        .on("n1", 2..9, write("a"), done(11))
        .on("n3", 3..4, stale_read("a"), saw(11, &[("a", 2, 11)]))
        .on("n2", 5..6, Action::List, saw(10, &[("a", 1, 10), ("b", 1, 10)]))
        .breaks(&[("a read is not from before what was seen", 4)]);
    let said = verdict.checked().unwrap_err().to_string();
    assert!(said.contains("operation 3 through n3 had shown revision 11, 1.000 ms before"), "{said}");
}

#[test]
fn a_write_may_not_come_before_what_was_seen() {
    Histories::new()
        .on("n2", 2..3, read("a"), saw(15, &[("a", 1, 10)]))
        .on("n1", 4..5, write("b"), done(14))
        .breaks(&[("a write comes after what was seen", 3)]);
    // Of unknown outcome, and told by one that saw it.
    Histories::new()
        .on("n2", 2..3, read("a"), saw(15, &[("a", 1, 10)]))
        .on("n1", 4..5, write("b"), unknown())
        .on("n1", 6..7, read("b"), saw(15, &[("b", 3, 14)]))
        .breaks(&[("a write comes after what was seen", 3)]);
}

#[test]
fn a_read_shows_the_state_of_its_revision() {
    // Missed a write.
    Histories::new()
        .on("n1", 2..9, write("a"), done(11))
        .on("n2", 3..4, read("a"), saw(12, &[("a", 1, 10)]))
        .breaks(&[("a read shows the state of its revision", 3)]);
    // Shows what comes later.
    Histories::new()
        .on("n1", 2..9, write("a"), done(11))
        .on("n2", 3..4, read("a"), saw(10, &[("a", 2, 11)]))
        .breaks(&[("a read shows the state of its revision", 3)]);
    // A stale read, too, shows one state.
    Histories::new()
        .on("n1", 2..9, write("a"), done(11))
        .on("n2", 3..4, stale_read("a"), saw(12, &[("a", 1, 10)]))
        .breaks(&[("a read shows the state of its revision", 3)]);
    Histories::new().on("n2", 3..4, read("a"), saw(12, &[])).breaks(&[("a read shows its key", 2)]);
    Histories::new()
        .on("n2", 3..4, Action::List, saw(12, &[("a", 1, 10)]))
        .breaks(&[("a list shows every key", 2)]);
    let missing = || Outcome::Missing { restarted: false };
    Histories::new().on("n2", 3..4, read("a"), missing()).breaks(&[("keys do not vanish", 2)]);
}

#[test]
fn an_apply_is_seen_whole_or_not_at_all() {
    Histories::new()
        .on("n1", 2..9, apply(&["a", "b"]), unknown())
        .on("n2", 3..4, Action::List, saw(11, &[("a", 2, 11), ("b", 1, 10)]))
        .breaks(&[("a read shows the state of its revision", 3)]);
}

#[test]
fn what_was_refused_is_never_seen_and_what_is_unknown_at_most_once() {
    Histories::new()
        .on("n1", 2..3, write("a"), refused("no-quorum"))
        .on("n2", 4..5, read("a"), saw(11, &[("a", 2, 11)]))
        .breaks(&[("what is refused does not happen", 3)]);
    Histories::new()
        .on("n1", 2..3, write("a"), unknown())
        .on("n2", 4..5, read("a"), saw(11, &[("a", 2, 11)]))
        .on("n2", 6..7, read("a"), saw(12, &[("a", 2, 12)]))
        .breaks(&[("an operation happens once", 4), ("a read shows the state of its revision", 4)]);
    let verdict = Histories::new()
        .on("n1", 2..3, write("a"), unknown())
        .on("n2", 4..5, read("a"), saw(11, &[("a", 2, 11)]))
        .on("n1", 6..7, write("a"), unknown())
        .breaks(&[]);
    assert_eq!((verdict.unknown_seen, verdict.with_outcome("unknown")), (1, 2));
}

#[test]
fn what_is_seen_was_written_and_every_revision_has_one_maker() {
    let rule = "what is seen was written";
    Histories::new()
        .on("n2", 4..5, read("a"), saw(10, &[("a", 7, 10)]))
        .breaks(&[(rule, 2), ("a read shows the state of its revision", 2)]);
    Histories::new()
        .on("n1", 2..3, write("b"), done(11))
        .on("n2", 4..5, read("a"), saw(11, &[("a", 2, 11)]))
        .breaks(&[(rule, 3), ("a read shows the state of its revision", 3)]);
    Histories::new()
        .on("n1", 2..3, write("a"), done(11))
        .on("n1", 2..3, write("b"), done(11))
        .breaks(&[("a revision has one maker", 3)]);
}

#[test]
fn a_swap_finds_what_it_expects_and_is_refused_for_a_reason() {
    Histories::new()
        .on("n1", 2..9, swap("a", 1, 10), done(11))
        .on("n1", 2..9, swap("a", 1, 10), done(12))
        .breaks(&[("a swap finds what it expects", 3)]);
    let reason = "a swap is refused for a reason";
    Histories::new().on("n1", 2..3, swap("a", 1, 10), refused("stale")).breaks(&[(reason, 2)]);
    // What changed it began afterwards.
    Histories::new()
        .on("n1", 2..3, swap("a", 1, 10), refused("stale"))
        .on("n1", 4..5, write("a"), done(11))
        .breaks(&[(reason, 2)]);
    // A write whose result is unknown may be the reason, if it began in time.
    Histories::new()
        .on("n1", 2..3, write("a"), unknown())
        .on("n1", 4..5, swap("a", 1, 10), refused("stale"))
        .breaks(&[]);
    Histories::new()
        .on("n1", 4..5, swap("a", 1, 10), refused("stale"))
        .on("n1", 6..7, write("a"), unknown())
        .breaks(&[(reason, 2)]);
    Histories::new().on("n1", 2..3, swap("a", 1, 10), refused("no-quorum")).breaks(&[]);
}

#[test]
fn a_stale_read_goes_back_only_if_it_says_so() {
    let history = |again: Outcome| {
        Histories::new()
            .on("n1", 2..3, write("a"), done(11))
            .on("n2", 4..5, stale_read("a"), saw(11, &[("a", 2, 11)]))
            .on("n3", 6..7, stale_read("a"), saw(10, &[("a", 1, 10)]))
            .on("n2", 8..9, stale_read("a"), again)
    };
    let back = saw(10, &[("a", 1, 10)]);
    history(back.clone()).breaks(&[("a stale read does not go back unsaid", 5)]);
    assert_eq!(history(restarted(back)).breaks(&[]).said_restarted, 1);
    assert_eq!(history(saw(11, &[("a", 2, 11)])).breaks(&[]).said_restarted, 0);
}

#[test]
fn numbers_are_unique() {
    let mut twice = Histories::new().on("n1", 2..3, write("a"), refused("no-quorum")).on(
        "n1",
        4..5,
        write("b"),
        refused("no-quorum"),
    );
    twice.0[2].id = 2;
    twice.breaks(&[("numbers are unique", 2)]);
}

/// What real processes gave with the seeded bug, cut to the tenth of a second around one read.
#[test]
fn what_the_seeded_bug_gave_is_refused() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/history/testdata/read-index-without-own-term.jsonl");
    let mut history = crate::history::read(path.as_ref()).unwrap();
    let verdict = judge(&history);
    let found: Vec<_> =
        verdict.violations.iter().map(|violation| (violation.rule, violation.operation)).collect();
    assert_eq!(found, [("a read is not from before what was seen", 5855)], "{verdict}");
    history.retain(|operation| operation.id != 5855);
    judge(&history).checked().unwrap();
}

#[test]
fn nodes_that_end_unequal_are_a_violation() {
    let mut verdict = Histories::new().on("n1", 1..2, read("a"), saw(10, &[("a", 1, 10)])).breaks(&[]);
    verdict.checked().unwrap();
    verdict.found_unequal("cp-1 has revision 10, cp-2 9".to_owned());
    let said = verdict.checked().unwrap_err().to_string();
    assert!(said.contains("equal in the end: cp-1 has revision 10, cp-2 9"), "{said}");
}
