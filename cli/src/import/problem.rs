//! What is wrong with one part of a description.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use hanse_management::Problem;

use super::files::Place;

/// A part of a description that cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImportProblem {
    /// Where: a JSON pointer (RFC 6901).
    pub(crate) place: String,
    /// The operation, `GET /users/{id}`, or the path of a whole path item. `None`: the document itself is at fault.
    pub(crate) operation: Option<String>,
    /// What is wrong.
    pub(crate) why: String,
    /// What to do.
    pub(crate) fix: String,
    /// Whether what that part says is not known: a file of it cannot be read, or a bound was met.
    is_unread: bool,
    /// What the problem has in common with others, of which one is told.
    cause: Option<&'static str>,
    /// The option with which the document can be imported as it is.
    option: Option<&'static str>,
}

impl ImportProblem {
    /// Of the document itself.
    pub(super) fn new(place: &Place, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::at(place.to_string(), why.into(), fix.into())
    }

    /// Of the command line.
    pub(super) fn of_option(option: &str, problem: Problem) -> Self {
        Self::at(option.to_owned(), problem.detail, problem.remedy)
    }

    fn at(place: String, why: String, fix: String) -> Self {
        Self { place, operation: None, why, fix, is_unread: false, cause: None, option: None }
    }

    /// Of what cannot be read.
    pub(super) fn unread(self) -> Self {
        Self { is_unread: true, ..self }
    }

    /// Of a cause that other problems have as well.
    pub(super) fn because(self, cause: &'static str) -> Self {
        Self { cause: Some(cause), ..self }
    }

    /// Of what an option says in the document's place.
    pub(super) fn unless(self, option: &'static str) -> Self {
        Self { option: Some(option), ..self }
    }

    /// Of one operation or path item.
    pub(super) fn of(self, operation: &str) -> Self {
        Self { operation: Some(operation.to_owned()), ..self }
    }

    /// Whether the command line is at fault, and not the document.
    pub(crate) fn is_of_option(&self) -> bool {
        self.place.starts_with("--")
    }

    /// The option with which the document can be imported as it is. `others`: operations without problems are left.
    pub(super) fn option(&self, others: bool) -> Option<&'static str> {
        self.option.or((others && self.can_be_left_out()).then_some("--skip-unusable"))
    }

    /// Whether its operation can be left out. An operation that could not be read may be a sound one.
    pub(super) fn can_be_left_out(&self) -> bool {
        self.operation.is_some() && !self.is_unread
    }
}

/// The first problem of each cause, with the count of the others, and all that have no cause in common.
pub(super) fn together(problems: Vec<ImportProblem>) -> Vec<ImportProblem> {
    let mut told: Vec<ImportProblem> = Vec::new();
    let mut firsts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for problem in problems {
        match problem.cause.map(|cause| firsts.entry(cause)) {
            Some(Entry::Occupied(mut first)) => first.get_mut().1 += 1,
            Some(Entry::Vacant(first)) => {
                first.insert((told.len(), 0));
                told.push(problem);
            }
            None => told.push(problem),
        }
    }
    for (at, others) in firsts.into_values().filter(|(_, others)| *others > 0) {
        told[at].why += &match others {
            1 => ", as does 1 other".to_owned(),
            others => format!(", as do {others} others"),
        };
    }
    told
}

impl fmt::Display for ImportProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, operation, why, fix, .. } = self;
        if let Some(operation) = operation {
            write!(f, "{}  ", printable(operation))?;
        }
        write!(f, "{}: {}; {}", printable(place), printable(why), printable(fix))
    }
}

/// Text of a document as a terminal may show it: characters are escaped that command a terminal, or that make text look like
/// another.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        if character.is_control() || is_invisible(character) {
            shown.extend(character.escape_debug());
        } else {
            shown.push(character);
        }
        shown
    })
}

/// Zero-width characters, and those that turn the direction of text.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
