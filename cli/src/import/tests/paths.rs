//! Operations: which requests they match, and which of them are one.

use super::*;

#[test]
fn operations_that_match_the_same_requests_are_merged() {
    let text = written(
        json!({
            "/pets/{id}": {"get": {"operationId": "first"}, "head": {}},
            "/pets/{petId}": {"get": {"operationId": "second"}, "put": {"operationId": "third"}},
            "/pets/{x}": {"head": {"operationId": "fourth"}},
            "/pets/{y}": {"head": {"operationId": "fifth"}},
        }),
        json!({}),
    );
    let imported = read(&text).unwrap();
    assert_eq!(
        listed(&imported),
        ["GET /pets/{id} first", "HEAD /pets/{id} fourth", "PUT /pets/{petId} third"]
    );
    assert_eq!(
        imported.notes,
        [
            "merged GET /pets/{petId} into GET /pets/{id}, which matches the same requests",
            "merged HEAD /pets/{x} into HEAD /pets/{id}, which matches the same requests",
            "merged HEAD /pets/{y} into HEAD /pets/{id}, which matches the same requests",
        ]
    );
}

#[test]
fn paths_are_taken_as_documents_write_them() {
    let paths = [
        "/größe",
        "/a%20b/{id}",
        "//x",
        "/a\"<|>b",
        "/{id}/x/{id}",
        "/v1/{name}:predict",
        "/{proxy+}",
        "/files/*",
        "/",
    ];
    let items: serde_json::Map<String, Value> =
        paths.iter().map(|path| ((*path).to_owned(), json!({"get": {}}))).collect();
    let imported = read(&written(items.into(), json!({}))).unwrap();
    assert_eq!(
        imported.operations.iter().map(|operation| operation.path.as_str()).collect::<Vec<_>>(),
        paths
    );
    assert!(imported.notes.is_empty());
    let query = "openapi: 3.2.0\ninfo: {version: 1}\npaths: {/a: {query: {}, get: {}}}";
    assert_eq!(listed(&read(query).unwrap()), ["QUERY /a -", "GET /a -"]);
    for refused in ["/users/:id", "/{+name}", "/a(/{id})", "/{id:[0-9]+}"] {
        let error = problems(&written(json!({refused: {"get": {}}}), json!({})));
        assert!(error[0].contains("; write "), "{error:?}");
    }
}

#[test]
fn parameters_are_widened_when_asked() {
    let paths = ["/v1/{name}:predict", "/proxy/{path}", "/v1/{name}/x/{id}", "/w/{name}/y"];
    let items: serde_json::Map<String, Value> =
        paths.iter().map(|path| ((*path).to_owned(), json!({"get": {}}))).collect();
    let text = written(items.into(), json!({}));
    let wanted = Wanted { greedy: vec!["name".into(), "path".into()], ..Wanted::default() };
    let imported = read_as(&text, &wanted).unwrap();
    assert_eq!(
        listed(&imported),
        [
            "GET /v1/{name+}:predict -",
            "GET /proxy/{path+} -",
            "GET /v1/{name}/x/{id} -",
            "GET /w/{name+}/y -"
        ]
    );
    assert_eq!(
        imported.notes,
        [
            "widened /v1/{name}:predict to /v1/{name+}:predict",
            "widened /proxy/{path} to /proxy/{path+}",
            "widened /w/{name}/y to /w/{name+}/y",
        ]
    );
    assert!(read(&text).unwrap().notes.is_empty(), "nothing is widened unasked");

    let wanted =
        Wanted { greedy: vec!["id".into(), "nmae".into()], skip_unusable: true, ..Wanted::default() };
    let error = read_as(&text, &wanted).unwrap_err();
    assert_eq!(
        error.to_string().lines().skip(1).collect::<Vec<_>>(),
        [
            "  --greedy: {nmae} is in no path that can be widened; name a parameter that is the last of its path and the only one in its segment"
        ]
    );
    assert_eq!(crate::exit::Failure::from(error).remedy, "correct --greedy");
}

