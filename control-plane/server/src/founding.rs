//! A node's first start: it founds the control plane, or is added to it.

use std::{sync::Arc, time::Duration};

use hanse_api::Clock;
use hanse_raft::RaftGroup;
use hanse_state::{
    Action, Change, Command, CommandBody, Kind, Lineage, Outcome, ResourceKey, State,
    port::{Consistency, Replicated},
    spec::{Digest, TokenRole, TokenSpec},
};
use hanse_topology::{Labels, Name};
use tracing::{info, warn};

use crate::{
    Config, Error,
    home::{self, BootstrapFile, JoinFile},
};

/// How soon a first write that found no leader is tried again: a few times per election.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// How long the founding node tries its first write: it elects itself in one election timeout.
const FOUNDED_WITHIN: Duration = Duration::from_secs(30);

/// The name of the first operator's Token resource.
const FIRST_TOKEN: &str = "bootstrap";

/// Does what `init` or `join` left to do, if anything is left. Both files are removed only when it is done, and each step
/// may be repeated.
pub(crate) async fn found_or_join(
    config: &Config,
    group: &Arc<RaftGroup>,
    clock: &Clock,
) -> Result<(), Error> {
    if let Some(file) = home::read_json::<BootstrapFile>(&config.bootstrap_file())? {
        found(group, &file, clock).await?;
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

async fn found(group: &Arc<RaftGroup>, file: &BootstrapFile, clock: &Clock) -> Result<(), Error> {
    if !group.is_initialized() {
        group.bootstrap().await?;
    }
    let damaged = |what: &str| {
        Error::Bootstrap(hanse_state::Problem::new(
            hanse_state::ProblemName::Internal,
            format!("bootstrap.json: {what}"),
        ))
    };
    let lineage: [u8; 16] = hex::decode(&file.lineage)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| damaged("lineage is not 32 hexadecimal digits"))?;
    let digest = Digest::try_from(file.operator_digest.clone()).map_err(damaged)?;
    // A crash may have come between these writes, so each is made only if it is missing.
    let state = settled(group).await?;
    if state.lineage().is_none() {
        let start = Lineage { generation: 1, id: lineage, parent: None };
        write(group, CommandBody::StartLineage(start), clock).await?;
    }
    let name = Name::new(FIRST_TOKEN).expect("a constant that is a name");
    let key = ResourceKey::global(Kind::Token, name);
    if state.get(&key).is_some() {
        return Ok(());
    }
    let put = Change {
        key,
        action: Action::Put {
            labels: Labels::default(),
            spec: TokenSpec { role: TokenRole::Admin, digest, expires_at: None }.into(),
        },
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
            let command = Command {
                actor: "init".into(),
                request_id: "init".into(),
                time_ms: clock.now_ms(),
                idempotency_key: None,
                body: body.clone(),
            };
            match group.propose(command).await {
                Ok(Outcome::Accepted(_)) => return Ok(()),
                Ok(Outcome::Rejected(problem)) => return Err(Error::Bootstrap(problem)),
                Err(problem) => warn!(%problem, "the first write has to wait"),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    tokio::time::timeout(FOUNDED_WITHIN, attempts).await.map_err(|_| Error::NotFounded(FOUNDED_WITHIN))?
}
