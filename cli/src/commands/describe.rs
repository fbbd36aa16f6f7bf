//! `hanse describe`: one resource and what belongs to it, for people.

use hanse_management::Kind;
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
    for kind in Kind::ALL {
        for shown in kind.shown_with().iter().filter(|shown| shown.kind == args.kind) {
            let listed = client.list(kind, false).await?;
            let items = listed.items.into_iter().filter(|item| refers(item, shown.field, args.name.as_str()));
            related.push((shown.title, items.collect::<Vec<_>>()));
        }
    }
    let status = client.status().await?;
    let organization = resource["organization"].as_str();
    let mut text = described(&resource, &related);
    for line in quarantined(&status, args.kind, organization, args.name.as_str()) {
        text += &format!("\n{:15}{line}", "Quarantined:");
    }
    data(text)?;
    Ok(())
}

/// Which gateways cannot use the resource as they received it, and why.
fn quarantined(status: &Value, kind: Kind, organization: Option<&str>, name: &str) -> Vec<String> {
    let each = |list: &Value| list.as_array().cloned().unwrap_or_default();
    // An Upstream may be embedded in an ApiRevision: REVISION/NAME.
    let is_it = |found: &str| found == name || found.split_once('/').is_some_and(|(_, inner)| inner == name);
    let mut lines = Vec::new();
    for region in each(&status["regions"]) {
        for gateway in each(&region["gateways"]) {
            for found in each(&gateway["quarantined"]) {
                let same = found["kind"] == kind.as_str() && found["organization"].as_str() == organization;
                if same && is_it(found["name"].as_str().unwrap_or_default()) {
                    lines.push(format!(
                        "{} ({}): {}",
                        text_of(&gateway["name"]),
                        text_of(&region["name"]),
                        cannot_use(&found)
                    ));
                }
            }
        }
    }
    lines
}

fn cannot_use(found: &Value) -> String {
    let instead = match found["lastGood"].as_bool() {
        Some(true) => "goes on with the version before",
        Some(false) | None => "has no earlier version that it could use",
    };
    format!("{} {}; {instead}", text_of(&found["field"]), text_of(&found["reason"]))
}

fn refers(item: &Value, pointer: &str, name: &str) -> bool {
    match item.pointer(pointer) {
        Some(Value::Array(names)) => names.iter().any(|one| one == name),
        Some(one) => one == name,
        None => false,
    }
}

fn described(resource: &Value, related: &[(&str, Vec<Value>)]) -> String {
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
    for (title, items) in related {
        let names: Vec<_> = items.iter().map(|item| text_of(&item["name"])).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        text += &format!("{:15}{names}\n", format!("{title}:"));
    }
    text.trim_end().to_owned()
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
        let related = [("Bindings", vec![json!({"name": "orders-production"})]), ("Subscriptions", vec![])];
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
    fn gateways_that_cannot_use_it_are_named() {
        let found = |kind: &str, organization: Option<&str>, name: &str, last_good: bool| {
            json!({
                "kind": kind, "organization": organization, "name": name, "lastGood": last_good,
                "field": "ca_pem", "reason": "holds no certificate",
            })
        };
        let status = json!({"regions": [{"name": "eu-west", "gateways": [
            {"name": "gateway-1", "quarantined": [found("Upstream", Some("default"), "orders", true)]},
            {"name": "gateway-2", "quarantined": [
                found("Upstream", Some("default"), "orders-r2/orders", false),
                found("Upstream", Some("other"), "orders", true),
                found("Binding", Some("default"), "orders", true),
            ]},
            {"name": "gateway-3"},
        ]}]});
        insta::assert_snapshot!(quarantined(&status, Kind::Upstream, Some("default"), "orders").join("\n"), @r"
        gateway-1 (eu-west): ca_pem holds no certificate; goes on with the version before
        gateway-2 (eu-west): ca_pem holds no certificate; has no earlier version that it could use
        ");
        assert!(quarantined(&status, Kind::Plan, Some("default"), "orders").is_empty());
    }

    #[test]
    fn references_are_single_or_lists() {
        assert!(refers(&json!({"spec": {"api": "x"}}), "/spec/api", "x"));
        assert!(refers(&json!({"spec": {"regions": ["a", "x"]}}), "/spec/regions", "x"));
        assert!(!refers(&json!({"spec": {}}), "/spec/api", "x"));
    }
}
