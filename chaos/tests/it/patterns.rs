//! The arrangements of `deploy/patterns`, as `hanse dev --pattern N` runs them: each keeps its promise.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{
    Client, Federation,
    load::{Load, LoadOptions, Target},
    nginx::Nginx,
};
use http::Method;
use nix::sys::signal::Signal;
use serde_json::Value;

const PATH: &str = "/petshop/pets";
/// Half of them may be sent twice, half not.
const LOAD: LoadOptions = LoadOptions { per_second: 100, timeout: Duration::from_secs(5) };
/// What has to happen takes a second or two; a machine that does more takes longer.
const WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Which host carries which roles.
fn carries(federation: &Federation, expected: &[(&str, &[&str])]) -> Result<()> {
    let mut hosts = BTreeMap::<String, BTreeSet<String>>::new();
    for process in federation.processes()? {
        if let Some(host) = process.host {
            ensure!(process.up, "{} of {host} is down", process.name);
            ensure!(hosts.entry(host.clone()).or_default().insert(process.role), "{host} has a role twice");
        }
    }
    let expected: BTreeMap<String, BTreeSet<String>> = expected
        .iter()
        .map(|(host, roles)| ((*host).to_owned(), roles.iter().map(|role| (*role).to_owned()).collect()))
        .collect();
    ensure!(hosts == expected, "{hosts:?} are not {expected:?}");
    Ok(())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    while !holds().await? {
        ensure!(Instant::now() < deadline, "{what}: not within {WITHIN:?}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Waits for so many more good answers of a target.
async fn more(load: &Load, target: &str, count: usize) -> Result<()> {
    let before = load.answered(target);
    until("more answers", async || Ok(load.answered(target) >= before + count)).await
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Publishes the shop under another context, and returns without waiting for any gateway.
fn publish(federation: &Federation, name: &str, environment: &str) -> Result<()> {
    let document = federation.data_dir().join("examples/petshop.yaml");
    let upstream = federation.process("upstream")?.http.context("the upstream's address")?;
    let (document, context) = (document.to_string_lossy(), format!("/{name}"));
    let options = ["--context", &context, "--open", "--publish-to", environment, "--upstream", &upstream];
    federation.ok(&[&["import", "openapi", &document, "--as", name], &options[..]].concat()).map(drop)
}

/// Pattern 1. Both hosts are killed in turn, with all that they carry, while clients call through a balancer.
#[tokio::test]
async fn either_host_of_a_pair_is_lost_with_no_failed_call() -> Result<()> {
    let federation = Federation::start_with_example(&["--pattern", "1"], &[])?;
    let all = ["server", "agent", "gateway", "dns"];
    carries(&federation, &[("host-1", &all), ("host-2", &all), ("witness", &["server"])])?;
    let urls: BTreeMap<String, String> = federation.gateways()?.into_iter().collect();
    let gateways: Vec<_> = urls.values().map(|url| url.trim_start_matches("http://").to_owned()).collect();
    let dir = tempfile::tempdir()?;
    let balancer = Nginx::balancer(dir.path(), free_address()?, &gateways).await?;
    let client = Client::new(None)?;

    let url = format!("{}{PATH}", balancer.url());
    let post = Target { method: Method::POST, ..Target::echoing("POST", &url) };
    let load = Load::start(vec![Target::echoing("GET", &url), post], LOAD)?;
    let mut kills = Vec::new();
    for (host, other) in [("host-1", "gateway-2"), ("host-2", "gateway-1")] {
        more(&load, "GET", 50).await?;
        let began = Instant::now();
        federation.dev(&["kill", host])?;
        kills.push((began, Instant::now()));
        more(&load, "GET", 50).await?;
        // The other host and the witness are a quorum, and what they decide is served.
        let name = format!("without-{host}");
        publish(&federation, &name, "production")?;
        let changed = format!("{}/{name}/pets", urls[other]);
        until("a change without a host", async || Ok(client.get(&changed, &[]).await?.status == 200)).await?;
        federation.dev(&["start", host])?;
    }
    more(&load, "GET", 50).await?;

    let ledger = tokio::task::spawn_blocking(|| load.stop()).await??;
    let (mut lost, mut late) = (Vec::new(), Vec::new());
    for entry in ledger.failures() {
        let under_way = kills.iter().any(|(from, to)| entry.sent <= *to && entry.finished >= *from);
        let is_excused = entry.target == "POST" && under_way;
        if is_excused { lost.push(entry) } else { late.push(entry) }
    }
    ensure!(late.is_empty(), "{} calls failed: {:?}", late.len(), late.first());
    eprintln!(
        "{} calls, of which {} failed: POSTs that were under way when their gateway was killed, and that nobody may send again",
        ledger.entries().len(),
        lost.len()
    );
    Ok(())
}

/// Where the region's live and ready gateways are, as one of its agents says.
async fn discovered(client: &Client, agent: &str) -> Result<BTreeSet<String>> {
    let page = client.get(&format!("{agent}/region"), &[]).await?;
    let page: Value = serde_json::from_slice(&page.body)?;
    let agents = page["agents"].as_array().context("agents")?.iter();
    let gateways = agents.flat_map(|agent| agent["gateways"].as_array().into_iter().flatten());
    let serving = gateways.filter(|gateway| gateway["live"] == true && gateway["ready"] == true);
    let urls = serving.flat_map(|gateway| gateway["urls"].as_array().into_iter().flatten());
    Ok(urls.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Pattern 2. A client that asks an agent where gateways are; two come and two go, and no process is restarted or told.
#[tokio::test]
async fn gateways_come_and_go_under_load() -> Result<()> {
    let variables = [("HANSE_GATEWAY_DRAIN_ANNOUNCE_MS", "3000")];
    let federation = Federation::start_with_example(&["--pattern", "2"], &variables)?;
    carries(
        &federation,
        &[
            ("control-1", &["server", "agent", "dns"]),
            ("control-2", &["server", "agent"]),
            ("control-3", &["server"]),
            ("gateway-1", &["gateway"]),
            ("gateway-2", &["gateway"]),
        ],
    )?;
    let agent = federation.process("agent-1")?.admin.context("the agent's admin address")?;
    let (client, pids) = (Client::new(None)?, pids(&federation)?);
    let targets = |urls: &BTreeSet<String>| {
        urls.iter().map(|url| Target::echoing(url, format!("{url}{PATH}"))).collect::<Vec<_>>()
    };
    let mut known = BTreeSet::new();
    until("both gateways are known", async || {
        known = discovered(&client, &agent).await?;
        Ok(known.len() == 2)
    })
    .await?;
    let load = Load::start(targets(&known), LOAD)?;
    let mut follow = async |what: &str, wanted: usize| {
        until(what, async || {
            let found = discovered(&client, &agent).await?;
            if found != known {
                load.replace(targets(&found))?;
                known = found;
            }
            Ok(known.len() == wanted)
        })
        .await?;
        for url in &known {
            more(&load, url, 20).await?;
        }
        anyhow::Ok(known.clone())
    };
    follow("both serve", 2).await?;
    for count in [3, 4] {
        federation.dev(&["add", "gateway", "--region", "eu-west"])?;
        follow("a gateway came", count).await?;
    }
    // One that was there from the start goes as well as one that came.
    for (name, count) in [("gateway-1", 3), ("gateway-eu-west-2", 2)] {
        federation.signal(name, Signal::SIGTERM)?;
        follow("a gateway went", count).await?;
        until("it stops by itself", async || Ok(!federation.process(name)?.up)).await?;
    }
    let ledger = tokio::task::spawn_blocking(|| load.stop()).await??;
    let summary = ledger.verdict(&[])?;
    ensure!(summary.sent > 200, "{summary:?}");
    let stayed = |name: &str| federation.process(name).map(|now| now.pid == pids[name]);
    for name in pids.keys().filter(|name| *name != "gateway-1") {
        ensure!(stayed(name)?, "{name} was restarted");
    }
    Ok(())
}

fn pids(federation: &Federation) -> Result<BTreeMap<String, i32>> {
    Ok(federation.processes()?.into_iter().map(|process| (process.name, process.pid)).collect())
}

/// Pattern 4. Each internal Api is refused from outside, whatever the client says; both kinds are served inside.
#[tokio::test]
async fn internal_apis_are_refused_from_outside() -> Result<()> {
    let federation = Federation::start_with_example(&["--pattern", "4"], &[])?;
    carries(
        &federation,
        &[
            ("control-1", &["server", "agent"]),
            ("control-2", &["server"]),
            ("control-3", &["server"]),
            ("dmz", &["gateway", "dns"]),
            ("inside", &["gateway"]),
        ],
    )?;
    let internal: Vec<String> = (1..=5).map(|number| format!("ledger-{number}")).collect();
    internal.iter().try_for_each(|name| publish(&federation, name, "internal"))?;
    federation.ok(&["wait", "--revision", "latest", "--timeout", "30s"])?;
    let urls: BTreeMap<String, String> = federation.gateways()?.into_iter().collect();
    let (outside, inside) = (&urls["gateway-external"], &urls["gateway-internal"]);
    let client = Client::new(None)?;
    let status = async |url: &str, host: &str| anyhow::Ok(client.get(url, &[("host", host)]).await?.status);
    for name in &internal {
        let path = format!("/{name}/pets");
        ensure!(status(&format!("{inside}{path}"), "internal.localhost").await? == 200, "{name} inside");
        for host in
            ["internal.localhost", "INTERNAL.LOCALHOST.", "internal.localhost:80", "localhost", "a.example"]
        {
            let found = status(&format!("{outside}{path}"), host).await?;
            ensure!(found == 404, "{name} from outside as {host}: {found}");
        }
    }
    ensure!(status(&format!("{outside}{PATH}"), "localhost").await? == 200, "the external Api outside");
    ensure!(status(&format!("{inside}{PATH}"), "localhost").await? == 200, "the external Api inside");
    Ok(())
}
