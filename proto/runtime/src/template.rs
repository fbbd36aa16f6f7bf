//! Path templates: `/repos/{owner}/{repo}/compare/{base}...{head}`, segment by segment.

mod grammar;
mod mixed;
mod overlap;
mod tail;

pub use grammar::BadTemplate;
pub use mixed::Mixed;
pub use tail::{Greedy, Tail};

use crate::path::without_parameters;

/// A path template. Templates are equal if they match the same requests. Names of parameters do not count.
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

/// What of a request is compared where its segments have parameters behind a `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Segments without their parameters, as many upstreams do. Only literals that have a `;` themselves are compared with
    /// whole segments.
    Plain,
    /// Whole segments.
    Whole,
}

impl TemplateSegment {
    /// Whether a segment of a request, in canonical form, fits. A mixed segment is compared in one way only: without its
    /// parameters, `/x;y.json` is `/x`, and no `{name}.json`.
    pub fn matches(&self, segment: &[u8], by: Compared) -> bool {
        let plain = match by {
            Compared::Plain => without_parameters(segment),
            Compared::Whole => segment,
        };
        match self {
            Self::Literal(own) => **own == *segment || **own == *plain,
            Self::Mixed(mixed) => mixed.matches(if mixed.has_parameters() { segment } else { plain }),
            Self::Parameter => !segment.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests;
