//! `If-Match` and `If-None-Match` (RFC 9110 §13.1): an ETag is the revision of a resource's last change.

use hanse_state::{Problem, ProblemName, ResourceKey, Revision, State};
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
            (Some(Tags::Strong(revisions)), None) => Ok(Self::OneOf(revisions)),
            (None, Some(Tags::Any)) => Ok(Self::Absent),
            (None, Some(Tags::Strong(_))) => Err(bad_request("a write's If-None-Match can only be *")
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

/// Whether a read's `If-None-Match` names `revision`: the caller has it already.
pub(crate) fn not_modified(headers: &HeaderMap, revision: Revision) -> Result<bool, Problem> {
    Ok(match tags(headers, header::IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::Strong(revisions)) => revisions.contains(&revision),
    })
}

/// A revision as an ETag.
pub(crate) fn etag(revision: Revision) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("digits in quotes are a header value")
}

enum Tags {
    Any,
    /// Tags that are not revisions match nothing, nor do weak ones.
    Strong(Vec<Revision>),
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
    let mut revisions = Vec::new();
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
            if opaque == tag
                && let Ok(revision) = inner.parse()
            {
                revisions.push(revision);
            }
        }
    }
    Ok(given.then_some(Tags::Strong(revisions)))
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
        check(&[(header::IF_MATCH, "\"abc\"")], Some(Expectation::OneOf(vec![])));
        check(&[(header::IF_MATCH, "*")], Some(Expectation::Present));
        check(&[(header::IF_NONE_MATCH, "*")], Some(Expectation::Absent));
        check(&[(header::IF_NONE_MATCH, "\"7\"")], None);
        check(&[(header::IF_MATCH, "7")], None);
        check(&[(header::IF_MATCH, "")], None);
        check(&[(header::IF_MATCH, "*"), (header::IF_NONE_MATCH, "*")], None);
    }
}
