//! An environment that is not named does not change: versions of an Api in two environments, promoted and rolled back.

use std::time::Duration;

use anyhow::{Context, Result};
use hanse_chaos::{Client, Federation};
use serde_json::Value;

use crate::eventually;

/// A description with one operation.
fn document(version: &str, path: &str) -> String {
    format!(
        r#"{{"openapi": "3.0.3", "info": {{"title": "orders", "version": "{version}"}}, "paths": {{"{path}": {{"get": {{}}}}}}}}"#
    )
}

struct Publisher {
    federation: Federation,
    client: Client,
    gateway: String,
    upstream: String,
    dir: tempfile::TempDir,
}

impl Publisher {
    fn start() -> Result<Self> {
        let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
        let gateway = federation.gateways()?.remove(0).1;
        let upstream = federation.process("upstream")?.http.context("the upstream has an address")?;
        Ok(Self { federation, client: Client::new(None)?, gateway, upstream, dir: tempfile::tempdir()? })
    }

    /// Imports version `version` with the upstream's path of that name as backend. The exit code and what is said.
    fn import(&self, version: &str, path: &str, further: &[&str]) -> Result<(i32, String)> {
        let file = self.dir.path().join(format!("{version}.json"));
        std::fs::write(&file, document(version, path))?;
        let file = file.to_str().context("a plain path")?;
        let upstream = format!("{}/{version}", self.upstream);
        let import = ["import", "openapi", file, "--as", "orders", "--context", "/orders", "--open"];
        let ran = self
            .federation
            .cli(&[&import[..], &["--upstream", &upstream, "--wait=30s"], further].concat())?;
        Ok((ran.code, ran.stderr))
    }

    /// Which backend an environment's calls of `path` reach: the status, and the path that the backend saw.
    async fn call(&self, environment: &str, path: &str, wanted: &str) -> Result<()> {
        let headers: &[(&str, &str)] =
            if environment == "sandbox" { &[("host", "sandbox.localhost")] } else { &[] };
        let url = format!("{}/orders{path}", self.gateway);
        let seen = |answer: &hanse_chaos::Answer| match answer.json() {
            Ok(said) if answer.status == 200 => said["path"] == wanted,
            _ => answer.status.as_str() == wanted,
        };
        eventually(&self.client, &url, headers, Duration::from_secs(10), seen).await?;
        Ok(())
    }

    fn serving(&self, environment: &str) -> Result<Value> {
        let name = format!("orders-{environment}");
        let shown = self.federation.ok(&["get", "binding", &name, "-o", "json"])?;
        Ok(serde_json::from_str::<Value>(&shown)?["status"]["serving"].clone())
    }
}

#[tokio::test]
async fn versions_reach_the_environments_that_are_named() -> Result<()> {
    let publisher = Publisher::start()?;
    let (code, said) = publisher.import("v1", "/pets", &["--publish-to", "production"])?;
    assert_eq!(code, 0, "{said}");
    publisher.call("production", "/pets", "/v1/pets").await?;

    // Version 2, with another backend, goes to the sandbox. Production serves version 1, from its own backend.
    let (code, said) = publisher.import("v2", "/animals", &["--publish-to", "sandbox"])?;
    assert_eq!(code, 0, "{said}");
    publisher.call("sandbox", "/animals", "/v2/animals").await?;
    publisher.call("production", "/pets", "/v1/pets").await?;
    publisher.call("production", "/animals", "404").await?;

    // Promoted, it is version 2 from production's backend: an environment's addresses are its own.
    let run = |arguments: &[&str]| publisher.federation.cli(arguments);
    let promote = ["promote", "orders", "--from", "sandbox", "--to", "production"];
    let tried = run(&[&promote[..], &["--dry-run"]].concat())?;
    assert!(tried.stderr.contains("r1 -> r2") && tried.stderr.contains("+ GET /animals"), "{tried:?}");
    assert_eq!(publisher.serving("production")?, 1, "a dry run changes nothing");
    publisher.federation.ok(&[&promote[..], &["--wait=30s"]].concat())?;
    publisher.call("production", "/animals", "/v1/animals").await?;

    // Rolled back, production keeps what the operator chose.
    publisher.federation.ok(&["rollback", "orders", "--in", "production", "--wait=30s"])?;
    publisher.call("production", "/pets", "/v1/pets").await?;
    publisher.call("production", "/animals", "404").await?;
    let (code, said) = publisher.import("v3", "/beasts", &["--publish-to", "production,sandbox"])?;
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("production was rolled back to r1") && said.contains("--over-rollback"), "{said}");
    let refused = run(&promote)?;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert_eq!((publisher.serving("production")?, publisher.serving("sandbox")?), (1.into(), 2.into()));

    publisher.federation.ok(&[&promote[..], &["--over-rollback", "--wait=30s"]].concat())?;
    publisher.call("production", "/animals", "/v1/animals").await?;
    Ok(())
}

