//! What gateways do about revoked agents, and about agents that a revoked control node certified.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Client, Federation};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// What is promised.
const WITHIN: Duration = Duration::from_secs(1);
/// For what may take longer: reconnecting waits up to five seconds, an answer up to fifteen.
const SOON: Duration = Duration::from_secs(60);
const GATEWAY: &str = "gateway-eu-west";

/// Runs `hanse dev`'s own commands.
fn dev(federation: &Federation, arguments: &[&str]) -> Result<()> {
    let data = federation.data_dir();
    let data = data.to_str().context("a plain path")?;
    federation.ok(&[&["dev"], arguments, &["--data-dir", data]].concat()).map(drop)
}

/// The configuration of a node of `hanse dev`, and its file.
fn config(federation: &Federation, node: &str) -> Result<(toml::Table, PathBuf)> {
    let path = federation.data_dir().join("nodes").join(node).join("config.toml");
    Ok((fs::read_to_string(&path)?.parse()?, path))
}

/// One face's address of a node of `hanse dev`.
fn address(federation: &Federation, node: &str, face: &str) -> Result<String> {
    let (config, _) = config(federation, node)?;
    Ok(config["listen"][face].as_str().context("an address")?.to_owned())
}

/// A second agent of `eu-west`, which knows the gateways that the first admitted.
struct Other {
    config: PathBuf,
    data: PathBuf,
    federation: String,
}

impl Other {
    /// It has joined nothing yet, and will at the first of these control nodes.
    fn new(federation: &Federation, enrolment: &[&str]) -> Result<Self> {
        let home = federation.data_dir().join("other-agent");
        let (mut config, _) = config(federation, "agent-eu-west")?;
        let data = home.join("data");
        let known = PathBuf::from(config["data_dir"].as_str().context("a path")?).join("gateways");
        fs::create_dir_all(data.join("gateways"))?;
        for entry in fs::read_dir(known)? {
            let entry = entry?;
            fs::copy(entry.path(), data.join("gateways").join(entry.file_name()))?;
        }
        let token = federation.ok(&["token", "create", "--join", "agent", "--region", "eu-west"])?;
        fs::write(home.join("token"), token)?;
        // Free a moment ago: the address must be known before it runs.
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let enrolment = enrolment.iter().map(|node| address(federation, node, "enrolment"));
        config.insert("name".into(), "other".into());
        config.insert("data_dir".into(), data.display().to_string().into());
        config.insert("join_token_file".into(), home.join("token").display().to_string().into());
        config.insert("enrolment".into(), enrolment.collect::<Result<Vec<_>>>()?.into());
        let any = "127.0.0.1:0".to_owned();
        let faces = [("federation", listen.clone()), ("enrolment", any.clone()), ("admin", any)];
        let faces = faces.map(|(face, address)| (face.to_owned(), address.into()));
        config.insert("listen".into(), toml::Table::from_iter(faces).into());
        let path = home.join("agent.toml");
        fs::write(&path, config.to_string())?;
        Ok(Self { config: path, data, federation: listen })
    }

