//! What a description says of servers and security, as options ready to paste. None of it is used unasked: a document
//! comes from elsewhere, and says where its author's service is.

use super::{ImportProblem, files::Place, problem::printable};
use crate::shell::quoted;

/// One line each.
pub(super) fn advice(root: &Place) -> Vec<String> {
    let mut lines = Vec::new();
    let servers = servers(root);
    if !servers.is_empty() {
        lines.push("the document names servers; to send requests there:".to_owned());
        lines.extend(servers.iter().map(|url| format!("  --upstream {}", upstream(&printable(url)))));
    }
    let schemes = schemes(root);
    if !schemes.is_empty() {
        lines.push("the document says how callers are known:".to_owned());
        lines.extend(schemes);
    }
    lines
}

/// The URLs of a document's servers, with the values that it gives their variables.
fn servers(root: &Place) -> Vec<String> {
    let text = |place: &Place, key: &str| place.below(key).value().as_str().map(str::to_owned);
    if let Some(host) = text(root, "host") {
        // Swagger 2.0.
        let base = text(root, "basePath").unwrap_or_default();
        let schemes = root.below("schemes");
        let schemes: Vec<_> =
            schemes.items().filter_map(|scheme| Some(scheme.value().as_str()?.to_owned())).collect();
        let schemes = if schemes.is_empty() { vec!["https".to_owned()] } else { schemes };
        return schemes
            .iter()
            .map(|scheme| format!("{scheme}://{host}{}", base.trim_end_matches('/')))
            .collect();
    }
    let servers = root.below("servers");
    let url = |server: Place| {
        let url = text(&server, "url")?;
        let variables = server.below("variables");
        let names = variables.value().as_object().into_iter().flat_map(serde_json::Map::keys);
        Some(names.fold(url, |url, name| {
            let value = text(&variables.below(name), "default").unwrap_or_default();
            url.replace(&format!("{{{name}}}"), &value)
        }))
    };
    servers.items().filter_map(url).filter(|url| url != "/").collect()
}

/// The word after `--upstream`. A URL without a host is relative to where the document was found.
fn upstream(url: &str) -> String {
    if url.contains("://") {
        return quoted(url).into_owned();
    }
    let path = url.trim_start_matches('/');
    format!("{}   # with the host of the service in place of HOST", quoted(&format!("https://HOST/{path}")))
}

/// The options for each security scheme.
fn schemes(root: &Place) -> Vec<String> {
    let defined = [root.below("components").below("securitySchemes"), root.below("securityDefinitions")];
    let schemes = defined.iter().flat_map(|schemes| schemes.members().into_iter().flatten());
    schemes.filter_map(|(name, scheme)| option(name, &scheme).ok().flatten()).collect()
}

fn option(name: &str, scheme: &Place) -> Result<Option<String>, ImportProblem> {
    let layers = scheme.layers()?;
    let said = |key: &str| {
        let member = Place::member(&layers, key);
        member.and_then(|member| member.value().as_str().map(printable))
    };
    let Some(kind) = said("type") else { return Ok(None) };
    let line = match (kind.as_str(), said("in").as_deref(), said("name"), said("scheme")) {
        ("apiKey", Some("header"), Some(header), _) => format!("  --api-key-header {}", quoted(&header)),
        ("apiKey", Some("query"), Some(query), _) => format!("  --api-key-query {}", quoted(&query)),
        (kind, place, _, scheme) => {
            let kind =
                scheme.or(place.map(str::to_owned)).map_or(kind.to_owned(), |more| format!("{kind} {more}"));
            format!("  {}, {kind}: no option does that yet", printable(name))
        }
    };
    Ok(Some(line))
}
