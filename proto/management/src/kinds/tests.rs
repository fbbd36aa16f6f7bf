//! What tests of kinds share.

use hanse_topology::Name;

use crate::{Kind, check, manifest::parse_yaml};

/// The verdict on a spec in YAML: accepted where `expected` is empty, else refused with a text that has it.
#[track_caller]
pub(super) fn check(kind: Kind, spec: &str, expected: &str) {
    check_named(kind, "x", spec, expected);
}

/// The same under a name.
#[track_caller]
pub(super) fn check_named(kind: Kind, name: &str, spec: &str, expected: &str) {
    let yaml = format!("{{kind: {kind}, name: {name}, spec: {spec}}}");
    let read = parse_yaml(&yaml, &Name::new("default").unwrap());
    let verdict = read.and_then(|mut read| {
        let manifest = read.pop().unwrap();
        check::check(&manifest.key, &manifest.labels, &manifest.spec)
    });
    let text = verdict.err().map(|problem| problem.to_string()).unwrap_or_default();
    assert!(
        text.contains(expected) && text.is_empty() == expected.is_empty(),
        "{yaml}\n   was: {text}\nwanted: {expected}"
    );
}
