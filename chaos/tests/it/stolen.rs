//! A control node's data directory without its `store_key`: a thief can do nothing with it, and its operator can.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{World, WorldOptions, needles::Needles, process::until, spec};
use hanse_identity::Authority;
use serde_json::Value;

use crate::{
    damaged_log::{admin, takes_no_part, write},
    say,
    unjudged::federation_keys,
};

/// A node says at its start what it lacks. While it waits it looks every 10 s; a loaded machine with a dev build takes some more.
const SAID_WITHIN: Duration = Duration::from_secs(40);
/// How long a locked node is watched: it looks for its key every 10 s.
const SILENT_FOR: Duration = Duration::from_secs(12);
/// Between two looks at its sockets.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// The first line of a private key that is sealed.
const SEALED: &str = "-----BEGIN HANSE SEALED KEY-----";

async fn world() -> Result<World> {
    World::set_up(WorldOptions { regions: Vec::new(), ..WorldOptions::default() }).await
}

/// A control node that does not lead, and is not the first: that has the root.
async fn follower(world: &World) -> Result<&'static str> {
    let leader = world.agreed_leader().await?;
    ["cp-2", "cp-3"].into_iter().find(|node| *node != leader).context("a follower")
}

fn config(world: &World, node: &str) -> Result<hanse_server::Config> {
    Ok(toml::from_str(&fs::read_to_string(world.config(node))?)?)
}

/// Waits until a node holds the federation key, on its disk too. Answers with the key.
async fn federation_key(world: &World, node: &str) -> Result<Vec<u8>> {
    let config = config(world, node)?;
    until("the node has the federation key", SAID_WITHIN, || async {
        let keys = federation_keys(&config).await?;
        ensure!(keys.len() == 1, "{} keys", keys.len());
        Ok(())
    })
    .await?;
    let keys = federation_keys(&config).await?;
    Ok(keys[0].key.to_vec())
}

/// The key beside a data directory.
fn store_key(data: &Path) -> PathBuf {
    data.with_file_name("data.store-key")
}

/// Waits until a node says that its private key does not open, for this reason; no other port of it is open then, and it connects to no node.
async fn is_locked(world: &World, node: &str, why: &str) -> Result<()> {
    until("the node says that its key does not open", SAID_WITHIN, || async {
        let (status, text) = admin(world, node, "/readyz").await?;
        ensure!(status == 503 && text.contains("store_key") && text.contains(why), "{status} {text}");
        ensure!(text.contains("hanse server reissue --new-key"), "{text}");
        Ok(())
    })
    .await?;
    let (status, _) = admin(world, node, "/livez").await?;
    ensure!(status == 200, "it is not live: {status}");
    let (_, metrics) = admin(world, node, "/metrics").await?;
    ensure!(metrics.contains("hanse_server_locked 1\n"), "{metrics}");
    takes_no_part(world, node).await?;
    // Past the next attempt to open the key.
    let began = Instant::now();
    while began.elapsed() < SILENT_FOR {
        speaks_to_nobody(world, node)?;
        tokio::time::sleep(SAMPLE_EVERY).await;
    }
    Ok(())
}

/// Every TCP socket of the node's process is of its admin port.
fn speaks_to_nobody(world: &World, node: &str) -> Result<()> {
    let pid = world.process(node)?.pid().context("it runs")?;
    let sockets: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))?
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let admin = format!("{:04X}", spec::SERVER_ADMIN);
    let mut listens = false;
    for family in ["tcp", "tcp6"] {
        // number, local address, remote address, state, …, inode
        for line in fs::read_to_string(format!("/proc/{pid}/net/{family}"))?.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (local, inode) = (words.get(1).context("an address")?, words.get(9).context("an inode")?);
            if sockets.contains(*inode) {
                ensure!(local.ends_with(&admin), "{node} has a socket beside its admin port: {line}");
                listens = true;
            }
        }
    }
    ensure!(listens, "the admin port is not among the sockets of {node}: this looks at the wrong process");
    Ok(())
}

/// Waits until a node that was locked takes part, without a start.
async fn goes_on(world: &mut World, node: &str) -> Result<()> {
    let pid = world.process(node)?.pid();
    world.serves(node).await?;
    ensure!(world.process(node)?.pid() == pid, "it was started again");
    let (_, metrics) = admin(world, node, "/metrics").await?;
    ensure!(metrics.contains("hanse_server_locked 0\n"), "{metrics}");
    Ok(())
}

