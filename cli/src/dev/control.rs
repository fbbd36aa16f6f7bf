//! How other terminals tell a running federation what to do: one JSON line each way over a Unix socket.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};

use anyhow::Context as _;
use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

use super::{data_dir::DataDir, own, supervisor::Supervisor};
use crate::exit::{Exit, Failure, exit_of};

/// The longest line: a name and some words.
const MAX_LINE: u64 = 64 << 10;
/// Longest wait for an answer: longer than a process may take to start.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for a request's line: it is sent at once.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Request {
    /// Say that the federation runs.
    Ping,
    /// Kill a process, or what a host carries.
    Kill { name: String },
    /// Start a process that is down, or those of a host.
    Start { name: String },
    /// Add a gateway.
    AddGateway { region: Name },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    /// Done, to the process of that name.
    Done(String),
    /// Not done.
    Refused { exit: u8, message: String, remedy: String },
}

/// Opens the control socket. The process that holds the directory's lock is the only one to listen.
pub(super) fn listen(dir: &DataDir) -> anyhow::Result<UnixListener> {
    let path = dir.socket();
    let listening = || format!("listening on {}", path.display());
    if let Some(parent) = path.parent().filter(|parent| *parent != dir.path()) {
        own::dir(parent)?;
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(listening);
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path).with_context(listening)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).with_context(listening)?;
    Ok(listener)
}

/// Removes the control socket. One that is left does no harm.
pub(super) fn close(dir: &DataDir) {
    let _ = fs::remove_file(dir.socket());
}

/// Obeys until dropped.
pub(super) async fn serve(listener: UnixListener, supervisor: Arc<Supervisor>) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await.context("accepting on the control socket")?;
        let supervisor = supervisor.clone();
        tokio::spawn(async move {
            // A terminal that has gone needs no answer.
            let _ = converse(stream, &supervisor).await;
        });
    }
}

async fn converse(stream: UnixStream, supervisor: &Arc<Supervisor>) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(MAX_LINE));
    tokio::time::timeout(REQUEST_TIMEOUT, read.read_line(&mut line)).await??;
    let outcome = match serde_json::from_str(&line) {
        Ok(request) => obey(request, supervisor).await,
        Err(error) => Err(Failure::usage(format!("the request is not understood: {error}")).into()),
    };
    let answer = outcome.map_or_else(refusal, Answer::Done);
    write.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await?;
    Ok(())
}

async fn obey(request: Request, supervisor: &Arc<Supervisor>) -> anyhow::Result<String> {
    match request {
        Request::Ping => Ok(String::new()),
        Request::Kill { name } => supervisor.kill_all(&name).await.map(|()| name),
        Request::Start { name } => supervisor.start_all(&name).await.map(|()| name),
        Request::AddGateway { region } => supervisor.add_gateway(&region).await.map(|name| name.to_string()),
    }
}

fn refusal(error: anyhow::Error) -> Answer {
    let exit = exit_of(&error).code();
    match error.downcast::<Failure>() {
        Ok(Failure { message, remedy, .. }) => Answer::Refused { exit, message, remedy },
        Err(error) => Answer::Refused { exit, message: format!("{error:#}"), remedy: String::new() },
    }
}

/// Tells the federation in `dir` what to do.
pub(super) async fn ask(dir: &DataDir, request: Request) -> anyhow::Result<String> {
    let socket = dir.socket();
    if let Some(parent) = socket.parent() {
        own::check(parent).map_err(|_| nobody_runs(dir))?;
    }
    let stream = UnixStream::connect(socket).await.map_err(|_| nobody_runs(dir))?;
    let (read, mut write) = stream.into_split();
    write.write_all(format!("{}\n", serde_json::to_string(&request)?).as_bytes()).await?;
    let mut line = String::new();
    let mut read = BufReader::new(read.take(MAX_LINE));
    tokio::time::timeout(ANSWER_TIMEOUT, read.read_line(&mut line)).await.map_err(|_| {
        Failure::new(Exit::WaitTimedOut, format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))
    })??;
    let answer = serde_json::from_str(&line).map_err(|_| nobody_runs(dir))?;
    match answer {
        Answer::Done(name) => Ok(name),
        Answer::Refused { exit, message, remedy } => {
            const CODES: [Exit; 7] = [
                Exit::General,
                Exit::Usage,
                Exit::Auth,
                Exit::NotFound,
                Exit::Conflict,
                Exit::NoQuorum,
                Exit::WaitTimedOut,
            ];
            let exit = CODES.into_iter().find(|known| known.code() == exit).unwrap_or(Exit::General);
            Err(Failure::new(exit, message).remedy(remedy).into())
        }
    }
}

/// What to say when there is no federation to tell.
pub(super) fn nobody_runs(dir: &DataDir) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!("no federation runs in {}, or it is still starting", dir.path().display()),
    )
    .remedy("start one with `hanse dev`, or name its directory with --data-dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_keep_their_codes_on_the_way() {
        let answer = refusal(Failure::new(Exit::NotFound, "m").remedy("r").into());
        assert_eq!(answer, Answer::Refused { exit: 4, message: "m".into(), remedy: "r".into() });
        let answer = refusal(anyhow::anyhow!("inner").context("outer"));
        assert_eq!(
            answer,
            Answer::Refused { exit: 1, message: "outer: inner".into(), remedy: String::new() }
        );
    }

    #[tokio::test]
    async fn nobody_answers_in_an_empty_directory() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::make(temporary.path()).unwrap();
        let error = ask(&dir, Request::Ping).await.unwrap_err();
        assert_eq!(exit_of(&error), Exit::NotFound);
    }
}
