//! A dump as a directory: parts that are applied one after the other, and an index that names them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hanse_api::answer::{DumpCount, Dumped};
use serde::{Deserialize, Serialize};

use super::Budget;
use crate::exit::Failure;

/// The index. It is written last: a directory without it is no dump.
pub(crate) const INDEX: &str = "hanse-dump.json";
/// How the files of parts end: not like manifests, so that parts without their index are not taken for manifests.
const PART: &str = "dump";

/// The index of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    /// What the dump is of.
    #[serde(flatten)]
    pub(crate) of: Dumped,
    /// How much it has.
    #[serde(flatten)]
    pub(crate) count: DumpCount,
}

/// A dump on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DumpDir {
    dir: PathBuf,
    /// How many parts it has.
    pub(crate) parts: u64,
}

impl DumpDir {
    /// The files of its parts, in order.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        (1..=self.parts).map(|number| part(&self.dir, number))
    }
}

/// The file of part `number`.
pub(crate) fn part(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("part-{number:04}.{PART}"))
}

/// Whether a path is a directory with a dump.
pub(super) fn is_dump(path: &Path) -> bool {
    path.join(INDEX).is_file()
}

/// The dump that the arguments of `-f` name, if they name one.
pub(crate) fn of(sources: &[String]) -> anyhow::Result<Option<DumpDir>> {
    let Some(source) = sources.iter().find(|source| is_dump(Path::new(source))) else { return Ok(None) };
    if sources.len() > 1 {
        let said = format!("{source} is a dump: it is applied alone, part after part");
        return Err(Failure::usage(said).remedy(format!("hanse apply -f {source}")).into());
    }
    let dir = Path::new(source);
    let index = dir.join(INDEX);
    let name = index.display().to_string();
    let mut file = fs::File::open(&index).map_err(|error| Failure::unreadable(&name, &error))?;
    let text = Budget::of_one_request().read(&mut file, &name)?;
    let index: Index = serde_json::from_str(&text).map_err(|_| {
        Failure::input(format!("{name} is no index of a dump")).remedy("take another copy of the dump")
    })?;
    if index.of.format != Dumped::FORMAT {
        let said = format!("{name}: a dump of the form {} is not known here", index.of.format);
        return Err(Failure::input(said).remedy("use the client of the release that made it").into());
    }
    Ok(Some(DumpDir { dir: dir.to_owned(), parts: index.count.parts }))
}