/// Imports GET of each path with that `--greedy`: the paths as they are matched, or the problems.
fn widened(paths: &[&str], greedy: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let items: serde_json::Map<String, Value> =
        paths.iter().map(|path| ((*path).to_owned(), json!({"get": {}}))).collect();
    let wanted = Wanted { greedy: greedy.iter().map(|&name| name.to_owned()).collect(), ..Wanted::default() };
    match read_as(&written(items.into(), json!({})), &wanted) {
        Ok(imported) => Ok(imported.operations.into_iter().map(|operation| operation.path).collect()),
        Err(error) => Err(error.to_string().lines().skip(1).map(|line| line.trim().to_owned()).collect()),
    }
}

#[test]
fn paths_that_match_the_same_requests_are_widened_together() {
    let text = written(
        json!({
            "/v1/{name}": {"get": {"operationId": "get"}},
            "/v1/{id}": {"post": {}},
            "/v1/{id}/x": {"get": {}},
            "/v2/{id}": {"get": {}},
        }),
        json!({}),
    );
    let wanted = Wanted { greedy: vec!["name".into()], ..Wanted::default() };
    let imported = read_as(&text, &wanted).unwrap();
    assert_eq!(
        listed(&imported),
        ["GET /v1/{name+} get", "POST /v1/{id+} -", "GET /v1/{id}/x -", "GET /v2/{id} -"]
    );
    assert_eq!(imported.notes, ["widened /v1/{name} to /v1/{name+}", "widened /v1/{id} to /v1/{id+}"]);
}

#[test]
fn a_path_is_widened_by_its_whole_name() {
    let paths = ["/v1/{name}:run", "/v1/shelves/{name}", "/v1/{n}:stop"];
    assert_eq!(
        widened(&paths, &["/v1/{name}:run"]).unwrap(),
        ["/v1/{name+}:run", "/v1/shelves/{name}", "/v1/{n}:stop"]
    );
    assert_eq!(
        widened(&["/a/{x}...{y}"], &["y", "/a/{x}...{y}", "/a/{z}"]).unwrap_err(),
        [
            "--greedy: /a/{x}...{y} is no path that can be widened; name a path whose last parameter is the only one in its segment",
            "--greedy: /a/{z} is no path that can be widened; name a path whose last parameter is the only one in its segment",
            "--greedy: {y} is in no path that can be widened; name a parameter that is the last of its path and the only one in its segment",
        ]
    );
}

#[test]
fn a_path_that_would_lose_requests_is_not_widened() {
    let run = "--greedy: /v1/{name}:run would lose requests to /v1/{id}";
    let paths = ["/v1/{name}:run", "/v1/{id}", "/v1/{name}:stop"];
    assert_eq!(
        widened(&paths, &["name"]).unwrap_err(),
        [
            format!("{run}; name /v1/{{id}} as well"),
            format!("{run}; name /v1/{{id}} as well").replace(":run", ":stop"),
        ]
    );
    assert_eq!(
        widened(&paths, &["name", "/v1/{id}"]).unwrap(),
        ["/v1/{name+}:run", "/v1/{id+}", "/v1/{name+}:stop"]
    );
    // Nothing makes room for a path with another parameter in its place.
    let paths = ["/v1/{name}/x", "/v1/{id}/{verb}", "/v1/{name}"];
    assert_eq!(
        widened(&paths, &["name"]).unwrap_err(),
        [
            "--greedy: /v1/{name}/x would lose requests to /v1/{id}/{verb}; name the paths to be widened, without /v1/{name}/x"
        ]
    );
    assert_eq!(widened(&paths, &["/v1/{name}"]).unwrap(), ["/v1/{name}/x", "/v1/{id}/{verb}", "/v1/{name+}"]);
}

