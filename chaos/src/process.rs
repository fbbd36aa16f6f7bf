//! Real processes: started, killed, frozen, started again, and gone with the harness.

use std::{
    env,
    ffi::OsString,
    fs,
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::clock;

/// How often conditions are looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long a process may take to end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// Tells a process to stop when its standard input closes: it does when the harness is gone, however it went.
const STOP_ON_STDIN_CLOSE: &str = "HANSE_STOP_ON_STDIN_CLOSE";
/// The one of our variables that children get: how much they log.
const LOG: &str = "HANSE_LOG";
/// Brings a bug back in a dev build, to prove that a checker notices it.
const SEEDED_BUG: &str = "HANSE_SEEDED_BUG";
/// Where an agent of a dev build reads wishes for local scopes.
const TEST_ORIGIN: &str = "HANSE_TEST_ORIGIN";

/// What to start, and where: enough to start it again as it was.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its name, for people.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The network namespace it runs in; none: the harness's own.
    pub namespace: Option<String>,
    /// Descriptors it may have; none: as many as the harness.
    pub descriptors: Option<u32>,
    /// The file that sets its wall clock ([`crate::clock`]); none: it has the machine's.
    pub clock: Option<PathBuf>,
    /// The bug that is brought back in it (`HANSE_SEEDED_BUG`), if it is a dev build.
    pub seeded_bug: Option<String>,
    /// Where it reads wishes for local scopes (`HANSE_TEST_ORIGIN`), if it is an agent of a dev build.
    pub test_origin: Option<PathBuf>,
    /// Where its output is appended.
    pub log: PathBuf,
}

/// A process that runs or ran. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    _stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts it.
    pub fn start(launch: Launch) -> Result<Self> {
        let mut process = Self { launch, running: None };
        process.restart()?;
        Ok(process)
    }

    /// Starts it again as it was started first. It must not run.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "{} runs already", self.launch.name);
        let starting = || format!("starting {}", self.launch.name);
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.launch.log);
        let log = log.with_context(starting)?;
        // In a group of its own: when the harness is gone, a frozen one is hung up on by the system.
        let mut child = self
            .launch
            .command()?
            .env(STOP_ON_STDIN_CLOSE, "1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().with_context(starting)?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(starting)?;
        let stdin = child.stdin.take();
        self.running = Some(Running { child, _stdin: stdin });
        Ok(())
    }

    /// Starts another executable in its place, on the same files. It must not run.
    pub fn restart_as(&mut self, program: &Path) -> Result<()> {
        program.clone_into(&mut self.launch.program);
        self.restart()
    }

    /// Its next starts have this bug brought back, if it is a dev build.
    pub fn seed_bug(&mut self, bug: Option<&str>) {
        self.launch.seeded_bug = bug.map(str::to_owned);
    }

    /// Its process id, if it was started and not ended by us.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// kill -9, and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        let mut running =
            self.running.take().with_context(|| format!("{} does not run", self.launch.name))?;
        running.child.kill().with_context(|| format!("killing {}", self.launch.name))?;
        running.child.wait().with_context(|| format!("waiting for {}", self.launch.name))?;
        if self.launch.clock.is_some() {
            clock::forget(running.child.id());
        }
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.launch.name))?;
        let pid = i32::try_from(pid).context("process ids are positive")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("{signal} to {}", self.launch.name))
    }

    /// How it ended, if it did by itself.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.running {
            Some(running) => Ok(running.child.try_wait()?),
            None => Ok(None),
        }
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(self.pid().with_context(|| format!("{} does not run", self.launch.name))?)
    }

    /// Processor time it has used, user and system.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(&self.proc_file("stat")?)
    }

    /// Processor time of it and its children.
    pub fn cpu_time_with_children(&self) -> Result<Duration> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.launch.name))?;
        let children = self.proc_file(&format!("task/{pid}/children"))?;
        children.split_whitespace().try_fold(self.cpu_time()?, |sum, child| {
            Ok(sum + cpu_time(&fs::read_to_string(format!("/proc/{child}/stat"))?)?)
        })
    }

    /// Asks it to end (SIGTERM) and waits; kills it when it takes long.
    pub fn end(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + ENDS_WITHIN;
        while self.ended()?.is_none() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        self.kill()
    }

    fn proc_file(&self, file: &str) -> Result<String> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.launch.name))?;
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    }

    /// What to start it by.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        tail(&self.launch.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.running.is_some() {
            // It may have ended by itself.
            let _ = self.kill();
        }
    }
}

