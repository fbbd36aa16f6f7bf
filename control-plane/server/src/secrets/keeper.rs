//! Keeps this node's Keyring complete.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hanse_identity::{PkiError, RecoveryPairs, WrappedAs};
use hanse_process::{Metrics, Shutdown, telemetry};
use hanse_proto::raft::{ControlNode, FederationKey};
use hanse_raft::RaftGroup;
use hanse_state::{
    FederationKeys, KeyVersion, State,
    port::{BoxFuture, Replicated},
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{sync::watch, time::Instant};
use tracing::{debug, error, info, warn};

use super::{
    files::KeyFiles,
    key::Key,
    keyring::{Candidate, Held, Keys, Turn},
};

/// How often a version that is missing is looked for: the node serves no agent meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The other control nodes, as far as they are asked for keys.
pub(crate) trait Others: Send + Sync + 'static {
    /// Those to ask.
    fn others(&self) -> Vec<ControlNode>;

    /// The keys that one of them tells, or why it tells none.
    fn ask<'a>(&'a self, other: &'a ControlNode) -> BoxFuture<'a, Result<Vec<FederationKey>, String>>;
}

impl Others for RaftGroup {
    fn others(&self) -> Vec<ControlNode> {
        self.members().into_iter().filter(|member| member.id != self.id()).collect()
    }

    fn ask<'a>(&'a self, other: &'a ControlNode) -> BoxFuture<'a, Result<Vec<FederationKey>, String>> {
        Box::pin(
            async move { self.federation_keys_of(other).await.map_err(|status| status.message().to_owned()) },
        )
    }
}

/// The task that keeps the Keyring complete: what is missing comes from the operator's recovery pair, if that is here, or from the
/// other control nodes. On the leader it makes the key of the next version.
#[derive(Clone)]
pub(crate) struct Keeper {
    files: KeyFiles,
    /// The directory in which an operator may put the recovery pairs.
    recovery: PathBuf,
    replicated: Arc<dyn Replicated>,
    others: Arc<dyn Others>,
    held: watch::Sender<Held>,
    metrics: KeeperMetrics,
}

impl Keeper {
    /// The task, and the keys that it keeps: those on disk at first.
    pub(crate) fn new(
        files: KeyFiles,
        recovery: PathBuf,
        replicated: Arc<dyn Replicated>,
        others: Arc<dyn Others>,
        metrics: KeeperMetrics,
    ) -> (Self, Keys) {
        let (held, keys) = Keys::of(files.load());
        (Self { files, recovery, replicated, others, held, metrics }, keys)
    }

