//! Clients that do one operation after the other, through any node.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{
    client::{HistoryClient, Who},
    operation::{Action, Operation, Outcome, Seen},
    random::Random,
};

/// Clients at once: enough that writes share batches and every node is asked at any moment, few enough for two cores.
const CLIENTS: usize = 12;

/// Keys: few, so that clients meet.
pub(super) const KEYS: usize = 5;

/// A client thinks up to so long between two operations. Short: what goes wrong when a leader is lost shows in what was
/// acknowledged milliseconds before, and is read milliseconds after another one leads.
const THINKS_MS: usize = 6;

/// For the next write to be acknowledged where there is a quorum: milliseconds, and an election before.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);

/// The history as it grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder {
    operations: Arc<Mutex<Vec<Operation>>>,
    last_id: Arc<AtomicU64>,
    last_client: Arc<AtomicU64>,
    acknowledged: watch::Sender<u64>,
}

impl Recorder {
    /// Does an operation and records it.
    pub(super) async fn execute(
        &self,
        client: &HistoryClient,
        who: u64,
        node: usize,
        action: Action,
    ) -> Operation {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let operation = client.execute(Who { id, client: who, node }, action).await;
        if operation.is_acknowledged() {
            self.acknowledged.send_modify(|count| *count += 1);
        }
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation.clone());
        operation
    }

    /// Resolves when the next write is acknowledged, or when that takes long.
    pub(super) async fn next_acknowledged(&self) {
        let mut acknowledged = self.acknowledged.subscribe();
        // Without a quorum there is none, and the fault happens all the same.
        let _ = timeout(ACKNOWLEDGED_WITHIN, acknowledged.changed()).await;
    }

    /// A number for a client.
    pub(super) fn new_client(&self) -> u64 {
        self.last_client.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What was recorded.
    pub(super) fn history(&self) -> Vec<Operation> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The name of a key.
pub(super) fn key(number: usize) -> String {
    format!("history-{number}")
}

/// Clients that run until they are stopped.
#[derive(Debug)]
pub(super) struct Clients {
    stop: Arc<AtomicBool>,
    running: JoinSet<()>,
}

impl Clients {
    pub(super) fn start(client: &HistoryClient, recorder: &Recorder, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for number in 0..CLIENTS {
            let who = recorder.new_client();
            let random = Random::new(seed, who);
            // Half of them stay at one node: a frozen node holds up all the others before long.
            let home = (number % 2 == 0).then_some(number / 2 % client.nodes());
            running.spawn(work(client.clone(), recorder.clone(), who, home, random, stop.clone()));
        }
        Self { stop, running }
    }

    /// Stops them; returns when their last operations ended.
    pub(super) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join_all().await;
    }
}

async fn work(
    client: HistoryClient,
    recorder: Recorder,
    mut who: u64,
    home: Option<usize>,
    mut random: Random,
    stop: Arc<AtomicBool>,
) {
    let mut known: BTreeMap<String, Seen> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let node = home.unwrap_or_else(|| random.below(client.nodes()));
        let action = choose(&mut random, &known);
        let done = recorder.execute(&client, who, node, action).await;
        match &done.outcome {
            Outcome::Ok { revision, seen, .. } => {
                known.extend(seen.clone());
                let written = Seen { value: done.id, revision: *revision };
                known.extend(done.action.writes().iter().map(|key| (key.clone(), written)));
            }
            // An operation that goes on behind its client's back: what comes next is another client's.
            Outcome::Unknown { .. } => who = recorder.new_client(),
            Outcome::Missing { .. } => {}
            Outcome::Refused { .. } => {
                for key in done.action.writes() {
                    known.remove(key);
                }
            }
        }
        let pause = u64::try_from(random.below(THINKS_MS)).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// What to do next: about half of it reads at the default consistency.
fn choose(random: &mut Random, known: &BTreeMap<String, Seen>) -> Action {
    let key = key(random.below(KEYS));
    match random.below(100) {
        0..38 => Action::Read { key },
        38..46 => Action::List,
        46..60 => Action::StaleRead { key },
        60..64 => Action::StaleList,
        64..76 => Action::Write { key },
        76..86 => Action::Apply { keys: some_keys(random) },
        _ => match known.get(&key) {
            Some(seen) => Action::Cas { key, expected_revision: seen.revision, expected_value: seen.value },
            None => Action::Read { key },
        },
    }
}

/// Two or three keys.
fn some_keys(random: &mut Random) -> Vec<String> {
    let mut keys: Vec<_> = (0..KEYS).map(key).collect();
    random.shuffle(&mut keys);
    keys.truncate(2 + random.below(2));
    keys
}
