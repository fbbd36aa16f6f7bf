//! No node is locked out by certificates.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use hanse_chaos::{Bug, FlakyUpstream};

use crate::federation::{Federation, Gateway, at_work, follows};

const HOUR: Duration = Duration::from_secs(3600);
/// How often something is restarted, so that there are new handshakes all along.
const RESTART_EVERY: u32 = 6;

/// The gateway's certificate is good now, and not one that should have been renewed by now: at six tenths of its life at the
/// latest, seen an hour later at most.
fn is_fresh(federation: &Federation, gateway: &Gateway) -> bool {
    let Some(credentials) = gateway.credentials() else { return false };
    let validity = credentials.validity();
    federation.clock.now() <= validity.not_before + validity.life() * 6 / 10 + HOUR
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_lives_through_72_hours_without_control_plane() {
    let (federation, server, mut agent, gateway, mut running) = at_work().await;
    let any = "127.0.0.1:0".parse().unwrap();
    let upstream = FlakyUpstream::start(any, Bug::None).await.unwrap();
    federation.publish("orders", upstream.address).await;
    federation.eventually("it serves", async || gateway.call("orders").await == 200).await;
    server.stop().await;
    let first = gateway.credentials().unwrap();
    let mut leaves = BTreeSet::from([first.chain()[0].to_vec()]);
    let mut newcomer = None;
    for hour in 1..=72_u32 {
        federation.hand.advance(HOUR);
        federation
            .eventually("the gateway's certificate is renewed", async || is_fresh(&federation, &gateway))
            .await;
        leaves.insert(gateway.credentials().unwrap().chain()[0].to_vec());
        if hour == 36 {
            let late = federation.gateway("gateway-2");
            let started = federation.start_gateway(&late).await;
            follows(&federation, &late).await;
            federation.eventually("the newcomer serves", async || late.call("orders").await == 200).await;
            newcomer = Some((late, started));
        }
        match hour % (2 * RESTART_EVERY) {
            0 => {
                agent.stop().await;
                agent = federation.start_agent().await;
                follows(&federation, &gateway).await;
            }
            RESTART_EVERY => {
                running.stop().await;
                running = federation.start_gateway(&gateway).await;
                let serves = async || gateway.call("orders").await == 200;
                federation.eventually("it serves what it kept", serves).await;
                assert_eq!(gateway.snapshots().await, 0, "and needs nothing of it again");
                follows(&federation, &gateway).await;
            }
            _ => assert_eq!(gateway.call("orders").await, 200, "hour {hour}"),
        }
    }
    assert!(first.validity().is_over(federation.clock.now() - 24 * HOUR), "it really expired, two days ago");
    assert!((5..=7).contains(&leaves.len()), "one per 12 to 15.4 h, not {} in 72 h", leaves.len());

    let (late, late_running) = newcomer.unwrap();
    federation.eventually("the newcomer is renewed too", async || is_fresh(&federation, &late)).await;
    let before = [gateway.snapshots().await, late.snapshots().await];
    let server = federation.start_server().await;
    let revision = federation.publish("items", upstream.address).await;
    for gateway in [&gateway, &late] {
        federation
            .eventually("a change made after the outage arrives", async || {
                gateway.revision().await >= Some(revision) && gateway.call("items").await == 200
            })
            .await;
    }
    assert_eq!(
        federation.agents_snapshots().await,
        0,
        "deltas were enough for the agent, restarted an hour ago"
    );
    assert_eq!([gateway.snapshots().await, late.snapshots().await], before, "and for its gateways");
    for role in [running, late_running, agent, server] {
        role.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_off_past_its_certificates_end_comes_back_without_a_token() {
    let (federation, server, agent, gateway, running) = at_work().await;
    server.stop().await;
    running.stop().await;
    federation.hand.advance(5 * 24 * HOUR);
    assert!(gateway.credentials().unwrap().validity().is_over(federation.clock.now()));
    let running = federation.start_gateway(&gateway).await;
    follows(&federation, &gateway).await;
    assert!(!gateway.credentials().unwrap().validity().is_over(federation.clock.now()));
    running.stop().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_authority_expired_is_renewed_when_a_control_node_is_back() {
    let (federation, server, agent, gateway, running) = at_work().await;
    server.stop().await;
    agent.stop().await;
    let before = federation.authority();
    federation.hand.advance(40 * 24 * HOUR);
    assert!(before.is_over(federation.clock.now()), "thirty days are over");
    let agent = federation.start_agent().await;
    assert!(!gateway.follows_its_agent().await, "an agent without a valid certificate is followed by nobody");

    let server = federation.start_server().await;
    // Attempts are up to half a minute apart; a minute that passes brings the next one on.
    federation
        .eventually("the authority is renewed", async || {
            federation.hand.advance(Duration::from_secs(60));
            !federation.authority().is_over(federation.clock.now())
        })
        .await;
    federation
        .eventually("the gateway is renewed and follows again", async || {
            federation.hand.advance(Duration::from_secs(60));
            gateway.follows_its_agent().await
        })
        .await;
    let revision = federation
        .apply(json!([{"kind": "Environment", "name": "production",
        "spec": {"regions": ["eu-west"], "hostnames": ["after.example.com"]}}]))
        .await;
    federation
        .eventually("the agent is accepted by the control plane", async || {
            gateway.revision().await >= Some(revision)
        })
        .await;
    for role in [running, agent, server] {
        role.stop().await;
    }
}
