//! `hanse audit`: who changed what. Shows it, verifies the chain of hashes, and exports it.

use std::{
    fs::OpenOptions,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use hanse_api::{
    AuditWalk,
    answer::{AuditEntry, AuditLink},
};

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
    let AuditCommand::Verify { files, offline: true } = &args.command else { return Ok(false) };
    let walk = walk_files(files)?;
    say(format!("the chain holds, as far as it goes: {}", as_far(&walk)));
    Ok(true)
}

/// Does what the arguments say.
pub(crate) async fn audit(client: &Client, args: &AuditArgs) -> anyhow::Result<()> {
    match &args.command {
        AuditCommand::Tail { lines, follow, output } => tail(client, *lines, *follow, *output).await,
        AuditCommand::Verify { files, .. } => verify(client, files).await,
        AuditCommand::Export { to, drop } => export(client, to, *drop).await,
    }
}

async fn tail(client: &Client, lines: u64, follow: bool, output: Option<Form>) -> anyhow::Result<()> {
    let known = client.audit(None, 1).await?;
    let first = (known.start.number + 1).max((known.head.number + 1).saturating_sub(lines));
    let mut next = first;
    loop {
        let part = client.audit(Some(next), PART).await?;
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
    let left_out = entry.left_out.as_ref().map_or(0, |left_out| left_out.count);
    let more = entry.changes.len().saturating_sub(NAMED) as u64 + left_out;
    if more > 0 {
        what = format!("{what} and {more} more");
    }
    format!("{}  {}  {who}  {from}  {what}", entry.number, entry.time)
}

/// Walks the files, and from there the log to its head.
async fn verify(client: &Client, files: &[PathBuf]) -> anyhow::Result<()> {
    let walked = if files.is_empty() { None } else { walk_files(files)?.at().cloned() };
    let log = client.audit(None, 1).await?;
    let start = match &walked {
        Some(end) => check_reaches(client, end, &log.start, &log.head).await?,
        None => log.start.clone(),
    };
    let walk = walk_log(client, start, |_| Ok(())).await?;
    say(format!("the chain holds up to its end: {}", as_far(&walk)));
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
        return Err(broken(missing));
    }
    if end.number > head.number {
        let beyond =
            format!("the files end with entry {}, and the log with entry {}", end.number, head.number);
        return Err(broken(beyond));
    }
    let hash = match end.number == start.number {
        true => start.hash.clone(),
        false => {
            client.audit(Some(end.number), 1).await?.items.pop().map(|entry| entry.hash).unwrap_or_default()
        }
    };
    if hash != end.hash {
        return Err(broken(format!("entry {} has another hash in the log than in the files", end.number)));
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
        if walk.at() != Some(&part.head) {
            let short = format!(
                "the entries end with {}, and the control node names {} as the last one",
                from - 1,
                part.head.number
            );
            return Err(broken(short));
        }
        return Ok(walk);
    }
}

fn walk_files(files: &[PathBuf]) -> anyhow::Result<AuditWalk> {
    let mut walk = AuditWalk::default();
    for path in files {
        let file = std::fs::File::open(path).with_context(|| format!("reading {}", path.display()))?;
        for (at, line) in BufReader::new(file).lines().enumerate() {
            let line = line.with_context(|| format!("reading {}", path.display()))?;
            walk.line(&line)
                .map_err(|error| broken(format!("{}, line {}: {error}", path.display(), at + 1)))?;
        }
    }
    Ok(walk)
}

fn as_far(walk: &AuditWalk) -> String {
    match walk.at() {
        Some(at) => format!("entry {} has the hash {}", at.number, at.hash),
        None => "there is no entry".to_owned(),
    }
}

fn broken(message: impl Into<String>) -> anyhow::Error {
    Failure::new(Exit::Conflict, message)
        .remedy("compare with an older export or with another control node; treat what follows as not proven")
        .into()
}

/// Writes what is kept, checked, to a new file; then drops it, if asked.
async fn export(client: &Client, to: &Path, drop: bool) -> anyhow::Result<()> {
    let start = client.audit(None, 1).await?.start;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let file = file.with_context(|| format!("making {}, which must not be there yet", to.display()))?;
    let mut writer = BufWriter::new(file);
    let written = walk_log(client, start, |entry| {
        serde_json::to_writer(&mut writer, entry)?;
        writer.write_all(b"\n")?;
        Ok(())
    });
    let walk = match written.await {
        Ok(walk) => walk,
        Err(error) => {
            // Half an export would be in the way of the next one.
            let _gone = std::fs::remove_file(to);
            return Err(error);
        }
    };
    let file = writer.into_inner().map_err(|error| error.into_error());
    file.and_then(|file| file.sync_all()).with_context(|| format!("writing {}", to.display()))?;
    let Some(last) = walk.at() else { return Ok(()) };
    say(format!("{}: up to entry {}, whose hash is {}", to.display(), last.number, last.hash));
    if drop {
        // What reached the disk is what goes.
        let exported = walk_files(&[to.to_owned()])?;
        let Some(end) = exported.at() else {
            say("there is nothing to drop");
            return Ok(());
        };
        let dropped = client.drop_audit(end).await?;
        say(format!("dropped up to entry {} at revision {}", dropped.through, dropped.revision));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hanse_api::answer::{AuditChange, AuditLeftOut};

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
            left_out: Some(AuditLeftOut { count: 9, ..AuditLeftOut::default() }),
            ..AuditEntry::default()
        }
    }

    #[test]
    fn a_line_says_who_when_from_where_and_what() {
        assert_eq!(
            line(&entry()),
            "7  2026-01-31T12:00:00Z  ci (ann)  10.0.0.7:51234  apply: updated Plan shop/a, updated Plan shop/b, \
             updated Plan shop/c and 10 more"
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
        let error = walk_files(std::slice::from_ref(&path)).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
        std::fs::write(&path, "").unwrap();
        assert_eq!(as_far(&walk_files(std::slice::from_ref(&path)).unwrap()), "there is no entry");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
