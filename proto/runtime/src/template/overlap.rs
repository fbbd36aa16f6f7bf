//! Two templates that fit one request.

use std::cmp::Ordering;

use super::{Greedy, Mixed, Tail, Template, TemplateSegment};
use crate::path::without_parameters;

impl Template {
    /// Whether a request may fit both. Parameters of segments behind a `;` may make it say so where none does.
    pub fn overlaps(&self, other: &Self) -> bool {
        let common = self.segments.len().min(other.segments.len());
        let ((own, own_rest), (others, others_rest)) =
            (self.segments.split_at(common), other.segments.split_at(common));
        own.iter().zip(others).all(|(own, other)| own.overlaps(other))
            && match (own_rest, others_rest) {
                ([], rest) => ends_overlap(self.tail.as_ref(), rest, other.tail.as_ref()),
                (rest, _) => ends_overlap(other.tail.as_ref(), rest, self.tail.as_ref()),
            }
    }

    /// Whether a gateway takes this one for a request that fits both.
    pub fn precedes(&self, other: &Self) -> bool {
        match self.segments.iter().zip(&other.segments).find(|(own, other)| own != other) {
            Some((TemplateSegment::Literal(own), TemplateSegment::Literal(other))) => own.len() > other.len(),
            Some((own, other)) => own < other,
            // Of two that fit, the one with fewer segments has a tail.
            None => match self.segments.len().cmp(&other.segments.len()) {
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal => self.tail < other.tail,
            },
        }
    }
}

/// Of two templates whose first segments overlap: whether the tail of the one may take the further segments of the other, and its
/// tail.
fn ends_overlap(tail: Option<&Tail>, rest: &[TemplateSegment], others: Option<&Tail>) -> bool {
    match (tail, rest, others) {
        (Some(Tail::Rest), _, _) | (_, [], Some(Tail::Rest)) | (None, [], None) => true,
        (Some(Tail::Greedy(own)), [], Some(Tail::Greedy(other))) => own.overlaps(other),
        (Some(Tail::Greedy(own)), rest, others) if !rest.is_empty() => own.may_take(rest, others),
        _ => false,
    }
}

impl TemplateSegment {
    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(own), Self::Literal(other)) => {
                own == other || **own == *without_parameters(other) || *without_parameters(own) == **other
            }
            (Self::Literal(octets), Self::Parameter) | (Self::Parameter, Self::Literal(octets)) => {
                !octets.is_empty()
            }
            (Self::Literal(octets), Self::Mixed(mixed)) | (Self::Mixed(mixed), Self::Literal(octets)) => {
                mixed.has_parameters() || mixed.matches(without_parameters(octets))
            }
            (Self::Mixed(own), Self::Mixed(other)) => own.overlaps(other),
            (Self::Parameter, Self::Mixed(_) | Self::Parameter) | (Self::Mixed(_), Self::Parameter) => true,
        }
    }

    fn may_start_with(&self, start: &[u8]) -> bool {
        match self {
            Self::Literal(octets) => octets.starts_with(start),
            Self::Mixed(mixed) => starts_agree(mixed.ends().0, start),
            Self::Parameter => true,
        }
    }

    fn may_end_with(&self, end: &[u8]) -> bool {
        match self {
            Self::Literal(octets) => without_parameters(octets).ends_with(end),
            Self::Mixed(mixed) => mixed.has_parameters() || ends_agree(mixed.ends().1, end),
            Self::Parameter => true,
        }
    }
}

impl Mixed {
    fn ends(&self) -> (&[u8], &[u8]) {
        match self.literals.as_slice() {
            [first, .., last] => (first, last),
            _ => (b"", b""),
        }
    }

    /// Between the ends, parameters make room for the literals of both.
    fn overlaps(&self, other: &Self) -> bool {
        let ((first, last), (others_first, others_last)) = (self.ends(), other.ends());
        let is_cut = self.has_parameters() || other.has_parameters();
        is_cut || starts_agree(first, others_first) && ends_agree(last, others_last)
    }
}

