use hanse_management::manifest::parse_yaml;
use hanse_topology::Name;

use super::*;
use crate::{client::tests::resource, client_config::default_organization};

fn manifests(yaml: &str) -> Vec<Sourced> {
    let manifests = parse_yaml(yaml, &default_organization()).unwrap();
    manifests.into_iter().map(|manifest| Sourced { source: "a.yaml".to_owned(), manifest }).collect()
}

fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey::owned(kind, default_organization(), Name::new(name).unwrap())
}

fn live(found: &[(Kind, &str, Value)], owned: &[(Kind, &str, u64)]) -> Live {
    Live {
        found: found.iter().map(|(kind, name, said)| (key(*kind, name), resource(said.clone()))).collect(),
        owned: owned.iter().map(|(kind, name, revision)| (key(*kind, name), *revision)).collect(),
    }
}

const PLANS: &str = "{kind: Plan, name: gold}\n---\n{kind: Plan, name: new}";

fn of_shop(adopt: bool) -> Wish<'static> {
    Wish { owner: Some("shop"), adopt }
}

#[test]
fn a_request_rests_on_what_was_looked_at() {
    let api = json!({"kind": "Api", "name": "orders", "revision": 9, "status": {"latestRevision": 4}});
    let live = live(
        &[(Kind::Plan, "gold", json!({"revision": 7})), (Kind::Api, "orders", api)],
        &[(Kind::Plan, "gold", 7), (Kind::Plan, "old", 3)],
    );
    let yaml = format!(
        "{PLANS}\n---\n{{kind: Plan, name: mine, revision: 2}}\n---\n{{kind: Api, name: orders, spec: {{context: /o, version: '1', operations: []}}}}"
    );
    let request = request(&manifests(&yaml), Wish::default(), &live).unwrap();
    let revisions: Vec<u64> =
        request.resources.iter().map(|resource| resource["revision"].as_u64().unwrap()).collect();
    assert_eq!(revisions, [7, 0, 2, 9], "as it was looked at, or not there; what a manifest names stays");
    let gone: Vec<(&str, u64)> = request.delete.iter().map(|one| (&*one.name, one.revision)).collect();
    assert_eq!(gone, [("old", 3)]);
    assert_eq!(request.expects.len(), 1);
    assert_eq!((request.expects[0].revision, request.expects[0].api_revision), (9, Some(4)));
    assert!(request.resources[0].get("labels").is_none());
}

#[test]
fn a_resource_of_another_owner_is_not_touched_unless_it_is_adopted() {
    let live = live(
        &[
            (Kind::Plan, "gold", json!({"labels": {"hanse-owner": "billing"}})),
            (Kind::Plan, "new", json!({})),
        ],
        &[],
    );
    let refused = request(&manifests(PLANS), of_shop(false), &live).unwrap_err();
    assert_eq!(refused.exit, Exit::Conflict);
    let said = refused.to_string();
    assert!(said.contains("Plan default/gold of billing\n  Plan default/new of no owner"), "{said}");
    assert!(said.contains("--adopt"), "{said}");

    let adopted = request(&manifests(PLANS), of_shop(true), &live).unwrap();
    assert_eq!(adopted.resources[0]["labels"], json!({"hanse-owner": "shop"}));
    let ours = super::Live {
        found: [(key(Kind::Plan, "gold"), resource(json!({"labels": {"hanse-owner": "shop"}})))].into(),
        ..Live::default()
    };
    request(&manifests(PLANS), of_shop(false), &ours).unwrap();
}

#[test]
fn a_manifest_that_names_another_owner_is_refused() {
    let yaml = "{kind: Plan, name: gold, labels: {hanse-owner: billing}}";
    let refused = request(&manifests(yaml), of_shop(true), &Live::default()).unwrap_err();
    assert_eq!(refused.exit, Exit::Usage);
    assert!(refused.message.starts_with("a.yaml: Plan default/gold: labels.hanse-owner"), "{refused}");
    request(&manifests(yaml), Wish::default(), &Live::default()).unwrap();
}
