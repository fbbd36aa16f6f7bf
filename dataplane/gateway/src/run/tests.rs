//! A whole gateway against an agent.

mod deadly;
mod harness;

use std::{path::Path, time::Duration};

use hanse_identity::Authority;
use hanse_link::{Persistence, StoreKey, StoreOptions};
use hanse_process::ShutdownTrigger;
use tokio::net::TcpListener;

use self::harness::*;
use super::*;
use crate::testbed::{SOON, eventually, internal_listener, listener};

#[tokio::test]
async fn a_gateway_joins_serves_follows_and_goes_on_alone() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    let (http, admin) = (http_of(&config), config.listen.admin.clone());
    let (trigger, running) = start(&config);

    until(&admin, "/livez", 200).await;
    eventually("it has joined", async || get(&admin, "/readyz").await.1.contains("no configuration")).await;
    assert!(until(&http, "/orders", 503).await.contains("not-ready"));

    agent.publish(3, "orders");
    until(&http, "/orders", 502).await; // no process listens on port 9
    until(&admin, "/readyz", 200).await;
    eventually("revision 3 is acknowledged", async || agent.acknowledged() == Some(3)).await;
    agent.publish(4, "items");
    eventually("revision 4 is acknowledged", async || agent.acknowledged() == Some(4)).await;
    assert_eq!(get(&http, "/items").await.0, 502); // acknowledged means served

    let shown = until(&admin, "/config", 200).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["identity"], "gateway-1.gateway.eu-west.hanse.internal");
    assert_eq!(shown["scopes"][0]["scope"], "runtime/eu-west/production");
    assert_eq!((&shown["scopes"][0]["revision"], &shown["scopes"][0]["routes"]), (&4.into(), &2.into()));
    assert_eq!(shown["scopes"][0]["root"], agent.root().to_string(), "that of revision 4");
    assert_eq!(shown["agent"]["name"], "agent-1");
    let entry = &shown["entries"][0];
    assert_eq!((&entry["address"], &entry["exposure"]), (&http.as_str().into(), &"external".into()));
    let metrics = until(&admin, "/metrics", 200).await;
    assert!(
        metrics.contains("hanse_gateway_config_revision{scope=\"runtime/eu-west/production\"} 4"),
        "{metrics}"
    );
    assert!(metrics.contains("hanse_gateway_rejected_total{reason=\"upstream-unreachable\"}"), "{metrics}");

    // Without its agent it goes on.
    agent.trigger.trigger();
    eventually("the loss is noticed", async || {
        let shown: serde_json::Value = serde_json::from_str(&until(&admin, "/config", 200).await).unwrap();
        shown["agent"]["connectedTo"].is_null()
    })
    .await;
    assert_eq!((get(&http, "/items").await.0, get(&admin, "/readyz").await.0), (502, 200));

    trigger.trigger();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert_eq!(get(&http, "/items").await.0, 0);
}

#[tokio::test]
async fn a_gateway_that_was_told_to_stop_says_so_and_serves_on_for_a_while() {
    let agent = Agent::start().await;
    agent.publish(3, "orders");
    let dir = tempfile::tempdir().unwrap();
    let mut config = agent.config(dir.path());
    config.drain.announce_ms = 1_500;
    let (http, admin) = (http_of(&config), config.listen.admin.clone());
    let (trigger, running) = start(&config);
    until(&admin, "/readyz", 200).await;
    let shown: serde_json::Value = serde_json::from_str(&until(&admin, "/upstreams", 200).await).unwrap();
    assert_eq!(shown["endpoints"], serde_json::json!([{"url": "http://127.0.0.1:9", "health": "healthy"}]));
    assert_eq!(get(&http, "/orders").await.0, 502);
    let shown: serde_json::Value = serde_json::from_str(&until(&admin, "/upstreams", 200).await).unwrap();
    assert_eq!(shown["endpoints"][0]["lastFailure"], "no connection");
    let metrics = until(&admin, "/metrics", 200).await;
    assert!(metrics.contains("hanse_gateway_upstream_endpoints{health=\"healthy\"} 1\n"), "{metrics}");

    trigger.trigger();
    assert!(until(&admin, "/readyz", 503).await.contains("draining"));
    assert_eq!((get(&http, "/orders").await.0, get(&admin, "/livez").await.0), (502, 200));
    assert!(!running.is_finished());
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert_eq!((get(&http, "/orders").await.0, get(&admin, "/livez").await.0), (0, 0));
}

#[tokio::test]
async fn a_certificate_on_disk_is_used_again_and_a_token_is_not() {
    let agent = Agent::start().await;
    agent.publish(3, "orders");
    let dir = tempfile::tempdir().unwrap();
    let mut config = agent.config(dir.path());
    for _ in 0..2 {
        let (trigger, running) = start(&config);
        until(&http_of(&config), "/orders", 502).await;
        trigger.trigger();
        tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    }
    // Under another name the directory is another's.
    config.name = name("gateway-2");
    let (_trigger, running) = start(&config);
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Node(hanse_node::Error::OtherIdentity { .. })), "{error}");
    // And a second gateway cannot come in by the same token.
    let elsewhere = tempfile::tempdir().unwrap();
    config.data_dir = elsewhere.path().join("data");
    let (_trigger, running) = start(&config);
    let error = running.await.unwrap().unwrap_err();
    assert!(hanse_process::telemetry::causes(&error).to_string().contains("used up"), "{error:?}");
    // Without a token it says what to do.
    config.join_token_file = None;
    let (_trigger, running) = start(&config);
    let error = running.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("hanse agent mint-token"), "{error}");
}

