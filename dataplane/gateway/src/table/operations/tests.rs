use hanse_proto::runtime;
use hanse_runtime::{Resource, ResourceKind};
use proptest::prelude::*;

use super::*;
use crate::testbed::{route, route_entry};

fn tree(operations: &[(&'static str, &'static str)]) -> OperationTree<String> {
    OperationTree::new(operations.iter().map(|(method, path)| {
        let one = (*method != "*").then(|| Method::from_bytes(method.as_bytes()).unwrap());
        (one, template(path), format!("{method} {path}"))
    }))
}

/// A template as a checked route has it.
fn template(path: &str) -> Template {
    let operation =
        runtime::Operation { method: "GET".to_owned(), path: path.to_owned(), ..Default::default() };
    let mut route = route("a", "/", &[]);
    route.operations.push(operation);
    let (_, bytes) = route_entry(route);
    match hanse_runtime::check(ResourceKind::Route, &bytes).unwrap() {
        Resource::Route(mut route) => route.operations.remove(0).template,
        other => panic!("{other:?}"),
    }
}

/// The operation, `405 ALLOW` or `404`.
fn call(tree: &OperationTree<String>, method: &str, path: &str) -> String {
    match tree.find(path.as_bytes()) {
        None => "404".to_owned(),
        Some(methods) => match methods.get(&Method::from_bytes(method.as_bytes()).unwrap()) {
            Some(operation) => operation.as_ref().clone(),
            None => format!("405 {}", methods.allow().to_str().unwrap()),
        },
    }
}

#[test]
fn the_most_special_path_wins_and_dead_ends_are_left() {
    let tree = tree(&[
        ("GET", "/"),
        ("GET", "/orders"),
        ("POST", "/orders"),
        ("GET", "/orders/{id}"),
        ("DELETE", "/orders/{key}"),
        ("GET", "/orders/open"),
        ("POST", "/orders/open/{id}/close"),
        ("GET", "/orders/{id}/lines"),
        ("GET", "/compare/{base}...{head}"),
        ("GET", "/compare/{base}"),
        ("GET", "/compare/{base}.diff"),
        ("GET", "/files/v{n}/raw"),
        ("GET", "/files/{name}/info"),
        ("PUT", "/trailing/"),
    ]);
    let check = |request: &str, wanted: &str| {
        let (method, path) = request.split_once(' ').unwrap();
        assert_eq!(call(&tree, method, path), wanted, "{request}");
    };
    check("GET /", "GET /");
    check("GET ", "GET /");
    check("GET /orders", "GET /orders");
    check("HEAD /orders", "GET /orders");
    check("GET /orders/7", "GET /orders/{id}");
    check("DELETE /orders/7", "DELETE /orders/{key}");
    check("PUT /orders/7", "405 DELETE, GET, HEAD");
    check("GET /orders/open", "GET /orders/open");
    check("DELETE /orders/open", "405 GET, HEAD"); // the path is chosen before the method
    check("GET /orders/open/lines", "GET /orders/{id}/lines"); // the literal branch dead-ends
    check("POST /orders/open/7/close", "POST /orders/open/{id}/close");
    check("GET /compare/main...dev", "GET /compare/{base}...{head}");
    check("GET /compare/main", "GET /compare/{base}");
    check("GET /compare/main.diff", "GET /compare/{base}.diff");
    check("GET /compare/a...b.diff", "GET /compare/{base}.diff"); // more literal octets
    check("GET /files/v1/raw", "GET /files/v{n}/raw");
    check("GET /files/v1/info", "GET /files/{name}/info"); // the mixed branch dead-ends
    check("GET /orders/", "404"); // a parameter is not empty, nothing is folded
    check("GET /orders/7/", "404");
    check("PUT /trailing/", "PUT /trailing/");
    check("PUT /trailing", "404");
    check("GET //orders", "404");
    check("GET /orders/7/lines/8", "404");
}

#[test]
fn head_may_have_an_operation_of_its_own() {
    let tree = tree(&[("GET", "/a"), ("HEAD", "/a"), ("POST", "/b")]);
    assert_eq!(call(&tree, "HEAD", "/a"), "HEAD /a");
    assert_eq!(call(&tree, "HEAD", "/b"), "405 POST");
}

#[test]
fn literals_with_parameters_are_compared_whole() {
    let tree = tree(&[
        ("GET", "/a"),
        ("GET", "/a;v=1"),
        ("GET", "/{n};v={v}"),
        ("GET", "/{n}.json"),
        ("GET", "/{n}"),
    ]);
    let check =
        |path: &str, wanted: &str| assert_eq!(call(&tree, "GET", path), format!("GET {wanted}"), "{path}");
    check("/a;v=1", "/a;v=1");
    check("/a;w", "/a");
    check("/b;v=1", "/{n};v={v}");
    check("/b;w", "/{n}");
    check("/b.json;w", "/{n}.json");
    check("/b;w.json", "/{n}");
}

