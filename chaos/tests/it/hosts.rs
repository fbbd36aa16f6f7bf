//! Two Organizations on one gateway: no request and no key of one reaches the upstream of the other.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Client, Federation};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::eventually;

/// The key of a caller of Organization `one`, and its SHA-256.
const KEY: &str = "a-key-of-one";
const DIGEST: &str = "sha256:c3ed684d5f62449c4d44e06c12252f958a6784bc9194ad38c239be06175615f3";
/// The header by which the test says whose a request is.
const WHOSE: &str = "x-whose";

/// An upstream that notes the head of every request.
struct Noting {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Noting {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = heads.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(note(stream, noted.clone()));
            }
        });
        Ok(Self { address, heads })
    }

    /// What it noted since it was asked last.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().expect("no holder panics"))
    }
}

/// Answers requests without bodies.
async fn note(mut stream: TcpStream, heads: Arc<Mutex<Vec<String>>>) -> Result<()> {
    let mut read = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await?;
        if count == 0 {
            return Ok(());
        }
        read.extend_from_slice(&part[..count]);
        while let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = read.drain(..end + 4).collect();
            heads.lock().expect("no holder panics").push(String::from_utf8_lossy(&head).to_lowercase());
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
        }
    }
}

type Place = (&'static str, &'static str);

/// What is granted to `one`, where `one` asks for requests, and where `two` does; and whether both can be.
const CASES: [(Option<Place>, Place, Place, bool); 10] = [
    // Without a grant: any host, a wildcard and an exact host; a shorter, an equal and a longer context.
    (None, ("a.example", "/x"), ("a.example", "/x/sec"), false),
    (None, ("a.example", "/x"), ("*.example", "/x"), false),
    (None, ("a.example", "/x/sec"), ("*", "/"), false),
    (None, ("*", "/x"), ("*.example", "/x/sec"), false),
    (None, ("a.example", "/x"), ("a.example", "/xy"), true),
    // With one.
    (Some(("a.example", "/")), ("a.example", "/x"), ("a.example", "/x/sec"), false),
    (Some(("a.example", "/")), ("a.example", "/x"), ("*", "/"), true),
    (Some(("a.example", "/x")), ("*", "/x"), ("*.example", "/"), false),
    (Some(("*.example", "/x")), ("*.example", "/x"), ("*.example", "/"), true),
    (Some(("*.example", "/x/sec")), ("a.example", "/x/sec"), ("*", "/x"), true),
];

const HOSTS: [&str; 3] = ["a.example", "b.example", "other"];
const PATHS: [&str; 7] = ["/", "/x", "/x/sec", "/x/sec/key", "/x/se%63/key", "/xy", "//x/sec"];

fn is_in((pattern, context): Place, host: &str, path: &str) -> bool {
    let host = match pattern.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => host == pattern,
    };
    let path = path.replace("%63", "c") + "/";
    host && path.starts_with(&format!("{}/", context.trim_end_matches('/')))
}

/// Whose a request is.
fn whose(grant: Option<Place>, one: Place, two: Place, host: &str, path: &str) -> &'static str {
    if grant.is_some_and(|grant| is_in(grant, host, path)) || is_in(one, host, path) {
        "one"
    } else if is_in(two, host, path) {
        "two"
    } else {
        "nobody"
    }
}

/// An Api with its Binding. That of `one` asks for a key; that of `two` is open, and would take any.
fn bound(organization: &str, (host, context): Place) -> String {
    let hosts = if host == "*" { String::new() } else { format!("'{host}'") };
    let security = if organization == "one" { "{apiKey: {}}" } else { "{}" };
    format!(
        "{{kind: Api, organization: {organization}, name: a, spec: {{context: {context}, version: '1', hosts: [{hosts}], upstream: u, \
         security: {security}, operations: [{{method: GET, path: '/{{rest+}}'}}, {{method: GET, path: '/'}}]}}}}\n---\n\
         {{kind: Binding, organization: {organization}, name: b, spec: {{api: a, environment: production}}}}"
    )
}

