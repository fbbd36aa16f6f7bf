//! Hosts: exact names before the longest `*.suffix` before any.

use hanse_runtime::HostPattern;

use super::map::Map;

/// How special an exact name is: more than any suffix, which has as many octets as this says.
const EXACT: usize = usize::MAX;
/// How special the pattern of every host is. No suffix is empty.
const ANY: usize = 0;

/// A value per pattern. Cloning is cheap: clones share what they do not change.
#[derive(Debug, Clone)]
pub(super) struct HostMap<T: Clone> {
    exact: Map<Box<str>, T>,
    suffix: Map<Box<str>, T>,
    any: Option<T>,
}

impl<T: Clone> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: Map::new(), suffix: Map::new(), any: None }
    }
}

impl<T: Clone> HostMap<T> {
    /// The value at exactly this pattern.
    pub(super) fn at(&self, pattern: &HostPattern) -> Option<&T> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Suffix(suffix) => self.suffix.get(suffix),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    /// Sets, or with `None` removes, the value at this pattern.
    pub(super) fn set(&mut self, pattern: &HostPattern, value: Option<T>) {
        let (map, key) = match pattern {
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Suffix(suffix) => (&mut self.suffix, suffix),
            HostPattern::Any => {
                self.any = value;
                return;
            }
        };
        match value {
            Some(value) => drop(map.insert(key.clone(), value)),
            None => drop(map.remove(key)),
        }
    }

    /// The first answer of `choose` over the values for `host` (lower case, no port), most special first; and how special its pattern is,
    /// among those that fit this host.
    pub(super) fn find<'a, R>(
        &'a self,
        host: &str,
        choose: impl Fn(&'a T) -> Option<R>,
    ) -> Option<(usize, R)> {
        if !self.exact.is_empty()
            && let Some(found) = self.exact.get(host).and_then(&choose)
        {
            return Some((EXACT, found));
        }
        if !self.suffix.is_empty() {
            let mut rest = host;
            while let Some((_, parent)) = rest.split_once('.') {
                if let Some(found) = self.suffix.get(parent).and_then(&choose) {
                    return Some((parent.len(), found));
                }
                rest = parent;
            }
        }
        Some((ANY, self.any.as_ref().and_then(choose)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_before_longest_suffix_before_any() {
        let mut map = HostMap::default();
        for text in ["api.example.com", "*.example.com", "*.eu.example.com"] {
            map.set(&HostPattern::parse(text).unwrap(), Some(text));
        }
        map.set(&HostPattern::Any, Some("*"));
        let check = |host: &str, wanted: &str, special: usize| {
            assert_eq!(map.find(host, |own| Some(*own)), Some((special, wanted)), "{host}");
        };
        check("api.example.com", "api.example.com", usize::MAX);
        check("b.example.com", "*.example.com", 11);
        check("a.b.example.com", "*.example.com", 11);
        check("x.eu.example.com", "*.eu.example.com", 14);
        check("eu.example.com", "*.example.com", 11);
        check("example.com", "*", 0);
        check("", "*", 0);
        // A value that does not suit leaves the word to a more general one.
        assert_eq!(
            map.find("x.eu.example.com", |own| (own.len() < 14).then_some(*own)),
            Some((11, "*.example.com"))
        );
        map.set(&HostPattern::Any, None);
        assert_eq!(map.find("example.com", |own| Some(*own)), None);
    }
}