#[test]
fn tails_take_what_nothing_else_has() {
    let tree = tree(&[
        ("POST", "/a"),
        ("*", "/*"),
        ("GET", "/files/{path+}"),
        ("GET", "/files/{path+}/meta"),
        ("PUT", "/files/v{path+}"),
        ("GET", "/files/{name}/info"),
        ("GET", "/models/{name+}:predict"),
        ("DELETE", "/models/*"),
    ]);
    let check = |request: &str, wanted: &str| {
        let (method, path) = request.split_once(' ').unwrap();
        assert_eq!(call(&tree, method, path), wanted, "{request}");
    };
    check("POST /a", "POST /a");
    check("GET /a", "405 POST"); // the path is chosen before the method
    check("BREW /b", "* /*");
    check("GET ", "* /*");
    check("GET /", "* /*");
    check("POST /a/", "* /*");
    check("CONNECT /b", "405 DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY, TRACE");
    check("GET /files/a/b", "GET /files/{path+}");
    check("GET /files/a/b/meta", "GET /files/{path+}/meta"); // more literal octets
    check("GET /files/meta", "GET /files/{path+}");
    check("PUT /files/v1/x", "PUT /files/v{path+}");
    check("GET /files/v1/x", "405 PUT");
    check("GET /files/v1/info", "GET /files/{name}/info"); // a parameter goes before a tail
    check("GET /files/", "* /*"); // at least one octet
    check("GET /files", "* /*");
    check("GET /models/a/b:predict", "GET /models/{name+}:predict");
    check("DELETE /models/a/b", "DELETE /models/*");
    check("DELETE /models", "DELETE /models/*");
    check("DELETE /models/", "DELETE /models/*");
    check("GET /models", "405 DELETE"); // the longer prefix has the path
}

#[test]
fn every_method_includes_what_a_preflight_asks_for() {
    let tree = tree(&[("GET", "/a"), ("*", "/a"), ("GET", "/b")]);
    assert_eq!(call(&tree, "GET", "/a"), "GET /a");
    assert_eq!(call(&tree, "HEAD", "/a"), "GET /a");
    assert_eq!(call(&tree, "PUT", "/a"), "* /a");
    let allowed =
        |path: &str| tree.find(path.as_bytes()).unwrap().allow_for(&Method::from_bytes(b"BREW").unwrap());
    assert_eq!(
        (allowed("/a"), allowed("/b")),
        (HeaderValue::from_static("BREW"), HeaderValue::from_static("GET, HEAD"))
    );
}

/// A part of a template, in order of precedence.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Segment(TemplateSegment),
    Tail(Tail),
}

/// What the tree must agree with: compare the request with every template, keep the best by precedence.
fn naive<'a>(templates: &[&'a str], path: &str) -> Option<&'a str> {
    let wanted: Vec<&str> = path[1..].split('/').collect();
    let fits = |template: &Template| {
        let (segments, tail) = template.clone().into_parts();
        let before = wanted.get(..segments.len())?;
        let rest = wanted.get(segments.len()..).filter(|rest| !rest.is_empty()).map(|rest| rest.join("/"));
        let ends = match &tail {
            None => rest.is_none(),
            Some(tail) => tail.matches(rest.as_ref().map(String::as_bytes)),
        };
        let all = segments.iter().zip(before).all(|(segment, octets)| segment.matches(octets.as_bytes()));
        let steps = segments.into_iter().map(Step::Segment).chain(tail.map(Step::Tail));
        (ends && all).then(|| steps.collect::<Vec<_>>())
    };
    let fitting = templates.iter().filter_map(|text| Some((fits(&template(text))?, *text)));
    fitting.min().map(|(_, text)| text)
}

fn path_template() -> impl Strategy<Value = String> {
    let tail = prop_oneof![
        6 => Just(""),
        1 => Just("/*"),
        2 => prop_oneof![Just("/{p+}"), Just("/a{p+}"), Just("/{p+}b"), Just("/{p+}-b/a"), Just("/{p+}/")],
    ];
    (proptest::collection::vec(segment(), 0..4), tail).prop_map(|(segments, tail)| {
        let segments: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        match segments + tail {
            empty if empty.is_empty() => "/".to_owned(),
            path => path,
        }
    })
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab]{1,2}",
        1 => Just(String::new()),
        3 => Just("{p}".to_owned()),
        2 => prop_oneof![Just("{p}-{q}"), Just("a{p}"), Just("{p}b"), Just("{p}-b")]
            .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_naive_matcher(
        mut texts in proptest::collection::vec(path_template(), 1..24),
        paths in proptest::collection::vec(proptest::collection::vec("[ab-]{0,3}", 1..4), 1..40),
    ) {
        // One shape once: `/{p}` and `/{q}` are the same path.
        texts.sort();
        texts.dedup();
        let templates: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tree = OperationTree::new(templates.iter().map(|text| (Some(Method::GET), template(text), text.to_string())));
        for path in paths {
            let path = format!("/{}", path.join("/"));
            let found = tree.find(path.as_bytes()).and_then(|methods| methods.get(&Method::GET)).map(|own| own.as_str());
            prop_assert_eq!(found, naive(&templates, &path), "{}", path);
        }
    }

    /// A servlet container drops the parameters of segments. No request escapes an operation by them.
    #[test]
    fn parameters_of_segments_change_no_operation(
        texts in proptest::collection::vec(path_template(), 1..24),
        path in proptest::collection::vec(("[ab-]{0,3}", prop_oneof![Just(""), Just(";"), Just(";x=1;y"), Just(";b.b")]), 1..4),
    ) {
        let tree = OperationTree::new(texts.iter().map(|text| (Some(Method::GET), template(text), text.clone())));
        let find = |path: &str| tree.find(path.as_bytes()).map(std::ptr::from_ref);
        let plain: String = path.iter().map(|(segment, _)| format!("/{segment}")).collect();
        // Behind nothing they are refused before.
        let with = |(segment, own): &(String, &str)| format!("/{segment}{}", if segment.is_empty() { "" } else { own });
        let with: String = path.iter().map(with).collect();
        prop_assert_eq!(find(&with), find(&plain), "{} {}", with, plain);
    }
}
