//! What has a JSON form, as YAML.

use serde::Serialize;

/// Block style, members in the order they come in.
pub(crate) fn yaml(value: &impl Serialize) -> String {
    let text = serde_saphyr::to_string(value).expect("what has a JSON form can be written as YAML");
    text.trim_end().to_owned()
}
