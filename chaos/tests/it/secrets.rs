//! Secrets from `hanse apply` to the agent: no answer shows their data, and no file has it in the clear.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Federation, World, WorldOptions, needles::Needles, process::next_binary};
use hanse_identity::KeyPair;
use serde_json::Value;

use crate::{unjudged::federation_keys, until};

/// A federation shares its first key within seconds of its start.
const KEY_WITHIN: Duration = Duration::from_secs(20);
/// An agent learns of a change within a second; a loaded machine takes some more.
const LEARNED_WITHIN: Duration = Duration::from_secs(20);
/// A rotation takes some looks of a second each: a version is made, every node gets it, it is used, and values are sealed with it.
const ROTATED_WITHIN: Duration = Duration::from_secs(30);
/// The test release compacts its log after 40 entries.
const COMPACTED_AFTER: usize = 45;

/// Data that is nowhere else: 32 random octets of the key of a pair, in hexadecimal.
fn password() -> Result<String> {
    Ok(hex::encode(&KeyPair::generate()?.public_key_der()[30..62]))
}

fn opaque(password: &str) -> String {
    format!(
        "{{kind: Secret, name: partner, spec: {{type: opaque, data: {{user: shop, password: {password}}}}}}}"
    )
}

fn signing(pem: &str) -> String {
    let lines: String = pem.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "kind: Secret\nname: signer\nspec:\n  type: token-signing\n  regions: [eu-west]\n  data:\n    key.pem: |\n{lines}"
    )
}

#[tokio::test]
async fn data_of_secrets_is_in_no_file_and_in_no_answer() -> Result<()> {
    let mut federation = Federation::start(&["--control-nodes", "3", "--regions", "1"])?;
    let (first, second) = (password()?, password()?);
    let pem = KeyPair::generate()?.to_pem();
    until("Secrets are taken", KEY_WITHIN, || {
        let applied = federation.cli_with_input(&["apply", "-f", "-"], &opaque(&first))?;
        ensure!(applied.code == 0 || applied.stderr.contains("federation key"), "{applied:?}");
        Ok(applied.code == 0)
    })
    .await?;
    federation.apply(&signing(&pem))?;

    // Equal data is no change, and no difference; other data is both.
    let diff = |secret: &str| federation.cli_with_input(&["diff", "-f", "-"], secret);
    let same = diff(&opaque(&first))?;
    ensure!(same.code == 0 && same.stdout.is_empty(), "{same:?}");
    let other = diff(&opaque(&second))?;
    ensure!(other.code == 1 && other.stdout.contains("+    password: (new data)"), "{other:?}");
    let again = federation.cli_with_input(&["apply", "-f", "-"], &opaque(&first))?;
    ensure!(again.stdout.contains("unchanged"), "{again:?}");
    federation.apply(&opaque(&second))?;
    until("the agent follows keys/eu-west", LEARNED_WITHIN, || {
        // Only agents follow such a scope.
        Ok(federation.ok(&["status", "-o", "json"])?.contains("\"keys/eu-west\""))
    })
    .await?;

    // After a rotation no value is left under version 1, and equal data is no change still.
    federation.ok(&["federation-key", "rotate"])?;
    until("every value is sealed with version 2", ROTATED_WITHIN, || {
        let keys: Value = serde_json::from_str(&federation.ok(&["federation-key", "list", "-o", "json"])?)?;
        let values = |at: usize| keys["items"][at]["values"].as_u64();
        Ok(keys["rotating"] == false && (values(0), values(1)) == (Some(0), Some(3)))
    })
    .await?;
    let rotated = federation.cli_with_input(&["apply", "-f", "-"], &opaque(&second))?;
    ensure!(rotated.stdout.contains("unchanged"), "{rotated:?}");
    let node = federation.data_dir().join("nodes").join("cp-1");
    let keys = federation_keys(&toml::from_str(&fs::read_to_string(node.join("config.toml"))?)?).await?;
    ensure!(keys.len() == 2 && keys.iter().all(|key| key.key.len() == 32), "{} keys", keys.len());

    let mut needles =
        vec![Needles::of(first.as_bytes()), Needles::of(second.as_bytes()), Needles::of_private_key(&pem)?];
    needles.extend(keys.iter().map(|key| Needles::of(&key.key)));
    let beside = |name: &str| {
        Ok::<_, anyhow::Error>(federation.data_dir().join(name).to_str().context("a plain path")?.to_owned())
    };
    let (dump, audit) = (beside("dump")?, beside("audit.jsonl")?);
    for said in [
        federation.ok(&["get", "secrets", "-o", "yaml"])?,
        federation.ok(&["describe", "secret", "signer"])?,
        federation.ok(&["audit", "tail", "-n", "9", "-o", "yaml"])?,
        federation.ok(&["audit", "export", "--to", &audit])?,
        federation.ok(&["dump", "-o", &dump])?,
        other.stdout,
        again.stdout,
    ] {
        ensure!(needles.iter().all(|needles| !needles.are_in(said.as_bytes())), "{said}");
    }

    // Stopped, every file is written: logs, snapshots, stores, the dump, what processes said.
    federation.stop()?;
    let data = federation.data_dir();
    for (at, needles) in needles.iter().enumerate() {
        let found = needles.files_with(&data)?;
        ensure!(found.is_empty(), "data {at} is in {found:?}");
    }
    // The same search finds data that is there.
    let planted = format!("{}\n{}\n{}", opaque(&first), signing(&pem), hex::encode(&keys[1].key));
    fs::write(data.join("planted"), planted)?;
    for needles in [&needles[0], &needles[2], &needles[4]] {
        ensure!(needles.files_with(&data)?.len() == 1, "data in the clear was not found");
    }
    Ok(())
}

