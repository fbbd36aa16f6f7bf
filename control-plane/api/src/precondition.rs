//! `If-Match` and `If-None-Match` (RFC 9110 §13.1).
//!
//! An ETag is the revision of a resource's last change: `"42"`.

use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Revision};
use hanse_state::State;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::rejection::bad_request;

/// What a write expects to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// It says nothing.
    Nothing,
    /// `If-None-Match: *`: no such resource.
    Absent,
    /// `If-Match: *`: some such resource.
    Present,
    /// `If-Match: "1", "2"`: the resource at one of these revisions.
    OneOf(Vec<Revision>),
}

impl Expectation {
    /// Reads the headers of a write.
    pub(crate) fn of_write(headers: &HeaderMap) -> Result<Self, Problem> {
        match (tags(headers, header::IF_MATCH)?, tags(headers, header::IF_NONE_MATCH)?) {
            (None, None) => Ok(Self::Nothing),
            (Some(Tags::Any), None) => Ok(Self::Present),
            (Some(Tags::Listed(tags)), None) => {
                Ok(Self::OneOf(tags.iter().filter_map(Tag::revision_expected).collect()))
            }
            (None, Some(Tags::Any)) => Ok(Self::Absent),
            (None, Some(Tags::Listed(_))) => Err(bad_request("a write's If-None-Match can only be *")
                .at("header: If-None-Match")
                .remedy("use If-None-Match: * to create, If-Match: \"N\" to replace")),
            (Some(_), Some(_)) => Err(bad_request("If-Match and If-None-Match exclude each other")
                .at("header: If-None-Match")
                .remedy("give one of them")),
        }
    }

    /// The revision `key` has in `state`, if that is one expected.
    pub(crate) fn choose(&self, state: &State, key: &ResourceKey) -> Result<Revision, Problem> {
        let present = state.get(key).map(|resource| resource.metadata.revision);
        match (self, present) {
            (Self::Present, Some(revision)) => Ok(revision),
            (Self::OneOf(revisions), Some(revision)) if revisions.contains(&revision) => Ok(revision),
            (_, present) => {
                let now = present
                    .map_or_else(|| "does not exist".to_owned(), |now| format!("is at revision {now}"));
                Err(Problem::new(ProblemName::Stale, format!("{key} {now}"))
                    .at("header: If-Match")
                    .remedy("get it, redo the change on what is there, and send its ETag as If-Match"))
            }
        }
    }
}

/// Whether a read's `If-None-Match` names `etag`: the caller has it already. The comparison is weak (RFC 9110 §13.1.2):
/// a proxy that compressed an answer made its tag weak.
///
/// A kind whose status changes without its ETag is always shown.
pub(crate) fn not_modified(headers: &HeaderMap, kind: Kind, etag: &HeaderValue) -> Result<bool, Problem> {
    Ok(match tags(headers, header::IF_NONE_MATCH)? {
        None => false,
        Some(_) if !kind.etag_covers_status() => false,
        Some(Tags::Any) => true,
        Some(Tags::Listed(tags)) => tags.iter().any(|tag| format!("\"{}\"", tag.opaque) == *etag),
    })
}

/// The ETag of a resource last changed at `revision`.
pub(crate) fn etag(revision: Revision) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("digits in quotes are a header value")
}

enum Tags {
    Any,
    Listed(Vec<Tag>),
}

/// `"42"`, `W/"42"`.
struct Tag {
    weak: bool,
    opaque: String,
}

impl Tag {
    /// The revision that it expects as an `If-Match`, which compares strongly (RFC 9110 §13.1.1). Tags that are not ours
    /// match nothing.
    fn revision_expected(&self) -> Option<Revision> {
        self.opaque.parse().ok().filter(|_| !self.weak)
    }
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
    let mut listed = Vec::new();
    let mut given = false;
    for value in headers.get_all(&name) {
        given = true;
        let refuse = || {
            bad_request(format!("{value:?} is not an ETag"))
                .at(format!(
                    "header: {}",
                    if name == header::IF_MATCH { "If-Match" } else { "If-None-Match" }
                ))
                .remedy("write * or revisions in double quotes: \"42\"")
        };
        for tag in value.to_str().map_err(|_| refuse())?.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(Some(Tags::Any));
            }
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            let inner =
                opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(refuse)?;
            listed.push(Tag { weak: opaque != tag, opaque: inner.to_owned() });
        }
    }
    Ok(given.then_some(Tags::Listed(listed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_read_from_headers() {
        let check = |pairs: &[(HeaderName, &str)], expected: Option<Expectation>| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(Expectation::of_write(&headers).ok(), expected, "{pairs:?}");
        };
        check(&[], Some(Expectation::Nothing));
        check(&[(header::IF_MATCH, "\"7\"")], Some(Expectation::OneOf(vec![7])));
        check(&[(header::IF_MATCH, "\"7\", \"9\"")], Some(Expectation::OneOf(vec![7, 9])));
        check(
            &[(header::IF_MATCH, "\"7\""), (header::IF_MATCH, "\"9\"")],
            Some(Expectation::OneOf(vec![7, 9])),
        );
        check(&[(header::IF_MATCH, "W/\"7\"")], Some(Expectation::OneOf(vec![])));
        for odd in ["\"abc\"", "\"7.\"", "\"7.3\"", "\"-7\""] {
            check(&[(header::IF_MATCH, odd)], Some(Expectation::OneOf(vec![])));
        }
        check(&[(header::IF_MATCH, "*")], Some(Expectation::Present));
        check(&[(header::IF_NONE_MATCH, "*")], Some(Expectation::Absent));
        check(&[(header::IF_NONE_MATCH, "\"7\"")], None);
        check(&[(header::IF_MATCH, "7")], None);
        check(&[(header::IF_MATCH, "")], None);
        check(&[(header::IF_MATCH, "*"), (header::IF_NONE_MATCH, "*")], None);
    }

    #[test]
    fn a_read_compares_tags_weakly_and_always_shows_an_api() {
        let check = |kind: Kind, given: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_str(given).unwrap());
            assert_eq!(not_modified(&headers, kind, &etag(7)).unwrap(), expected, "{kind} {given}");
        };
        for (given, expected) in
            [("\"7\"", true), ("W/\"7\"", true), ("\"6\", \"7\"", true), ("*", true), ("\"8\"", false)]
        {
            check(Kind::Plan, given, expected);
            check(Kind::Api, given, false);
        }
    }
}
