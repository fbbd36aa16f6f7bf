//! `hanse audit`: who changed what. Shows it, verifies the chain of hashes, and exports it.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use hanse_api::{
    AuditWalk, BrokenChain,
    answer::{AuditEntry, AuditLink},
};
use hanse_management::ProblemName;

use crate::{
    args::{AuditArgs, AuditCommand, Form},
    client::Client,
    exit::{Exit, Failure},
    out::{data, say},
    render,
};

/// The most entries that a part of the log has.
const PART: u64 = 1_000;
/// How often `tail -f` asks: people read no faster.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How many resources a line names. `-o json` has all of them.
const NAMED: usize = 3;

/// Does what needs no control node. `false`: the command needs one.
pub(crate) fn offline(args: &AuditArgs) -> anyhow::Result<bool> {
    let AuditCommand::Verify { files, after, offline: true } = &args.command else { return Ok(false) };
    let walk = walk_files(files, after.as_ref())?;
    say(format!("the chain holds, as far as it goes: {}", as_far(&walk)));
    Ok(true)
}

/// Does what the arguments say.
pub(crate) async fn audit(client: &Client, args: &AuditArgs) -> anyhow::Result<()> {
    match &args.command {
        AuditCommand::Tail { lines, follow, output } => tail(client, *lines, *follow, *output).await,
        AuditCommand::Verify { files, after, .. } => verify(client, files, after.as_ref()).await,
        AuditCommand::Export { to, drop } => export(client, to, *drop).await,
        AuditCommand::Drop { files, after } => drop_files(client, files, after.as_ref()).await,
    }
}

async fn tail(client: &Client, lines: u64, follow: bool, output: Option<Form>) -> anyhow::Result<()> {
    let known = client.audit(None, 1).await?;
    let first = (known.start.number + 1).max((known.head.number + 1).saturating_sub(lines));
    let mut next = first;
    loop {
        let part = match client.audit(Some(next), PART).await {
            // What it has not shown yet was exported and dropped.
            Err(error) if is_gone(&error) => {
                let start = client.audit(None, 1).await?.start.number;
                say(format!("entries {next} to {start} were dropped"));
                next = start + 1;
                continue;
            }
            part => part?,
        };
        for entry in &part.items {
            data(shown(entry, output))?;
            next = entry.number + 1;
        }
        match (part.next, follow) {
            (Some(_), _) => {}
            (None, true) => tokio::time::sleep(ASK_EVERY).await,
            (None, false) => return Ok(()),
        }
    }
}

fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.problem == Some(ProblemName::Gone))
}

fn shown(entry: &AuditEntry, output: Option<Form>) -> String {
    match output {
        Some(form) => render::formed(entry, form),
        None => line(entry),
    }
}

/// `7  2026-01-31T12:00:00Z  ci (ann)  10.0.0.7:51234  apply: updated Plan shop/gold`.
fn line(entry: &AuditEntry) -> String {
    let who = match entry.owner.as_str() {
        "" => entry.actor.clone(),
        owner if owner == entry.actor => entry.actor.clone(),
        owner => format!("{} ({owner})", entry.actor),
    };
    let from = if entry.from.is_empty() { "-" } else { &entry.from };
    let named = entry.changes.iter().take(NAMED).map(|change| {
        let organization = change.organization.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
        format!("{} {} {organization}{}", change.action, change.kind, change.name)
    });
    let mut what = entry.what.clone();
    let named: Vec<String> = named.collect();
    if !named.is_empty() {
        what = format!("{what}: {}", named.join(", "));
    }
    let more = entry.changes.len().saturating_sub(NAMED);
    if more > 0 {
        what = format!("{what} and {more} more");
    }
    format!("{}  {}  {who}  {from}  {what}", entry.number, entry.time)
}

/// Walks the files, and from there the log to its head.
async fn verify(client: &Client, files: &[PathBuf], after: Option<&AuditLink>) -> anyhow::Result<()> {
    let files = if files.is_empty() { None } else { Some(walk_files(files, after)?) };
    let log = client.audit(None, 1).await?;
    let from = match &files {
        Some(walk) => check_reaches(client, walk.at(), &log.start, &log.head).await?,
        None => log.start,
    };
    let walk = walk_log(client, from, |_| Ok(())).await?;
    if let Some(files) = files {
        say(format!("the files hold: {}", as_far(&files)));
    }
    say(format!("the chain holds up to its end: {}", as_far(&walk)));
    Ok(())
}

