use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};

use hanse_management::ProblemName;

use super::*;
use crate::{
    CommandBody,
    fixture::{World, changes},
};

/// A node that has not applied yet what the others have.
struct Behind {
    here: State,
    committed: State,
    reads: AtomicUsize,
}

impl Replicated for Behind {
    fn replicate(&self, admitted: Admitted) -> BoxFuture<'_, Result<Outcome, Problem>> {
        let outcome = self.committed.clone().apply(admitted.command());
        Box::pin(async move { Ok(outcome) })
    }

    fn read(&self, consistency: Consistency) -> BoxFuture<'_, Result<State, Problem>> {
        assert_eq!(consistency, Consistency::Linearizable);
        self.reads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(self.committed.clone()) })
    }

    fn current(&self) -> State {
        self.here.clone()
    }

    fn changed_since(&self, _revision: Revision) -> BoxFuture<'_, State> {
        Box::pin(std::future::pending())
    }

    fn group(&self) -> GroupStatus {
        GroupStatus::default()
    }
}

/// What became of this proposal, and how often the state was read for it.
fn proposed(here: &World, committed: &World, yaml: &str) -> (Outcome, usize) {
    let node =
        Behind { here: here.state.clone(), committed: committed.state.clone(), reads: AtomicUsize::new(0) };
    let command = Command {
        actor: "tester".into(),
        request_id: "r".into(),
        time_ms: committed.state.time_ms() + 1,
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: crate::Origin::default(),
        body: CommandBody::Apply(changes(yaml)),
    };
    let mut proposal = pin!(node.propose(command));
    let Poll::Ready(outcome) = proposal.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("nothing is waited for")
    };
    (outcome.unwrap(), node.reads.load(Ordering::Relaxed))
}

#[test]
fn a_node_that_has_not_applied_a_version_yet_refuses_nothing_of_it() {
    let (before, mut after) = (World::new(), World::new());
    after.run(CommandBody::finalize(Version::KNOWN)).unwrap();
    let later = "{kind: Plan, name: gold, labels: {later: ''}}";
    let (outcome, reads) = proposed(&before, &after, later);
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    assert_eq!(reads, 1);
    let (outcome, _) = proposed(&before, &before, later);
    assert!(
        matches!(&outcome, Outcome::Rejected(problem) if problem.name == ProblemName::Upgrade),
        "{outcome:?}"
    );
    let (outcome, reads) = proposed(&before, &after, "{kind: Plan, name: gold}");
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    assert_eq!(reads, 0, "what needs no later version waits for nothing");
}
