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
    /// How many suffixes have how many labels: bounds the search.
    depths: Vec<usize>,
}

impl<T: Clone> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: Map::new(), suffix: Map::new(), any: None, depths: Vec::new() }
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
        let (is, was) = (value.is_some(), map.contains_key(key));
        match value {
            Some(value) => drop(map.insert(key.clone(), value)),
            None => drop(map.remove(key)),
        }
        if is != was && matches!(pattern, HostPattern::Suffix(_)) {
            let labels = labels(key);
            self.depths.resize(self.depths.len().max(labels + 1), 0);
            if is {
                self.depths[labels] += 1
            } else {
                self.depths[labels] -= 1
            }
            while self.depths.last() == Some(&0) {
                self.depths.pop();
            }
        }
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffix.is_empty() && self.any.is_none()
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
            let (mut rest, mut labels) = (host, labels(host));
            while let Some((_, parent)) = rest.split_once('.') {
                labels -= 1;
                if self.depths.get(labels).is_some_and(|suffixes| *suffixes > 0)
                    && let Some(found) = self.suffix.get(parent).and_then(&choose)
                {
                    return Some((parent.len(), found));
                }
                rest = parent;
            }
        }
        Some((ANY, self.any.as_ref().and_then(choose)?))
    }
}

fn labels(host: &str) -> usize {
    1 + host.bytes().filter(|&byte| byte == b'.').count()
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
        let check = |map: &HostMap<&'static str>, host: &str, wanted: &str, special: usize| {
            assert_eq!(map.find(host, |own| Some(*own)), Some((special, wanted)), "{host}");
        };
        check(&map, "api.example.com", "api.example.com", usize::MAX);
        check(&map, "b.example.com", "*.example.com", 11);
        check(&map, "a.b.example.com", "*.example.com", 11);
        check(&map, "x.eu.example.com", "*.eu.example.com", 14);
        check(&map, "eu.example.com", "*.example.com", 11);
        check(&map, "example.com", "*", 0);
        check(&map, "", "*", 0);
        // A value that does not suit leaves the word to a more general one.
        assert_eq!(
            map.find("x.eu.example.com", |own| (own.len() < 14).then_some(*own)),
            Some((11, "*.example.com"))
        );
        // Suffixes of each depth come and go.
        map.set(&HostPattern::parse("*.example.com").unwrap(), None);
        assert_eq!(map.depths, [0, 0, 0, 1]);
        check(&map, "b.example.com", "*", 0);
        check(&map, "a.b.x.eu.example.com", "*.eu.example.com", 14);
        map.set(&HostPattern::parse("*.eu.example.com").unwrap(), Some("*.eu.example.com"));
        map.set(&HostPattern::parse("*.com").unwrap(), Some("*.com"));
        assert_eq!(map.depths, [0, 1, 0, 1]);
        check(&map, "b.example.com", "*.com", 3);
        map.set(&HostPattern::parse("*.eu.example.com").unwrap(), None);
        map.set(&HostPattern::parse("*.com").unwrap(), None);
        assert!(map.depths.is_empty());
        map.set(&HostPattern::Any, None);
        assert_eq!(map.find("example.com", |own| Some(*own)), None);
    }
}
