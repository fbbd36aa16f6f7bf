//! Where manifests come from: files, directories, standard input.

pub(crate) mod dump;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use hanse_management::{
    Problem,
    manifest::{self, Manifest},
};
use hanse_topology::Name;
use serde_json::{Value, json};

use crate::{
    client::{MAX_BODY_BYTES, mebibytes},
    exit::Failure,
    out::say,
};

/// Standard input's name on the command line.
const STDIN: &str = "-";
/// Directories nested deeper are a mistake, such as a link to a parent.
const MAX_DEPTH: usize = 16;

/// A manifest and where it was read.
#[derive(Debug, Clone)]
pub(crate) struct Sourced {
    /// The file, or `-`.
    pub(crate) source: String,
    /// What it says.
    pub(crate) manifest: Manifest,
}

impl Sourced {
    /// As it is sent to the API.
    pub(crate) fn to_json(&self) -> Value {
        json!(self.manifest)
    }
}

/// Reads every manifest that the arguments of `-f` name, at least one.
pub(crate) fn read(sources: &[String], organization: &Name) -> anyhow::Result<Vec<Sourced>> {
    read_with(sources, organization, &mut std::io::stdin().lock())
}

fn read_with(sources: &[String], organization: &Name, stdin: &mut dyn Read) -> anyhow::Result<Vec<Sourced>> {
    let manifests = all(sources, organization, stdin)?;
    if manifests.is_empty() {
        return Err(Failure::input(format!("{} holds no manifest", sources.join(", "))).into());
    }
    Ok(manifests)
}

/// Reads every manifest of a file, which may have none.
pub(crate) fn part(file: &Path, organization: &Name) -> anyhow::Result<Vec<Sourced>> {
    all(&[file.display().to_string()], organization, &mut std::io::empty())
}

fn all(sources: &[String], organization: &Name, stdin: &mut dyn Read) -> anyhow::Result<Vec<Sourced>> {
    let mut manifests: Vec<Sourced> = Vec::new();
    let mut budget = Budget::of_one_request();
    for source in sources {
        if source == STDIN {
            let text = budget.read(stdin, "standard input")?;
            parse("standard input", &text, organization, &mut manifests)?;
            continue;
        }
        let path = Path::new(source);
        let metadata = fs::metadata(path).map_err(|error| Failure::unreadable(source, &error))?;
        if dump::is_dump(path) {
            return Err(Failure::usage(format!("{source} is a dump, and no manifests"))
                .remedy(format!("hanse apply -f {source} takes it; its parts are files of manifests"))
                .into());
        }
        let files = if metadata.is_dir() { files_below(path, MAX_DEPTH)? } else { vec![path.to_owned()] };
        if files.is_empty() {
            return Err(Failure::input(format!("{source} holds no .yaml, .yml or .json file")).into());
        }
        for file in files {
            let name = file.display().to_string();
            let mut opened = fs::File::open(&file).map_err(|error| Failure::unreadable(&name, &error))?;
            budget.check(opened.metadata().map_or(0, |metadata| metadata.len()), &name)?;
            let text = budget.read(&mut opened, &name)?;
            parse(&name, &text, organization, &mut manifests)?;
        }
    }
    Ok(manifests)
}

/// How much text may still be read: what is larger than a request never becomes one.
struct Budget(u64);

impl Budget {
    fn of_one_request() -> Self {
        Self(MAX_BODY_BYTES as u64)
    }

    fn check(&self, bytes: u64, name: &str) -> Result<(), Failure> {
        if bytes <= self.0 {
            return Ok(());
        }
        let (is, limit) = (mebibytes(bytes), mebibytes(MAX_BODY_BYTES as u64));
        let others = if self.0 < MAX_BODY_BYTES as u64 { " with the files before it" } else { "" };
        Err(Failure::input(format!(
            "{name} has {is}: too large{others}; one request carries at most {limit}"
        ))
        .remedy("split it over several files and apply them one by one"))
    }

    fn read(&mut self, from: &mut dyn Read, name: &str) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        from.take(self.0 + 1).read_to_end(&mut bytes).with_context(|| format!("reading {name}"))?;
        if bytes.len() as u64 > self.0 {
            let limit = mebibytes(MAX_BODY_BYTES as u64);
            return Err(Failure::input(format!("{name} is larger than {limit}, the limit of one request"))
                .remedy("split it over several files and apply them one by one")
                .into());
        }
        self.0 -= bytes.len() as u64;
        String::from_utf8(bytes).map_err(|error| {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count()
                + 1;
            Failure::input(format!("{name}: line {line}: not UTF-8 text")).into()
        })
    }
}

fn parse(source: &str, text: &str, organization: &Name, manifests: &mut Vec<Sourced>) -> anyhow::Result<()> {
    // JSON is YAML too, so that one reader gives lines for both.
    let parsed = manifest::parse_yaml(text, organization).map_err(|problem| refused(source, problem))?;
    manifests.extend(parsed.into_iter().map(|manifest| Sourced { source: source.to_owned(), manifest }));
    Ok(())
}

/// A problem of a file.
fn refused(source: &str, problem: Problem) -> Failure {
    let failure = Failure::from(problem);
    Failure::input(format!("{source}: {}", failure.message)).remedy(failure.remedy)
}

/// The control plane's refusal of manifests, with the files that the field at fault is in, where it can be told.
pub(crate) fn located(error: anyhow::Error, manifests: &[Sourced]) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => match sources_of(&failure.field, manifests).as_slice() {
            [] => failure.into(),
            sources => {
                Failure { message: format!("{}: {}", sources.join(" and "), failure.message), ..failure }
                    .into()
            }
        },
        Err(error) => error,
    }
}

/// Where the resource stands that `KIND NAME: FIELD` or `item N: …` is about. Twice in one request: both places.
fn sources_of<'a>(field: &str, manifests: &'a [Sourced]) -> Vec<&'a str> {
    let (place, _) = field.split_once(": ").unwrap_or((field, ""));
    let numbered = place.strip_prefix("item ").and_then(|number| number.parse::<usize>().ok());
    if let Some(index) = numbered.and_then(|number| number.checked_sub(1)) {
        return manifests.get(index).map(|sourced| sourced.source.as_str()).into_iter().collect();
    }
    let of_key = manifests.iter().filter(|sourced| sourced.manifest.key.to_string() == place);
    let mut sources: Vec<_> = of_key.map(|sourced| sourced.source.as_str()).collect();
    sources.dedup();
    sources
}

/// Whether a file tells kustomize what to make of the others: no manifest, and nothing that Hanse runs.
fn is_kustomization(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| ["kustomization.yaml", "kustomization.yml"].contains(&name))
}

/// The manifests in a directory and those below, sorted by path.
fn files_below(dir: &Path, depth: usize) -> anyhow::Result<Vec<PathBuf>> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Failure::input(format!("{}: directories are nested too deeply", dir.display())).into());
    };
    let reading = || format!("reading the directory {}", dir.display());
    let mut entries = fs::read_dir(dir)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
        })
        .with_context(reading)?;
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() && dump::is_dump(&path) {
            say(format!("passed over {0}: it is a dump; hanse apply -f {0} takes it", path.display()));
        } else if path.is_dir() {
            files.extend(files_below(&path, depth)?);
        } else if is_kustomization(&path) {
            say(format!("passed over {}: hanse does not run kustomize", path.display()));
        } else if path
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
        {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
