//! Keeps the node's replicas at the newest applied state: beside the Raft core, never on it.

mod restored;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use hanse_link::{Replica, Replicas};
use hanse_management::Revision;
use hanse_process::{Pulse, Shutdown};
use hanse_state::{
    Lineage, State,
    port::{BoxFuture, Projected, Replicated, ScopeEffect},
    projection::{self, Between, Projection, ScopeChange},
};
use hanse_topology::Position;
use tokio::sync::watch;
use tracing::{debug, error, warn};

use crate::secrets::{Keys, RevealMetrics, Revealed};
use restored::Restored;

/// How many projection steps are remembered for callers that ask what their write did. Callers ask within
/// milliseconds; a thousand steps are seconds at full write load.
const REMEMBERED_STEPS: usize = 1_024;
/// How long a caller waits for the projection to reach its write. It is behind for milliseconds, or for as long as a
/// rebuild after a restart takes; the write itself stands either way.
const EFFECTS_WITHIN: Duration = Duration::from_secs(5);

/// A projector that does not turn for so long hangs: a rebuild of the largest state takes seconds.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(120);

/// One step of the projection: the revisions after `from` up to `to`, and what they did together.
#[derive(Debug, Clone)]
struct Step {
    from: Revision,
    to: Revision,
    effects: Vec<ScopeEffect>,
}

/// How far the projection is and what its last steps did.
#[derive(Debug, Default)]
struct Progress {
    position: Option<Position>,
    steps: VecDeque<Step>,
}

/// The projector's face to others. Cloning shares it.
#[derive(Clone)]
pub(crate) struct ProjectorHandle(watch::Receiver<Progress>);

/// The task that projects.
pub(crate) struct Projector {
    replicated: Arc<dyn Replicated>,
    replicas: Replicas,
    /// Those that an earlier process published, until the projection has reached them.
    restored: Restored,
    progress: watch::Sender<Progress>,
    /// Beaten while the task turns.
    pulse: Pulse,
    /// Without a version that Secrets are sealed with, nothing is projected.
    keys: Keys,
    reveals: RevealMetrics,
}

impl Projector {
    /// A task that fills `replicas`, which may hold what an earlier process published.
    pub(crate) fn new(
        replicated: Arc<dyn Replicated>,
        replicas: Replicas,
        keys: Keys,
    ) -> (Self, ProjectorHandle) {
        let (progress, handle) = watch::channel(Progress::default());
        let restored = replicas.read(Restored::new);
        (
            Self {
                replicated,
                replicas,
                restored,
                progress,
                pulse: Pulse::new(),
                keys,
                reveals: RevealMetrics::default(),
            },
            ProjectorHandle(handle),
        )
    }

    /// Beats this pulse while it turns, whether or not the state changes.
    pub(crate) fn beating(self, pulse: Pulse) -> Self {
        Self { pulse, ..self }
    }

    /// Counts here what it opens.
    pub(crate) fn counting(self, reveals: RevealMetrics) -> Self {
        Self { reveals, ..self }
    }

    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut projection = Projection::new();
        loop {
            let state = tokio::select! {
                () = shutdown.wait() => return,
                state = next(&*self.replicated, &mut self.keys, projection.revision()) => state,
                () = self.pulse.beat_on() => return, // it does not end
            };
            self.pulse.beat();
            // A rebuild after a restart takes seconds of computing: not on a runtime thread that serves connections.
            let revealed = Revealed::by(self.keys.current(), self.reveals.clone());
            let projected = tokio::task::spawn_blocking(move || {
                let changes = projection.advance(&state, &revealed);
                (projection, state, changes)
            });
            let (next, state, changes) = match projected.await {
                Ok(projected) => projected,
                Err(panicked) => {
                    error!(error = %panicked, "the projection failed");
                    return;
                }
            };
            projection = next;
            self.publish(&projection, &state, changes);
        }
    }

    /// Moves every scope to the state's position in one step, so that no subscriber sees half of a revision.
    fn publish(&mut self, projection: &Projection, state: &State, changes: Vec<ScopeChange>) {
        let Some(lineage) = state.lineage() else { return };
        let to = Position { lineage: lineage_of(lineage), revision: state.revision() };
        let effects = projection::effects(&changes);
        debug!(revision = to.revision, scopes = effects.len(), units = projection.last_units(), "projected");
        let restored = &mut self.restored;
        self.replicas.update_all(|replicas| {
            for change in changes {
                let Some(change) = restored.take_in(change) else { continue };
                if change.dropped {
                    replicas.remove(&change.scope);
                } else {
                    let between = projection.last_between(&change.scope);
                    advance(replicas.replica(&change.scope), to, change.upserts, change.removals, between);
                }
            }
            restored.catch_up(to, replicas);
            for scope in projection.scopes().filter(|scope| !restored.awaits(scope)) {
                let replica = replicas.replica(scope);
                if replica.position() != Some(&to) {
                    advance(replica, to, Vec::new(), Vec::new(), projection.last_between(scope));
                }
            }
        });
        self.progress.send_modify(|progress| {
            let from = progress.position.map_or(0, |position| position.revision);
            progress.steps.push_back(Step { from, to: to.revision, effects });
            if progress.steps.len() > REMEMBERED_STEPS {
                progress.steps.pop_front();
            }
            progress.position = Some(to);
        });
    }
}