impl Greedy {
    fn overlaps(&self, other: &Self) -> bool {
        let is_cut = self.has_parameters() || other.has_parameters();
        is_cut || starts_agree(&self.before, &other.before) && ends_agree(&self.after, &other.after)
    }

    /// Whether its literals may be the ends of a template's last segments.
    fn may_take(&self, segments: &[TemplateSegment], tail: Option<&Tail>) -> bool {
        if self.has_parameters() {
            return true;
        }
        let is_start = segments.first().is_some_and(|first| first.may_start_with(&self.before));
        let mut ends: Vec<&[u8]> = self.after.split(|&octet| octet == b'/').collect();
        let in_parameter = ends.remove(0);
        // What a tail takes may end in any way.
        let is_end = tail.is_some()
            || segments.len().checked_sub(ends.len() + 1).is_some_and(|at| {
                let own = &segments[at + 1..];
                segments[at].may_end_with(in_parameter)
                    && own
                        .iter()
                        .zip(&ends)
                        .all(|(own, end)| own.overlaps(&TemplateSegment::Literal((*end).into())))
            });
        is_start && is_end
    }
}

/// Whether a text may start with both.
fn starts_agree(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Whether a text may end with both.
fn ends_agree(one: &[u8], other: &[u8]) -> bool {
    one.ends_with(other) || other.ends_with(one)
}

#[cfg(test)]
mod tests {
    use crate::Template;

    #[test]
    fn templates_overlap_if_a_request_fits_both() {
        let check = |one: &str, other: &str, wanted: bool| {
            let (one, other) = (Template::parse(one).unwrap(), Template::parse(other).unwrap());
            assert_eq!(one.overlaps(&other), wanted, "{one:?} {other:?}");
            assert_eq!(other.overlaps(&one), wanted, "{other:?} {one:?}");
        };
        check("/a", "/a", true);
        check("/a", "/b", false);
        check("/a", "/a/", false);
        check("/a/{id}", "/{b}/c", true);
        check("/a/{id}", "/a/", false);
        check("/a/{id}", "/a/b/c", false);
        check("/{a}:x", "/{b}:y", false);
        check("/{a}:x", "/v{b}", true);
        check("/{a}:x", "/v1:x", true);
        check("/{a}:x", "/%3Ax", false);
        check("/a;v=1", "/a", true);
        check("/{a};v=1", "/{b}.json", true); // a.json;v=1
        check("/a/*", "/a", true);
        check("/a/*", "/{b}/c/d", true);
        check("/a/*", "/b/{c+}", false);
        check("/a/{b+}", "/a", false);
        check("/a/{b+}", "/a/{c}", true);
        check("/a/{b+}/x", "/a/{c}", false);
        check("/a/{b+}/x", "/a/{c}/{d}", true);
        check("/a/{b+}/x", "/a/{c}/y", false);
        check("/a/{b+}:x", "/a/c/{d}:x", true);
        check("/a/{b+}:x", "/a/c/{d}:y", false);
        check("/a/v{b+}", "/a/w{c}/d", false);
        check("/a/{b+}:x", "/a/{c+}:y", false);
        check("/a/{b+}:x", "/a/v{c+}", true);
        check("/a/{b+}", "/a/*", true);
        check("/a/{b+}/x", "/a/c/*", true);
    }

    #[test]
    fn the_more_special_template_goes_before() {
        let in_order = [
            "/v1/a/{id}",
            "/v1/{name}:predict",
            "/v1/{name}:get",
            "/v1/{id}/x",
            "/v1/{id}/{verb}",
            "/v1/{id}",
            "/v1/{id}/{verb+}",
            "/v1/{name+}:get",
            "/v1/{name+}",
            "/v1/*",
            "/{a}/x",
        ];
        let templates = in_order.map(|text| Template::parse(text).unwrap());
        for (at, one) in templates.iter().enumerate() {
            for (after, other) in templates.iter().enumerate() {
                assert_eq!(one.precedes(other), at < after, "{} {}", in_order[at], in_order[after]);
            }
        }
    }
}
