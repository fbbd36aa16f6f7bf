//! One address of an upstream.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use hanse_proto::runtime;
use http::{HeaderValue, uri};

use crate::path;

/// The longest host name, in bytes (RFC 1035, section 2.3.4, without the root).
const MAX_HOST_BYTES: usize = 253;

/// The longest URL that clients are told: a host name of 253 bytes is of no use to them.
const MAX_PUBLIC_BYTES: usize = 200;

/// Whether clients may be told this URL of a gateway: a scheme and a host, perhaps a port, and no path. An unspecified address, such as
/// that of a listener for all interfaces, leads nowhere.
pub fn is_public_url(text: &str) -> bool {
    let is_unspecified = EndpointUrl::literal(text).is_some_and(|ip| ip.is_unspecified());
    let is_address = EndpointUrl::parse(text).is_some_and(|url| url.path.is_empty());
    text.len() <= MAX_PUBLIC_BYTES && is_address && !is_unspecified
}

/// The parts of an endpoint's URL. They are read once, before a change is proposed, and travel as parts: no gateway reads a URL.
///
/// The text of it is the normal form: what parsers of URLs disagree on is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    https: bool,
    host: Box<str>,
    port: Option<u16>,
    path: Box<str>,
}

impl EndpointUrl {
    /// Reads the normal form: `https://host:port/path`, all but the scheme and the host optional. `None`: it is not.
    pub fn parse(text: &str) -> Option<Self> {
        let (https, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let port_at = authority.rfind(':').filter(|&at| !authority[at..].contains(']'));
        let (host, port) = match port_at {
            None => (authority, None),
            Some(at) => (&authority[..at], Some(port(&authority[at + 1..])?)),
        };
        Self::new(https, host, port, path)
    }

    /// Of parts that each are in normal form.
    fn new(https: bool, host: &str, port: Option<u16>, path: &str) -> Option<Self> {
        let is_usable = is_host(host) && port != Some(0) && is_path(path);
        is_usable.then(|| Self { https, host: host.into(), port, path: path.into() })
    }

    /// As it is sent to gateways.
    pub fn to_wire(&self, weight: u32) -> runtime::Endpoint {
        runtime::Endpoint {
            weight,
            https: self.https,
            host: self.host.to_string(),
            port: self.port.map_or(0, u32::from),
            base_path: self.path.to_string(),
        }
    }

    /// As it was received; `None`: no address.
    pub fn from_wire(endpoint: &runtime::Endpoint) -> Option<Self> {
        let port = (endpoint.port > 0).then(|| u16::try_from(endpoint.port)).transpose().ok()?;
        Self::new(endpoint.https, &endpoint.host, port, &endpoint.base_path)
    }

    /// The address that stands in place of a name in a URL that [`parse`](Self::parse) accepted before; `None`: it is a name. It does
    /// not depend on how addresses are written today.
    pub fn literal(text: &str) -> Option<IpAddr> {
        let (_, rest) = text.split_once("://")?;
        let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => authority,
        };
        bare(host).parse().ok()
    }

    fn authority(&self) -> String {
        match self.port {
            None => self.host.to_string(),
            Some(port) => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Whether a text is a host, or a host and a port, in normal form.
pub fn is_authority(text: &str) -> bool {
    EndpointUrl::parse(&format!("http://{text}")).is_some_and(|url| url.path.is_empty())
}

/// Without leading zeros.
fn port(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|port: &u16| port.to_string() == digits)
}

/// A name in lower case, or an address as it is shown: IPv6 in brackets. An IPv4 address has no second form (`::ffff:10.0.0.7`).
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').filter(|own| is_shown::<Ipv6Addr>(own));
        let is_mapped = |own: &str| own.parse().is_ok_and(|own: Ipv6Addr| own.to_ipv4_mapped().is_some());
        return address.is_some_and(|own| !is_mapped(own));
    }
    let is_name = (1..=MAX_HOST_BYTES).contains(&host.len())
        && host
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte));
    // Where the last label is a number, parsers of URLs read an IPv4 address, also in short and in other forms (URL standard, 3.5).
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_hex = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number =
        last.bytes().all(|byte| byte.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(is_hex);
    is_name && (!is_number || is_shown::<Ipv4Addr>(host))
}

fn is_shown<T: FromStr + fmt::Display>(text: &str) -> bool {
    text.parse::<T>().is_ok_and(|read| read.to_string() == text)
}

/// Nothing, or what can begin the path of a request: the characters of RFC 3986, section 3.3, and nothing that answers 400.
fn is_path(path: &str) -> bool {
    path.is_empty() || (path.bytes().all(is_path_byte) && path::canonical_request(path).is_ok())
}

