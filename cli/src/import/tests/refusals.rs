//! What is told of a document that cannot be imported, and what can be done about it.

use super::*;

/// One document with a fault of each kind.
fn faulty() -> String {
    let long = "x".repeat(5_000);
    written(
        json!({
            "/good": {"get": {"operationId": "good"}},
            "/a~b/{c}": [],
            "/number": {"get": 1},
            "/id": {"get": {"operationId": {}}, "put": {}},
            "/long": {"get": {"operationId": long}},
            "no-slash": {"get": {}, "post": {"operationId": long}},
            "/gone": {"$ref": "#/gone"},
            "/\u{1b}[2J": 1,
        }),
        json!({}),
    )
    .replace("\"version\":\"1\"", "\"version\":[]")
}

#[test]
fn every_problem_is_named_at_once() {
    insta::assert_snapshot!(refused(&faulty()), @r##"
    8 of 10 operations cannot be imported:
      /info/version: is not text; write one line of text there
      /a~b/{c}  /paths/~1a~0b~1{c}: is no mapping; write its members there
      GET /number  /paths/~1number/get: is no mapping; write its members there
      GET /id  /paths/~1id/get/operationId: is not text; write one line of text there
      GET /long  /paths/~1long/get/operationId: 5000 bytes are more than 256; write less
      GET no-slash  /paths/no-slash: "no-slash" does not start with a slash; write "/no-slash"
      POST no-slash  /paths/no-slash: "no-slash" does not start with a slash; write "/no-slash"
      POST no-slash  /paths/no-slash/post/operationId: 5000 bytes are more than 256; write less
      /gone  /paths/~1gone: $ref "#/gone" leads nowhere; name a place that is there
      /\u{1b}[2J  /paths/~1\u{1b}[2J: is no mapping; write its members there
    "##);
    let failure = crate::exit::Failure::from(read(&faulty()).unwrap_err());
    assert_eq!(failure.remedy, "mend the document, or import it with --api-version VERSION --skip-unusable");
}

#[test]
fn what_cannot_be_imported_is_left_out_when_asked() {
    let wanted = Wanted { skip_unusable: true, api_version: Some("7".into()), ..Wanted::default() };
    let failure = crate::exit::Failure::from(
        read_as(&faulty(), &Wanted { skip_unusable: false, ..wanted.clone() }).unwrap_err(),
    );
    assert_eq!(failure.remedy, "mend the document, or import it with --skip-unusable");
    let imported = read_as(&faulty(), &wanted).unwrap();
    assert_eq!(
        (listed(&imported), imported.version.as_str()),
        (vec!["GET /good good".to_owned(), "PUT /id -".to_owned()], "7")
    );
    assert_eq!(imported.notes[0], "left out 8 of 10 operations:");
    assert_eq!(imported.notes[1], "  /a~b/{c}  /paths/~1a~0b~1{c}: is no mapping; write its members there");
    let lines: Vec<_> = refused(&faulty()).lines().skip(2).map(str::to_owned).collect();
    assert_eq!(imported.notes[1..], lines[..], "the same list");

    let skip_only = Wanted { skip_unusable: true, ..Wanted::default() };
    assert!(read_as(&faulty(), &skip_only).is_err(), "a version cannot be left out");
    let none = written(json!({"a": {"get": {}}}), json!({}));
    assert!(read_as(&none, &wanted).is_err(), "nothing would be left");
}

#[test]
fn an_api_needs_a_version() {
    let with = |info: &str| format!(r#"{{"openapi":"3.1.0","info":{info},"paths":{{"/a":{{"get":{{}}}}}}}}"#);
    let long = format!(r#"{{"version":"{}"}}"#, "x".repeat(5_000));
    for (info, expected) in [
        ("{}", "/info/version: is missing; add it"),
        ("null", "/info/version: is missing; add it"),
        ("[]", "/info: is no mapping; write its members there"),
        (r#"{"version":""}"#, "/info/version: is empty; write a version there"),
        (r#"{"version":{}}"#, "/info/version: is not text; write one line of text there"),
        (&long, "/info/version: 5000 bytes are more than 256; write less"),
    ] {
        assert_eq!(problems(&with(info)), [expected]);
        let wanted = |version: &str| Wanted { api_version: Some(version.into()), ..Wanted::default() };
        match read_as(&with(info), &wanted("1.10")) {
            Ok(imported) => assert_eq!(imported.version, "1.10"),
            Err(error) => assert_eq!((info, error.to_string().lines().count()), ("[]", 2), "its title"),
        }
        let error = read_as(&with("{}"), &wanted("a\nb")).unwrap_err().to_string();
        assert!(
            error.ends_with("\n  --api-version: it has control characters; write one line of plain text"),
            "{error}"
        );
    }
    assert_eq!(
        problems(r#"{"openapi":"3.1.0","info":{"version":"1"}}"#),
        ["/paths: the document offers nothing to call; add an operation"]
    );
}

#[test]
fn the_remedy_names_the_options_that_help() {
    let check = |paths: Value, version: &str, wanted: Wanted, remedy: &str| {
        let text = written(paths, json!({})).replace("\"version\":\"1\"", version);
        let failure = crate::exit::Failure::from(read_as(&text, &wanted).unwrap_err());
        assert_eq!(failure.remedy, remedy, "{failure}");
    };
    let (good, bad) = (json!({"/a": {"get": {}}}), json!({"/a": {"get": {}}, "/:b": {"get": {}}}));
    let one_bad = json!({"/:b": {"get": {}}});
    let (version, none) = ("\"version\":\"1\"", "\"x\":1");
    let options = || Wanted { context: Some("/a/".into()), greedy: vec!["id".into()], ..Wanted::default() };
    let again = "mend the document and import it again";
    check(
        good.clone(),
        none,
        Wanted::default(),
        "mend the document, or import it with --api-version VERSION",
    );
    check(bad.clone(), version, Wanted::default(), "mend the document, or import it with --skip-unusable");
    check(
        bad.clone(),
        none,
        Wanted { skip_unusable: true, ..Wanted::default() },
        "mend the document, or import it with --api-version VERSION --skip-unusable",
    );
    check(one_bad.clone(), version, Wanted::default(), again);
    check(
        one_bad,
        none,
        Wanted::default(),
        &format!("{again}; for some of its problems --api-version VERSION will do"),
    );
    check(good, version, options(), "correct --context and --greedy");
    check(
        bad,
        version,
        options(),
        "correct --context and --greedy; mend the document, or import it with --skip-unusable",
    );
}

#[test]
fn the_whole_api_is_judged_with_the_document() {
    let paths: serde_json::Map<_, _> = (0..30_000).map(|n| (format!("/{n}"), json!({"get": {}}))).collect();
    let mut text = written(paths.into(), json!({})).replace("\"version\":\"1\"", "\"version\":[]");
    text = text.replace("\"/7\"", "\"7\"");
    let wanted = Wanted {
        context: Some("/a/".into()),
        api_version: Some("a\nb".into()),
        skip_unusable: true,
        ..Wanted::default()
    };
    let error = read_as(&text, &wanted).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "1 of 30000 operations cannot be imported:",
            "  --api-version: it has control characters; write one line of plain text",
            "  --context: \"/a/\" ends with a slash; write \"/a\"",
            "  GET 7  /paths/7: \"7\" does not start with a slash; write \"/7\"",
        ]
    );
    assert_eq!(
        lines[4],
        "  /paths: 29999 operations are more than 25000; leave operations out of the document, or write two documents and import each as an Api with a --context of its own"
    );
    assert_eq!(lines.len(), 5, "{error}");
}

#[test]
fn the_control_planes_refusals_are_told_as_the_document_says_it() {
    let imported = read(&written(json!({"/a": {"get": {}}, "/b": {"put": {}}}), json!({}))).unwrap();
    for (field, detail, expected) in [
        (
            "Api default/x: spec.operations[1].policies[0]",
            "none",
            "Api default/x: PUT /b at /paths/~1b/put: policies[0]: none",
        ),
        ("Api default/x: spec.operations[0]", "bad", "Api default/x: GET /a at /paths/~1a/get: bad"),
        (
            "Api default/x: spec.operations[0]",
            "Api default/x names operations[1]",
            "GET /a at /paths/~1a/get: Api default/x names operations[1]",
        ),
        ("Api default/x: spec.operations[2]", "bad", "Api default/x: spec.operations[2]: bad"),
        (
            "Api default/x: spec.context",
            "spec.operations[0]",
            "Api default/x: spec.context: spec.operations[0]",
        ),
    ] {
        let problem = Problem::new(ProblemName::Invalid, detail).at(field).remedy("hint");
        let failure = crate::exit::Failure::from(problem);
        let told = imported.located(failure.into()).downcast::<crate::exit::Failure>().unwrap();
        assert_eq!((told.message.as_str(), told.remedy.as_str()), (expected, "hint"));
    }
    assert_eq!(imported.located(anyhow::anyhow!("other")).to_string(), "other");
    let problem = Problem::new(ProblemName::TooLarge, "too much").remedy("apply them in several parts");
    let told = imported.located(crate::exit::Failure::from(problem).into());
    assert_eq!(
        told.to_string(),
        "too much\n  hint: leave operations out of the document, or write two documents and import each as an Api with a --context of its own"
    );
}
