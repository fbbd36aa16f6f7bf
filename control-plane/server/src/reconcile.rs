//! What the leader does by itself: reconcilers that compare what is with what should be, and one driver that carries out what
//! they say.
//!
//! A reconciler is a pure function from the state, what is observed beside it and the time to commands. For example, [`Sweep`]
//! sees a JoinToken that expired two days ago and says that it is to be deleted. It says so again as long as that holds, so a
//! command that was lost costs a look. The driver runs on every node and acts on the leader only. It has one command under
//! way at a time. Each command holds in the term of Raft in which it was planned and in no other: what a leader planned before
//! it was replaced is refused wherever it arrives.

mod federation_key;
mod neighbours;
mod record_minted;
mod refuse_keys;
mod shift;
mod sweep;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hanse_api::Clock;
use hanse_identity::KeyDigest;
use hanse_management::{Kind, Problem, ProblemName};
use hanse_process::Shutdown;
use hanse_state::{
    Command, CommandBody, MintedToken, Outcome, State,
    port::{Replicated, Standby},
};
use hanse_topology::{Identity, Name};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

pub(crate) use self::{
    federation_key::FederationKey, neighbours::Neighbours, record_minted::RecordMinted,
    refuse_keys::RefuseKeys, shift::TakeSteps, sweep::Sweep,
};

/// How often the leader looks: as often as agents' reports are gathered, which is what changes without a command.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many commands of one reconciler are carried out between two looks: the others come after a new look, so that nothing is done
/// that has become wrong meanwhile.
const COMMANDS_A_LOOK: usize = 16;

/// What is known beside the state.
pub(crate) trait Observed: Send + Sync + 'static {
    /// The keys that a gateway was reported with.
    fn gateway_keys(&self, gateway: &Identity) -> Vec<KeyDigest>;

    /// The join tokens that agents say they made.
    fn minted_tokens(&self) -> Vec<(Identity, MintedToken)>;

    /// What each member of the group, this node among them, holds of the federation key.
    fn holders(&self) -> Vec<Holder>;

    /// The command that adds the next version of the federation key. `None`: this node has not made its key yet.
    fn next_key(&self, state: &State) -> Option<CommandBody>;

    /// The command that seals values anew that an earlier version of the federation key sealed, or a part of them. `None`: there are none
    /// that this node can open.
    fn reseal(&self, state: &State) -> Option<CommandBody>;

    /// What was heard of agents.
    fn agents(&self) -> HeardAgents;

    /// What was heard of the regions of a FailoverPlan.
    fn heard_standbys(&self, plan: &Name) -> Vec<Standby>;
}

/// A control node that is in the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its identity.
    pub(crate) identity: String,
    /// The newest version of the federation key up to which it lacks none, 0: it has none. `None`: it did not answer when the members
    /// were asked last.
    pub(crate) newest: Option<u32>,
}

/// What this process heard of agents, from all control nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeardAgents {
    /// How long it has listened.
    pub(crate) watched_for: Duration,
    /// The agents that were heard within the last hour.
    pub(crate) agents: BTreeMap<Identity, HeardAgent>,
}

/// What was heard of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeardAgent {
    /// How long ago it was heard last.
    pub(crate) heard_ago: Duration,
    /// Where it says that others reach it, `host:port`. Empty: it does not say.
    pub(crate) address: String,
    /// How long it has said this address and no other.
    pub(crate) address_for: Duration,
}

/// Says what is to be done.
pub(crate) trait Reconciler: Send + Sync + 'static {
    /// Its name, in metrics and as the actor of its commands.
    fn name(&self) -> &'static str;

    /// What is to be done now, most urgent first. Nothing else may be asked than the arguments; said again until it is done. `now_ms` is
    /// this node's clock, which may be ahead of the state's time.
    fn plan(&self, state: &State, observed: &dyn Observed, now_ms: u64) -> Vec<CommandBody>;
}

/// Carries out what reconcilers say, where this node leads.
#[derive(Clone)]
pub(crate) struct Driver {
    pub(crate) reconcilers: Vec<Arc<dyn Reconciler>>,
    pub(crate) replicated: Arc<dyn Replicated>,
    pub(crate) observed: Arc<dyn Observed>,
    pub(crate) clock: Clock,
    pub(crate) metrics: ReconcilerMetrics,
}

