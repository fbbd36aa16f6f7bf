//! `hanse describe`: one resource and what belongs to it, for people.

use hanse_api::answer::{QuarantinedResource, Resource, Status};
use hanse_management::{Kind, ProblemName, ShownWith, text_of};
use serde_json::{Value, json};

use crate::{
    args::DescribeArgs,
    client::{Client, problem_of},
    out::data,
    render::yaml,
};

/// Shows a resource and what refers to it.
pub(crate) async fn describe(client: &Client, args: &DescribeArgs) -> anyhow::Result<()> {
    let resource = client.get(&client.key(args.kind, args.name.clone()), false).await?;
    let mut related = Vec::new();
    for kind in Kind::ALL {
        for shown in kind.shown_with().iter().filter(|shown| shown.kind == args.kind) {
            let items = match client.list(kind, false).await {
                // The token may not read this kind: what of it refers here is not for it.
                Err(error) if problem_of(&error) == Some(ProblemName::Forbidden) => continue,
                listed => listed?.items.into_iter(),
            };
            let items = items.filter(|item| refers(item, shown.field, args.name.as_str()));
            related.push((shown.title, items.map(|item| item.name).collect::<Vec<_>>()));
        }
    }
    let mut text = described(&resource, &related);
    if args.kind == Kind::Api
        && let Some(table) = super::served::table(client, &resource).await?
    {
        text += &format!("\nServed:\n{}", indented(&table));
    }
    for line in quarantined(&client.status().await?, &resource) {
        text += &format!("\n{:15}{line}", "Quarantined:");
    }
    data(text)?;
    Ok(())
}

/// Which gateways cannot use the resource as they received it, and why.
fn quarantined(status: &Status, resource: &Resource) -> Vec<String> {
    let is_it = |found: &QuarantinedResource| {
        // An Upstream may be embedded in an ApiRevision: REVISION/NAME.
        let named = found.name.split_once('/').map_or(&*found.name, |(_, inner)| inner);
        found.kind.as_ref() == Some(&resource.kind)
            && found.organization == resource.organization
            && named == resource.name
    };
    let mut lines = Vec::new();
    for region in &status.regions {
        for gateway in &region.gateways {
            let found = gateway.quarantined.iter().filter(|found| is_it(found));
            lines.extend(
                found.map(|found| format!("{} ({}): {}", gateway.name, region.name, cannot_use(found))),
            );
        }
    }
    lines
}

fn cannot_use(found: &QuarantinedResource) -> String {
    let instead = match found.last_good {
        true => "goes on with the version before",
        false => "has no earlier version that it could use",
    };
    format!("{} {}; {instead}", found.field, found.reason)
}

/// Whether the field at a JSON pointer into the resource names `name`.
fn refers(item: &Resource, pointer: &str, name: &str) -> bool {
    if pointer == ShownWith::BY_NAME {
        return item.name == name;
    }
    match pointer.strip_prefix("/spec").and_then(|pointer| item.spec.pointer(pointer)) {
        Some(Value::Array(names)) => names.iter().any(|one| one == name),
        Some(one) => one == name,
        None => false,
    }
}

fn described(resource: &Resource, related: &[(&str, Vec<String>)]) -> String {
    let mut text = String::new();
    let mut line = |title: &str, value: &str| text += &format!("{:15}{value}\n", format!("{title}:"));
    line("Kind", &resource.kind);
    line("Name", &resource.name);
    if let Some(organization) = &resource.organization {
        line("Organization", organization);
    }
    line("Revision", &resource.revision.to_string());
    line("Created", &resource.created_at);
    line("Updated", &resource.updated_at);
    let labels = json!(resource.labels);
    let (status, warnings) = without_warnings(resource.status.as_ref());
    for (title, value) in
        [("Labels", Some(&labels)), ("Status", status.as_ref()), ("Spec", Some(&resource.spec))]
    {
        match value {
            Some(Value::Object(members)) if !members.is_empty() => {
                text += &format!("{title}:\n{}\n", indented(&yaml(members)));
            }
            _ => {}
        }
    }
    for (title, names) in related {
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        text += &format!("{:15}{names}\n", format!("{title}:"));
    }
    for warning in warnings {
        text += &format!("{:15}{warning}\n", "Warning:");
    }
    text.trim_end().to_owned()
}

