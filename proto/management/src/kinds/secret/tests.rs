//! What a Secret may say, and that nothing repeats its data.

use serde_json::json;

use super::*;
use crate::Spec;

/// Data that no message and no answer may have: as text, and as the number that it is.
const PRIVATE: &str = "90210";

fn read(spec: Value) -> SecretSpec {
    match Spec::from_json(Kind::Secret, &spec) {
        Ok(Spec::Secret(secret)) => secret,
        other => panic!("{spec}: {other:?}"),
    }
}

fn check(spec: Value) -> Verdict {
    Spec::from_json(Kind::Secret, &spec)?.check(&Name::new("x").unwrap())
}

fn opaque(value: Value) -> Value {
    json!({"type": "opaque", "data": {"password": value}})
}

#[test]
fn a_value_has_three_forms() {
    let sealed = SealedValue { version: 3, sealed: vec![1, 2, 255], same_as: None };
    let same = SealedValue { same_as: Some([7; 32]), ..sealed.clone() };
    for (value, form) in [
        (SecretValue::Text(PRIVATE.to_owned()), json!(PRIVATE)),
        (SecretValue::Kept, json!({"sealed": true})),
        (SecretValue::Sealed(sealed), json!({"version": 3, "sealed": "AQL/"})),
        (SecretValue::Sealed(same), json!({"version": 3, "sealed": "AQL/", "sameAs": "07".repeat(32)})),
    ] {
        let spec = read(opaque(form.clone()));
        assert_eq!(spec.data["password"], value);
        assert_eq!(serde_json::to_value(&value).unwrap(), form);
    }
}

#[test]
fn what_is_no_secret_is_refused_and_not_repeated() {
    let number = || json!(90210);
    let sealed = |members: Value| opaque(members);
    let forms = [
        opaque(number()),
        opaque(json!(-90210)),
        opaque(json!(90210.5)),
        opaque(json!(null)),
        opaque(json!(true)),
        opaque(json!([PRIVATE])),
        json!({"type": "opaque", "data": {"no name 90210": number()}}),
        json!({"type": "opaque", "data": {PRIVATE.repeat(13): null}}),
        opaque(json!({"sealed": PRIVATE})),
        opaque(json!({"sealed": number()})),
        opaque(json!({"sealed": true, "also": PRIVATE})),
        opaque(json!({"sealed": false})),
        sealed(json!({"version": 1, "sealed": "AQL/", "also": PRIVATE})),
        sealed(json!({"version": 1, "sealed": "AQL/", "sameAs": PRIVATE})),
        sealed(json!({"version": 1, "sealed": "AQL/", "sameAs": null})),
        sealed(json!({"version": u64::MAX, "sealed": "AQL/"})),
        sealed(json!({"version": "90210", "sealed": "AQL/"})),
        sealed(json!({"version": 1, "sealed": "90210"})),
        json!({"type": "opaque", "data": PRIVATE}),
        json!({"type": "opaque", "data": number()}),
        json!({"type": "opaque", "data": [PRIVATE]}),
        json!({"type": "opaque", "data": null}),
        json!({"type": "opaque", "password": PRIVATE}),
        json!({"type": "opaque"}),
        json!({"data": {"password": PRIVATE}}),
        json!(PRIVATE),
        number(),
    ];
    for form in forms {
        let problem = Spec::from_json(Kind::Secret, &form).unwrap_err().to_string();
        assert!(!problem.contains(PRIVATE), "{form}: {problem}");
    }
    let problem = Spec::from_json(Kind::Secret, &opaque(number())).unwrap_err();
    assert_eq!(problem.field, "spec.data.password");
}