impl Launch {
    fn command(&self) -> Result<Command> {
        // `ip`, `prlimit` and `env` replace themselves by what follows: the child's process id is the program's.
        let mut words: Vec<OsString> = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["ip", "netns", "exec", namespace].map(OsString::from));
        }
        if let Some(limit) = self.descriptors {
            words.extend(["prlimit".to_owned(), format!("--nofile={limit}:{limit}")].map(OsString::from));
        }
        if let Some(file) = &self.clock {
            words.extend(clock::command(file)?.into_iter().map(OsString::from));
        }
        words.push(self.program.clone().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(&self.arguments);
        for (variable, _) in env::vars_os() {
            if variable.to_str().is_some_and(|name| name.starts_with("HANSE_") && name != LOG) {
                command.env_remove(variable);
            }
        }
        if let Some(bug) = &self.seeded_bug {
            command.env(SEEDED_BUG, bug);
        }
        if let Some(dir) = &self.test_origin {
            command.env(TEST_ORIGIN, dir);
        }
        Ok(command)
    }
}

/// Waits until `holds` says so; fails with what it says last.
pub async fn until<F>(what: &str, within: Duration, mut holds: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let deadline = Instant::now() + within;
    loop {
        match holds().await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                bail!("{what}: not within {within:?}: {error:#}")
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// The binary under test: `HANSE_BIN`, else `hanse` beside the test's own directory or beside this executable.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("HANSE_BIN") {
        return Ok(path.into());
    }
    let executable = env::current_exe()?;
    let beside = executable.parent().map(|dir| dir.join("hanse"));
    let above = executable.parent().and_then(Path::parent).map(|dir| dir.join("hanse"));
    let found = [&beside, &above].into_iter().flatten().find(|path| path.exists());
    match found {
        Some(path) => Ok(path.clone()),
        None => bail!("no hanse near {}: run `./check build`, or set HANSE_BIN", executable.display()),
    }
}

/// The test release: `HANSE_NEXT_BIN`, else `hanse-next` beside the binary under test.
pub fn next_binary() -> Result<PathBuf> {
    let path = match env::var_os("HANSE_NEXT_BIN") {
        Some(path) => path.into(),
        None => binary()?.with_file_name("hanse-next"),
    };
    ensure!(path.exists(), "no {}: run `./check build`, or set HANSE_NEXT_BIN", path.display());
    Ok(path)
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS in kB")?;
    Ok(kib * 1024)
}

/// The last part of a file, under its name.
pub(crate) fn tail(path: &Path) -> String {
    /// Enough to see why a process ended.
    const BYTES: usize = 3_000;
    let mut text = Vec::new();
    let _ = fs::File::open(path).and_then(|mut file| file.read_to_end(&mut text));
    let from = text.len().saturating_sub(BYTES);
    format!("--- {}\n{}\n", path.display(), String::from_utf8_lossy(&text[from..]))
}

/// User and system time of a `/proc/PID/stat` line.
fn cpu_time(stat: &str) -> Result<Duration> {
    /// The kernel counts in this unit for user space, with any tick of its own (USER_HZ, 100 on every architecture we run on).
    const TICK: Duration = Duration::from_millis(10);
    // The second field is the name in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(") ").context("a stat line has a name in parentheses")?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks = |index: usize| -> Result<u32> {
        fields.get(index).context("a stat line has 52 fields")?.parse().context("ticks")
    };
    // utime and stime are the 14th and 15th field of the line, the 12th and 13th after the name.
    Ok(TICK * (ticks(11)? + ticks(12)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(dir: &Path) -> Launch {
        Launch {
            name: "sleeper".into(),
            program: "sleep".into(),
            arguments: vec!["60".into()],
            namespace: None,
            descriptors: None,
            clock: None,
            seeded_bug: None,
            test_origin: None,
            log: dir.join("log"),
        }
    }

    #[test]
    fn a_process_is_killed_restarted_and_gone_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::start(sleeper(dir.path())).unwrap();
        let first = process.pid().unwrap();
        assert!(process.resident_bytes().unwrap() > 0);
        assert!(process.restart().is_err(), "it runs already");
        process.signal(Signal::SIGSTOP).unwrap();
        process.kill().unwrap();
        assert!(process.pid().is_none() && process.signal(Signal::SIGCONT).is_err());
        process.restart().unwrap();
        let second = process.pid().unwrap();
        assert_ne!(first, second);
        drop(process);
        assert!(!Path::new(&format!("/proc/{second}")).exists());
    }

    #[test]
    fn the_times_of_a_process_with_an_awkward_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu_time(stat).unwrap(), Duration::from_secs(2));
        assert!(cpu_time("7 (a) S 1").is_err());
    }

    #[tokio::test]
    async fn what_never_holds_is_told_with_its_last_reason() {
        let error = until("green", Duration::ZERO, || async { bail!("still red") }).await.unwrap_err();
        assert_eq!(error.to_string(), "green: not within 0ns: still red");
    }
}
