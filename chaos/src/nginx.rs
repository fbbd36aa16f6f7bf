//! nginx with one worker: the peer of benchmarks, and the balancer of tests.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    Client, Process,
    bench::MissingPeer,
    process::{Launch, until},
};

/// Where Debian has it; not in the path of every user.
const PROGRAMS: [&str; 2] = ["nginx", "/usr/sbin/nginx"];
/// With thousands of locations it takes some seconds.
const SERVES_WITHIN: Duration = Duration::from_secs(60);
/// Both ends: connections of benchmarks are not closed for their age.
pub(crate) const KEEPALIVE: &str = "keepalive_requests 1000000000; keepalive_timeout 600s;";

/// One nginx with one worker.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    address: SocketAddr,
}

/// Its program and version, if it is installed.
pub fn find() -> Result<(PathBuf, String), MissingPeer> {
    for program in PROGRAMS {
        if let Ok(output) = Command::new(program).arg("-v").output() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let version = said.trim().rsplit('/').next().unwrap_or_default().to_owned();
            return Ok((program.into(), version));
        }
    }
    Err(MissingPeer { tool: "nginx", package: "nginx-light" })
}

impl Nginx {
    /// A balancer in front of gateways, `host:port`. It tries the other gateway where one cannot be reached, and where a request that may be
    /// sent twice (RFC 9110 §9.2.2) got no answer.
    pub async fn balancer(dir: &Path, address: SocketAddr, gateways: &[String]) -> Result<Self> {
        let servers: String =
            gateways.iter().map(|gateway| format!("server {gateway} fail_timeout=1s; ")).collect();
        let text = format!(
            "upstream gateways {{ {servers}}}\n\
             server {{ listen {address}; location / {{ proxy_set_header Host $host; proxy_connect_timeout 1s; \
             proxy_pass http://gateways; }} }}"
        );
        Self::start(&find()?.0, &dir.join("nginx-balancer"), address, &text).await
    }

    /// With these parts of its configuration, in `http`. Returns when it answers at `address`.
    pub(crate) async fn start(
        program: &Path,
        dir: &Path,
        address: SocketAddr,
        servers: &str,
    ) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let config = dir.join("nginx.conf");
        fs::write(&config, configuration(dir, servers))?;
        let launch = Launch {
            name: format!("nginx at {address}"),
            program: program.to_owned(),
            arguments: vec!["-c".into(), config.to_string_lossy().into_owned()],
            namespace: None,
            descriptors: None,
            clock: None,
            seeded_bug: None,
            test_origin: None,
            log: dir.join("log"),
        };
        let nginx = Self { process: Process::start(launch)?, address };
        let client = Client::new(None)?;
        let url = format!("http://{address}/");
        until("nginx answers", SERVES_WITHIN, || async { client.get(&url, &[]).await.map(drop) })
            .await
            .with_context(|| nginx.process.log())?;
        Ok(nginx)
    }

    /// `http://ADDRESS:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Processor time of the master and its worker.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        self.process.cpu_time_with_children()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A killed master would leave its worker behind.
        let _ = self.process.end();
    }
}

fn configuration(dir: &Path, servers: &str) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {dir}/pid;\nerror_log {dir}/error.log warn;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off;\n {KEEPALIVE}\n client_body_temp_path {dir}/body;\n proxy_temp_path {dir}/proxy;\n \
         fastcgi_temp_path {dir}/fastcgi;\n uwsgi_temp_path {dir}/uwsgi;\n scgi_temp_path {dir}/scgi;\n{servers}\n}}\n"
    )
}
