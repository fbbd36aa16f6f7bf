//! `dev.json`: what runs where, for programs and other terminals.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use hanse_api::answer::LineageStatus;
use hanse_topology::Name;
use serde::{Deserialize, Serialize};

use super::plan::{Face, ProcessSpec, Role};
use crate::{client_config::write_private, render};

const FILE: &str = "dev.json";

/// The content of `dev.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DevState {
    /// The federation's lineage, as `/v1/status` gives it; `None` until it is ready.
    pub(super) lineage: Option<LineageStatus>,
    /// The client configuration.
    pub(super) client: PathBuf,
    /// Every process, running or not.
    pub(super) processes: Vec<ProcessState>,
}

/// One process. Fields that do not apply are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessState {
    pub(super) role: Role,
    pub(super) name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<Name>,
    /// The host of its pattern that carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    pub(super) up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) https: Option<String>,
    /// `ADDRESS:PORT` of UDP and TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dns: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<String>,
}

impl ProcessState {
    /// A planned process. One that is down keeps the id it had.
    pub(super) fn new(spec: &ProcessSpec, pid: Option<u32>, up: bool) -> Self {
        let url =
            |scheme: &str, face: Face| spec.address(face).map(|address| format!("{scheme}://{address}"));
        Self {
            role: spec.role,
            name: spec.name.clone(),
            region: spec.region.clone(),
            host: spec.host.clone(),
            pid,
            up,
            http: url("http", Face::Http),
            // A server's operator API is what it has for clients.
            https: url("https", Face::Https).or_else(|| url("https", Face::Api)),
            dns: spec.address(Face::Dns),
            admin: url("http", Face::Admin),
        }
    }
}

impl DevState {
    /// Reads the file in a data directory; `None` when no federation runs there.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join(FILE);
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).with_context(|| format!("reading {}", path.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Replaces the file in one step.
    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("writing dev.json")?;
        write_private(&dir.join(FILE), &text)
    }

    /// Removes the file: nothing runs.
    pub(super) fn remove(dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Where a region's gateways take plain HTTP.
    pub(crate) fn gateways(&self, region: &str) -> Vec<String> {
        let of_region = self.processes.iter().filter(|process| {
            process.role == Role::Gateway && process.region.as_ref().is_some_and(|own| own == region)
        });
        of_region.filter_map(|gateway| gateway.http.clone()).collect()
    }
}

/// `hanse dev ps`.
pub(super) fn table(state: &DevState) -> String {
    let mut header = ["NAME", "ROLE", "REGION", "STATE", "PID", "HTTP", "HTTPS", "DNS", "ADMIN"]
        .map(str::to_owned)
        .to_vec();
    // Only patterns have hosts.
    let has_hosts = state.processes.iter().any(|process| process.host.is_some());
    if has_hosts {
        header.insert(2, "HOST".to_owned());
    }
    let rows = state.processes.iter().map(|process| {
        let mut row = vec![
            process.name.to_string(),
            process.role.command().to_owned(),
            process.region.as_ref().map(Name::to_string).unwrap_or_default(),
            if process.up { "up" } else { "down" }.to_owned(),
            process.pid.filter(|_| process.up).map(|pid| pid.to_string()).unwrap_or_default(),
            process.http.clone().unwrap_or_default(),
            process.https.clone().unwrap_or_default(),
            process.dns.clone().unwrap_or_default(),
            process.admin.clone().unwrap_or_default(),
        ];
        if has_hosts {
            row.insert(2, process.host.clone().unwrap_or_default());
        }
        row
    });
    render::table(header, rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dev::plan::Plan;

    fn state() -> DevState {
        let mut plan = Plan::new(1, 1);
        plan.choose_ports(Ok).unwrap();
        let processes =
            plan.processes.iter().zip([(10, true), (11, true), (12, true), (13, false), (14, true)]);
        DevState {
            lineage: Some(LineageStatus { generation: 1, id: "ab".into(), parent: None }),
            client: "/d/client.toml".into(),
            processes: processes.map(|(spec, (pid, up))| ProcessState::new(spec, Some(pid), up)).collect(),
        }
    }

    #[test]
    fn the_file_has_the_documented_shape() {
        assert_eq!(
            serde_json::to_value(state()).unwrap(),
            json!({
                "lineage": {"generation": 1, "id": "ab"},
                "client": "/d/client.toml",
                "processes": [
                    {"role": "upstream", "name": "upstream", "pid": 10, "up": true, "http": "http://127.0.0.1:9000"},
                    {"role": "server", "name": "cp-1", "pid": 11, "up": true,
                     "https": "https://127.0.0.1:7443", "admin": "http://127.0.0.1:7449"},
                    {"role": "agent", "name": "agent-eu-west", "region": "eu-west", "pid": 12, "up": true,
                     "admin": "http://127.0.0.1:7460"},
                    {"role": "gateway", "name": "gateway-eu-west", "region": "eu-west", "pid": 13, "up": false,
                     "http": "http://127.0.0.1:8080", "https": "https://127.0.0.1:8443", "admin": "http://127.0.0.1:7470"},
                    {"role": "dns", "name": "dns-eu-west", "region": "eu-west", "pid": 14, "up": true,
                     "dns": "127.0.0.1:7453", "admin": "http://127.0.0.1:7480"},
                ],
            })
        );
    }

    #[test]
    fn it_is_written_read_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(DevState::read(dir.path()).unwrap(), None);
        state().write(dir.path()).unwrap();
        let read = DevState::read(dir.path()).unwrap().unwrap();
        assert_eq!(read, state());
        assert_eq!(read.gateways("eu-west"), ["http://127.0.0.1:8080"]);
        DevState::remove(dir.path()).unwrap();
        DevState::remove(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn processes_are_listed() {
        let text = table(&state());
        assert!(text.contains("gateway-eu-west  gateway   eu-west  down   -"), "{text}");
    }
}
