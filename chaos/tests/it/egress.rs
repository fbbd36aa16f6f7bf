//! Where gateways connect for an Environment: by address, by name, and by a name that changes its address.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Answer, Placement, World, WorldOptions, netns, process::until, spec};

use crate::{open_api, say};

/// For a name to be looked up again, which a gateway does after a second, and for some checks in a row: on a loaded machine.
const SEEN_WITHIN: Duration = Duration::from_secs(20);
const GATEWAY: &str = "gateway-eu-west";

/// An Api like that of [`open_api`], whose endpoint is checked all the time.
fn checked_api(name: &str, upstream: &str) -> String {
    let check = "healthCheck: {path: /, interval: 200ms, timeout: 200ms, unhealthyAfter: 2, healthyAfter: 2}";
    let endpoint = format!("endpoints: [{{url: \"{upstream}\"}}]");
    open_api(name, upstream, 0).replace(&endpoint, &format!("{endpoint}, {check}"))
}

fn production(egress: &str) -> String {
    format!("kind: Environment\nname: production\nspec: {{regions: [eu-west], egress: {egress}}}\n")
}

async fn call(world: &World, api: &str) -> Result<Answer> {
    world.client().get(&format!("{}/{api}/now-0", world.url(GATEWAY)?), &[]).await
}

async fn served(world: &World, api: &str) -> Result<()> {
    let answer = call(world, api).await?;
    ensure!(answer.status == 200, "{api}: {answer:?}");
    Ok(())
}

async fn denied(world: &World, api: &str) -> Result<()> {
    let answer = call(world, api).await?;
    ensure!(answer.status == 502, "{api}: {answer:?}");
    ensure!(answer.json()?["type"] == "urn:hanse:problem:egress-denied", "{api}: {answer:?}");
    Ok(())
}

/// An apply that is refused; what it says.
fn refused(world: &World, manifests: &str) -> Result<String> {
    let ran = world.operator().run(&["apply", "-f", "-"], manifests, &[])?;
    ensure!(ran.code != 0, "it is accepted:\n{manifests}\n{ran:?}");
    Ok(ran.stderr)
}

/// A page of the gateway's admin port.
async fn page(world: &World, path: &str) -> Result<Answer> {
    let admin = spec::at(world.address(GATEWAY)?, spec::GATEWAY_ADMIN);
    world.client().get(&format!("http://{admin}{path}"), &[]).await
}

