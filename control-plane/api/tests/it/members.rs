use hanse_state::port::{AgentStatus, GatewayStatus};
use hanse_topology::Name;
use serde_json::json;

use crate::request::Api;

const GATEWAY: &str = "gateway-eu.gateway.eu.hanse.internal";

fn agent() -> AgentStatus {
    let region = Name::new("eu").unwrap();
    AgentStatus {
        facts: Default::default(),
        name: "agent-eu".into(),
        region: region.clone(),
        connected: true,
        heard_ms_ago: 100,
        scopes: Vec::new(),
        gateways: vec![GatewayStatus {
            key: Some([7; 32]),
            facts: Default::default(),
            name: "gateway-eu".into(),
            region,
            connected: true,
            heard_ms_ago: 100,
            scopes: Vec::new(),
        }],
    }
}

#[tokio::test]
async fn an_identity_is_revoked_and_readmitted() {
    let api = Api::furnished().await;
    *api.node.agents.lock().unwrap() = vec![agent()];
    let path = format!("/v1/revocations/{GATEWAY}");
    let revoked = api.put(&path).send().await.expect(201);
    assert_eq!((&revoked.json["identity"], &revoked.json["revokedBy"]), (&GATEWAY.into(), &"root".into()));
    let reported = format!("sha256:{}", "07".repeat(32));
    assert_eq!(revoked.json["revokedKeys"], json!([reported]), "its agent said with which key it joined");
    let revision = revoked.header("hanse-revision").to_owned();
    let again = api.put(&path).send().await.expect(200);
    assert_eq!(again.header("hanse-revision"), revision, "it is revoked already");
    let listed = api.get("/v1/revocations").send().await.expect(200);
    assert_eq!(listed.json["items"].as_array().unwrap().len(), 1);

    let members = api.get("/v1/members").send().await.expect(200);
    let shown = |member: &serde_json::Value| {
        let text = |key: &str| member[key].as_str().unwrap_or("-").to_owned();
        [text("role"), text("region"), text("name"), text("revokedBy")].join(" ")
    };
    let items: Vec<String> = members.json["items"].as_array().unwrap().iter().map(shown).collect();
    assert_eq!(items, ["agent eu agent-eu -", "gateway eu gateway-eu root", "server - cp-1 -"]);

    api.delete(&path).send().await.expect(200);
    api.delete(&path).send().await.problem(404, "not-found");
    let listed = api.get("/v1/revocations").send().await.expect(200);
    assert!(listed.json["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn keys_can_be_named_with_a_revocation() {
    let api = Api::furnished().await;
    let key = |byte: &str| format!("sha256:{}", byte.repeat(32));
    let path = |keys: &str| format!("/v1/revocations/{GATEWAY}?keys={keys}");
    // Nothing is known of it: no agent reported it.
    let revoked = api.put(&format!("/v1/revocations/{GATEWAY}")).send().await.expect(201);
    assert_eq!(revoked.json["revokedKeys"], json!([]));
    let added = api.put(&path(&format!("{},{}", key("03"), key("02")))).send().await.expect(200);
    assert_eq!(added.json["revokedKeys"], json!([key("02"), key("03")]));
    for wrong in ["", "sha256:07", "sha256:01234567%E2%80%A6", &format!("{},x", key("02"))] {
        api.put(&path(wrong)).send().await.problem(422, "invalid");
    }

    api.node.add_agent("agent-eu", "eu");
    let agent = "agent-eu.agent.eu.hanse.internal";
    let revoked = api.put(&format!("/v1/revocations/{agent}")).send().await.expect(201);
    assert_eq!(revoked.json["revokedKeys"].as_array().unwrap().len(), 1, "the one it joined with");
    let members = api.get("/v1/members").send().await.expect(200);
    let listed = members.json["items"].as_array().unwrap().iter().find(|member| member["identity"] == agent);
    assert_eq!(listed.unwrap()["key"], revoked.json["revokedKeys"][0]);
}

#[tokio::test]
async fn what_cannot_be_revoked_is_refused() {
    let api = Api::furnished().await;
    for (identity, status, problem) in [
        ("gateway-eu", 422, "invalid"),
        ("agent-eu.agent.eu.hanse.internal", 404, "not-found"),
        ("g.gateway.nowhere.hanse.internal", 404, "not-found"),
        ("cp-1.server.control.hanse.internal", 409, "conflict"),
        ("cp-2.server.control.hanse.internal", 404, "not-found"),
    ] {
        api.put(&format!("/v1/revocations/{identity}")).send().await.problem(status, problem);
    }
}

#[tokio::test]
async fn revoking_needs_a_quorum_and_looking_does_not() {
    let api = Api::furnished().await;
    api.put(&format!("/v1/revocations/{GATEWAY}")).send().await.expect(201);
    api.node.quorum.store(false, std::sync::atomic::Ordering::SeqCst);
    api.delete(&format!("/v1/revocations/{GATEWAY}")).send().await.problem(503, "no-quorum");
    api.get("/v1/revocations?consistency=stale").send().await.expect(200);
    api.get("/v1/members").send().await.expect(200);
}
