//! Reading a document where it lies.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use anyhow::Context as _;

use super::{Files, Imported, MAX_DOCUMENT_BYTES, Wanted, document, files::Unread};
use crate::{
    client::mebibytes,
    exit::{Failure, why_unread},
    out::{Progress, say},
};

/// What stands for standard input on the command line.
const STANDARD_INPUT: &str = "-";

/// Reads the document in `file`, or from standard input for `-`, and says what the operator should know of it.
pub(crate) fn read(file: &str, wanted: &Wanted) -> anyhow::Result<Imported> {
    let name = if file == STANDARD_INPUT { "standard input" } else { file };
    let progress = Progress::start(format!("reading {name}"));
    let text = text(file, name)?;
    let imported = document(&text, files(file), wanted).map_err(|error| {
        let failure = Failure::from(error);
        Failure { message: format!("{name}: {}", failure.message), ..failure }
    })?;
    drop(progress);
    for note in imported.notes.iter().chain(&imported.advice) {
        say(note);
    }
    Ok(imported)
}

/// The files beside a document.
fn files(document: &str) -> Files {
    let path = Path::new(document);
    let (Some(name), false) = (path.file_name(), document == STANDARD_INPUT) else { return Files::none() };
    let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new(".")).to_owned();
    Files::beside(name, move |path, limit| part(&dir, path, limit))
}

/// The text of a file that the document refers to. A symbolic link leads no further than the document's directory.
fn part(dir: &Path, path: &Path, limit: u64) -> Result<String, Unread> {
    let failed = |error: std::io::Error| Unread::Failed(why_unread(&error));
    let path = dir.join(path).canonicalize().map_err(failed)?;
    if !path.starts_with(dir.canonicalize().map_err(failed)?) {
        return Err(Unread::Outside);
    }
    // Before it is opened: a pipe without a writer would never open.
    if !fs::metadata(&path).map_err(failed)?.is_file() {
        return Err(Unread::Failed("it is no file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let limit = mebibytes(MAX_DOCUMENT_BYTES);
        return Err(Unread::Failed(format!("all files together are larger than {limit}")));
    }
    String::from_utf8(bytes).map_err(|_| Unread::NotText)
}

fn text(file: &str, name: &str) -> anyhow::Result<String> {
    let limit = MAX_DOCUMENT_BYTES;
    let too_large = |bytes: Option<u64>| {
        let is = bytes.map_or_else(|| "is larger".to_owned(), |bytes| format!("has {}", mebibytes(bytes)));
        Failure::input(format!("{name} {is}; at most {} of a document are read", mebibytes(limit))).remedy(
            "leave references in place instead of writing them out; examples and schemas are not used either",
        )
    };
    let mut bytes = Vec::new();
    if file == STANDARD_INPUT {
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes).context("reading standard input")?;
    } else {
        let unreadable = |error: std::io::Error| Failure::unreadable(name, &error);
        let opened = File::open(file).map_err(unreadable)?;
        let size = opened.metadata().map_err(unreadable)?.len();
        if size > limit {
            return Err(too_large(Some(size)).into());
        }
        opened.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > limit {
        return Err(too_large(None).into());
    }
    String::from_utf8(bytes).map_err(|_| Failure::input(format!("{name} is not UTF-8 text")).into())
}
