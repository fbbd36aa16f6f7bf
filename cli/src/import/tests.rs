mod files;
mod paths;
mod refusals;

use hanse_management::{Problem, ProblemName};
use serde_json::{Value, json};

use super::{files::Unread, *};

fn read(text: &str) -> Result<Imported, ImportError> {
    read_as(text, &Wanted::default())
}

fn read_as(text: &str, wanted: &Wanted) -> Result<Imported, ImportError> {
    document(text, Files::none(), wanted)
}

fn refused(text: &str) -> String {
    read(text).expect_err("must be refused").to_string()
}

/// The lines of a refusal, without the first, which counts.
fn problems(text: &str) -> Vec<String> {
    refused(text).lines().skip(1).map(|line| line.trim().to_owned()).collect()
}

fn written(paths: Value, components: Value) -> String {
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
    let as_json = serde_json::to_string(&reader::tree(yaml).unwrap()).unwrap();
    assert_eq!(read(&format!("\u{feff} {as_json}")).unwrap(), imported);
}

#[test]
fn path_items_may_be_references_and_say_more_beside() {
    let text = written(
        json!({
            "/a": {"$ref": "#/components/pathItems/shared", "get": {"operationId": "own"}},
            "/b": {"$ref": "#/paths/~1a"},
            "/c/d": {"$ref": "#/components/pathItems/per%20cent"},
        }),
        json!({"pathItems": {
            "shared": {"get": {"operationId": "theirs"}, "put": {"operationId": "put"}},
            "per cent": {"head": {}},
        }}),
    );
    let listed = listed(&read(&text).unwrap());
    assert_eq!(listed, ["GET /a own", "PUT /a put", "GET /b own", "PUT /b put", "HEAD /c/d -"]);
}

#[test]
fn mixed_segments_pass() {
    let text = written(json!({"/repos/{o}/compare/{base}...{head}": {"get": {}}}), json!({}));
    assert_eq!(read(&text).unwrap().operations[0].path, "/repos/{o}/compare/{base}...{head}");
}

#[test]
fn what_is_no_openapi_is_told_apart() {
    for text in [
        "openapi: 3.3.0",
        r#"{"openapi": "3.10.0"}"#,
        "swagger: 1.2",
        "openapi: 2.0",
        "openapi: []",
        "swagger: 3.0",
    ] {
        let error = read(text).unwrap_err();
        assert!(matches!(&error, ImportError::Version { .. }), "{text}: {error}");
    }
    assert_eq!(refused("openapi: 3.3"), "/openapi: version \"3.3\" is not supported");
    assert_eq!(
        refused("hello: world"),
        "the document is not OpenAPI: it has no member \"openapi\" or \"swagger\""
    );
    assert_eq!(
        refused("kind: Api\nname: x\nspec: {}"),
        "the document is not OpenAPI: it is a Hanse manifest"
    );
    assert_eq!(refused("just text"), "the document is not OpenAPI: it is no mapping");
    assert_eq!(refused("[]"), "the document is not OpenAPI: it is no mapping");
    let error = refused("{\n \"openapi\": \"3.0.0\",\n oops }");
    assert!(
        error.starts_with("the document cannot be imported: it cannot be read as JSON: line 3, column 2:"),
        "{error}"
    );
    let error = refused("openapi: 3.0.0\ninfo: {title: [\n");
    assert!(
        error.starts_with("the document cannot be imported: it cannot be read as YAML: line "),
        "{error}"
    );
    assert_eq!(
        refused("openapi: 3.0.0\n---\nopenapi: 3.0.0\n"),
        "the document cannot be imported: it is several YAML documents, and a description is one"
    );
    let deep = "{a: ".repeat(200) + &"}".repeat(200);
    assert_eq!(
        refused(&format!("x: {deep}")),
        "the document cannot be imported: as YAML it unfolds to more, or goes deeper, than a description does"
    );
    for text in ["<!DOCTYPE html>\n<p class='a: b'>\n", "%PDF-1.4 \u{1}", "a: b: c"] {
        let error = refused(text);
        let expected =
            ["the document is not OpenAPI: ", "the document cannot be imported: it cannot be read as YAML: "];
        assert!(expected.iter().any(|start| error.starts_with(start)), "{error}");
    }
}