struct Neighbours {
    federation: Federation,
    client: Client,
    gateway: String,
    upstreams: [(&'static str, Noting); 2],
}

impl Neighbours {
    async fn start() -> Result<Self> {
        let federation = Federation::start(&["--control-nodes", "1", "--regions", "1"])?;
        let gateway = federation.gateways()?.remove(0).1;
        let upstreams = [("one", Noting::start().await?), ("two", Noting::start().await?)];
        for (organization, upstream) in &upstreams {
            let url = &upstream.address;
            federation.apply(&format!(
                "{{kind: Organization, name: {organization}}}\n---\n\
                 {{kind: Upstream, organization: {organization}, name: u, spec: {{endpoints: [{{url: '{url}'}}]}}}}"
            ))?;
        }
        federation.apply(&format!(
            "{{kind: Api, organization: one, name: a, spec: {{context: /x, version: '0', upstream: u, operations: []}}}}\n---\n\
             {{kind: Plan, organization: one, name: p}}\n---\n\
             {{kind: Application, organization: one, name: app}}\n---\n\
             {{kind: Subscription, organization: one, name: s, spec: {{application: app, api: a, plan: p}}}}\n---\n\
             {{kind: Credential, organization: one, name: k, spec: {{application: app, digest: '{DIGEST}'}}}}"
        ))?;
        Ok(Self { federation, client: Client::new(None)?, gateway, upstreams })
    }

    /// Sends every request, and looks at what the upstreams noted. How many reached whose.
    async fn ask(&self, case: &str, whose: impl Fn(&str, &str) -> &'static str) -> Result<[usize; 2]> {
        for host in HOSTS {
            for path in PATHS {
                let owner = whose(host, path);
                let url = format!("{}{path}", self.gateway);
                let mut headers = vec![("host", host), (WHOSE, owner)];
                if owner != "two" {
                    headers.push(("x-api-key", KEY));
                }
                let answer = self.client.get(&url, &headers).await?;
                ensure!(matches!(answer.status.as_u16(), 200 | 404), "{case}: {host}{path}: {answer:?}");
            }
        }
        let mut counts = [0; 2];
        for (count, (organization, upstream)) in counts.iter_mut().zip(&self.upstreams) {
            for head in upstream.take() {
                ensure!(
                    head.contains(&format!("{WHOSE}: {organization}")),
                    "{case}: {organization} got {head}"
                );
                ensure!(*organization == "one" || !head.contains(KEY), "{case}: two got a key: {head}");
                *count += 1;
            }
        }
        Ok(counts)
    }

    fn gone(&self, keys: &[&[&str]]) -> Result<()> {
        for key in keys {
            self.federation.ok(&[&["delete"], *key, &["--wait=30s"]].concat())?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn no_request_and_no_key_reaches_another_organization() -> Result<()> {
    let neighbours = Neighbours::start().await?;
    let mut seen = [0; 2];
    for (grant, one, two, fits) in CASES {
        let case = format!("{grant:?} {one:?} {two:?}");
        if let Some((host, prefix)) = grant {
            neighbours.federation.apply(&format!(
                "{{kind: HostGrant, name: g, spec: {{environments: [production], host: '{host}', pathPrefix: {prefix}, organization: one}}}}"
            ))?;
        }
        for order in [[("one", one), ("two", two)], [("two", two), ("one", one)]] {
            let mut there = Vec::new();
            for (organization, place) in order {
                let tried = neighbours.federation.operator().run(
                    &["apply", "-f", "-", "--wait=30s"],
                    &bound(organization, place),
                    &[],
                )?;
                match tried.code {
                    0 => there.push(organization),
                    code => {
                        ensure!(code == 5 && !fits, "{case}: {organization}: {tried:?}");
                        ensure!(tried.stderr.contains("HostGrant"), "{case}: {tried:?}");
                    }
                }
            }
            ensure!((there.len() == 2) == fits, "{case}: {there:?} are there");
            let counts = if fits {
                neighbours.ask(&case, |host, path| whose(grant, one, two, host, path)).await?
            } else {
                // The other one is not there: nothing may reach it.
                let only = there[0];
                let place = if only == "one" { one } else { two };
                let owned = |host: &str, path: &str| grant.is_some_and(|grant| is_in(grant, host, path));
                let whose = |host: &str, path: &str| match is_in(place, host, path)
                    && (only == "one" || !owned(host, path))
                {
                    true => only,
                    false => "nobody",
                };
                neighbours.ask(&case, whose).await?
            };
            seen = [seen[0] + counts[0], seen[1] + counts[1]];
            for organization in there {
                neighbours.gone(&[&["binding", "b", "--organization", organization]])?;
            }
        }
        if grant.is_some() {
            neighbours.gone(&[&["host-grant", "g"]])?;
        }
    }
    ensure!(seen[0] > 50 && seen[1] > 50, "{seen:?} requests reached the upstreams");
    Ok(())
}

#[tokio::test]
async fn a_grant_that_is_forced_takes_requests_at_once_and_its_delete_gives_them_back() -> Result<()> {
    let neighbours = Neighbours::start().await?;
    neighbours.federation.apply(&bound("two", ("*", "/")))?;
    let url = format!("{}/x/sec", neighbours.gateway);
    let status = async |wanted: u16| {
        eventually(&neighbours.client, &url, &[("host", "a.example")], Duration::from_secs(10), |answer| {
            answer.status == wanted
        })
        .await
    };
    status(200).await?;
    let grant =
        "{kind: HostGrant, name: g, spec: {environments: [production], host: a.example, organization: one}}";
    let operator = neighbours.federation.operator();
    let refused = operator.run(&["apply", "-f", "-"], grant, &[])?;
    ensure!(refused.code == 5 && refused.stderr.contains("--force-grants"), "{refused:?}");
    let forced = operator.run(&["apply", "-f", "-", "--force-grants", "--wait=30s"], grant, &[])?;
    ensure!(forced.code == 0, "{forced:?}");
    ensure!(forced.stderr.contains("takes requests from Binding two/b to a.example/"), "{forced:?}");
    status(404).await?;
    let shown = operator.ok(&["get", "host-grants"])?;
    let columns: Vec<&str> = shown.lines().next().context("a head")?.split_whitespace().collect();
    ensure!(columns[1..5] == ["HOST", "PATH", "ORGANIZATION", "ENVIRONMENTS"], "{shown}");
    let described = operator.ok(&["describe", "environment", "production"])?;
    ensure!(described.contains("Host grants"), "{described}");
    operator.ok(&["delete", "host-grant", "g", "--wait=30s"])?;
    status(200).await?;
    Ok(())
}
