//! What an operator sees of an Api: where it is served, in which revision, and by which gateways.

use std::time::Duration;

use anyhow::Result;
use hanse_chaos::Federation;

use crate::{open_api, until};

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
    assert!(apis.contains("ENVIRONMENTS") && apis.contains("production:r1"), "{apis}");

    for arguments in [["get", "api", "orders"], ["describe", "api", "orders"]] {
        let shown = federation.ok(&arguments)?;
        for region in ["eu-west", "us-east"] {
            let row = shown.lines().find(|line| line.contains("production") && line.contains(region));
            let row = row.unwrap_or_else(|| panic!("no row of {region}: {shown}"));
            for word in ["r1 (follows latest)", "/orders", &format!("gateway-{region}")] {
                assert!(row.contains(word), "{word}: {row}");
            }
        }
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
