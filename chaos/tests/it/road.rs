//! The whole road: three control nodes, two regions, GitHub's API with about a thousand operations, keys and plans.

use std::{
    collections::BTreeMap,
    env,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Client, Federation, Operation, operations};

use crate::eventually;

/// The GitHub REST description, fetched by `./check setup`.
fn github() -> Result<PathBuf> {
    let inputs =
        env::var_os("HANSE_TEST_INPUTS").context("HANSE_TEST_INPUTS is not set: run `./check process`")?;
    Ok(PathBuf::from(inputs).join("node_modules/@octokit/openapi/generated/api.github.com.json"))
}

#[tokio::test]
async fn github_is_published_to_two_regions_and_every_operation_called() -> Result<()> {
    let federation = Federation::start(&["--access-log"])?;
    let client = Client::new(None)?;
    let upstream = federation.process("upstream")?.http.expect("the upstream has an address");
    let gateways = federation.gateways()?;
    ensure!(gateways.len() == 2, "two regions have a gateway each: {gateways:?}");

    let document = github()?;
    let said = import_github(&federation, &document, &upstream, &["--wait=60s"])?;
    for word in ["github", "eu-west", "us-east"] {
        assert!(said.contains(word), "import says what it made and where: {said}");
    }
    let key = subscribe(&federation, "github", "crawler", "unlimited")?;

    let operations = operations(&document)?;
    ensure!(operations.len() > 1_000, "the document has {} operations", operations.len());
    every_operation(&client, &gateways, &key, &operations).await?;
    for (gateway, _) in &gateways {
        matched_as_meant(&federation, gateway, &operations).await?;
    }
    who_may_call(&federation, &client, &gateways, &key).await?;
    plans_hold(&federation, &client, &gateways).await?;
    a_second_import_updates(&federation, &document, &upstream)?;
    Ok(())
}

fn import_github(
    federation: &Federation,
    document: &std::path::Path,
    upstream: &str,
    further: &[&str],
) -> Result<String> {
    let document = document.to_str().expect("a plain path");
    let import =
        ["import", "openapi", document, "--as", "github", "--context", "/github", "--upstream", upstream];
    federation.ok(&[&import[..], &["--publish-to", "production"], further].concat())
}

fn subscribe(federation: &Federation, api: &str, application: &str, plan: &str) -> Result<String> {
    let printed =
        federation.ok(&["subscribe", api, "--application", application, "--plan", plan, "--wait=30s"])?;
    let key = printed.trim().to_owned();
    ensure!(!key.is_empty() && !key.contains(char::is_whitespace), "the key alone on stdout: {printed:?}");
    Ok(key)
}

/// Every operation through each gateway reaches the upstream as itself.
async fn every_operation(
    client: &Client,
    gateways: &[(String, String)],
    key: &str,
    operations: &[Operation],
) -> Result<()> {
    for (name, gateway) in gateways {
        for operation in operations {
            let url = format!("{gateway}/github{}", operation.path);
            let answer = client.call(&operation.method, &url, &[("x-api-key", key)], "").await?;
            ensure!(answer.status == 200, "{name}: {} {}: {answer:?}", operation.method, operation.template);
            if operation.method == "HEAD" {
                continue;
            }
            let seen = answer.json()?;
            ensure!(
                seen["method"] == operation.method.as_str() && seen["path"] == operation.path.as_str(),
                "{name}: {} {} arrived as {seen}",
                operation.method,
                operation.path,
            );
        }
    }
    Ok(())
}

