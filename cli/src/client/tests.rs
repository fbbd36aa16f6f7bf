use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::json;

use super::*;
use crate::{
    args::{UpgradeArgs, UpgradeCommand},
    client_config::default_organization,
    commands::upgrade::upgrade,
    exit::Exit,
};

/// A resource of which a test says a part.
pub(crate) fn resource(said: Value) -> Resource {
    let mut whole = json!({
        "kind": "Plan", "name": "x", "labels": {}, "spec": {}, "revision": 1, "createdAt": "", "updatedAt": "",
    });
    whole.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

/// What a server is asked, and what it answers.
#[derive(Clone, Default)]
struct Script {
    asked: Arc<Mutex<Vec<String>>>,
    /// The bodies of the requests that had one.
    bodies: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Vec<(StatusCode, Value)>>>,
    /// Says so on every answer.
    restarted: Arc<AtomicBool>,
}

async fn play(State(script): State<Script>, request: Request) -> Response {
    let key =
        request.headers().get("idempotency-key").map(|key| format!(" key {}", key.len())).unwrap_or_default();
    script.asked.lock().unwrap().push(format!("{} {}{key}", request.method(), request.uri()));
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    if !body.is_empty() {
        script.bodies.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
    }
    let (status, body) = script.answers.lock().unwrap().remove(0);
    let mut response = (status, [("hanse-revision", "9")], body.to_string()).into_response();
    if script.restarted.load(Ordering::Relaxed) {
        response.headers_mut().insert("hanse-restarted", "true".parse().unwrap());
    }
    response
}

async fn server(answers: Vec<(StatusCode, Value)>) -> (String, Script) {
    let script = Script { answers: Arc::new(Mutex::new(answers)), ..Script::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(
        axum::serve(listener, Router::new().fallback(play).with_state(script.clone())).into_future(),
    );
    (url, script)
}

fn client(servers: Vec<String>) -> (Client, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.crt");
    let anchor = hanse_identity::Authority::new_root().unwrap().trust_anchor().unwrap();
    std::fs::write(&ca_file, anchor.to_pem()).unwrap();
    let config = ClientConfig { servers, ca_file, token: "t".into(), organization: default_organization() };
    (Client::new(config, dir.path().join("client.toml")).unwrap(), dir)
}

/// A client of a server that answers so.
pub(crate) async fn client_of(router: Router) -> (Client, tempfile::TempDir) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    client(vec![url])
}

/// A client of a server that takes connections and says nothing.
pub(crate) async fn silent_server() -> (Client, tokio::net::TcpListener, tempfile::TempDir) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, dir) = client(vec![format!("http://{}", listener.local_addr().unwrap())]);
    (client, listener, dir)
}

fn problem(name: &str, status: u16) -> (StatusCode, Value) {
    let body = json!({"type": format!("urn:hanse:problem:{name}"), "status": status, "detail": "D", "field": "F", "remedy": "R"});
    (StatusCode::from_u16(status).unwrap(), body)
}

fn api(name: &str) -> ResourceKey {
    ResourceKey::owned(Kind::Api, default_organization(), Name::new(name).unwrap())
}

#[tokio::test]
async fn a_dead_server_is_passed_over_and_the_living_one_remembered() {
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let (living, script) =
        server(["a", "b"].map(|name| (StatusCode::OK, json!(resource(json!({"name": name}))))).into()).await;
    let (client, _dir) = client(vec![dead, living]);
    assert_eq!(client.get(&api("x"), false).await.unwrap().name, "a");
    assert_eq!(client.get(&api("x"), true).await.unwrap().name, "b");
    let asked = script.asked.lock().unwrap().clone();
    let path = "GET /v1/organizations/default/apis/x";
    assert_eq!(asked, [path.to_owned(), format!("{path}?consistency=stale")]);
}

