//! Patterns for hosts.

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

#[cfg(test)]
mod tests {
    use super::*;

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
