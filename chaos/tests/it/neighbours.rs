//! What an agent publishes for its region by itself: gateways serve it with the control plane dead, and after restarts.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{
    World, WorldOptions,
    process::{next_binary, until},
    spec,
};
use hanse_proto::{
    nested,
    runtime::{self, resource::Kind, security::Scheme},
};
use serde_json::{Value, json};

use crate::{eventually, open_api, say};

/// How soon a change of the source is served by a gateway.
const HELD_WITHIN: Duration = Duration::from_secs(1);
/// The same on a machine that other tests make busy. The median is held to [`HELD_WITHIN`].
const SOON: Duration = Duration::from_secs(20);
/// Changes without a control plane.
const CHANGES: usize = 20;

const SCOPE: &str = "local/eu-west/production/pods";
const ORIGIN: &str = "kind: Origin\nname: pods\nspec: {region: eu-west, environments: [production], organizations: [default], \
                      kinds: [Route, Upstream], holders: [agent-eu-west]}\n";

/// The file that is the wish of the source.
struct Source {
    file: PathBuf,
    upstream: String,
}

impl Source {
    fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir.join("pods"))?;
        Ok(Self { file: dir.join("pods/production.json"), upstream: String::new() })
    }

    /// Wishes for a Route with this context.
    fn wish(&self, context: &str) -> Result<()> {
        let authority = self.upstream.strip_prefix("http://").context("a plain URL")?;
        let (host, port) = authority.split_once(':').context("with a port")?;
        let endpoint =
            runtime::Endpoint { weight: 1, host: host.to_owned(), port: port.parse()?, ..Default::default() };
        let upstream = runtime::Upstream {
            organization: "default".to_owned(),
            name: "pods".to_owned(),
            endpoints: vec![endpoint],
            timeout_ms: 5_000,
            connect_timeout_ms: 1_000,
            ..Default::default()
        };
        let operation =
            runtime::Operation { method: "GET".to_owned(), path: "/now".to_owned(), ..Default::default() };
        let route = runtime::Route {
            organization: "default".to_owned(),
            binding: "pods".to_owned(),
            api: "pods".to_owned(),
            version: "1".to_owned(),
            api_revision: 1,
            context: context.to_owned(),
            operations: vec![operation],
            security: Some(runtime::Security { scheme: Some(Scheme::Open(runtime::Open {})) }),
            upstream: "upstream/default/pods".to_owned(),
            ..Default::default()
        };
        let resource = |key: &str, kind: Kind| {
            let resource = runtime::Resource { kind: Some(kind), requires: Vec::new() };
            json!({"key": key, "hex": hex::encode(nested::to_bytes(&resource))})
        };
        let resources = [
            resource("upstream/default/pods", Kind::Upstream(upstream)),
            resource("route/default/pods", Kind::Route(route)),
        ];
        let written = self.file.with_extension("new");
        fs::write(&written, json!({"term": 1, "resources": resources}).to_string())?;
        fs::rename(written, &self.file)?;
        Ok(())
    }
}

/// The revision of the local scope on the disk of the gateway.
async fn held(world: &World) -> Result<Option<u64>> {
    let url = format!("http://{}/config", spec::at(world.address("gateway-eu-west")?, spec::GATEWAY_ADMIN));
    let page: Value = serde_json::from_slice(&world.client().get(&url, &[]).await?.body)?;
    Ok(page["stored"][SCOPE].as_u64())
}

/// Waits until the gateway answers below this context.
async fn until_served(world: &World, context: &str) -> Result<Duration> {
    let started = Instant::now();
    let url = format!("{}{context}/now", world.url("gateway-eu-west")?);
    eventually(world.client(), &url, &[], SOON, |answer| answer.status == 200).await?;
    Ok(started.elapsed())
}

#[tokio::test]
async fn what_an_agent_publishes_needs_no_control_plane() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut source = Source::new(dir.path())?;
    let mut world = World::set_up(WorldOptions {
        control_nodes: 1,
        regions: vec!["eu-west".into()],
        test_origin: Some(dir.path().to_owned()),
        // The test release is a dev build, whatever the binary under test is.
        binary: Some(next_binary()?),
        ..WorldOptions::default()
    })
    .await?;
    source.upstream = world.url("upstream")?;
    let outcome = story(&mut world, &source).await;
    outcome.inspect_err(|_| say(world.logs()))
}

async fn story(world: &mut World, source: &Source) -> Result<()> {
    // Without an Origin the source is not listened to.
    source.wish("/before")?;
    tokio::time::sleep(HELD_WITHIN).await;
    ensure!(held(world).await?.is_none(), "no Origin names the agent");
    world.operator().apply(ORIGIN)?;
    until_served(world, "/before").await?;
    loses_an_equal_place(world, source).await?;

    world.kill("cp-1")?;
    let mut took = Vec::new();
    for change in 0..CHANGES {
        let context = format!("/pods-{change}");
        source.wish(&context)?;
        took.push(until_served(world, &context).await?);
    }
    took.sort_unstable();
    let median = took[took.len() / 2];
    say(format!("a change is served after {median:?}, at most {:?}", took[took.len() - 1]));
    ensure!(median <= HELD_WITHIN, "{median:?}");

    // Nothing but what the gateway and the agent have on their disks.
    world.kill("agent-eu-west")?;
    world.kill("gateway-eu-west")?;
    world.start("gateway-eu-west").await?;
    until_served(world, &format!("/pods-{}", CHANGES - 1)).await?;
    world.start("agent-eu-west").await?;
    // The agent is another process, and takes the scope over.
    source.wish("/after")?;
    until_served(world, "/after").await?;

    // The Origin goes, and takes the scope with it.
    world.start("cp-1").await?;
    world.operator().ok(&["delete", "origin", "pods"])?;
    until("the scope is gone", SOON, || async {
        ensure!(held(world).await?.is_none());
        Ok(())
    })
    .await?;
    let url = format!("{}/after/now", world.url("gateway-eu-west")?);
    eventually(world.client(), &url, &[], SOON, |answer| answer.status == 404).await.map(drop)
}

/// The control plane's Route has the place that the source wishes for: it answers, and the status names the one that does not.
async fn loses_an_equal_place(world: &World, source: &Source) -> Result<()> {
    let upstream = &source.upstream;
    world.operator().apply(&open_api("tick", upstream, 0))?;
    source.wish("/tick")?;
    let wanted = "Origin pods: route/default/pods context any host/tick is served by route/default/tick";
    until("the status names the Route that lost its place", SOON, || async {
        let status = world.operator().ok(&["status"])?;
        ensure!(status.contains(wanted), "{status}");
        Ok(())
    })
    .await?;
    // `now-0` is an operation of the control plane's Api, and `now` one of the source's.
    let status = async |path: &str| {
        let url = format!("{}/tick/{path}", world.url("gateway-eu-west")?);
        anyhow::Ok(world.client().get(&url, &[]).await?.status.as_u16())
    };
    ensure!(
        (status("now-0").await?, status("now").await?) == (200, 404),
        "the control plane's Route answers"
    );
    Ok(())
}
