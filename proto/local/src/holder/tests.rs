use super::*;

const A: KeyDigest = [0xa; 32];
const B: KeyDigest = [0xb; 32];
const MADE_AT_MS: u64 = 1_000;

fn draw(random: u8) -> Draw {
    Draw { generation: random.into(), id: [random; 8], pause: Duration::from_secs(3) }
}

/// A node with a holder, that holds what it published itself.
struct Node {
    holder: Holder,
    key: KeyDigest,
    random: u8,
    term: Option<u64>,
    held: Option<Position>,
    is_as_wished: bool,
    met: Option<Position>,
    now: Instant,
}

impl Node {
    fn new(key: KeyDigest) -> Self {
        let (holder, now) = (Holder::new(key, MADE_AT_MS), Instant::now());
        Self { holder, key, random: key[0], term: Some(1), held: None, is_as_wished: false, met: None, now }
    }

    /// One step. What is published is in force.
    fn step(&mut self) -> Step {
        let seen = Seen { term: self.term, held: self.held, is_as_wished: self.is_as_wished, met: self.met };
        self.random = self.random.wrapping_add(1);
        let step = self.holder.step(seen, self.now, draw(self.random));
        if let Step::Publish(publication) = step {
            self.holder.published(publication, self.term.unwrap());
            let (Publication::Takeover { to, .. } | Publication::Changes { to }) = publication;
            (self.held, self.is_as_wished) = (Some(to), true);
        }
        step
    }

    /// The counter, the key and the revision of what it publishes, and why: `1a/1 Term`.
    fn said(&mut self) -> String {
        match self.step() {
            Step::Rest => "rests".to_owned(),
            Step::Exhausted => "exhausted".to_owned(),
            Step::Publish(Publication::Changes { to }) => format!("{}/{}", self.short(&to), to.revision),
            Step::Publish(Publication::Takeover { to, reason }) => {
                assert!(head::may_have_started(&to.lineage, &self.key, MADE_AT_MS));
                format!("{}/{} {reason:?}", self.short(&to), to.revision)
            }
        }
    }

    fn short(&self, position: &Position) -> String {
        let of = |key: &KeyDigest| head::may_have_started(&position.lineage, key, MADE_AT_MS);
        let whose = [("a", A), ("b", B)].into_iter().find(|(_, key)| of(key)).map(|(name, _)| name);
        format!("{}{}", head::counter_of(&position.lineage), whose.unwrap())
    }

    fn wishes_for_more(&mut self) {
        self.is_as_wished = false;
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }

    /// It is shown what `other` holds, and has no way to follow.
    fn hears_of(&mut self, other: &Node) {
        self.met = other.held;
    }

    /// It is shown what `other` holds, and follows if it may.
    fn meets(&mut self, other: &Node) {
        let theirs = other.held.unwrap();
        self.met = Some(theirs);
        if self.held.is_none_or(|held| theirs.may_follow(&held)) {
            self.held = Some(theirs);
        }
    }
}

/// B took over from A, which met it and stopped.
fn overtaken() -> (Node, Node) {
    let (mut a, mut b) = (Node::new(A), Node::new(B));
    a.said();
    b.meets(&a);
    b.said();
    a.meets(&b);
    assert_eq!(a.said(), "rests");
    (a, b)
}

#[test]
fn the_first_wish_is_published_at_once_and_later_ones_are_revisions() {
    let mut a = Node::new(A);
    assert_eq!(a.said(), "1a/1 Term");
    assert_eq!(a.held.unwrap().lineage.parent, None);
    assert_eq!(a.said(), "rests");
    a.wishes_for_more();
    assert_eq!(a.said(), "1a/2");
    // What is not in force yet is said again.
    a.wishes_for_more();
    let seen = Seen { term: Some(1), held: a.held, is_as_wished: false, met: None };
    for _ in 0..2 {
        let to = Position { revision: 3, ..a.held.unwrap() };
        assert_eq!(a.holder.step(seen, a.now, draw(9)), Step::Publish(Publication::Changes { to }));
    }
}

#[test]
fn another_term_and_another_process_take_over() {
    let mut a = Node::new(A);
    a.said();
    let before = a.held.unwrap();
    a.term = Some(2);
    assert_eq!(a.said(), "2a/1 Term");
    assert_eq!(a.held.unwrap().lineage.parent, Some((before.lineage.id, 1)));
    // The next process, even where the content is as wished: it cannot know what the one before published last.
    a.holder = Holder::new(A, MADE_AT_MS);
    assert_eq!(a.said(), "3a/1 Term");
    // Also from what other nodes hold.
    let mut b = Node::new(B);
    b.meets(&a);
    b.held = None;
    assert_eq!(b.said(), "4b/1 Term");
    assert_eq!(b.held.unwrap().lineage.parent, Some((a.held.unwrap().lineage.id, 1)));
}

