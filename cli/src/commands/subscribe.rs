//! `hanse subscribe`: an application, its subscription and a new API key, in one change.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hanse_api::answer::{Action, Applied, Resource};
use hanse_management::{Digest, Kind, ProblemName, kinds::ApiKeySpec};
use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    args::SubscribeArgs,
    client::{ApplyOptions, Client, part_of, problem_of},
    convergence,
    exit::{Exit, Failure},
    out::{data, say},
    publish::MADE_FOR,
    render,
};

/// So that keys are known for what they are where they leak.
const KEY_PREFIX: &str = "hk_";
/// How often it starts again because another writer wrote the same resources in between.
const RACES: usize = 8;

/// What a Subscription says.
#[derive(Debug, Deserialize)]
struct Subscribed {
    application: Name,
    api: Name,
    plan: Name,
}

/// What an Api says of who may call it.
#[derive(Debug, Default, Deserialize)]
struct Secured {
    #[serde(default)]
    security: Security,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Security {
    api_key: Option<KeyPlace>,
}

/// Where callers put their key.
#[derive(Debug, Deserialize)]
struct KeyPlace {
    header: Option<String>,
    query: Option<String>,
}

/// What is printed as data.
#[derive(Debug, Serialize)]
struct Subscription<'a> {
    /// The key: nothing has it from now on but this answer.
    key: &'a str,
    #[serde(flatten)]
    applied: &'a Applied,
}

/// Subscribes and prints the key, alone. Only the key's digest leaves this process for the federation.
pub(crate) async fn subscribe(client: &Client, args: &SubscribeArgs) -> anyhow::Result<()> {
    let api = client.get(&client.key(Kind::Api, args.api.clone()), false).await?;
    let advice = how_to_send(part_of(&api)?);
    let key = new_key();
    let mut race = 0;
    let answer = loop {
        let resources = wanted(client, args, &key).await?;
        match client.apply(&resources, &ApplyOptions::default()).await {
            // Another writer wrote one of them in between: look again.
            Err(error) if is_race(&error) && race < RACES => race += 1,
            other => break other?,
        }
    };
    // First of all: a key that is not shown now is lost.
    match args.change.form() {
        Some(form) => data(render::formed(&Subscription { key: &key, applied: &answer }, form))?,
        None => data(&key)?,
    }
    let made = answer.changes.iter().filter(|change| change.action == Action::Created);
    let made: Vec<_> = made.map(|change| format!("{} {}", change.kind, change.name)).collect();
    say(format!("made {} at revision {}", made.join(", "), answer.revision));
    say(advice);
    match args.change.timeout() {
        Some(timeout) => convergence::wait(client, answer.revision, timeout).await,
        None => Ok(()),
    }
}

/// Whether a write was refused because something is there, or is no longer, that was not when we looked.
fn is_race(error: &anyhow::Error) -> bool {
    matches!(problem_of(error), Some(ProblemName::Stale | ProblemName::Conflict))
}

async fn wanted(client: &Client, args: &SubscribeArgs, key: &str) -> anyhow::Result<Vec<Value>> {
    let application = client.find(&client.key(Kind::Application, args.application.clone())).await?;
    let subscriptions = client.list(Kind::Subscription, false).await?.items;
    let mut resources = Vec::new();
    if application.is_none() {
        resources.push(manifest(client, Kind::Application, &args.application, json!({})));
    }
    if !is_subscribed(&subscriptions, args)? {
        let spec = json!({"application": args.application, "api": args.api, "plan": args.plan});
        let name = subscription_name(&args.application, &args.api, &subscriptions);
        resources.push(manifest(client, Kind::Subscription, &name, spec));
    }
    let digest = Digest::of(key.as_bytes());
    let spec = json!({"application": args.application, "digest": digest.to_string()});
    let mut credential =
        manifest(client, Kind::Credential, &credential_name(&args.application, &digest), spec);
    credential["labels"] = json!({MADE_FOR: args.api});
    resources.push(credential);
    Ok(resources)
}

/// A resource that must not be there yet.
fn manifest(client: &Client, kind: Kind, name: &Name, spec: Value) -> Value {
    json!({"kind": kind.as_str(), "name": name, "organization": client.organization, "spec": spec, "revision": 0})
}

/// Whether the application is subscribed to the API. It is refused under another plan than the one asked for.
fn is_subscribed(subscriptions: &[Resource], args: &SubscribeArgs) -> anyhow::Result<bool> {
    for found in subscriptions {
        // A Subscription of another shape comes from a later version. The control plane refuses a second one of the pair.
        let Ok(Subscribed { application, api, plan }) = part_of(found) else { continue };
        if application != args.application || api != args.api {
            continue;
        }
        if plan == args.plan {
            return Ok(true);
        }
        let name = &found.name;
        let message = format!(
            "{application} is subscribed to {api} under the plan {plan} already (Subscription {name})"
        );
        return Err(Failure::new(Exit::Conflict, message)
            .remedy(format!(
                "subscribe with --plan {plan} for another key, or delete it first: hanse delete subscription {name}"
            ))
            .into());
    }
    Ok(false)
}

