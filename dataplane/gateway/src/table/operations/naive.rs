//! What the tree must agree with: templates as texts, each compared by itself.

use std::{cmp::Reverse, ops::Range};

use hanse_runtime::{Compared, Tail, Template, TemplateSegment};
use proptest::prelude::*;

/// A part of a template, in order of precedence.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Of two that fit, the longer one is the whole segment.
    Literal(Reverse<usize>),
    Other(TemplateSegment),
    Tail(Tail),
}

/// The best by precedence of the templates that fit `path`.
pub(crate) fn find<'a>(templates: &[&'a str], path: &str, by: Compared) -> Option<&'a str> {
    let fitting = templates.iter().filter(|template| fits(template, path, by));
    fitting.min_by_key(|text| steps(text)).copied()
}

fn steps(template: &str) -> Vec<Step> {
    let (segments, tail) = Template::parse(template).unwrap().into_parts();
    let step = |segment| match segment {
        TemplateSegment::Literal(octets) => Step::Literal(Reverse(octets.len())),
        TemplateSegment::Mixed(_) | TemplateSegment::Parameter => Step::Other(segment),
    };
    segments.into_iter().map(step).chain(tail.map(Step::Tail)).collect()
}

fn fits(template: &str, path: &str, by: Compared) -> bool {
    let (before, tail) = match (template.strip_suffix("/*"), template.find('+')) {
        (Some(before), _) => (before, Some("*")),
        (None, Some(plus)) => {
            let slash = template[..plus].rfind('/').unwrap();
            (&template[..slash], Some(&template[slash + 1..]))
        }
        (None, None) => (template, None),
    };
    let patterns: Vec<&str> = before.split('/').skip(1).collect();
    let octets: Vec<&str> = path.split('/').skip(1).collect();
    let Some((head, rest)) = octets.split_at_checked(patterns.len()) else { return false };
    let ends = match tail {
        None => rest.is_empty(),
        Some("*") => true,
        Some(pattern) => !rest.is_empty() && compare(pattern, &rest.join("/"), by),
    };
    ends && patterns.iter().zip(head).all(|(pattern, octets)| compare(pattern, octets, by))
}

/// Where the pattern has no `;`, those of the request may not count.
fn compare(pattern: &str, octets: &str, by: Compared) -> bool {
    if by == Compared::Plain && !pattern.contains(';') {
        is(pattern, &plain(octets))
    } else {
        is(pattern, octets)
    }
}

/// `{p}` takes one octet or more, all else itself.
fn is(pattern: &str, octets: &str) -> bool {
    let Some((before, parameter)) = pattern.split_once('{') else { return pattern == octets };
    let (_, after) = parameter.split_once('}').unwrap();
    octets.strip_prefix(before).is_some_and(|rest| (1..=rest.len()).any(|end| is(after, &rest[end..])))
}

/// Segments without their parameters.
pub(crate) fn plain(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').map(|segment| segment.split(';').next().unwrap()).collect();
    segments.join("/")
}

/// Templates of few octets, so that requests of few octets meet them. They have so many segments before a tail.
pub(crate) fn path_template(segments: Range<usize>) -> impl Strategy<Value = String> {
    let tail = prop_oneof![
        6 => Just(""),
        1 => Just("/*"),
        2 => prop_oneof![Just("/{p+}"), Just("/a{p+}"), Just("/{p+}b"), Just("/{p+}-b/a"), Just("/{p+}/"), Just("/{p+};x=1")],
    ];
    (proptest::collection::vec(segment(), segments), tail).prop_map(|(segments, tail)| {
        let segments: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        match segments + tail {
            empty if empty.is_empty() => "/".to_owned(),
            path => path,
        }
    })
}

fn segment() -> impl Strategy<Value = String> {
    let mixed = prop_oneof![Just("{p}-{q}"), Just("a{p}"), Just("{p}b"), Just("{p}-b"), Just("{p};x={q}")];
    prop_oneof![
        4 => "[ab]{1,2}",
        1 => Just(String::new()),
        1 => Just("a;x=1".to_owned()),
        3 => Just("{p}".to_owned()),
        2 => mixed.prop_map(str::to_owned),
    ]
}

/// A segment of a request. A segment with parameters is not empty before them: such a request is refused before.
pub(crate) fn request_segment() -> impl Strategy<Value = String> {
    let parameters = prop_oneof![3 => Just(""), 1 => Just(";"), 1 => Just(";x=1"), 1 => Just(";b-b")];
    ("[ab-]{0,3}", parameters)
        .prop_map(|(own, parameters)| if own.is_empty() { own } else { own + parameters })
}
