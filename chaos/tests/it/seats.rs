//! Names, keys and places: one key has one name, a revoked key comes back under none, and a control node that runs keeps its
//! place.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use hanse_chaos::{Client, Federation};
use serde_json::Value;
use tokio::process::{Child, Command};

/// For what must happen: reconnecting waits up to five seconds.
const SOON: Duration = Duration::from_secs(30);
/// A control node that is silent for so long is gone.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// A port of this machine that nothing listens on.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A further process of a federation, configured as one of the federation's own, with a directory and addresses of its own.
struct Extra {
    role: &'static str,
    binary: PathBuf,
    config: PathBuf,
    data_dir: PathBuf,
    /// By face.
    listen: toml::Table,
}

impl Extra {
    fn new(federation: &Federation, like: &str, role: &'static str, name: &str, dir: &Path) -> Result<Self> {
        let like = federation.data_dir().join("nodes").join(like).join("config.toml");
        let mut config: toml::Table = fs::read_to_string(&like)?.parse()?;
        let data_dir = dir.join("data");
        fs::create_dir_all(dir)?;
        config.insert("name".into(), name.into());
        config.insert("data_dir".into(), data_dir.display().to_string().into());
        for key in ["advertise", "join_token_file", "store_key", "access_log"] {
            config.remove(key);
        }
        let listen = config.get_mut("listen").and_then(toml::Value::as_table_mut).context("listen")?;
        for (_, address) in listen.iter_mut() {
            *address = free_address()?.into();
        }
        let listen = listen.clone();
        let path = dir.join("config.toml");
        fs::write(&path, config.to_string())?;
        Ok(Self { role, binary: federation.binary().to_owned(), config: path, data_dir, listen })
    }

    /// Changes a key of the configuration.
    fn set(&self, key: &str, value: impl Into<toml::Value>) -> Result<()> {
        let mut config: toml::Table = fs::read_to_string(&self.config)?.parse()?;
        config.insert(key.into(), value.into());
        Ok(fs::write(&self.config, config.to_string())?)
    }

    fn at(&self, face: &str) -> Result<String> {
        Ok(self.listen[face].as_str().with_context(|| format!("no {face}"))?.to_owned())
    }

    fn command(&self, arguments: &[&str], token: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(self.role).arg("--config").arg(&self.config).args(arguments);
        command.env(format!("HANSE_{}_JOIN_TOKEN", self.role.to_uppercase()), token.trim());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts the role; its log goes to a file beside the configuration.
    fn start(&self, token: &str) -> Result<Child> {
        let log = fs::File::create(self.config.with_file_name("log"))?;
        Ok(self.command(&[], token).stdout(log.try_clone()?).stderr(log).spawn()?)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.config.with_file_name("log")).unwrap_or_default()
    }

