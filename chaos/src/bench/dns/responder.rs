//! The responder of a small federation, with one serving thread and no limit of answers.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    job::{self, Job, REGIONS},
    load::ask,
};
use crate::Federation;

const NAME: &str = "dns-eu-west";
/// The agent has the zone within a second, and the responder starts from its disk.
const SERVES_WITHIN: Duration = Duration::from_secs(20);

/// The responder.
pub(super) struct Responder {
    pub(super) address: SocketAddr,
    pub(super) process: u32,
    /// It ends when this is dropped.
    _federation: Federation,
}

impl Responder {
    pub(super) fn start() -> Result<Self> {
        let regions = REGIONS.len().to_string();
        let federation = Federation::start(&["--regions", &regions, "--control-nodes", "1"])?;
        federation.apply(&job::manifests())?;
        let config = federation.data_dir().join("nodes").join(NAME).join("config.toml");
        let text = fs::read_to_string(&config)?;
        let mut table: toml::Table = text.parse()?;
        table.insert("workers".to_owned(), 1.into());
        let limits = toml::Table::from_iter([("answers_per_second".to_owned(), 0.into())]);
        table.insert("limits".to_owned(), limits.into());
        let address = table.get("listen").and_then(|listen| listen.get("dns"));
        let address = address.and_then(|dns| dns.as_str().or_else(|| dns.get(0)?.as_str()));
        let address: SocketAddr = address.context("listen.dns")?.parse()?;
        answers(address)?;
        fs::write(&config, table.to_string())?;
        federation.dev(&["kill", NAME])?;
        federation.dev(&["start", NAME])?;
        answers(address)?;
        let process = u32::try_from(federation.process(NAME)?.pid)?;
        Ok(Self { address, process, _federation: federation })
    }
}

fn answers(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + SERVES_WITHIN;
    let (question, expected) = Job::ByClient.questions().swap_remove(0);
    loop {
        let answer = ask(address, &question);
        match answer {
            Ok(answer) if answer == expected => return Ok(()),
            _ if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            answer => bail!("the responder does not answer: {answer:?}"),
        }
    }
}
