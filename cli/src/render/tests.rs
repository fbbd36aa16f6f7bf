use serde_json::json;

use serde_json::Value;

use super::*;
use crate::client::tests::resource as of_json;

fn apis() -> Page {
    let api = |name: &str, lifecycle: &str| {
        of_json(json!({
            "kind": "Api", "name": name, "organization": "default", "labels": {"team": "x"},
            "spec": {"context": format!("/{name}"), "version": "1.0", "lifecycle": lifecycle, "operations": [{}, {}]},
            "revision": 12, "createdAt": "2026-01-31T12:00:00.25Z", "updatedAt": "2026-01-31T12:00:00Z",
            "status": {"latestRevision": 3},
        }))
    };
    let items = vec![api("orders", "published"), api("a-much-longer-name", "deprecated")];
    Page { items, revision: 12, next: None }
}

#[test]
fn tables() {
    insta::assert_snapshot!(listed(Kind::Api, &apis(), Output::Table), @r"
    NAME                CONTEXT              VERSION  LIFECYCLE   OPERATIONS  LATEST  REVISION
    orders              /orders              1.0      published   2           3       12
    a-much-longer-name  /a-much-longer-name  1.0      deprecated  2           3       12
    ");
    insta::assert_snapshot!(listed(Kind::Api, &apis(), Output::Wide), @r"
    NAME                CONTEXT              VERSION  LIFECYCLE   OPERATIONS  LATEST  REVISION  LABELS  CREATED               UPDATED
    orders              /orders              1.0      published   2           3       12        team=x  2026-01-31T12:00:00Z  2026-01-31T12:00:00Z
    a-much-longer-name  /a-much-longer-name  1.0      deprecated  2           3       12        team=x  2026-01-31T12:00:00Z  2026-01-31T12:00:00Z
    ");
    assert_eq!(listed(Kind::Api, &apis(), Output::Name), "apis/orders\napis/a-much-longer-name");
    let none = Page { items: vec![], revision: 12, next: None };
    assert_eq!(listed(Kind::Plan, &none, Output::Table), "NAME  RATE  BURST  REVISION");
}

#[test]
fn several_kinds_are_several_tables_or_one_page() {
    let section = |kind: Kind, name: &str| {
        let items = vec![of_json(json!({"kind": kind.as_str(), "name": name}))];
        Section::new(kind, items)
    };
    let both = [section(Kind::Plan, "gold"), section(Kind::Region, "eu-west")];
    insta::assert_snapshot!(sections(&both, 12, Output::Table), @r"
    NAME        RATE       BURST  REVISION
    plans/gold  unlimited  -      1

    NAME             PROVIDER  COUNTRY  CONTINENT  REVISION
    regions/eu-west  -         -        -          1
    ");
    assert_eq!(sections(&both, 12, Output::Name), "plans/gold\nregions/eu-west");
    let page: Value = serde_json::from_str(&sections(&both, 12, Output::Json)).unwrap();
    assert_eq!((&page["revision"], &page["items"][1]["name"]), (&json!(12), &json!("eu-west")));
}

#[test]
fn a_column_may_come_from_elsewhere() {
    let beside =
        Beside { title: "ENVIRONMENTS", cells: [("orders".to_owned(), "production:r3".to_owned())].into() };
    let section = Section { beside: Some(beside), ..Section::new(Kind::Api, apis().items) };
    insta::assert_snapshot!(sections(&[section], 12, Output::Table), @r"
    NAME                CONTEXT              VERSION  LIFECYCLE   OPERATIONS  LATEST  ENVIRONMENTS   REVISION
    orders              /orders              1.0      published   2           3       production:r3  12
    a-much-longer-name  /a-much-longer-name  1.0      deprecated  2           3       -              12
    ");
}

#[test]
fn a_table_fits_its_terminal() {
    let row = || vec!["orders".to_owned(), "one two three four five six".to_owned()];
    let header = || vec!["NAME".to_owned(), "WORDS".to_owned()];
    let narrow = table_within(Some(24), header(), [row()].into_iter());
    assert!(narrow.lines().all(|line| line.len() <= 24) && narrow.lines().count() > 2, "{narrow}");
    for words in row()[1].split(' ') {
        assert!(narrow.contains(words), "{narrow}");
    }
    for wide in [None, Some(200)] {
        let text = table_within(wide, header(), [row()].into_iter());
        assert_eq!(text, "NAME    WORDS\norders  one two three four five six");
    }
}

#[test]
fn lists_are_items_and_revision() {
    let item = of_json(json!({"name": "yes", "spec": {"n": 1}}));
    let one = Page { items: vec![item.clone()], revision: 4, next: None };
    let as_json: Value = serde_json::from_str(&listed(Kind::Region, &one, Output::Json)).unwrap();
    assert_eq!(as_json, json!({"items": [item], "revision": 4}));
    let as_yaml = listed(Kind::Region, &one, Output::Yaml);
    assert_eq!(serde_saphyr::from_str::<Value>(&as_yaml).unwrap(), as_json, "{as_yaml}");
}

#[test]
fn every_kind_has_a_table_of_whatever_it_holds() {
    for kind in Kind::ALL {
        let item = of_json(json!({"name": "x", "spec": {}, "revision": 1}));
        let text = resource(kind, &item, Output::Wide);
        assert!(text.starts_with("NAME") && text.contains("\nx "), "{text}");
    }
    let plan = json!({"name": "gold", "revision": 1, "spec": {"rate": {"requests": 5000, "per": "minute", "burst": 83}}});
    let plan = of_json(plan);
    assert!(resource(Kind::Plan, &plan, Output::Table).contains("5000/minute"));
}

#[test]
fn yaml_keeps_values_and_types() {
    let value = json!({
        "text": "yes", "number like": "1.0", "empty": "", "lines": "a\nb\n", "list": [], "object": {}, "null": null,
        "nested": [{"a": 1, "b": [true, 2.5]}], "odd": "- # : {", "date": "2026-01-31",
    });
    let text = yaml(&value);
    assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), value, "{text}");
}

#[test]
fn the_federation_at_a_glance() {
    let status = serde_json::from_value(json!({
        "node": "cp-1", "term": 3, "asOfAgeMs": 12,
        "lineage": {"generation": 1, "id": "0123456789abcdef"}, "revision": 42, "leader": "cp-2", "quorum": true,
        "nodes": [{"name": "cp-1", "role": "voter", "state": "up", "heardMsAgo": 0, "api": "https://127.0.0.1:7443"}, {"name": "cp-2", "role": "leader", "state": "up", "heardMsAgo": 0, "api": "https://127.0.0.1:7543"},
                  {"name": "cp-3", "role": "voter", "state": "silent", "heardMsAgo": 41_200, "api": "https://127.0.0.1:7643"}, {"name": "cp-4", "role": "voter", "state": "silent", "api": "https://127.0.0.1:7743"}],
        "regions": [
            {"name": "eu-west",
             "agents": [{"name": "agent-eu-west", "connected": true, "heardMsAgo": 120, "scopes": [{"scope": "runtime/eu-west/a", "revision": 42}, {"scope": "runtime/eu-west/b", "revision": 41}]}],
             "gateways": [{"name": "gateway-eu-west", "agent": "agent-eu-west", "scopes": [], "quarantinedTotal": 1, "connected": false, "heardMsAgo": 21_300, "revision": 40,
                           "quarantined": [{"kind": "Route", "name": "r", "field": "path", "reason": "odd", "lastGood": true}]}],
             "responders": [{"name": "dns-eu-west", "agent": "agent-eu-west", "connected": true, "heardMsAgo": 300, "zones": [{"zone": "gslb", "serial": 41}], "zonesTotal": 3,
                             "geo": "abcdef0123456789", "missingKeys": ["to-bind"], "missingKeysTotal": 1, "failed": [{"host": "orders", "why": "refused"}], "failedTotal": 2, "publishedTotal": 9}]},
            {"name": "us-east", "agents": [], "gateways": []},
        ],
        "partial": [{"agent": "agent-eu-west", "region": "eu-west", "leftOut": 12, "heardMsAgo": 120}],
        "duplicates": [{"name": "g-7", "region": "eu-west", "role": "gateway", "seenAt": "2026-01-31T12:00:00Z"}],
    }))
    .unwrap();
    insta::assert_snapshot!(federation(&status), @r"
    revision 42  lineage 1/01234567  quorum, as of 0.0 s ago

    NODE  ROLE    STATE              API
    cp-1  voter   up                 https://127.0.0.1:7443
    cp-2  leader  up                 https://127.0.0.1:7543
    cp-3  voter   silent for 41.2 s  https://127.0.0.1:7643
    cp-4  voter   not heard yet      https://127.0.0.1:7743

    REGION   ROLE     NAME             STATE      HEARD       REVISION
    eu-west  agent    agent-eu-west    connected  0.1 s ago   41
    eu-west  gateway  gateway-eu-west  silent     21.3 s ago  40
    eu-west  dns      dns-eu-west      connected  0.3 s ago   -
    us-east  -        -                -          -           -
    quarantined by gateway-eu-west (eu-west): Route r: path odd
    dns-eu-west (eu-west) answers for gslb at serial 41, and 2 more; places by abcdef01
    dns-eu-west (eu-west) lacks TSIG key to-bind: add it to its configuration
    not published by dns-eu-west (eu-west): GlobalHost orders: refused
    not published by dns-eu-west (eu-west): 1 more
    agent-eu-west (eu-west) has 12 gateways more than its report takes: give the region another agent
    DUPLICATE: gateway g-7 (eu-west) runs twice, as of 2026-01-31T12:00:00Z: its data directory was copied. Stop one of the two, remove its data directory, and let it join under a name of its own
    ");
}

#[test]
fn without_a_quorum_its_age_is_told() {
    let head = |age: u64| {
        let status = serde_json::from_value(json!({
            "node": "cp-1", "term": 3, "asOfAgeMs": age, "revision": 42, "quorum": false, "regions": [],
            "nodes": [{"name": "cp-1", "role": "voter", "state": "up", "heardMsAgo": 0, "api": "https://a"}],
        }));
        let text = federation(&status.unwrap());
        assert!(!text.contains("leader"), "{text}");
        text.lines().next().unwrap().to_owned()
    };
    assert!(head(41_300).contains("NO QUORUM here for 41.3 s: this node refuses changes"));
    assert!(
        head(365 * 24 * 3_600 * 1_000).contains("NO QUORUM here: this node refuses changes"),
        "never since it started"
    );
}