#[test]
fn without_a_wish_nothing_is_published_and_nothing_is_given_up() {
    let mut a = Node::new(A);
    a.term = None;
    assert_eq!(a.said(), "rests");
    a.term = Some(1);
    assert_eq!(a.said(), "1a/1 Term");
    a.term = None;
    a.wishes_for_more();
    assert_eq!(a.after(60).said(), "rests");
    a.term = Some(1);
    assert_eq!(a.said(), "1a/2", "the source is back in the same term");
}

#[test]
fn a_holder_stops_for_one_that_knew_of_it() {
    let (mut a, mut b) = (Node::new(A), Node::new(B));
    a.said();
    b.meets(&a);
    assert_eq!(b.said(), "2b/1 Term");
    a.meets(&b);
    assert_eq!(a.said(), "rests");
    assert_eq!(a.after(60).said(), "rests", "the content is as wished");
}

#[test]
fn a_holder_that_never_met_the_first_loses_no_route() {
    let (mut a, mut b) = (Node::new(A), Node::new(B));
    for term in 1..=3 {
        a.term = Some(term);
        a.said();
    }
    assert_eq!(b.said(), "1b/1 Term");
    // B was cut off, and has routes of its own. It must not be passed over by a counter that it never heard of.
    b.meets(&a);
    assert_eq!(b.said(), "4b/1 Unheard");
    a.meets(&b);
    a.wishes_for_more(); // B's content differs
    assert_eq!(a.said(), "rests", "A stops at once: B knew of it");
}

#[test]
fn two_that_take_over_at_once_end_after_one_more_takeover() {
    for is_conflict in [false, true] {
        let (mut a, mut b) = (Node::new(A), Node::new(B));
        a.random = 6;
        b.random = if is_conflict { 6 } else { 7 };
        a.said();
        b.said();
        assert_eq!(a.held.unwrap().lineage.generation == b.held.unwrap().lineage.generation, is_conflict);
        b.random = 20;
        let mut takeovers = 0;
        for _ in 0..6 {
            let before = (a.held, b.held);
            // Both hear of the other before either goes on.
            (a.met, b.met) = (b.held, a.held);
            for (node, theirs) in [(&mut a, before.1), (&mut b, before.0)] {
                let theirs = theirs.unwrap();
                if theirs.may_follow(&node.held.unwrap()) {
                    node.held = Some(theirs);
                }
                takeovers += u32::from(node.step() != Step::Rest);
            }
        }
        let generation = |node: &Node| node.held.unwrap().lineage.generation;
        let greatest = generation(&a).max(generation(&b));
        assert_eq!(head::counter_of(&Lineage { generation: greatest, ..a.held.unwrap().lineage }), 2);
        // Of a conflict both answer once.
        assert_eq!(takeovers, if is_conflict { 2 } else { 1 }, "{is_conflict}");
        let publishing = [&a, &b].into_iter().filter(|node| node.holder.own.is_some()).count();
        assert_eq!(publishing, 1, "{is_conflict}");
    }
}

#[test]
fn a_holder_that_stopped_takes_over_when_the_content_stays_different() {
    let (mut a, mut b) = overtaken();
    a.wishes_for_more();
    assert_eq!(a.said(), "rests");
    assert_eq!(a.holder.due(), Some(a.now + Duration::from_secs(13)));
    assert_eq!(a.after(12).said(), "rests");
    // B publishes the same in time.
    a.is_as_wished = true;
    assert_eq!(a.said(), "rests");
    assert_eq!(a.holder.due(), None);
    a.wishes_for_more();
    assert_eq!(a.after(60).said(), "rests", "the time begins anew");
    assert_eq!(a.after(13).said(), "3a/1 Differs");
    // B, which still runs, stops: sources that disagree alternate.
    b.meets(&a);
    b.wishes_for_more();
    assert_eq!(b.said(), "rests");
    assert_eq!(b.after(13).said(), "4b/1 Differs");
}