/// `APPLICATION-API`, or with a hash where that is too long or taken by another pair.
fn subscription_name(application: &Name, api: &Name, taken: &[Resource]) -> Name {
    match Name::new(format!("{application}-{api}")) {
        Ok(name) if !taken.iter().any(|one| one.name == name.as_str()) => name,
        _ => {
            let hash = hex::encode(Sha256::digest(format!("{application}/{api}")));
            hashed_name(application, &hash[..16])
        }
    }
}

fn credential_name(application: &Name, digest: &Digest) -> Name {
    hashed_name(application, &hex::encode(&digest.0[..8]))
}

/// The beginning of a name, and digits that make it unique.
fn hashed_name(name: &Name, hash: &str) -> Name {
    let room = Name::MAX_LEN - hash.len() - 1;
    let beginning: String = name.as_str().chars().take(room).collect();
    Name::new(format!("{beginning}-{hash}"))
        .expect("a name's beginning, a hyphen and hexadecimal digits are a name")
}

/// 32 random bytes: they cannot be guessed, so a plain digest protects them.
fn new_key() -> String {
    format!("{KEY_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

fn how_to_send(api: Secured) -> String {
    match api.security.api_key {
        None => "the API asks for no key; anybody may call it".to_owned(),
        Some(KeyPlace { header: None, query: Some(parameter) }) => {
            format!("send the key as query parameter {parameter}")
        }
        Some(KeyPlace { header, .. }) => {
            format!("send the key in the header {}", header.as_deref().unwrap_or(ApiKeySpec::DEFAULT_HEADER))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;
    use crate::{client::tests::resource, exit::exit_of};

    fn args(plan: &str) -> SubscribeArgs {
        let name = |text| Name::from_str(text).unwrap();
        SubscribeArgs {
            api: name("orders"),
            application: name("shop"),
            plan: name(plan),
            change: crate::args::ChangeFlags::none(),
        }
    }

    #[test]
    fn another_plan_is_a_conflict() {
        let subscriptions = [
            resource(
                json!({"name": "other", "spec": {"application": "shop", "api": "stock", "plan": "gold"}}),
            ),
            resource(
                json!({"name": "it", "spec": {"application": "shop", "api": "orders", "plan": "gold", "later": 1}}),
            ),
        ];
        assert!(is_subscribed(&subscriptions, &args("gold")).unwrap());
        assert!(!is_subscribed(&subscriptions[..1], &args("gold")).unwrap());
        let error = is_subscribed(&subscriptions, &args("silver")).unwrap_err();
        assert_eq!(exit_of(&error), Exit::Conflict);
        assert!(error.to_string().contains("under the plan gold already (Subscription it)"), "{error}");
    }

    #[test]
    fn names_fit_and_differ() {
        let name = |text: &str| Name::new(text).unwrap();
        let (shop, orders) = (name("shop"), name("orders"));
        assert_eq!(subscription_name(&shop, &orders, &[]).as_str(), "shop-orders");
        let taken = [resource(json!({"name": "shop-orders"}))];
        assert!(subscription_name(&shop, &orders, &taken).as_str().starts_with("shop-"));
        let long = name(&"x".repeat(63));
        assert_eq!(subscription_name(&long, &orders, &[]).as_str().len(), 63);
        assert_ne!(credential_name(&long, &Digest::of(b"a")), credential_name(&long, &Digest::of(b"b")));
        assert_eq!(hashed_name(&name(&format!("{}-a", "x".repeat(45))), &"0".repeat(16)).as_str().len(), 63);
    }

    #[test]
    fn keys_are_long_and_new() {
        let key = new_key();
        assert!(key.starts_with("hk_") && key.len() == 46, "{key}");
        assert_ne!(key, new_key());
    }

    #[test]
    fn callers_learn_where_the_key_goes() {
        let api = |security: Value| resource(json!({"spec": {"security": security}}));
        let said = |security: Value| how_to_send(part_of(&api(security)).unwrap());
        assert_eq!(said(json!({"apiKey": {}})), "send the key in the header X-API-Key");
        assert_eq!(said(json!({"apiKey": {"header": "K"}})), "send the key in the header K");
        assert_eq!(said(json!({"apiKey": {"query": "k"}})), "send the key as query parameter k");
        assert!(said(json!({})).contains("asks for no key"));
    }
}
