//! A node whose log is damaged stays up to say so, and does nothing else.
//!
//! It has forgotten what it promised to others, so it must not vote, lead, or show its state as the current one. It serves
//! its admin port only: a process that ends is started again and again, and its reason is only in its log.

use std::time::Duration;

use hanse_process::telemetry;
use hanse_raft::GroupError;
use tracing::{error, info};

use crate::{
    Config, Error,
    home::{self, NodeFile},
    shell::Shell,
};

/// What an operator does about it.
const REMEDY: &str = "this node neither votes nor serves; make a join token with `hanse token create --join server \
                      --replace`, run `hanse server rejoin` with this node's configuration, and start the node again";

/// How often the node looks whether it was joined anew: people wait for it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Says what is wrong until the shutdown, or until the operator joined the node `id` anew.
pub(crate) async fn stay(config: &Config, id: u64, damage: &GroupError, shell: &Shell) -> Result<(), Error> {
    let causes = telemetry::causes(damage).to_string();
    error!(name = %config.name, id, error = causes, remedy = REMEDY, "the log of this control-plane node is damaged");
    shell.not_ready(format!("{causes}; {REMEDY}"));
    loop {
        tokio::select! {
            () = shell.shutdown.wait() => return Ok(()),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        let node = home::read_json::<NodeFile>(&home::node_file(config));
        // join.json is the last that `rejoin` writes.
        if node.is_ok_and(|node| node.is_some_and(|node| node.id != id)) && config.join_file().exists() {
            info!("this node was joined anew");
            return Err(Error::Rejoined);
        }
    }
}
