use hanse_management::kinds::TokenRole;
use hanse_state::port::{
    AgentStatus, Duplicate, Facts, GatewayStatus, PartialReport, Quarantined, ScopeStatus,
};
use hanse_topology::{Name, ScopeId};
use serde_json::json;

use crate::request::Api;

fn agent(gateway_revision: u64, heard_ms_ago: u64) -> AgentStatus {
    let name = |text: &str| Name::new(text).unwrap();
    let scopes = |revision| {
        let scope = ScopeId::runtime(name("eu"), name("prod"));
        vec![ScopeStatus::at(scope, Some(revision))]
    };
    AgentStatus {
        facts: Default::default(),
        name: "agent-eu".into(),
        region: name("eu"),
        connected: true,
        heard_ms_ago: 100,
        scopes: scopes(gateway_revision),
        gateways: vec![GatewayStatus {
            key: None,
            facts: Default::default(),
            name: "gateway-eu".into(),
            region: name("eu"),
            connected: true,
            heard_ms_ago,
            scopes: scopes(gateway_revision),
        }],
    }
}

#[tokio::test]
async fn convergence_is_judged_by_what_gateways_serve() {
    let api = Api::furnished().await;
    let now = api.node.revision();
    *api.node.agents.lock().unwrap() = vec![agent(now, 200)];
    let done = api.get(&format!("/v1/convergence?revision={now}")).send().await.expect(200);
    insta::assert_json_snapshot!(done.json, @r#"
    {
      "revision": 3,
      "converged": true,
      "gateways": [
        {
          "name": "gateway-eu",
          "region": "eu",
          "environment": "prod",
          "state": "effective",
          "revision": 3
        }
      ]
    }
    "#);

    *api.node.agents.lock().unwrap() = vec![agent(now - 1, 7_250)];
    let behind = api.get("/v1/convergence").send().await.expect(200);
    insta::assert_json_snapshot!(behind.json, @r#"
    {
      "revision": 3,
      "converged": false,
      "gateways": [
        {
          "name": "gateway-eu",
          "region": "eu",
          "environment": "prod",
          "state": "behind",
          "revision": 2,
          "reason": "not heard from for 7.2 s; serves revision 2"
        }
      ]
    }
    "#);

    *api.node.agents.lock().unwrap() = vec![agent(now, 200)];
    *api.node.silent.lock().unwrap() = vec!["cp-3".into()];
    let open = api.get("/v1/convergence").send().await.expect(200);
    assert_eq!(open.json["converged"], false, "{}", open.json);
    assert_eq!(open.json["silent"], serde_json::json!(["cp-3"]));
    assert_eq!(open.json["gateways"], done.json["gateways"]);

    let future = format!("/v1/convergence?revision={}", now + 1);
    let problem = api.get(&future).send().await.problem(422, "invalid");
    assert_eq!(problem["detail"], format!("revision {} does not exist yet; the latest is {now}", now + 1));
}

#[tokio::test]
async fn a_defect_is_answered_and_the_next_request_too() {
    let api = Api::furnished().await;
    let node = api.node.clone();
    let poisoning = std::thread::spawn(move || {
        let _agents = node.agents.lock();
        panic!("the lock is poisoned from now on");
    });
    assert!(poisoning.join().is_err());
    let answer = api.get("/v1/status").header("x-request-id", "r-1").send().await;
    assert_eq!(answer.header("x-request-id"), "r-1");
    answer.problem(500, "internal");
    api.get("/v1/regions").send().await.expect(200);
}

#[tokio::test]
async fn status_shows_the_whole_federation() {
    let api = Api::furnished().await;
    let mut agent = agent(3, 200);
    let scope = &mut agent.gateways[0].scopes[0];
    scope.quarantined_total = 1;
    scope.quarantined = vec![Quarantined {
        key: "upstream/shop/orders".into(),
        received: vec![1; 32],
        last_good: true,
        field: "ca_pem".into(),
        reason: "holds no certificate".into(),
        current: true,
    }];
    *api.node.agents.lock().unwrap() = vec![agent];
    api.node.quorum.store(false, std::sync::atomic::Ordering::SeqCst);
    let status = api.get("/v1/status").send().await.expect(200);
    insta::assert_json_snapshot!(status.json, @r#"
    {
      "lineage": {
        "generation": 1,
        "id": "07070707070707070707070707070707"
      },
      "revision": 3,
      "node": "cp-1",
      "term": 3,
      "quorum": false,
      "asOfAgeMs": 12,
      "nodes": [
        {
          "name": "cp-1",
          "role": "voter",
          "state": "up",
          "heardMsAgo": 0,
          "api": "https://127.0.0.1:7443",
          "matched": 9
        }
      ],
      "regions": [
        {
          "name": "eu",
          "agents": [
            {
              "name": "agent-eu",
              "connected": true,
              "heardMsAgo": 100,
              "scopes": [
                {
                  "scope": "runtime/eu/prod",
                  "revision": 3
                }
              ]
            }
          ],
          "gateways": [
            {
              "name": "gateway-eu",
              "agent": "agent-eu",
              "connected": true,
              "heardMsAgo": 200,
              "revision": 3,
              "scopes": [
                {
                  "scope": "runtime/eu/prod",
                  "revision": 3
                }
              ],
              "quarantined": [
                {
                  "kind": "Upstream",
                  "organization": "shop",
                  "name": "orders",
                  "environment": "prod",
                  "field": "ca_pem",
                  "reason": "holds no certificate",
                  "lastGood": true
                }
              ],
              "quarantinedTotal": 1
            }
          ]
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn status_names_the_control_nodes_that_do_not_answer() {
    let api = Api::furnished().await;
    let nodes = async || api.get("/v1/status").send().await.expect(200).json["nodes"].clone();
    assert!(nodes().await[0].get("answered").is_none(), "{}", nodes().await);
    *api.node.silent.lock().unwrap() = vec!["cp-1".into()];
    assert_eq!(nodes().await[0]["answered"], false);
}

#[tokio::test]
async fn status_says_of_every_control_node_whether_it_answers() {
    let api = Api::furnished().await;
    let status = async || api.get("/v1/status").send().await.expect(200).json;
    // cp-2 answers, cp-3 did once, cp-4 never did. All are members.
    api.node.nodes.lock().unwrap().extend([
        (2, Facts::default()),
        (3, Facts::default()),
        (4, Facts::default()),
    ]);
    api.node.mute.lock().unwrap().extend([3, 4]);
    api.node.heard_ms_ago.lock().unwrap().extend([(2, 900), (3, 41_000)]);
    let said = status().await;
    let states: Vec<_> = said["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| json!([node["state"], node["heardMsAgo"]]))
        .collect();
    assert_eq!(json!(states), json!([["up", 0], ["up", 0], ["silent", 41_000], ["silent", null]]));
    assert_eq!((&said["leader"], &said["nodes"][0]["role"]), (&json!("cp-1"), &json!("leader")));

    api.node.quorum.store(false, std::sync::atomic::Ordering::SeqCst);
    let said = status().await;
    assert!(said.get("leader").is_none(), "{said}");
    assert_eq!(said["nodes"][0]["role"], "voter");
}

#[tokio::test]
async fn what_is_not_fully_seen_and_what_runs_twice_is_named() {
    let api = Api::furnished().await;
    let status = async || api.get("/v1/status").send().await.expect(200).json;
    let quiet = status().await;
    assert!(quiet.get("partial").is_none() && quiet.get("duplicates").is_none(), "{quiet}");

    let region = Name::new("eu").unwrap();
    let (agent, name) = ("agent-eu".to_owned(), "gateway-eu".to_owned());
    let partial = PartialReport { agent, region: region.clone(), left_out: 12, heard_ms_ago: 100 };
    *api.node.partial.lock().unwrap() = vec![partial];
    let duplicate = Duplicate { name, region, role: "gateway", seen_ms_ago: 1_500 };
    *api.node.duplicates.lock().unwrap() = vec![duplicate];
    let loud = status().await;
    insta::assert_json_snapshot!(loud["partial"], @r#"
    [
      {
        "agent": "agent-eu",
        "region": "eu",
        "leftOut": 12,
        "heardMsAgo": 100
      }
    ]
    "#);
    insta::assert_json_snapshot!(loud["duplicates"], @r#"
    [
      {
        "name": "gateway-eu",
        "region": "eu",
        "role": "gateway",
        "seenAt": "2023-11-14T22:13:18.5Z"
      }
    ]
    "#);
    let convergence = api.get("/v1/convergence").send().await.expect(200).json;
    assert_eq!(convergence["converged"], false, "{convergence}");
    assert_eq!(convergence["partial"], serde_json::json!(["agent-eu (eu)"]));
}

/// A gateway cannot use a resource of each of two organizations, a global one, and one that is not known.
#[tokio::test]
async fn what_is_in_quarantine_is_told_to_those_who_may_see_it() {
    let api = Api::furnished().await;
    for name in ["shop", "other"] {
        api.put(&format!("/v1/organizations/{name}")).json(json!({"spec": {}})).send().await.expect(201);
        let token = format!("viewer-of-{name}");
        api.node.add_token_of(&token, TokenRole::Viewer, Some(name));
    }
    // The revision of this change is asked for: it is of the Listener and of all that is named after `prod`.
    let environment = json!({"spec": {"regions": ["eu"], "hostnames": ["a.example"]}});
    let put = api.put("/v1/environments/prod").header("if-match", "*").json(environment);
    let revision = put.send().await.expect(200).header("hanse-revision").to_owned();
    let mut agent = agent(revision.parse().unwrap(), 200);
    let scope = &mut agent.gateways[0].scopes[0];
    let keys = ["upstream/other/secret", "listener/prod", "upstream/shop/orders", "unknown"];
    scope.quarantined_total = keys.len() as u64;
    let quarantined = |key: &str| Quarantined {
        key: key.into(),
        received: vec![1; 32],
        last_good: true,
        field: format!("field-of-{}", key.replace('/', "-")),
        reason: "cannot be read".into(),
        current: true,
    };
    scope.quarantined = keys.map(quarantined).into();
    *api.node.agents.lock().unwrap() = vec![agent];
    let status = async |token: &str| {
        let status = api.get("/v1/status").token(token).send().await.expect(200).json;
        let gateway = status["regions"][0]["gateways"][0].clone();
        assert_eq!(gateway["quarantinedTotal"], 4);
        let found = gateway["quarantined"].as_array().unwrap().iter();
        found.map(|found| found["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(status(crate::node::TOKEN).await, ["secret", "prod", "orders", "unknown"]);
    assert_eq!(status("viewer-of-shop-secret").await, ["prod", "orders"]);
    assert_eq!(status("viewer-of-other-secret").await, ["secret", "prod"]);
    for token in [crate::node::TOKEN, "viewer-of-shop-secret"] {
        let path = format!("/v1/convergence?revision={revision}");
        let answer = api.get(&path).token(token).send().await.expect(200).json;
        let reason = answer["gateways"][0]["reason"].as_str().unwrap().to_owned();
        assert_eq!(answer["converged"], false);
        assert!(reason.starts_with("cannot use Environment prod: field-of-listener-prod"), "{reason}");
    }
}
