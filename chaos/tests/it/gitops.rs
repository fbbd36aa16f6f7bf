//! Manifests in a repository: owners, and plans that are carried out later.

use anyhow::{Context as _, Result, ensure};
use hanse_chaos::Federation;

use crate::open_api;

const SHOP: &str = "{kind: Plan, name: small, spec: {rate: {requests: 10, per: minute}}}\n---\n{kind: Application, name: web}\n";

#[test]
fn an_owner_keeps_to_its_resources_and_a_plan_to_what_it_rests_on() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let run = |arguments: &[&str], manifests: &str| federation.cli_with_input(arguments, manifests);
    let owned = ["apply", "-f", "-", "--owner", "shop", "--prune"];
    let there =
        |kind: &str, name: &str| Ok::<_, anyhow::Error>(federation.cli(&["get", kind, name])?.code == 0);

    // A resource of no owner is left alone until it is adopted.
    federation.apply("{kind: Application, name: web}\n---\n{kind: Application, name: other}")?;
    let refused = run(&owned, SHOP)?;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("Application default/web of no owner"), "{refused:?}");
    ensure!(!there("plan", "small")?, "nothing is half done");
    let adopted = run(&[&owned[..], &["--adopt"]].concat(), SHOP)?;
    assert_eq!(adopted.code, 0, "{adopted:?}");

    // What leaves the manifests goes, of every kind, and nothing of others does.
    let pruned = run(&owned, "{kind: Application, name: web}")?;
    assert!(pruned.stdout.contains("Plan default/small deleted"), "{pruned:?}");
    ensure!(there("application", "other")? && !there("plan", "small")?);
    let taken = run(&["apply", "-f", "-", "--owner", "billing"], "{kind: Application, name: web}")?;
    assert!(taken.code == 5 && taken.stderr.contains("of shop"), "{taken:?}");

    // A plan is carried out as it was shown.
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("plan.json");
    let file = file.to_str().ok_or_else(|| anyhow::anyhow!("a plain path"))?;
    let plan = ["plan", "-f", "-", "--owner", "shop", "--prune", "-o", file];
    let planned = run(&plan, SHOP)?;
    assert!(planned.code == 0 && planned.stdout.contains("Plan default/small created"), "{planned:?}");
    ensure!(!there("plan", "small")?, "a plan changes nothing");
    federation.apply("{kind: Application, name: web, labels: {hanse-owner: shop, by: hand}}")?;
    let overtaken = run(&["apply", "--plan", file], "")?;
    assert_eq!(overtaken.code, 5, "{overtaken:?}");
    assert!(
        overtaken.stderr.contains("Application default/web") && overtaken.stderr.contains("plan again"),
        "{overtaken:?}"
    );
    ensure!(!there("plan", "small")?);
    assert_eq!(run(&plan, SHOP)?.code, 0);
    federation.ok(&["apply", "--plan", file])?;
    ensure!(there("plan", "small")?);
    let twice = run(&["apply", "--plan", file], "")?;
    assert_eq!(twice.code, 5, "{twice:?}");

    std::fs::write(file, std::fs::read_to_string(file)?.replace("\"generation\": 1", "\"generation\": 7"))?;
    let foreign = run(&["apply", "--plan", file], "")?;
    assert!(foreign.code == 5 && foreign.stderr.contains("another federation"), "{foreign:?}");
    Ok(())
}

#[test]
fn a_plan_does_not_move_a_binding_that_it_did_not_show() -> Result<()> {
    const BINDING: &str = "{kind: Binding, name: orders, spec: {api: orders, environment: production, upstream: orders, revision: NUMBER}}";
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let upstream = "http://127.0.0.1:9";
    federation.apply(&open_api("orders", upstream, 1))?;
    federation.apply(&BINDING.replace("NUMBER", "1"))?;
    let status = |kind: &str, field: &str| {
        let shown = federation.ok(&["get", kind, "orders", "-o", "json"])?;
        Ok::<_, anyhow::Error>(serde_json::from_str::<serde_json::Value>(&shown)?["status"][field].clone())
    };

    let dir = tempfile::tempdir()?;
    let file = dir.path().join("plan.json");
    let file = file.to_str().context("a plain path")?;
    let second = open_api("orders", upstream, 2);
    let (api, _rest) = second.split_once("---").context("it has several documents")?;
    let plan = || federation.cli_with_input(&["plan", "-f", "-", "-o", file], api);
    let planned = plan()?;
    assert_eq!(planned.code, 0, "{planned:?}");
    assert!(!planned.stdout.contains("Binding"), "the Binding stays at r1: {planned:?}");

    // Carried out now, the plan would move production.
    federation.apply(&BINDING.replace("NUMBER", "latest"))?;
    let before = federation.ok(&["get", "apis,bindings", "-o", "json"])?;
    let overtaken = federation.cli(&["apply", "--plan", file])?;
    assert_eq!(overtaken.code, 5, "{overtaken:?}");
    let said = &overtaken.stderr;
    assert!(said.contains("nothing was changed") && said.contains("hint: plan again: hanse plan"), "{said}");
    assert_eq!(federation.ok(&["get", "apis,bindings", "-o", "json"])?, before);
    assert_eq!((status("api", "latestRevision")?, status("binding", "serving")?), (1.into(), 1.into()));

    let planned = plan()?;
    assert!(planned.stdout.contains("Binding default/orders moved"), "{planned:?}");
    federation.ok(&["apply", "--plan", file])?;
    assert_eq!((status("api", "latestRevision")?, status("binding", "serving")?), (2.into(), 2.into()));
    Ok(())
}
