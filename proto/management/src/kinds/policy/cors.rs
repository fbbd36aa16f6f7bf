//! The CORS protocol (Fetch standard, section 3.2).

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Problem,
    check::{Verdict, header, invalid},
};

/// The longest time a preflight may be remembered: browsers cut off at a day or less.
const MAX_AGE_SECONDS: u64 = 86_400;
const ANY: &str = "*";
/// The origin of sandboxed frames and of pages of files.
const NULL: &str = "null";
/// Schemes whose documents have the origin `null`, or that of the page which made them.
const OF_DOCUMENTS: [&str; 4] = ["about", "blob", "data", "javascript"];

/// What holds of CORS.
pub(super) const BOUNDS: [Bounded; 2] = [
    ("CorsSpec", "origins", Bound::NotEmpty),
    ("CorsSpec", "maxAgeSeconds", Bound::Number(0, MAX_AGE_SECONDS)),
];

/// The CORS protocol (Fetch standard, §3.2): preflights are answered by the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct CorsSpec {
    /// `*`, or origins such as `https://app.example.com`, `https://*.example.com`, `capacitor://localhost`, `null`.
    #[schema(required)]
    pub origins: Vec<String>,
    /// Methods allowed; empty: those the path has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Request headers allowed; `*`: every header that a preflight asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Response headers scripts may read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// Whether cookies and the like may be sent; not with the origins `*` and `null`.
    pub credentials: bool,
    /// How long a browser may remember a preflight, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u64>,
}

impl CorsSpec {
    pub(super) fn check(&self) -> Verdict {
        if self.origins.is_empty() {
            return Err(invalid("cors.origins", "it allows no origin", "name origins, or \"*\" for all"));
        }
        for (at, origin) in self.origins.iter().enumerate() {
            check_origin(&format!("cors.origins[{at}]"), origin, self)?;
        }
        for (at, method) in self.methods.iter().enumerate() {
            if !header::is_token(method) || method.bytes().any(|byte| byte.is_ascii_lowercase()) {
                return Err(invalid(
                    format_args!("cors.methods[{at}]"),
                    format!("{method:?} is not a method"),
                    "write methods in capitals, as in GET; leave the list empty for those the path has",
                ));
            }
        }
        for (list, names) in [("headers", &self.headers), ("exposeHeaders", &self.expose_headers)] {
            for (at, name) in names.iter().enumerate() {
                header::check_name(format_args!("cors.{list}[{at}]"), name)?; // "*" is a token too
            }
        }
        match self.max_age_seconds {
            Some(age) if age > MAX_AGE_SECONDS => Err(invalid(
                "cors.maxAgeSeconds",
                format!("{age} is more than a day, {MAX_AGE_SECONDS}, which no browser heeds"),
                "choose a shorter time",
            )),
            Some(_) | None => Ok(()),
        }
    }
}

fn check_origin(field: &str, origin: &str, spec: &CorsSpec) -> Verdict {
    match origin {
        ANY if spec.credentials => Err(with_credentials(
            "any site could act with its visitors' credentials: browsers refuse this with the origin \"*\"",
        )),
        ANY if spec.origins.len() > 1 => {
            Err(invalid(field, "\"*\" allows all origins already", "keep \"*\" alone, or leave it out"))
        }
        NULL if spec.credentials => Err(with_credentials(
            "every sandboxed frame has the origin \"null\": any site could act with its visitors' credentials",
        )),
        ANY | NULL => Ok(()),
        named => check_named(field, named),
    }
}

fn with_credentials(detail: &str) -> Problem {
    invalid("cors.credentials", detail, "name the origins, or leave credentials out")
}

/// An origin spelled as browsers spell it: of a site, of all sites below a host, or of an app.
fn check_named(field: &str, origin: &str) -> Verdict {
    let refused = |detail: &str, remedy: String| Err(invalid(field, format!("{origin:?} {detail}"), remedy));
    let no_origin =
        || refused("is not an origin", "write scheme and host, as in https://app.example.com".to_owned());
    let Some((scheme, host)) = origin.split_once("://") else { return no_origin() };
    if scheme.eq_ignore_ascii_case("file") {
        return refused(
            "is no origin: browsers send \"null\" for pages of files",
            "write \"null\"".to_owned(),
        );
    }
    let (parent, is_below) = match host.strip_prefix("*.") {
        Some(parent) => (parent, true),
        None => (host, false),
    };
    let asked = format!("{scheme}://{parent}");
    let Some(url) = Url::parse(&asked).ok().filter(|_| !parent.contains('*')) else { return no_origin() };
    let spelled = if matches!(url.scheme(), "http" | "https") {
        url.origin().ascii_serialization()
    } else if is_below {
        return refused("has an app's scheme, and apps have no subdomains", "name each origin".to_owned());
    } else if OF_DOCUMENTS.contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return no_origin();
    } else {
        // Of other schemes the library tells no origin: what browsers send is scheme, host and port.
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default().to_ascii_lowercase())
    };
    if spelled != asked {
        let spelled = if is_below { spelled.replacen("://", "://*.", 1) } else { spelled };
        return refused("is not an origin as browsers send it", format!("write {spelled:?}"));
    }
    match url.domain() {
        _ if !is_below => Ok(()),
        Some(domain) if domain == "localhost" || domain.trim_matches('.').contains('.') => Ok(()),
        Some(_) => refused(
            "allows every site under a top-level domain",
            "name a domain of your own, as in https://*.example.com".to_owned(),
        ),
        None => refused("names no host: an address has no subdomains", "name a host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_sites_subdomains_apps_and_null() {
        let check = |origin: &str, expected: &str| {
            let told = check_origin("cors.origins[0]", origin, &CorsSpec::default());
            let told = told.err().map(|problem| problem.to_string()).unwrap_or_default();
            assert!(told.contains(expected) && told.is_empty() == expected.is_empty(), "{origin}: {told}");
        };
        for good in [
            "*",
            "null",
            "https://app.example.com",
            "http://localhost:3000",
            "https://*.example.com",
            "https://*.a.example.com:8443",
            "http://*.localhost",
            "capacitor://localhost",
            "ionic://localhost",
            "chrome-extension://abcdef",
            "tauri://localhost:1",
            "http://[::1]:3000",
        ] {
            check(good, "");
        }
        for (bad, expected) in [
            ("app.example.com", "is not an origin (write scheme and host"),
            ("https://", "is not an origin (write scheme and host"),
            ("https://app.example.com/", "(write \"https://app.example.com\")"),
            ("https://App.example.com:443", "(write \"https://app.example.com\")"),
            ("https://*.Example.com", "(write \"https://*.example.com\")"),
            ("https://*.com", "allows every site under a top-level domain (name a domain of your own"),
            ("https://*.com.", "allows every site under a top-level domain"),
            ("https://*.127.0.0.1", "an address has no subdomains"),
            ("https://a.*.example.com", "is not an origin"),
            ("https://*", "is not an origin"),
            ("file://", "browsers send \"null\" for pages of files (write \"null\")"),
            ("file:///a.html", "browsers send \"null\" for pages of files"),
            ("data://a", "is not an origin"),
            ("capacitor://", "is not an origin"),
            ("Capacitor://localhost", "(write \"capacitor://localhost\")"),
            ("capacitor://localhost/", "(write \"capacitor://localhost\")"),
            ("capacitor://*.localhost", "apps have no subdomains"),
        ] {
            check(bad, expected);
        }
    }
}