    fn start(&self, federation: &Federation) -> Result<Child> {
        let log = fs::File::create(self.config.with_extension("log"))?;
        Ok(Command::new(federation.binary())
            .args(["agent", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?)
    }

    /// Whether a peer is connected to it.
    fn has_company(&self) -> Result<bool> {
        let port = self.federation.rsplit(':').next().context("a port")?.parse::<u16>()?;
        let (listening, established) = (format!(":{port:04X}"), "01");
        Ok(fs::read_to_string("/proc/net/tcp")?.lines().any(|line| {
            let mut fields = line.split_whitespace();
            fields.nth(1).is_some_and(|local| local.ends_with(&listening))
                && fields.nth(1) == Some(established)
        }))
    }

    /// Its regional intermediate, as it is on disk.
    fn authority(&self) -> Vec<u8> {
        fs::read(self.data.join("pki/region/chain.pem")).unwrap_or_default()
    }
}

/// The gateway, given these agents and started anew.
fn restart_gateway(federation: &Federation, agents: &[&str]) -> Result<()> {
    let (mut config, path) = config(federation, GATEWAY)?;
    config.insert("agents".into(), agents.to_vec().into());
    dev(federation, &["kill", GATEWAY])?;
    fs::write(path, config.to_string())?;
    dev(federation, &["start", GATEWAY])
}

/// How the gateway's link to its agent stands.
async fn link(federation: &Federation, client: &Client) -> Result<Value> {
    let admin = federation.process(GATEWAY)?.admin.context("an admin port")?;
    Ok(client.get(&format!("{admin}/config"), &[]).await?.json()?["agent"].clone())
}

/// Waits until the link is as wanted; how long that took.
async fn until_link(
    federation: &Federation,
    client: &Client,
    what: &str,
    within: Duration,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let link = link(federation, client).await;
        match link {
            Ok(link) if wanted(&link) => return Ok(began.elapsed()),
            last => ensure!(began.elapsed() < within, "{what}: not within {within:?}; last: {last:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_gateway_leaves_a_revoked_agent_within_a_second_and_for_good() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let client = Client::new(None)?;
    let first = address(&federation, "agent-eu-west", "federation")?;
    let other = Other::new(&federation, &["cp-1"])?;
    restart_gateway(&federation, &[&first, &other.federation])?;
    let follows_first = |link: &Value| link["connectedTo"] == first.as_str();
    until_link(&federation, &client, "it follows the agent that runs", SOON, follows_first).await?;
    let running = other.start(&federation)?;
    crate::until("it also hears the other one", SOON, || other.has_company()).await?;

    federation.ok(&["member", "revoke", "agent-eu-west.agent.eu-west.hanse.internal"])?;
    let left = |link: &Value| !follows_first(link);
    let took = until_link(&federation, &client, "it leaves", WITHIN, left).await?;
    crate::say(format!("left {took:?} after the command returned"));
    let follows_other = |link: &Value| link["connectedTo"] == other.federation.as_str();
    until_link(&federation, &client, "it follows the other one", SOON, follows_other).await?;

    // Only the agent that is revoked is left, and the gateway remembers.
    drop(running);
    dev(&federation, &["kill", "cp-1"])?;
    restart_gateway(&federation, &[&first, &other.federation])?;
    let refuses =
        |link: &Value| link["lastFailure"].as_str().is_some_and(|why| why.contains("it is revoked"));
    until_link(&federation, &client, "it refuses the first", SOON, refuses).await?;
    ensure!(!follows_first(&link(&federation, &client).await?));
    Ok(())
}

#[tokio::test]
async fn agents_whom_a_revoked_control_node_certified_are_certified_anew() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "3", "--regions", "1"])?;
    let client = Client::new(None)?;
    // The second signs its authority: what the first founded the control plane with is not recorded.
    let other = Other::new(&federation, &["cp-2", "cp-3"])?;
    let _running = other.start(&federation)?;
    restart_gateway(&federation, &[&other.federation])?;
    let follows = |link: &Value| link["connectedTo"] == other.federation.as_str();
    until_link(&federation, &client, "it follows the agent", SOON, follows).await?;
    let certified = other.authority();
    ensure!(!certified.is_empty());

    federation.ok(&["member", "revoke", "cp-2.server.control.hanse.internal"])?;
    crate::until("it is certified anew", SOON, || Ok(other.authority() != certified)).await?;
    crate::until("its log says so", SOON, || {
        let log = fs::read_to_string(other.config.with_extension("log"))?;
        Ok(log.contains("renewed the authority over the region"))
    })
    .await?;
    // Whether or not it was cut off meanwhile, it comes back, also from nothing but its disk.
    restart_gateway(&federation, &[&other.federation])?;
    until_link(&federation, &client, "it follows the agent under its new certificate", SOON, follows).await?;
    crate::until("the gateway was told too", SOON, || {
        let kept = config(&federation, GATEWAY)?.0["data_dir"].as_str().map(PathBuf::from);
        let kept = fs::read(kept.context("a path")?.join("revoked.json"))?;
        let kept: Value = serde_json::from_slice(&kept)?;
        Ok(kept["identities"] == json!(["cp-2.server.control.hanse.internal"])
            && kept["authorities"].as_array().is_some_and(|keys| keys.len() == 1))
    })
    .await
}
