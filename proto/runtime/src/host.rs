//! Patterns for hosts.

use std::fmt;

use crate::Unusable;

/// A pattern for hosts, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name only.
    Exact(Box<str>),
    /// `*.suffix`: names that end in `.suffix`.
    Suffix(Box<str>),
    /// Every host.
    Any,
}

impl HostPattern {
    /// Reads a name or `*.suffix`; `None`: it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('.').to_ascii_lowercase();
        let (name, is_suffix) = match text.strip_prefix("*.") {
            Some(suffix) => (suffix, true),
            None => (text.as_str(), false),
        };
        if name.is_empty() || name.contains(|letter: char| letter == '*' || letter.is_whitespace()) {
            return None;
        }
        Some(if is_suffix { Self::Suffix(name.into()) } else { Self::Exact(name.into()) })
    }

    /// Whether every host of `other` is one of it.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) | (Self::Exact(_), Self::Suffix(_)) => false,
            (Self::Exact(own), Self::Exact(name)) => own == name,
            (Self::Suffix(own), Self::Exact(name)) => is_below(name, own),
            (Self::Suffix(own), Self::Suffix(suffix)) => own == suffix || is_below(suffix, own),
        }
    }

    /// The hosts that both have: the narrower of the two. `None`: no host.
    pub fn common<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        if self.covers(other) {
            return Some(other);
        }
        other.covers(self).then_some(self)
    }

    /// Reads the list in `field`; an empty one means every host.
    pub(crate) fn parse_all(field: &str, texts: &[String]) -> Result<Vec<Self>, Unusable> {
        if texts.is_empty() {
            return Ok(vec![Self::Any]);
        }
        let one = |(at, text): (usize, &String)| {
            let reason = || format!("{text:?} is neither a host name nor *.suffix");
            Self::parse(text).ok_or_else(|| Unusable::new(format!("{field}[{at}]"), reason()))
        };
        texts.iter().enumerate().map(one).collect()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("any host"),
        }
    }
}

/// Whether `name` ends in `.suffix`.
fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_patterns_have_in_common_is_the_narrower_one() {
        let pattern = |text: &str| HostPattern::parse(text).unwrap_or(HostPattern::Any);
        for (one, other, common) in [
            ("a.example", "a.example", Some("a.example")),
            ("a.example", "b.example", None),
            ("a.example", "*.example", Some("a.example")),
            ("a.b.example", "*.example", Some("a.b.example")),
            ("example", "*.example", None),
            ("anexample", "*.example", None),
            ("*.b.example", "*.example", Some("*.b.example")),
            ("*.b.example", "*.c.example", None),
            ("*.example", "*.example", Some("*.example")),
            ("*", "*.example", Some("*.example")),
            ("*", "a.example", Some("a.example")),
            ("*", "*", Some("any host")),
        ] {
            let (one, other) = (pattern(one), pattern(other));
            for (one, other) in [(&one, &other), (&other, &one)] {
                let found = one.common(other).map(ToString::to_string);
                assert_eq!(found.as_deref(), common, "{one} {other}");
            }
        }
    }

    #[test]
    fn every_host_is_said_by_an_empty_list_only() {
        assert_eq!(HostPattern::parse_all("hosts", &[]), Ok(vec![HostPattern::Any]));
        assert_eq!(HostPattern::parse("API.example."), Some(HostPattern::Exact("api.example".into())));
        assert_eq!(HostPattern::parse("*.example"), Some(HostPattern::Suffix("example".into())));
        for text in ["", ".", "*", "*.", "a.*", "a b"] {
            let unusable = HostPattern::parse_all("hosts", &[text.to_owned()]).unwrap_err();
            assert_eq!(unusable.field, "hosts[0]", "{text:?}");
        }
    }
}
