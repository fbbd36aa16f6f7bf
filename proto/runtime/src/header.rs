//! Header rules, and the headers that no rule may name.

use hanse_proto::runtime;
use http::{HeaderName, HeaderValue, header};

use crate::Unusable;

/// Headers of one hop (RFC 9110 §7.6.1 and what older software calls so). `Trailer` is not among them: trailers are
/// forwarded.
pub const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What frames a message or says where it goes, beside headers of one hop.
const FRAMES_OR_ROUTES: [HeaderName; 6] = [
    HeaderName::from_static("cdn-loop"),
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
];

/// Whether policies and keys must leave the header alone: it belongs to one hop, frames the message or says where it goes.
/// Names do not differ by case.
pub fn is_protected(name: &str) -> bool {
    HOP_BY_HOP.iter().chain(&FRAMES_OR_ROUTES).any(|own| own.as_str().eq_ignore_ascii_case(name))
}

/// Whether a header may carry an API key. Gateways write the others themselves, and go on with the client's value in some.
pub fn may_carry_key(name: &str) -> bool {
    let is_forwarded = name.get(..X_FORWARDED.len()).is_some_and(|own| own.eq_ignore_ascii_case(X_FORWARDED));
    !is_protected(name) && !is_forwarded
}

const X_FORWARDED: &str = "x-forwarded-";

/// One thing that is done to the headers of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderStep {
    /// Every header of the name goes.
    Remove(HeaderName),
    /// Replaces what is there.
    Set(HeaderName, HeaderValue),
    /// Comes beside what is there.
    Add(HeaderName, HeaderValue),
}

/// What rules do, in order: remove, then set, then add.
pub(crate) fn steps(rules: &runtime::HeaderRules) -> Result<Vec<HeaderStep>, Unusable> {
    let mut steps = Vec::with_capacity(rules.remove.len() + rules.set.len() + rules.add.len());
    for (at, name) in rules.remove.iter().enumerate() {
        steps.push(HeaderStep::Remove(rule_name(name).map_err(|bad| bad.within(format!("remove[{at}]")))?));
    }
    for (list, headers, step) in [
        ("set", &rules.set, HeaderStep::Set as fn(HeaderName, HeaderValue) -> HeaderStep),
        ("add", &rules.add, HeaderStep::Add),
    ] {
        for given in headers {
            let within = |bad: Unusable| bad.within(format!("{list}.{}", given.name));
            let name = rule_name(&given.name).map_err(within)?;
            let value = HeaderValue::from_str(&given.value).map_err(|_| {
                within(Unusable::new("", format!("the value of {name} holds control characters")))
            })?;
            steps.push(step(name, value));
        }
    }
    Ok(steps)
}

/// The name of a header that is not protected.
pub(crate) fn rule_name(text: &str) -> Result<HeaderName, Unusable> {
    let name = parse_name(text)?;
    if is_protected(name.as_str()) {
        let reason = format!("{name} frames or routes a message: it is the gateway's own");
        return Err(Unusable::new("", reason));
    }
    Ok(name)
}

/// The name of a header that may carry an API key.
pub(crate) fn key_name(text: &str) -> Result<HeaderName, Unusable> {
    let name = parse_name(text)?;
    if may_carry_key(name.as_str()) {
        return Ok(name);
    }
    Err(Unusable::new("", format!("{name} is written by gateways: it can carry no key")))
}

fn parse_name(text: &str) -> Result<HeaderName, Unusable> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Unusable::new("", format!("{text:?} is not a header name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> runtime::Header {
        runtime::Header { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn rules_that_no_header_can_carry_are_refused() {
        let bad = |name: &str, value: &str| {
            let rules = runtime::HeaderRules { set: vec![header(name, value)], ..Default::default() };
            steps(&rules).unwrap_err().to_string()
        };
        assert_eq!(bad("a b", "c"), "set.a b: \"a b\" is not a header name");
        assert_eq!(bad("a", "b\r\nc: d"), "set.a: the value of a holds control characters");
    }

    #[test]
    fn protected_headers_are_refused_in_every_list() {
        for text in [
            "Host",
            "CDN-Loop",
            "Expect",
            "content-length",
            "Proxy-Authorization",
            "Trailer",
            "TE",
            "Upgrade",
        ] {
            assert!(is_protected(text), "{text}");
            let ok = header("X-Ok", "1");
            let all = vec![ok.clone(), header(text, "x")];
            for (rules, field) in [
                (runtime::HeaderRules { set: all.clone(), ..Default::default() }, format!("set.{text}")),
                (runtime::HeaderRules { add: all, ..Default::default() }, format!("add.{text}")),
                (
                    runtime::HeaderRules { remove: vec![text.to_owned()], ..Default::default() },
                    "remove[0]".to_owned(),
                ),
            ] {
                assert_eq!(steps(&rules).unwrap_err().field, field, "{text}");
            }
        }
        assert!(!is_protected("Authorization") && !is_protected("Server"));
    }

    #[test]
    fn no_key_travels_in_a_header_that_gateways_write() {
        for bad in ["CDN-Loop", "Host", "X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Prefix"] {
            assert!(!may_carry_key(bad) && key_name(bad).is_err(), "{bad}");
        }
        for good in ["X-API-Key", "Authorization", "X-Forwarded", "\u{e9}"] {
            assert!(may_carry_key(good), "{good}");
        }
    }
}
