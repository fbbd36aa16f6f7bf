//! Descriptions of several files.

use super::*;

#[test]
fn a_description_may_be_of_several_files() {
    let root = "\
openapi: 3.1.0
info: {$ref: parts/info.yaml}
paths:
  /users: {$ref: ./paths/users.yaml}
  /users/{id}: {$ref: 'paths/users.yaml#/one', delete: {operationId: own}}
  /ab: {$ref: 'paths/a%20b.json'}
  /up: {get: {$ref: parts/../shared.yaml#/ops/up}}
";
    let parts = [
        ("parts/info.yaml", "version: 1.10\ntitle: 007"),
        (
            "paths/users.yaml",
            "get: {operationId: list}\npost: {$ref: '#/one/get'}\none: {get: {$ref: ops/one.yaml}, delete: {}}",
        ),
        ("paths/ops/one.yaml", "operationId: 1e3\ndeprecated: true"),
        ("paths/a b.json", r#"{"get": {"$ref": "../api.yaml#/paths/~1up/get"}}"#),
        ("shared.yaml", "ops: {up: {operationId: up}}"),
    ];
    let imported = read_parts(root, &parts).unwrap();
    assert_eq!((imported.version.as_str(), imported.title.as_str(), imported.deprecated), ("1.10", "007", 2));
    let expected = [
        "GET /users list",
        "POST /users 1e3",
        "DELETE /users/{id} own",
        "GET /users/{id} 1e3",
        "GET /ab up",
        "GET /up up",
    ];
    assert_eq!(listed(&imported), expected);
    assert_eq!(imported.named[1], "POST /users at paths/users.yaml#/post");
    let passed = "passed over members of files that are no methods: 1, such as paths/users.yaml#/one";
    assert_eq!(imported.notes, [passed]);
}

#[test]
fn a_misspelt_method_in_a_file_of_its_own_is_refused() {
    let root = "openapi: 3.0.0\ninfo: {title: t, version: '1'}\npaths: {/pets: {$ref: pets.yaml}}";
    let error =
        read_parts(root, &[("pets.yaml", "get: {responses: {}}\npostt: {responses: {}}")]).unwrap_err();
    assert!(error.to_string().contains("/pets  pets.yaml#/postt: is no method"), "{error}");
}

#[test]
fn a_reference_out_of_the_files_is_refused() {
    let parts =
        [("broken.yaml", "a: [\n"), ("twice.json", r#"{"a": 1, "a": 2}"#), ("loop.yaml", "$ref: loop.yaml")];
    for (reference, why) in [
        (
            "https://example.com/a.yaml",
            "is a URL, and none is fetched; save it beside the document and refer to the file",
        ),
        (
            "//example.com/a.yaml",
            "is a URL, and none is fetched; save it beside the document and refer to the file",
        ),
        ("file:a.yaml", "is a URL, and none is fetched; save it beside the document and refer to the file"),
        (
            "../a.yaml",
            "leads out of the document's directory; import a document in a directory above all of its parts",
        ),
        (
            "a/../../dir/a.yaml",
            "leads out of the document's directory; import a document in a directory above all of its parts",
        ),
        ("/etc/passwd", "has an absolute path; write the path from the file that refers to it"),
        (
            "none.yaml",
            "leads to none.yaml, which is not imported: no such file; refer to a file that can be read",
        ),
        (
            "twice.json",
            "leads to twice.json, which is not imported: it cannot be read as JSON: line 1, column 12: the key \"a\" comes twice; refer to a file that can be read",
        ),
        ("api.yaml#/none", "leads nowhere; name a place that is there"),
    ] {
        let text = format!(
            "openapi: 3.0.0\ninfo: {{version: 1}}\npaths: {{/a: {{get: {{$ref: '{reference}'}}}}, /b: {{put: }}}}"
        );
        let error = read_parts(&text, &parts).unwrap_err().to_string();
        let expected = format!(
            "1 of 2 operations cannot be imported:\n  GET /a  /paths/~1a/get: $ref {reference:?} {why}"
        );
        assert_eq!(error, expected);
    }
    let text = "openapi: 3.0.0\ninfo: {version: 1}\npaths: {/a: {$ref: loop.yaml}, /b: {$ref: broken.yaml}}";
    let error = read_parts(text, &parts).unwrap_err().to_string();
    assert!(error.contains("/a  loop.yaml: $ref \"loop.yaml\" leads back to where it came from"), "{error}");
    assert!(error.contains("which is not imported: it cannot be read as YAML: line 1, column 4:"), "{error}");
}

#[test]
fn files_beside_a_document_are_read_from_its_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let path = |name: &str| temporary.path().join(name);
    let file = |name: &str, text: &[u8]| {
        std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        std::fs::write(path(name), text).unwrap();
    };
    let link = |name: &str, to: &str| std::os::unix::fs::symlink(to, path(name)).unwrap();
    file("dir/sub/a.yaml", b"get: {$ref: ../b.yaml}");
    file("dir/b.yaml", b"operationId: b");
    file("dir/latin.yaml", b"get: {operationId: \"\xff\"}");
    file("other/c.yaml", b"get: {operationId: c}");
    file("dir/sub/d.yaml", b"get: {operationId: b}");
    link("dir/inside.yaml", "sub/d.yaml");
    link("dir/outside.yaml", "../other/c.yaml");
    link("dir/up", "../other");
    let pipe = std::process::Command::new("mkfifo").arg(path("dir/pipe.yaml")).status().unwrap();
    assert!(pipe.success());
    let import = |reference: &str| {
        let text = format!(
            "openapi: 3.0.0\ninfo: {{version: 1}}\npaths: {{/a: {{$ref: {reference}}}, /z: {{put: }}}}"
        );
        file("dir/api.yaml", text.as_bytes());
        crate::import::read(path("dir/api.yaml").to_str().unwrap(), &Wanted::default())
    };
    for reference in ["sub/a.yaml", "sub/../sub/a.yaml", "inside.yaml"] {
        assert_eq!(listed(&import(reference).unwrap()), ["GET /a b", "PUT /z -"], "{reference}");
    }
    let outside = "leads out of the document's directory";
    for (reference, why) in [
        ("../other/c.yaml", outside),
        ("outside.yaml", outside),
        ("up/c.yaml", outside),
        ("pipe.yaml", "leads to pipe.yaml, which is not imported: it is no file"),
        ("sub", "leads to sub, which is not imported: it is no file"),
        ("latin.yaml", "leads to latin.yaml, which is not imported: it is not UTF-8 text"),
        ("none.yaml", "leads to none.yaml, which is not imported: it does not exist"),
    ] {
        let error = import(reference).unwrap_err().to_string();
        assert!(error.contains(&format!("$ref {reference:?} {why}")), "{error}");
    }
}

#[test]
fn a_document_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (path, why) in
        [(dir.path().join("none.yaml"), "it does not exist"), (dir.path().to_owned(), "it is a directory")]
    {
        let error = crate::import::read(path.to_str().unwrap(), &Wanted::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read {}: {why}", path.display()));
    }
}

/// A document of two operations. The first one is what `parts` say of `part.yaml`.
fn with_part(parts: Files) -> Result<Imported, ImportError> {
    let text = "openapi: 3.0.0\ninfo: {version: 1}\npaths: {/a: {$ref: part.yaml}, /b: {$ref: part.yaml}, /z: {put: }}";
    document(text, parts, &Wanted { skip_unusable: true, ..Wanted::default() })
}

#[test]
fn what_could_not_be_read_is_not_left_out() {
    for (why, is_left_out) in [
        (Unread::Failed("permission denied".to_owned()), false),
        (Unread::Outside, true),
        (Unread::NotText, true),
    ] {
        let case = format!("{why:?}");
        match with_part(Files::beside("api.yaml", move |_, _| Err(why.clone()))) {
            Ok(imported) => {
                assert_eq!((listed(&imported), is_left_out), (vec!["PUT /z -".to_owned()], true), "{case}")
            }
            Err(error) => {
                assert!(!is_left_out, "{case}");
                let failure = crate::exit::Failure::from(error);
                assert!(failure.message.starts_with("2 of 3 operations cannot be imported:"), "{failure}");
                assert_eq!(failure.remedy, "mend the document and import it again");
            }
        }
    }
    let error = with_part(Files::none()).unwrap_err();
    let why = "leads to a file, and standard input has none beside it, as does 1 other; give the document as a file";
    assert_eq!(
        error.to_string(),
        format!("2 of 3 operations cannot be imported:\n  /a  /paths/~1a: $ref \"part.yaml\" {why}")
    );
}

#[test]
fn a_file_is_asked_for_once() {
    let asked = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let answers = |answer: Result<&'static str, Unread>| {
        let asked = asked.clone();
        Files::beside("api.yaml", move |_, limit| {
            asked.borrow_mut().push(limit);
            answer.clone().map(str::to_owned)
        })
    };
    for answer in [Ok("get: "), Ok("a: ["), Err(Unread::NotText), Err(Unread::Failed("none".to_owned()))] {
        let _ = with_part(answers(answer));
        let limits = asked.take();
        assert_eq!(limits.len(), 1);
        assert!(limits[0] < MAX_DOCUMENT_BYTES - 80, "the document's own bytes count: {limits:?}");
    }
}

#[test]
fn the_files_of_a_description_are_bounded() {
    let wanted = Wanted { skip_unusable: true, ..Wanted::default() };
    let one = |_: &std::path::Path, _: u64| Ok(r#"{"get": {}}"#.to_owned());
    let paths: Vec<_> = (0..2_100).map(|n| format!("/{n}: {{$ref: {n}.yaml}}")).collect();
    let text = format!("openapi: 3.0.0\ninfo: {{version: 1}}\npaths: {{{}}}", paths.join(", "));
    let error = document(&text, Files::beside("api.yaml", one), &wanted).unwrap_err().to_string();
    assert!(error.starts_with("101 of 2100 operations"), "{error}");
    assert!(error.contains("leads to one file more than 2000, as do 100 others; write"), "{error}");
    assert_eq!(error.lines().count(), 2, "{error}");
    let sized = Files::beside("api.yaml", |_, limit| match limit {
        0 => Err(Unread::Failed("none is left".to_owned())),
        _ => Ok(format!(r#"{{"get": {{}}, "x": "{}"}}"#, "x".repeat(40 << 20))),
    });
    let text = "openapi: 3.0.0\ninfo: {version: 1}\npaths: {/a: {$ref: a}, /b: {$ref: b}, /c: {$ref: c}}";
    let error = document(text, sized, &wanted).unwrap_err().to_string();
    assert!(error.starts_with("1 of 3 operations") && error.contains("none is left"), "{error}");
}