/// Ends the other follower: the node and the first carry the quorum.
async fn carries_the_quorum(world: &mut World, node: &str, plan: u32) -> Result<()> {
    let other = ["cp-2", "cp-3"].into_iter().find(|other| *other != node).context("another")?;
    world.kill(other)?;
    world.leader().await?;
    write(world, plan..plan + 1)?;
    world.start(other).await
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cp -a {} {}: {status}", from.display(), to.display());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_data_directory_opens_nothing() -> Result<()> {
    let mut world = world().await?;
    write(&world, 0..10)?;
    let node = follower(&world).await?;
    let data = world.data_dir(node);
    let key = hanse_server::control_intermediate(&config(&world, node)?)?.key().to_pem();
    let shared = federation_key(&world, node).await?;
    world.kill(node)?;

    // The thief starts a copy in the place of the node, which is down.
    let stolen = world.dir().join("stolen").join("data");
    fs::create_dir(world.dir().join("stolen"))?;
    copy(&data, &stolen)?;
    let path = world.config(node);
    let text = fs::read_to_string(&path)?;
    let (here, there) = (data.to_str().context("a plain path")?, stolen.to_str().context("a plain path")?);
    ensure!(text.contains(here), "{text}");
    fs::write(&path, text.replace(here, there))?;
    world.start_only(node)?;
    is_locked(&world, node, "is gone").await?;
    ensure!(!store_key(&stolen).exists(), "it made a key");
    fs::write(store_key(&stolen), "07".repeat(32))?;
    is_locked(&world, node, "did not seal it").await?;

    // Nothing in it is the node's key, nor the federation key. The same search finds a key that is there.
    for (what, needles, plain) in [
        ("the private key", Needles::of_private_key(&key)?, key.as_bytes()),
        ("the federation key", Needles::of(&shared), &shared),
    ] {
        for dir in [&data, &stolen] {
            let found = needles.files_with(dir)?;
            ensure!(found.is_empty(), "{what} of {node} is in {found:?}");
            let planted = dir.join("store").join("planted");
            fs::write(&planted, plain)?;
            ensure!(needles.files_with(dir)?.len() == 1, "{what} in the clear was not found");
            fs::remove_file(planted)?;
        }
    }
    let versions: Vec<_> = fs::read_dir(stolen.join("pki/keys"))?.collect::<Result<_, _>>()?;
    let versions = versions.iter().map(fs::DirEntry::path);
    let sealed: Vec<_> = versions.chain([stolen.join("pki/control/key.pem")]).collect();
    ensure!(sealed.len() == 2, "one version of the federation key, and the node's own key: {sealed:?}");
    for file in sealed {
        ensure!(fs::read_to_string(&file)?.starts_with(SEALED), "{} is not sealed", file.display());
    }
    // Also where `init` made the directory.
    for other in ["cp-1", "cp-2", "cp-3"] {
        if other == node {
            continue; // searched above; its configuration names the copy now
        }
        let key = hanse_server::control_intermediate(&config(&world, other)?)?.key().to_pem();
        let found = Needles::of_private_key(&key)?.files_with(&world.data_dir(other))?;
        ensure!(found.is_empty(), "the private key of {other} is in {found:?}");
    }

    // With the key that sealed it, it is the node.
    fs::copy(store_key(&data), store_key(&stolen))?;
    goes_on(&mut world, node).await?;
    carries_the_quorum(&mut world, node, 10).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_store_key_is_lost_gets_a_new_key_and_keeps_its_place() -> Result<()> {
    let mut world = world().await?;
    write(&world, 0..10)?;
    let node = follower(&world).await?;
    let (data, path) = (world.data_dir(node), world.config(node));
    let recorded = |world: &World| -> Result<Value> {
        let members: Value = serde_json::from_str(&world.operator().ok(&["member", "list", "-o", "json"])?)?;
        let items = members["items"].as_array().or(members.as_array()).context("members")?;
        let own = items.iter().find(|member| member["name"] == node).context("the node")?;
        Ok(own["key"].clone())
    };
    let before = recorded(&world)?;
    let id = fs::read(data.join("node.json"))?;
    world.kill(node)?;
    fs::remove_file(store_key(&data))?;
    world.start_only(node)?;
    is_locked(&world, node, "is gone").await?;

    let reissue = ["server", "--config", &path, "reissue", "--new-key"];
    let ran = world.operator().run(&reissue, "", &[])?;
    ensure!(ran.code != 0 && ran.stderr.contains("holds no root"), "{ran:?}");
    copy(&world.data_dir("cp-1").join("pki/root"), &data.join("pki/root"))?;
    let ran = world.operator().run(&reissue, "", &[])?;
    ensure!(ran.code == 0 && ran.stderr.contains("control.aside-"), "{ran:?}");
    goes_on(&mut world, node).await?;
    fs::remove_dir_all(data.join("pki/root"))?;
    let ran = world.operator().run(&reissue, "", &[])?;
    ensure!(ran.code != 0 && ran.stderr.contains("is running"), "{ran:?}");

    ensure!(fs::read(data.join("node.json"))? == id, "it kept its Raft id");
    until("its new key is on record", SAID_WITHIN, || async {
        let now = recorded(&world)?;
        ensure!(now != before && now.is_string(), "{now}");
        Ok(())
    })
    .await?;
    carries_the_quorum(&mut world, node, 10).await?;

    // A directory of a release that sealed nothing: it needs no store_key, and makes none where the mount is late.
    let control = hanse_server::control_intermediate(&config(&world, node)?)?;
    world.kill(node)?;
    let dir = data.join("pki/control");
    control.save(&dir)?;
    let needles = Needles::of_private_key(&control.key().to_pem())?;
    ensure!(needles.files_with(&data)?.len() == 1, "the key is in the clear");
    Authority::load(dir)?;
    let away = store_key(&data).with_extension("away");
    fs::rename(store_key(&data), &away)?;
    world.start(node).await?;
    let (_, metrics) = admin(&world, node, "/metrics").await?;
    ensure!(metrics.contains("hanse_store_writable 0\n"), "{metrics}");
    ensure!(!store_key(&data).exists(), "it made a key");
    ensure!(needles.files_with(&data)?.len() == 1, "it sealed the key with another");
    world.kill(node)?;
    // The next start has it, and seals the key.
    fs::rename(&away, store_key(&data))?;
    world.start(node).await?;
    let found = needles.files_with(&data)?;
    ensure!(found.is_empty(), "the private key of {node} is in {found:?}");
    carries_the_quorum(&mut world, node, 11).await?;
    say(format!("{node} has the key {} now", recorded(&world)?));
    Ok(())
}
