//! A second owner is shown all that a proposal makes and changes, or it is not accepted.

use hanse_management::ProblemName;

use super::{ONE_REGION, guarded};
use crate::{
    AuditChange, Change,
    fixture::{changes, delete},
};

/// An Upstream of about 70,000 bytes.
fn upstream(name: &str) -> String {
    let host = "h".repeat(55);
    let endpoints: Vec<String> = (0..900).map(|at| format!("{{url: 'http://{host}{at}:80'}}")).collect();
    format!("\n---\n{{kind: Upstream, name: {name}, spec: {{endpoints: [{}]}}}}", endpoints.join(", "))
}

fn many(small: usize, large: usize) -> Vec<Change> {
    let plans: String = (0..small).map(|at| format!("\n---\n{{kind: Plan, name: p-{at}}}")).collect();
    let upstreams: String = (0..large).map(|at| upstream(&format!("a-{at}"))).collect();
    changes(&format!("{ONE_REGION}{plans}{upstreams}"))
}

#[test]
fn many_small_changes_hide_no_large_one() {
    let mut world = guarded();
    let number = world.propose("ann", many(400, 1));
    let proposal = world.state.proposal(number).unwrap();
    let after = world.state.try_proposal(proposal, world.now_ms, None).unwrap();
    let shown = AuditChange::of_proposal(&world.state, &after, proposal).unwrap();
    assert_eq!(shown.len(), 402);
    assert!(shown.iter().all(|change| change.left_out.is_none()));
    let upstream = shown.iter().find(|change| change.key.name.as_str() == "a-0").unwrap();
    let fields = format!("{:?}", upstream.fields);
    assert!(fields.len() > 60_000 && !fields.contains("sha256:"), "{fields:.1000}");
}

#[test]
fn what_is_too_long_to_be_shown_is_not_proposed() {
    let mut world = guarded();
    let problem = world.try_propose("ann", many(0, 80)).unwrap_err();
    assert_eq!((problem.name, &*problem.remedy), (ProblemName::TooLarge, "propose it in parts"));
    // What is deleted may be told by its size.
    let upstreams: String = (0..80).map(|at| upstream(&format!("a-{at}"))).collect();
    world.put(upstreams.trim_start_matches("\n---\n"));
    let deletes = (0..80).map(|at| delete(&format!("Upstream a-{at}"), false));
    world.propose("ann", deletes.chain(changes(ONE_REGION)).collect());
}