#[test]
fn a_type_says_which_fields_there_are() {
    let text = |length: usize| json!("x".repeat(length));
    let many = |count: usize| {
        let data: BTreeMap<String, &str> = (0..count).map(|number| (format!("f{number}"), "x")).collect();
        json!({"type": "opaque", "data": data})
    };
    let named = |field: &str| json!({"type": "opaque", "data": {field: PRIVATE}});
    let signing = |regions: Value, field: &str| json!({"type": "token-signing", "regions": regions, "data": {field: PRIVATE}});
    for good in [
        opaque(json!({"sealed": true})),
        opaque(text(1)),
        opaque(text(64 << 10)),
        many(16),
        named(&"x".repeat(64)),
        named("a-B_9."),
        signing(json!(["eu-west", "us-east"]), "key.pem"),
        json!({"type": "tls", "data": {"tls.crt": "a", "tls.key": "b"}}),
        json!({"type": "tls", "data": {"tls.crt": {"sealed": true}, "tls.key": {"sealed": true}}}),
        json!({"type": "opaque", "data": {"new": "b", "old": {"sealed": true}}}),
    ] {
        check(good.clone()).unwrap_or_else(|problem| panic!("{good:.100}: {problem}"));
    }
    for (bad, expected) in [
        (opaque(text(0)), "spec.data.password: a value has 1 to 65536 bytes, not 0"),
        (opaque(text((64 << 10) + 1)), "spec.data.password: a value has 1 to 65536 bytes, not 65537"),
        (
            json!({"type": "opaque", "data": {"a": text(64 << 10), "b": text(64 << 10), "c": "x"}}),
            "spec.data: its values have 131073 bytes together, more than 131072",
        ),
        (many(0), "spec.data: a Secret has 1 to 16 fields, not 0"),
        (many(17), "spec.data: a Secret has 1 to 16 fields, not 17"),
        (named(""), "spec.data: a field's name has 1 to 64 of the characters"),
        (named(&"x".repeat(65)), "spec.data: a field's name has"),
        (named("a/b"), "spec.data: a field's name has"),
        (named("ä"), "spec.data: a field's name has"),
        (
            opaque(json!({"version": 1, "sealed": "AQL/"})),
            "spec.data.password: only control nodes write sealed data",
        ),
        (
            json!({"type": "tls", "data": {"tls.crt": PRIVATE, "tls.key": {"sealed": true}}}),
            "spec.data: the fields of a Secret of type tls are judged together",
        ),
        (signing(json!([]), "key.pem"), "spec.regions: a key that signs tokens is for the key managers"),
        (signing(json!(["a", "a"]), "key.pem"), "spec.regions[1]: "),
        (signing(json!(["a"]), "tls.key"), "spec.data: a Secret of type token-signing has exactly key.pem"),
        (
            json!({"type": "tls", "data": {"tls.crt": PRIVATE}}),
            "spec.data: a Secret of type tls has exactly tls.crt and tls.key",
        ),
        (
            json!({"type": "opaque", "regions": ["a"], "data": {"a": PRIVATE}}),
            "spec.regions: only Secrets of type token-signing go to",
        ),
    ] {
        let problem = check(bad).unwrap_err().to_string();
        assert!(problem.starts_with(expected), "\n   was: {problem}\nwanted: {expected}");
        assert!(!problem.contains(PRIVATE), "{problem}");
    }
}

#[test]
fn nothing_shows_the_data() {
    let spec = read(json!({"type": "opaque", "data": {
        "text": PRIVATE, "kept": {"sealed": true}, "sealed": {"version": 1, "sealed": "90210901"},
    }}));
    let shown = Spec::Secret(spec.clone()).shown();
    let kept = json!({"sealed": true});
    assert_eq!(shown["data"], json!({"text": kept, "kept": kept, "sealed": kept}));
    assert_eq!(read(shown), spec.without_data(), "what is shown may be sent back");
    assert!(spec.has_text() && !spec.without_data().has_text());
    let debug = format!("{spec:?}");
    assert!(!debug.contains(PRIVATE), "{debug}");
    let cells: Vec<String> = SecretSpec::COLUMNS
        .iter()
        .map(|column| column.read(&json!({"spec": Spec::Secret(spec.clone()).shown()})))
        .collect();
    assert_eq!(cells, ["opaque", "kept,sealed,text", ""]);
}

#[test]
fn only_a_secret_in_the_clear_has_all_of_its_texts() {
    let texts = |spec: Value| read(spec).texts().map(|texts| texts.len());
    assert_eq!(texts(json!({"type": "opaque", "data": {"a": "1", "b": "2"}})), Some(2));
    assert_eq!(texts(json!({"type": "opaque", "data": {"a": "1", "b": {"sealed": true}}})), None);
}