/// A status without its warnings, and those as `FIELD: DETAIL`.
fn without_warnings(status: Option<&Value>) -> (Option<Value>, Vec<String>) {
    let mut status = status.cloned();
    let warnings = status.as_mut().and_then(|status| status.as_object_mut()?.remove("warnings"));
    let of = |warning: &Value| format!("{}: {}", text_of(&warning["field"]), text_of(&warning["detail"]));
    (status, warnings.as_ref().and_then(Value::as_array).into_iter().flatten().map(of).collect())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use hanse_api::answer::{GatewayStatus, RegionStatus};

    use super::*;
    use crate::client::tests::resource;

    #[test]
    fn a_resource_and_its_relations() {
        let api = resource(json!({
            "kind": "Api", "name": "orders", "organization": "default", "labels": {}, "revision": 3,
            "createdAt": "2026-01-31T12:00:00Z", "updatedAt": "2026-01-31T12:00:00Z",
            "spec": {"context": "/orders", "operations": [{"method": "GET", "path": "/"}]},
            "status": {"latestRevision": 1, "warnings": [{"field": "spec.hosts[0]", "detail": "no Environment has it"}]},
        }));
        let related = [("Bindings", vec!["orders-production".to_owned()]), ("Subscriptions", vec![])];
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
        Warning:       spec.hosts[0]: no Environment has it
        ");
    }

    /// A publisher describes an Environment, and may not read HostGrants, which refer to it.
    #[tokio::test]
    async fn kinds_that_the_token_may_not_read_are_left_out() {
        let answers = |forbidden: &'static str| {
            axum::Router::new().fallback(async move |request: axum::extract::Request| {
                let of = resource(json!({"kind": "Environment", "name": "production"}));
                let refused = json!({"type": "urn:hanse:problem:forbidden", "status": 403, "detail": "D", "field": "", "remedy": "R"});
                let (status, body) = match request.uri().path() {
                    path if path == forbidden => (http::StatusCode::FORBIDDEN, refused),
                    "/v1/environments/production" => (http::StatusCode::OK, json!(of)),
                    "/v1/status" => (http::StatusCode::OK, json!(Status::default())),
                    _ => (http::StatusCode::OK, json!({"items": [], "revision": 1})),
                };
                (status, [("hanse-revision", "9")], body.to_string())
            })
        };
        let (name, organization) = (
            hanse_topology::Name::new("production").unwrap(),
            crate::args::OrganizationFlag { organization: None },
        );
        let args = DescribeArgs { kind: Kind::Environment, name, organization };
        let (client, _dir) = crate::client::tests::client_of(answers("/v1/host-grants")).await;
        describe(&client, &args).await.unwrap();
        let (client, _dir) = crate::client::tests::client_of(answers("/v1/environments/production")).await;
        assert_eq!(problem_of(&describe(&client, &args).await.unwrap_err()), Some(ProblemName::Forbidden));
    }

    #[test]
    fn gateways_that_cannot_use_it_are_named() {
        let found = |kind: &str, organization: &str, name: &str, last_good: bool| QuarantinedResource {
            kind: Some(kind.into()),
            organization: Some(organization.into()),
            name: name.into(),
            last_good,
            field: "ca_pem".into(),
            reason: "holds no certificate".into(),
            ..QuarantinedResource::default()
        };
        let gateway = |name: &str, quarantined| GatewayStatus {
            name: name.into(),
            quarantined,
            ..GatewayStatus::default()
        };
        let gateways = vec![
            gateway("gateway-1", vec![found("Upstream", "default", "orders", true)]),
            gateway(
                "gateway-2",
                vec![
                    found("Upstream", "default", "orders-r2/orders", false),
                    found("Upstream", "other", "orders", true),
                    found("Binding", "default", "orders", true),
                ],
            ),
            gateway("gateway-3", vec![]),
        ];
        let region = RegionStatus { name: "eu-west".into(), gateways, ..RegionStatus::default() };
        let status = Status { regions: vec![region], ..Status::default() };
        let one = |kind: &str| resource(json!({"kind": kind, "organization": "default", "name": "orders"}));
        insta::assert_snapshot!(quarantined(&status, &one("Upstream")).join("\n"), @r"
        gateway-1 (eu-west): ca_pem holds no certificate; goes on with the version before
        gateway-2 (eu-west): ca_pem holds no certificate; has no earlier version that it could use
        ");
        assert!(quarantined(&status, &one("Plan")).is_empty());
    }

    #[test]
    fn references_are_single_or_lists() {
        let of = |spec: Value| resource(json!({"spec": spec}));
        assert!(refers(&of(json!({"api": "x"})), "/spec/api", "x"));
        assert!(refers(&of(json!({"regions": ["a", "x"]})), "/spec/regions", "x"));
        assert!(!refers(&of(json!({})), "/spec/api", "x"));
    }
}
