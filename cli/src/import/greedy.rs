//! `--greedy`: paths whose last parameter takes several segments.
//!
//! Gateways try a parameter of several segments last (docs/manifests.md), and a path that has one fits more requests. So an
//! option may move requests from one operation to another. The rule: paths that match the same requests are widened together, and
//! an option by which a path would lose requests is refused. Example: with `/users/me/{path+}`, `DELETE /users/me/photos/7` is no
//! longer one of `/users/{id}/photos/{photo}`.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::{Problem, ProblemName, Template, shape};

use super::{ImportProblem, problem::printable};

/// The option that widens parameters.
pub(super) const GREEDY: &str = "--greedy";

/// How many paths a problem names: a person mends them one by one.
const NAMED: usize = 5;

/// Which paths are widened.
pub(super) struct Widening {
    /// What they match as they are documented.
    shapes: BTreeSet<Template>,
    /// What the option names and no path has.
    idle: Vec<String>,
}

impl Widening {
    /// Of `paths`, those whose last parameter `greedy` names, or which it names as a whole; and those that match the same requests.
    /// Each is the document's key, and the path of it.
    pub(super) fn of<'p>(greedy: &[String], paths: impl Iterator<Item = (&'p str, &'p str)>) -> Self {
        let mut idle: BTreeSet<&str> = greedy.iter().map(String::as_str).collect();
        let mut shapes = BTreeSet::new();
        for (key, path) in paths {
            let own = shape(path);
            // A path with a fault has a problem of its own, and the option is none.
            let Some((name, _)) = last_parameter(path).filter(|_| own.is_err() || widened(path).is_some())
            else {
                continue;
            };
            let mut names = greedy.iter().filter(|one| [name, path, key].contains(&one.as_str())).peekable();
            if names.peek().is_some() {
                names.for_each(|one| _ = idle.remove(one.as_str()));
                shapes.extend(own);
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
    let (name, after) = last_parameter(path)?;
    let before = &path[..path.len() - after.len() - name.len() - 2];
    let wide = format!("{before}{{{name}+}}{after}");
    (!name.ends_with('+') && shape(&wide).is_ok()).then_some((name, wide))
}

/// The name of the last parameter, and what follows it.
fn last_parameter(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('{')?.1.split_once('}')
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
    fn is_widened(&self) -> bool {
        self.documented != self.matched
    }

    /// Whether requests that it had as documented go to `other` now. A path that is documented with a tail takes what others leave:
    /// it loses nothing.
    fn loses_to(&self, other: &Self) -> bool {
        let had = self.before.precedes(&other.before)
            || other.is_widened() && self.before.segments().len() != other.before.segments().len();
        had && self.before.tail().is_none()
            && other.after.precedes(&self.after)
            && self.before.overlaps(&other.after)
    }
}

/// For each path that would lose requests, a problem with the paths that would take them. `paths` has each as it is documented and as
/// it is matched.
pub(super) fn lost<'p>(paths: impl Iterator<Item = (&'p str, &'p str)>) -> Vec<ImportProblem> {
    let mut known = Vec::new();
    for (documented, matched) in paths.collect::<BTreeSet<_>>() {
        if let (Ok(before), Ok(after)) = (shape(documented), shape(matched)) {
            known.push(Known { documented, matched, before, after });
        }
    }
    let mut lost: BTreeMap<&str, (&Known<'_>, Vec<&Known<'_>>)> = BTreeMap::new();
    for wide in known.iter().filter(|path| path.is_widened()) {
        for other in &known {
            let pairs = [(wide, other), (other, wide)];
            // Where both are widened, each comes first once.
            let pairs = if other.is_widened() { &pairs[..1] } else { &pairs[..] };
            for (path, taker) in pairs.iter().filter(|(path, taker)| path.loses_to(taker)) {
                lost.entry(path.documented).or_insert((path, Vec::new())).1.push(taker);
            }
        }
    }
    lost.into_values().map(|(path, takers)| loses(path, &takers)).collect()
}

/// That `path` loses requests to `takers`.
fn loses(path: &Known<'_>, takers: &[&Known<'_>]) -> ImportProblem {
    let named = |paths: Vec<String>| {
        let more = paths.len().saturating_sub(NAMED);
        let first: Vec<_> = paths.into_iter().take(NAMED).collect();
        let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
        first.join(", ") + &rest
    };
    let documented = || named(takers.iter().map(|taker| printable(taker.documented)).collect());
    let why = format!(
        "{} would lose requests to {}",
        printable(path.documented),
        named(takers.iter().map(|taker| printable(taker.matched)).collect())
    );
    let leaves_them = |taker: &&Known<'_>| {
        let wide = widened(taker.documented).and_then(|(_, wide)| Some((shape(&wide).ok()?, wide)));
        wide.is_some_and(|(after, matched)| {
            let wide = Known { matched: &matched, before: taker.before.clone(), after, ..**taker };
            !taker.is_widened() && !path.loses_to(&wide)
        })
    };
    let fix = if path.is_widened() && takers.iter().all(leaves_them) {
        format!("name {} as well", documented())
    } else if path.is_widened() {
        format!("name the paths to be widened, without {}", printable(path.documented))
    } else {
        format!("name the paths to be widened, without {}", documented())
    };
    problem(why, fix)
}

fn problem(why: String, fix: impl Into<String>) -> ImportProblem {
    ImportProblem::of_option(GREEDY, Problem::new(ProblemName::Invalid, why).remedy(fix))
}

#[cfg(test)]
mod tests;
