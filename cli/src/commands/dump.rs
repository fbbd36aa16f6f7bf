//! `hanse dump`: the federation's resources as a directory.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{BufWriter, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    args::DumpArgs,
    client::{Client, DumpLine, Dumping},
    exit::{Exit, Failure},
    out::{data, say},
    source::dump::{INDEX, Index, part},
};

/// Writes a dump, and prints the name of its directory.
pub(crate) async fn dump(client: &Client, args: &DumpArgs) -> anyhow::Result<()> {
    let (dir, said) = written(client, args).await?;
    say(said);
    data(dir.display())?;
    Ok(())
}

/// Writes a dump. Its directory, and what there is to say of it.
async fn written(client: &Client, args: &DumpArgs) -> anyhow::Result<(PathBuf, String)> {
    if let Some(dir) = &args.output {
        check_empty(dir)?;
    }
    let mut dumping = client.dump(args.tokens, args.stale).await?;
    let unnamed = || PathBuf::from(format!("hanse-dump-{}", dumping.of.revision));
    let dir = args.output.clone().unwrap_or_else(unnamed);
    check_empty(&dir)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .with_context(|| format!("making {}", dir.display()))?;
    let mut written = Vec::new();
    if let Err(error) = write(&dir, &mut dumping, &mut written).await {
        // Half a dump is of no use, and would be in the way of the next one.
        for file in written {
            let _gone = std::fs::remove_file(file);
        }
        return Err(error);
    }
    let (revision, count) = (dumping.of.revision, dumping.count);
    let mut said = format!("revision {revision}: resources: {}, parts: {}", count.resources, count.parts);
    if let Some(note) = client.restart_note() {
        said = format!("{said}\n{note}");
    }
    Ok((dir, said))
}

/// A dump is not mixed with other files.
fn check_empty(dir: &Path) -> Result<(), Failure> {
    let taken = |what: String| {
        let failure = Failure::new(Exit::Conflict, format!("{}: {what}", dir.display()));
        Err(failure.remedy("name a directory that is empty or not there: hanse dump -o DIR"))
    };
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => taken("the directory is not empty".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => taken(error.to_string()),
    }
}

/// Writes the parts, and the index at the end. `written` names the files.
async fn write(dir: &Path, dumping: &mut Dumping, written: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut open: Option<PartFile> = None;
    loop {
        let line = dumping.next().await?;
        if let DumpLine::Resource(resource) = &line {
            open.as_mut().context("the dump has a resource before its first part")?.push(resource)?;
            continue;
        }
        if let Some(part) = open.take() {
            part.close()?;
        }
        if line == DumpLine::End {
            break;
        }
        let path = part(dir, dumping.count.parts);
        written.push(path.clone());
        open = Some(PartFile::open(path)?);
    }
    let index = Index { of: dumping.of.clone(), count: dumping.count };
    let path = dir.join(INDEX);
    written.push(path.clone());
    let text = serde_json::to_string_pretty(&index).context("writing the index")?;
    let mut file = private(&path)?;
    let done = file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all());
    done.with_context(|| format!("writing {}", path.display()))
}

/// The file of a part: `{"resources": […]}`, a line for each resource.
struct PartFile {
    path: PathBuf,
    file: BufWriter<File>,
    is_empty: bool,
}

impl PartFile {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let file = BufWriter::new(private(&path)?);
        let mut part = Self { path, file, is_empty: true };
        part.text(b"{\"resources\":[")?;
        Ok(part)
    }

    fn push(&mut self, resource: &[u8]) -> anyhow::Result<()> {
        self.text(if self.is_empty { b"\n" } else { b",\n" })?;
        self.is_empty = false;
        self.text(resource)
    }

    fn close(mut self) -> anyhow::Result<()> {
        self.text(b"\n]}\n")?;
        let flushed = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        flushed.with_context(|| format!("writing {}", self.path.display()))
    }

    fn text(&mut self, text: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(text).with_context(|| format!("writing {}", self.path.display()))
    }
}

/// A new file that only its owner reads.
fn private(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.with_context(|| format!("making {}", path.display()))
}

#[cfg(test)]
mod tests {
    use axum::{Router, response::IntoResponse as _};

    use super::*;
    use crate::client::tests::client_of;

    #[tokio::test]
    async fn a_dump_of_a_node_that_has_not_caught_up_says_so() {
        for restarted in [true, false] {
            let answer = move || {
                let text = "{\"dump\":{\"format\":1,\"revision\":7,\"version\":1}}\n{\"end\":{\"parts\":0,\"resources\":0}}\n";
                let mut answer = text.into_response();
                answer.headers_mut().insert("hanse-restarted", restarted.to_string().parse().unwrap());
                std::future::ready(answer)
            };
            let (client, _dir) = client_of(Router::new().fallback(answer)).await;
            let dir = tempfile::tempdir().unwrap();
            let args = DumpArgs { output: Some(dir.path().to_owned()), tokens: false, stale: true };
            let (_dir, said) = written(&client, &args).await.unwrap();
            assert_eq!(said.lines().next(), Some("revision 7: resources: 0, parts: 0"));
            let noted = said.contains("\nnote: the node was restarted and has not caught up");
            assert_eq!(noted, restarted, "{said}");
        }
    }

    #[test]
    fn a_directory_that_has_something_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        check_empty(dir.path()).unwrap();
        check_empty(&dir.path().join("new")).unwrap();
        let file = dir.path().join("notes");
        std::fs::write(&file, "mine").unwrap();
        for taken in [dir.path(), &file] {
            let failure = check_empty(taken).unwrap_err();
            assert_eq!(failure.exit, Exit::Conflict);
            assert!(failure.to_string().contains("hanse dump -o DIR"), "{failure}");
        }
    }

    #[test]
    fn a_part_is_a_list_of_resources_that_only_its_owner_reads() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let path = part(dir.path(), 7);
        let mut file = PartFile::open(path.clone()).unwrap();
        file.push(b"{\"kind\":\"Plan\",\"name\":\"a\"}").unwrap();
        file.push(b"{\"kind\":\"Plan\",\"name\":\"b\"}").unwrap();
        file.close().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\"resources\":[\n{\"kind\":\"Plan\",\"name\":\"a\"},\n{\"kind\":\"Plan\",\"name\":\"b\"}\n]}\n"
        );
        assert!(path.ends_with("part-0007.dump"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
