use hanse_state::port::{AgentStatus, Facts, GatewayStatus, TrustStatus};
use hanse_topology::Name;
use serde_json::{Value, json};

use crate::request::Api;

const SERVER: &str = "cp-1.server.control.hanse.internal";
const AGENT: &str = "agent-eu.agent.eu.hanse.internal";
const GATEWAY: &str = "gateway-eu.gateway.eu.hanse.internal";

fn root(number: u8) -> String {
    hex::encode([number; 32])
}

fn trust(believed: &[u8], shown: u8) -> Facts {
    let key = |number: &u8| vec![*number; 32].into();
    let trust = TrustStatus { believed: believed.iter().map(key).collect(), shown: key(&shown) };
    Facts { trust: Some(trust), ..Facts::default() }
}

/// What the control node, the agent and the gateway say.
fn say(api: &Api, server: Facts, agent: Facts, gateway: Facts) {
    let region = Name::new("eu").unwrap();
    *api.node.nodes.lock().unwrap() = [(1, server)].into();
    *api.node.agents.lock().unwrap() = vec![AgentStatus {
        name: "agent-eu".into(),
        region: region.clone(),
        connected: true,
        heard_ms_ago: 100,
        scopes: Vec::new(),
        facts: agent,
        gateways: vec![GatewayStatus {
            name: "gateway-eu".into(),
            region,
            connected: true,
            heard_ms_ago: 100,
            scopes: Vec::new(),
            facts: gateway,
            key: None,
        }],
    }];
}

async fn listed(api: &Api) -> Vec<Value> {
    api.get("/v1/roots").send().await.expect(200).json["items"].as_array().unwrap().clone()
}

async fn rotate(api: &Api, rotation: &str) -> crate::request::Answer {
    api.post("/v1/roots").json(json!({"rotation": rotation})).send().await
}

#[tokio::test]
async fn each_step_waits_until_everybody_is_ready_for_it() {
    let api = Api::furnished().await;
    let (old, both) = (trust(&[1], 1), trust(&[1, 2], 1));
    say(&api, old.clone(), old.clone(), old.clone());
    let items = listed(&api).await;
    assert_eq!((items.len(), &items[0]["root"], &items[0]["issuing"]), (1, &root(1).into(), &true.into()));
    assert_eq!(items[0]["shownBy"], json!([AGENT, SERVER, GATEWAY]));
    assert_eq!(items[0]["certificate"], "root 1");

    let answer = rotate(&api, "1 to 2").await.expect(200);
    assert_eq!(answer.json["root"], root(2));
    let items = listed(&api).await;
    assert_eq!(items[1]["notBelievedBy"], json!([AGENT, SERVER, GATEWAY]));
    assert_eq!((&items[1]["trustedBy"], &items[1]["issuing"]), (&"root".into(), &false.into()));

    let issuing = format!("/v1/roots/{}/issuing", root(2));
    say(&api, both.clone(), both.clone(), old.clone());
    let refused = api.put(&issuing).send().await.problem(409, "conflict");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .starts_with(&format!("1 do not believe this root yet: {GATEWAY};")),
        "{refused}"
    );
    say(&api, both.clone(), both.clone(), both.clone());
    api.put(&issuing).send().await.expect(200);
    // Asked again, by a caller that did not hear the answer: it is done, so a member that is off by now does not matter.
    api.node.nodes.lock().unwrap().clear();
    api.put(&issuing).send().await.expect(200);

    let path = format!("/v1/roots/{}", root(1));
    let moved = trust(&[1, 2], 2);
    say(&api, moved.clone(), moved.clone(), both.clone());
    let refused = api.delete(&path).send().await.problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains(GATEWAY), "{refused}");
    say(&api, moved.clone(), moved.clone(), moved.clone());
    api.delete(&path).send().await.expect(200);
    let items = listed(&api).await;
    assert_eq!((items.len(), &items[0]["root"], &items[0]["issuing"]), (1, &root(2).into(), &true.into()));
}

#[tokio::test]
async fn who_did_not_say_is_waited_for_unless_revoked_or_forced() {
    let api = Api::furnished().await;
    let both = trust(&[1, 2], 1);
    rotate(&api, "1 to 2").await.expect(200);
    let issuing = format!("/v1/roots/{}/issuing", root(2));
    say(&api, both.clone(), both.clone(), Facts::default());
    api.put(&issuing).send().await.problem(409, "conflict");
    api.put(&format!("/v1/revocations/{GATEWAY}")).send().await.expect(201);
    api.put(&issuing).send().await.expect(200);

    api.node.nodes.lock().unwrap().clear();
    let back = format!("/v1/roots/{}/issuing", root(1));
    let refused = api.put(&back).send().await.problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains(SERVER), "{refused}");
    api.put(&format!("{back}?force=true")).send().await.expect(200);
}

