//! Path parameters that take several segments. OpenAPI has no word for them, and documents have words of their own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{option, shortened};
use crate::import::{
    files::Place,
    greedy::{GREEDY, Widening, lost, widened},
    operations::Operation,
    problem::printable,
};

/// What a parameter has that takes several segments, in GitHub's documents.
const SEVERAL: &str = "x-multi-segment";

/// Whether the first of `parameters` that is the last one of the path says that it takes several segments. Each item is a list.
pub(in crate::import) fn says_several<'p>(path: &str, parameters: impl Iterator<Item = &'p Place>) -> bool {
    let Some((name, _)) = widened(path) else { return false };
    let is = |parameter: &Place, key: &str, wanted: &str| parameter.below(key).value() == wanted;
    parameters
        .flat_map(Place::items)
        .map(|parameter| parameter.within_file())
        .find(|parameter| is(parameter, "in", "path") && is(parameter, "name", name))
        .is_some_and(|parameter| *parameter.below(SEVERAL).value() == Value::Bool(true))
}

/// Lines about paths that are not widened, and whose last parameter may take several segments.
pub(super) fn advice(operations: &[Operation]) -> Vec<String> {
    let mut paths: BTreeMap<&str, bool> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.documented == operation.spec.path) {
        *paths.entry(&operation.documented).or_default() |= operation.says_several;
    }
    let after: Vec<_> = paths.keys().map(|path| (*path, after_resource(path))).collect();
    if after.iter().any(|(_, after)| after.is_some_and(|after| after.starts_with(':'))) {
        paths.extend(after.iter().filter(|(_, after)| after.is_some()).map(|(path, _)| (*path, true)));
    }
    let mut is_each: BTreeMap<&str, bool> = BTreeMap::new();
    let named: Vec<_> =
        paths.iter().filter_map(|(path, several)| Some((*path, widened(path)?.0, *several))).collect();
    for (_, name, several) in &named {
        *is_each.entry(*name).or_insert(true) &= several;
    }
    let several = || named.iter().filter(|(.., several)| *several);
    let values: BTreeSet<&str> = several()
        .map(|(path, name, _)| if is_each[name] { *name } else { *path })
        // The option takes several, with commas between them; and a terminal shows what will be pasted.
        .filter(|value| !value.contains(',') && printable(value) == *value)
        .collect();
    if values.is_empty() {
        return Vec::new();
    }
    let values: Vec<_> = values.into_iter().map(str::to_owned).collect();
    let (heading, option) = if is_refused(&values, operations) {
        (
            "these path parameters may take several segments, but not all of them at once; choose by --greedy:",
            None,
        )
    } else {
        (
            "these path parameters may take several segments; to let them:",
            Some(option(GREEDY, &values.join(","))),
        )
    };
    let places: Vec<_> = several()
        .map(|(path, name, _)| format!("    {} of {}", printable(&format!("{{{name}}}")), printable(path)))
        .collect();
    [heading.to_owned()].into_iter().chain(option).chain(shortened(places.into_iter())).collect()
}

/// Whether the import would refuse these values beside what is widened already.
fn is_refused(values: &[String], operations: &[Operation]) -> bool {
    let documented = operations.iter().map(|operation| operation.documented.as_str());
    let widening = Widening::of(values, documented.map(|path| (path, path)));
    let matched: Vec<_> = operations
        .iter()
        .map(|operation| {
            widening.widened(&operation.documented).unwrap_or_else(|| operation.spec.path.clone())
        })
        .collect();
    let documented = operations.iter().map(|operation| operation.documented.as_str());
    !lost(documented.zip(matched.iter().map(String::as_str))).is_empty()
}

/// What follows the only parameter of a path that stands right below the version, as resource names do in Google's APIs: `:run` of
/// `/v1/{name}:run`, `/shelves` of `/v1/{parent}/shelves`. If a document has one with a `:`, all of them are names of several segments.
fn after_resource(path: &str) -> Option<&str> {
    let (version, parameter) = path.strip_prefix("/v")?.split_once("/{")?;
    let (_, after) = parameter.split_once('}')?;
    let is_version = version.starts_with(|first: char| first.is_ascii_digit()) && !version.contains('/');
    (is_version && !after.contains('{')).then_some(after)
}
