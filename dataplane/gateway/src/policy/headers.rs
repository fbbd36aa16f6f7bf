//! Header rules, and the headers that belong to one hop.

use hanse_proto::runtime;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::resource::Unusable;

/// Headers of one hop (RFC 9110 §7.6.1 and what older software calls so). `Trailer` is not among them: trailers are
/// forwarded.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Whether policies must leave the header alone: it belongs to one hop, frames the message or says where it goes.
pub fn is_protected(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
        || [header::CONTENT_LENGTH, header::HOST, header::TE, header::TRAILER, header::EXPECT].contains(name)
}

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
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Remove(HeaderName),
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
}

impl HeaderRules {
    /// Whether nothing is done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Appends the rules of one policy: remove, then set, then add. Rules about protected headers are left out.
    pub fn extend(&mut self, rules: &runtime::HeaderRules) -> Result<(), Unusable> {
        for text in &rules.remove {
            let name = name(text)?;
            if !is_protected(&name) {
                self.steps.push(Step::Remove(name));
            }
        }
        for (headers, step) in
            [(&rules.set, Step::Set as fn(HeaderName, HeaderValue) -> Step), (&rules.add, Step::Add)]
        {
            for given in headers {
                let name = name(&given.name)?;
                let value = HeaderValue::from_str(&given.value).map_err(|_| {
                    Unusable::new("policies.headers", format!("the value of {name} holds control characters"))
                })?;
                if !is_protected(&name) {
                    self.steps.push(step(name, value));
                }
            }
        }
        Ok(())
    }

    /// Does it.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for step in &self.steps {
            match step {
                Step::Remove(name) => drop(headers.remove(name)),
                Step::Set(name, value) => drop(headers.insert(name.clone(), value.clone())),
                Step::Add(name, value) => drop(headers.append(name.clone(), value.clone())),
            }
        }
    }
}

fn name(text: &str) -> Result<HeaderName, Unusable> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Unusable::new("policies.headers", format!("{text:?} is not a header name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn header(name: &str, value: &str) -> runtime::Header {
        runtime::Header { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn rules_apply_in_order_and_spare_protected_headers() {
        let mut rules = HeaderRules::default();
        rules
            .extend(&runtime::HeaderRules {
                set: vec![header("X-One", "set"), header("Content-Length", "0"), header("Host", "evil")],
                add: vec![header("X-One", "added"), header("X-Two", "added")],
                remove: vec!["X-One".to_owned(), "Cookie".to_owned(), "Transfer-Encoding".to_owned()],
            })
            .unwrap();
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
    fn rules_that_no_header_can_carry_are_refused() {
        let bad = |name: &str, value: &str| {
            let rules = runtime::HeaderRules { set: vec![header(name, value)], ..Default::default() };
            HeaderRules::default().extend(&rules).unwrap_err().to_string()
        };
        assert!(bad("a b", "c").contains("not a header name"));
        assert!(bad("a", "b\r\nc: d").contains("control characters"));
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