#[test]
fn a_text_in_quotes_that_goes_on_has_a_remedy() {
    let text = "openapi: 3.0.0\ninfo:\n  version: \"1\n  2\"\npaths: {/a: {$ref: part.yaml}}\n";
    let error = read(text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the document cannot be imported: it cannot be read as YAML: line 4, column 3: this line continues a text in quotes, and is not indented more than the text's key"
    );
    let remedy = "indent the lines of the text more than its key";
    assert_eq!(crate::exit::Failure::from(error).remedy, remedy);
    assert_eq!(read(&text.replace("  2", "   2")).unwrap_err().to_string().lines().count(), 2, "it is read");
    let part = [("part.yaml", "get:\n  summary: 'a\n\n  b'\n")];
    let error =
        read_parts("openapi: 3.0.0\ninfo: {version: 1}\npaths: {/a: {$ref: part.yaml}}", &part).unwrap_err();
    assert!(error.to_string().ends_with(remedy), "{error}");
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
    for written in ["1.10", "1e3", "-0.0", "12345678901234567890123", "1e400", "\"1.10\"", "true"] {
        let text = format!(
            r#"{{"openapi":"3.0.0","info":{{"version": {written} }},"paths":{{"/a":{{"get":{{}}}}}}}}"#
        );
        assert_eq!(read(&text).unwrap().version, written.trim_matches('"'));
    }
    // Elsewhere a number is one.
    let text = "openapi: 3.0.0\ninfo: {version: 1}\npaths: {/a: {get: {x-a: {version: 1.10}}}}";
    assert_eq!(reader::tree(text).unwrap().pointer("/paths/~1a/get/x-a/version"), Some(&json!(1.1)));
}

#[test]
fn numbers_beyond_all_floats_are_no_fault() {
    let digits = "9".repeat(400);
    for number in ["1.79769313486232E+308", "-1.7976931348623157e308", "1e400", "-1E+999", &digits] {
        let text = format!(
            r#"{{"openapi":"3.0.0","info":{{"version":"1"}},"x-\"1e400":[{number},1e2,"a\\"],"x":{{"maximum":{number}}},"paths":{{"/a":{{"get":{{}}}}}}}}"#
        );
        assert_eq!(listed(&read(&text).unwrap()), ["GET /a -"], "{number}");
        let tree = reader::tree(&text).unwrap();
        assert_eq!(tree["x"]["maximum"], json!(number));
        assert_eq!(tree["x-\"1e400"], json!([number, 1e2, "a\\"]));
    }
    let error = refused("{\"a\": 1e400, \"b\": 1e400 1}");
    assert!(error.contains("it cannot be read as JSON: line 1"), "{error}");
}

#[test]
fn an_anchor_may_serve_every_operation() {
    let paths: String = (0..300).map(|n| format!("  /{n}: {{get: {{responses: *errors}}}}\n")).collect();
    let text = format!("openapi: 3.0.0\ninfo: {{version: 1}}\nx-errors: &errors {{}}\npaths:\n{paths}");
    assert_eq!(read(&text).unwrap().operations.len(), 300);
    let many: String = (0..51_000).map(|n| format!("&a{n} x, *a{n}, ")).collect();
    assert!(reader::tree(&format!("a: [{many}]")).is_ok(), "neither anchors nor aliases are counted");
    // Each one is ten of the one before: a text of 1 KB for ten thousand million values.
    let bomb: String = (0..10)
        .map(|n| format!("a{}: &a{} [{}]\n", n + 1, n + 1, vec![format!("*a{n}"); 10].join(", ")))
        .collect();
    let error = reader::tree(&format!("a0: &a0 x\n{bomb}")).unwrap_err();
    assert_eq!(error, reader::Unreadable::TooMuch);
}

#[test]
fn a_key_comes_once() {
    let check = |text: &str, at: &str| {
        let expected = format!(
            "the document cannot be imported: it cannot be read as {at}: the key \"get\" comes twice"
        );
        assert_eq!(refused(text), expected);
    };
    check(
        "{\"openapi\": \"3.0.0\", \"paths\": {\"/a\": {\n\"get\": {},\n\"get\": {}}}}",
        "JSON: line 3, column 5",
    );
    check("openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n    get: {}\n", "YAML: line 5, column 5");
}

