//! Manifests in a repository: owners, and plans that are carried out later.

use anyhow::{Result, ensure};
use hanse_chaos::Federation;

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
