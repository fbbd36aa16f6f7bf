use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

fn as_json() -> Value {
    serde_json::to_value(document()).unwrap()
}

#[test]
fn every_operation_has_an_entry_and_nothing_else_does() {
    let json = as_json();
    let mut described = BTreeSet::new();
    for (path, item) in json["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            described.insert((path.clone(), method.clone()));
        }
    }
    let routed: BTreeSet<(String, String)> = Operation::all()
        .into_iter()
        .map(|operation| {
            let method = match operation {
                Operation::Put(_) | Operation::Revoke | Operation::UseRoot => "put",
                Operation::Delete(_) | Operation::Readmit | Operation::DropRoot => "delete",
                Operation::Apply | Operation::TrustRoot => "post",
                _ => "get",
            };
            (operation.path(), method.to_owned())
        })
        .collect();
    assert_eq!(described, routed);
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
fn what_needs_a_token_says_so() {
    let json = as_json();
    for operation in Operation::all() {
        let item = &json["paths"][operation.path()];
        for described in item.as_object().unwrap().values() {
            assert_eq!(described.get("security").is_none(), operation.is_open(), "{operation:?}");
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
          "description": "What it is",
          "enum": [
            "Upstream"
          ]
        },
        "name": {
          "type": "string",
          "description": "Its name: a DNS label"
        },
        "organization": {
          "type": "string",
          "description": "Its owner; kinds that are not global have one"
        },
        "labels": {
          "$ref": "#/components/schemas/Labels"
        },
        "spec": {
          "$ref": "#/components/schemas/UpstreamSpec"
        },
        "revision": {
          "type": "integer",
          "format": "int64",
          "description": "The revision of its last change: its ETag",
          "minimum": 0
        },
        "createdAt": {
          "type": "string",
          "format": "date-time",
          "description": "When it was first written",
          "readOnly": true
        },
        "updatedAt": {
          "type": "string",
          "format": "date-time",
          "description": "When it was last changed",
          "readOnly": true
        },
        "status": {
          "type": "object",
          "description": "What the server knows beside the spec",
          "readOnly": true
        }
      }
    }
    "##);
}
