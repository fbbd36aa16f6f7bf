//! The origins of a CORS policy.

use http::HeaderValue;

/// Allows every origin.
const ANY: &str = "*";
/// The origin of sandboxed frames and of pages of files.
const NULL: &str = "null";
/// What stands for the names below a host.
const BELOW: &str = "://*.";

/// The origins whose scripts may call.
#[derive(Debug, Clone, PartialEq)]
pub enum Origins {
    /// All origins.
    Any,
    /// These origins.
    Listed {
        /// As browsers send them.
        exact: Vec<HeaderValue>,
        /// Those of subdomains.
        below: Vec<Subdomains>,
    },
}

/// `https://*.example.com:8443`: the origins of all hosts below `example.com`, but not of `example.com`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subdomains {
    /// `https://`.
    start: Box<str>,
    /// `.example.com:8443`.
    end: Box<str>,
}

impl Origins {
    /// Reads a list; the error is the place of an origin that is no header value.
    pub(crate) fn parse(origins: &[String]) -> Result<Self, usize> {
        if origins.iter().any(|origin| origin == ANY) {
            return Ok(Self::Any);
        }
        let (mut exact, mut below) = (Vec::new(), Vec::new());
        for (at, origin) in origins.iter().enumerate() {
            match origin.split_once(BELOW) {
                Some((scheme, parent)) => below.push(Subdomains {
                    start: format!("{scheme}://").into(),
                    end: format!(".{parent}").into(),
                }),
                None => exact.push(HeaderValue::from_str(origin).map_err(|_| at)?),
            }
        }
        Ok(Self::Listed { exact, below })
    }

    /// Whether scripts of `origin` may call.
    pub fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Listed { exact, below } => {
                exact.contains(origin) || below.iter().any(|parent| parent.have(origin.as_bytes()))
            }
        }
    }

    /// Whether origins that are not named may call: another site's, or `null`, which every sandboxed frame has.
    pub(crate) fn are_anybodys(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Listed { exact, .. } => exact.iter().any(|origin| origin == NULL),
        }
    }
}

impl Subdomains {
    fn have(&self, origin: &[u8]) -> bool {
        let name = origin
            .strip_prefix(self.start.as_bytes())
            .and_then(|rest| rest.strip_suffix(self.end.as_bytes()));
        // Only octets of names: nothing else may pass for a host, such as a path.
        name.is_some_and(|name| {
            !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_whole_or_below_a_host() {
        let listed = [
            "https://app.example",
            "https://*.example.com",
            "http://*.localhost:3000",
            "capacitor://localhost",
            "null",
        ];
        let origins = Origins::parse(&listed.map(str::to_owned)).unwrap();
        let check = |origin: &str, allowed: bool| {
            assert_eq!(origins.allow(&HeaderValue::from_str(origin).unwrap()), allowed, "{origin}");
        };
        for allowed in [
            "https://app.example",
            "https://a.example.com",
            "https://a.b.example.com",
            "http://a.localhost:3000",
            "capacitor://localhost",
            "null",
        ] {
            check(allowed, true);
        }
        for refused in [
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "https://example.com.evil",
            "https://a.example.com.evil",
            "https://evil/.example.com",
            "https://evil:1/a.example.com",
            "https://evil?.example.com",
            "https://user@a.example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "http://a.localhost",
            "capacitor://localhost:1",
            "https://*.example.com.",
            "*",
            "",
        ] {
            check(refused, false);
        }
    }
}