    /// Until the shutdown: looks whenever the state changes, and while a version is missing.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let (mut look_at, mut lacks, mut makes) = (Instant::now(), Said::default(), Said::default());
        loop {
            let state = self.replicated.current();
            let mut missing = self.missing(&state);
            if !missing.is_empty() && look_at <= Instant::now() {
                let complaint = tokio::select! {
                    () = shutdown.wait() => return,
                    complaint = self.look_for(state.federation_keys(), &missing) => complaint,
                };
                if let Some(why) = lacks.news(complaint) {
                    warn!(why, "a version of the federation key is missing here; looking for it again");
                }
                look_at = Instant::now() + LOOK_AGAIN;
                missing = self.missing(&state);
            }
            self.metrics.missing.set(i64::try_from(missing.len()).unwrap_or(i64::MAX));
            if let Some(why) = makes.news(self.make_candidate(&state).await.err()) {
                error!(why, "the next version of the federation key cannot be kept");
            }
            let is_missing = !missing.is_empty();
            tokio::select! {
                () = shutdown.wait() => return,
                _ = self.replicated.changed_since(state.revision()) => {}
                // A node that becomes the leader has no news of the state for that.
                () = tokio::time::sleep(LOOK_AGAIN), if is_missing || wants_candidate(&state) => {}
            }
        }
    }

    /// The versions that this node should have and does not have.
    fn missing(&self, state: &State) -> Vec<u32> {
        let keys = state.federation_keys();
        let pending = keys.pending().map(|(_, version)| version.digest);
        let is_wanted = |version: &KeyVersion| version.used || pending == Some(version.digest);
        self.held.borrow().keyring.missing(keys, is_wanted).collect()
    }

    /// Looks for these versions in the operator's pair, then at one control node after the other. Why one is still missing.
    async fn look_for(&self, keys: &FederationKeys, missing: &[u32]) -> Option<String> {
        let wanted = |number: &u32| Some((*number, keys.get(*number)?));
        let mut wanted: Vec<_> = missing.iter().filter_map(wanted).collect();
        let mut complaint = match self.unwrapped(&wanted).await {
            Ok(found) => self.take_in(&mut wanted, found).await.err(),
            Err(why) => Some(why),
        };
        for other in self.others.others() {
            if wanted.is_empty() {
                return None;
            }
            match self.others.ask(&other).await {
                Ok(told) => {
                    let key = |told: FederationKey| <[u8; 32]>::try_from(&told.key[..]).ok().map(Key::from);
                    let found = told.into_iter().filter_map(key).collect();
                    complaint = complaint.or(self.take_in(&mut wanted, found).await.err());
                }
                Err(why) => debug!(node = other.name, why, "a control node tells no federation key"),
            }
        }
        let (number, _) = wanted.first()?;
        Some(complaint.unwrap_or_else(|| format!("no control node has told version {number} yet")))
    }

    /// The keys of these versions that the recovery pair opens: none, if it is not here. An error says why it is of no use.
    async fn unwrapped(&self, wanted: &[(u32, &KeyVersion)]) -> Result<Vec<Key>, String> {
        let dir = self.recovery.clone();
        let wanted: Vec<_> = wanted.iter().map(|(number, version)| (*number, (*version).clone())).collect();
        // What an operator plugs in may be slow, and there may be a thousand versions.
        let opened = tokio::task::spawn_blocking(move || {
            let Some(pair) = RecoveryPairs::load_wrap(&dir)? else { return Ok(None) };
            let unwrap = |(number, version): &(u32, KeyVersion)| {
                let wrapped_as = WrappedAs { version: *number, digest: &version.digest };
                pair.unwrap_key(wrapped_as, &version.wrapped).map(Key::from)
            };
            Ok(Some(wanted.iter().filter_map(unwrap).collect::<Vec<_>>()))
        });
        match opened.await {
            Ok(Ok(Some(keys))) if keys.is_empty() => Err(
                "the recovery pair in pki/recovery opens no version of the federation key: it is not the present one"
                    .to_owned(),
            ),
            Ok(Ok(found)) => Ok(found.unwrap_or_default()),
            Ok(Err::<_, PkiError>(error)) => {
                Err(format!("the recovery pair cannot be used: {}", telemetry::causes(&error)))
            }
            Err(_) => Err("reading the recovery pair panicked".to_owned()),
        }
    }

    /// Keeps the keys that are wanted, and are what they should be. An error says why one cannot be kept.
    async fn take_in(&self, wanted: &mut Vec<(u32, &KeyVersion)>, found: Vec<Key>) -> Result<(), String> {
        let mut kept = Ok(());
        for key in found {
            let digest = key.digest();
            let Some(at) = wanted.iter().position(|(_, version)| version.digest == digest) else { continue };
            match self.write(&key).await {
                Ok(()) => {}
                // The node runs without its store_key, as it does with its own private key in the clear. It keeps its store in memory, too.
                Err(error @ PkiError::NotSealed { .. }) => {
                    error!(error = %telemetry::causes(&error), "a version of the federation key is kept in memory only");
                }
                Err(error) => {
                    kept = Err(format!(
                        "a version that was found cannot be kept: {}",
                        telemetry::causes(&error)
                    ));
                    continue;
                }
            }
            self.hold(key);
            let (version, _) = wanted.remove(at);
            info!(version, "this control node has a version of the federation key");
        }
        kept
    }

    /// Writes a key to disk, durably.
    async fn write(&self, key: &Key) -> Result<(), PkiError> {
        let (files, written) = (self.files.clone(), key.clone());
        let kept = tokio::task::spawn_blocking(move || files.keep(&written)).await;
        kept.unwrap_or_else(|_| Err(PkiError::Certificate { reason: "writing the key panicked".into() }))
    }

    fn hold(&self, key: Key) {
        self.held.send_modify(|held| held.keyring = Arc::new(held.keyring.with(key)));
    }

    /// On the leader: makes the key that becomes the next version, where one is wanted. An error says why it cannot be kept.
    async fn make_candidate(&self, state: &State) -> Result<(), String> {
        let Some(turn) = self.turn(state) else { return Ok(()) };
        if self.held.borrow().candidate.as_ref().is_some_and(|candidate| candidate.turn == turn) {
            return Ok(());
        }
        let key = Key::generate();
        // One that is in memory only could be the only copy of what seals Secrets.
        self.write(&key).await.map_err(|error| telemetry::causes(&error).to_string())?;
        self.hold(key.clone());
        self.held.send_modify(|held| held.candidate = Some(Candidate { turn, key }));
        Ok(())
    }

    /// Whether this node is to make a key, and what for.
    fn turn(&self, state: &State) -> Option<Turn> {
        let group = self.replicated.group();
        let leads = group.leader.as_ref() == Some(&group.this);
        let keys = state.federation_keys();
        // Its maker may be gone.
        let lacks_pending = keys
            .pending()
            .is_some_and(|(_, version)| self.held.borrow().keyring.key(&version.digest).is_none());
        if leads && (keys.wants_new() || lacks_pending) { Turn::of(keys) } else { None }
    }
}

/// The last complaint about one matter. The Keeper tries again each second, and the log has each complaint once.
#[derive(Debug, Default)]
struct Said(Option<String>);

impl Said {
    /// The complaint, if it is another one than the last. `None`: all is well.
    fn news(&mut self, complaint: Option<String>) -> Option<&str> {
        let is_news = self.0 != complaint;
        self.0 = complaint;
        self.0.as_deref().filter(|_| is_news)
    }
}

/// Whether a leader makes a key in this state.
fn wants_candidate(state: &State) -> bool {
    let keys = state.federation_keys();
    keys.wants_new() && Turn::of(keys).is_some()
}

/// What the Keeper counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeeperMetrics {
    missing: Gauge,
}

impl KeeperMetrics {
    /// Makes them and adds them to a node's metrics.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            registry.register(
                "hanse_server_federation_keys_missing",
                "Versions of the federation key that this control node lacks: without one that is or was used it serves no agent",
                own.missing.clone(),
            );
        });
        own
    }
}

#[cfg(test)]
mod tests;