/// The state as soon as it is newer and this node lacks no key of it.
async fn next(replicated: &dyn Replicated, keys: &mut Keys, revision: Revision) -> State {
    loop {
        let state = replicated.changed_since(revision).await;
        let Some(why) = keys.lacking(&state) else { return state };
        warn!(why, "nothing is published from here");
        keys.changed().await;
    }
}

/// Moves a replica on. A subscriber may stand between the two positions, because another node stepped there. It is led on too: it
/// is told of the keys that it may have met, or gets the whole scope.
fn advance(
    replica: &mut Replica,
    to: Position,
    mut upserts: Vec<(Arc<str>, bytes::Bytes)>,
    removals: Vec<Arc<str>>,
    between: &Between,
) {
    let advanced = match between {
        Between::Unknown => replica.jump(to, upserts, removals),
        Between::Touched(keys) => {
            if !keys.is_empty() {
                let changed: BTreeSet<_> =
                    upserts.iter().map(|(key, _)| key).chain(&removals).cloned().collect();
                let unchanged = keys.iter().filter(|key| !changed.contains(*key));
                upserts
                    .extend(unchanged.filter_map(|key| Some((Arc::clone(key), replica.get(key)?.clone()))));
            }
            replica.advance(to, upserts, removals)
        }
    };
    // Only a defect can break this rule: the projection goes forward in one lineage per process.
    if let Err(error) = advanced {
        error!(%error, "a scope did not take its changes; its subscribers stay where they are");
    }
}

/// The state's lineage as the sync protocol knows it.
pub(crate) fn lineage_of(lineage: &Lineage) -> hanse_topology::Lineage {
    hanse_topology::Lineage { generation: lineage.generation, id: lineage.id, parent: lineage.parent }
}

impl ProjectorHandle {
    /// The position all scopes are at.
    pub(crate) fn position(&self) -> Option<Position> {
        self.0.borrow().position
    }

    /// Waits for the next step; an error when the projector has ended.
    pub(crate) async fn stepped(&mut self) -> Result<(), watch::error::RecvError> {
        self.0.changed().await
    }

    /// Waits until there is a projection: before that, agents must not be told that there are no scopes.
    pub(crate) async fn begun(&self) {
        let mut progress = self.0.clone();
        if progress.wait_for(|progress| progress.position.is_some()).await.is_err() {
            // Ended without one: the task that waits for `ended` hears it.
            std::future::pending::<()>().await;
        }
    }

    /// Resolves when the projector has ended. Before a shutdown that is a defect, and this node must not go on serving:
    /// its agents would believe it and learn nothing.
    pub(crate) async fn ended(&self) {
        let mut progress = self.0.clone();
        while progress.changed().await.is_ok() {}
    }
}

impl Projected for ProjectorHandle {
    fn effects(&self, revision: Revision) -> BoxFuture<'_, Vec<ScopeEffect>> {
        let mut progress = self.0.clone();
        Box::pin(async move {
            let reached =
                progress.wait_for(|progress| progress.position.is_some_and(|at| at.revision >= revision));
            match tokio::time::timeout(EFFECTS_WITHIN, reached).await {
                Ok(Ok(progress)) => {
                    let step = progress.steps.iter().find(|step| step.from < revision && revision <= step.to);
                    step.map(|step| step.effects.clone()).unwrap_or_default()
                }
                Ok(Err(_)) | Err(_) => Vec::new(),
            }
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
