use super::*;
use crate::{Kind, ProblemName, kinds::RevisionRef};

fn own() -> Name {
    Name::new("default").unwrap()
}

fn read(text: &str) -> Vec<Manifest> {
    parse_yaml(text, &own()).unwrap()
}

#[track_caller]
fn refused(text: &str) -> Problem {
    parse_yaml(text, &own()).unwrap_err()
}

/// The problem's whole text begins so.
#[track_caller]
fn check(text: &str, expected: &str) {
    let problem = refused(text).to_string();
    assert!(problem.starts_with(expected), "\n   was: {problem}\nwanted: {expected}");
}

#[test]
fn documents_lists_and_what_get_prints_are_read() {
    let text = "
# a comment alone is no document
---
kind: Region
name: eu-west
labels: {tier: edge}
---
---
kind: Plan
name: gold
organization: retail
---
kind: List
items:
  - {kind: Plan, name: silver, createdAt: x, updatedAt: y, status: {any: thing}, revision: 3}
---
{items: [{kind: Plan, name: bronze}], revision: 17, continue: abc}
---
resources: [{kind: Application, name: shop, spec: null}]
";
    let keys: Vec<String> = read(text).iter().map(|manifest| manifest.key.to_string()).collect();
    assert_eq!(
        keys,
        [
            "Region eu-west",
            "Plan retail/gold",
            "Plan default/silver",
            "Plan default/bronze",
            "Application default/shop"
        ]
    );
    assert_eq!(read(text)[0].labels, [("tier", "edge")].into_iter().collect());
    assert_eq!(read(text)[2].revision, Some(3));
    assert_eq!(read(text)[3].revision, None);
    assert!(read("").is_empty());
}

#[test]
fn the_manifests_of_the_design_are_read() {
    let text = r#"
kind: Api
name: orders
spec:
  context: /orders/v1
  version: "1.4.0"
  operations:
    - {method: GET, path: "/orders/{id}"}
    - {method: POST, path: /orders}
  security: {apiKey: {header: X-API-Key}}
---
kind: Upstream
name: orders-backend
spec:
  endpoints: [{url: "http://10.0.0.7:8080", region: eu-west}, {url: "http://10.1.0.7:8080", region: us-east}]
  timeout: 30s
---
kind: Binding
name: orders-production
spec: {api: orders, revision: latest, environment: production, regions: {names: [eu-west, us-east]}, upstream: orders-backend}
---
kind: Plan
name: gold
spec: {rate: {requests: 5000, per: minute, burst: 83}}
"#;
    let kinds: Vec<Kind> = read(text).iter().map(|manifest| manifest.key.kind).collect();
    assert_eq!(kinds, [Kind::Api, Kind::Upstream, Kind::Binding, Kind::Plan]);
    let Spec::Binding(binding) = &read(text)[2].spec else { panic!() };
    assert_eq!(binding.revision, RevisionRef::default());
}

#[test]
fn broken_yaml_names_line_and_column() {
    check("kind: Api\n name: x\n", "line 2, column 6: this is not YAML: mapping values are not allowed");
    check("kind: [a", "line 1, column 7: this is not YAML: unclosed bracket '['");
    check("kind: Api\nkind: Api\n", "line 2, column 1: the key \"kind\" comes twice (write it once)");
    check("kind: &a [*a]", "line 1, column 11: this is not YAML: ");
    check(
        "kind: Api\nspec:\n  context: \"/a\n  b\"\n",
        "line 4, column 3: this is not YAML: this line continues a text in quotes, and is not indented more than the text's key (indent the lines of the text more than its key)",
    );
    check("kind: \"Api\nname: x", "line ");
}

