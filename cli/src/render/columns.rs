//! Which columns a kind's table has.

use hanse_management::Kind;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// One column of a table.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) read: fn(&Value) -> String,
}

const fn column(title: &'static str, read: fn(&Value) -> String) -> Column {
    Column { title, read }
}

/// The columns of a kind: its name, what it says, its revision; more when `wide`.
pub(super) fn of(kind: Kind, wide: bool) -> Vec<Column> {
    let mut columns = vec![column("NAME", |item| text_of(&item["name"]))];
    columns.extend(own(kind));
    columns.push(column("REVISION", |item| text_of(&item["revision"])));
    if wide {
        columns.push(column("LABELS", |item| pairs(&item["labels"])));
        columns.push(column("CREATED", |item| moment(&item["createdAt"])));
        columns.push(column("UPDATED", |item| moment(&item["updatedAt"])));
    }
    columns
}

fn own(kind: Kind) -> Vec<Column> {
    match kind {
        Kind::Organization => vec![column("DISPLAY NAME", |item| text_of(&item["spec"]["displayName"]))],
        Kind::Region => vec![
            column("PROVIDER", |item| text_of(&item["spec"]["provider"])),
            column("COUNTRY", |item| text_of(&item["spec"]["location"]["country"])),
            column("CONTINENT", |item| text_of(&item["spec"]["location"]["continent"])),
        ],
        Kind::Environment => vec![
            column("EXPOSURE", |item| text_of(&item["spec"]["exposure"])),
            column("HOSTS", |item| or(text_of(&item["spec"]["hostnames"]), "any")),
            column("REGIONS", |item| text_of(&item["spec"]["regions"])),
        ],
        Kind::Policy => vec![column("DOES", |item| keys(&item["spec"]))],
        Kind::Upstream => vec![
            column("ENDPOINTS", |item| {
                each(&item["spec"]["endpoints"], |endpoint| text_of(&endpoint["url"]))
            }),
            column("TIMEOUT", |item| text_of(&item["spec"]["timeout"])),
        ],
        Kind::Api => vec![
            column("CONTEXT", |item| text_of(&item["spec"]["context"])),
            column("VERSION", |item| text_of(&item["spec"]["version"])),
            column("LIFECYCLE", |item| text_of(&item["spec"]["lifecycle"])),
            column("OPERATIONS", |item| count(&item["spec"]["operations"])),
            column("LATEST", |item| text_of(&item["status"]["latestRevision"])),
        ],
        Kind::ApiRevision => vec![
            column("API", |item| text_of(&item["spec"]["api"])),
            column("NUMBER", |item| text_of(&item["spec"]["number"])),
            column("VERSION", |item| text_of(&item["spec"]["spec"]["version"])),
            column("OPERATIONS", |item| count(&item["spec"]["spec"]["operations"])),
        ],
        Kind::Binding => vec![
            column("API", |item| text_of(&item["spec"]["api"])),
            column("API REVISION", |item| text_of(&item["spec"]["revision"])),
            column("ENVIRONMENT", |item| text_of(&item["spec"]["environment"])),
            column("REGIONS", |item| regions(&item["spec"]["regions"])),
        ],
        Kind::Plan => vec![
            column("RATE", |item| rate(&item["spec"]["rate"])),
            column("BURST", |item| text_of(&item["spec"]["rate"]["burst"])),
        ],
        Kind::Application => vec![
            column("OWNER", |item| text_of(&item["spec"]["owner"])),
            column("DISPLAY NAME", |item| text_of(&item["spec"]["displayName"])),
        ],
        Kind::Subscription => vec![
            column("APPLICATION", |item| text_of(&item["spec"]["application"])),
            column("API", |item| text_of(&item["spec"]["api"])),
            column("PLAN", |item| text_of(&item["spec"]["plan"])),
        ],
        Kind::Credential => vec![
            column("APPLICATION", |item| text_of(&item["spec"]["application"])),
            column("EXPIRES", |item| expiry(&item["spec"]["expiresAt"])),
        ],
        Kind::Token => vec![
            column("ROLE", |item| text_of(&item["spec"]["role"])),
            column("EXPIRES", |item| expiry(&item["spec"]["expiresAt"])),
        ],
        Kind::JoinToken => vec![
            column("JOINS AS", |item| text_of(&item["spec"]["role"])),
            column("REGION", |item| text_of(&item["spec"]["region"])),
            column("USED", |item| {
                format!("{} of {}", text_of(&item["status"]["uses"]), text_of(&item["spec"]["uses"]))
            }),
            column("EXPIRES", |item| expiry(&item["spec"]["expiresAt"])),
        ],
    }
}

/// A value in a cell: text as it is, lists with commas, nothing for nothing.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(_) => each(value, text_of),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn each(list: &Value, read: fn(&Value) -> String) -> String {
    list.as_array().map(|items| items.iter().map(read).collect::<Vec<_>>().join(",")).unwrap_or_default()
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

fn count(list: &Value) -> String {
    list.as_array().map_or(0, Vec::len).to_string()
}

fn keys(object: &Value) -> String {
    object
        .as_object()
        .map(|members| members.keys().cloned().collect::<Vec<_>>().join(","))
        .unwrap_or_default()
}

fn pairs(object: &Value) -> String {
    let Some(members) = object.as_object() else { return String::new() };
    members.iter().map(|(key, value)| format!("{key}={}", text_of(value))).collect::<Vec<_>>().join(",")
}

fn regions(selector: &Value) -> String {
    let said = [text_of(&selector["names"]), pairs(&selector["labels"])];
    or(said.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(","), "all")
}

fn rate(rate: &Value) -> String {
    match rate.is_object() {
        true => format!("{}/{}", text_of(&rate["requests"]), text_of(&rate["per"])),
        false => "unlimited".to_owned(),
    }
}

/// `2026-01-31T12:00:00.25Z` without its fraction.
fn moment(value: &Value) -> String {
    let text = text_of(value);
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

fn expiry(unix_seconds: &Value) -> String {
    let Some(seconds) = unix_seconds.as_i64() else { return "never".to_owned() };
    let moment =
        OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|moment| moment.format(&Rfc3339).ok());
    moment.unwrap_or_else(|| seconds.to_string())
}
