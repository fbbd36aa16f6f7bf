//! What an operator sees of an Api: where it is served, in which revision, and by which gateways.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hanse_chaos::Federation;

use crate::{open_api, until};

/// The cells of a row: two blanks or more stand between them.
fn cells(row: &str) -> Vec<String> {
    row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

#[tokio::test]
async fn an_operator_sees_where_an_api_is_served() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "2"])?;
    for name in ["orders", "pets"] {
        federation.apply(&open_api(name, "http://127.0.0.1:9", 1))?;
    }
    federation.ok(&["wait", "--revision", "latest"])?;

    let several = federation.ok(&["get", "apis,bindings", "-o", "name", "--sort-by", "name"])?;
    assert_eq!(several.trim(), "apis/orders\napis/pets\nbindings/orders\nbindings/pets");
    let apis = federation.ok(&["get", "apis"])?;
    let mut apis = apis.lines().map(cells);
    let titles =
        ["NAME", "CONTEXT", "VERSION", "LIFECYCLE", "OPERATIONS", "LATEST", "ENVIRONMENTS", "REVISION"];
    assert_eq!(apis.next().context("titles")?, titles);
    for (name, row) in ["orders", "pets"].into_iter().zip(apis.by_ref()) {
        let (revision, row) = row.split_last().context("a row")?;
        assert_eq!(row, [name, &format!("/{name}"), "1", "published", "1", "1", "production:r1"]);
        assert!(revision.parse::<u64>()? > 1, "{revision}");
    }
    assert_eq!(apis.next(), None);

    let titles = ["ENVIRONMENT", "BINDING", "SERVES", "REGION", "URL", "GATEWAYS"].map(str::to_owned);
    let gateways = federation.gateways()?;
    let rows = ["eu-west", "us-east"].map(|region| {
        let gateway = format!("gateway-{region}");
        let at = gateways.iter().find(|(name, _)| *name == gateway).map(|(_, url)| url.as_str());
        let url = format!("{}/orders", at.unwrap_or("no such gateway"));
        ["production", "orders", "r1 (follows latest)", region, &url, &gateway].map(str::to_owned)
    });
    let [eu_west, us_east] = rows;
    for arguments in [["get", "api", "orders"], ["describe", "api", "orders"]] {
        let shown = federation.ok(&arguments)?;
        let table = shown.lines().map(|line| cells(line.trim_start()));
        let table: Vec<_> = table.skip_while(|row| *row != titles).take_while(|row| row.len() > 1).collect();
        assert_eq!(table, [&titles, &eu_west, &us_east], "{arguments:?}: {shown}");
    }
    let some_missing = federation.cli(&["get", "api/orders", "api/nothing", "-o", "name"])?;
    assert_eq!((some_missing.code, some_missing.stdout.trim()), (4, "apis/orders"), "{some_missing:?}");

    for (index, words, expected) in [
        ("2", &["promote", ""][..], "orders\npets"),
        ("4", &["promote", "orders", "--to", ""], "production\nsandbox"),
        ("3", &["describe", "region", ""], "eu-west\nus-east"),
    ] {
        let question = [&["__complete", index, "hanse"], words].concat();
        // A busy machine may take longer than a completion waits.
        until("names are offered", Duration::from_secs(10), || {
            Ok(federation.ok(&question)?.trim() == expected)
        })
        .await?;
    }
    Ok(())
}
