//! A document as a whole: what it is, and what is taken from it.

use std::collections::{BTreeMap, btree_map::Entry};

use hanse_management::{Problem, ProblemName, kinds::OperationSpec, shape};

use super::{
    ImportError, ImportProblem, advice,
    files::{Files, Place},
    judge,
    operations::{self, IN_PARTS, Operation},
    problem::{printable, together},
};
use crate::exit::Failure;

/// The largest document read: GitHub's, the largest in use that we know, has 13 MB; with every reference written out
/// it has 73 MB and says nothing more.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 64 << 20;

/// What the operator wants of a document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Import the operations that can be imported, and leave out the others.
    pub(crate) skip_unusable: bool,
    /// The Api's version, instead of the document's.
    pub(crate) api_version: Option<String>,
    /// Last parameters of paths, or whole paths, that take several segments.
    pub(crate) greedy: Vec<String>,
    /// The Api's base path, judged with the document.
    pub(crate) context: Option<String>,
}

/// What is taken from a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    /// `info.title`.
    pub(crate) title: String,
    /// `info.version`, or the one that is wanted.
    pub(crate) version: String,
    /// Every operation, in the document's order.
    pub(crate) operations: Vec<OperationSpec>,
    /// Each of them as the document knows it: `GET /users/{id} at /paths/~1users~1{id}/get`.
    pub(crate) named: Vec<String>,
    /// How many of them the document calls deprecated.
    pub(crate) deprecated: usize,
    /// What was done otherwise than the document says, one line each.
    pub(crate) notes: Vec<String>,
    /// What the document says of servers and security, as options.
    pub(crate) advice: Vec<String>,
}

/// Reads a document, and what it refers to in the files beside it.
pub(crate) fn document(text: &str, files: Files, wanted: &Wanted) -> Result<Imported, ImportError> {
    let root = Place::root(text, files)?;
    check_openapi(&root)?;
    let mut problems = Vec::new();
    let mut said = |text: Result<String, ImportProblem>| {
        text.unwrap_or_else(|problem| {
            problems.push(problem);
            String::new()
        })
    };
    let title = said(info(&root, "title").and_then(|title| Ok(title.text()?.unwrap_or_default().to_owned())));
    let version = said(version(&root, wanted));
    problems.dedup(); // an `info` that is no mapping has neither
    let context = wanted.context.as_deref().map_or(Ok(()), judge::context);
    problems.extend(context.err().map(|problem| ImportProblem::of_option("--context", problem)));
    let offer = operations::operations(&root, &wanted.greedy);
    problems.extend(offer.problems);
    let (usable, left_out) = (offer.operations.len(), offer.unusable);
    let mut imported = Imported {
        title,
        version,
        notes: advice::shortened(offer.cut.into_iter()).chain(offer.notes).collect(),
        advice: advice::advice(&root, &offer.operations),
        ..Imported::default()
    };
    imported.notes.extend(webhooks(&root));
    imported.take(offer.operations);
    problems.extend(
        judge::operations(&imported.operations)
            .err()
            .map(|problem| ImportProblem::new(&root.below("paths"), problem.detail, IN_PARTS)),
    );
    if problems.is_empty() {
        return Ok(imported);
    }
    let problems = together(problems);
    let can_be_skipped = usable > 0 && problems.iter().all(ImportProblem::can_be_left_out);
    if !(wanted.skip_unusable && can_be_skipped) {
        return Err(ImportError::Problems { problems, unusable: left_out, operations: usable + left_out });
    }
    imported.notes.push(match left_out {
        0 => "passed over:".to_owned(),
        _ => format!("left out {left_out} of {} operations:", usable + left_out),
    });
    imported.notes.extend(problems.iter().map(|problem| format!("  {problem}")));
    Ok(imported)
}

impl Imported {
    /// Takes operations. Of those that match the same requests the first stays, with the first id.
    fn take(&mut self, operations: Vec<Operation>) {
        let (mut seen, mut merged) = (BTreeMap::new(), Vec::new());
        for Operation { spec, name, place, deprecated, .. } in operations {
            let shape = shape(&spec.path).ok();
            match seen.entry((spec.method, shape)) {
                Entry::Vacant(vacant) => {
                    self.named.push(printable(&format!("{name} at {place}")));
                    vacant.insert((self.operations.len(), name));
                    self.deprecated += usize::from(deprecated);
                    self.operations.push(spec);
                }
                Entry::Occupied(first) => {
                    let (at, first) = first.get();
                    let id = &mut self.operations[*at].id;
                    *id = id.take().or(spec.id);
                    merged.push(format!(
                        "merged {} into {}, which matches the same requests",
                        printable(&name),
                        printable(first)
                    ));
                }
            }
        }
        self.notes.extend(advice::shortened(merged.into_iter()));
    }

