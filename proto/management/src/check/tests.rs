//! Contexts, templates, hosts.

use serde_json::json;

use crate::{
    Problem,
    check::{host, path},
};

#[track_caller]
fn check(problem: Option<Problem>, given: &str, expected: &str) {
    let text = problem.map(|problem| problem.to_string()).unwrap_or_default();
    assert!(
        text.contains(expected) && text.is_empty() == expected.is_empty(),
        "{given:?}\n   was: {text}\nwanted: {expected}"
    );
}

#[test]
fn contexts() {
    for good in ["/", "/orders", "/orders/v1", "/a.b/~c/d:e", "/~", "/...", &format!("/{}", "x".repeat(2047))]
    {
        assert!(path::check_context("context", good).is_ok(), "{good}");
    }
    for (bad, expected) in [
        ("", "spec.context: \"\" does not start with a slash"),
        ("orders", "\"orders\" does not start with a slash (write \"/orders\")"),
        ("/orders/", "\"/orders/\" ends with a slash (write \"/orders\")"),
        ("//", "ends with a slash"),
        ("/a//b", "\"/a//b\" has an empty segment"),
        ("/a/./b", "the segment \".\", which never arrives"),
        ("/a/..", "the segment \"..\", which never arrives"),
        ("/a/{id}", "\"{id}\" is a template: the base path is stripped as it stands"),
        ("/a;v=1", "\"a;v=1\" has parameters"),
        ("/a b", "the character ' '"),
        ("/a%2Fb", "the character '%'"),
        ("/ä", "the character 'ä'"),
        ("/a?b", "a query or a fragment"),
        ("/a#b", "a query or a fragment"),
        ("/a\n", "the character '\\n'"),
        (&format!("/{}", "x".repeat(2048)), "2049 bytes are more than a path may have, 2048"),
    ] {
        check(path::check_context("context", bad).err(), bad, expected);
    }
}

#[test]
fn templates() {
    for good in ["/", "/orders/{id}/", "/größe//{a}...{b}", &format!("/{}", "x".repeat(2047))] {
        check(path::shape(good).err(), good, "");
    }
    for (bad, expected) in [
        ("orders", "spec.path: \"orders\" does not start with a slash (write \"/orders\")"),
        ("/users/:id", "\":id\" would be these characters, and no parameter (write {id}, or %3Aid"),
        (&format!("/{}", "x".repeat(2048)), "2049 bytes are more than a path may have, 2048"),
    ] {
        check(path::shape(bad).err(), bad, expected);
    }
}

#[test]
fn a_shape_is_what_a_template_matches() {
    let shape = |path: &str| path::shape(path).unwrap();
    for (one, other, same) in [
        ("/pets/{id}", "/pets/{petId}", true),
        ("/{a}...{b}", "/{base}...{head}", true),
        ("/pets", "/pets/", false),
        ("/pets/{id}", "/pets/v{id}", false),
        ("/pets/{id}", "/Pets/{id}", false),
    ] {
        assert_eq!(shape(one) == shape(other), same, "{one} {other}");
    }
}

#[test]
fn an_operation_is_checked_by_itself() {
    let problems = |operation: serde_json::Value| {
        let operation = serde_json::from_value(operation).unwrap();
        crate::check_operation(&operation).iter().map(Problem::to_string).collect::<Vec<_>>()
    };
    assert_eq!(problems(json!({"method": "GET", "path": "/a/{id}"})), Vec::<String>::new());
    let problems = problems(json!({"method": "GET", "path": "a/:b", "scopes": ["a b"]}));
    assert_eq!(
        problems,
        [
            "spec.path: \"a/:b\" does not start with a slash (write \"/a/:b\")",
            "spec.path: \":b\" would be these characters, and no parameter (write {b}, or %3Ab for the characters)",
            "spec.scopes[0]: \"a b\" is not a scope (use one word, as in orders:read)",
        ]
    );
}

#[test]
fn hosts() {
    let good =
        ["localhost", "api.example.com", "*.example.com", "10.0.0.1", "xn--bcher-kva.example", "*.localhost"];
    assert!(host::check_patterns("hosts", &good.map(str::to_owned)).is_ok());
    for (bad, expected) in [
        ("*", "spec.hosts[0]: \"*\" is not a host (leave the list empty for every host)"),
        ("", "is not a host name"),
        ("API.example.com", "write it in lower case"),
        ("api.example.com:443", "without a port"),
        ("https://api.example.com", "without scheme and path"),
        ("api.example.com/x", "without scheme and path"),
        ("api.example.com.", "leave out the dot at the end"),
        ("a..b", "use an exact name"),
        ("-a.b", "use an exact name"),
        ("a.*.b", "use an exact name"),
        ("*a.b", "use an exact name"),
        ("a_b.c", "use an exact name"),
        ("ä.de", "use an exact name"),
        (&["a"; 128].join("."), "use an exact name"),
        (&"x".repeat(64), "use an exact name"),
    ] {
        check(host::check_patterns("hosts", &[bad.to_owned()]).err(), bad, expected);
    }
    let twice = ["a".to_owned(), "a".to_owned()];
    check(host::check_patterns("hosts", &twice).err(), "a, a", "spec.hosts[1]: \"a\" is there already");
}