#[tokio::test]
async fn a_join_that_was_cut_off_is_repeated_with_the_same_key() {
    let agent = Agent::start().await;
    agent.publish(3, "orders");
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    // The token is spent, and what came of it cannot be saved.
    std::fs::create_dir_all(&config.data_dir).unwrap();
    std::fs::write(config.node().pki_dir(), "a file where the directory should be").unwrap();
    let (_trigger, running) = start(&config);
    assert!(matches!(running.await.unwrap().unwrap_err(), Error::Node(hanse_node::Error::Pki(_))));
    // Or only the key could be, which is written first.
    std::fs::remove_file(config.node().pki_dir()).unwrap();
    std::fs::create_dir(config.node().pki_dir()).unwrap();
    std::fs::write(config.node().pki_dir().join("key.pem"), "half").unwrap();
    let running = start(&config);
    until(&http_of(&config), "/orders", 502).await;
    assert!(!config.data_dir.join("joining-key.json").exists(), "it has joined");
    stop(running).await;
}

/// An agent that can be asked no more, and a gateway that has stored what it served.
async fn stored_and_alone(dir: &Path) -> (Agent, Config) {
    let agent = Agent::start().await;
    agent.publish(3, "orders");
    agent.publish_many(4);
    let config = agent.config(dir);
    let running = start(&config);
    until(&http_of(&config), "/orders", 502).await;
    eventually("what is served is durable", async || agent.durable() == Some(4)).await;
    stop(running).await;
    agent.trigger.trigger();
    (agent, config)
}

#[tokio::test]
async fn a_restarted_gateway_serves_alone_from_its_first_request_on() {
    let dir = tempfile::tempdir().unwrap();
    let (agent, mut config) = stored_and_alone(dir.path()).await;
    config.join_token_file = None;
    let running = start(&config);
    // A client that can connect is served: there is no moment between listening and serving.
    let http = http_of(&config);
    let begun = Instant::now();
    let first = loop {
        match get(&http, "/orders").await {
            (0, _) if begun.elapsed() < SOON => tokio::time::sleep(Duration::from_millis(1)).await,
            (status, _) => break status,
        }
    };
    assert_eq!(first, 502, "nobody listens on port 9, which it was told by nobody but its disk");
    until(&config.listen.admin, "/readyz", 200).await;
    let shown = until(&config.listen.admin, "/config", 200).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["scopes"][0]["revision"], &shown["agent"]["name"]), (&4.into(), &().into()));
    stop(running).await;
    drop(agent);
}

#[tokio::test]
async fn a_restarted_gateway_has_the_endpoints_of_an_origin_from_its_disk() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start().await;
    // It takes connections and answers none of them.
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    agent.publish_set(3, &format!("http://{}", backend.local_addr().unwrap()));
    let mut config = agent.config(dir.path());
    let http = http_of(&config);
    let running = start(&config);
    let east = EAST.parse().unwrap();
    let is_durable = async || (agent.durable(), agent.durable_of(&east)) == (Some(3), Some(3));
    eventually("both scopes are durable", is_durable).await;
    stop(running).await;
    agent.trigger.trigger();

    config.join_token_file = None;
    let running = start(&config);
    let mut asks = std::pin::pin!(until(&http, "/pets", 502));
    let mut arrived = 0;
    loop {
        tokio::select! {
            _ = &mut asks => break,
            accepted = backend.accept() => {
                drop(accepted.unwrap());
                arrived += 1;
            }
        }
    }
    assert!(arrived > 0, "requests go to the endpoint of the set");
    stop(running).await;
}

#[tokio::test]
async fn an_expired_certificate_keeps_nobody_from_serving_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (agent, mut config) = stored_and_alone(dir.path()).await;
    let found = hanse_identity::Credentials::load(&config.node().pki_dir()).unwrap();
    let expired = expired_like(&found, &agent.authority);
    expired.save(&config.node().pki_dir()).unwrap();
    config.join_token_file = None;
    let running = start(&config);
    until(&http_of(&config), "/orders", 502).await;
    stop(running).await;
}

/// A certificate as the one given, whose time is over.
fn expired_like(found: &hanse_identity::Credentials, authority: &Authority) -> hanse_identity::Credentials {
    let chain = found.chain();
    let key = rcgen::KeyPair::from_pem(&found.key().to_pem()).unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec![found.identity().to_string()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 2);
    let signing = rcgen::KeyPair::from_pem(&authority_key(authority).to_pem()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&chain[1], signing).unwrap();
    let leaf = parameters.signed_by(&key, &issuer).unwrap();
    let mut expired = chain.clone();
    expired[0] = leaf.der().clone();
    hanse_identity::Credentials::new(expired, found.key().clone()).unwrap()
}

