//! Control nodes that are gone: the status says so, and names no leader without a quorum.

use std::time::Duration;

use anyhow::{Result, ensure};
use hanse_chaos::{Role, World, WorldOptions, process::until};
use serde_json::Value;

/// A node counts as silent once it leaves a question unanswered, and a leader's lease lasts less than a second; a loaded machine gets more.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// What a status says of one control node.
fn state_of<'a>(status: &'a Value, name: &str) -> &'a Value {
    let nodes = status["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    nodes.iter().find(|node| node["name"] == name).map_or(&Value::Null, |node| &node["state"])
}

#[tokio::test]
async fn the_status_names_control_nodes_that_are_gone() -> Result<()> {
    let mut world = World::set_up(WorldOptions::default()).await?;
    let leader = world.agreed_leader().await?;
    let nodes = world.of_role(Role::Server);
    for name in &nodes {
        ensure!(state_of(&world.status_of(name).await?, name) == "up");
    }
    let others: Vec<&String> = nodes.iter().filter(|name| **name != leader).collect();
    let (gone, left) = (others[0].clone(), others[1].clone());

    // One of three: there is a quorum, and the status tells who is gone.
    world.kill(&gone)?;
    until("the first is shown as silent", SHOWN_WITHIN, || async {
        let status = world.status_of(&left).await?;
        ensure!(state_of(&status, &gone) == "silent" && state_of(&status, &leader) == "up", "{status}");
        ensure!(status["leader"] == *leader && status["quorum"] == true, "{status}");
        Ok(())
    })
    .await?;

    // Two of three: the node that is left knows no leader, and shows none.
    world.kill(&leader)?;
    until("no leader is shown", SHOWN_WITHIN, || async {
        let status = world.status_of(&left).await?;
        ensure!(status["quorum"] == false && status.get("leader").is_none(), "{status}");
        for name in [&gone, &leader] {
            ensure!(state_of(&status, name) == "silent", "{status}");
        }
        let roles: Vec<&Value> =
            status["nodes"].as_array().into_iter().flatten().map(|node| &node["role"]).collect();
        ensure!(roles.iter().all(|role| **role == "voter"), "{status}");
        Ok(())
    })
    .await?;
    let shown = world.operator().ok(&["status"])?;
    ensure!(
        shown.contains("NO QUORUM here for ") && shown.contains("silent for ") && !shown.contains("leader"),
        "{shown}"
    );
    Ok(())
}
