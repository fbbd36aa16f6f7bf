//! Contexts: the longest one that is a prefix of the path on a segment boundary.

use hanse_runtime::Context;

use super::map::Map;

/// A value per context. Cloning is cheap: clones share what they do not change.
#[derive(Debug, Clone)]
pub(super) struct ContextMap<T: Clone> {
    contexts: Map<Box<[u8]>, T>,
    /// How many contexts have how many segments: bounds the search.
    depths: Vec<usize>,
}

impl<T: Clone> Default for ContextMap<T> {
    fn default() -> Self {
        Self { contexts: Map::new(), depths: Vec::new() }
    }
}

impl<T: Clone> ContextMap<T> {
    /// The value at exactly this context.
    pub(super) fn at(&self, context: &Context) -> Option<&T> {
        self.contexts.get(context.octets())
    }

    /// Sets, or with `None` removes, the value at this context.
    pub(super) fn set(&mut self, context: &Context, value: Option<T>) {
        let depth = context.segments();
        match value {
            Some(value) => {
                if self.contexts.insert(context.octets().into(), value).is_none() {
                    self.depths.resize(self.depths.len().max(depth + 1), 0);
                    self.depths[depth] += 1;
                }
            }
            None => {
                if self.contexts.remove(context.octets()).is_some() {
                    self.depths[depth] -= 1;
                    while self.depths.last() == Some(&0) {
                        self.depths.pop();
                    }
                }
            }
        }
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.contexts.is_empty()
    }

    /// The answer of `choose` of the longest context that begins `path`, whose segments are without their parameters; and how long that is.
    pub(super) fn find<'a, R>(
        &'a self,
        path: &[u8],
        choose: impl Fn(&'a T) -> Option<R>,
    ) -> Option<(usize, R)> {
        let mut found = None;
        let mut end = 0; // of the prefix under test, always a segment boundary
        for &contexts in &self.depths {
            if contexts > 0
                && let Some(chosen) = self.contexts.get(&path[..end]).and_then(&choose)
            {
                found = Some((end, chosen));
            }
            if end == path.len() {
                break;
            }
            let rest = &path[end + 1..];
            end += 1 + rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_context_on_a_segment_boundary_wins() {
        let mut map = ContextMap::default();
        for text in ["/orders", "/orders/v1", "/a/b/c/d", "/"] {
            map.set(&Context::parse(text).unwrap(), Some(text));
        }
        let check = |map: &ContextMap<&str>, path: &str, wanted: Option<&str>| {
            let found = map.find(path.as_bytes(), |value| Some(*value));
            assert_eq!(found.map(|(_, value)| value), wanted, "{path}");
            let length = wanted.map(|context| context.trim_end_matches('/').len());
            assert_eq!(found.map(|(length, _)| length), length, "{path}");
        };
        check(&map, "/orders", Some("/orders"));
        check(&map, "/orders/", Some("/orders"));
        check(&map, "/orders/v1", Some("/orders/v1"));
        check(&map, "/orders/v1/7", Some("/orders/v1"));
        check(&map, "/orders/v10", Some("/orders"));
        check(&map, "/ordersx", Some("/"));
        check(&map, "/a/b/c/d/e", Some("/a/b/c/d"));
        check(&map, "/a/b/c", Some("/"));
        check(&map, "/", Some("/"));
        map.set(&Context::parse("/").unwrap(), None);
        map.set(&Context::parse("/a/b/c/d").unwrap(), None);
        check(&map, "/a/b/c/d", None);
        check(&map, "/", None);
        check(&map, "/orders/v1/7/8/9", Some("/orders/v1"));
    }
}
