//! One key that asks for many names, and tokens that ask for the seat of a control node that runs.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use hanse_identity::{EnrolError, JoinToken, KeyPair, enrol};
use hanse_process::WallClock;
use hanse_proto::raft::ControlNode;
use hanse_topology::{Name, Role};

use super::{Arena, Attack, Strength, count::Count};
use crate::spec;

/// Between two attempts, at scale 1: what is tried here is names, not a flood of signatures.
const PAUSE: Duration = Duration::from_millis(100);
/// Requests of each token that the node must have answered: below that it was not asked for many names.
const LEAST_ANSWERED: usize = 5;
/// A Raft id that no node of a federation has: they are random, of 53 bits.
const ANY_ID: u64 = 7;
/// The replicated version that those who claim to be control nodes claim to know: any.
const ANY_VERSION: u32 = u32::MAX;

/// One token and one key ask an agent, and control nodes, for one name after the other.
pub(super) const ONE_KEY: Attack = Attack {
    name: "one-key-many-names",
    about: "one join token and one key join as many gateways and many agents",
    node: "cp-1",
    run: |arena, strength| Box::pin(many_names(arena, strength)),
    beside: None,
};

/// Server tokens that do not say so ask for the names of control nodes that run.
pub(super) const SEAT: Attack = Attack {
    name: "seat-taken",
    about: "a control node joins under the names of those that run, with ordinary tokens and such that replace",
    node: "cp-1",
    run: |arena, strength| Box::pin(seats(arena, strength)),
    beside: None,
};

/// A joiner with a token and a key.
struct Joiner {
    token: JoinToken,
    key: KeyPair,
    role: Role,
    at: Vec<String>,
    answered: Count,
}

impl Joiner {
    /// Whether the name was given; an error: there was no answer.
    async fn joins_as(&self, name: &str) -> Result<bool> {
        let node = || ControlNode {
            id: ANY_ID,
            name: name.to_owned(),
            raft_address: "127.0.0.1:1".to_owned(),
            ..ControlNode::default()
        };
        let control_node = (self.role == Role::Server).then(|| (node(), ANY_VERSION));
        let name = Name::new(name)?;
        let clock = WallClock::system();
        let joined =
            match enrol(&self.at, &self.token, self.role, &name, &self.key, control_node, &clock).await {
                Ok(_) => true,
                Err(EnrolError::Refused { .. }) => false,
                Err(error) => bail!(error),
            };
        self.answered.one();
        Ok(joined)
    }
}

/// Runs of this attack so far.
static RUNS: AtomicUsize = AtomicUsize::new(0);

async fn many_names(arena: Arena, strength: Strength) -> Result<()> {
    let operator = arena.operator.clone();
    let agent_config: PathBuf = arena.data_dir("agent-eu-west")?.with_file_name("config.toml");
    let agent_config = agent_config.display().to_string();
    let minted = operator.ok(&["agent", "--config", &agent_config, "mint-token"])?;
    let uses = ["--region", "eu-west", "--uses", "1000"];
    let token = operator.ok(&[&["token", "create", "--join", "agent"], &uses[..]].concat())?;
    let joiner = |token: &str, role, at| -> Result<Joiner> {
        let (token, answered) = (token.trim().parse()?, Count::default());
        Ok(Joiner { token, key: KeyPair::generate()?, role, at: vec![at], answered })
    };
    let control = arena.at("cp-1", spec::ENROLMENT)?.to_string();
    let agent = arena.at("agent-eu-west", spec::ENROLMENT)?.to_string();
    let joiners = [joiner(&minted, Role::Gateway, agent)?, joiner(&token, Role::Agent, control)?];
    let pause = PAUSE / u32::try_from(strength.scale)?;
    // Names that an earlier run in this federation took belong to the keys of that run.
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let name = |number: usize| format!("many-{run}-{number}");
    for joiner in &joiners {
        ensure!(joiner.joins_as(&name(0)).await?, "a token and a key of its own are refused");
    }
    let attack = async {
        for number in 1.. {
            for joiner in &joiners {
                // An answer that does not come in time is no name.
                if joiner.joins_as(&name(number)).await.unwrap_or(false) {
                    bail!("one key joined twice, as {} too", name(number));
                }
                tokio::time::sleep(pause).await;
            }
        }
        Ok(())
    };
    tokio::select! {
        () = strength.over() => {}
        attacked = attack => attacked?,
    }
    joiners.iter().try_for_each(|joiner| joiner.answered.at_least(LEAST_ANSWERED, "requests were answered"))
}

async fn seats(arena: Arena, strength: Strength) -> Result<()> {
    let operator = arena.operator.clone();
    let joiner = |kind: &[&str]| -> Result<Joiner> {
        let create = ["token", "create", "--join", "server", "--uses", "1000"];
        let token = operator.ok(&[&create[..], kind].concat())?.trim().parse()?;
        let at = vec![arena.at("cp-1", spec::ENROLMENT)?.to_string()];
        Ok(Joiner { token, key: KeyPair::generate()?, role: Role::Server, at, answered: Count::default() })
    };
    let (ordinary, replacing) = (joiner(&[])?, joiner(&["--replace"])?);
    let voters = || -> Result<Vec<String>> {
        let status: serde_json::Value = serde_json::from_str(&operator.ok(&["status", "-o", "json"])?)?;
        let nodes = status["nodes"].as_array().context("nodes")?.iter();
        let voting = nodes.filter(|node| node["role"] != "learner");
        Ok(voting.filter_map(|node| node["name"].as_str().map(str::to_owned)).collect())
    };
    let before = voters()?;
    let pause = PAUSE / u32::try_from(strength.scale)?;
    let attack = async |joiner: &Joiner| -> Result<()> {
        loop {
            for name in &before {
                if joiner.joins_as(name).await.unwrap_or(false) {
                    bail!("the seat of {name} was given away while {name} runs");
                }
                tokio::time::sleep(pause).await;
            }
        }
    };
    tokio::select! {
        () = strength.over() => {}
        attacked = attack(&ordinary) => attacked?,
        attacked = attack(&replacing) => attacked?,
    }
    ordinary.answered.at_least(before.len(), "requests were answered")?;
    // The node asks first whether who has the seat is there: that takes seconds.
    replacing.answered.at_least(1, "requests to replace a node were answered")?;
    let after = voters()?;
    ensure!(before == after, "the control nodes were {before:?} and are {after:?}");
    Ok(())
}