/// A gateway moved from A to B and back, and no link leads from B to A. Or A lost its disk, and only one of its gateways has the last
/// head. Equal content is not enough then: nodes that hold the later head follow nothing that A holds.
#[test]
fn a_holder_that_stopped_for_a_head_that_never_comes_takes_over() {
    for knew in [true, false] {
        let (mut a, mut b) = (Node::new(A), Node::new(B));
        a.said();
        if knew {
            b.hears_of(&a);
            assert_eq!(b.said(), "2b/1 Term");
        } else {
            for term in 1..=4 {
                b.term = Some(term);
                b.said();
            }
            a.hears_of(&b);
            assert_eq!(a.said(), "5a/1 Unheard");
            b.hears_of(&a);
            b.term = Some(5);
            assert_eq!(b.said(), "6b/1 Term");
        }
        a.hears_of(&b);
        assert_eq!(a.said(), "rests", "it stops");
        assert_eq!(a.holder.due(), Some(a.now + Duration::from_secs(13)));
        assert_eq!(a.after(12).said(), "rests");
        assert_eq!(a.after(1).said(), if knew { "3a/1 Unreached" } else { "7a/1 Unreached" });
        let parent = a.held.unwrap().lineage.parent;
        assert_eq!(parent, Some((b.held.unwrap().lineage.id, 1)), "B will know that it was met");
        assert_eq!(a.after(60).said(), "rests");
        assert_eq!(a.holder.due(), None);
    }
}

#[test]
fn a_head_that_comes_a_little_later_ends_the_wait() {
    let (mut a, mut b) = overtaken();
    // A gateway of A has B's next revision before A.
    b.wishes_for_more();
    assert_eq!(b.said(), "2b/2");
    a.hears_of(&b);
    assert_eq!(a.said(), "rests");
    assert!(a.holder.due().is_some());
    a.after(9).meets(&b);
    assert_eq!(a.said(), "rests");
    assert_eq!(a.holder.due(), None);
    // It never comes: the gateway would stay behind for ever.
    b.wishes_for_more();
    b.said();
    a.hears_of(&b);
    a.said();
    assert_eq!(a.after(13).said(), "3a/1 Unreached");
}

#[test]
fn a_holder_takes_over_from_one_that_is_not_believed_any_more() {
    let (mut a, _b) = overtaken();
    // B is revoked. Its head counts no longer, here and at every node. The content is as wished, and is not published by anyone.
    (a.held, a.met) = (None, None);
    assert_eq!(a.said(), "rests");
    assert_eq!(a.after(13).said(), "1a/1 Unreached");
}

#[test]
fn what_cannot_be_published_is_not_due_at_once_again() {
    let (mut a, _b) = overtaken();
    a.wishes_for_more();
    a.said();
    a.now += Duration::from_secs(20);
    let seen = Seen { term: a.term, held: a.held, is_as_wished: false, met: a.met };
    assert!(matches!(a.holder.step(seen, a.now, draw(9)), Step::Publish(_)));
    assert!(a.holder.due().unwrap() < a.now);
    a.holder.failed();
    assert_eq!(a.holder.due(), None);
    assert_eq!(a.said(), "rests");
    assert_eq!(a.holder.due(), Some(a.now + Duration::from_secs(13)));
}

#[test]
fn no_revision_of_a_lineage_is_used_twice() {
    let mut a = Node::new(A);
    a.said();
    a.wishes_for_more();
    a.said();
    // The replica was lost, and another node may hold revision 2 still.
    (a.held, a.is_as_wished) = (None, false);
    assert_eq!(a.said(), "2a/1 Term");
}

#[test]
fn the_last_counter_is_the_end() {
    let mut a = Node::new(A);
    let lineage = Lineage { generation: head::generation_of(u32::MAX, 0), id: [7; 16], parent: None };
    a.met = Some(Position { lineage, revision: 9 });
    assert_eq!(a.said(), "exhausted");
    let lineage = Lineage { generation: head::generation_of(u32::MAX - 1, 0), ..lineage };
    a.met = Some(Position { lineage, revision: 9 });
    assert_eq!(a.said(), format!("{}a/1 Term", u32::MAX));
}

#[test]
fn two_that_hear_of_each_other_by_a_third_node_alone_take_over_ever_less_often() {
    let (mut a, mut b) = (Node::new(A), Node::new(B));
    assert_eq!(a.said(), "1a/1 Term");
    b.hears_of(&a);
    assert_eq!(b.said(), "2b/1 Term");
    let mut takeovers = 0;
    for _second in 0..3_600 {
        // Each is shown what the other holds, and nothing brings it there.
        a.hears_of(&b);
        takeovers += usize::from(a.after(1).said().contains("Unreached"));
        b.hears_of(&a);
        takeovers += usize::from(b.after(1).said().contains("Unreached"));
    }
    assert!((5..=40).contains(&takeovers), "{takeovers} takeovers in an hour");
    // A new term begins anew.
    a.term = Some(2);
    assert!(a.said().ends_with("Term"));
    b.term = Some(2);
    b.hears_of(&a);
    assert!(b.said().ends_with("Term"));
    a.hears_of(&b);
    assert_eq!(a.after(1).said(), "rests");
    assert!(a.after(13).said().contains("Unreached"));
}