/// Drops from the log what the files have.
async fn drop_files(client: &Client, files: &[PathBuf], after: Option<&AuditLink>) -> anyhow::Result<()> {
    let walk = walk_files(files, after)?;
    let log = client.audit(None, 1).await?;
    let end = check_reaches(client, walk.at(), &log.start, &log.head).await?;
    if end == log.start {
        say(format!("entries up to {} were dropped already", end.number));
        return Ok(());
    }
    if walk.start().number > log.start.number {
        let missing = format!(
            "the files begin with entry {}, and the log with entry {}: the entries before the files would be lost",
            walk.start().number + 1,
            log.start.number + 1
        );
        return Err(Failure::new(Exit::Conflict, missing).remedy("name the older files first").into());
    }
    drop_through(client, &end).await
}

async fn drop_through(client: &Client, end: &AuditLink) -> anyhow::Result<()> {
    let dropped = client.drop_audit(end).await?;
    say(format!("dropped up to entry {} at revision {}", dropped.through, dropped.revision));
    Ok(())
}

/// Where the walk along the log goes on behind files that end with `end`.
async fn check_reaches(
    client: &Client,
    end: &AuditLink,
    start: &AuditLink,
    head: &AuditLink,
) -> anyhow::Result<AuditLink> {
    if end.number < start.number {
        let missing = format!(
            "the files end with entry {}, and the log begins with entry {}: entries are missing at the end of the files",
            end.number,
            start.number + 1
        );
        return Err(broken(missing).into());
    }
    if end.number > head.number {
        let beyond =
            format!("the files end with entry {}, and the log with entry {}", end.number, head.number);
        return Err(broken(beyond).into());
    }
    let hash = match end.number == start.number {
        true => start.hash.clone(),
        false => {
            client.audit(Some(end.number), 1).await?.items.pop().map(|entry| entry.hash).unwrap_or_default()
        }
    };
    if hash != end.hash {
        return Err(
            broken(format!("entry {} has another hash in the log than in the files", end.number)).into()
        );
    }
    Ok(end.clone())
}

/// Walks along the log to the head that the control node tells; `take` gets each entry.
async fn walk_log(
    client: &Client,
    start: AuditLink,
    mut take: impl FnMut(&AuditEntry) -> anyhow::Result<()>,
) -> anyhow::Result<AuditWalk> {
    let mut from = start.number + 1;
    let mut walk = AuditWalk::after(start);
    loop {
        let part = client.audit(Some(from), PART).await?;
        for entry in &part.items {
            walk.entry(entry).map_err(|error| broken(error.to_string()))?;
            take(entry)?;
            from = entry.number + 1;
        }
        if part.next.is_some() && !part.items.is_empty() {
            continue;
        }
        if *walk.at() != part.head {
            let short = format!(
                "the entries end with {}, and the control node names {} as the last one",
                from - 1,
                part.head.number
            );
            return Err(broken(short).into());
        }
        return Ok(walk);
    }
}

/// Walks the files, which have at least one entry and begin behind `after`, or with the first entry that there ever was.
fn walk_files(files: &[PathBuf], after: Option<&AuditLink>) -> anyhow::Result<AuditWalk> {
    let mut walk = after.cloned().map_or_else(AuditWalk::default, AuditWalk::after);
    for path in files {
        let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
        for (at, line) in BufReader::new(file).lines().enumerate() {
            let line = line.with_context(|| format!("reading {}", path.display()))?;
            walk.line(&line).map_err(|error| {
                let failure = broken(format!("{}, line {}: {error}", path.display(), at + 1));
                let is_first = walk.at() == walk.start() && after.is_none();
                match (is_first, &error) {
                    (true, BrokenChain::Order { .. }) => failure.remedy(
                        "name the older files first, or say which entry was before: --after NUMBER:HASH, as the export before told it",
                    ),
                    _ => failure,
                }
            })?;
        }
    }
    if walk.at() == walk.start() {
        return Err(broken("the files have no entry").into());
    }
    Ok(walk)
}

