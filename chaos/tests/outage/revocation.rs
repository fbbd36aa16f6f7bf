//! A member that was revoked before an outage stays out during it.

use std::time::Duration;

use http::Method;

use crate::federation::{at_work, follows};

const DAY: Duration = Duration::from_secs(24 * 3600);
const GATEWAY: &str = "/v1/revocations/gateway-1.gateway.eu-west.hanse.internal";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_gateway_stays_out_with_the_control_plane_gone() {
    let (federation, server, agent, gateway, running) = at_work().await;
    let served = gateway.revision().await;
    federation.operate(Method::PUT, GATEWAY, String::new()).await;
    federation.eventually("it is cut off", async || gateway.cut_off_because().await.is_some()).await;
    assert!(gateway.revision().await >= served, "and serves what it had");

    server.stop().await;
    agent.stop().await;
    let agent = federation.start_agent().await;
    running.stop().await;
    federation.hand.advance(2 * DAY);
    let expired = gateway.credentials().unwrap().chain()[0].clone();
    let running = federation.start_gateway(&gateway).await;
    federation
        .eventually("it is refused by an agent that only remembers", async || {
            // By the alert, or by the connection that was gone before the call.
            let because = gateway.cut_off_because().await;
            because.is_some_and(|why| why.contains("alert") || why.contains("canceled"))
        })
        .await;
    assert_eq!(gateway.credentials().unwrap().chain()[0], expired, "and is not renewed");

    let server = federation.start_server().await;
    federation.operate(Method::DELETE, GATEWAY, String::new()).await;
    federation
        .eventually("it is renewed when it is readmitted", async || {
            federation.hand.advance(Duration::from_secs(60));
            gateway.credentials().unwrap().chain()[0] != expired
        })
        .await;
    follows(&federation, &gateway).await;
    for role in [running, agent, server] {
        role.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_agent_is_cut_off_and_not_renewed_until_it_is_readmitted() {
    let (federation, server, agent, gateway, running) = at_work().await;
    let path = "/v1/revocations/agent-1.agent.eu-west.hanse.internal";
    let before = federation.authority();
    federation.operate(Method::PUT, path, String::new()).await;
    federation.eventually("it is cut off", async || !federation.agent_is_connected().await).await;
    federation.hand.advance(20 * DAY);
    federation
        .eventually("a gateway follows it all the same: its certificate is good", async || {
            gateway.follows_its_agent().await
        })
        .await;
    assert_eq!(federation.authority(), before, "it is due, and refused");

    federation.operate(Method::DELETE, path, String::new()).await;
    federation
        .eventually("it is renewed and connected again", async || {
            federation.hand.advance(Duration::from_secs(60));
            federation.authority() != before && federation.agent_is_connected().await
        })
        .await;
    for role in [running, agent, server] {
        role.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_leaves_a_revoked_agent_on_anothers_word_and_remembers_it() {
    let (federation, server, agent, mut gateway, running) = at_work().await;
    let config = federation.another_agent("agent-2").await;
    running.stop().await;
    gateway.add_agent(&config);
    let running = federation.start_gateway(&gateway).await;
    follows(&federation, &gateway).await; // the other one does not run yet
    let other = federation.start_this_agent(&config).await;

    federation
        .operate(Method::PUT, "/v1/revocations/agent-1.agent.eu-west.hanse.internal", String::new())
        .await;
    let followed = serde_json::json!("agent-2.agent.eu-west.hanse.internal");
    federation
        .eventually("it follows the other one", async || gateway.followed().await.as_ref() == Some(&followed))
        .await;

    for role in [server, other, running] {
        role.stop().await;
    }
    let running = federation.start_gateway(&gateway).await;
    federation
        .eventually("it refuses the agent that is there", async || {
            gateway
                .cut_off_because()
                .await
                .is_some_and(|why| why.contains("agent-1") && why.contains("revoked"))
        })
        .await;
    assert!(!gateway.follows_its_agent().await);
    for role in [running, agent] {
        role.stop().await;
    }
}