/// Whether a path has this octet as it is: `pchar`, `/`, and the `%` of an encoding.
pub fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

/// One address of an upstream.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Names it to people.
    pub url: Box<str>,
    /// Its share of the requests; 0: none.
    pub weight: u32,
    /// `http` or `https`.
    pub scheme: uri::Scheme,
    /// `host:port` as in the URL.
    pub authority: uri::Authority,
    /// The authority as the `Host` header.
    pub host: HeaderValue,
    /// What goes before a request's path: empty, or `/` and segments without a final `/`.
    pub base_path: Box<str>,
}

impl Endpoint {
    /// One as it was received. An error says why it is no address.
    pub fn new(endpoint: &runtime::Endpoint) -> Result<Self, String> {
        let url = EndpointUrl::from_wire(endpoint).ok_or_else(|| {
            format!("{:?} with the path {:?} is no address", endpoint.host, endpoint.base_path)
        })?;
        let authority = url.authority();
        let no_authority = |_| format!("{authority:?} is no host and port");
        Ok(Self {
            url: url.to_string().into(),
            weight: endpoint.weight,
            scheme: if url.https { uri::Scheme::HTTPS } else { uri::Scheme::HTTP },
            authority: authority.parse().map_err(no_authority)?,
            host: HeaderValue::from_str(&authority).map_err(|_| format!("{authority:?} is no Host"))?,
            base_path: url.path.trim_end_matches('/').into(),
        })
    }

    /// The name that its certificate has, where nothing else is said: the host, an IPv6 address without its brackets.
    pub(crate) fn tls_name(&self) -> &str {
        bare(self.authority.host())
    }
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_form_is_read_and_written_the_same() {
        for normal in [
            "http://a",
            "http://a/",
            "http://a.b-c_d:8080/base/",
            "https://xn--bcher-kva.example",
            "http://10.0.0.7:80/a%20b;c=1",
            "http://[::1]:8443",
            "https://[2001:db8::1]/x",
            "http://a.",
            "http://0x-api:8080",
        ] {
            let url = EndpointUrl::parse(normal).unwrap_or_else(|| panic!("{normal}"));
            assert_eq!(url.to_string(), normal);
            assert_eq!(EndpointUrl::from_wire(&url.to_wire(1)), Some(url), "{normal}");
        }
    }

    #[test]
    fn an_address_in_place_of_a_name_is_known() {
        for (url, address) in [
            ("http://10.0.0.7:80/a", Some("10.0.0.7")),
            ("https://[2001:db8::1]/x", Some("2001:db8::1")),
            ("http://10.0.0.7", Some("10.0.0.7")),
            ("https://[::1]:8443", Some("::1")),
            ("http://[fe80::1]", Some("fe80::1")),
            ("http://a.b", None),
            ("http://0x-api", None),
            ("http://a/10.0.0.7", None),
        ] {
            let address = address.map(|address| address.parse().unwrap());
            assert!(EndpointUrl::parse(url).is_some(), "{url}");
            assert_eq!(EndpointUrl::literal(url), address, "{url}");
        }
    }

    #[test]
    fn what_parsers_read_in_two_ways_is_no_normal_form() {
        for other in [
            "",
            "a:1",
            "ftp://a",
            "http://",
            "http:a",
            "HTTP://a",
            "http://A",
            "http://ä",
            "http://a b",
            "http://ex%61mple.com",
            "http://user@a",
            "http://a\\@b",
            "http://a?b",
            "http://a#b",
            "http://a/?b",
            "http://a/b\\c",
            "http://a/<",
            "http://a/b/../c",
            "http://a/%2e%2e/c",
            "http://a/%zz",
            "http://a:",
            "http://a:0",
            "http://a:070",
            "http://a:70000",
            "http://127.1",
            "http://0x7f.1",
            "http://2130706433",
            "http://127.0.0.01",
            "http://a.1",
            "http://0x7f",
            "http://[::1",
            "http://[0:0::1]",
            "http://[::1]x",
            "http://[1.2.3.4]",
            "http://[::ffff:10.0.0.7]",
            "http://[::ffff:a00:7]",
            "http://127.0.0.1.",
        ] {
            assert_eq!(EndpointUrl::parse(other), None, "{other}");
        }
        assert_eq!(EndpointUrl::parse(&format!("http://{}", "a".repeat(254))), None);
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for good in ["a", "shop.internal:8443", "a:80", "10.0.0.7", "[::1]:8443"] {
            assert!(is_authority(good), "{good}");
        }
        for bad in ["", "A", "a/", "a/b", "a:", "a:0", "http://a", "user@a", "a b", "a, b", "127.1", "::1"] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
