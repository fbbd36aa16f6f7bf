//! The answers are what their types say: read into the type and written again, they are the same JSON, member by member.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use hanse_api::answer;
use hanse_state::port::{
    AgentStatus, Duplicate, Facts, GatewayStatus, PartialReport, Quarantined, ScopeStatus, TrustStatus,
};
use hanse_topology::{Name, ScopeId};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::request::{Answer, Api, orders};

/// What reading an answer and writing it again makes of it.
type Again = fn(&Value) -> Value;

#[track_caller]
pub(crate) fn again<T: DeserializeOwned + Serialize>(answer: &Value) -> Value {
    let read: T = serde_json::from_value(answer.clone()).unwrap_or_else(|error| panic!("{error}: {answer}"));
    serde_json::to_value(read).unwrap()
}

/// The answer types of the schemas by name: every kind has two of its own.
fn by_schema(name: &str) -> Option<Again> {
    let kinds = hanse_management::Kind::ALL.map(|kind| kind.as_str());
    Some(match name {
        "Status" => again::<answer::Status>,
        "Members" => again::<answer::Members>,
        "Revocations" => again::<answer::Revocations>,
        "Roots" => again::<answer::Roots>,
        "FederationKey" => again::<answer::FederationKey>,
        "Upgrade" => again::<answer::Upgrade>,
        "Audit" => again::<answer::Audit>,
        "Proposals" => again::<answer::Proposals>,
        "WhoAmI" => again::<answer::WhoAmI>,
        "Convergence" => again::<answer::Convergence>,
        list if list.strip_suffix("List").is_some_and(|kind| kinds.contains(&kind)) => again::<answer::Page>,
        _ => return None,
    })
}

#[track_caller]
fn is_same<T: DeserializeOwned + Serialize>(answer: &Answer) {
    assert_eq!(again::<T>(&answer.json), answer.json);
    assert_eq!(again::<T>(&answer.json).to_string(), answer.text, "in the order of the type's members");
}

/// A federation of which there is something to say everywhere.
async fn busy() -> Api {
    let api = Api::furnished().await;
    api.node.add_agent("agent-eu", "eu");
    let region = Name::new("eu").unwrap();
    let scope = ScopeId::runtime(region.clone(), Name::new("prod").unwrap());
    let quarantined = Quarantined {
        key: "no/resource".into(),
        received: vec![1],
        last_good: true,
        field: "f".into(),
        reason: "r".into(),
        current: true,
    };
    let scopes = vec![ScopeStatus {
        quarantined: vec![quarantined],
        quarantined_total: 1,
        ..ScopeStatus::at(scope, Some(api.node.revision()))
    }];
    let key = || vec![1; 32].into();
    let trust = Some(TrustStatus { believed: vec![key()], shown: key() });
    let facts = Facts { trust, ..Facts::default() };
    let gateway = |name: &str, scopes: Vec<ScopeStatus>, key| GatewayStatus {
        name: name.into(),
        region: region.clone(),
        connected: true,
        heard_ms_ago: 1,
        scopes,
        facts: facts.clone(),
        key,
    };
    *api.node.agents.lock().unwrap() = vec![AgentStatus {
        name: "agent-eu".into(),
        region: region.clone(),
        connected: true,
        heard_ms_ago: 1,
        scopes: scopes.clone(),
        gateways: vec![gateway("g-1", scopes, Some([7; 32])), gateway("g-2", Vec::new(), None)],
        facts: Facts { unheard: vec!["g-3".into()], unheard_total: 1, ..facts },
    }];
    *api.node.partial.lock().unwrap() = vec![PartialReport {
        agent: "agent-eu".into(),
        region: region.clone(),
        left_out: 3,
        heard_ms_ago: 1,
    }];
    *api.node.duplicates.lock().unwrap() =
        vec![Duplicate { name: "g-1".into(), region, role: "gateway", seen_ms_ago: 5 }];
    let node = Facts { release: "9.8.0".into(), version: 99, ..Facts::default() };
    api.node.nodes.lock().unwrap().insert(1, node);
    api.node.silent.lock().unwrap().push("cp-1".into());
    api.put("/v1/revocations/g-2.gateway.eu.hanse.internal").send().await.expect(201);
    api.post("/v1/roots").json(json!({"rotation": "1 to 2"})).send().await.expect(200);
    api.put("/v1/recovery-key").json(json!({"sign": "s", "wrap": "w"})).send().await.expect(200);
    crate::federation_key::add(&api, 1);
    api
}

