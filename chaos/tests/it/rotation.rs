//! One root of trust takes another's place while everything runs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{
    Client, Federation,
    load::{Load, LoadOptions, Target},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{open_api, until};

/// Steady load through both gateways: a rotation must not be seen by any request.
const LOAD: LoadOptions = LoadOptions { per_second: 40, timeout: Duration::from_secs(3) };
/// For news of a step to reach every node, and for every node to have another certificate: reports come every second, and a
/// renewal that found its issuer unready is tried again after at most 30 s.
const SOON: Duration = Duration::from_secs(90);

/// Where the root's key is in a federation's directory.
const AT_HAND: &str = "nodes/cp-1/data/pki/root";

/// A rotation under way.
struct Rotation<'a> {
    federation: &'a Federation,
    old: String,
    new: String,
}

fn roots(federation: &Federation) -> Result<Vec<Value>> {
    let listed: Value = serde_json::from_str(&federation.ok(&["root", "list", "-o", "json"])?)?;
    Ok(listed["items"].as_array().context("a list")?.clone())
}

/// The new root, made beside the one at hand: its directory and its name.
fn new_root(federation: &Federation) -> Result<(PathBuf, String)> {
    let made = federation.data_dir().join("new-root");
    let at_hand = federation.data_dir().join(AT_HAND);
    let new = federation.ok(&["root", "new", text(&made)?, "--replaces", text(&at_hand)?])?;
    Ok((made, new.trim().to_owned()))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a plain path")
}

