//! Knot DNS, the peer: one UDP worker.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    job::{self, ORIGIN, TTL},
    load::ask,
};
use crate::{Process, bench::MissingPeer, process::Launch};

/// Where Debian has it; not in the path of every user.
const PROGRAMS: [&str; 2] = ["knotd", "/usr/sbin/knotd"];
/// It loads a small zone.
const SERVES_WITHIN: Duration = Duration::from_secs(20);

/// One Knot.
pub(super) struct Knot {
    process: Process,
    pub(super) address: SocketAddr,
}

/// Its version, if it is installed.
pub(super) fn find() -> Result<String, MissingPeer> {
    program()
        .map(|(_, version)| version)
        .ok_or(MissingPeer { tool: "knotd", package: "knot knot-module-geoip" })
}

fn program() -> Option<(PathBuf, String)> {
    PROGRAMS.iter().find_map(|program| {
        let output = Command::new(program).arg("--version").output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Some((program.into(), said))
    })
}

impl Knot {
    /// With the records of a zone file alone.
    pub(super) fn fixed(dir: &Path) -> Result<Self> {
        Self::start(dir, "", "")
    }

    /// With the module geoip, by networks of clients.
    pub(super) fn geoip(dir: &Path) -> Result<Self> {
        let file = dir.join("networks.conf");
        let module = format!(
            "mod-geoip:\n  - id: networks\n    config-file: {}\n    ttl: {TTL}\n    mode: subnet\n",
            file.display()
        );
        Self::start(dir, &module, "    module: mod-geoip/networks\n")
    }

    fn start(dir: &Path, module: &str, zone: &str) -> Result<Self> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("networks.conf"), job::networks_file())?;
        fs::write(dir.join("zone"), job::zone_file())?;
        // A port that is free for UDP; Knot binds both.
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let config = dir.join("knot.conf");
        fs::write(&config, configuration(dir, address, module, zone))?;
        let (program, _) = program().context("knotd was there before")?;
        let launch = Launch {
            name: format!("knotd at {address}"),
            program,
            arguments: vec!["-c".into(), config.to_string_lossy().into_owned()],
            namespace: None,
            descriptors: None,
            clock: None,
            seeded_bug: None,
            test_origin: None,
            log: dir.join("log"),
        };
        let knot = Self { process: Process::start(launch)?, address };
        let (question, _) = job::Job::Plain.questions().swap_remove(0);
        let deadline = Instant::now() + SERVES_WITHIN;
        while ask(address, &question).is_err() {
            if Instant::now() > deadline {
                bail!("knotd does not answer: {}", knot.process.log());
            }
        }
        Ok(knot)
    }

    pub(super) fn process(&self) -> u32 {
        self.process.pid().expect("it runs until it is dropped")
    }
}

fn configuration(dir: &Path, address: SocketAddr, module: &str, zone: &str) -> String {
    let (dir, ip, port) = (dir.display(), address.ip(), address.port());
    format!(
        "server:\n    rundir: {dir}\n    listen: {ip}@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n    \
         edns-client-subnet: on\nlog:\n  - target: stderr\n    any: warning\ndatabase:\n    storage: {dir}/db\n{module}\
         zone:\n  - domain: {ORIGIN}\n    file: {dir}/zone\n{zone}"
    )
}