#[test]
fn every_form_of_a_description_is_read() {
    for (text, operations, notes) in [
        (
            "swagger: 2.0\ninfo: {title: T, version: 1}\nhost: h\nbasePath: /v1\npaths: {/a: {get: {operationId: a}}}",
            "GET /a a",
            0,
        ),
        ("swagger: '2.0'\ninfo: {version: 1}\npaths: {/a: {get: }}", "GET /a -", 0),
        (
            "openapi: 3.2.0\ninfo: {version: 1}\npaths: {/a: {additionalOperations: {PATCH: {operationId: a}}}}",
            "PATCH /a a",
            0,
        ),
        ("openapi: 3.2.0\ninfo: {version: 1}\npaths: {/a: {query: {operationId: q}}}", "QUERY /a q", 0),
        (
            "openapi: 3.1.0\ninfo: {version: 1}\nwebhooks: {new: {post: {}}}\npaths: {/a: {get: {operationId: ~}}}",
            "GET /a -",
            1,
        ),
        (
            "openapi: 3.0.1\ninfo: {version: 1}\npaths: {/a: {GET: {operationId: }, Post: {operationId: ''}}}",
            "GET /a -, POST /a -",
            0,
        ),
        ("openapi: 3.0.1\ninfo: {version: 1}\npaths: {/a: {get: {}, GET: {operationId: x}}}", "GET /a x", 1),
        (
            "openapi: 3.0.1\ninfo: {version: 1}\npaths: {/empty: , /a: {summary: s, servers: [], get: }}",
            "GET /a -",
            0,
        ),
        (
            "openapi: 3.0.1\ninfo: {version: 1}\nx-ops: {a: {operationId: a, deprecated: true}}\npaths: {/a: {get: {$ref: '#/x-ops/a'}, put: {$ref: '#/x-ops/a', operationId: b}}}",
            "GET /a a, PUT /a b",
            0,
        ),
        (
            "openapi: 3.0.1\ninfo: {version: 1}\npaths: {$ref: '#/x-paths'}\nx-paths: {/a: {head: {}}, x-b: 1}",
            "HEAD /a -",
            0,
        ),
    ] {
        let imported = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(listed(&imported).join(", "), operations, "{text}");
        assert_eq!(imported.notes.len(), notes, "{text}: {:?}", imported.notes);
    }
    let text = "openapi: 3.2.0\ninfo: {version: 1}\npaths: {/a: {additionalOperations: {COPY: {}}}}";
    assert_eq!(
        problems(text),
        [
            "COPY /a  /paths/~1a/additionalOperations/COPY: gateways know no method COPY; call it with another method"
        ]
    );
    assert_eq!(
        problems("openapi: 3.1.0\ninfo: {version: 1}\nwebhooks: {new: {post: {}}}"),
        [
            "/paths: it has nothing to call, and webhooks only, which the service calls: 1; give the description of an API that clients call"
        ]
    );
}

#[test]
fn references_that_lead_nowhere_are_named() {
    let check = |paths: Value, expected: &str| {
        assert_eq!(problems(&written(paths, json!({"a": {"$ref": "#/paths/~1loop"}}))), [expected]);
    };
    check(
        json!({"/loop": {"$ref": "#/components/a"}}),
        "/loop  /components/a: $ref \"#/paths/~1loop\" leads back to where it came from; let it end at something that is no $ref",
    );
    check(
        json!({"/a": {"$ref": "#/nowhere"}}),
        "/a  /paths/~1a: $ref \"#/nowhere\" leads nowhere; name a place that is there",
    );
    check(
        json!({"/a": {"$ref": "other.yaml"}}),
        "/a  /paths/~1a: $ref \"other.yaml\" leads to a file, and standard input has none beside it; give the document as a file",
    );
}

#[test]
fn a_schema_may_contain_itself() {
    let tree = json!({"type": "object", "properties": {
        "children": {"type": "array", "items": {"$ref": "#/components/schemas/tree"}},
        "$ref": {"type": "string"},
    }});
    assert!(read(&written(json!({"/a": {"get": {}}}), json!({"schemas": {"tree": tree}}))).is_ok());
}

#[test]
fn chains_of_references_are_bounded() {
    let chain = |length: usize| {
        let items: serde_json::Map<String, Value> = (0..length)
            .map(|n| (format!("p{n}"), json!({"$ref": format!("#/components/p{}", n + 1)})))
            .chain([(format!("p{length}"), json!({"get": {}}))])
            .collect();
        written(json!({"/a": {"$ref": "#/components/p0"}}), items.into())
    };
    assert_eq!(listed(&read(&chain(31)).unwrap()), ["GET /a -"]);
    assert_eq!(problems(&chain(32)), ["/a  /paths/~1a: more than 32 $refs in a row; refer to their end"]);
}

/// Reads a document with files beside it.
fn read_parts(text: &str, parts: &[(&'static str, &'static str)]) -> Result<Imported, ImportError> {
    let parts: std::collections::BTreeMap<_, _> = parts.iter().copied().collect();
    let files = Files::beside("api.yaml", move |path, _| {
        parts
            .get(path.to_str().unwrap())
            .map(|text| (*text).to_owned())
            .ok_or(Unread::Failed("no such file".to_owned()))
    });
    document(text, files, &Wanted::default())
}

