//! A node's first start: it founds the control plane, or is added to it.

use std::{sync::Arc, time::Duration};

use hanse_api::Clock;
use hanse_identity::{Authority, KeyDigest, key_digest};
use hanse_management::{Digest, Kind, Problem, ResourceKey, kinds::TokenSpec};
use hanse_process::{Shutdown, backoff::Backoff};
use hanse_raft::RaftGroup;
use hanse_state::{
    Action, Change, Command, CommandBody, FIRST_TOKEN, Lineage, Member, Outcome, State,
    port::{Consistency, Replicated},
};
use hanse_topology::{Identity, Labels, Name};
use tracing::{debug, info, warn};

use crate::{
    Config, Error,
    home::{self, BootstrapFile, JoinFile},
};

/// How soon a first write that found no leader is tried again: a few times per election.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// How long the founding node tries its first write: it elects itself in one election timeout.
const FOUNDED_WITHIN: Duration = Duration::from_secs(30);

/// First ceiling of the wait between attempts to record this node: an election.
const RECORD_MIN_BACKOFF: Duration = Duration::from_secs(1);
/// Last ceiling: it is done once in a node's life, and may wait for a quorum for long.
const RECORD_MAX_BACKOFF: Duration = Duration::from_secs(30);

/// This node as the state has it: with its key and its place, so that no other node gets its name.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    identity: String,
    key_digest: KeyDigest,
    node_id: u64,
}

impl Own {
    pub(crate) fn new(config: &Config, authority: &Authority, node_id: u64) -> Result<Self, Error> {
        let key_digest = key_digest(&authority.chain()[0])?;
        Ok(Self { identity: Identity::server(config.name.clone()).to_string(), key_digest, node_id })
    }

    /// Whether the state has this node with its key, or another node has taken its name. A node whose key was replaced
    /// (`reissue --new-key`) is on record with its id and another key: it is recorded anew.
    fn is_recorded(&self, state: &State) -> bool {
        let is_recorded = |member: &Member| match member.seat {
            Some(seat) => seat.node_id != self.node_id || member.key_digest == self.key_digest,
            None => member.key_digest != self.key_digest,
        };
        state.member(&self.identity).is_some_and(is_recorded)
    }

    fn record(&self) -> CommandBody {
        let Self { identity, key_digest, node_id } = self.clone();
        CommandBody::RecordServer { identity, key_digest, node_id }
    }
}

/// Does what `init` or `join` left to do, if anything is left. Both files are removed only when it is done, and each step
/// may be repeated.
pub(crate) async fn found_or_join(
    config: &Config,
    group: &Arc<RaftGroup>,
    own: &Own,
    clock: &Clock,
) -> Result<(), Error> {
    if let Some(file) = home::read_json::<BootstrapFile>(&config.bootstrap_file())? {
        found(group, &file, own, clock).await?;
        home::remove(&config.bootstrap_file())?;
        info!("founded a control plane");
    }
    if let Some(file) = home::read_json::<JoinFile>(&config.join_file())? {
        group.join(&file.members).await?;
        home::remove(&config.join_file())?;
        info!("joined the control plane");
    }
    Ok(())
}