fn as_far(walk: &AuditWalk) -> String {
    let (start, end) = (walk.start(), walk.at());
    match start.number == end.number {
        true => format!("there is no entry behind {}", link(end)),
        false => format!("entries {} to {}", start.number + 1, link(end)),
    }
}

/// As `--after` takes it.
fn link(link: &AuditLink) -> String {
    format!("{}:{}", link.number, link.hash)
}

fn broken(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Conflict, message)
        .remedy("compare with an older export or with another control node; treat what follows as not proven")
}

/// Writes what is kept, checked, to a new file; then drops it, if asked.
async fn export(client: &Client, to: &Path, drop: bool) -> anyhow::Result<()> {
    let start = client.audit(None, 1).await?.start;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let file = file.with_context(|| format!("making {}, which must not be there yet", to.display()))?;
    let walk = match write(client, file, to, start).await {
        Ok(walk) => walk,
        Err(error) => {
            // Half an export would be in the way of the next one.
            let _gone = std::fs::remove_file(to);
            return Err(error);
        }
    };
    say(format!("{}: {}", to.display(), as_far(&walk)));
    if !drop {
        return Ok(());
    }
    if walk.at() == walk.start() {
        say("there is nothing to drop");
        return Ok(());
    }
    let files = [to.to_owned()];
    let exported = walk_files(&files, Some(walk.start()))?;
    drop_through(client, exported.at()).await.with_context(|| {
        format!(
            "the file is whole, and the drop is not known to be done; go on with: hanse audit drop {} --after {}",
            to.display(),
            link(walk.start())
        )
    })
}

/// Writes the log into the file. The file and its name are on disk then, also when the machine loses power.
async fn write(client: &Client, file: File, to: &Path, start: AuditLink) -> anyhow::Result<AuditWalk> {
    let mut writer = BufWriter::new(file);
    let walk = walk_log(client, start, |entry| {
        serde_json::to_writer(&mut writer, entry)?;
        writer.write_all(b"\n")?;
        Ok(())
    })
    .await?;
    let file = writer.into_inner().map_err(|error| error.into_error());
    file.and_then(|file| sync(&file, to)).with_context(|| format!("writing {}", to.display()))?;
    Ok(walk)
}

/// Has a file and its name on disk.
fn sync(file: &File, path: &Path) -> std::io::Result<()> {
    file.sync_all()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use hanse_api::answer::AuditChange;

    use super::*;

    fn entry() -> AuditEntry {
        let change = |name: &str| AuditChange {
            kind: "Plan".into(),
            organization: Some("shop".into()),
            name: name.into(),
            action: "updated".into(),
            ..AuditChange::default()
        };
        AuditEntry {
            number: 7,
            time: "2026-01-31T12:00:00Z".into(),
            actor: "ci".into(),
            owner: "ann".into(),
            from: "10.0.0.7:51234".into(),
            what: "apply".into(),
            changes: ["a", "b", "c", "d"].map(change).into(),
            ..AuditEntry::default()
        }
    }

    #[test]
    fn a_line_says_who_when_from_where_and_what() {
        assert_eq!(
            line(&entry()),
            "7  2026-01-31T12:00:00Z  ci (ann)  10.0.0.7:51234  apply: updated Plan shop/a, updated Plan shop/b, \
             updated Plan shop/c and 1 more"
        );
        let node = AuditEntry {
            actor: "cp-1".into(),
            what: "finalize version 2".into(),
            ..AuditEntry { number: 8, time: "t".into(), ..AuditEntry::default() }
        };
        assert_eq!(line(&node), "8  t  cp-1  -  finalize version 2");
    }

    #[test]
    fn a_file_that_is_no_export_is_told_with_its_line() {
        let dir = std::env::temp_dir().join(format!("hanse-audit-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("export.jsonl");
        std::fs::write(&path, "{}\n").unwrap();
        let error = walk_files(std::slice::from_ref(&path), None).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
        std::fs::write(&path, "").unwrap();
        let error = walk_files(std::slice::from_ref(&path), None).unwrap_err();
        assert!(error.to_string().contains("no entry"), "an emptied file proves nothing: {error}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
