//! Secrets from `hanse apply` to the agent: no answer shows their data, and no file has it in the clear.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Federation, needles::Needles};
use hanse_identity::KeyPair;

use crate::until;

/// A federation shares its first key within seconds of its start.
const KEY_WITHIN: Duration = Duration::from_secs(20);
/// An agent learns of a change within a second; a loaded machine takes some more.
const LEARNED_WITHIN: Duration = Duration::from_secs(20);

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

    let needles =
        [Needles::of(first.as_bytes()), Needles::of(second.as_bytes()), Needles::of_private_key(&pem)?];
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
    fs::write(data.join("planted"), format!("{}\n{}", opaque(&first), signing(&pem)))?;
    for needles in [&needles[0], &needles[2]] {
        ensure!(needles.files_with(&data)?.len() == 1, "data in the clear was not found");
    }
    Ok(())
}
