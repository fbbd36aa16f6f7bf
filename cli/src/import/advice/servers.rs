//! The servers of a document as upstreams.

use std::borrow::Cow;

use serde_json::Value;

use super::{SHOWN, option, refused, shortened};
use crate::import::{files::Place, judge, operations::Operation, problem::printable};

/// The longest URL offered. No address that people paste is longer, and a document may unfold a short one to any length.
const MAX_URL_BYTES: usize = 2048;

/// What stands for a host that the document does not name.
const HOST: &str = "HOST";

/// A server that `--upstream` accepts.
#[derive(Debug, PartialEq, Eq)]
struct Server {
    url: String,
    /// What else the operator should know, one line each.
    remarks: Vec<String>,
}

/// Lines about the document's servers, and about operations that have others.
pub(super) fn advice(root: &Place, operations: &[Operation]) -> Vec<String> {
    let servers: Vec<_> = if root.below("swagger").value().is_null() {
        openapi(&root.below("servers")).collect()
    } else {
        swagger(root)
    };
    let own: Vec<_> = operations.iter().filter_map(|operation| others(operation, &servers)).collect();
    let mut lines = Vec::new();
    if !servers.is_empty() {
        lines.push("the document names servers; to send requests there:".to_owned());
        lines.extend(shortened(servers.iter().map(line)));
    }
    lines.extend(shortened(own.into_iter()));
    lines
}

/// A line about a server.
fn line(server: &Result<Server, String>) -> String {
    match server {
        Ok(server) => {
            let remarks = server.remarks.iter().map(|remark| format!("\n    {}", printable(remark)));
            option("--upstream", &server.url) + &remarks.collect::<String>()
        }
        Err(why) => refused(why),
    }
}

/// A line about an operation whose servers are not the document's.
fn others(operation: &Operation, servers: &[Result<Server, String>]) -> Option<String> {
    let own = openapi(operation.servers.as_ref()?).take(SHOWN).filter(|server| !servers.contains(server));
    let own: Vec<_> =
        own.map(|server| server.map_or_else(|why| printable(&why), |server| server.url)).collect();
    let name = printable(&operation.name);
    (!own.is_empty()).then(|| format!("{name} names a server of its own: {}", own.join(", ")))
}

/// Each server in `servers`, or why it is no upstream. `/` is where the document was found, and says nothing.
fn openapi(servers: &Place) -> impl Iterator<Item = Result<Server, String>> {
    let server = |server: Place| {
        let url = server.below("url");
        match filled(&word(&url)?, &server.below("variables")) {
            Ok((url, remarks)) => {
                absolute(&url).map(|(url, host)| judged(url, host.into_iter().chain(remarks)))
            }
            Err(why) => Some(Err(why)),
        }
    };
    servers.items().filter_map(server)
}

/// Swagger 2.0 has one host for all schemes.
fn swagger(root: &Place) -> Vec<Result<Server, String>> {
    let (host, base) = (root.below("host"), root.below("basePath"));
    let text = |place| word(place).unwrap_or_default();
    let (host, base) = (text(&host), text(&base));
    let (host, base) = (host.trim_matches('/'), base.trim_matches('/'));
    let base = if base.is_empty() { String::new() } else { format!("/{base}") };
    if host.contains("://") {
        return vec![judged(format!("{host}{base}"), None)];
    }
    let (host, remark) = match (host, base.as_str()) {
        ("", "") => return Vec::new(),
        ("", _) => (HOST, Some(host_remark())),
        (host, _) => (host, None),
    };
    let schemes = root.below("schemes");
    let mut schemes: Vec<_> =
        schemes.items().filter_map(|scheme| word(&scheme).map(Cow::into_owned)).collect();
    if schemes.is_empty() {
        schemes.push("https".to_owned());
    }
    schemes.iter().map(|scheme| judged(format!("{scheme}://{host}{base}"), remark.clone())).collect()
}

/// The URL with the document's defaults in the place of its variables, and a remark that names them. A default that names a variable
/// is no value: `{host}`, as some generators write it.
fn filled(template: &str, variables: &Place) -> Result<(String, Option<String>), String> {
    check_length(template.len())?;
    let mut url = String::new();
    let mut defaults = Vec::new();
    let mut rest = template;
    while let Some((before, name, after)) = next_variable(rest) {
        let default = variables.below(name).below("default");
        let value = word(&default)
            .ok_or_else(|| format!("{template:?} has the variable {name:?}, which has no default"))?;
        if next_variable(&value).is_some() {
            check_length(value.len())?;
            return Err(format!(
                "{template:?} has the variable {name:?}, whose default {value:?} is no value"
            ));
        }
        check_length(url.len() + before.len() + value.len())?;
        url.push_str(before);
        url.push_str(&value);
        defaults.push(format!("{name}={value}"));
        rest = after;
    }
    url.push_str(rest);
    let remark = format!("the document's defaults are filled in: {}", defaults.join(", "));
    Ok((url, Some(remark).filter(|_| !defaults.is_empty())))
}

/// What is before the next `{name}`, the name, and what is after it.
fn next_variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once('{')?;
    let (name, after) = after.split_once('}')?;
    Some((before, name, after))
}

/// A URL with scheme and host, and a remark where the document names no host. `None`: it says nothing.
fn absolute(url: &str) -> Option<(String, Option<String>)> {
    if url.contains("://") {
        return Some((url.to_owned(), None));
    }
    if let Some(host) = url.strip_prefix("//") {
        return Some((format!("https://{host}"), None));
    }
    let path = url.trim_start_matches("./").trim_start_matches('/');
    (!path.is_empty()).then(|| (format!("https://{HOST}/{path}"), Some(host_remark())))
}

fn host_remark() -> String {
    format!("the document names no host: write the service's in the place of {HOST}")
}

/// A URL that an Upstream accepts, or why it is none.
fn judged(url: String, remarks: impl IntoIterator<Item = String>) -> Result<Server, String> {
    check_length(url.len())?;
    judge::upstream(&url).map_err(|problem| problem.detail)?;
    if printable(&url) != url {
        return Err(format!("{url:?} has characters that do not show"));
    }
    Ok(Server { url, remarks: remarks.into_iter().collect() })
}

fn check_length(bytes: usize) -> Result<(), String> {
    if bytes <= MAX_URL_BYTES { Ok(()) } else { Err(format!("the URL has more than {MAX_URL_BYTES} bytes")) }
}

/// A word as it is written, also where it reads as a number: `default: 8443`.
fn word(place: &Place) -> Option<Cow<'_, str>> {
    match place.value() {
        Value::String(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}
