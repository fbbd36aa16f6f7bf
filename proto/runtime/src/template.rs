//! Path templates: `/repos/{owner}/{repo}/compare/{base}...{head}`, segment by segment.

mod grammar;
mod mixed;
mod tail;

pub use grammar::BadTemplate;
pub use mixed::Mixed;
pub use tail::{Greedy, Tail};

use crate::path::without_parameters;

/// A path template. Templates are equal if they match the same requests, whatever their parameters are called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Template {
    segments: Vec<TemplateSegment>,
    tail: Option<Tail>,
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

impl Template {
    /// Its segments before the tail, the first one first.
    pub fn segments(&self) -> &[TemplateSegment] {
        &self.segments
    }

    /// What takes the rest of a path, if anything.
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// Both, as their own.
    pub fn into_parts(self) -> (Vec<TemplateSegment>, Option<Tail>) {
        (self.segments, self.tail)
    }
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

#[cfg(test)]
mod tests;