#[tokio::test]
async fn what_follows_latest_moves_only_when_it_is_named() -> Result<()> {
    let publisher = Publisher::start()?;
    let (code, said) = publisher.import("v1", "/pets", &["--publish-to", "production"])?;
    assert_eq!(code, 0, "{said}");
    let follow = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, upstream: orders-production}}";
    publisher.federation.apply(follow)?;

    let (code, said) = publisher.import("v2", "/animals", &["--publish-to", "sandbox"])?;
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("would also move production"), "{said}");
    assert_eq!(
        publisher.federation.cli(&["get", "binding", "orders-sandbox"])?.code,
        4,
        "nothing is half done"
    );

    let (code, said) =
        publisher.import("v2", "/animals", &["--publish-to", "sandbox", "--pin", "production"])?;
    assert_eq!(code, 0, "{said}");
    publisher.call("production", "/pets", "/v1/pets").await?;
    assert_eq!(publisher.serving("production")?, 1);

    // An apply never asks; it says what moved.
    publisher.federation.apply(follow)?;
    let policy = "kind: Policy\nname: stamp\nspec: {headers: {request: {set: {X-Stamp: '1'}}}}\n";
    publisher.federation.apply(policy)?;
    let api = publisher.federation.ok(&["get", "api", "orders", "-o", "json"])?;
    let mut api: Value = serde_json::from_str(&api)?;
    api["spec"]["policies"] = serde_json::json!(["stamp"]);
    let applied = publisher.federation.cli_with_input(&["apply", "-f", "-"], &api.to_string())?;
    assert!(applied.stdout.contains("Binding default/orders-production moved"), "{applied:?}");
    Ok(())
}