#[test]
fn no_part_of_a_document_commands_a_terminal() {
    let text = "openapi: 3.2.0\ninfo: {version: 1}\npaths: {/a: {additionalOperations: {\"\\e[2J\": {}}}, \"/\\u202E\": []}";
    assert_eq!(
        problems(text),
        [
            r"\u{1b}[2J /a  /paths/~1a/additionalOperations/\u{1b}[2J: gateways know no method \u{1b}[2J; call it with another method",
            r"/\u{202e}  /paths/~1\u{202e}: is no mapping; write its members there",
        ]
    );
    let text = "openapi: 3.0.0\ninfo: {version: 1}\npaths: {/a: {$ref: 'a%1B[2J.yaml'}}";
    let error = read_parts(text, &[]).unwrap_err().to_string();
    assert!(error.contains(r"leads to a\u{1b}[2J.yaml, which is not imported"), "{error}");
    let error = refused("{\"a\": 1, \"\u{200b}\": \"\u{1b}[2J\" \u{1b}}");
    assert!(!error.contains(['\u{1b}', '\u{200b}']), "{error}");
}

#[test]
fn a_pattern_is_no_query() {
    for (path, why) in [
        ("/{id:a?}", "{id:a?} has a pattern"),
        ("/{id:#}/b", "{id:#} has a pattern"),
        ("/{?q}/b", "{?q} has an operator of URI templates"),
        ("/{id?}", "{id?} has an operator of URI templates"),
    ] {
        let problem = problems(&written(json!({path: {"get": {}}}), json!({}))).remove(0);
        assert!(problem.starts_with(&format!("GET {path}  ")) && problem.contains(why), "{problem}");
    }
}

#[test]
fn what_is_reached_of_a_path_item_is_read() {
    let text = written(
        json!({
            "/a": {"get": {}, "$ref": "#/components/b"},
            "/c": {"put": {}, "additionalOperations": 1},
            "/d": {"additionalOperations": {"$ref": "#/components/more"}},
            "/e": {"additionalOperations": {"$ref": "#/components/more", "PATCH": {"operationId": "own"}}},
        }),
        json!({"b": {"post": {}, "$ref": "#/nowhere"}, "more": {"PATCH": {}, "LOCK": {}}}),
    );
    let lock = |path: &str| {
        format!(
            "LOCK /{path}  /components/more/LOCK: gateways know no method LOCK; call it with another method"
        )
    };
    let expected = [
        "/a  /components/b: $ref \"#/nowhere\" leads nowhere; name a place that is there",
        "/c  /paths/~1c/additionalOperations: is no mapping; write its members there",
        &lock("d"),
        &lock("e"),
    ];
    assert_eq!(problems(&text), expected);
    assert!(refused(&text).starts_with("4 of 9 operations cannot be imported:"), "{}", refused(&text));
    let imported = read_as(&text, &Wanted { skip_unusable: true, ..Wanted::default() }).unwrap();
    assert_eq!(listed(&imported), ["GET /a -", "POST /a -", "PUT /c -", "PATCH /d -", "PATCH /e own"]);

    let text = "openapi: 3.0.0\ninfo: {version: 1}\npaths: {/a: {get: }, $ref: '#/gone'}";
    assert_eq!(problems(text), ["/paths: $ref \"#/gone\" leads nowhere; name a place that is there"]);
}

#[test]
fn a_short_document_makes_no_endless_list() {
    let items: Vec<_> = (0..400).map(|n| format!("X{n}: ")).collect();
    let paths: Vec<_> = (0..400).map(|n| format!("/{n}: {{$ref: '#/x-all'}}")).collect();
    let text = format!(
        "openapi: 3.2.0\ninfo: {{version: 1}}\nx-all: {{additionalOperations: {{{}}}}}\npaths: {{{}}}",
        items.join(", "),
        paths.join(", ")
    );
    let remedy = "leave operations out of the document, or write two documents and import each as an Api with a --context of its own";
    assert_eq!(
        problems(&text),
        [format!("/paths: it has more than 100000 operations and problems; {remedy}")]
    );
}

#[test]
fn a_short_document_is_not_read_for_hours() {
    let members: Vec<_> = (0..100_000).map(|n| format!("\"x-{n}\":0")).collect();
    let paths: Vec<_> = (0..100_000).map(|n| format!("\"/{n}\":{{\"$ref\":\"#/x-all\"}}")).collect();
    let text = format!(
        r#"{{"openapi":"3.0.0","info":{{"version":"1"}},"x-all":{{"get":{{}},{}}},"paths":{{{}}}}}"#,
        members.join(","),
        paths.join(",")
    );
    let why = "/paths: its path items, with those that $refs repeat, have more than 1000000 members; leave";
    assert!(problems(&text)[0].starts_with(why), "{:?}", problems(&text));
}
