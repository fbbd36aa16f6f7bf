//! Segments of literals and parameters.

/// `{base}...{head}`: literals with a parameter of at least one octet between each two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mixed {
    /// `n + 1` literals, some perhaps empty, around `n` parameters; `n ≥ 1`.
    pub(super) literals: Vec<Box<[u8]>>,
}

impl Mixed {
    /// With these literals around its parameters.
    pub(super) fn new(literals: Vec<Box<[u8]>>) -> Self {
        Self { literals }
    }

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
    pub(super) fn has_parameters(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use crate::{Template, TemplateSegment};

    #[test]
    fn mixed_segments_match_by_their_literals() {
        let check = |template: &str, segment: &str, wanted: bool| {
            let template = Template::parse(&format!("/{template}")).unwrap();
            let [TemplateSegment::Mixed(mixed)] = template.segments() else { panic!("{template:?}") };
            assert_eq!(mixed.matches(segment.as_bytes()), wanted, "{template:?} {segment}");
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
        check("{a}-{b}-{c}", "1-2-3", true);
        check("{a}-{b}-{c}", "1--3", false);
    }
}
