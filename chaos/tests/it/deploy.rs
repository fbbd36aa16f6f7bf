//! What `deploy/` ships: units that the service manager accepts, configurations that their roles accept, and processes that
//! tell the manager how they stand.

use std::{
    fs,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::until;

const ROLES: [&str; 4] = ["server", "agent", "gateway", "dns"];

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn hanse() -> Result<PathBuf> {
    hanse_chaos::binary()
}

#[test]
fn shipped_configurations_are_sound() -> Result<()> {
    for role in ROLES {
        let file = shipped().join(format!("systemd/{role}.toml"));
        let ran =
            Command::new(hanse()?).arg(role).arg("--config").arg(&file).arg("--check-config").output()?;
        ensure!(ran.status.success(), "{role}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    Ok(())
}

#[test]
fn the_service_manager_accepts_the_units() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for role in ROLES {
        let name = format!("hanse-{role}.service");
        let unit = fs::read_to_string(shipped().join("systemd").join(&name))?;
        // It looks whether the executable is there: here it is the one under test.
        let here = hanse()?.canonicalize()?;
        let unit = unit.replace("/usr/bin/hanse", here.to_str().context("a plain path")?);
        let path = dir.path().join(&name);
        fs::write(&path, unit)?;
        let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output()?;
        let said = String::from_utf8_lossy(&verified.stderr);
        ensure!(verified.status.success() && !said.contains(&name), "{name}: {said}");
    }
    Ok(())
}

#[test]
fn the_image_is_built_with_the_pinned_toolchain() -> Result<()> {
    let root = shipped().join("..");
    let pinned: toml::Table = fs::read_to_string(root.join("rust-toolchain.toml"))?.parse()?;
    let channel = pinned["toolchain"]["channel"].as_str().context("a channel")?;
    let image = fs::read_to_string(shipped().join("Containerfile"))?;
    ensure!(image.contains(&format!("rust:{channel}-bookworm")), "the image and {channel} differ");
    Ok(())
}

/// A control node under a service manager played by a socket.
pub(crate) struct Managed {
    pub(crate) api: SocketAddr,
    pub(crate) raft: SocketAddr,
    pub(crate) admin: SocketAddr,
    socket: UnixDatagram,
    process: Child,
    dir: tempfile::TempDir,
}

impl Managed {
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(|_| Ok(()))
    }

    /// The same, with a data directory that `change` changes after `init`.
    pub(crate) fn start_with(change: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let ports: Vec<_> = (0..5)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
            .collect::<std::io::Result<Vec<_>>>()?
            .into_iter()
            .map(|listener| listener.local_addr())
            .collect::<std::io::Result<_>>()?;
        let faces = ["api", "federation", "raft", "enrolment", "admin"];
        let listen: String =
            faces.iter().zip(&ports).map(|(face, address)| format!("{face} = \"{address}\"\n")).collect();
        let config = dir.path().join("server.toml");
        let data = dir.path().join("data");
        fs::write(
            &config,
            format!("name = \"cp-1\"\ndata_dir = \"{}\"\n[listen]\n{listen}", data.display()),
        )?;
        let made = Command::new(hanse()?).args(["server", "init", "--config"]).arg(&config).output()?;
        ensure!(made.status.success(), "init: {}", String::from_utf8_lossy(&made.stderr));

        change(&data)?;

        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let process = Command::new(hanse()?)
            .args(["server", "--config"])
            .arg(&config)
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "400000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let [api, _federation, raft, _enrolment, admin] = ports[..] else { bail!("five ports") };
        Ok(Self { api, raft, admin, socket, process, dir })
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What came since it was asked last, or within a moment.
    pub(crate) fn said(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut datagram = [0; 4_096];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            lines.extend(String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned));
            if lines.len() > 100 {
                break; // it talks faster than a test can listen: the test will say so
            }
        }
        lines
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.process.id())?), signal)?)
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "it does not stop");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_process_tells_its_manager_how_it_stands() -> Result<()> {
    let mut managed = Managed::start()?;
    let mut heard = Vec::new();
    until("it says that it is ready", Duration::from_secs(30), || {
        heard.extend(managed.said());
        Ok(heard.iter().any(|line| line == "READY=1"))
    })
    .await?;
    let first = heard.iter().find(|line| line.starts_with("STATUS="));
    assert_eq!(first.map(String::as_str), Some("STATUS=starting"), "before that it says why not: {heard:?}");
    until("it proves its life", Duration::from_secs(10), || {
        Ok(managed.said().iter().any(|line| line == "WATCHDOG=1"))
    })
    .await?;

    managed.signal(Signal::SIGSTOP)?;
    managed.said(); // what was on its way
    let frozen = Instant::now();
    while frozen.elapsed() < Duration::from_secs(1) {
        let said = managed.said();
        ensure!(said.is_empty(), "a frozen process proves no life: {said:?}");
    }
    managed.signal(Signal::SIGCONT)?;
    until("it proves its life again", Duration::from_secs(10), || {
        Ok(managed.said().iter().any(|line| line == "WATCHDOG=1"))
    })
    .await?;

    managed.signal(Signal::SIGTERM)?;
    until("it says that it stops", Duration::from_secs(10), || {
        Ok(managed.said().iter().any(|line| line == "STOPPING=1"))
    })
    .await?;
    managed.ended(Duration::from_secs(15)).await?;
    Ok(())
}
