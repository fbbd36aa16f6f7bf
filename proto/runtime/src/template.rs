//! Path templates: `/repos/{owner}/{repo}/compare/{base}...{head}`, segment by segment.

use crate::path::{self, without_parameters};

/// A path template. Templates are equal if they match the same requests, whatever their parameters are called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Template(Vec<TemplateSegment>);

impl Template {
    /// Takes a template apart. `/` is one empty literal, and a final `/` is an empty last segment: nothing is folded.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix('/').ok_or("must start with '/'")?;
        rest.split('/').map(parse_segment).collect::<Result<_, _>>().map(Self)
    }

    /// Its segments, the first one first.
    pub fn segments(&self) -> &[TemplateSegment] {
        &self.0
    }

    /// The same, as their own.
    pub fn into_segments(self) -> Vec<TemplateSegment> {
        self.0
    }
}

/// One segment of a template. The order of the variants is their precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TemplateSegment {
    /// Equal octets, in canonical form.
    Literal(Box<[u8]>),
    /// Literals and parameters in one segment.
    Mixed(Mixed),
    /// `{name}`: anything but nothing.
    Parameter,
}

impl TemplateSegment {
    /// Whether a segment of a request, in canonical form, fits. Literals are compared with the segment without its `;` parameters
    /// also, as many upstreams compare. A mixed segment is compared without them only: `/x;y.json` is `/x` there, and no `{name}.json`.
    /// Literals that have a `;` themselves are compared with the whole segment.
    pub fn matches(&self, segment: &[u8]) -> bool {
        match self {
            Self::Literal(own) => **own == *segment || **own == *without_parameters(segment),
            Self::Mixed(mixed) if mixed.has_parameters() => mixed.matches(segment),
            Self::Mixed(mixed) => mixed.matches(without_parameters(segment)),
            Self::Parameter => !segment.is_empty(),
        }
    }
}

/// `{base}...{head}`: literals with a parameter of at least one octet between each two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mixed {
    /// `n + 1` literals, some perhaps empty, around `n` parameters; `n ≥ 1`.
    literals: Vec<Box<[u8]>>,
}

impl Mixed {
    /// Whether `segment` has this shape.
    pub fn matches(&self, segment: &[u8]) -> bool {
        let [first, middle @ .., last] = self.literals.as_slice() else { return false };
        let Some(mut rest) = segment.strip_prefix(&**first) else { return false };
        for literal in middle {
            // The leftmost occurrence leaves the most for what follows.
            let Some(after_one) = rest.get(1..) else { return false };
            let Some(at) = find(after_one, literal) else { return false };
            rest = &after_one[at + literal.len()..];
        }
        rest.len() > last.len() && rest.ends_with(last)
    }

    /// Whether a literal has a `;`.
    fn has_parameters(&self) -> bool {
        self.literals.iter().any(|literal| literal.contains(&b';'))
    }

    fn literal_octets(&self) -> usize {
        self.literals.iter().map(|literal| literal.len()).sum()
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// The more literal octets the sooner it is tried; the text decides between equals.
impl Ord for Mixed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.literal_octets().cmp(&self.literal_octets()).then_with(|| self.literals.cmp(&other.literals))
    }
}

impl PartialOrd for Mixed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn parse_segment(text: &str) -> Result<TemplateSegment, &'static str> {
    let mut literals = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("'{' without '}'")?;
        if name.is_empty() || name.contains('{') {
            return Err("a parameter needs a name between '{' and '}'");
        }
        literals.push(canonical(literal)?);
        rest = after;
    }
    let last = canonical(rest)?;
    match literals.as_slice() {
        [] => Ok(TemplateSegment::Literal(last)),
        [first] if first.is_empty() && last.is_empty() => Ok(TemplateSegment::Parameter),
        _ => {
            literals.push(last);
            Ok(TemplateSegment::Mixed(Mixed { literals }))
        }
    }
}

fn canonical(literal: &str) -> Result<Box<[u8]>, &'static str> {
    if literal.contains('}') {
        return Err("'}' without '{'");
    }
    path::canonical(literal)
        .map(|octets| octets.into_owned().into())
        .map_err(|_| "malformed percent-encoding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_literal_mixed_or_parameter() {
        let check = |template: &str, wanted: &str| {
            let kinds: String = Template::parse(template)
                .unwrap()
                .segments()
                .iter()
                .map(|segment| match segment {
                    TemplateSegment::Literal(_) => 'l',
                    TemplateSegment::Mixed(_) => 'm',
                    TemplateSegment::Parameter => 'p',
                })
                .collect();
            assert_eq!(kinds, wanted, "{template}");
        };
        check("/", "l");
        check("/orders", "l");
        check("/orders/", "ll");
        check("/orders/{id}", "lp");
        check("/compare/{base}...{head}", "lm");
        check("/{a}{b}", "m");
        check("/v{major}", "m");
    }

    #[test]
    fn broken_templates_are_named() {
        for broken in ["", "orders", "/{", "/{}", "/a}", "/{a{b}}", "/%zz"] {
            assert!(Template::parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn mixed_segments_match_by_their_literals() {
        let check = |template: &str, segment: &str, wanted: bool| {
            let TemplateSegment::Mixed(mixed) = parse_segment(template).unwrap() else {
                panic!("{template}")
            };
            assert_eq!(mixed.matches(segment.as_bytes()), wanted, "{template} {segment}");
        };
        check("{base}...{head}", "main...dev", true);
        check("{base}...{head}", "a...b...c", true);
        check("{base}...{head}", "...dev", false);
        check("{base}...{head}", "main...", false);
        check("{base}...{head}", "....dev", true); // "." and "dev"
        check("{base}...{head}", "main", false);
        check("v{n}", "v1", true);
        check("v{n}", "v", false);
        check("{name}.json", "a.json", true);
        check("{name}.json", ".json", false);
        check("{a}{b}", "x", false);
        check("{a}{b}", "xy", true);
        check("{a}-{b}-{c}", "1-2-3", true);
        check("{a}-{b}-{c}", "1--3", false);
    }
}
