//! A federation is dumped, and another one made of the dump.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Client, Federation};
use serde_json::Value;

use crate::{eventually, open_api};

const SMALL: [&str; 4] = ["--control-nodes", "1", "--regions", "1"];

fn document(version: &str, path: &str) -> String {
    format!(
        r#"{{"openapi": "3.0.3", "info": {{"title": "orders", "version": "{version}"}}, "paths": {{"{path}": {{"get": {{}}}}}}}}"#
    )
}

/// The files of the parts of a dump, in order.
pub(crate) fn parts(dir: &Path) -> Result<Vec<(String, String)>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dump") {
            let name = path.file_name().context("it has a name")?.to_string_lossy().into_owned();
            parts.push((name, fs::read_to_string(&path)?));
        }
    }
    parts.sort();
    Ok(parts)
}

fn serving(federation: &Federation, binding: &str) -> Result<(Value, Value)> {
    let shown = federation.ok(&["get", "binding", binding, "-o", "json"])?;
    let status = &serde_json::from_str::<Value>(&shown)?["status"];
    Ok((status["serving"].clone(), status["served"].clone()))
}

#[tokio::test]
async fn a_federation_made_of_a_dump_serves_the_same() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let text = |path: &Path| path.to_str().context("a plain path").map(str::to_owned);
    let first = Federation::start(&SMALL)?;
    let upstream = first.process("upstream")?.http.context("the upstream has an address")?;
    let import = |version: &str, path: &str, to: &str| -> Result<()> {
        let file = dir.path().join(format!("{version}.json"));
        fs::write(&file, document(version, path))?;
        let (file, url) = (text(&file)?, format!("{upstream}/{version}"));
        first.ok(&[
            "import",
            "openapi",
            &file,
            "--as",
            "orders",
            "--context",
            "/orders",
            "--upstream",
            &url,
            "--publish-to",
            to,
            "--wait=30s",
        ])?;
        Ok(())
    };
    import("v1", "/pets", "production")?;
    import("v2", "/animals", "production")?;
    import("v3", "/beasts", "sandbox")?;
    first.ok(&["rollback", "orders", "--in", "production", "--wait=30s"])?;
    let key = first.ok(&["subscribe", "orders", "--application", "shop", "--plan", "gold", "--wait=30s"])?;
    let key = key.trim();

    let dump = text(&dir.path().join("dump"))?;
    assert_eq!(first.ok(&["dump", "-o", &dump])?.trim(), dump);
    let again = first.cli(&["dump", "-o", &dump])?;
    assert_eq!(again.code, 5, "{again:?}");
    assert!(again.stderr.contains("is not empty"), "{again:?}");

    // Another federation, whose gateways reach the first one's upstream.
    let second = Federation::start(&SMALL)?;
    second.ok(&["apply", "-f", &dump, "--wait=30s"])?;
    let gateway = second.gateways()?.remove(0).1;
    let client = Client::new(None)?;
    let call = async |host: &str, path: &str, wanted: &str| -> Result<()> {
        let headers = [("host", host), ("x-api-key", key)];
        let seen = |answer: &hanse_chaos::Answer| {
            answer.status == 200 && answer.json().is_ok_and(|said| said["path"] == wanted)
        };
        let url = format!("{gateway}/orders{path}");
        eventually(&client, &url, &headers, Duration::from_secs(10), seen).await?;
        Ok(())
    };
    call("any.example", "/pets", "/v2/pets").await?;
    call("sandbox.localhost", "/beasts", "/v3/beasts").await?;
    let without = client.get(&format!("{gateway}/orders/pets"), &[]).await?;
    assert_eq!(without.status, 401);
    for binding in ["orders-production", "orders-sandbox"] {
        assert_eq!(serving(&second, binding)?, serving(&first, binding)?, "{binding}");
    }

    let copy = dir.path().join("copy");
    second.ok(&["dump", "-o", &text(&copy)?])?;
    assert_eq!(parts(&copy)?, parts(Path::new(&dump))?);

    // It was rolled back there, and can be forward again.
    second.ok(&["rollback", "orders", "--in", "production", "--to", "2", "--wait=30s"])?;
    call("any.example", "/animals", "/v2/animals").await?;
    Ok(())
}

