use hanse_management::kinds::{ApiKeySpec, Method};
use hanse_topology::Name;
use serde_json::{Value, json};

use super::{publication::Existing, *};
use crate::client::tests::resource;

fn read(text: &str) -> Result<Imported, ImportError> {
    operations(&parse(text)?)
}

fn refused(text: &str) -> String {
    read(text).expect_err("must be refused").to_string()
}

fn document(paths: Value, components: Value) -> String {
    json!({"openapi": "3.0.3", "info": {"title": "T", "version": "1"}, "paths": paths, "components": components}).to_string()
}

fn listed(imported: &Imported) -> Vec<String> {
    imported
        .operations
        .iter()
        .map(|operation| {
            format!("{} {} {}", operation.method, operation.path, operation.id.as_deref().unwrap_or("-"))
        })
        .collect()
}

#[test]
fn yaml_and_json_give_the_same() {
    let yaml = r##"
openapi: 3.1.0
info: {title: Orders, version: 1.0}
servers: [{url: "https://example.com/ignored"}]
paths:
  x-note: ignored
  /orders:
    summary: not an operation
    get:
      operationId: list
      responses:
        200: {description: ok}
    post: {deprecated: true, responses: {"201": {description: made}}}
  /orders/{id}:
    parameters: [{$ref: "#/components/parameters/id"}]
    delete: {operationId: remove}
components:
  parameters:
    id: {name: id, in: path, required: true, schema: {type: string}}
"##;
    let imported = read(yaml).unwrap();
    assert_eq!(listed(&imported), ["GET /orders list", "POST /orders -", "DELETE /orders/{id} remove"]);
    assert_eq!(
        (imported.title.as_str(), imported.version.as_str(), imported.deprecated),
        ("Orders", "1.0", 1)
    );
    let as_json = serde_json::to_string(&parse(yaml).unwrap()).unwrap();
    assert_eq!(read(&format!("\u{feff} {as_json}")).unwrap(), imported);
}

#[test]
fn path_items_may_be_references_and_say_more_beside() {
    let text = document(
        json!({
            "/a": {"$ref": "#/components/pathItems/shared", "get": {"operationId": "own"}},
            "/b": {"$ref": "#/paths/~1a"},
            "/c%d": {"$ref": "#/components/pathItems/per%20cent"},
        }),
        json!({"pathItems": {
            "shared": {"get": {"operationId": "theirs"}, "put": {"operationId": "put"}},
            "per cent": {"head": {}},
        }}),
    );
    let listed = listed(&read(&text).unwrap());
    assert_eq!(listed, ["GET /a own", "PUT /a put", "GET /b own", "PUT /b put", "HEAD /c%d -"]);
}

#[test]
fn mixed_segments_pass() {
    let text = document(json!({"/repos/{o}/compare/{base}...{head}": {"get": {}}}), json!({}));
    assert_eq!(read(&text).unwrap().operations[0].path, "/repos/{o}/compare/{base}...{head}");
}