impl Rotation<'_> {
    /// Waits until no member is listed of a root under this key, nor as unknown.
    async fn until_nobody(&self, root: &str, key: &str) -> Result<()> {
        self.until_unknown(root, key, &[]).await
    }

    /// Waits until no member is listed of a root under this key, and these are listed as unknown.
    async fn until_unknown(&self, root: &str, key: &str, unknown: &[&str]) -> Result<()> {
        until(&format!("nobody is listed under {key} of {root}, and as unknown {unknown:?}"), SOON, || {
            let roots = roots(self.federation)?;
            let root = roots.iter().find(|item| item["root"] == root).context("it is believed")?;
            Ok(root[key] == Value::Array(Vec::new()) && root["unknown"] == json!(unknown))
        })
        .await
        .with_context(|| self.federation.ok(&["root", "list", "-o", "wide"]).unwrap_or_default())
    }

    /// What a step is refused with.
    fn refused(&self, step: &[&str], why: &str) -> Result<()> {
        let ran = self.federation.cli(step)?;
        ensure!(ran.code == 5 && ran.stderr.contains(why), "{step:?}: {ran:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_root_is_replaced_and_no_request_notices() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "3", "--regions", "2"])?;
    let upstream = federation.process("upstream")?.http.context("the upstream has an address")?;
    federation.apply(&open_api("tick", &upstream, 1))?;
    let target = |(name, http): (String, String)| Target::echoing(name, format!("{http}/tick/now-1"));
    let load = Load::start(federation.gateways()?.into_iter().map(target).collect(), LOAD)?;

    let (at_hand, away) = (federation.data_dir().join(AT_HAND), federation.data_dir().join("old-root"));
    let (made, new) = new_root(&federation)?;
    let old = roots(&federation)?[0]["root"].as_str().context("it has a name")?.to_owned();
    let rotation = Rotation { federation: &federation, old, new };
    let (old, new) = (rotation.old.as_str(), rotation.new.as_str());

    // Step 1. Who hears nothing is waited for.
    federation.signal("agent-us-east", Signal::SIGSTOP)?;
    federation.ok(&["root", "trust", text(&made.join("rotation.pem"))?])?;
    rotation.refused(&["root", "use", new], "this client would be locked out")?;
    federation.ok(&["root", "bundle", "--update"])?;
    rotation.refused(&["root", "use", new], "agent-us-east.agent.us-east.hanse.internal")?;
    federation.signal("agent-us-east", Signal::SIGCONT)?;
    rotation.until_nobody(new, "notBelievedBy").await?;

    // Step 2, with a key that comes after it, and a control node that restarts in between.
    federation.ok(&["root", "use", &new[..8]])?;
    rotation.refused(&["root", "drop", old], "have certificates from this root still")?;
    let data = federation.data_dir();
    let data = text(&data)?;
    let dev = |arguments: &[&str]| federation.ok(&[&["dev"], arguments, &["--data-dir", data]].concat());
    dev(&["kill", "cp-2"])?;
    fs::rename(&at_hand, &away)?;
    fs::rename(&made, &at_hand)?;
    dev(&["start", "cp-2"])?;
    rotation.until_nobody(old, "shownBy").await?;

    // Step 3.
    federation.ok(&["root", "drop", old])?;
    federation.ok(&["root", "bundle", "--update"])?;
    ensure!(roots(&federation)?.len() == 1);
    fs::remove_dir_all(&at_hand)?;

    // All is as before under the new root: changes arrive, every process may restart, and others join.
    federation.apply(&open_api("tock", &upstream, 1))?;
    let ledger = load.stop()?;
    let summary = ledger.verdict(&[])?;
    ensure!(summary.sent > 100, "{summary:?}");
    for process in ["gateway-eu-west", "agent-eu-west", "cp-3", "cp-1"] {
        dev(&["kill", process])?;
        dev(&["start", process])?;
    }
    let joined = dev(&["add", "gateway", "--region", "eu-west"])?;
    federation.apply(&open_api("tack", &upstream, 1))?;
    let http = federation.process(joined.trim())?.http.context("it has an address")?;
    let client = Client::new(None)?;
    ensure!(client.get(&format!("{http}/tack/now-1"), &[]).await?.status == 200);
    let expected = rotation.new;
    until("nobody has gone back to another root", SOON, || {
        let roots = roots(&federation)?;
        Ok(roots.len() == 1
            && roots[0]["root"] == expected
            && roots[0]["notBelievedBy"] == Value::Array(vec![]))
    })
    .await
}

/// No running process remembers the gateway that is off; its agent's disk does.
#[tokio::test]
async fn a_gateway_that_is_off_is_waited_for_whoever_restarts_meanwhile() -> Result<()> {
    const OFF: &str = "gateway-eu-west.gateway.eu-west.hanse.internal";
    let federation = Federation::start(&["--control-nodes", "3", "--regions", "1"])?;
    let data = federation.data_dir();
    let data = text(&data)?;
    let dev = |step: &str, process: &str| federation.ok(&["dev", step, process, "--data-dir", data]);
    let (made, new) = new_root(&federation)?;
    let old = roots(&federation)?[0]["root"].as_str().context("it has a name")?.to_owned();
    let rotation = Rotation { federation: &federation, old, new };
    let new = rotation.new.as_str();

    dev("kill", "gateway-eu-west")?;
    federation.ok(&["root", "trust", text(&made.join("rotation.pem"))?])?;
    federation.ok(&["root", "bundle", "--update"])?;
    let others = ["cp-1", "cp-2", "cp-3", "agent-eu-west"];
    for process in others {
        dev("kill", process)?;
    }
    for process in others {
        dev("start", process)?;
    }
    rotation.until_unknown(new, "notBelievedBy", &[OFF]).await?;
    until("a leader refuses both steps for its sake", SOON, || {
        let mut refused = 0;
        for step in ["use", "drop"] {
            let ran = federation.cli(&["root", step, new])?;
            ensure!(ran.code != 0, "{step} locks {OFF} out: {ran:?}");
            refused += u32::from(ran.code == 5 && ran.stderr.contains(&format!(": {OFF};")));
        }
        Ok(refused == 2)
    })
    .await?;
    let listed = federation.ok(&["root", "list"])?;
    ensure!(listed.contains("gateway-eu-west.gateway.eu-west"), "{listed}");

    dev("start", "gateway-eu-west")?;
    rotation.until_nobody(new, "notBelievedBy").await?;
    federation.ok(&["root", "use", new])?;
    Ok(())
}

#[tokio::test]
async fn a_control_node_that_missed_it_all_is_brought_under_the_new_root_by_hand() -> Result<()> {
    const AWAY: &str = "cp-3.server.control.hanse.internal";
    let federation = Federation::start(&["--control-nodes", "3", "--regions", "1"])?;
    let data_dir = federation.data_dir();
    let data = text(&data_dir)?;
    let dev = |step: &str, process: &str| federation.ok(&["dev", step, process, "--data-dir", data]);
    let (made, new) = new_root(&federation)?;
    let old = roots(&federation)?[0]["root"].as_str().context("it has a name")?.to_owned();
    let rotation = Rotation { federation: &federation, old, new };
    let (old, new) = (rotation.old.as_str(), rotation.new.as_str());
    dev("kill", "cp-3")?;
    federation.ok(&["root", "trust", text(&made.join("rotation.pem"))?])?;
    federation.ok(&["root", "bundle", "--update"])?;
    rotation.until_unknown(new, "notBelievedBy", &[AWAY]).await?;
    rotation.refused(&["root", "use", new], AWAY)?;
    federation.ok(&["root", "use", new, "--force"])?;

    // A link, as the key's medium would be mounted.
    let at_hand = data_dir.join(AT_HAND);
    fs::rename(&at_hand, data_dir.join("old-root"))?;
    std::os::unix::fs::symlink(&made, &at_hand)?;
    rotation.until_unknown(old, "shownBy", &[AWAY]).await?;
    federation.ok(&["root", "drop", old, "--force"])?;
    federation.ok(&["root", "bundle", "--update"])?;

    let config = data_dir.join("nodes/cp-3/config.toml");
    let reissue = ["server", "--config", text(&config)?, "reissue"];
    let ran = federation.cli(&reissue)?;
    ensure!(ran.code != 0 && ran.stderr.contains("holds no root"), "{ran:?}");
    std::os::unix::fs::symlink(&made, data_dir.join("nodes/cp-3/data/pki/root"))?;
    federation.ok(&reissue)?;
    dev("start", "cp-3")?;
    rotation.until_nobody(new, "notBelievedBy").await?;
    until("all three take part", SOON, || {
        let status: Value = serde_json::from_str(&federation.ok(&["status", "-o", "json"])?)?;
        let nodes = status["nodes"].as_array().context("nodes")?;
        Ok(nodes.iter().filter(|node| node["answered"] != false).count() == 3)
    })
    .await
}
