//! The URL of an endpoint.

use hanse_runtime::{EndpointUrl, is_path_byte};
use url::{Host, Url};

use crate::check::{Verdict, invalid};

pub(in crate::kinds) fn check(field: &str, given: &str) -> Verdict {
    normalize(given).map(drop).map_err(|Refused { detail, remedy }| invalid(field, detail, remedy))
}

/// Why a URL is refused, and what to do.
#[derive(Debug)]
pub(in crate::kinds) struct Refused {
    detail: String,
    remedy: String,
}

fn refused<T>(detail: impl Into<String>, remedy: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { detail: detail.into(), remedy: remedy.into() })
}

/// The one text for what a URL means: a host in lower case and ASCII, and a path with all encodings that it needs. What parsers of URLs
/// disagree on is refused. [`EndpointUrl`] reads what comes out.
pub(in crate::kinds) fn normalize(given: &str) -> Result<String, Refused> {
    let has_user =
        || refused("the URL carries a user's name or password", "leave it out: URLs are shown to people");
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
    if given.contains('\\') {
        return refused(format!("{shown} has a backslash"), "write / instead");
    }
    let Some(host) = url.host().filter(|_| given.contains("://")) else {
        return refused(format!("{shown} names no host"), "write it as http://host:port/base");
    };
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
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let origin = format!("{}://{host}{port}", url.scheme());
    let written = authority(given);
    if written.contains('%') {
        return refused(format!("{shown} has a percent-encoding in its host"), format!("write {origin}"));
    }
    if matches!(host, Host::Ipv4(address) if !written.starts_with(&address.to_string())) {
        return refused(format!("{shown} writes an address in another form"), format!("write {origin}"));
    }
    if let Host::Ipv6(address) = host
        && let Some(address) = address.to_ipv4_mapped()
    {
        let origin = format!("{}://{address}{port}", url.scheme());
        return refused(format!("{shown} writes an address in another form"), format!("write {origin}"));
    }
    let path = path_of(given);
    if path.split('/').any(is_dots) {
        let detail = format!("{shown} has the segment \".\" or \"..\"");
        return refused(detail, format!("write the path it stands for: {origin}{}", url.path()));
    }
    // The parser writes a path where there is none.
    let path = if path.is_empty() { "" } else { url.path() };
    let normal = origin + &encoded(path);
    if EndpointUrl::parse(&normal).is_none() {
        let detail = format!("{shown} has a host or a path that a request cannot have");
        return refused(detail, "write it as http://host:port/base");
    }
    Ok(normal)
}

/// A path with those of its octets encoded that need it.
fn encoded(path: &str) -> String {
    let octet = |byte: u8| match is_path_byte(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    path.bytes().map(octet).collect()
}

/// `.` or `..`, as parsers of URLs know them.
fn is_dots(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
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

/// What follows the scheme and its slashes, or what a forgiving parser takes for them.
fn behind_scheme(url: &str) -> &str {
    url.split_once(':').map_or(url, |(_, rest)| rest).trim_start_matches(['/', '\\'])
}

/// Where a URL names a host, and may name a user.
fn authority(url: &str) -> &str {
    behind_scheme(url).split(['/', '\\', '?', '#']).next().unwrap_or_default()
}

/// The path as it is written.
fn path_of(url: &str) -> &str {
    let rest = behind_scheme(url);
    rest.find('/').map_or("", |at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_has_one_form() {
        for (given, normal) in [
            ("http://a", "http://a"),
            ("http://a/", "http://a/"),
            ("HTTP://API.Example:8080/Base/", "http://api.example:8080/Base/"),
            ("http://a:80/x", "http://a/x"),
            ("https://a:443", "https://a"),
            ("http://a:", "http://a"),
            ("http://bücher.example/", "http://xn--bcher-kva.example/"),
            ("http://a/größe/<b>|{c}", "http://a/gr%C3%B6%C3%9Fe/%3Cb%3E%7C%7Bc%7D"),
            ("http://a/b%20c;d=1", "http://a/b%20c;d=1"),
            ("http://10.0.0.7:8080", "http://10.0.0.7:8080"),
            ("http://[0:0::1]:1", "http://[::1]:1"),
            ("http://a_b", "http://a_b"),
        ] {
            assert_eq!(normalize(given).unwrap(), normal, "{given}");
            assert_eq!(normalize(normal).unwrap(), normal, "{given}");
        }
    }

    #[test]
    fn what_parsers_disagree_on_is_refused() {
        for (bad, detail, remedy) in [
            (
                "http://127.1/",
                "\"http://127.1/\" writes an address in another form",
                "write http://127.0.0.1",
            ),
            ("http://2130706433", "writes an address in another form", "write http://127.0.0.1"),
            ("http://0x7f.1", "writes an address in another form", "write http://127.0.0.1"),
            (
                "http://[::ffff:10.0.0.7]:8080/",
                "writes an address in another form",
                "write http://10.0.0.7:8080",
            ),
            ("http://[::ffff:a00:7]", "writes an address in another form", "write http://10.0.0.7"),
            ("http://ex%61mple.com/", "has a percent-encoding in its host", "write http://example.com"),
            ("http://a\\@b/", "the URL has a backslash", "write / instead"),
            ("http://a/b\\c", "has a backslash", "write / instead"),
            ("http://a\\b", "has a backslash", "write / instead"),
            ("http://a/b/../c", "has the segment \".\" or \"..\"", "http://a/c"),
            ("http://a/%2E%2e/c", "has the segment \".\" or \"..\"", "http://a/c"),
            ("http:/a", "names no host", "http://host:port/base"),
            ("http://a/%zz", "a path that a request cannot have", "http://host:port/base"),
            ("http://a/;x", "a path that a request cannot have", "http://host:port/base"),
            ("http://a~b/", "a host or a path", "http://host:port/base"),
        ] {
            let told = normalize(bad).expect_err(bad);
            assert!(told.detail.contains(detail) && told.remedy.contains(remedy), "{bad}: {told:?}");
        }
    }

    proptest! {
        /// Whichever parser reads the normal form, it reads the same.
        #[test]
        fn every_parser_reads_the_same(
            host in "[a-zA-Z0-9äß._~%\\[\\]:-]{1,12}",
            port in prop_oneof![Just(String::new()), ":[0-9]{0,6}"],
            path in "(/[a-zA-Z0-9ä._~%;<>|{}\\[\\]^ -]{0,6}){0,3}",
        ) {
            let given = format!("http://{host}{port}{path}");
            if let Ok(normal) = normalize(&given) {
                let own = EndpointUrl::parse(&normal).map(|url| url.to_string());
                prop_assert_eq!(own.as_ref(), Some(&normal), "{}", &given);
                let url = Url::parse(&normal).unwrap();
                let shown = url.as_str();
                prop_assert!(shown == normal || shown == format!("{normal}/"), "{} {}", &normal, shown);
                prop_assert_eq!(normalize(&normal).ok(), Some(normal));
            }
        }
    }
}