#[tokio::test]
async fn a_gateway_that_its_agent_misses_is_waited_for() {
    const OFF: &str = "gateway-off.gateway.eu.hanse.internal";
    let api = Api::furnished().await;
    rotate(&api, "1 to 2").await.expect(200);
    let steps =
        [("PUT", format!("/v1/roots/{}/issuing", root(2))), ("DELETE", format!("/v1/roots/{}", root(1)))];
    for ((method, path), shown) in steps.iter().zip([1, 2]) {
        let all = trust(&[1, 2], shown);
        say(&api, all.clone(), all.clone(), all);
        let miss = |names: &[&str], total: u64| {
            let agent = &mut api.node.agents.lock().unwrap()[0];
            agent.facts.unheard = names.iter().map(|name| (*name).to_owned()).collect();
            agent.facts.unheard_total = total;
        };
        let waited_for = async |whom: &str| {
            let refused = api.call(method, path).send().await.problem(409, "conflict");
            assert!(refused["detail"].as_str().unwrap().contains(&format!(": {whom};")), "{refused}");
            for item in listed(&api).await {
                assert_eq!((&item["unknown"], &item["notBelievedBy"]), (&json!([whom]), &json!([])));
                assert!(!item["shownBy"].to_string().contains(whom), "{item}");
            }
        };
        // That the agent misses one whose word is known changes nothing.
        miss(&["gateway-eu", "gateway-off"], 2);
        waited_for(OFF).await;
        miss(&["gateway-eu"], 2);
        waited_for(AGENT).await;
        miss(&[], 0);
        *api.node.silent.lock().unwrap() = vec!["cp-1".into()];
        waited_for(SERVER).await;
        api.node.silent.lock().unwrap().clear();

        miss(&["gateway-off"], 1);
        api.put(&format!("/v1/revocations/{OFF}")).send().await.expect(201);
        api.call(method, path).send().await.expect(200);
        assert_eq!(listed(&api).await[0]["unknown"], json!([]));
        api.delete(&format!("/v1/revocations/{OFF}")).send().await.expect(200);
    }
}

#[tokio::test]
async fn an_agent_that_joined_a_moment_ago_is_waited_for() {
    let api = Api::furnished().await;
    let both = trust(&[1, 2], 1);
    say(&api, both.clone(), both.clone(), both);
    rotate(&api, "1 to 2").await.expect(200);
    *api.node.applied.lock().unwrap() = Some(api.node.state());
    api.node.add_agent("agent-new", "eu");
    let refused = api.put(&format!("/v1/roots/{}/issuing", root(2))).send().await.problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("agent-new.agent.eu.hanse.internal"), "{refused}");
}

#[tokio::test]
async fn a_control_node_that_joined_and_has_not_started_is_waited_for() {
    let api = Api::furnished().await;
    let both = trust(&[1, 2], 1);
    say(&api, both.clone(), both.clone(), both);
    rotate(&api, "1 to 2").await.expect(200);
    api.node.add_server("cp-2");
    let issuing = format!("/v1/roots/{}/issuing", root(2));
    let refused = api.put(&issuing).send().await.problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("cp-2.server.control.hanse.internal"), "{refused}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let api = Api::furnished().await;
    api.post("/v1/roots").json(json!({})).send().await.problem(400, "bad-request");
    rotate(&api, "nonsense").await.problem(422, "invalid");
    api.put("/v1/roots/abc/issuing").send().await.problem(400, "bad-request");
    let say_all = |trust: Facts| say(&api, trust.clone(), trust.clone(), trust);
    say_all(trust(&[1, 2], 1));
    // No member believes it, but that is not what is wrong.
    let unknown = format!("/v1/roots/{}", root(9));
    for query in ["", "?force=true"] {
        api.put(&format!("{unknown}/issuing{query}")).send().await.problem(404, "not-found");
        api.delete(&format!("{unknown}{query}")).send().await.problem(404, "not-found");
    }
    rotate(&api, "1 to 2").await.expect(200);
    rotate(&api, "1 to 3").await.problem(409, "conflict");
    let refused = api.delete(&format!("/v1/roots/{}", root(1))).send().await.problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("certificates come from this root"), "{refused}");
    api.node.quorum.store(false, std::sync::atomic::Ordering::SeqCst);
    rotate(&api, "1 to 2").await.problem(503, "no-quorum");
    api.put(&format!("/v1/roots/{}/issuing", root(2))).send().await.problem(503, "no-quorum");
    api.get("/v1/roots").send().await.expect(200);
}
