//! One root of trust takes another's place while everything runs.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{
    Client, Federation,
    load::{Load, LoadOptions, Target},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{open_api, until};

/// Steady load through both gateways: a rotation must not be seen by any request.
const LOAD: LoadOptions = LoadOptions { per_second: 40, timeout: Duration::from_secs(3) };
/// For news of a step to reach everybody, and for everybody to have another certificate: reports come every second, and a
/// renewal that found its issuer unready is tried again after at most 30 s.
const SOON: Duration = Duration::from_secs(90);

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

impl Rotation<'_> {
    /// Waits until nobody is listed of a root under this key.
    async fn until_nobody(&self, root: &str, key: &str) -> Result<()> {
        until(&format!("nobody is listed under {key} of {root}"), SOON, || {
            let roots = roots(self.federation)?;
            let root = roots.iter().find(|item| item["root"] == root).context("it is believed")?;
            Ok(root[key] == Value::Array(Vec::new()))
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
    let target =
        |(name, http): (String, String)| Target { url: format!("{http}/tick/now-1"), name, headers: vec![] };
    let load = Load::start(federation.gateways()?.into_iter().map(target).collect(), LOAD)?;

    let at_hand = federation.data_dir().join("nodes/cp-1/data/pki/root");
    let (made, away) = (federation.data_dir().join("new-root"), federation.data_dir().join("old-root"));
    let text = |path: &std::path::Path| path.to_str().map(str::to_owned).context("a plain path");
    let new =
        federation.ok(&["root", "new", &text(&made)?, "--replaces", &text(&at_hand)?])?.trim().to_owned();
    let old = roots(&federation)?[0]["root"].as_str().context("it has a name")?.to_owned();
    let rotation = Rotation { federation: &federation, old, new };
    let (old, new) = (rotation.old.as_str(), rotation.new.as_str());

    // Step 1. Who hears nothing is waited for.
    federation.signal("agent-us-east", Signal::SIGSTOP)?;
    federation.ok(&["root", "trust", &text(&made.join("rotation.pem"))?])?;
    rotation.refused(&["root", "use", new], "this client would be locked out")?;
    federation.ok(&["root", "bundle", "--update"])?;
    rotation.refused(&["root", "use", new], "agent-us-east.agent.us-east.hanse.internal")?;
    federation.signal("agent-us-east", Signal::SIGCONT)?;
    rotation.until_nobody(new, "notBelievedBy").await?;

    // Step 2, with a key that comes after it, and a control node that restarts in between.
    federation.ok(&["root", "use", &new[..8]])?;
    rotation.refused(&["root", "drop", old], "have certificates from this root still")?;
    let data = text(&federation.data_dir())?;
    let dev = |arguments: &[&str]| federation.ok(&[&["dev"], arguments, &["--data-dir", &data]].concat());
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

    // All is as before under the new root: changes arrive, everybody may restart, and others join.
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
