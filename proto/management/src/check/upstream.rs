//! Upstream.

use std::collections::BTreeSet;

use url::Url;

use super::{Verdict, health, host, invalid, text};
use crate::kinds::{UpstreamSpec, UpstreamTlsSpec};

/// How many endpoints one Upstream may have: what a gateway's round robin walks.
const MAX_ENDPOINTS: usize = 1000;
/// The greatest weight: sums stay far inside 32 bits.
const MAX_WEIGHT: u32 = 1_000_000;

pub(super) fn check(spec: &UpstreamSpec) -> Verdict {
    if spec.endpoints.is_empty() {
        return Err(invalid("endpoints", "it has no endpoint", "name at least one url"));
    }
    if spec.endpoints.len() > MAX_ENDPOINTS {
        let detail = format!("{} endpoints are more than {MAX_ENDPOINTS}", spec.endpoints.len());
        return Err(invalid("endpoints", detail, "put a load balancer before them"));
    }
    let mut seen = BTreeSet::new();
    for (at, endpoint) in spec.endpoints.iter().enumerate() {
        check_url(&format!("endpoints[{at}].url"), &endpoint.url)?;
        if endpoint.weight > MAX_WEIGHT {
            let detail = format!("{} is more than {MAX_WEIGHT}", endpoint.weight);
            return Err(invalid(
                format_args!("endpoints[{at}].weight"),
                detail,
                "only proportions count: use less",
            ));
        }
        if !seen.insert((&endpoint.url, &endpoint.region, &endpoint.environment)) {
            let detail = format!("{} is there already for the same region and environment", endpoint.url);
            return Err(invalid(
                format_args!("endpoints[{at}]"),
                detail,
                "name it once; weight gives it a larger share",
            ));
        }
    }
    if spec.endpoints.iter().all(|endpoint| endpoint.weight == 0) {
        let remedy = "give at least one endpoint a weight of 1 or more";
        return Err(invalid("endpoints", "every weight is 0: no request could go anywhere", remedy));
    }
    text::check_timeout("timeout", spec.timeout)?;
    text::check_timeout("connectTimeout", spec.connect_timeout)?;
    spec.tls.as_ref().map_or(Ok(()), check_tls)?;
    spec.health_check.as_ref().map_or(Ok(()), health::check_health_check)?;
    spec.ejection.as_ref().map_or(Ok(()), health::check_ejection)?;
    spec.retry.as_ref().map_or(Ok(()), |retry| health::check_retry(retry, spec.timeout))
}

fn check_url(field: &str, given: &str) -> Verdict {
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
    // The parser forgives white space; whoever else reads the URL may not.
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

fn check_tls(spec: &UpstreamTlsSpec) -> Verdict {
    if let Some(name) = &spec.server_name {
        host::check_exact("tls.serverName", name)?;
    }
    let Some(bundle) = &spec.ca_bundle else { return Ok(()) };
    let remedy = "give PEM certificates: -----BEGIN CERTIFICATE----- …";
    if bundle.contains("PRIVATE KEY-----") {
        return Err(invalid(
            "tls.caBundle",
            "it has a private key",
            "give certificates only, and replace that key",
        ));
    }
    let begun = bundle.matches("-----BEGIN CERTIFICATE-----").count();
    let ended = bundle.matches("-----END CERTIFICATE-----").count();
    if begun == 0 || begun != ended {
        return Err(invalid("tls.caBundle", "it is not a sequence of PEM certificates", remedy));
    }
    Ok(())
}
