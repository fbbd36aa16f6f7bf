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

proptest! {
    #[test]
    fn agrees_with_the_naive_matcher(
        mut texts in proptest::collection::vec(naive::path_template(0..4), 1..24),
        paths in proptest::collection::vec(proptest::collection::vec(naive::request_segment(), 1..4), 1..40),
    ) {
        // One shape once: `/{p}` and `/{q}` are the same path.
        texts.sort();
        texts.dedup();
        let templates: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tree = OperationTree::new(templates.iter().map(|text| (Some(Method::GET), template(text), text.to_string())));
        for path in paths {
            let path = format!("/{}", path.join("/"));
            for by in [Compared::Plain, Compared::Whole] {
                let found = match by {
                    Compared::Plain => tree.find(path.as_bytes()),
                    Compared::Whole => tree.find_whole(path.as_bytes()),
                };
                let found = found.and_then(|methods| methods.get(&Method::GET)).map(|own| own.as_str());
                prop_assert_eq!(found, naive::find(&templates, &path, by), "{} {:?}", path, by);
            }
            prop_assert_eq!(tree.has_literal(path.as_bytes()), templates.contains(&path.as_str()), "{}", path);
        }
    }

    #[test]
    fn templates_know_which_of_them_goes_before(
        one in naive::path_template(0..4),
        other in naive::path_template(0..4),
        paths in proptest::collection::vec(proptest::collection::vec(naive::request_segment(), 1..5), 1..40),
    ) {
        let (own, others) = (template(&one), template(&other));
        prop_assume!(own != others);
        for path in paths {
            let path = format!("/{}", path.join("/"));
            let find = |templates: &[&'_ str]| naive::find(templates, &path, Compared::Plain).map(str::to_owned);
            if find(&[&one]).is_some() && find(&[&other]).is_some() {
                prop_assert!(own.overlaps(&others) && others.overlaps(&own), "{}", path);
                let first = find(&[&one, &other]);
                prop_assert_eq!(own.precedes(&others), first.as_ref() == Some(&one), "{}", path);
                prop_assert_eq!(others.precedes(&own), first.as_ref() == Some(&other), "{}", path);
            }
        }
    }
}