#[test]
fn a_member_that_is_no_method_is_not_passed_over() {
    let text = written(
        json!({
            "/a": {"get": {}, "gett": {}, "x-note": {}, "summary": "s", "description": "d", "servers": [], "parameters": []},
            "/b": {"$ref": "#/paths/~1a", "tags": ["t"]},
        }),
        json!({}),
    );
    let problem = |path: &str, member: &str| {
        format!(
            "{path}  /paths/~1{member}: is no method, and no other member that a path item has; correct its name, or take it out"
        )
    };
    assert_eq!(problems(&text), [problem("/a", "a/gett"), problem("/b", "b/tags"), problem("/b", "a/gett")]);
    let wanted = Wanted { skip_unusable: true, ..Wanted::default() };
    let imported = read_as(&text, &wanted).unwrap();
    assert_eq!(listed(&imported), ["GET /a -", "GET /b -"]);
    assert_eq!(imported.notes[0], "passed over:", "no operation is left out");
}

#[test]
fn an_operation_of_any_method_is_one_of_every_method() {
    let any = "x-amazon-apigateway-any-method";
    let text = written(
        json!({"/a": {"get": {"operationId": "g"}, any: {"operationId": "a"}}, "/{proxy+}": {any: {}}}),
        json!({}),
    );
    let imported = read(&text).unwrap();
    let mut found = listed(&imported);
    found.sort();
    assert_eq!(found, ["* /a a", "* /{proxy+} -", "GET /a g"]);
    assert_eq!(
        problems(&written(json!({"/a": {any: {"operationId": []}}}), json!({}))),
        [format!("{any} /a  /paths/~1a/{any}/operationId: is not text; write one line of text there")]
    );
}

#[test]
fn a_fragment_amid_a_path_does_not_cut_it() {
    let text = written(json!({"/send/#env/v1/{id}": {"get": {}}, "/send/#one": {"get": {}}}), json!({}));
    assert_eq!(
        problems(&text),
        [
            "/send/#env/v1/{id}  /paths/~1send~1#env~1v1~1{id}: #env would cut the path, because a path has no fragment; write %23 for the #, or the value in its place"
        ]
    );
}

#[test]
fn a_fragment_or_a_query_is_no_part_of_a_path() {
    let text = written(
        json!({
            "/uploads#sftp": {"post": {"operationId": "sftp"}},
            "/uploads#http": {"post": {"operationId": "http"}},
            "/models?beta=true": {"get": {"operationId": "beta"}},
            "/models/{id}": {"get": {"operationId": "one"}},
            "/a b/{pet id}": {"get": {}},
            "?a": {"get": {}},
            "/rooms/{id}/invite ": {"post": {}},
            "/search{?q,page}{&more}": {"get": {"operationId": "search"}},
            "/part{#anchor}": {"get": {}},
            "/a{b}?c={d}#{e}": {"get": {}},
        }),
        json!({}),
    );
    let error = refused(&text);
    assert!(error.starts_with("1 of 10 operations cannot be imported:\n  GET ?a  /paths/?a: "), "{error}");
    let imported = read_as(&text, &Wanted { skip_unusable: true, ..Wanted::default() }).unwrap();
    assert_eq!(
        listed(&imported),
        [
            "POST /uploads sftp",
            "GET /models beta",
            "GET /models/{id} one",
            "GET /a%20b/{pet id} -",
            "POST /rooms/{id}/invite -",
            "GET /search search",
            "GET /part -",
            "GET /a{b} -",
        ]
    );
    let notes: Vec<_> =
        imported.notes.iter().filter(|note| !note.contains("?a") && !note.starts_with("left out")).collect();
    assert_eq!(
        notes,
        [
            "/uploads#sftp is matched by its path, /uploads",
            "/uploads#http is matched by its path, /uploads",
            "/models?beta=true is matched by its path, /models",
            "/a b/{pet id} is matched by its path, /a%20b/{pet id}",
            "/rooms/{id}/invite  is matched by its path, /rooms/{id}/invite",
            "/search{?q,page}{&more} is matched by its path, /search",
            "/part{#anchor} is matched by its path, /part",
            "/a{b}?c={d}#{e} is matched by its path, /a{b}",
            "merged POST /uploads#http into POST /uploads#sftp, which matches the same requests",
        ]
    );
}
