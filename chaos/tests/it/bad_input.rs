//! Bad input: each a clear error, nothing half applied.

use anyhow::{Context, Result};
use hanse_chaos::{Client, Federation};
use serde::Deserialize;

use crate::dump::parts;

/// Applies, expects the exit code and these words on standard error, and that the state did not move.
fn refused(
    federation: &Federation,
    arguments: &[&str],
    input: &str,
    code: i32,
    words: &[&str],
) -> Result<()> {
    let before = resources(federation)?;
    assert!(!before.is_empty(), "the dump has parts to compare");
    let ran = federation.cli_with_input(arguments, input)?;
    assert_eq!(ran.code, code, "{arguments:?}\n{input:.400}\n{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is missing in: {}", ran.stderr);
    }
    assert_eq!(resources(federation)?, before, "nothing was applied: {arguments:?}");
    Ok(())
}

/// Everything operators wrote, as a dump says it. Not the revision: reconcilers of the control plane make revisions, too.
fn resources(federation: &Federation) -> Result<Vec<(String, String)>> {
    let dir = tempfile::tempdir()?;
    let dump = dir.path().join("dump");
    federation.ok(&["dump", "-o", dump.to_str().context("a plain path")?])?;
    parts(&dump)
}

const APPLY: &[&str] = &["apply", "-f", "-"];