    /// Runs it to its end, which comes by itself: what it printed, and whether it succeeded.
    async fn run(&self, arguments: &[&str], token: &str) -> Result<(bool, String)> {
        let output = tokio::time::timeout(SOON, self.command(arguments, token).output())
            .await
            .with_context(|| format!("it still runs after {SOON:?}"))??;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// Runs it to its end, and expects it to be refused for this.
    async fn refused(&self, arguments: &[&str], token: &str, why: &str) -> Result<()> {
        let (success, said) = self.run(arguments, token).await?;
        ensure!(!success && said.contains(why), "not refused as {why:?}: {said}");
        Ok(())
    }

    /// Lets it join with a key that was stolen: the one in this directory.
    fn with_key_of(&self, stolen: &Path) -> Result<()> {
        fs::create_dir_all(&self.data_dir)?;
        let pem = fs::read_to_string(stolen.join("pki/key.pem"))?;
        Ok(fs::write(self.data_dir.join("joining-key.json"), serde_json::to_string(&pem)?)?)
    }
}

/// Whether a gateway that runs is connected to an agent.
async fn is_connected(client: &Client, gateway: &Extra) -> Result<bool> {
    let url = format!("http://{}/config", gateway.at("admin")?);
    Ok(client.get(&url, &[]).await?.json()?["agent"]["connectedTo"].is_string())
}

/// Waits until it is connected, or is not.
async fn until_connected(client: &Client, gateway: &Extra, wanted: bool) -> Result<Duration> {
    let began = Instant::now();
    // One that does not answer is neither.
    while is_connected(client, gateway).await.ok() != Some(wanted) {
        if began.elapsed() > SOON {
            bail!("connected: not {wanted} within {SOON:?}: {}", gateway.log());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(began.elapsed())
}

#[tokio::test]
async fn one_key_has_one_name_and_a_revoked_one_none() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let (client, dir) = (Client::new(None)?, tempfile::tempdir()?);
    let at = |name: &str| dir.path().join(name);
    let gateway = |name: &str| Extra::new(&federation, "gateway-eu-west", "gateway", name, &at(name));
    let nodes = federation.data_dir().join("nodes");
    let mint = |config: &Path| -> Result<String> {
        let output = std::process::Command::new(federation.binary())
            .args(["agent", "mint-token", "--config"])
            .arg(config)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let first_agent = nodes.join("agent-eu-west/config.toml");
    // A second agent of the region.
    let agent = Extra::new(&federation, "agent-eu-west", "agent", "agent-2", &at("agent-2"))?;
    let token = federation.ok(&["token", "create", "--join", "agent", "--region", "eu-west"])?;
    let _agent = agent.start(&token)?;
    let joined = agent.data_dir.clone();
    crate::until("the second agent has joined", SOON, || Ok(joined.join("pki/region/chain.pem").exists()))
        .await
        .with_context(|| agent.log())?;

    // One token and key join once.
    let (token, first) = (mint(&first_agent)?, gateway("extra-1")?);
    let _first = first.start(&token)?;
    until_connected(&client, &first, true).await?;
    for name in ["extra-2", "extra-3"] {
        let thief = gateway(name)?;
        thief.with_key_of(&first.data_dir)?;
        thief.refused(&[], &token, "used up").await?;
        thief.refused(&[], &mint(&first_agent)?, "this key joined already, as extra-1").await?;
    }
    // At another agent it may have another name; that agent does not know it.
    let elsewhere = gateway("extra-5")?;
    elsewhere.set("agents", vec![agent.at("federation")?])?;
    elsewhere.set("enrolment", vec![agent.at("enrolment")?])?;
    elsewhere.with_key_of(&first.data_dir)?;
    let _elsewhere = elsewhere.start(&mint(&agent.config)?)?;
    until_connected(&client, &elsewhere, true).await?;

    // Revoked by name, it loses the key, also under the other names of that key, at every agent.
    let revoked = federation.cli(&["member", "revoke", "extra-1.gateway.eu-west.hanse.internal"])?;
    ensure!(revoked.code == 0 && revoked.stderr.contains("by key: sha256:"), "{revoked:?}");
    let cut = until_connected(&client, &first, false).await?;
    let also = until_connected(&client, &elsewhere, false).await?;
    eprintln!("cut off after {cut:?}, and under its other name {also:?} later");
    let fourth = gateway("extra-4")?;
    fourth.with_key_of(&first.data_dir)?;
    fourth.refused(&[], &mint(&first_agent)?, "this key is revoked").await?;
    fourth.set("enrolment", vec![agent.at("enrolment")?])?;
    fourth.refused(&[], &mint(&agent.config)?, "this key is revoked").await?;
    // A gateway with a key of its own is unaffected.
    let honest = gateway("extra-6")?;
    let _honest = honest.start(&mint(&first_agent)?)?;
    until_connected(&client, &honest, true).await?;
    Ok(())
}

/// Its agent is frozen when it is revoked, so that the control node knows the name alone; the agent says the key later.
#[tokio::test]
async fn a_key_that_was_not_known_is_refused_when_its_agent_reports_it() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let gateway = "gateway-eu-west.gateway.eu-west.hanse.internal";
    federation.ok(&[
        "dev",
        "kill",
        "agent-eu-west",
        "--data-dir",
        &federation.data_dir().display().to_string(),
    ])?;
    // A control node that has restarted knows nothing of what agents said.
    let data_dir = federation.data_dir().display().to_string();
    federation.ok(&["dev", "kill", "cp-1", "--data-dir", &data_dir])?;
    federation.ok(&["dev", "start", "cp-1", "--data-dir", &data_dir])?;
    let revoked = federation.cli(&["member", "revoke", gateway])?;
    ensure!(revoked.code == 0 && revoked.stderr.contains("by name only"), "{revoked:?}");
    federation.ok(&["dev", "start", "agent-eu-west", "--data-dir", &data_dir])?;
    crate::until("the key is refused with the name", SOON, || {
        let members: Value = serde_json::from_str(&federation.ok(&["member", "list", "-o", "json"])?)?;
        let items = members["items"].as_array().context("items")?;
        let revoked = items.iter().find(|member| member["identity"] == gateway).context("it is listed")?;
        Ok(revoked["revokedKeys"].as_array().is_some_and(|keys| keys.len() == 1))
    })
    .await
}

/// What a federation's status says, asked by its operator.
fn status(federation: &Federation) -> Result<Value> {
    Ok(serde_json::from_str(&federation.ok(&["status", "-o", "json"])?)?)
}

/// The names of the control nodes that vote.
fn voters(status: &Value) -> Vec<String> {
    let nodes = status["nodes"].as_array().into_iter().flatten();
    let voting = nodes.filter(|node| node["role"] != "learner");
    let mut names: Vec<String> = voting.filter_map(|node| node["name"].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_control_node_that_runs_keeps_its_seat() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "3", "--regions", "1"])?;
    let dir = tempfile::tempdir()?;
    let extra = |name: &str, at: &str| Extra::new(&federation, name, "server", name, &dir.path().join(at));
    let config: toml::Table =
        fs::read_to_string(federation.data_dir().join("nodes/cp-1/config.toml"))?.parse()?;
    let via = config["listen"]["enrolment"].as_str().context("enrolment")?.to_owned();
    let join = ["join", "--via", &via];
    let token = |kind: &[&str]| federation.ok(&[&["token", "create", "--join", "server"], kind].concat());
    let leader = status(&federation)?["leader"].as_str().context("a leader")?.to_owned();
    ensure!(voters(&status(&federation)?) == ["cp-1", "cp-2", "cp-3"]);

    // Every write is acknowledged while the attack runs.
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let writing = {
        let (operator, stop, written) = (federation.operator(), stop.clone(), written.clone());
        tokio::task::spawn_blocking(move || -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let number = written.load(Ordering::Relaxed);
                let plan = format!("kind: Plan\nname: seat\nspec: {{displayName: \"{number}\"}}\n");
                let ran = operator.run(&["apply", "-f", "-"], &plan, &[])?;
                ensure!(ran.code == 0, "a write failed beside the attack: {ran:?}");
                written.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    };
    for name in ["cp-1", "cp-2", "cp-3"] {
        let thief = extra(name, &format!("thief-of-{name}"))?;
        let why = if name == leader { "leads" } else { "runs" };
        thief.refused(&join, &token(&[])?, why).await?;
        thief.refused(&join, &token(&["--replace"])?, why).await?;
    }
    extra(&leader, "thief-by-force")?.refused(&join, &token(&["--force"])?, "leads").await?;
    stop.store(true, Ordering::Relaxed);
    writing.await??;
    ensure!(written.load(Ordering::Relaxed) > 0, "nothing was written beside the attack");
    ensure!(voters(&status(&federation)?) == ["cp-1", "cp-2", "cp-3"]);
    let members: Value = serde_json::from_str(&federation.ok(&["member", "list", "-o", "json"])?)?;
    let keys = members["items"].as_array().context("items")?.iter();
    let servers = keys.filter(|member| member["role"] == "server" && member["key"].is_string());
    ensure!(servers.count() == 3, "founders have keys too: {members}");

    // A node that is gone makes place for one with a token that says so.
    let gone = if leader == "cp-3" { "cp-2" } else { "cp-3" };
    let data_dir = federation.data_dir().display().to_string();
    federation.ok(&["dev", "kill", gone, "--data-dir", &data_dir])?;
    let (fresh, began) = (extra(gone, "fresh")?, Instant::now());
    // It waits until the old one, which was heard a moment ago, is gone.
    let (joined, said) = fresh.run(&join, &token(&["--replace"])?).await?;
    ensure!(joined, "{said}");
    ensure!(began.elapsed() + Duration::from_secs(1) > GONE_AFTER, "it was replaced too soon");
    fresh.refused(&join, &token(&[])?, "").await.context("its directory is in use")?;
    let _fresh = fresh.start("")?;
    let raft = fresh.at("raft")?;
    crate::until("the fresh node votes in the old one's place", SOON * 3, || {
        let log = fresh.log();
        Ok(log.contains("joined the control plane") && voters(&status(&federation)?).len() == 3)
    })
    .await
    .with_context(|| format!("{raft}: {}", fresh.log()))?;
    federation.ok(&["token", "create", "after"])?;
    Ok(())
}
