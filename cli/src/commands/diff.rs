//! `hanse diff`: what applying would change.

mod secrets;

use hanse_management::{ResourceKey, Spec, manifest::Manifest};
use hanse_topology::Labels;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::{
    args::DiffArgs,
    client::Client,
    out::{data, may_colour},
    render::yaml,
    source,
};

/// Lines of context around a change, as diff -u has it.
const CONTEXT: usize = 3;

/// Prints the differences between what is there and what the manifests say. Answers whether there are any.
pub(crate) async fn diff(client: &Client, args: &DiffArgs) -> anyhow::Result<bool> {
    let colour = may_colour();
    let mut differs = false;
    for sourced in source::read(&args.file, &client.organization)? {
        let Manifest { key, labels, protected, spec, .. } = &sourced.manifest;
        let live = client.find(key).await?;
        let mut wanted = match spec {
            Spec::Secret(secret) => {
                Spec::Secret(secrets::shown(client, key, secret, live.as_ref()).await?).to_json()
            }
            spec => spec.to_json(),
        };
        let mut protected = protected.unwrap_or_default();
        let before = live.map(|live| {
            hide_same_secret(&live.spec, &mut wanted);
            protected = sourced.manifest.protected.unwrap_or(live.protected);
            comparable(key, &live.labels, live.protected, live.spec)
        });
        let (before, after) = (before.unwrap_or_default(), comparable(key, labels, protected, wanted));
        if before != after {
            differs = true;
            let header = (format!("live/{key}"), format!("{}/{key}", sourced.source));
            data(unified(&before, &after, (&header.0, &header.1), colour).trim_end())?;
        }
    }
    Ok(differs)
}

/// What operators write of a resource, with the defaults written out, as YAML.
fn comparable(key: &ResourceKey, labels: &Labels, protected: bool, spec: Value) -> String {
    // Read and written again, so that defaults are there and members in one order.
    let spec = match Spec::from_json(key.kind, &spec) {
        Ok(spec) => spec.to_json(),
        Err(_) => sorted(spec),
    };
    let mut shown = json!({"kind": key.kind.as_str(), "name": key.name});
    if let Some(organization) = &key.organization {
        shown["organization"] = json!(organization);
    }
    if !labels.is_empty() {
        shown["labels"] = json!(labels);
    }
    if protected {
        shown["protected"] = json!(protected);
    }
    shown["spec"] = spec;
    yaml(&shown) + "\n"
}

/// The API shows digests shortened, `sha256:1234…`: one that begins like that is the same.
fn hide_same_secret(live: &Value, wanted: &mut Value) {
    let (Some(shown), Some(own)) = (live["digest"].as_str(), wanted["digest"].as_str()) else { return };
    let beginning = shown.trim_end_matches(['…', '.', '*']);
    if beginning.len() < shown.len() && own.starts_with(beginning) {
        wanted["digest"] = shown.into();
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(mut members) => {
            for member in members.values_mut() {
                *member = sorted(std::mem::take(member));
            }
            members.sort_keys();
            Value::Object(members)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn unified(before: &str, after: &str, header: (&str, &str), colour: bool) -> String {
    let diff = TextDiff::from_lines(before, after);
    if !colour {
        return diff.unified_diff().context_radius(CONTEXT).header(header.0, header.1).to_string();
    }
    const BOLD: &str = "\x1b[1m";
    const RED: &str = "\x1b[31m";
    const GREEN: &str = "\x1b[32m";
    const CYAN: &str = "\x1b[36m";
    const PLAIN: &str = "\x1b[0m";
    let mut text = format!("{BOLD}--- {}\n+++ {}{PLAIN}\n", header.0, header.1);
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        text += &format!("{CYAN}{}{PLAIN}\n", hunk.header());
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches('\n');
            text += &match change.tag() {
                ChangeTag::Delete => format!("{RED}-{line}{PLAIN}\n"),
                ChangeTag::Insert => format!("{GREEN}+{line}{PLAIN}\n"),
                ChangeTag::Equal => format!(" {line}\n"),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use hanse_management::Kind;
    use hanse_topology::Name;

    use super::*;
    use crate::client::tests::resource;

    #[test]
    fn defaults_and_server_fields_make_no_difference() {
        let name = |name: &str| Name::new(name).unwrap();
        let key = ResourceKey::owned(Kind::Upstream, name("default"), name("u"));
        let live = resource(json!({
            "kind": "Upstream", "name": "u", "organization": "default", "labels": {}, "revision": 4,
            "createdAt": "x", "updatedAt": "y",
            "spec": {"timeout": "30s", "endpoints": [{"weight": 1, "url": "http://a"}], "connectTimeout": "5s"},
        }));
        let wanted = json!({"endpoints": [{"url": "http://a"}]});
        let protected = comparable(&key, &Labels::default(), true, wanted.clone());
        let wanted = comparable(&key, &Labels::default(), false, wanted);
        assert!(protected.contains("\nprotected: true\n") && protected != wanted, "{protected}");
        assert_eq!(comparable(&key, &live.labels, live.protected, live.spec), wanted);
        assert!(wanted.starts_with("kind: Upstream\nname: u\norganization: default\nspec:\n"), "{wanted}");
    }

    #[test]
    fn differences_are_unified() {
        let before = "a\nb\nc\n";
        let after = "a\nB\nc\n";
        insta::assert_snapshot!(unified(before, after, ("live/x", "x.yaml/x"), false), @r"
        --- live/x
        +++ x.yaml/x
        @@ -1,3 +1,3 @@
         a
        -b
        +B
         c
        ");
        let coloured = unified(before, after, ("l", "r"), true);
        assert!(coloured.contains("\x1b[31m-b\x1b[0m\n\x1b[32m+B\x1b[0m\n"), "{coloured:?}");
    }

    #[test]
    fn an_unchanged_digest_is_no_difference() {
        let live = json!({"digest": "sha256:12ab…"});
        let mut same = json!({"digest": "sha256:12abcdef"});
        hide_same_secret(&live, &mut same);
        assert_eq!(same, live);
        let mut other = json!({"digest": "sha256:99abcdef"});
        hide_same_secret(&live, &mut other);
        assert_ne!(other, live);
    }
}
