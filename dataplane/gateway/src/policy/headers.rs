//! Header rules, and the headers that belong to one hop.

use hanse_runtime::{HOP_BY_HOP, HeaderStep};
use http::{HeaderMap, HeaderName, header};

/// Removes the headers of the hop a message came by, those that its `Connection` names included.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        // Framing and routing are not a client's to remove.
        let keeps = [header::HOST, header::CONTENT_LENGTH];
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
            .filter(|name| !keeps.contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// What policies do to headers, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderRules {
    steps: Vec<HeaderStep>,
}

impl HeaderRules {
    /// Whether nothing is done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Appends the rules of one policy.
    pub fn extend(&mut self, steps: Vec<HeaderStep>) {
        self.steps.extend(steps);
    }

    /// Does it.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for step in &self.steps {
            match step {
                HeaderStep::Remove(name) => drop(headers.remove(name)),
                HeaderStep::Set(name, value) => drop(headers.insert(name.clone(), value.clone())),
                HeaderStep::Add(name, value) => drop(headers.append(name.clone(), value.clone())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn rules_apply_in_order() {
        let (name, value) = (HeaderName::from_static, HeaderValue::from_static);
        let mut rules = HeaderRules::default();
        assert!(rules.is_empty());
        rules.extend(vec![
            HeaderStep::Remove(name("x-one")),
            HeaderStep::Remove(name("cookie")),
            HeaderStep::Set(name("x-one"), value("set")),
            HeaderStep::Add(name("x-one"), value("added")),
        ]);
        rules.extend(vec![HeaderStep::Add(name("x-two"), value("added"))]);
        let mut headers = map(&[("x-one", "old"), ("cookie", "a"), ("content-length", "5"), ("host", "a")]);
        rules.apply(&mut headers);
        assert_eq!(
            headers,
            map(&[
                ("content-length", "5"),
                ("host", "a"),
                ("x-one", "set"),
                ("x-one", "added"),
                ("x-two", "added")
            ])
        );
    }

    #[test]
    fn headers_of_one_hop_go_with_it() {
        let mut headers = map(&[
            ("connection", "close, X-Token , host"),
            ("connection", "content-length, te"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("x-token", "secret"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("host", "a"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("content-length", "5"), ("host", "a"), ("accept", "*/*")]));
    }
}