#[tokio::test]
async fn every_read_is_answered_as_its_schema_says() {
    let api = busy().await;
    let document = api.get("/openapi.json").send().await.expect(200).json;
    let mut read = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let content = &item["get"]["responses"]["200"]["content"]["application/json"];
        let Some(schema) = content["schema"]["$ref"].as_str() else { continue };
        let name = schema.strip_prefix("#/components/schemas/").unwrap();
        if path.contains("{name}") || path.contains("{number}") {
            continue; // resources are read in pages, and one proposal in `approvals.rs`
        }
        let again = by_schema(name).unwrap_or_else(|| panic!("{path}: no type is known of {name}"));
        let answer = api.get(&path.replace("{organization}", "default")).send().await.expect(200);
        assert_eq!(again(&answer.json).to_string(), answer.text, "{path}");
        check(&document, &document["components"]["schemas"][name], &answer.json, path);
        read.insert(name.to_owned());
    }
    assert_eq!(read.len(), 10 + hanse_management::Kind::ALL.len(), "{read:?}");
}

/// Whether an answer has every member that its schema requires, and none that it does not know.
fn check(document: &Value, schema: &Value, answer: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        return check(document, schema, answer, at);
    }
    if let (Some(properties), Some(members)) = (schema["properties"].as_object(), answer.as_object()) {
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(answer.get(required.as_str().unwrap()).is_some(), "{at} lacks {required}");
        }
        for (name, member) in members {
            let at = format!("{at}: {name}");
            let schema = properties.get(name).unwrap_or_else(|| panic!("{at} is in no schema"));
            check(document, schema, member, &at);
        }
    }
    for item in answer.as_array().into_iter().flatten() {
        check(document, &schema["items"], item, at);
    }
}

#[tokio::test]
async fn writes_are_answered_as_their_types_say() {
    let api = Api::furnished().await;
    let path = "/v1/organizations/default/plans/gold";
    is_same::<answer::Resource>(&api.put(path).json(json!({"spec": {}})).send().await.expect(201));
    is_same::<answer::Resource>(&api.get(path).send().await.expect(200));
    is_same::<answer::Deleted>(&api.delete(path).send().await.expect(200));
    let body = json!({"resources": [{"kind": "Api", "name": "orders", "spec": orders("/other")}]});
    let apply = async |query: &str| {
        let path = format!("/v1/apply{query}");
        api.post(&path).json(body.clone()).send().await.expect(200)
    };
    let tried = apply("?dryRun=true").await;
    assert_eq!(tried.json["dryRun"], true);
    is_same::<answer::Applied>(&tried);
    is_same::<answer::Applied>(&apply("").await);
    let revocation = "/v1/revocations/g.gateway.eu.hanse.internal";
    is_same::<answer::Revocation>(&api.put(revocation).send().await.expect(201));
    is_same::<answer::Readmitted>(&api.delete(revocation).send().await.expect(200));
    let rotation = json!({"rotation": "1 to 2"});
    is_same::<answer::RootSettled>(&api.post("/v1/roots").json(rotation).send().await.expect(200));
    let recovery = api.put("/v1/recovery-key").json(json!({"sign": "s", "wrap": "w"}));
    is_same::<answer::RecoveryKeySet>(&recovery.send().await.expect(200));
    let rotate = api.post("/v1/federation-key/rotate");
    is_same::<answer::FederationKeyRotated>(&rotate.send().await.expect(200));
    api.node.quorum.store(false, Ordering::SeqCst);
    is_same::<answer::ProblemDetails>(&api.get("/v1/regions").send().await.expect(503));
    is_same::<answer::ProblemDetails>(&api.post("/v1/apply").json(json!({})).send().await.expect(422));
}

#[test]
fn members_and_words_of_a_later_version_are_read() {
    let later = json!({
        "revision": 7, "converged": false, "later": {"a": 1},
        "gateways": [{"name": "g", "region": "eu", "environment": "prod", "state": "paused", "since": 3}],
    });
    let read: answer::Convergence = serde_json::from_value(later).unwrap();
    assert_eq!(read.gateways[0].state, answer::ConvergenceState::Other("paused".to_owned()));
    assert_eq!(serde_json::to_value(&read).unwrap()["gateways"][0]["state"], "paused");
    let word: answer::Action = serde_json::from_value(json!("updated")).unwrap();
    assert_eq!(word, answer::Action::Updated);
    // A client that sends a resource back keeps what it does not know.
    let later = json!({"kind": "Plan", "name": "gold", "organization": "default", "labels": {}, "spec": {}, "revision": 3,
        "createdAt": "2026-11-29T00:00:00Z", "updatedAt": "2026-11-29T00:00:00Z", "later": ["a"]});
    let read: answer::Resource = serde_json::from_value(later.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), later);
}
