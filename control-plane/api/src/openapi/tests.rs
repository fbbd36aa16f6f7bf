use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

fn as_json() -> Value {
    serde_json::to_value(document()).unwrap()
}

#[test]
fn every_reference_leads_somewhere_and_operation_ids_are_unique() {
    fn visit(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    found.insert(target.clone());
                }
                members.values().for_each(|value| visit(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| visit(value, found)),
            _ => {}
        }
    }
    let json = as_json();
    let mut references = BTreeSet::new();
    visit(&json, &mut references);
    assert!(references.len() > 30, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(json.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for item in json["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
        }
    }
}

#[test]
fn a_kind_is_described_with_its_spec() {
    let json = as_json();
    insta::assert_json_snapshot!(json["components"]["schemas"]["Upstream"], @r##"
    {
      "type": "object",
      "required": [
        "kind",
        "name",
        "spec"
      ],
      "properties": {
        "kind": {
          "type": "string",
          "description": "What it is.",
          "enum": [
            "Upstream"
          ]
        },
        "name": {
          "$ref": "#/components/schemas/Name",
          "description": "Its name: a DNS label."
        },
        "organization": {
          "$ref": "#/components/schemas/Name",
          "description": "Its owner; kinds that are not global have one."
        },
        "labels": {
          "$ref": "#/components/schemas/Labels",
          "description": "The operator's labels."
        },
        "protected": {
          "type": "boolean",
          "description": "Whether no request may delete it: `false` lifts that. Left out, it stays as it is."
        },
        "spec": {
          "$ref": "#/components/schemas/UpstreamSpec"
        },
        "revision": {
          "type": "integer",
          "format": "int64",
          "description": "The revision of its last change: its ETag.",
          "minimum": 0
        },
        "createdAt": {
          "type": "string",
          "format": "date-time",
          "description": "When it was first written.",
          "readOnly": true
        },
        "updatedAt": {
          "type": "string",
          "format": "date-time",
          "description": "When it was last changed.",
          "readOnly": true
        },
        "status": {
          "type": "object",
          "description": "What the server knows beside the spec. Of one resource by itself also its `warnings`: a `field` and a `detail` each, and of a GlobalHost its `owner`.",
          "readOnly": true
        },
        "restored": {
          "$ref": "#/components/schemas/Restored"
        }
      }
    }
    "##);
}

#[test]
fn every_kind_has_its_operations_and_only_those() {
    let json = as_json();
    let at = |path: String| -> BTreeSet<String> {
        json["paths"][&path].as_object().into_iter().flat_map(|item| item.keys().cloned()).collect()
    };
    for kind in hanse_management::Kind::ALL {
        let collection = crate::kinds::collection(kind);
        assert_eq!(at(collection.clone()), ["get".to_owned()].into(), "{kind}");
        let one = if kind.is_writable() { &["delete", "get", "put"][..] } else { &["get"] };
        assert_eq!(
            at(format!("{collection}/{{name}}")),
            one.iter().map(ToString::to_string).collect(),
            "{kind}"
        );
    }
}

/// Validators hold a default against its own schema: `null` stands only where it may be written, and an empty list where it may be.
#[test]
fn a_default_is_a_value_that_may_be_written() {
    fn check(at: &str, schema: &Value) {
        if schema.get("default").is_some_and(Value::is_null) {
            let types = [&schema["type"], &schema["oneOf"]];
            let mut written = types.into_iter().filter_map(Value::as_array).flatten();
            let takes_null = written.any(|one| one == "null" || one["type"] == "null");
            assert!(takes_null, "{at}: {schema}");
        }
        if let Some(items) = schema.get("default").and_then(Value::as_array) {
            assert!(items.len() as u64 >= schema["minItems"].as_u64().unwrap_or(0), "{at}: {schema}");
        }
        match schema {
            Value::Object(members) => {
                members.iter().for_each(|(name, member)| check(&format!("{at}/{name}"), member));
            }
            Value::Array(items) => items.iter().for_each(|item| check(at, item)),
            _ => {}
        }
    }
    check("", &as_json());
}
