//! JSON values as YAML.

use serde_json::Value;

/// Block style, members in the order they come in.
pub(crate) fn yaml(value: &Value) -> String {
    let text = serde_saphyr::to_string(value).expect("a JSON value can be written as YAML");
    text.trim_end().to_owned()
}
