//! Nodes that may not join, and a certificate that a client does not believe.

use std::{fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use hanse_chaos::{Cli, Federation};

/// Long enough for a refusal to arrive on a loaded machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);

/// Runs an agent of this federation in `dir` with this join token; it is expected to end by itself.
async fn agent(federation: &Federation, dir: &Path, token: &str) -> Result<Cli> {
    fs::create_dir_all(dir)?;
    let servers: Vec<String> = addresses(federation, "federation")?;
    let enrolment: Vec<String> = addresses(federation, "enrolment")?;
    let config = dir.join("agent.toml");
    fs::write(
        &config,
        format!(
            "name = \"late\"\nregion = \"eu-west\"\ndata_dir = {:?}\nservers = {servers:?}\nenrolment = {enrolment:?}\n\
             [listen]\nfederation = \"127.0.0.1:0\"\nenrolment = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n",
            dir.join("data"),
        ),
    )?;
    let child = tokio::process::Command::new(federation.binary())
        .args(["agent", "--config"])
        .arg(&config)
        .env("HANSE_AGENT_JOIN_TOKEN", token)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = tokio::time::timeout(REFUSED_WITHIN, child.wait_with_output())
        .await
        .with_context(|| format!("an agent that must be refused still runs after {REFUSED_WITHIN:?}"))??;
    Ok(Cli {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// One face's addresses of the control nodes, from their configuration.
fn addresses(federation: &Federation, face: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(federation.data_dir().join("nodes/cp-1/config.toml"))?;
    let config: toml::Table = text.parse()?;
    Ok(vec![config["listen"][face].as_str().context("an address")?.to_owned()])
}

#[tokio::test]
async fn spent_expired_and_foreign_tokens_are_refused() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let dir = tempfile::tempdir()?;
    let create = |arguments: &[&str]| {
        federation.ok(&[&["token", "create", "--join", "agent", "--region", "eu-west"], arguments].concat())
    };

    // Spent: `hanse dev` used the token of the region's agent when that joined.
    let spent = fs::read_to_string(federation.data_dir().join("nodes/agent-eu-west/join-token"))?;
    let ran = agent(&federation, &dir.path().join("spent"), spent.trim()).await?;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("used up"), "{ran:?}");

    // Expired: its end comes on a whole second, at most three from now.
    let expired = create(&["--ttl", "2s"])?;
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let ran = agent(&federation, &dir.path().join("expired"), expired.trim()).await?;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("expired"), "{ran:?}");

    // Right, but for a federation with another root: the server is not believed, so the secret is never sent.
    let good = create(&[])?;
    let (head, hash) = good.trim().rsplit_once('.').context("hj1.ID.SECRET.CAHASH")?;
    let foreign = format!("{head}.{}", hash.chars().rev().collect::<String>());
    let ran = agent(&federation, &dir.path().join("foreign"), &foreign).await?;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("root"), "{ran:?}");

    // For something else: an agent does not join the control plane.
    let server = federation.ok(&["token", "create", "--join", "server"])?;
    let ran = agent(&federation, &dir.path().join("server"), server.trim()).await?;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("meant for a control node"), "{ran:?}");

    // Not a token at all.
    let ran = agent(&federation, &dir.path().join("broken"), "hj1.only.two").await?;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("join token"), "{ran:?}");
    Ok(())
}

/// A client that trusts another federation's root does not send its token to this one.
#[tokio::test]
async fn a_certificate_of_another_ca_is_not_believed() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let dir = tempfile::tempdir()?;
    let address = "127.0.0.1:0";
    let config = dir.path().join("server.toml");
    fs::write(
        &config,
        format!(
            "name = \"other\"\ndata_dir = {:?}\n[listen]\napi = {address:?}\nfederation = {address:?}\nraft = {address:?}\n\
             enrolment = {address:?}\nadmin = {address:?}\n",
            dir.path().join("other"),
        ),
    )?;
    federation.ok(&["server", "--config", config.to_str().context("a plain path")?, "init"])?;

    let text = fs::read_to_string(federation.client_config())?;
    let mut client: toml::Table = text.parse()?;
    client.insert(
        "ca_file".into(),
        dir.path().join("other/pki/root.crt").to_str().context("a plain path")?.into(),
    );
    let path = dir.path().join("client.toml");
    fs::write(&path, client.to_string())?;
    let ran = federation.cli(&["--config", path.to_str().context("a plain path")?, "status"])?;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("certificate"), "it says why: {ran:?}");
    Ok(())
}