impl Driver {
    /// Until the shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                _ = ticks.tick() => {}
            }
            for reconciler in &self.reconcilers {
                tokio::select! {
                    () = shutdown.wait() => return,
                    () = self.look(reconciler) => {}
                }
            }
        }
    }

    /// The term in which this node leads.
    fn led_term(&self) -> Option<u64> {
        let group = self.replicated.group();
        (group.leader.as_ref() == Some(&group.this)).then_some(group.term)
    }

    async fn look(&self, reconciler: &Arc<dyn Reconciler>) {
        // The term before the state: a plan is never newer than the term it is bound to.
        let labels = ReconcilerLabels { reconciler: reconciler.name() };
        let Some(term) = self.led_term() else {
            self.metrics.pending.get_or_create(&labels).set(0);
            return;
        };
        let Some(plan) = self.plan(reconciler).await else {
            self.metrics.count(&labels, "panicked");
            return;
        };
        self.metrics.pending.get_or_create(&labels).set(i64::try_from(plan.len()).unwrap_or(i64::MAX));
        for body in plan.into_iter().take(COMMANDS_A_LOOK) {
            if !self.carry_out(&labels, term, body).await {
                return;
            }
        }
    }

    /// On a thread of its own: a plan may look at all of the state, and one that panics ends nothing but itself.
    async fn plan(&self, reconciler: &Arc<dyn Reconciler>) -> Option<Vec<CommandBody>> {
        let (planner, observed) = (reconciler.clone(), self.observed.clone());
        let state = self.replicated.current();
        let now_ms = self.clock.now_ms();
        let planned = tokio::task::spawn_blocking(move || planner.plan(&state, &*observed, now_ms)).await;
        planned
            .inspect_err(|error| error!(reconciler = reconciler.name(), %error, "a reconciler failed"))
            .ok()
    }

    /// The time that a command carries. 0: the state's own time goes on, as what this node's clock says wrongly for a moment must not
    /// expire anything. What the audit tells happened now, also when the last write was weeks ago.
    fn time_of(&self, body: &CommandBody) -> u64 {
        match body {
            CommandBody::Apply(changes) if changes.iter().any(|change| change.key.kind == Kind::Failover) => {
                self.clock.now_ms()
            }
            CommandBody::RecordMinted { .. }
            | CommandBody::RefuseKeys { .. }
            | CommandBody::AddKey { .. }
            | CommandBody::UseKey { .. }
            | CommandBody::Reseal(_)
            | CommandBody::SetNeighbours { .. } => self.clock.now_ms(),
            _of_the_state => 0,
        }
    }

    /// Whether the next one may be tried: not when this node has no quorum, or leads no more.
    async fn carry_out(&self, labels: &ReconcilerLabels, term: u64, body: CommandBody) -> bool {
        let reconciler = labels.reconciler;
        let command = Command {
            actor: reconciler.to_owned(),
            request_id: reconciler.to_owned(),
            time_ms: self.time_of(&body),
            idempotency_key: None,
            only_in_term: Some(term),
            force_grants: false,
            origin: hanse_state::Origin::default(),
            body,
        };
        let what = subject(&command.body);
        match self.replicated.propose(command).await {
            Ok(Outcome::Accepted(accepted)) => {
                info!(reconciler, what, revision = accepted.revision, "carried out");
                self.metrics.count(labels, "accepted");
                true
            }
            // The state or the leader changed since the look: the next look sees it.
            Ok(Outcome::Rejected(Problem { name: ProblemName::Stale, detail, .. })) => {
                debug!(reconciler, what, detail, "overtaken");
                self.metrics.count(labels, "overtaken");
                self.led_term() == Some(term)
            }
            Ok(Outcome::Rejected(problem)) => {
                warn!(reconciler, what, %problem, "refused");
                self.metrics.count(labels, "refused");
                true
            }
            Err(problem) => {
                debug!(reconciler, what, %problem, "has to wait");
                self.metrics.count(labels, "undecided");
                false
            }
        }
    }
}

/// What a command is about, for the log.
fn subject(body: &CommandBody) -> String {
    match body {
        CommandBody::Apply(changes) => {
            changes.iter().map(|change| change.key.to_string()).collect::<Vec<_>>().join(", ")
        }
        CommandBody::RefuseKeys { identity, keys } => {
            let keys: Vec<_> = keys.iter().map(hex::encode).collect();
            format!("{identity}: {}", keys.join(", "))
        }
        CommandBody::RecordMinted { agent, token } => format!("{} of {agent}", token.id),
        CommandBody::AddKey { version, .. } => format!("version {version} of the federation key is made"),
        CommandBody::UseKey { version } => format!("version {version} of the federation key is used"),
        CommandBody::Reseal(values) => format!("{} values of Secrets are sealed anew", values.len()),
        CommandBody::ForgetResults => "what is kept no longer".to_owned(),
        CommandBody::SetNeighbours { region, .. } => format!("agents of {region}"),
        other => format!("{other:?}"),
    }
}

/// What reconcilers did.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReconcilerMetrics {
    commands: Family<OutcomeLabels, Counter>,
    pending: Family<ReconcilerLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcilerLabels {
    reconciler: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    reconciler: &'static str,
    outcome: &'static str,
}

impl ReconcilerMetrics {
    /// Makes them and adds them to `registry`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "hanse_reconciler_commands",
            "Commands of the leader's own reconcilers, by what became of them",
            metrics.commands.clone(),
        );
        registry.register(
            "hanse_reconciler_pending",
            "Commands that a reconciler wanted carried out at its last look on this node",
            metrics.pending.clone(),
        );
        metrics
    }

    fn count(&self, labels: &ReconcilerLabels, outcome: &'static str) {
        self.commands.get_or_create(&OutcomeLabels { reconciler: labels.reconciler, outcome }).inc();
    }
}

#[cfg(test)]
mod tests;