/// Records this node where it is not on record with its key: one that founded the control plane, or joined it, by an earlier
/// version, or got a new key.
pub(crate) async fn record_itself(group: Arc<RaftGroup>, own: Own, clock: Clock, shutdown: Shutdown) {
    let mut backoff = Backoff::new(RECORD_MIN_BACKOFF, RECORD_MAX_BACKOFF);
    loop {
        let attempt = async {
            if own.is_recorded(&group.read(Consistency::Linearizable).await?) {
                return Ok(());
            }
            match group.propose(command("server", own.record(), &clock)).await? {
                Outcome::Accepted(_) => info!(identity = own.identity, "recorded this node's key"),
                Outcome::Rejected(problem) => warn!(%problem, "this node's key cannot be recorded"),
            }
            Ok::<_, Problem>(())
        };
        let outcome = tokio::select! {
            () = shutdown.wait() => return,
            outcome = attempt => outcome,
        };
        let Err(problem) = outcome else { return };
        debug!(%problem, "recording this node's key has to wait");
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

async fn found(group: &Arc<RaftGroup>, file: &BootstrapFile, own: &Own, clock: &Clock) -> Result<(), Error> {
    if !group.is_initialized() {
        group.bootstrap().await?;
    }
    let damaged = |what: &str| {
        Error::Bootstrap(hanse_management::Problem::new(
            hanse_management::ProblemName::Internal,
            format!("bootstrap.json: {what}"),
        ))
    };
    let lineage: [u8; 16] = hex::decode(&file.lineage)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| damaged("lineage is not 32 hexadecimal digits"))?;
    let digest = Digest::try_from(file.operator_digest.clone()).map_err(damaged)?;
    let recovery = file.recovery.read().ok_or_else(|| damaged("recovery is not hexadecimal digits"))?;
    // A crash may have come between these writes, so each is made only if it is missing.
    let state = settled(group).await?;
    if state.lineage().is_none() {
        let start = Lineage { generation: 1, id: lineage, parent: None };
        write(group, CommandBody::StartLineage(start), clock).await?;
    }
    if !own.is_recorded(&state) {
        write(group, own.record(), clock).await?;
    }
    if state.federation_keys().recovery().is_none() {
        let set = CommandBody::SetRecoveryKey { recovery, wrapped: Vec::new(), replace: false };
        write(group, set, clock).await?;
    }
    let name = Name::new(FIRST_TOKEN).expect("a constant that is a name");
    let key = ResourceKey::global(Kind::Token, name);
    if state.get(&key).is_some() {
        return Ok(());
    }
    let put = Change {
        key,
        action: Action::put(Labels::default(), TokenSpec::admin(digest, None)),
        if_revision: Some(0),
    };
    write(group, CommandBody::Apply(vec![put]), clock).await
}

/// The state with all that was committed: read through the leader, which this node becomes.
async fn settled(group: &Arc<RaftGroup>) -> Result<State, Error> {
    let attempts = async {
        loop {
            match group.read(Consistency::Linearizable).await {
                Ok(state) => return state,
                Err(problem) => warn!(%problem, "the first read has to wait"),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    tokio::time::timeout(FOUNDED_WITHIN, attempts).await.map_err(|_| Error::NotFounded(FOUNDED_WITHIN))
}

/// Writes once there is a leader; this node alone is the quorum.
async fn write(group: &Arc<RaftGroup>, body: CommandBody, clock: &Clock) -> Result<(), Error> {
    let attempts = async {
        loop {
            match group.propose(command("init", body.clone(), clock)).await {
                Ok(Outcome::Accepted(_)) => return Ok(()),
                Ok(Outcome::Rejected(problem)) => return Err(Error::Bootstrap(problem)),
                Err(problem) => warn!(%problem, "the first write has to wait"),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    tokio::time::timeout(FOUNDED_WITHIN, attempts).await.map_err(|_| Error::NotFounded(FOUNDED_WITHIN))?
}

fn command(actor: &str, body: CommandBody, clock: &Clock) -> Command {
    Command {
        actor: actor.to_owned(),
        request_id: actor.to_owned(),
        time_ms: clock.now_ms(),
        idempotency_key: None,
        only_in_term: None,
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(state: &mut State, body: CommandBody) {
        let command = command("test", body, &Clock::from_fn(|| 1));
        let outcome = state.apply(&command);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }

    #[test]
    fn a_node_is_recorded_once_and_not_over_another() {
        let node = |key: u8, node_id| Own {
            identity: hanse_state::server_identity("cp-1"),
            key_digest: [key; 32],
            node_id,
        };
        let mut state = State::default();
        run(&mut state, CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None }));
        let own = node(1, 11);
        assert!(!own.is_recorded(&state));
        run(&mut state, own.record());
        assert!(own.is_recorded(&state));
        let member = state.member(&own.identity).unwrap();
        assert_eq!((member.key_digest, member.seat.map(|seat| seat.node_id)), ([1; 32], Some(11)));
        assert!(node(2, 12).is_recorded(&state), "one that was replaced has nothing to say");
        let renewed = node(2, 11);
        assert!(!renewed.is_recorded(&state), "it has a new key");
        run(&mut state, renewed.record());
        assert!(renewed.is_recorded(&state));
        assert_eq!(state.member(&own.identity).unwrap().key_digest, [2; 32]);
        assert!(!own.is_recorded(&state), "a copy from before asks, and is refused");
    }
}