    /// A refusal of the control plane. An operation that it names by number is named as the document knows it.
    pub(crate) fn located(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast::<Failure>() {
            Ok(mut failure) => {
                // All of the change is too large, and the Api is nearly all of it.
                if failure.problem == Some(ProblemName::TooLarge) && failure.field.is_empty() {
                    IN_PARTS.clone_into(&mut failure.remedy);
                }
                if let Some((field, named)) = self.named_in(&failure.field) {
                    failure.message = failure.message.replacen(field, &named, 1);
                }
                failure.into()
            }
            Err(error) => error,
        }
    }

    /// Of a field, the part about an operation, and the document's name for it: `spec.operations[7].path` is
    /// `GET /users/{id} at /paths/~1users~1{id}/get: path`.
    fn named_in<'f>(&self, field: &'f str) -> Option<(&'f str, String)> {
        const OPERATIONS: &str = "spec.operations[";
        let part = &field[field.find(OPERATIONS)?..];
        let (number, below) = part[OPERATIONS.len()..].split_once(']')?;
        let named = self.named.get(number.parse::<usize>().ok()?)?;
        Some((
            part,
            below.strip_prefix('.').map_or_else(|| named.clone(), |below| format!("{named}: {below}")),
        ))
    }
}

/// A member of `info`.
fn info(root: &Place, key: &str) -> Result<Place, ImportProblem> {
    let info = root.below("info");
    Ok(Place::member(&info.layers()?, key).unwrap_or_else(|| info.below(key)))
}

/// The Api's version.
fn version(root: &Place, wanted: &Wanted) -> Result<String, ImportProblem> {
    if let Some(version) = &wanted.api_version {
        let verdict = judge::version(version).map(|()| version.clone());
        return verdict.map_err(|problem| ImportProblem::of_option("--api-version", problem));
    }
    let place = info(root, "version")?;
    let is_there = place.value().is_string();
    let missing = || {
        let (why, fix) =
            if is_there { ("is empty", "write a version there") } else { ("is missing", "add it") };
        ImportProblem::new(&place, why, fix)
    };
    let version = place.text().and_then(|text| text.ok_or_else(missing)).and_then(|version| {
        let unusable = |problem: Problem| ImportProblem::new(&place, problem.detail, problem.remedy);
        judge::version(version).map(|()| version.to_owned()).map_err(unusable)
    });
    version.map_err(|problem| problem.unless("--api-version VERSION"))
}

/// The versions that can be read, as their first digits.
const VERSIONS: [(&str, &str); 4] =
    [("swagger", "2"), ("openapi", "3.0"), ("openapi", "3.1"), ("openapi", "3.2")];

/// Makes sure that it is a description of an API, in a version that can be read.
fn check_openapi(root: &Place) -> Result<(), ImportError> {
    let members = root.value().as_object().ok_or(ImportError::NotOpenApi("it is no mapping"))?;
    let found = ["openapi", "swagger"].into_iter().find_map(|key| Some((key, members.get(key)?)));
    let Some((key, version)) = found else {
        let is_manifest = members.contains_key("kind") && members.contains_key("spec");
        return Err(ImportError::NotOpenApi(if is_manifest {
            "it is a Hanse manifest"
        } else {
            "it has no member \"openapi\" or \"swagger\""
        }));
    };
    let version = version.as_str().map_or_else(|| version.to_string(), str::to_owned);
    let is_known = VERSIONS.iter().filter(|(of, _)| *of == key).any(|(_, known)| {
        version.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    });
    if is_known { Ok(()) } else { Err(ImportError::Version { key, version }) }
}

/// A note about webhooks: the service calls them, and no client does.
fn webhooks(root: &Place) -> Option<String> {
    let count = root.below("webhooks").value().as_object()?.len();
    (count > 0)
        .then(|| format!("webhooks are passed over: {count}. A gateway passes on calls to the service only"))
}