#[tokio::test]
async fn a_dump_stops_at_what_differs_and_goes_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dump = dir.path().join("dump").to_str().context("a plain path")?.to_owned();
    let federation = Federation::start(&SMALL)?;
    federation.apply("{kind: Application, name: shop, labels: {team: a}}")?;
    federation.ok(&["dump", "-o", &dump])?;

    federation.apply("{kind: Application, name: shop, labels: {team: b}}")?;
    let refused = federation.cli(&["apply", "-f", &dump])?;
    assert_eq!(refused.code, 5, "{refused:?}");
    let said = &refused.stderr;
    assert!(said.contains("Application default/shop") && said.contains("part 1 of 1"), "{said}");
    federation.ok(&["delete", "application", "shop"])?;
    federation.ok(&["apply", "-f", &dump])?;
    assert!(federation.ok(&["describe", "application", "shop"])?.contains("team"), "it is there again");

    // A part that is broken is named.
    let part = Path::new(&dump).join("part-0001.dump");
    let whole = fs::read_to_string(&part)?;
    fs::write(&part, &whole[..whole.len() / 2])?;
    let broken = federation.cli(&["apply", "-f", &dump])?;
    assert_eq!(broken.code, 1, "{broken:?}");
    assert!(broken.stderr.contains("part-0001.dump"), "{broken:?}");
    fs::remove_file(&part)?;
    let missing = federation.cli(&["apply", "-f", &dump])?;
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stderr.contains("part-0001.dump"), "{missing:?}");
    for command in [&["diff", "-f", &dump][..], &["delete", "-f", &dump]] {
        let refused = federation.cli(command)?;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("is a dump"), "{refused:?}");
    }
    ensure!(federation.cli(&["apply", "-f", &dump, "--prune", "--selector", "a=b"])?.code == 2);
    Ok(())
}

/// Makes a dump of one part one of a part for each resource. The resources, in order.
fn cut(dump: &Path) -> Result<Vec<String>> {
    let [(name, text)] = &parts(dump)?[..] else { anyhow::bail!("it has several parts already") };
    fs::remove_file(dump.join(name))?;
    let lines = text.lines().filter(|line| line.starts_with("{\"kind\""));
    let resources: Vec<String> = lines.map(|line| line.trim_end_matches(',').to_owned()).collect();
    for (number, resource) in (1..).zip(&resources) {
        fs::write(dump.join(format!("part-{number:04}.dump")), format!("{{\"resources\":[{resource}]}}"))?;
    }
    let index = dump.join("hanse-dump.json");
    let mut said: Value = serde_json::from_str(&fs::read_to_string(&index)?)?;
    ensure!(said["parts"] == 1 && said["resources"] == resources.len(), "{said}");
    said["parts"] = resources.len().into();
    fs::write(index, said.to_string())?;
    Ok(resources)
}

#[tokio::test]
async fn a_dump_of_several_parts_goes_on_after_the_one_that_failed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let text = |name: &str| dir.path().join(name).to_str().context("a plain path").map(str::to_owned);
    let (dump, copy) = (text("dump")?, text("copy")?);
    let federation = Federation::start(&SMALL)?;
    for number in [1, 2] {
        federation.apply(&open_api("orders", "http://127.0.0.1:9", number))?;
    }
    federation.ok(&["dump", "-o", &dump])?;
    let whole = parts(Path::new(&dump))?;
    let resources = cut(Path::new(&dump))?;
    let is_failing = |resource: &&String| resource.contains("\"kind\":\"Upstream\"");
    let before = resources.iter().take_while(|resource| !is_failing(resource)).count();
    let number = before + 1;
    ensure!(before > 0 && number < resources.len(), "the part is in the middle: {resources:?}");

    // All of it but what every federation has is gone, and another Upstream has come.
    federation.ok(&["delete", "api", "orders", "--cascade", "--yes"])?;
    let other = "{kind: Upstream, name: orders, spec: {endpoints: [{url: 'http://127.0.0.1:8'}]}}";
    federation.apply(other)?;
    let apply = ["apply", "-f", &dump];
    let stopped = federation.cli(&apply)?;
    assert_eq!(stopped.code, 5, "{stopped:?}");
    assert_eq!(stopped.stdout.lines().count(), before, "a line for each part before it: {stopped:?}");
    let said = format!(
        "this is part {number} of {}, {dump}/part-{number:04}.dump; the parts before it are applied. Once it is mended, run the same \
         command again",
        resources.len()
    );
    assert!(stopped.stderr.contains(&said), "{stopped:?}");
    assert_eq!(federation.cli(&["get", "api", "orders"])?.code, 4, "no part after it is applied");

    federation.ok(&["delete", "upstream", "orders"])?;
    let mended = federation.ok(&[&apply[..], &["--wait=30s"]].concat())?;
    let (done, fresh): (Vec<&str>, Vec<&str>) = mended.lines().partition(|line| line.ends_with(" unchanged"));
    // The latest ApiRevision comes with its Api, and has no part of its own.
    let made = ["Upstream default/orders", "Api default/orders", "ApiRevision default/orders-r2"];
    let wanted = [&made[..], &["ApiRevision default/orders-r1", "Binding default/orders"]].concat();
    assert_eq!(fresh, wanted.iter().map(|key| format!("{key} created")).collect::<Vec<_>>());
    assert_eq!(done.len(), resources.len() - 4, "{mended}");
    let again = federation.ok(&apply)?;
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    federation.ok(&["dump", "-o", &copy])?;
    assert_eq!(parts(Path::new(&copy))?, whole);
    Ok(())
}
