//! Certificates that a region's key makes, or that are another region's: no peer is heard for them alone.

use std::time::Duration;

use hanse_identity::{Authority, Credentials, connect};
use hanse_proto::{
    nested,
    sync::{
        Heard, Introduction, Report, SubscriberMessage, publisher_message, subscriber_message::Body,
        sync_client::SyncClient,
    },
};
use hanse_topology::{Identity, Name, Role};
use http::Method;
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::federation::{Federation, at_work};

/// How a peer with these credentials fares that introduces itself and reports: the first answer.
async fn speak(
    federation: &Federation,
    address: &str,
    credentials: Credentials,
    report: Option<Report>,
) -> Result<Option<publisher_message::Body>, Status> {
    let tls = federation.client(credentials, &[Role::Server, Role::Agent]);
    let channel = connect(address, tls).await.map_err(|error| Status::unknown(error.to_string()))?;
    let (outbound, messages) = tokio::sync::mpsc::channel(4);
    let introduction = Introduction { boot_id: vec![9; 16].into(), ..Default::default() };
    for body in [Some(Body::Introduction(introduction)), report.map(Body::Report)].into_iter().flatten() {
        outbound.send(SubscriberMessage { body: Some(body) }).await.unwrap();
    }
    let mut stream = SyncClient::new(channel).subscribe(ReceiverStream::new(messages)).await?.into_inner();
    let first = stream.message().await?;
    Ok(first.and_then(|message| message.body))
}

async fn status(federation: &Federation) -> Value {
    federation.operate(Method::GET, "/v1/status", String::new()).await
}

/// The authority of a region certifies an agent that never joined. It reports so much that control nodes could not tell each other,
/// and of gateways that are not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_never_joined_is_not_heard() {
    let (federation, server, agent, gateway, running) = at_work().await;
    let authority = Authority::load(federation.agent_dir().join("pki").join("region")).unwrap();
    let named = |text: &str| Identity::agent(Name::new(text).unwrap(), Name::new("eu-west").unwrap());
    let phantom = Heard {
        identity: "phantom.gateway.eu-west.hanse.internal".into(),
        connected: true,
        ..Default::default()
    };
    let large = Heard { identity: "x".repeat(8_800_000), ..phantom.clone() };
    for heard in [phantom, large] {
        let ghost = authority.issue_credentials(&named("ghost"), &[]).unwrap();
        let report = Report { below: nested::in_a_row(&[heard]), ..Default::default() };
        let refused = speak(&federation, federation.server_address(), ghost, Some(report)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert!(refused.message().contains("does not know that ghost.agent.eu-west"), "{refused}");
    }
    // The key of one agent is not another's, even where their region is the same.
    let config = federation.another_agent("agent-2").await;
    let other = federation.start_this_agent(&config).await;
    let agents = async || status(&federation).await["regions"][0]["agents"].as_array().unwrap().len();
    federation.eventually("the other agent is heard", async || agents().await == 2).await;
    let impostor = authority.issue_credentials(&named("agent-2"), &[]).unwrap();
    let refused = speak(&federation, federation.server_address(), impostor, None).await.unwrap_err();
    assert!(refused.message().contains("joined with another key"), "{refused}");

    let shown = status(&federation).await.to_string();
    assert!(!shown.contains("ghost") && !shown.contains("phantom"), "{shown}");
    let revision = federation.apply(json!([{"kind": "Organization", "name": "shop", "spec": {}}])).await;
    let path = format!("/v1/convergence?revision={revision}");
    federation
        .eventually("the gateway is seen to serve it", async || {
            let found = federation.operate(Method::GET, &path, String::new()).await;
            found["converged"] == true && found["gateways"][0]["state"] == "effective"
        })
        .await;
    assert!(gateway.follows_its_agent().await);
    for role in [running, agent, other, server] {
        role.stop().await;
    }
}

/// A gateway of the region that joined at another agent is told why, and one of another region is not let in at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_hears_gateways_that_joined_there_and_of_its_region_only() {
    let (federation, server, agent, gateway, running) = at_work().await;
    let authority = Authority::load(federation.agent_dir().join("pki").join("region")).unwrap();
    let stranger = Identity::gateway(Name::new("gateway-2").unwrap(), Name::new("eu-west").unwrap());
    let stranger = authority.issue_credentials(&stranger, &[]).unwrap();
    let refused = speak(&federation, federation.agent_address(), stranger, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("did not admit gateway-2.gateway.eu-west"), "{refused}");

    let region = federation.authority_of("us-east");
    let name = Name::new("gateway-1").unwrap();
    let foreign = Identity::gateway(name, Name::new("us-east").unwrap());
    let foreign = region.issue_credentials(&foreign, &[]).unwrap();
    let refused = speak(&federation, federation.agent_address(), foreign, None).await.unwrap_err();
    assert_ne!(refused.code(), Code::Unavailable, "in the handshake: {refused}");
    let known = async || status(&federation).await["regions"][0]["gateways"].as_array().unwrap().len();
    federation.eventually("the gateway is reported", async || known().await > 0).await;
    assert_eq!(known().await, 1, "nobody else is");
    assert!(gateway.follows_its_agent().await);
    for role in [running, agent, server] {
        role.stop().await;
    }
}

/// Another process comes with a gateway's key and goes: the gateway is heard again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_heard_again_when_its_twin_has_gone() {
    /// The gateway stays away for 30 to 35 s.
    const PAUSE: Duration = Duration::from_secs(30);
    let (federation, server, agent, gateway, running) = at_work().await;
    let connected =
        async || status(&federation).await["regions"][0]["gateways"][0]["connected"] == json!(true);
    federation.eventually("it is heard", connected).await;
    let twin = gateway.credentials().unwrap();
    let welcomed = speak(&federation, federation.agent_address(), twin, None).await.unwrap();
    assert!(matches!(welcomed, Some(publisher_message::Body::Welcome(_))), "{welcomed:?}");
    let superseded = std::time::Instant::now();
    federation.eventually("its stream ended", async || !connected().await).await;
    federation
        .eventually("it knows why", async || {
            let because = gateway.cut_off_because().await;
            because.is_some_and(|why| why.contains("another process with this node's identity"))
        })
        .await;
    federation.eventually("it is heard again", connected).await;
    assert!(superseded.elapsed() >= PAUSE, "it came back after {:?}", superseded.elapsed());
    for role in [running, agent, server] {
        role.stop().await;
    }
}
