//! Tables for people: which columns a kind's table has, read from the JSON form that the API shows.

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::Kind;

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// In the table's head.
    pub title: &'static str,
    cell: Cell,
}

#[derive(Debug, Clone, Copy)]
enum Cell {
    /// The text of what is at this JSON pointer.
    At(&'static str),
    /// What this makes of the resource.
    Of(fn(&Value) -> String),
}

impl Column {
    /// Shows what is at a JSON pointer into the resource, as [`text_of`] spells it.
    pub const fn at(title: &'static str, pointer: &'static str) -> Self {
        Self { title, cell: Cell::At(pointer) }
    }

    /// Shows what `read` makes of the resource.
    pub const fn of(title: &'static str, read: fn(&Value) -> String) -> Self {
        Self { title, cell: Cell::Of(read) }
    }

    /// The cell of one resource.
    pub fn read(&self, resource: &Value) -> String {
        match self.cell {
            Cell::At(pointer) => resource.pointer(pointer).map(text_of).unwrap_or_default(),
            Cell::Of(read) => read(resource),
        }
    }
}

const NAME: Column = Column::at("NAME", "/name");
const REVISION: Column = Column::at("REVISION", "/revision");
const MORE: [Column; 3] = [
    Column::of("LABELS", |item| pairs(&item["labels"])),
    Column::of("CREATED", |item| moment(&item["createdAt"])),
    Column::of("UPDATED", |item| moment(&item["updatedAt"])),
];

impl Kind {
    /// The columns of its table: its name, what it says, its revision; more when `wide`.
    pub fn table(self, wide: bool) -> Vec<Column> {
        let more = if wide { MORE.as_slice() } else { &[] };
        [&[NAME], self.columns(), &[REVISION], more].concat()
    }
}

/// A value in a cell: text as it is, lists with commas, nothing for nothing.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(_) => each(value, text_of),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// What `read` makes of the items of a list, with commas.
pub(crate) fn each(list: &Value, read: fn(&Value) -> String) -> String {
    list.as_array().map(|items| items.iter().map(read).collect::<Vec<_>>().join(",")).unwrap_or_default()
}

/// A text, or another where there is none.
pub(crate) fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

/// How many items a list has.
pub(crate) fn count(list: &Value) -> String {
    list.as_array().map_or(0, Vec::len).to_string()
}

/// `key=value` for each member of an object, with commas.
pub(crate) fn pairs(object: &Value) -> String {
    let Some(members) = object.as_object() else { return String::new() };
    members.iter().map(|(key, value)| format!("{key}={}", text_of(value))).collect::<Vec<_>>().join(",")
}

/// When something expires: Unix seconds, or never.
pub(crate) fn expiry(unix_seconds: &Value) -> String {
    let Some(seconds) = unix_seconds.as_i64() else { return "never".to_owned() };
    let moment =
        OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|moment| moment.format(&Rfc3339).ok());
    moment.unwrap_or_else(|| seconds.to_string())
}

/// `2026-01-31T12:00:00.25Z` without its fraction.
fn moment(value: &Value) -> String {
    let text = text_of(value);
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShownWith;

    /// Whether the schema of a kind's spec has the field that a pointer into the resource leads to. Only the first step below
    /// `spec` is looked at.
    fn has_field(kind: Kind, pointer: &str) -> bool {
        let Some(path) = pointer.strip_prefix("/spec/") else {
            return pointer == ShownWith::BY_NAME || pointer.starts_with("/status/");
        };
        let schemas = kind.schemas();
        let (_, spec) = schemas.first().unwrap();
        let field = path.split('/').next().unwrap();
        serde_json::to_value(spec).unwrap()["properties"].get(field).is_some()
    }

    #[test]
    fn what_tables_and_descriptions_read_is_in_the_spec() {
        for kind in Kind::ALL {
            for column in kind.columns() {
                if let Cell::At(pointer) = column.cell {
                    assert!(has_field(kind, pointer), "{kind} has no {pointer} for {}", column.title);
                }
            }
            for shown in kind.shown_with() {
                assert!(
                    has_field(kind, shown.field),
                    "{kind} has no {} to name a {}",
                    shown.field,
                    shown.kind
                );
            }
        }
    }

    #[test]
    fn cells_are_text_lists_and_moments() {
        let item = serde_json::json!({
            "name": "x", "revision": 7, "labels": {"team": "a", "tier": "edge"},
            "createdAt": "2026-01-31T12:00:00.25Z", "updatedAt": "2026-01-31T12:00:00Z",
            "spec": {"role": "admin", "expiresAt": 0},
        });
        let row = |wide| Kind::Token.table(wide).iter().map(|column| column.read(&item)).collect::<Vec<_>>();
        assert_eq!(row(false), ["x", "admin", "", "x", "1970-01-01T00:00:00Z", "", "7"]);
        let wide = row(true);
        assert_eq!(wide[7..], ["team=a,tier=edge", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"]);
    }
}
