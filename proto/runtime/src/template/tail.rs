//! Ends of templates that take more than one segment.

use std::borrow::Cow;

use super::Compared;
use crate::path::plain;

/// What takes the rest of a path, behind the segments of a template. The order of the variants is their precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tail {
    /// `{name+}`: at least one octet.
    Greedy(Greedy),
    /// A final `/*`: everything, also nothing.
    Rest,
}

impl Tail {
    /// Whether `rest` fits: a canonical path behind the `/` that follows the segments. `None`: it has no such `/`.
    pub fn matches(&self, rest: Option<&[u8]>, by: Compared) -> bool {
        match self {
            Self::Greedy(greedy) => rest.is_some_and(|rest| greedy.matches(rest, by)),
            Self::Rest => true,
        }
    }
}

/// `v{name+}/meta`: at least one octet, `/` included, between two literals, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Greedy {
    pub(super) before: Box<[u8]>,
    /// Across segments.
    pub(super) after: Box<[u8]>,
}

impl Greedy {
    pub(super) fn new(before: Box<[u8]>, after: Box<[u8]>) -> Self {
        Self { before, after }
    }

    /// As for a segment of literals and parameters.
    fn matches(&self, rest: &[u8], by: Compared) -> bool {
        let rest = match by {
            Compared::Plain if !self.has_parameters() => plain(rest),
            Compared::Plain | Compared::Whole => Cow::Borrowed(rest),
        };
        let between = rest.strip_prefix(&*self.before).and_then(|rest| rest.strip_suffix(&*self.after));
        between.is_some_and(|between| !between.is_empty())
    }

    /// Whether a literal has a `;`.
    pub(super) fn has_parameters(&self) -> bool {
        self.before.contains(&b';') || self.after.contains(&b';')
    }

    fn literal_octets(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

/// The more literal octets the sooner it is tried; the text decides between equals.
impl Ord for Greedy {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_length = other.literal_octets().cmp(&self.literal_octets());
        by_length.then_with(|| (&self.before, &self.after).cmp(&(&other.before, &other.after)))
    }
}

impl PartialOrd for Greedy {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Compared, Template};

    #[test]
    fn tails_take_the_rest() {
        let check = |template: &str, rest: Option<&str>, wanted: bool| {
            let template = Template::parse(template).unwrap();
            let rest = rest.map(str::as_bytes);
            let found = template.tail().unwrap().matches(rest, Compared::Plain);
            assert_eq!(found, wanted, "{template:?} {rest:?}");
        };
        for rest in [None, Some(""), Some("a"), Some("/"), Some("a/b")] {
            check("/*", rest, true);
        }
        for (rest, wanted) in [(None, false), (Some(""), false), (Some("/"), true), (Some("a/b"), true)] {
            check("/{path+}", rest, wanted);
        }
        check("/v{path+}/meta", Some("va/b/meta"), true);
        check("/v{path+}/meta", Some("v/meta"), false);
        check("/v{path+}/meta", Some("va/meta/"), false);
        check("/v{path+}/meta", Some("v;x/b/meta;y"), true);
        check("/{name+}:predict", Some("a/b:predict"), true);
        check("/{name+}:predict", Some("a/b:predict;x"), true);
        check("/{name+}:predict", Some("a/b;x:predict"), false);
        check("/{name+};v=1", Some("a;v=1"), true);
        check("/{name+};v=1", Some("a;v=2"), false);
        let predict = Template::parse("/{name+}:predict").unwrap();
        assert!(predict.tail().unwrap().matches(Some(b"a/b;x:predict"), Compared::Whole));
    }
}