/// The gateway shows the endpoint of that URL so.
async fn stands(world: &World, url: &str, health: &str, check: &str) -> Result<()> {
    let page = page(world, "/upstreams").await?.json()?;
    let endpoints = page["endpoints"].as_array().into_iter().flatten();
    let endpoint = endpoints.into_iter().find(|one| one["url"] == url);
    let endpoint = endpoint.with_context(|| format!("no endpoint {url}: {page}"))?;
    let found = endpoint["lastCheck"].as_str().unwrap_or_default();
    ensure!(endpoint["health"] == health && found.contains(check), "{endpoint}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_connect_only_where_their_environment_lets_them() -> Result<()> {
    if let Some(missing) = netns::missing() {
        anyhow::bail!("{missing}");
    }
    let options = WorldOptions {
        placement: Placement::Namespaces,
        control_nodes: 1,
        regions: vec!["eu-west".into()],
        ..WorldOptions::default()
    };
    let world = World::set_up(options).await?;
    let outcome = every_part(&world).await;
    outcome.inspect_err(|_| say(world.logs()))
}

async fn every_part(world: &World) -> Result<()> {
    let (upstream, pid) = (world.url("upstream")?, world.process(GATEWAY)?.pid());
    let (address, own) = (world.address("upstream")?, world.address(GATEWAY)?);
    let names = |backend: &str| {
        let lines = format!("{backend} backend.test\n{own} gateway.test\n");
        world.network()?.name_hosts(GATEWAY, &lines)
    };
    names(&address.to_string())?;
    world.operator().apply(&open_api("by-address", &upstream, 0))?;
    let by_name = format!("http://backend.test:{}", spec::UPSTREAM);
    world.operator().apply(&open_api("by-name", &by_name, 0))?;
    served(world, "by-address").await?;
    served(world, "by-name").await?;

    link_local_addresses_are_refused(world)?;
    a_name_that_changes_its_address_is_judged_anew(world, &names, &address.to_string(), &by_name).await?;
    the_gateway_does_not_call_itself(world, own).await?;
    denied_at_once_and_allowed_again(world, &upstream).await?;
    checks_obey(world, &by_name).await?;

    ensure!(world.process(GATEWAY)?.pid() == pid, "the gateway was restarted");
    let metrics = page(world, "/metrics").await?;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let counted = "hanse_gateway_rejected_total{reason=\"egress-denied\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(counted)).context("no such metric")?;
    ensure!(count.parse::<f64>()? >= 5.0, "{count}");
    Ok(())
}

/// By default, and before anything is made of them.
fn link_local_addresses_are_refused(world: &World) -> Result<()> {
    for url in ["http://169.254.169.254", "http://[fe80::1]:80", "http://[64:ff9b::a9fe:a9fe]"] {
        let told = refused(world, &open_api("metadata", url, 0))?;
        ensure!(told.contains("Upstream default/metadata: spec.endpoints[0].url"), "{told}");
        ensure!(told.contains("egress denies") && told.contains("spec.egress of Environment"), "{told}");
    }
    Ok(())
}

/// The control plane cannot know where a name leads, and a gateway learns it with each connection. Checks make one each.
async fn a_name_that_changes_its_address_is_judged_anew(
    world: &World,
    names: &impl Fn(&str) -> Result<()>,
    address: &str,
    by_name: &str,
) -> Result<()> {
    let checked = format!("{by_name}/checked");
    world.operator().apply(&checked_api("checked", &checked))?;
    until("checks pass", SEEN_WITHIN, || stands(world, &checked, "healthy", "answered 200")).await?;
    names("169.254.169.254")?;
    until("the name leads where it may not", SEEN_WITHIN, || {
        stands(world, &checked, "unhealthy", "egress denies 169.254.169.254")
    })
    .await?;
    // An endpoint of its own, to which no connection is kept.
    world.operator().apply(&open_api("moved", &format!("{by_name}/moved"), 0))?;
    denied(world, "moved").await?;
    served(world, "by-address").await?;
    names(address)?;
    until("the name is back", SEEN_WITHIN, || stands(world, &checked, "healthy", "answered 200")).await?;
    served(world, "moved").await
}

/// Neither by address nor by name, at none of its ports.
async fn the_gateway_does_not_call_itself(world: &World, own: std::net::Ipv4Addr) -> Result<()> {
    for (number, host) in [own.to_string(), "gateway.test".to_owned()].into_iter().enumerate() {
        for port in [spec::GATEWAY_ADMIN, spec::HTTP] {
            let name = format!("own-{number}-{port}");
            world.operator().apply(&open_api(&name, &format!("http://{host}:{port}"), 0))?;
            denied(world, &name).await.with_context(|| format!("{host}:{port}"))?;
        }
    }
    Ok(())
}

/// What is in use is denied with a warning, at once, and without a restart allowed again.
async fn denied_at_once_and_allowed_again(world: &World, upstream: &str) -> Result<()> {
    served(world, "by-address").await?; // a connection is kept now
    let network = format!("{}/32", world.address("upstream")?);
    let ran = world.operator().run(
        &["apply", "-f", "-", "--wait=30s"],
        &production(&format!("{{deny: [{network}]}}")),
        &[],
    )?;
    ensure!(ran.code == 0, "{ran:?}");
    let said = format!("{}{}", ran.stdout, ran.stderr);
    ensure!(said.contains("by-address") && said.contains("cut off") && said.contains(upstream), "{said}");
    denied(world, "by-address").await?;
    denied(world, "by-name").await?;
    let told = refused(world, &open_api("another", upstream, 0))?;
    ensure!(told.contains(&format!("it is in {network}")), "{told}");
    // A longer network, or the same one no more.
    let outer = "{deny: [10.0.0.0/8], allow: [10.213.0.0/16]}";
    world.operator().apply(&production(outer))?;
    served(world, "by-address").await?;
    world.operator().apply(&production("{deny: [10.0.0.0/8]}"))?;
    denied(world, "by-address").await?;
    world.operator().apply(&production("{}"))?;
    served(world, "by-address").await?;
    served(world, "by-name").await
}

/// Checks are denied and allowed as requests are.
async fn checks_obey(world: &World, by_name: &str) -> Result<()> {
    let checked = format!("{by_name}/checked");
    world.operator().apply(&production("{deny: [10.0.0.0/8]}"))?;
    until("checks are denied", SEEN_WITHIN, || stands(world, &checked, "unhealthy", "egress-denied")).await?;
    denied(world, "checked").await?;
    world.operator().apply(&production("{}"))?;
    until("checks pass again", SEEN_WITHIN, || stands(world, &checked, "healthy", "answered 200")).await?;
    served(world, "checked").await
}
