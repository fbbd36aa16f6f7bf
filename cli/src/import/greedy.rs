//! `--greedy`: paths whose last parameter takes several segments.
//!
//! Gateways try a parameter of several segments last (docs/manifests.md). So a path that is widened may lose requests to another
//! one, which it went before. The rule: paths that match the same requests are widened together, and an option by which a path
//! would lose requests is refused.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::{Problem, ProblemName, Template, shape};

use super::{ImportProblem, problem::printable};

/// The option that widens parameters.
pub(super) const GREEDY: &str = "--greedy";

/// Which paths are widened.
pub(super) struct Widening {
    /// What they match as they are documented.
    shapes: BTreeSet<Template>,
    /// What the option names and no path has.
    idle: Vec<String>,
}

impl Widening {
    /// Of `paths`, those whose last parameter `greedy` names, or which it names as a whole; and those that match the same requests.
    pub(super) fn of<'p>(greedy: &[String], paths: impl Iterator<Item = &'p str>) -> Self {
        let mut idle: BTreeSet<&str> = greedy.iter().map(String::as_str).collect();
        let mut shapes = BTreeSet::new();
        for path in paths {
            let Some((name, _)) = widened(path) else { continue };
            let mut names = greedy.iter().filter(|one| **one == name || **one == path).peekable();
            if names.peek().is_some() {
                names.for_each(|one| _ = idle.remove(one.as_str()));
                shapes.extend(shape(path));
            }
        }
        Self { shapes, idle: idle.into_iter().map(str::to_owned).collect() }
    }

    /// The path as it is to be matched, if it is widened.
    pub(super) fn widened(&self, path: &str) -> Option<String> {
        if self.shapes.is_empty() || !self.shapes.contains(&shape(path).ok()?) {
            return None;
        }
        widened(path).map(|(_, wide)| wide)
    }

    /// What the option names in vain.
    pub(super) fn idle(&self) -> impl Iterator<Item = ImportProblem> {
        self.idle.iter().map(|name| {
            let is_path = name.starts_with('/');
            let named = if is_path { name.clone() } else { format!("{{{name}}}") };
            let (place, what) = if is_path {
                ("no path", "a path whose last parameter is")
            } else {
                ("in no path", "a parameter that is the last of its path and")
            };
            problem(
                format!("{} is {place} that can be widened", printable(&named)),
                format!("name {what} the only one in its segment"),
            )
        })
    }
}

/// The last parameter of a path, and the path in which it takes several segments. `None`: it has none that can (docs/manifests.md).
pub(super) fn widened(path: &str) -> Option<(&str, String)> {
    let (before, rest) = path.rsplit_once('{')?;
    let (name, after) = rest.split_once('}')?;
    let wide = format!("{before}{{{name}+}}{after}");
    (!name.ends_with('+') && shape(&wide).is_ok()).then_some((name, wide))
}

/// A path as it is documented and as it is matched.
struct Known<'p> {
    documented: &'p str,
    matched: &'p str,
    /// What both match.
    before: Template,
    after: Template,
}

impl Known<'_> {
    /// Whether it loses requests to a path that it went before, and that is now matched by `after`.
    fn loses_to(&self, other: &Self, after: &Template) -> bool {
        self.before.precedes(&other.before) && after.precedes(&self.after) && self.before.overlaps(after)
    }
}

/// For each widened path that would lose requests, a problem with one that would take them. `widened` has the documented path of
/// each, and `matched` all paths of the document as they are matched.
pub(super) fn lost<'p>(
    widened: &'p BTreeMap<String, String>,
    matched: impl Iterator<Item = &'p str>,
) -> Vec<ImportProblem> {
    let mut known = Vec::new();
    if widened.is_empty() {
        return Vec::new();
    }
    for matched in matched.collect::<BTreeSet<_>>() {
        let documented = widened.get(matched).map_or(matched, String::as_str);
        if let (Ok(before), Ok(after)) = (shape(documented), shape(matched)) {
            known.push(Known { documented, matched, before, after });
        }
    }
    // Only paths with the same segments before the parameter change places with it.
    let mut wide: BTreeMap<&[_], Vec<&Known<'_>>> = BTreeMap::new();
    for path in known.iter().filter(|path| path.documented != path.matched) {
        wide.entry(path.after.segments()).or_default().push(path);
    }
    let mut lost = BTreeMap::new();
    for other in &known {
        let segments = other.after.segments();
        for at in 0..=segments.len() {
            for path in wide.get(&segments[..at]).into_iter().flatten() {
                if path.loses_to(other, &other.after) {
                    lost.entry(path.documented).or_insert_with(|| loses(path, other));
                }
            }
        }
    }
    lost.into_values().collect()
}

/// That `path` loses requests to `other`.
fn loses(path: &Known<'_>, other: &Known<'_>) -> ImportProblem {
    let why = format!(
        "{} would lose requests to {}, which gateways try before {}",
        printable(path.documented),
        printable(other.matched),
        printable(path.matched)
    );
    let wide = widened(other.matched).and_then(|(_, wide)| shape(&wide).ok());
    let fix = match wide {
        Some(wide) if !path.loses_to(other, &wide) => format!("name {} as well", printable(other.matched)),
        _ => format!("name the paths to be widened, without {}", printable(path.documented)),
    };
    problem(why, fix)
}

fn problem(why: String, fix: impl Into<String>) -> ImportProblem {
    ImportProblem::of_option(GREEDY, Problem::new(ProblemName::Invalid, why).remedy(fix))
}