#[test]
fn what_is_no_openapi_is_told_apart() {
    assert!(matches!(parse(r#"{"swagger": "2.0"}"#), Err(ImportError::Swagger)));
    assert!(matches!(parse("swagger: 2.0"), Err(ImportError::Swagger)));
    assert_eq!(refused("openapi: 3.2.0"), "/openapi: version \"3.2.0\" is not supported");
    assert_eq!(refused(r#"{"openapi": "3.10.0"}"#), "/openapi: version \"3.10.0\" is not supported");
    assert_eq!(refused("hello: world"), "the document is not OpenAPI: it has no member \"openapi\"");
    assert_eq!(
        refused("kind: Api\nname: x\nspec: {}"),
        "the document is not OpenAPI: it is a Hanse manifest"
    );
    assert_eq!(refused("just text"), "the document is not OpenAPI: it is not an object");
    assert_eq!(refused("[]"), "the document is not OpenAPI: it is not an object");
    let error = refused("{\n \"openapi\": \"3.0.0\",\n oops }");
    assert!(
        error.starts_with("the document is not OpenAPI: it cannot be read as JSON: line 3, column 2:"),
        "{error}"
    );
    let error = refused("openapi: 3.0.0\ninfo: {title: [\n");
    assert!(error.starts_with("the document is not OpenAPI: it cannot be read as YAML: line "), "{error}");
    assert_eq!(
        refused("openapi: 3.0.0\n---\nopenapi: 3.0.0\n"),
        "the document is not OpenAPI: it is several YAML documents, and a description is one"
    );
    let deep = "{a: ".repeat(200) + &"}".repeat(200);
    assert_eq!(
        refused(&format!("x: {deep}")),
        "the document is not OpenAPI: as YAML it unfolds to more, or goes deeper, than a description does"
    );
    for text in ["<!DOCTYPE html>\n<p class='a: b'>\n", "%PDF-1.4 \u{1}", "a: b: c"] {
        assert!(refused(text).starts_with("the document is not OpenAPI: "), "{}", refused(text));
    }
}

#[test]
fn yaml_is_read_as_version_1_2() {
    // In YAML 1.1 these were truth values.
    for word in ["y", "no", "On"] {
        let text = format!(
            "openapi: 3.0.0\ninfo: {{title: {word}, version: 1}}\npaths: {{/a: {{get: {{operationId: {word}}}}}}}"
        );
        let imported = read(&text).unwrap();
        assert_eq!((imported.title.as_str(), listed(&imported)), (word, vec![format!("GET /a {word}")]));
    }
}

#[test]
fn text_keeps_its_own_characters() {
    for written in
        ["1.10", "007", "1e3", "0x1F", "2024-01-01", "1_000", "true", "1e999", "12e4567", "-0", "'1.10'"]
    {
        let expected = written.trim_matches('\'');
        let text = format!(
            "info: {{version: {written}, title: {written}}}\npaths: {{/a: {{get: {{operationId: {written} }}}}}}\nopenapi: 3.0 # 3"
        );
        let imported = read(&text).unwrap();
        assert_eq!(
            (imported.version.as_str(), imported.title.as_str(), listed(&imported)),
            (expected, expected, vec![format!("GET /a {expected}")])
        );
    }
    let aliased = "openapi: 3.1\ninfo: {title: &v 1.10, version: *v}\npaths: {/a: {get: {}}}";
    assert_eq!(read(aliased).unwrap().version, "1.10");
    for written in ["1.10", "1e3", "-0.0", "12345678901234567890123", "\"1.10\"", "true"] {
        let text = format!(
            r#"{{"openapi":"3.0.0","info":{{"version": {written} }},"paths":{{"/a":{{"get":{{}}}}}}}}"#
        );
        assert_eq!(read(&text).unwrap().version, written.trim_matches('"'));
    }
    // Elsewhere a number is one.
    let text = "openapi: 3.0.0\ninfo: {version: 1}\npaths: {/a: {get: {x-a: {version: 1.10}}}}";
    assert_eq!(parse(text).unwrap().pointer("/paths/~1a/get/x-a/version"), Some(&json!(1.1)));
}

#[test]
fn a_key_comes_once() {
    let check = |text: &str, at: &str| {
        let expected =
            format!("the document is not OpenAPI: it cannot be read as {at}: the key \"get\" comes twice");
        assert_eq!(refused(text), expected);
    };
    check(
        "{\"openapi\": \"3.0.0\", \"paths\": {\"/a\": {\n\"get\": {},\n\"get\": {}}}}",
        "JSON: line 3, column 5",
    );
    check("openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n    get: {}\n", "YAML: line 5, column 5");
}

#[test]
fn loops_are_named() {
    let text = document(json!({"/a": {"$ref": "#/paths/~1b"}, "/b": {"$ref": "#/paths/~1a"}}), json!({}));
    let error = refused(&text);
    assert!(error.contains("$ref loop: "), "{error}");
    assert!(
        error.contains("#/paths/~1a -> #/paths/~1b") || error.contains("#/paths/~1b -> #/paths/~1a"),
        "{error}"
    );

    let text = document(
        json!({"/a": {"get": {"parameters": [{"$ref": "#/components/parameters/p"}]}}}),
        json!({"parameters": {"p": {"$ref": "#/components/parameters/p"}}}),
    );
    let error = refused(&text);
    assert!(error.ends_with("$ref loop: #/components/parameters/p -> #/components/parameters/p"), "{error}");

    let text = document(
        json!({"/a": {"get": {"responses": {"200": {"$ref": "#/components/responses/x"}}}}}),
        json!({"responses": {"x": {"$ref": "#/components/responses/y"}, "y": {"$ref": "#/components/responses/x"}}}),
    );
    assert!(refused(&text).contains("$ref loop"));
}

#[test]
fn a_schema_may_contain_itself() {
    let tree = json!({"type": "object", "properties": {
        "children": {"type": "array", "items": {"$ref": "#/components/schemas/tree"}},
        "$ref": {"type": "string"},
    }});
    assert!(read(&document(json!({"/a": {"get": {}}}), json!({"schemas": {"tree": tree}}))).is_ok());
}

#[test]
fn chains_of_references_are_bounded() {
    let parameters: serde_json::Map<String, Value> = (0..40)
        .map(|n| (format!("p{n}"), json!({"$ref": format!("#/components/parameters/p{}", n + 1)})))
        .collect();
    let error = refused(&document(json!({"/a": {"get": {}}}), json!({"parameters": parameters})));
    assert!(error.ends_with("more than 32 $refs in a row"), "{error}");
}

#[test]
fn errors_name_the_json_pointer() {
    let check = |paths: Value, expected: &str| assert_eq!(refused(&document(paths, json!({}))), expected);
    check(json!({"/a~b/{c}": []}), "/paths/~1a~0b~1{c}: must be an object");
    check(json!({"/a": {"get": 1}}), "/paths/~1a/get: must be an object");
    check(json!({"/a": {"get": {"operationId": {}}}}), "/paths/~1a/get/operationId: must be a string");
    check(json!({"/a": {"parameters": {}}}), "/paths/~1a/parameters: must be an array");
    check(
        json!({"/a": {"get": {"parameters": [{"in": "query"}]}}}),
        "/paths/~1a/get/parameters/0/name: is required",
    );
    check(json!({"a": {}}), "/paths/a: a path must start with \"/\"");
    check(json!({"/{a": {}}), "/paths/~1{a: \"{\" without \"}\"");
    check(json!({"/{a/b}": {}}), "/paths/~1{a~1b}: a parameter must not span segments");
    check(json!({"/a?b": {}}), "/paths/~1a?b: a path must have no query and no fragment");
    check(json!({}), "/paths: is empty: the document has no operations");
    check(json!({"/a": {"$ref": "#/nowhere"}}), "/paths/~1a: $ref \"#/nowhere\" leads nowhere");
    check(json!({"/a": {"$ref": "other.yaml"}}), "/paths/~1a: $ref \"other.yaml\" leads to another file");
    assert_eq!(refused(r#"{"openapi":"3.0.0"}"#), "/info: is required");
    assert_eq!(refused(r#"{"openapi":"3.0.0","info":{}}"#), "/info/version: is required");
    assert_eq!(
        refused(r#"{"openapi":"3.1.0","info":{"version":"1"}}"#),
        "/paths: is missing: the document has no operations"
    );
}

fn publication() -> Publication {
    let name = |text| Name::new(text).unwrap();
    Publication {
        organization: name("default"),
        name: name("orders"),
        context: "/orders".into(),
        upstreams: vec!["http://a:1".parse().unwrap(), "eu-west=http://b:2/x?y=z".parse().unwrap()],
        environments: vec![name("production")],
        regions: vec![name("eu-west")],
        security: None,
    }
}

#[test]
fn an_import_makes_upstream_api_and_binding() {
    let imported = read(&document(json!({"/a": {"get": {"operationId": "a"}}}), json!({}))).unwrap();
    let made = publication().resources(&imported, &Existing::default()).unwrap();
    insta::assert_json_snapshot!(made, @r#"
    [
      {
        "kind": "Upstream",
        "name": "orders",
        "organization": "default",
        "spec": {
          "endpoints": [
            {
              "url": "http://a:1",
              "weight": 1
            },
            {
              "url": "http://b:2/x?y=z",
              "region": "eu-west",
              "weight": 1
            }
          ],
          "timeout": "30s",
          "connectTimeout": "5s"
        },
        "revision": 0
      },
      {
        "kind": "Api",
        "name": "orders",
        "organization": "default",
        "spec": {
          "context": "/orders",
          "version": "1",
          "operations": [
            {
              "method": "GET",
              "path": "/a",
              "id": "a"
            }
          ],
          "security": {
            "apiKey": {}
          },
          "lifecycle": "published",
          "upstream": "orders"
        },
        "revision": 0
      },
      {
        "kind": "Binding",
        "name": "orders-production",
        "organization": "default",
        "spec": {
          "api": "orders",
          "revision": "latest",
          "environment": "production",
          "regions": {
            "names": [
              "eu-west"
            ]
          },
          "reach": "local"
        },
        "revision": 0
      }
    ]
    "#);
}

#[test]
fn an_import_keeps_what_no_document_says() {
    let imported = read(&document(json!({"/a": {"get": {}}, "/new": {"put": {}}}), json!({}))).unwrap();
    let existing = Existing(vec![resource(
        json!({"kind": "Api", "name": "orders", "labels": {"team": "x"}, "revision": 7, "spec": {
            "context": "/old", "version": "0", "lifecycle": "deprecated", "policies": ["cors"],
            "operations": [
                {"method": "GET", "path": "/a", "timeout": "5s", "id": "kept"},
                {"method": "GET", "path": "/gone"},
            ],
        }}),
    )]);
    let mut wanted = publication();
    let api = |wanted: &Publication| wanted.resources(&imported, &existing).unwrap().remove(1);
    let made = api(&wanted);
    assert_eq!((&made["revision"], &made["labels"]), (&json!(7), &json!({"team": "x"})));
    assert_eq!(made["spec"]["context"], "/orders");
    assert_eq!(made["spec"]["lifecycle"], "deprecated");
    assert_eq!(made["spec"]["policies"], json!(["cors"]));
    assert_eq!(made["spec"].get("security"), None, "an open Api stays open unless asked otherwise");
    let operations = json!([
        {"method": "GET", "path": "/a", "id": "kept", "timeout": "5s"},
        {"method": "PUT", "path": "/new"},
    ]);
    assert_eq!(made["spec"]["operations"], operations);
    wanted.security = Some(ApiKeySpec::default().into());
    assert_eq!(api(&wanted)["spec"]["security"], json!({"apiKey": {}}));
}

#[test]
fn an_operation_stays_the_same_when_its_parameters_are_renamed() {
    let paths = json!({"/pets/{petId}": {"get": {}, "put": {}}, "/{a}...{b}": {"get": {}}});
    let imported = read(&document(paths, json!({}))).unwrap();
    let existing = Existing(vec![resource(json!({"kind": "Api", "name": "orders", "revision": 7, "spec": {
        "context": "/orders", "version": "0", "operations": [
            {"method": "GET", "path": "/pets/{id}", "open": true, "timeout": "5s", "policies": ["cors"]},
            {"method": "POST", "path": "/pets/{id}", "open": true},
            {"method": "GET", "path": "/{base}...{head}", "timeout": "7s"},
        ],
    }}))]);
    let made = publication().resources(&imported, &existing).unwrap().remove(1);
    let mut operations = made["spec"]["operations"].as_array().unwrap().clone();
    operations.sort_by_key(|operation| operation.to_string());
    assert_eq!(
        json!(operations),
        json!([
            {"method": "GET", "path": "/pets/{petId}", "open": true, "timeout": "5s", "policies": ["cors"]},
            {"method": "GET", "path": "/{a}...{b}", "timeout": "7s"},
            {"method": "PUT", "path": "/pets/{petId}"},
        ])
    );
}

#[test]
fn upstreams_are_urls_with_or_without_a_region() {
    let parsed = |text: &str| text.parse::<UpstreamArg>();
    assert_eq!(
        parsed("http://h:1/?a=b").unwrap(),
        UpstreamArg { region: None, url: "http://h:1/?a=b".into() }
    );
    assert_eq!(parsed("us-east=http://h").unwrap().region.unwrap().as_str(), "us-east");
    assert!(parsed("US=http://h").is_err());
    assert_eq!(Method::Get.as_str(), "GET");
}
