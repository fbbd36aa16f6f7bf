use super::*;

/// What a node said of one agent: whether it was connected, heard and reported at these seconds.
type Said<'a> = (&'a str, bool, u64, u64);

/// Each node's last answer: its name, at which second, and what it said.
type Answers<'a> = &'a [(&'a str, u64, &'a [Said<'a>])];

/// Which nodes hide agents at second `now`, of those that were asked in vain. All others that ever answered did so now.
#[track_caller]
fn check(name: &str, answers: Answers<'_>, unanswered: &[&str], now: u64, hiding: &[&str]) {
    let start = Instant::now();
    let at = |second: u64| start + Duration::from_secs(second);
    let mut last = LastAnswers::default();
    for (node, second, said) in answers {
        let word = |(agent, connected, heard, reported): &Said<'_>| {
            let key = (Name::new("eu-west").unwrap(), (*agent).to_owned());
            (key, Word { connected: *connected, heard: at(*heard), reported: at(*reported) })
        };
        last.note(node, at(*second), said.iter().map(word).collect());
    }
    let unanswered: Vec<String> = unanswered.iter().map(|node| (*node).to_owned()).collect();
    let nodes = answers.iter().map(|(node, ..)| (*node).to_owned());
    let answered = nodes.filter(|node| !unanswered.contains(node)).collect();
    assert_eq!(last.hiding(&unanswered, &answered, at(now)), hiding, "{name}");
}

#[test]
fn where_all_answer_nobody_hides_anything() {
    check("nobody is there", &[("cp-1", 100, &[])], &[], 100, &[]);
    check("an agent died", &[("cp-1", 100, &[("a", false, 90, 90)])], &[], 100, &[]);
}

#[test]
fn a_node_that_never_answered_hides_what_it_has() {
    check("it may have any agent", &[("cp-1", 100, &[("a", true, 100, 100)])], &["cp-2"], 100, &["cp-2"]);
}

#[test]
fn a_silent_node_hides_its_agents_until_they_are_heard_elsewhere_or_have_no_lease() {
    // The agent was with cp-2, which spoke last at 100.
    let with_cp2 = |now, elsewhere: Said<'_>, hiding: &[&str]| {
        let name = format!("{elsewhere:?} at {now}");
        check(
            &name,
            &[("cp-1", now, &[elsewhere]), ("cp-2", 100, &[("a", true, 99, 99)])],
            &["cp-2"],
            now,
            hiding,
        );
    };
    with_cp2(101, ("a", false, 50, 50), &["cp-2"]);
    with_cp2(114, ("a", false, 50, 50), &["cp-2"]);
    with_cp2(115, ("a", false, 50, 50), &[]);
    with_cp2(103, ("a", true, 103, 102), &[]);
    // It has come, and has not said yet which gateways it has.
    with_cp2(103, ("a", true, 103, 50), &["cp-2"]);
    with_cp2(103, ("a", true, 103, 99), &["cp-2"]);
    // It came and went again.
    with_cp2(103, ("a", false, 102, 102), &["cp-2"]);
    // An old stream that was not closed.
    with_cp2(103, ("a", true, 60, 60), &["cp-2"]);
}

#[test]
fn each_agent_counts_and_each_silent_node_is_named() {
    let two: &[Said<'_>] = &[("a", true, 99, 99), ("b", true, 99, 99)];
    let answers: Answers<'_> =
        &[("cp-1", 104, &[("a", true, 104, 104)]), ("cp-2", 100, two), ("cp-3", 100, &[])];
    check("b is missed", answers, &["cp-2"], 104, &["cp-2"]);
    check("cp-3 may have b by now", answers, &["cp-2", "cp-3"], 104, &["cp-2", "cp-3"]);
    check("b has no lease", answers, &["cp-2", "cp-3"], 115, &[]);
}

#[test]
fn an_agent_that_had_just_left_a_node_may_be_with_a_silent_one() {
    let at_large: Answers<'_> = &[("cp-1", 102, &[("a", false, 100, 100)]), ("cp-2", 101, &[])];
    check("it may be with cp-2", at_large, &["cp-2"], 102, &["cp-2"]);
    check("until it has no lease", at_large, &["cp-2"], 115, &[]);
}

#[test]
fn no_node_is_waited_for_longer_than_thirty_seconds() {
    // Another silent node has the agent: it spoke later, so the first is not waited for with it.
    let answers: Answers<'_> = &[("cp-2", 100, &[]), ("cp-3", 120, &[("a", true, 120, 120)])];
    check("both are waited for", answers, &["cp-2", "cp-3"], 129, &["cp-2", "cp-3"]);
    check("one is not any more", answers, &["cp-2", "cp-3"], 130, &["cp-3"]);
    // One that is asked no more, for it is long gone, has no say either.
    check(
        "a word of long ago",
        &[("cp-1", 130, &[]), ("cp-2", 128, &[("a", true, 128, 128)]), ("cp-3", 60, &[("a", true, 60, 60)])],
        &["cp-2"],
        130,
        &["cp-2"],
    );
}