#[tokio::test]
async fn a_version_is_finalized_by_its_number() {
    let standing = |next: Option<u32>| {
        let upgrade = Upgrade { version: 1, release: "0.1.0".to_owned(), next, ..Upgrade::default() };
        (StatusCode::OK, json!(upgrade))
    };
    let finalized = json!({"version": 2, "release": "0.2.0", "revision": 9});
    let (url, script) = server(vec![standing(Some(2)), (StatusCode::OK, finalized), standing(None)]).await;
    let (client, _dir) = client(vec![url]);
    let args = UpgradeArgs { command: UpgradeCommand::Finalize };
    for _again in 0..2 {
        upgrade(&client, &args).await.unwrap();
    }
    let asked = script.asked.lock().unwrap().clone();
    let status = "GET /v1/upgrade";
    assert_eq!(asked, [status, "POST /v1/upgrade/finalize key 32", status], "there is none after the last");
    assert_eq!(*script.bodies.lock().unwrap(), [r#"{"version":2}"#]);
}

#[tokio::test]
async fn a_restarted_node_is_noticed() {
    let answers = (0..2).map(|_| (StatusCode::OK, json!({"items": [], "revision": 9}))).collect();
    let (url, script) = server(answers).await;
    let (client, _dir) = client(vec![url]);
    client.list(Kind::Plan, true).await.unwrap();
    assert_eq!(client.restart_note(), None);
    script.restarted.store(true, Ordering::Relaxed);
    client.list(Kind::Plan, true).await.unwrap();
    assert!(client.restart_note().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_large_body_has_time_of_its_own() {
    let send = async |client: &Client, bytes: usize| {
        let (body, begun) = (Bytes::from(vec![b' '; bytes]), tokio::time::Instant::now());
        let sent = client.http.send(Method::POST, "/v1/apply", Some(body), None).await;
        (sent.map(drop).map_err(|error| error.to_string()), begun.elapsed().as_secs())
    };
    let (client, _listener, _dir) = silent_server().await;
    for (mebibytes, seconds) in [(0, 20), (1, 22), (15, 50)] {
        let (sent, took) = send(&client, mebibytes << 20).await;
        let said = sent.unwrap_err();
        assert!(said.contains(&format!("no answer within {seconds} s")), "{mebibytes} MiB: {said}");
        assert_eq!(took, seconds, "{mebibytes} MiB");
    }
}

#[tokio::test]
async fn a_watch_tells_changes_and_its_refusal() {
    let text = "event: put\nid: 8\ndata: {\"kind\":\"Plan\",\"name\":\"a\",\"revision\":8}\n\n";
    let answer = move |request: Request| async move {
        match request.uri().to_string().as_str() {
            "/v1/watch?from=7&kinds=plans,apis" => {
                assert_eq!(request.headers()["accept"], "text/event-stream");
                text.into_response()
            }
            _ => {
                let (status, body) = problem("gone", 410);
                (status, body.to_string()).into_response()
            }
        }
    };
    let (client, _dir) = client_of(Router::new().fallback(answer)).await;
    let mut watch = client.watch(&[Kind::Plan, Kind::Api], 7).await.unwrap();
    let said = watch.next().await.unwrap().unwrap();
    assert!(matches!(&said[..], [Said::Change(change), Said::UpTo(8)] if change.name == "a"), "{said:?}");
    assert!(watch.next().await.unwrap().is_none(), "the stream has ended");
    let error = client.watch(&[Kind::Plan], 1).await.unwrap_err();
    assert_eq!(problem_of(&error), Some(ProblemName::Gone), "{error}");
}

#[tokio::test]
async fn problems_keep_their_words_and_codes() {
    let (url, _script) =
        server(vec![problem("in-use", 409), problem("not-found", 404), problem("unauthenticated", 401)])
            .await;
    let (client, dir) = client(vec![url]);
    let error = client.delete(&api("x"), false).await.unwrap_err();
    assert_eq!(crate::exit::explain(&error), "error: F: D\n  hint: R");
    assert_eq!(crate::exit::exit_of(&error), Exit::Conflict);
    assert!(client.find(&api("x")).await.unwrap().is_none());
    let error = client.status().await.unwrap_err();
    assert_eq!(crate::exit::exit_of(&error), Exit::Auth);
    let from = format!("(the token in {})", dir.path().join("client.toml").display());
    assert!(error.to_string().contains(&from), "{error}");
}

#[tokio::test]
async fn a_node_without_quorum_leads_to_the_next_with_the_same_key() {
    let (lost, first) = server(vec![problem("no-quorum", 503)]).await;
    let (good, second) = server(vec![(StatusCode::OK, json!({"revision": 9, "changes": []}))]).await;
    let (client, _dir) = client(vec![lost, good]);
    assert_eq!(client.delete(&api("x"), true).await.unwrap().revision, 9);
    let asked = "DELETE /v1/organizations/default/apis/x?forceGrants=true key 32";
    assert_eq!(*first.asked.lock().unwrap(), [asked]);
    assert_eq!(*second.asked.lock().unwrap(), [asked]);
}

#[tokio::test]
async fn no_quorum_anywhere_is_said_in_the_servers_words() {
    let (url, _script) = server(vec![problem("no-quorum", 503); 3]).await;
    let (client, _dir) = client(vec![url]);
    let error = client.status().await.unwrap_err();
    assert_eq!((crate::exit::exit_of(&error), error.to_string()), (Exit::NoQuorum, "F: D\n  hint: R".into()));
}

#[tokio::test]
async fn lists_follow_continue() {
    let named = |name: &str| resource(json!({"name": name}));
    let page = |items: &[&str], revision: u64, next: Option<&str>| {
        let items: Vec<_> = items.iter().copied().map(named).collect();
        (StatusCode::OK, json!({"items": items, "revision": revision, "continue": next}))
    };
    let (url, script) = server(vec![page(&["1", "2"], 7, Some("a&b")), page(&["3"], 8, None)]).await;
    let (client, _dir) = client(vec![url]);
    let listed = client.list(Kind::Region, false).await.unwrap();
    assert_eq!(listed, Page { items: vec![named("1"), named("2"), named("3")], revision: 7, next: None });
    let asked = script.asked.lock().unwrap().clone();
    assert_eq!(asked, ["GET /v1/regions?limit=1000", "GET /v1/regions?limit=1000&continue=a%26b"]);
}

#[tokio::test]
async fn an_apply_carries_a_key_unless_it_prunes() {
    let answer = (StatusCode::OK, json!({"revision": 1, "changes": []}));
    let (url, script) = server(vec![answer.clone(), answer.clone(), answer]).await;
    let (client, _dir) = client(vec![url]);
    client.apply(&[], &ApplyOptions { dry_run: true, force_grants: true, prune: None }).await.unwrap();
    client.apply(&[], &ApplyOptions { prune: Some("a=b,c=d"), ..ApplyOptions::default() }).await.unwrap();
    let request = hanse_api::answer::ApplyRequest::of(Vec::new());
    client.propose(&request, &ApplyOptions::default(), "a & b").await.unwrap_err();
    let asked = script.asked.lock().unwrap().clone();
    let expected = [
        "POST /v1/apply?organization=default&dryRun=true&forceGrants=true key 32",
        "POST /v1/apply?organization=default&prune=true&selector=a%3Db%2Cc%3Dd",
        "POST /v1/apply?organization=default&propose=a+%26+b key 32",
    ];
    assert_eq!(asked, expected);
}

#[test]
fn sizes_are_checked_before_sending() {
    assert!(check_size(MAX_BODY_BYTES).is_ok());
    let error = check_size(MAX_BODY_BYTES + 1).unwrap_err().to_string();
    assert!(error.starts_with("the request would be 16.1 MiB; the limit is 16 MiB"), "{error}");
    assert_eq!(mebibytes(50 << 20), "50 MiB");
}

#[test]
fn tokens_never_leave_this_machine_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.crt");
    let anchor = hanse_identity::Authority::new_root().unwrap().trust_anchor().unwrap();
    std::fs::write(&ca_file, anchor.to_pem()).unwrap();
    for (server, sound) in [
        ("http://127.0.0.1:1", true),
        ("https://example.com/", true),
        ("http://example.com", false),
        ("x", false),
    ] {
        let config = ClientConfig {
            servers: vec![server.into()],
            ca_file: ca_file.clone(),
            token: "t".into(),
            organization: default_organization(),
        };
        let client = Client::new(config, dir.path().into());
        assert_eq!(client.is_ok(), sound, "{server}");
        if server.starts_with("http://e") {
            let said = client.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains("unencrypted") && said.contains("hint: write https://"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_server_of_another_federation_is_told_from_one_that_is_gone() {
    use hanse_identity::{
        Alpn, Authority, Bounds, Clients, KeyPair, Listener, ListenerMetrics, LiveCredentials, server_tls,
    };
    use hanse_process::ShutdownTrigger;
    use hanse_topology::{Identity, Role};
    let name = Name::new("cp-1").unwrap();
    let key = KeyPair::generate().unwrap();
    let chain =
        Authority::new_root().unwrap().issue_control_intermediate(&key.public_key_der(), &name).unwrap();
    let theirs = Authority::from_parts(chain, key).unwrap();
    let identity = Identity { name, role: Role::Server, region: None };
    let credentials = LiveCredentials::new(theirs.issue_credentials(&identity, &[]).unwrap());
    let tls = server_tls(&credentials, Clients::Anyone, Alpn::Http1And2).unwrap();
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", tcp.local_addr().unwrap());
    let listener = Listener::new("api", tcp, Bounds::of_api(10), &ListenerMetrics::default()).with_tls(tls);
    let (_trigger, shutdown) = ShutdownTrigger::new();
    tokio::spawn(listener.serve(Router::new(), shutdown));

    let (client, _dir) = client(vec![url]);
    let error = client.status().await.unwrap_err();
    assert_eq!(crate::exit::exit_of(&error), Exit::NoQuorum);
    assert!(error.to_string().contains("hint: check that `ca_file` "), "{error}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_looked_for_in_servers() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (client, _dir) = client(vec![format!("https://{gone}")]);
    let error = client.status().await.unwrap_err();
    assert!(error.to_string().contains("hint: check `servers` "), "{error}");
}
