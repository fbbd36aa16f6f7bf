//! Path parameters that take several segments, as callers meet them.

use std::time::Duration;

use anyhow::{Context, Result};
use hanse_chaos::{Client, Federation};

use crate::eventually;

#[tokio::test]
async fn every_method_of_a_widened_path_answers() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let gateway = federation.gateways()?.remove(0).1;
    let upstream = federation.process("upstream")?.http.context("the upstream has an address")?;
    let client = Client::new(None)?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("models.json");
    let paths = r#""/v1/{name}": {"get": {}}, "/v1/{model}": {"delete": {}}, "/v1/{name}:run": {"post": {}}"#;
    std::fs::write(
        &file,
        format!(r#"{{"openapi": "3.0.3", "info": {{"version": "1"}}, "paths": {{{paths}}}}}"#),
    )?;
    let file = file.to_str().context("a plain path")?;
    let import = ["import", "openapi", file, "--as", "models", "--context", "/m", "--open"];
    let to = ["--upstream", &upstream, "--publish-to", "production", "--greedy", "name", "--wait=30s"];
    let said = federation.cli(&[&import[..], &to].concat())?;
    assert_eq!(said.code, 0, "{said:?}");

    let url = |path: &str| format!("{gateway}/m/v1/{path}");
    eventually(&client, &url("a"), &[], Duration::from_secs(10), |answer| answer.status == 200).await?;
    for (method, path) in
        [("GET", "a/b"), ("DELETE", "a"), ("DELETE", "a/b"), ("POST", "a:run"), ("POST", "a/b:run")]
    {
        let answer = client.call(method, &url(path), &[], "").await?;
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        assert_eq!(answer.json()?["path"], format!("/v1/{path}"));
    }
    let refused = client.call("DELETE", &url("a/b:run"), &[], "").await?;
    assert_eq!(refused.status, 405, "{refused:?}");
    Ok(())
}