#[test]
fn a_key_comes_once_in_json_as_in_yaml() {
    for text in [
        "{\"kind\": \"Plan\",\n\"name\": \"a\", \"name\": \"b\"}",
        "{\"kind\": \"Plan\", \"spec\": {\n\"name\": 1, \"name\": 1}}",
        "{\"items\": [{\"spec\": {\"a\": [{\n\"name\": 1, \"name\": 1}]}}]}",
        "{\"kind\": \"Plan\", \"labels\":\n{   \"name\": 1, \"name\": 1}}",
    ] {
        for problem in [parse_json(text.as_bytes(), &own()).unwrap_err(), refused(text)] {
            assert_eq!(
                (problem.name, problem.detail.as_str()),
                (ProblemName::BadRequest, "the key \"name\" comes twice")
            );
            assert!(problem.field.starts_with("line 2, column "), "{problem}");
        }
        assert!(json_value(text.as_bytes()).unwrap_err().detail.contains("comes twice"));
    }
    let lists = r#"{"items": [{"kind": "Plan", "name": "a"}], "items": []}"#;
    assert_eq!(
        parse_json(lists.as_bytes(), &own()).unwrap_err().to_string(),
        "line 1, column 50: the key \"items\" comes twice (write it once)"
    );
    assert_eq!(
        parse_json(br#"{"a at line 7": 1, "a at line 7": 1}"#, &own()).unwrap_err().detail,
        "the key \"a at line 7\" comes twice"
    );
}

#[test]
fn a_kind_may_be_written_as_people_type_it() {
    for kind in ["Plan", "plan", "plans", "PLAN"] {
        let manifests = [
            read(&format!("kind: {kind}\nname: x")),
            parse_json(format!(r#"{{"kind":"{kind}","name":"x"}}"#).as_bytes(), &own()).unwrap(),
        ];
        for manifest in manifests {
            assert_eq!(manifest[0].key.to_string(), "Plan default/x");
        }
    }
}

#[test]
fn unknown_fields_name_document_resource_and_path_and_say_which_there_are() {
    check(
        "kind: Plan\nname: gold\n---\nkind: Binding\nname: orders\nspec: {api: a, environment: p, upstreem: x}\n",
        "document 2: Binding orders: spec.upstreem: unknown field `upstreem`, expected one of `api`, `revision`, \
         `environment`, `regions`, `upstream`, `reach` (correct the field's name, or take it out)",
    );
    check(
        "kind: Upstream\nname: orders\nspec: {endpoints: [{url: x, weigth: 1}]}\n",
        "document 1: Upstream orders: spec.endpoints[0].weigth: unknown field `weigth`, expected one of `url`, \
         `region`, `environment`, `weight`",
    );
    check(
        "items: [{kind: Plan, name: gold, sepc: {}}]",
        "document 1, item 1: Plan gold: sepc: a resource has no field `sepc`, it has kind, name, organization, labels, \
         protected, spec, revision",
    );
    check("{items: [], metadata: {}}", "document 1: metadata: a list has no field `metadata`");
    check(
        "apiVersion: v1\nkind: Plan\nname: x",
        "document 1: Plan x: apiVersion: a resource has no field `apiVersion`, it has kind, name, organization, labels, \
         protected, spec, revision (leave it out)",
    );
}

#[test]
fn wrong_values_name_the_field_and_what_was_expected() {
    let cases = [
        (
            "Upstream",
            "{endpoints: [{url: 1}]}",
            "endpoints[0].url: text is wanted here, and this is the number 1 (put it in quotes)",
        ),
        (
            "Upstream",
            "{endpoints: [{url: x}], timeout: 5x}",
            "timeout: \"5x\" is not a duration such as \"30s\"",
        ),
        (
            "Binding",
            "{api: a, environment: p, revision: x}",
            "revision: a revision's number (1 or more), `latest` or `new` is wanted here, and this is the text \"x\" (correct the value)",
        ),
        (
            "Binding",
            "{api: a, environment: p, revision: 0}",
            "revision: a revision's number (1 or more), `latest` or `new` is wanted here, and this is the number 0",
        ),
        (
            "Binding",
            "{api: A_b, environment: p}",
            "api: \"A_b\" is not a name: use 1 to 63 of a-z, 0-9 and '-'",
        ),
        (
            "Binding",
            "{api: a, environment: p, regions: [eu]}",
            "regions: a selector such as {names: [eu-west]} or {labels: {tier: edge}} is wanted here, and this is a list",
        ),
        (
            "Binding",
            "{api: a, environment: p, regions: {name: [eu]}}",
            "regions.name: unknown field `name`, expected `names` or `labels`",
        ),
        (
            "Api",
            "{version: 1.0, context: /, operations: []}",
            "version: text is wanted here, and this is the number 1.0 (put it in quotes)",
        ),
        (
            "Api",
            "{version: '1', context: /, operations: [{method: get, path: /}]}",
            "operations[0].method: unknown word `get`, expected one of `GET`, `HEAD`",
        ),
        ("Credential", "{application: a, digest: hello}", "digest: a digest is \"sha256:\" followed by 64"),
        ("Environment", "{regions: [], staleCredentials: never}", "staleCredentials: unknown word `never`"),
        (
            "Plan",
            "{rate: {requests: -1, per: minute}}",
            "rate.requests: a whole number of 0 or more is wanted here, and this is the number -1",
        ),
    ];
    for (kind, spec, expected) in cases {
        check(
            &format!("kind: {kind}\nname: x\nspec: {spec}"),
            &format!("document 1: {kind} x: spec.{expected}"),
        );
    }
    check("kind: Api\nname: orders", "document 1: Api orders: spec: missing field `context` (add the field)");
}

#[test]
fn wrong_envelopes_are_refused() {
    check("name: x", "document 1: x: kind: the field `kind` is missing (say what it is");
    check("kind: Plan", "document 1: Plan: name: the field `name` is missing (give it a name)");
    check(
        "kind: Gadget\nname: x",
        "document 1: Gadget x: kind: \"Gadget\" is not a kind; kinds are Organization",
    );
    check("kind: Plan\nname: Gold", "document 1: Plan Gold: name: \"Gold\" is not a name");
    check("kind: Plan\nname: 7", "document 1: Plan: name: 7 is not text (put it in quotes: \"7\")");
    check(
        "kind: Region\nname: eu\norganization: default",
        "document 1: Region default/eu: organization: resources of kind Region belong to no organization (leave it out)",
    );
    check(
        "kind: Plan\nname: x\nrevision: latest",
        "document 1: Plan x: revision: \"latest\" is not a revision",
    );
    check(
        "kind: Plan\nname: x\nlabels: {tier: 1}",
        "document 1: Plan x: labels.tier: 1 is not text (write \"1\")",
    );
    check("kind: Plan\nname: x\nlabels: [a]", "document 1: Plan x: labels: labels are a mapping");
    check("just text", "document 1: a piece of text is not a resource (write a mapping");
    check("- a\n- b", "document 1: a list is not a resource");
    check("kind: List", "document 1: items: `items` is not a list");
    let problem =
        from_json(&serde_json::json!({"kind": "Plan", "name": "x", "spec": {"rat": 1}}), &own()).unwrap_err();
    assert!(problem.to_string().starts_with("Plan x: spec.rat: unknown field `rat`"), "{problem}");
    let problem = parse_json(br#"{"resources": [{"kind": "Plan"}]}"#, &own()).unwrap_err();
    assert!(problem.to_string().starts_with("item 1: Plan: name: the field `name` is missing"), "{problem}");
}

#[test]
fn norway_stays_norway() {
    let text = "{kind: Region, name: no, spec: {location: {latitude: 59.9, longitude: 10.7, country: NO}}}";
    let Spec::Region(region) = &read(text)[0].spec else { panic!() };
    assert_eq!(region.location.as_ref().unwrap().country.as_deref(), Some("NO"));
}

#[test]
fn what_unfolds_without_end_is_refused_soon() {
    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
    for (before, letter) in ('a'..='j').zip('b'..='k') {
        bomb += &format!("{letter}: &{letter} [{}]\n", [format!("*{before}").as_str(); 10].join(","));
    }
    let fat = format!("a: &a {}\nb: [{}]", "x".repeat(1 << 20), ["*a"; 900].join(","));
    let deep = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>();
    let huge = "#".repeat(20_000_000);
    for text in [&bomb, &fat, &deep, &huge] {
        let problem = refused(text);
        assert_eq!(problem.name, ProblemName::TooLarge, "{problem}");
    }
    assert_eq!(refused(&"[".repeat(100_000)).name, ProblemName::BadRequest);
    assert!(refused(&huge).detail.contains("a manifest has at most 16 MiB; this one has 19 MiB"));
}

/// Texts that become trees many times their size.
fn swollen(document: impl Fn(&str) -> String) -> Vec<String> {
    let list = |item: &str| format!("[{}0]", format!("{item},").repeat(2_000_000 / item.len()));
    let keys = (0..200_000).map(|number| format!("\"{number}\":0,")).collect::<String>();
    [list(r#"{"a":0}"#), list("{}"), list("0"), list(r#""""#), format!("{{{keys}\"\":0}}")]
        .iter()
        .map(|value| document(value))
        .collect()
}

#[test]
fn a_tree_many_times_its_text_is_refused_while_it_is_read() {
    let spec = |value: &str| format!(r#"{{"kind":"Plan","name":"x","spec":{value}}}"#);
    for text in swollen(spec).into_iter().chain(swollen(|value| format!(r#"{{"items":[{}]}}"#, spec(value))))
    {
        for problem in [parse_json(text.as_bytes(), &own()).unwrap_err(), refused(&text)] {
            assert_eq!(problem.name, ProblemName::TooLarge, "{problem}");
            let column = problem.field.strip_prefix("line 1, column ").and_then(|column| column.parse().ok());
            let read: usize = column.unwrap_or_else(|| panic!("{problem}"));
            assert!(read < text.len() * 3 / 4, "{read} of {} bytes: {problem}", text.len());
        }
        assert_eq!(json_value(text.as_bytes()).unwrap_err().name, ProblemName::TooLarge);
    }
}

#[test]
fn a_list_that_is_no_resource_costs_nothing() {
    for text in swollen(str::to_owned).into_iter().filter(|text| text.starts_with('[')) {
        let problem = parse_json(text.as_bytes(), &own()).unwrap_err();
        assert_eq!(problem.detail, "a list is not a resource");
    }
}

#[test]
fn depth_is_bounded() {
    let deep = |levels: usize| format!("{}0{}", "[".repeat(levels), "]".repeat(levels));
    assert!(json_value(deep(32).as_bytes()).is_ok());
    let problem = json_value(deep(33).as_bytes()).unwrap_err();
    assert_eq!(problem.name, ProblemName::TooLarge);
    assert_eq!(problem.field, "line 1, column 33");
    let spec = format!(r#"{{"kind":"Plan","name":"x","spec":{}}}"#, deep(100));
    assert_eq!(parse_json(spec.as_bytes(), &own()).unwrap_err().name, ProblemName::TooLarge);
}

#[test]
fn an_honest_apply_of_any_size_fits() {
    let plan = |number: usize| {
        format!(
            r#"{{"kind":"Plan","name":"plan-{number}","labels":{{"origin":"shop"}},"spec":{{"rate":{{"requests":5000,"per":"minute"}}}}}}"#
        )
    };
    let plans = format!(r#"{{"resources":[{}]}}"#, (0..29_000).map(plan).collect::<Vec<_>>().join(","));
    assert_eq!(parse_json(plans.as_bytes(), &own()).unwrap().len(), 29_000);
    assert_eq!(read(&plans).len(), 29_000);
    let api = large_api(25_000, &"x".repeat(180));
    assert!((7 << 20..8 << 20).contains(&api.len()), "{}", api.len());
    let listed = format!(r#"{{"items":[{api}]}}"#);
    let key = ResourceKey::owned(Kind::Api, own(), Name::new("big").unwrap());
    let mut all = vec![parse_json_of(api.as_bytes(), &key).unwrap()];
    all.extend([&api, &listed].map(|text| parse_json(text.as_bytes(), &own()).unwrap().remove(0)));
    all.extend(read(&api));
    for manifest in &all {
        let Spec::Api(spec) = &manifest.spec else { panic!() };
        assert_eq!((spec.operations.len(), manifest), (25_000, &all[0]));
    }
}

/// An Api with operations of seven fields, with these words in their paths.
fn large_api(operations: usize, words: &str) -> String {
    let operation = |number: usize| {
        format!(
            r#"{{"id":"operation-{number}","method":"GET","path":"/{words}/{number}/{{id}}","scopes":["read"],"policies":["p"],"timeout":"3s","open":true}}"#
        )
    };
    let operations = (0..operations).map(operation).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"kind":"Api","name":"big","spec":{{"context":"/big","version":"1","operations":[{operations}]}}}}"#
    )
}

#[test]
fn a_manifest_may_say_whether_a_resource_is_protected() {
    let plan = |protected: &str| format!("{{kind: Plan, name: gold{protected}}}");
    let says = |protected: &str| read(&plan(protected))[0].protected;
    assert_eq!(
        [says(""), says(", protected: true"), says(", protected: false")],
        [None, Some(true), Some(false)]
    );
    check(
        &plan(", protected: yes"),
        "document 1: Plan gold: protected: \"yes\" is no truth value (write `true`",
    );
}

#[test]
fn operations_are_read_as_any_other_field() {
    let api =
        |spec: &str| format!(r#"{{"kind":"Api","name":"x","spec":{{"context":"/","version":"1",{spec}}}}}"#);
    let good = r#"{"method":"GET","path":"/"}"#;
    for (spec, expected) in [
        (
            format!(r#""operations":[{good},{{"method":"get","path":"/"}}]"#),
            "Api x: spec.operations[1].method: unknown word `get`",
        ),
        (
            format!(r#""operations":[{good},7,{{}}]"#),
            "Api x: spec.operations[1]: a mapping is wanted here, and this is the number 7",
        ),
        (r#""operations":[{"path":"/"}]"#.to_owned(), "Api x: spec.operations[0]: missing field `method`"),
        (
            r#""operations":{}"#.to_owned(),
            "Api x: spec.operations: a list is wanted here, and this is a mapping",
        ),
        (
            format!(r#""spec":{{"operations":[{good}]}},"operations":[]"#),
            "Api x: spec.spec: unknown field `spec`",
        ),
        (format!(r#""operation":[{good}]"#), "Api x: spec.operation: unknown field `operation`"),
    ] {
        for problem in [parse_json(api(&spec).as_bytes(), &own()).unwrap_err(), refused(&api(&spec))] {
            assert!(problem.to_string().contains(expected), "{problem}");
        }
    }
    let plan = format!(r#"{{"kind":"Plan","name":"x","spec":{{"operations":[{good}]}}}}"#);
    assert!(refused(&plan).detail.starts_with("unknown field `operations`"), "{}", refused(&plan));

    let revision = |method: &str| {
        format!(
            r#"{{"kind":"ApiRevision","name":"x-r1","spec":{{"api":"x","number":1,"spec":{{"context":"/","version":"1","operations":[{good},{{"method":"{method}","path":"/a"}}]}}}}}}"#
        )
    };
    let Spec::ApiRevision(spec) = &read(&revision("GET"))[0].spec else { panic!() };
    assert_eq!(spec.spec.operations.len(), 2);
    let problem = refused(&revision("get")).to_string();
    assert!(problem.contains("spec.spec.operations[1].method: unknown word"), "{problem}");
}

#[test]
fn more_than_a_command_carries_is_refused_while_it_is_read() {
    let region = |number: usize| format!(r#"{{"kind":"Region","name":"r-{number}"}}"#);
    let regions = |number: usize, between: &str| (0..number).map(region).collect::<Vec<_>>().join(between);
    let words = "x".repeat(1 << 20);
    let big = format!(r#"{{"kind":"Organization","name":"o","spec":{{"displayName":"{words}"}}}}"#);
    let many = format!(r#"{{"resources":[{}]}}"#, regions(190_000, ","));
    let shortest = |operations: usize| {
        let operations = vec![r#"{"method":"GET","path":"/"}"#; operations].join(",");
        format!(
            r#"{{"kind":"Api","name":"a","spec":{{"context":"/","version":"1","operations":[{operations}]}}}}"#
        )
    };
    for problem in [
        parse_json(many.as_bytes(), &own()).unwrap_err(),
        refused(&many),
        parse_json(format!(r#"{{"items":[{}]}}"#, [big.as_str(); 9].join(",")).as_bytes(), &own())
            .unwrap_err(),
        // Of less than 8 MiB, but for the memory that short operations take.
        parse_json(
            format!(r#"{{"items":[{}]}}"#, [shortest(20_000).as_str(); 12].join(",")).as_bytes(),
            &own(),
        )
        .unwrap_err(),
    ] {
        assert_eq!(problem.name, ProblemName::TooLarge, "{problem}");
        assert!(problem.remedy.starts_with("split the request"), "{problem}");
    }
    assert_eq!(refused(&regions(100_001, "\n---\n")).name, ProblemName::TooLarge);
    for alone in [large_api(25_000, &"x".repeat(300)), shortest(150_000)] {
        let listed = format!(r#"{{"items":[{alone}]}}"#);
        let problem = parse_json(listed.as_bytes(), &own()).err().unwrap();
        assert_eq!(problem.name, ProblemName::TooLarge);
        assert!(problem.remedy.starts_with("make the resource smaller"), "{problem}");
    }
}

#[test]
fn what_only_a_request_has_is_no_manifest() {
    let text = r#"{"resources": [{"kind": "Plan", "name": "gold"}], "delete": [{"kind": "Plan", "name": "old", "revision": 3}]}"#;
    for problem in [parse_json(text.as_bytes(), &own()).unwrap_err(), refused(text)] {
        assert!(problem.detail.starts_with("`delete` and `expects` are of a request"), "{problem}");
    }
    let request = parse_request(text.as_bytes(), &own()).unwrap();
    assert_eq!((request.resources.len(), request.expects.len()), (1, 0));
    let deleted = &request.delete[0];
    assert_eq!((deleted.key.to_string().as_str(), deleted.revision), ("Plan default/old", 3));
}