#[tokio::test]
async fn a_store_of_other_environments_is_not_served_as_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (_agent, config) = stored_and_alone(dir.path()).await;
    let identity = hanse_identity::Credentials::load(&config.node().pki_dir()).unwrap().identity().clone();
    let may_serve = async |config: &Config| {
        let (dir, key) = (config.data_dir.join("store"), StoreKey::beside(&config.data_dir));
        let options = StoreOptions { dir, node: identity.to_string(), key, makes_key: true };
        let kept = Persistence::open(options, &config.node().wanted).await.unwrap();
        let may_serve = stored::may_serve(&kept.replicas, &kept.store, kept.is_partial, &config.environments);
        let persisting = kept.persister.run(ShutdownTrigger::new().1);
        tokio::time::timeout(SOON, persisting).await.unwrap(); // once, since it is told to stop
        may_serve
    };
    assert!(may_serve(&config).await, "as long as nothing is missing");
    let narrower = Config { environments: vec![name("production")], ..config.clone() };
    assert!(!may_serve(&narrower).await);
    assert!(!may_serve(&config).await, "and that is remembered until all is there again");
}

#[tokio::test]
async fn a_gateway_waits_for_its_agent_and_stops_when_told() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = agent.config(dir.path());
    // It is there, and no agent.
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.enrolment = vec![stranger.local_addr().unwrap().to_string()];
    let (trigger, running) = start(&config);
    for _ in 0..2 {
        drop(tokio::time::timeout(SOON, stranger.accept()).await.expect("it asks again").unwrap());
    }
    assert!(!running.is_finished());
    stop((trigger, running)).await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = agent.config(dir.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.listen.http.0[0].address = taken.local_addr().unwrap().to_string();
    let (_trigger, running) = start(&config);
    let error = running.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("listen.http"), "{error}");
}

#[tokio::test]
async fn an_entry_serves_what_its_exposure_in_the_file_says() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = agent.config(dir.path());
    let external = http_of(&config);
    // Requests have the host 127.0.0.1.
    agent.publish_environment(3, "back-office", internal_listener("back-office", &["127.0.0.1"]));
    agent.publish_environment(3, "partner", listener("partner", &[]));
    let internal = format!("127.0.0.1:{}", free_port());
    config.listen = toml::from_str(&format!(
        "http = [{external:?}, {{ address = {internal:?}, exposure = \"internal\" }}]\nadmin = {:?}",
        config.listen.admin
    ))
    .unwrap();
    let running = start(&config);
    until(&config.listen.admin, "/readyz", 200).await;
    let at = async |address: &str| (get(address, "/back-office").await.0, get(address, "/partner").await.0);
    // No process listens on port 9, so 502 says that an Api has the request.
    assert_eq!(at(&internal).await, (502, 404));
    assert_eq!(at(&external).await, (404, 502));
    stop(running).await;
}

#[tokio::test]
async fn a_gateway_serves_on_while_the_task_that_keeps_its_table_is_started_again() {
    let agent = Agent::start().await;
    agent.publish(3, "orders");
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    let (http, admin) = (http_of(&config), config.listen.admin.clone());
    let running = start(&config);
    until(&admin, "/readyz", 200).await;
    agent.publish_fault(4);
    let said = until(&admin, "/readyz", 503).await;
    assert!(said.contains("the task keeper ended and is started again"), "{said}");
    assert_eq!(get(&http, "/orders").await.0, 502, "the last table stays in force");
    until(&admin, "/readyz", 200).await;
    assert!(until(&admin, "/metrics", 200).await.contains("hanse_task_restarts_total{task=\"keeper\"} 1\n"));
    agent.publish(5, "items");
    until(&http, "/items", 502).await;
    assert_eq!(get(&http, "/orders").await.0, 502);
    stop(running).await;
}

/// Its agent lost what it knew of the gateway, and the operator left a new token where the first was.
#[tokio::test]
async fn who_is_not_renewed_joins_again_with_the_key_it_has() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    let (clock, hand) = WallClock::simulated(std::time::SystemTime::now());
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let shell = Shell::start(config.node(), clock, shutdown).await.unwrap();
    let own = shell.join::<Credentials>(&config.node().pki_dir()).await.unwrap().unwrap();
    let live = LiveCredentials::new(own);
    let first = live.current();

    *agent.unspent.lock().unwrap() = Some(agent.token.clone());
    hand.advance(Duration::from_secs(15 * 3600));
    let node = JoinedNode::open(shell, live.clone()).await.unwrap();
    node.renew_certificate();
    eventually("it joins again", async || live.current().chain()[0] != first.chain()[0]).await;
    assert_eq!(live.current().key().public_key_der(), first.key().public_key_der());
    assert_eq!(live.identity(), *first.identity());
    assert!(agent.unspent.lock().unwrap().is_none(), "the token did it");
}
