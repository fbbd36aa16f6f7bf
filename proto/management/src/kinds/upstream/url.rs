//! The URL of an endpoint.

use url::Url;

use crate::check::{Verdict, invalid};

pub(super) fn check(field: &str, given: &str) -> Verdict {
    let refused = |detail: String, remedy: &str| Err(invalid(field, detail, remedy));
    let has_user = || {
        let detail = "the URL carries a user's name or password";
        refused(detail.to_owned(), "leave it out: URLs are shown to people")
    };
    // First of all: what carries a password is refused for that, and not repeated.
    if authority(given).contains('@') {
        return has_user();
    }
    let shown = shown(given);
    // This parser forgives white space; another reader of the URL may not.
    if given.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return refused(format!("{shown} has white space"), "leave it out");
    }
    let url = match Url::parse(given) {
        Ok(url) => url,
        Err(error) => {
            return refused(format!("{shown} is not a URL: {error}"), "write it as http://host:port/base");
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        let detail = format!("{shown} is neither http nor https");
        return refused(detail, "write it as http://host:port/base or https://…");
    }
    if !given.contains("://") || url.host_str().is_none_or(str::is_empty) {
        return refused(format!("{shown} names no host"), "write it as http://host:port/base");
    }
    if url.port() == Some(0) {
        return refused(format!("{shown} names port 0, on which nothing listens"), "name the port");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return has_user();
    }
    if url.query().is_some() || url.fragment().is_some() {
        let detail = format!("{shown} has a query or a fragment");
        return refused(detail, "leave it out: the request's own query is forwarded");
    }
    Ok(())
}

/// A URL as a refusal repeats it: quoted, without its query, which may be a key; and not at all with an `@` anywhere, as
/// in `http://user:pass/word@host`, whose password no parser finds.
fn shown(url: &str) -> String {
    if url.contains('@') {
        return "the URL".to_owned();
    }
    match url.find(['?', '#']) {
        Some(at) => format!("\"{}…\"", url[..=at].escape_debug()),
        None => format!("{url:?}"),
    }
}

/// Where a URL names a host, and may name a user: what a forgiving parser takes for it, slashes or not.
fn authority(url: &str) -> &str {
    let rest = url.split_once(':').map_or(url, |(_, rest)| rest).trim_start_matches(['/', '\\']);
    rest.split(['/', '\\', '?', '#']).next().unwrap_or_default()
}
