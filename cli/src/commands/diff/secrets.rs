//! Secrets in a difference: the client has no key, and asks a control node whether the data is equal.

use hanse_api::answer::{Action, ApplyRequest, Resource};
use hanse_management::{
    ResourceKey, Spec,
    kinds::{SecretSpec, SecretValue},
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
    if !secret.has_text() {
        return Ok(secret.clone());
    }
    let question = live.and_then(|live| question(key, secret, live));
    let is_equal = match question {
        Some(question) => is_unchanged(client, &question).await?,
        None => false,
    };
    Ok(with_words(secret, is_equal))
}

/// The Secret that is there, with the data that is wanted. `None`: it has another type, and keeps no data.
fn question(key: &ResourceKey, secret: &SecretSpec, live: &Resource) -> Option<Manifest> {
    let Ok(Spec::Secret(present)) = Spec::from_json(key.kind, &live.spec) else { return None };
    (present.secret_type == secret.secret_type).then(|| Manifest {
        key: key.clone(),
        labels: live.labels.clone(),
        protected: None,
        spec: SecretSpec { data: secret.data.clone(), ..present }.into(),
        revision: None,
        restored: None,
    })
}

async fn is_unchanged(client: &Client, question: &Manifest) -> anyhow::Result<bool> {
    let options = ApplyOptions { dry_run: true, ..ApplyOptions::default() };
    let tried = client.request(&ApplyRequest::of(vec![json!(question)]), &options).await?;
    Ok(tried.changes.iter().all(|change| change.action == Action::Unchanged))
}

fn with_words(secret: &SecretSpec, is_equal: bool) -> SecretSpec {
    let word = |value: &SecretValue| match value {
        SecretValue::Text(_) if !is_equal => SecretValue::Text(NEW_DATA.to_owned()),
        SecretValue::Text(_) | SecretValue::Kept | SecretValue::Sealed(_) => SecretValue::Kept,
    };
    let data = secret.data.iter().map(|(field, value)| (field.clone(), word(value))).collect();
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

    /// What is shown of a Secret with `data`, where one of type `live` is there and the control node finds the data `found`; and what
    /// the control node was asked.
    async fn compared(live: Option<&str>, found: &'static str, data: Value) -> (Value, Vec<Value>) {
        let name = |name: &str| Name::new(name).unwrap();
        let key = ResourceKey::owned(Kind::Secret, name("default"), name("s"));
        let wanted = json!({"type": "opaque", "data": data});
        let Ok(Spec::Secret(secret)) = Spec::from_json(Kind::Secret, &wanted) else { panic!() };
        let live = live.map(|live| {
            let regions = if live == "opaque" { json!([]) } else { json!(["eu-west"]) };
            let spec = json!({"type": live, "regions": regions, "data": {"key.pem": {"sealed": true}}});
            resource(json!({"kind": "Secret", "name": "s", "labels": {"tier": "a"}, "spec": spec}))
        });
        let asked = Arc::new(Mutex::new(Vec::new()));
        let bodies = asked.clone();
        let router = Router::new().fallback(async move |request: Request| {
            assert!(request.uri().query().unwrap().contains("dryRun=true"));
            let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
            bodies.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            let change = json!({"kind": "Secret", "organization": "default", "name": "s", "action": found});
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
        let kept = json!({"sealed": true});
        let data = json!({"key.pem": PRIVATE, "kept": kept});
        for (live, found, expected) in [
            (Some("opaque"), "unchanged", &kept),
            (Some("opaque"), "updated", &json!(NEW_DATA)),
            (Some("token-signing"), "unchanged", &json!(NEW_DATA)),
            (None, "unchanged", &json!(NEW_DATA)),
        ] {
            let (shown, asked) = compared(live, found, data.clone()).await;
            assert_eq!(shown, json!({"key.pem": expected, "kept": kept}), "{live:?} {found}");
            assert_eq!(asked.len(), usize::from(live == Some("opaque")));
            // The data alone decides: all else is as it is there.
            assert!(asked.iter().all(|asked| asked["resources"][0]["labels"] == json!({"tier": "a"})));
        }
        let (shown, asked) = compared(Some("opaque"), "updated", json!({"key.pem": kept})).await;
        assert_eq!((shown, asked.len()), (json!({"key.pem": kept}), 0));
    }
}