#[tokio::test]
async fn bad_input_is_refused_with_field_and_remedy() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
    let good = |name: &str, context: &str| {
        format!(
            "kind: Api\nname: {name}\nspec: {{context: {context}, version: \"1\", operations: [{{method: GET, path: /x}}]}}\n---\n\
             kind: Upstream\nname: {name}\nspec: {{endpoints: [{{url: \"http://127.0.0.1:9\"}}]}}\n---\n\
             kind: Binding\nname: {name}\nspec: {{api: {name}, environment: production, upstream: {name}}}\n"
        )
    };
    federation.apply(&good("first", "/first"))?;

    // An unknown field, among good documents: none of them is applied.
    let unknown = format!(
        "{}---\nkind: Plan\nname: odd\nspec: {{rate: {{requests: 1, per: minute, brust: 2}}}}\n",
        good("second", "/second")
    );
    refused(&federation, APPLY, &unknown, 1, &["odd", "brust"])?;
    assert_eq!(federation.cli(&["get", "api", "second"])?.code, 4);

    // Broken YAML: the line is named.
    refused(&federation, APPLY, "kind: Plan\nname: x\nspec:\n  rate: [1, 2\nmore: 3\n", 1, &["line"])?;
    // A Binding to an Environment that does not exist.
    let missing = good("third", "/third").replace("production", "prodction");
    let words = ["third", "environment", "Environment prodction does not exist", "production"];
    refused(&federation, APPLY, &missing, 4, &words)?;
    // A Region and a Plan that do not exist, named by commands and not by manifests.
    for (arguments, words) in [
        (
            &["token", "create", "--join", "agent", "--region", "mars"][..],
            ["Region mars does not exist", "there is eu-west"],
        ),
        (
            &["subscribe", "first", "--application", "app", "--plan", "glod"][..],
            ["Plan default/glod does not exist", ""],
        ),
        (&["get", "plan", "glod"][..], ["Plan default/glod does not exist", "`hanse get plans"]),
    ] {
        refused(&federation, arguments, "", 4, &words)?;
    }
    // Two Apis, one host and path.
    refused(&federation, APPLY, &good("thief", "/first"), 5, &["/first", "first", "thief"])?;
    // Not OpenAPI, and a $ref loop.
    let import = |file: &str| -> Vec<String> {
        [
            "import",
            "openapi",
            file,
            "--as",
            "x",
            "--context",
            "/x",
            "--upstream",
            "http://127.0.0.1:9",
            "--publish-to",
            "production",
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let dir = tempfile::tempdir()?;
    for (name, text, word) in [
        ("plain.json", r#"{"hello": "world"}"#, "openapi"),
        ("swagger.json", r#"{"swagger": "1.2", "paths": {}}"#, "1.2"),
        (
            "loop.json",
            r##"{"openapi": "3.0.3", "info": {"title": "x", "version": "1"}, "paths": {"/a": {"$ref": "#/components/pathItems/a"}},
                "components": {"pathItems": {"a": {"$ref": "#/components/pathItems/b"}, "b": {"$ref": "#/components/pathItems/a"}}}}"##,
            "#/components/pathItems/a",
        ),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, text)?;
        let arguments = import(file.to_str().expect("a plain path"));
        refused(&federation, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "", 1, &[word])?;
    }
    // 50 MB of manifest: refused at once, by size.
    let big = dir.path().join("big.yaml");
    let mut text = String::from("kind: Plan\nname: big\nspec:\n  displayName: \"");
    text.push_str(&"x".repeat(50 << 20));
    text.push_str("\"\n");
    std::fs::write(&big, &text)?;
    refused(&federation, &["apply", "-f", big.to_str().expect("a plain path")], "", 1, &["MiB"])?;

    rest_refusals(&federation).await
}

#[derive(Deserialize)]
struct ClientConfig {
    servers: Vec<String>,
    ca_file: std::path::PathBuf,
    token: String,
}

/// What only a REST client can do wrong.
async fn rest_refusals(federation: &Federation) -> Result<()> {
    let config: ClientConfig = toml::from_str(&std::fs::read_to_string(federation.client_config())?)?;
    let client = Client::new(Some(&config.ca_file))?;
    let server = &config.servers[0];
    let bearer = format!("Bearer {}", config.token);
    let auth = ("authorization", bearer.as_str());
    let json = ("content-type", "application/json");
    let plan = format!("{server}/v1/organizations/default/plans/etag");

    let made = client.call("PUT", &plan, &[auth, json], r#"{"spec": {}}"#).await?;
    assert_eq!(made.status, 201, "{made:?}");
    let first = made.header("etag").to_owned();
    let bare = client.call("PUT", &plan, &[auth, json], r#"{"spec": {}}"#).await?;
    assert_eq!(bare.status, 428, "a replacement names what it replaces: {bare:?}");
    let body = r#"{"spec": {"displayName": "a"}}"#;
    let replaced = client.call("PUT", &plan, &[auth, json, ("if-match", &first)], body).await?;
    assert_eq!(replaced.status, 200, "{replaced:?}");
    let stale = client
        .call("PUT", &plan, &[auth, json, ("if-match", &first)], r#"{"spec": {"displayName": "b"}}"#)
        .await?;
    assert_eq!(stale.status, 412, "{stale:?}");
    assert_eq!(stale.json()?["type"], "urn:hanse:problem:stale");

    // Many writers with one ETag, in flight together so that they share Raft batches: one wins, the others are stale.
    let current = replaced.header("etag").to_owned();
    let writers = (0..24).map(|number| {
        let (client, plan, bearer, current) = (client.clone(), plan.clone(), bearer.clone(), current.clone());
        tokio::spawn(async move {
            let body = format!(r#"{{"spec": {{"displayName": "writer-{number}"}}}}"#);
            let headers = [
                ("authorization", bearer.as_str()),
                ("content-type", "application/json"),
                ("if-match", &current),
            ];
            client.call("PUT", &plan, &headers, body).await
        })
    });
    let mut statuses = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        let answer = writer.await??;
        if answer.status == 200 {
            assert_ne!(answer.header("etag"), current);
        }
        statuses.push(answer.status.as_u16());
    }
    statuses.sort_unstable();
    let mut wanted = vec![412; 24];
    wanted[0] = 200;
    assert_eq!(statuses, wanted);

    let nobody = client.get(&plan, &[]).await?;
    assert_eq!(nobody.status, 401);
    let wrong = client.get(&plan, &[("authorization", "Bearer wrong")]).await?;
    assert_eq!(wrong.status, 401);
    Ok(())
}
