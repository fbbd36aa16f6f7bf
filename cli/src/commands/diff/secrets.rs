//! Secrets in a difference: the client has no key, and asks a control node whether the data is equal.

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::answer::{Action, ApplyRequest, Resource};
use hanse_management::{
    ResourceKey, Spec,
    kinds::{SecretSpec, SecretType, SecretValue},
    manifest::Manifest,
};
use serde_json::json;

use crate::client::{ApplyOptions, Client};

/// In the place of data that is not what is there.
const NEW_DATA: &str = "(new data)";

/// What is compared and shown of a Secret: data that is there already as it is shown there, and other data by a word.
pub(super) async fn shown(
    client: &Client,
    key: &ResourceKey,
    secret: &SecretSpec,
    live: Option<&Resource>,
) -> anyhow::Result<SecretSpec> {
    let mut equal = BTreeSet::new();
    if let Some((live, present)) = live.and_then(|live| Some((live, present(key, secret, live)?))) {
        for (fields, data) in questions(secret, &present) {
            let question = Manifest {
                key: key.clone(),
                labels: live.labels.clone(),
                protected: None,
                spec: SecretSpec { data, ..present.clone() }.into(),
                revision: None,
                restored: None,
            };
            if is_unchanged(client, &question).await? {
                equal.extend(fields);
            }
        }
    }
    Ok(with_words(secret, &equal))
}

/// The Secret that is there. `None`: it has another type, and keeps no data.
fn present(key: &ResourceKey, secret: &SecretSpec, live: &Resource) -> Option<SecretSpec> {
    let Ok(Spec::Secret(present)) = Spec::from_json(key.kind, &live.spec) else { return None };
    (present.secret_type == secret.secret_type).then_some(present)
}

/// The data of a Secret, by field.
type Data = BTreeMap<String, SecretValue>;

/// What is asked: the fields that a question is about, and the data that is unchanged if theirs is equal.
fn questions(secret: &SecretSpec, present: &SecretSpec) -> Vec<(Vec<String>, Data)> {
    let is_asked = |(field, value): &(&String, &SecretValue)| {
        value.text().is_some() && present.data.contains_key(*field)
    };
    let asked = secret.data.iter().filter(is_asked);
    if secret.secret_type == SecretType::Opaque {
        let about = |(field, value): (&String, &SecretValue)| {
            let mut data = present.data.clone();
            data.insert(field.clone(), value.clone());
            (vec![field.clone()], data)
        };
        return asked.map(about).collect();
    }
    // The data of another type is judged as a whole.
    let fields: Vec<String> = asked.map(|(field, _)| field.clone()).collect();
    if fields.is_empty() { Vec::new() } else { vec![(fields, secret.data.clone())] }
}

async fn is_unchanged(client: &Client, question: &Manifest) -> anyhow::Result<bool> {
    let options = ApplyOptions { dry_run: true, ..ApplyOptions::default() };
    let tried = client.request(&ApplyRequest::of(vec![json!(question)]), &options).await?;
    Ok(tried.changes.iter().all(|change| change.action == Action::Unchanged))
}

