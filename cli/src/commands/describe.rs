//! `hanse describe`: one resource and what belongs to it, for people.

use hanse_state::Kind;
use serde_json::Value;

use crate::{
    args::DescribeArgs,
    client::Client,
    out::data,
    render::{text_of, yaml},
};

/// Shows a resource and what refers to it.
pub(crate) async fn describe(client: &Client, args: &DescribeArgs) -> anyhow::Result<()> {
    let resource = client.get(&client.key(args.kind, args.name.clone()), false).await?;
    let mut related = Vec::new();
    for &(kind, pointer) in relations(args.kind) {
        let listed = client.list(kind, false).await?;
        let items = listed.items.into_iter().filter(|item| refers(item, pointer, args.name.as_str()));
        related.push((kind, items.collect::<Vec<_>>()));
    }
    data(described(&resource, &related))?;
    Ok(())
}

/// Which kinds refer to a kind, and in which field.
fn relations(kind: Kind) -> &'static [(Kind, &'static str)] {
    match kind {
        Kind::Api => &[
            (Kind::ApiRevision, "/spec/api"),
            (Kind::Binding, "/spec/api"),
            (Kind::Subscription, "/spec/api"),
        ],
        Kind::Upstream => &[(Kind::Api, "/spec/upstream"), (Kind::Binding, "/spec/upstream")],
        Kind::Policy => &[(Kind::Api, "/spec/policies")],
        Kind::Region => &[(Kind::Environment, "/spec/regions")],
        Kind::Environment => &[(Kind::Binding, "/spec/environment")],
        Kind::Plan => &[(Kind::Subscription, "/spec/plan")],
        Kind::Application => {
            &[(Kind::Subscription, "/spec/application"), (Kind::Credential, "/spec/application")]
        }
        Kind::Organization
        | Kind::ApiRevision
        | Kind::Binding
        | Kind::Subscription
        | Kind::Credential
        | Kind::Token
        | Kind::JoinToken => &[],
    }
}

fn refers(item: &Value, pointer: &str, name: &str) -> bool {
    match item.pointer(pointer) {
        Some(Value::Array(names)) => names.iter().any(|one| one == name),
        Some(one) => one == name,
        None => false,
    }
}

fn described(resource: &Value, related: &[(Kind, Vec<Value>)]) -> String {
    const FIELDS: [(&str, &str); 6] = [
        ("Kind", "kind"),
        ("Name", "name"),
        ("Organization", "organization"),
        ("Revision", "revision"),
        ("Created", "createdAt"),
        ("Updated", "updatedAt"),
    ];
    let mut text = String::new();
    for (title, field) in FIELDS {
        if let Some(value) = resource.get(field) {
            text += &format!("{:15}{}\n", format!("{title}:"), text_of(value));
        }
    }
    for (title, field) in [("Labels", "labels"), ("Status", "status"), ("Spec", "spec")] {
        match resource.get(field) {
            Some(Value::Object(members)) if !members.is_empty() => {
                text += &format!("{title}:\n{}\n", indented(&yaml(&resource[field])));
            }
            _ => {}
        }
    }
    for (kind, items) in related {
        let names: Vec<_> = items.iter().map(|item| text_of(&item["name"])).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        text += &format!("{:15}{names}\n", format!("{}:", plural(*kind)));
    }
    text.trim_end().to_owned()
}

fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::ApiRevision => "Revisions",
        Kind::Binding => "Bindings",
        Kind::Subscription => "Subscriptions",
        Kind::Credential => "Credentials",
        Kind::Environment => "Environments",
        Kind::Api => "Apis",
        _ => kind.plural(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_and_its_relations() {
        let api = json!({
            "kind": "Api", "name": "orders", "organization": "default", "labels": {}, "revision": 3,
            "createdAt": "2026-01-31T12:00:00Z", "updatedAt": "2026-01-31T12:00:00Z",
            "spec": {"context": "/orders", "operations": [{"method": "GET", "path": "/"}]},
            "status": {"latestRevision": 1},
        });
        let related =
            [(Kind::Binding, vec![json!({"name": "orders-production"})]), (Kind::Subscription, vec![])];
        insta::assert_snapshot!(described(&api, &related), @r"
        Kind:          Api
        Name:          orders
        Organization:  default
        Revision:      3
        Created:       2026-01-31T12:00:00Z
        Updated:       2026-01-31T12:00:00Z
        Status:
          latestRevision: 1
        Spec:
          context: /orders
          operations:
          - method: GET
            path: /
        Bindings:      orders-production
        Subscriptions: none
        ");
    }

    #[test]
    fn references_are_single_or_lists() {
        assert!(refers(&json!({"spec": {"api": "x"}}), "/spec/api", "x"));
        assert!(refers(&json!({"spec": {"regions": ["a", "x"]}}), "/spec/regions", "x"));
        assert!(!refers(&json!({"spec": {}}), "/spec/api", "x"));
    }
}
