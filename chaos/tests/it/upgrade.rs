//! A control node of a release that does not know the state's version says so, and loses nothing.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{World, WorldOptions, process::until};
use hanse_identity::digest_secret;

use crate::{
    damaged_log::{admin, plans, takes_no_part, write},
    say,
};

/// A node notices at its start; a loaded machine with a dev build takes seconds for that.
const SAID_WITHIN: Duration = Duration::from_secs(30);

/// The release that the snapshot of a later one names.
const LATER: &str = "9.8.0";

/// A snapshot as a release writes it that brought version 99: the beginning and the header, all that an earlier release reads of it.
fn snapshot_of_a_later_release() -> Vec<u8> {
    let release = LATER.as_bytes();
    let mut header = vec![0x08, 99, 0x2a, release.len() as u8]; // SnapshotHeader {version, release}
    header.extend(release);
    let mut file = b"HANSESN1\0".to_vec(); // an empty SnapshotMeta
    file.extend([header.len() as u8 + 2, 0x0a, header.len() as u8]); // SnapshotRecord {header}
    file.extend(header);
    let checksum = digest_secret(&file);
    file.extend(checksum);
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_is_too_old_stays_up_and_names_the_one_it_needs() -> Result<()> {
    let options = WorldOptions { regions: Vec::new(), ..WorldOptions::default() };
    let mut world = World::set_up(options).await?;
    write(&world, 0..10)?;
    let leader = world.agreed_leader().await?;
    let node = ["cp-2", "cp-3"].into_iter().find(|node| *node != leader).context("a follower")?;
    world.kill(node)?;
    let current = world.data_dir(node).join("raft/snapshots/state.snapshot");
    let later = snapshot_of_a_later_release();
    let own = fs::read(&current).ok();
    fs::write(&current, &later)?;
    world.start_only(node)?;
    until("the node names the release", SAID_WITHIN, || async {
        let (status, text) = admin(&world, node, "/readyz").await?;
        ensure!(status == 503 && text.contains("needs release 9.8.0"), "{status} {text}");
        ensure!(text.contains("start release 9.8.0 or a later one"), "{text}");
        Ok(())
    })
    .await?;
    ensure!(admin(&world, node, "/livez").await?.0 == 200, "it is not live");
    takes_no_part(&world, node).await?;
    write(&world, 10..20)?;
    ensure!(fs::read(&current)? == later, "its snapshot was touched");

    // Its log is whole: a release that knows the version goes on from here. This one does, without the snapshot.
    world.kill(node)?;
    match own {
        Some(own) => fs::write(&current, own)?,
        None => fs::remove_file(&current)?,
    }
    world.start(node).await?;
    until("it has caught up", SAID_WITHIN, || async {
        let found = plans(&world, node).await?;
        ensure!(found == 20, "{found} of 20 plans are there");
        Ok(())
    })
    .await?;
    let status = world.operator().ok(&["upgrade", "status"])?;
    ensure!(status.lines().count() == 4 && status.contains("cp-3"), "{status}");
    world.operator().ok(&["upgrade", "check"])?;
    ensure!(world.operator().ok(&["upgrade", "finalize"])?.trim() == "version 1", "there is no later one");
    say("the node said which release it needs, and came back with nothing missing");
    Ok(())
}