#[tokio::test]
async fn a_service_without_a_document_is_published_whole() -> Result<()> {
    let publisher = Publisher::start()?;
    let publish = ["publish", "orders", "--context", "/orders", "--upstream", &publisher.upstream, "--open"];
    let publish = [&publish[..], &["--publish-to", "production", "--wait=30s"]].concat();
    for _again in 0..2 {
        publisher.federation.ok(&publish)?;
    }
    publisher.call("production", "/a/b/c.d/%7Be%7D?q=1", "/a/b/c.d/%7Be%7D").await?;
    publisher.call("production", "", "/").await?;
    let url = format!("{}/orders/deep/er", publisher.gateway);
    let posted = publisher.client.call("POST", &url, &[], "body").await?;
    assert!(posted.status == 200 && posted.json()?["method"] == "POST", "{posted:?}");

    // An Api with operations of its own keeps them.
    let (code, said) = publisher.import("v1", "/pets", &["--publish-to", "production"])?;
    assert_eq!(code, 0, "{said}");
    let refused = publisher.federation.cli(&publish)?;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("GET /pets"), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn imports_at_the_same_time_all_succeed() -> Result<()> {
    let publisher = Publisher::start()?;
    let imports = ["v1", "v2", "v3", "v4"];
    let codes = std::thread::scope(|scope| {
        let running: Vec<_> = imports
            .iter()
            .map(|version| {
                scope.spawn(|| publisher.import(version, "/pets", &["--publish-to", "production"]))
            })
            .collect();
        running.into_iter().map(|one| one.join().expect("it does not panic")).collect::<Result<Vec<_>>>()
    })?;
    for (code, said) in codes {
        assert_eq!(code, 0, "{said}");
    }
    // Each import made a revision of its own, and the last one wrote all of what is there.
    let read = |arguments: &[&str]| -> Result<Value> {
        let shown = publisher.federation.ok(&[&["get"], arguments, &["-o", "json"]].concat())?;
        Ok(serde_json::from_str(&shown)?)
    };
    let revisions = read(&["apirevisions"])?;
    assert_eq!(revisions["items"].as_array().map(Vec::len), Some(imports.len()), "{revisions}");
    assert_eq!(publisher.serving("production")?, imports.len());
    let api = read(&["api", "orders"])?;
    let version = api["spec"]["version"].as_str().context("an Api has a version")?;
    let upstream = read(&["upstream", "orders-production"])?;
    assert_eq!(upstream["spec"]["endpoints"][0]["url"], format!("{}/{version}", publisher.upstream));
    Ok(())
}

#[tokio::test]
async fn a_cascade_deletes_what_its_manifests_name_together() -> Result<()> {
    let publisher = Publisher::start()?;
    let manifests = "kind: Policy\nname: stamp\nspec: {headers: {request: {set: {X-Stamp: '1'}}}}\n---\n\
        kind: Api\nname: stamped\nspec: {context: /s, version: '1', operations: [{method: GET, path: /}], policies: [stamp]}\n";
    publisher.federation.apply(manifests)?;
    let delete =
        |text: &str| publisher.federation.cli_with_input(&["delete", "-f", "-", "--cascade", "--yes"], text);
    // The Api lists the Policy, and does not go with it.
    let policy = manifests.split("---").next().context("the Policy is first")?;
    let refused = delete(policy)?;
    assert_eq!(refused.code, 5, "{refused:?}");
    let both = delete(manifests)?;
    assert_eq!(both.code, 0, "{both:?}");
    for gone in [["policy", "stamp"], ["api", "stamped"]] {
        assert_eq!(publisher.federation.cli(&[&["get"], &gone[..]].concat())?.code, 4, "{gone:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cascade_says_what_goes_and_deletes_nothing_else() -> Result<()> {
    let publisher = Publisher::start()?;
    let federation = &publisher.federation;
    let (code, said) = publisher.import("v1", "/pets", &["--publish-to", "production"])?;
    assert_eq!(code, 0, "{said}");
    federation.ok(&["subscribe", "orders", "--application", "shop", "--plan", "gold"])?;
    let delete = ["delete", "api", "orders", "--cascade"];
    let tried = federation.ok(&["delete", "binding", "orders-production", "--dry-run", "-o", "json"])?;
    let tried: Value = serde_json::from_str(&tried)?;
    let lost = &tried["preview"]["bindings"][0];
    assert_eq!(lost["operations"]["removed"], serde_json::json!(["GET /pets"]), "{tried}");
    assert_eq!((&lost["environment"], &lost["regions"][0]), (&"production".into(), &"eu-west".into()));
    let unasked = federation.cli(&delete)?;
    assert_eq!(unasked.code, 2, "{unasked:?}");
    assert!(unasked.stderr.contains("in eu-west: orders r1 is served no more\n  - GET /pets"), "{unasked:?}");
    for word in
        ["Api default/orders", "Binding default/orders-production", "Subscription", "--yes", "--with-made"]
    {
        assert!(unasked.stderr.contains(word), "{word:?} is missing in {unasked:?}");
    }
    federation.ok(&["get", "api", "orders"])?;
    federation.ok(&[&delete[..], &["--yes", "--with-made"]].concat())?;
    for gone in [["api", "orders"], ["binding", "orders-production"], ["upstream", "orders-production"]] {
        assert_eq!(federation.cli(&[&["get"], &gone[..]].concat())?.code, 4, "{gone:?}");
    }
    assert_eq!(federation.ok(&["get", "credentials", "-o", "name"])?.trim(), "", "the key was made for it");
    federation.ok(&["get", "application", "shop"])?;
    Ok(())
}