/// The gateway took each request for the operation it was meant for, not for another whose template fits the same path: its
/// access log says which.
async fn matched_as_meant(federation: &Federation, gateway: &str, operations: &[Operation]) -> Result<()> {
    let mut wanted: BTreeMap<(String, String), &str> = BTreeMap::new();
    for operation in operations {
        ensure!(!operation.id.is_empty(), "{} {} has no id", operation.method, operation.template);
        wanted.insert((operation.method.clone(), format!("/github{}", operation.path)), &operation.id);
    }
    let path = federation.data_dir().join("logs").join(format!("{gateway}.access.log"));
    let deadline = Instant::now() + Duration::from_secs(10); // the log's writer is a thread of its own
    while std::fs::read_to_string(&path)?.lines().count() < operations.len() {
        ensure!(Instant::now() < deadline, "{} has too few lines", path.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for line in std::fs::read_to_string(&path)?.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        let request = (text("method"), text("path"));
        if let Some(id) = wanted.remove(&request) {
            ensure!(line["operation"] == id, "{gateway}: {request:?} is {id}, and was taken for {line}");
        }
    }
    ensure!(wanted.is_empty(), "{gateway}: not in its access log: {wanted:?}");
    Ok(())
}

/// Missing and wrong keys, no subscription, unknown paths, wrong methods: the same at each gateway.
async fn who_may_call(
    federation: &Federation,
    client: &Client,
    gateways: &[(String, String)],
    key: &str,
) -> Result<()> {
    // An application that is known, but has no subscription to this API.
    federation.apply(&format!(
        "kind: Application\nname: stranger\nspec: {{}}\n---\nkind: Credential\nname: stranger-1\nspec: {{application: stranger, digest: {}}}\n",
        sha256("stranger-key"),
    ))?;
    let call = |method: &'static str, path: &'static str, key: Option<&str>| {
        let headers: Vec<(String, String)> =
            key.map(|key| ("x-api-key".to_owned(), key.to_owned())).into_iter().collect();
        let client = client.clone();
        let gateways = gateways.to_vec();
        async move {
            let mut statuses = Vec::new();
            for (_, gateway) in gateways {
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let answer = client.call(method, &format!("{gateway}{path}"), &headers, "").await?;
                if answer.status != 200 {
                    ensure!(answer.header("content-type") == "application/problem+json", "{answer:?}");
                }
                statuses.push(answer.status.as_u16());
            }
            anyhow::Ok(statuses)
        }
    };
    assert_eq!(call("GET", "/github/meta", Some(key)).await?, [200, 200]);
    assert_eq!(call("GET", "/github/meta", None).await?, [401, 401], "no key");
    assert_eq!(call("GET", "/github/meta", Some("hk_wrong")).await?, [401, 401], "a wrong key");
    assert_eq!(call("GET", "/github/meta", Some("stranger-key")).await?, [403, 403], "not subscribed");
    assert_eq!(call("GET", "/github/no/such/path/at/all", Some(key)).await?, [404, 404]);
    assert_eq!(call("GET", "/gitlab/meta", Some(key)).await?, [404, 404]);
    assert_eq!(call("PATCH", "/github/meta", Some(key)).await?, [405, 405]);
    Ok(())
}

/// A plan of one request a minute lets its burst through and then says when to come back.
async fn plans_hold(federation: &Federation, client: &Client, gateways: &[(String, String)]) -> Result<()> {
    federation.apply("kind: Plan\nname: drip\nspec: {rate: {requests: 1, per: minute, burst: 3}}\n")?;
    let key = subscribe(federation, "github", "sipper", "drip")?;
    for (_, gateway) in gateways {
        let mut statuses = Vec::new();
        for _ in 0..5 {
            let answer = client.get(&format!("{gateway}/github/meta"), &[("x-api-key", &key)]).await?;
            if answer.status == 429 {
                let seconds: u64 = answer.header("retry-after").parse().context("Retry-After in seconds")?;
                ensure!((1..=60).contains(&seconds), "Retry-After: {seconds}");
            }
            statuses.push(answer.status.as_u16());
        }
        assert_eq!(statuses, [200, 200, 200, 429, 429], "{gateway}");
    }
    Ok(())
}

/// Importing again updates in place; importing the same again changes nothing.
fn a_second_import_updates(
    federation: &Federation,
    document: &std::path::Path,
    upstream: &str,
) -> Result<()> {
    let before = federation.ok(&["get", "api-revisions", "-o", "name"])?;
    import_github(federation, document, upstream, &[])?;
    assert_eq!(federation.ok(&["get", "api-revisions", "-o", "name"])?, before);
    Ok(())
}

/// The digest a client sends instead of its key, by the system's own tool.
pub(crate) fn sha256(secret: &str) -> String {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };
    let mut child =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
    child.stdin.take().expect("piped").write_all(secret.as_bytes()).expect("writes");
    let printed = child.wait_with_output().expect("ends").stdout;
    format!("sha256:{}", String::from_utf8_lossy(&printed[..64]))
}

/// Two regions follow a change, and a request through either sees it once `--wait` returned.
#[tokio::test]
async fn a_change_reaches_both_regions() -> Result<()> {
    let federation = Federation::start(&["--control-nodes", "3"])?;
    let client = Client::new(None)?;
    let upstream = federation.process("upstream")?.http.expect("the upstream has an address");
    for number in 1..=20 {
        federation.apply(&format!(
            "kind: Api\nname: tick\nspec: {{context: /tick, version: \"{number}\", operations: [{{method: GET, path: /now-{number}}}]}}\n---\n\
             kind: Upstream\nname: tick\nspec: {{endpoints: [{{url: \"{upstream}\"}}]}}\n---\n\
             kind: Binding\nname: tick\nspec: {{api: tick, environment: production, upstream: tick}}\n",
        ))?;
        for (name, gateway) in federation.gateways()? {
            let now = client.get(&format!("{gateway}/tick/now-{number}"), &[]).await?;
            assert_eq!(now.status, 200, "{name} serves revision {number} at once: {now:?}");
            let before = client.get(&format!("{gateway}/tick/now-{}", number - 1), &[]).await?;
            assert_eq!(before.status, 404, "{name} no longer serves the one before");
        }
    }
    // Sandbox is another environment: its host sees nothing of production.
    let (_, gateway) = federation.gateways()?.remove(0);
    eventually(
        &client,
        &format!("{gateway}/tick/now-20"),
        &[("host", "sandbox.localhost")],
        Duration::from_secs(5),
        |answer| answer.status == 404,
    )
    .await?;
    Ok(())
}