fn with_words(secret: &SecretSpec, equal: &BTreeSet<String>) -> SecretSpec {
    let word = |field: &String, value: &SecretValue| match value {
        SecretValue::Kept => SecretValue::Kept,
        SecretValue::Text(_) if equal.contains(field) => SecretValue::Kept,
        // Only control nodes write sealed data: an apply refuses it.
        SecretValue::Text(_) | SecretValue::Sealed(_) => SecretValue::Text(NEW_DATA.to_owned()),
    };
    let data = secret.data.iter().map(|(field, value)| (field.clone(), word(field, value))).collect();
    SecretSpec { data, ..secret.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Router, body::to_bytes, extract::Request};
    use hanse_management::Kind;
    use hanse_topology::Name;
    use serde_json::Value;

    use super::*;
    use crate::client::tests::{client_of, resource};

    const PRIVATE: &str = "private-90210";

    /// What is shown of a Secret of this type with `data`, where one with the fields of `live` is there, whose data `a` and `key.pem` is
    /// [`PRIVATE`]; and what the control node was asked.
    async fn compared(secret_type: &str, live: Option<Value>, data: Value) -> (Value, Vec<Value>) {
        let name = |name: &str| Name::new(name).unwrap();
        let key = ResourceKey::owned(Kind::Secret, name("default"), name("s"));
        let regions = if secret_type == "token-signing" { json!(["eu-west"]) } else { json!([]) };
        let wanted = json!({"type": secret_type, "regions": regions, "data": data});
        let Ok(Spec::Secret(secret)) = Spec::from_json(Kind::Secret, &wanted) else { panic!() };
        let live = live.map(|spec| {
            resource(json!({"kind": "Secret", "name": "s", "labels": {"tier": "a"}, "spec": spec}))
        });
        let asked = Arc::new(Mutex::new(Vec::new()));
        let bodies = asked.clone();
        let router = Router::new().fallback(async move |request: Request| {
            assert!(request.uri().query().unwrap().contains("dryRun=true"));
            let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let data = body["resources"][0]["spec"]["data"].as_object().unwrap().clone();
            bodies.lock().unwrap().push(body);
            let is_equal = data.values().all(|value| *value == json!({"sealed": true}) || *value == PRIVATE);
            let action = if is_equal { "unchanged" } else { "updated" };
            let change = json!({"kind": "Secret", "organization": "default", "name": "s", "action": action});
            json!({"revision": 1, "changes": [change], "scopes": [], "warnings": [], "dryRun": true})
                .to_string()
        });
        let (client, _dir) = client_of(router).await;
        let shown = shown(&client, &key, &secret, live.as_ref()).await.unwrap();
        let asked = asked.lock().unwrap().clone();
        (Spec::Secret(shown).to_json()["data"].clone(), asked)
    }

    #[tokio::test]
    async fn data_is_shown_by_whether_it_is_what_is_there() {
        let kept = || json!({"sealed": true});
        let opaque = || Some(json!({"type": "opaque", "data": {"a": kept(), "b": kept(), "gone": kept()}}));
        let signing =
            || Some(json!({"type": "token-signing", "regions": ["us-east"], "data": {"key.pem": kept()}}));
        let new = || json!(NEW_DATA);
        let sealed = json!({"version": 1, "sealed": "AQI="});
        for (secret_type, live, data, expected, questions) in [
            // One field of two is other, one is new, one goes: each is shown for itself.
            ("opaque", opaque(), json!({"a": PRIVATE, "b": "2"}), json!({"a": kept(), "b": new()}), 2),
            ("opaque", opaque(), json!({"a": PRIVATE, "c": PRIVATE}), json!({"a": kept(), "c": new()}), 1),
            ("opaque", opaque(), json!({"a": kept()}), json!({"a": kept()}), 0),
            ("opaque", opaque(), json!({"a": sealed}), json!({"a": new()}), 0),
            ("opaque", signing(), json!({"key.pem": PRIVATE}), json!({"key.pem": new()}), 0),
            ("opaque", None, json!({"a": PRIVATE}), json!({"a": new()}), 0),
            ("token-signing", signing(), json!({"key.pem": PRIVATE}), json!({"key.pem": kept()}), 1),
            ("token-signing", signing(), json!({"key.pem": "2"}), json!({"key.pem": new()}), 1),
        ] {
            let (shown, asked) = compared(secret_type, live.clone(), data.clone()).await;
            assert_eq!((shown, asked.len()), (expected, questions), "{live:?} {data}");
            for question in asked {
                let resource = &question["resources"][0];
                // The data alone decides: all else is as it is there.
                assert_eq!(resource["labels"], json!({"tier": "a"}));
                let live = live.as_ref().unwrap();
                assert_eq!(resource["spec"].get("regions"), live.get("regions"));
                let fields =
                    |spec: &Value| spec["data"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
                assert_eq!(fields(&resource["spec"]), fields(live));
            }
        }
    }
}