/// The file of a snapshot that is whole.
const SNAPSHOT: &str = "raft/snapshots/state.snapshot";

/// The files of a control node that stopped, after a rotation and a snapshot.
struct Found {
    /// Those that have the data of a Secret.
    data: Vec<String>,
    /// Those that have a version of the federation key.
    key: Vec<String>,
}

async fn files_of_a_node(seeded_bug: Option<&str>) -> Result<Found> {
    let mut world = World::set_up(WorldOptions {
        control_nodes: 1,
        regions: Vec::new(),
        seeded_bug: seeded_bug.map(str::to_owned),
        binary: Some(next_binary()?),
        ..WorldOptions::default()
    })
    .await?;
    let password = password()?;
    until("Secrets are taken", KEY_WITHIN, || {
        let applied = world.operator().run(&["apply", "-f", "-"], &opaque(&password), &[])?;
        ensure!(applied.code == 0 || applied.stderr.contains("federation key"), "{applied:?}");
        Ok(applied.code == 0)
    })
    .await?;
    // The values are in an entry of the log that seals them anew, and in the snapshot after it.
    world.operator().run(&["federation-key", "rotate"], "", &[])?;
    until("every value is sealed with version 2", ROTATED_WITHIN, || {
        let listed = world.operator().run(&["federation-key", "list", "-o", "json"], "", &[])?;
        let keys: Value = serde_json::from_str(&listed.stdout)?;
        Ok(keys["items"][1]["values"] == 2 && keys["rotating"] == false)
    })
    .await?;
    let plan = |number: usize| format!("{{kind: Plan, name: p-{number}, spec: {{}}}}");
    for number in 0..COMPACTED_AFTER {
        world.operator().apply(&plan(number))?;
    }
    let data = world.data_dir("cp-1");
    until("there is a snapshot", LEARNED_WITHIN, || Ok(data.join(SNAPSHOT).exists())).await?;
    // In the log behind the snapshot.
    let entry =
        format!("{{kind: Secret, name: other, spec: {{type: opaque, data: {{password: {password}}}}}}}");
    world.operator().apply(&entry)?;
    let keys = federation_keys(&toml::from_str(&fs::read_to_string(world.config("cp-1"))?)?).await?;
    ensure!(keys.len() == 2, "{} keys", keys.len());
    world.kill("cp-1")?;
    let mut key = Vec::new();
    for version in &keys {
        key.extend(Needles::of(&version.key).files_with(&data)?);
    }
    Ok(Found { data: Needles::of(password.as_bytes()).files_with(&data)?, key })
}

/// The search is proven by a seeded bug: it finds data that a cipher stores as it is, in the log and in the snapshot.
#[tokio::test]
async fn the_search_finds_secrets_that_are_not_sealed() -> Result<()> {
    let Found { data, key } = files_of_a_node(None).await?;
    ensure!(data.is_empty() && key.is_empty(), "data in {data:?}, the federation key in {key:?}");
    let Found { data, key } = files_of_a_node(Some("secrets-unsealed")).await?;
    ensure!(key.is_empty(), "the federation key is in {key:?}");
    ensure!(data.iter().any(|file| file.ends_with(SNAPSHOT)), "the snapshot does not have it: {data:?}");
    ensure!(
        data.iter().any(|file| file.contains("raft/") && !file.contains("raft/snapshots/")),
        "no log has it: {data:?}"
    );
    Ok(())
}
