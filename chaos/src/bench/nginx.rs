//! nginx, as the upstream of both gateways and as the peer that does the same job: one worker, an API key, a rate limit, as
//! many Apis, kept connections to the upstream.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{MissingPeer, publish::bulk_name};
use crate::{
    Client, Process,
    process::{Launch, until},
};

/// Where Debian has it; not in the path of every user.
const PROGRAMS: [&str; 2] = ["nginx", "/usr/sbin/nginx"];
/// With thousands of locations it takes some seconds.
const SERVES_WITHIN: Duration = Duration::from_secs(60);
/// Both ends: connections of benchmarks are not closed for their age.
const KEEPALIVE: &str = "keepalive_requests 1000000000; keepalive_timeout 600s;";
/// What the upstream answers with.
pub(super) const BODY_BYTES: usize = 1_024;

/// One nginx with one worker.
#[derive(Debug)]
pub(super) struct Nginx {
    process: Process,
    address: SocketAddr,
}

/// Its program and version, if it is installed.
pub(super) fn find() -> Result<(PathBuf, String), MissingPeer> {
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
    /// An upstream that answers everything with the same octets.
    pub(super) async fn upstream(program: &Path, dir: &Path, address: SocketAddr) -> Result<Self> {
        let body = "x".repeat(BODY_BYTES);
        let server = format!("server {{ listen {address}; location / {{ return 200 \"{body}\"; }} }}");
        Self::start(program, &dir.join("nginx-upstream"), address, &server).await
    }

    /// A gateway to that upstream with `apis` Apis, each a location, called with `key`.
    pub(super) async fn gateway(
        program: &Path,
        dir: &Path,
        address: SocketAddr,
        upstream: SocketAddr,
        apis: usize,
        key: &str,
    ) -> Result<Self> {
        Self::start(program, &dir.join("nginx-gateway"), address, &gateway(address, upstream, apis, key))
            .await
    }

    async fn start(program: &Path, dir: &Path, address: SocketAddr, servers: &str) -> Result<Self> {
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
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Processor time of the master and its worker.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
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

/// What Hanse's gateway does, in nginx's words: the key is looked up and removed, the rate counted, the context stripped,
/// the forwarding headers set.
fn gateway(address: SocketAddr, upstream: SocketAddr, apis: usize, key: &str) -> String {
    let mut text = format!(
        " map $http_x_api_key $application {{ default \"\"; \"{key}\" \"bench\"; }}\n \
         limit_req_zone $application zone=plan:10m rate=1000000r/s;\n \
         upstream backend {{ server {upstream}; keepalive 256; {KEEPALIVE} }}\n \
         server {{\n  listen {address} reuseport;\n  limit_req zone=plan burst=1000000 nodelay;\n  limit_req_status 429;\n  \
         proxy_http_version 1.1;\n  proxy_set_header Connection \"\";\n  proxy_set_header Host {upstream};\n  \
         proxy_set_header X-API-Key \"\";\n  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n  \
         proxy_set_header X-Forwarded-Host $http_host;\n  proxy_set_header X-Forwarded-Proto $scheme;\n  \
         proxy_set_header X-Real-IP $remote_addr;\n  location / {{ return 404; }}\n"
    );
    for number in 0..apis {
        let name = bulk_name(number);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  location /{name}/ {{ if ($application = \"\") {{ return 401; }} proxy_pass http://backend/; }}"
        );
    }
    text + " }\n"
}

/// Both are asked what they are measured at, and both refuse who shows no key: else it is not the same job.
pub(super) async fn does_the_job(client: &Client, url: &str, key: &str) -> Result<()> {
    let answer = client.get(url, &[("x-api-key", key)]).await?;
    ensure!(answer.status == 200 && answer.body.len() == BODY_BYTES, "{url} with a key: {answer:?}");
    let refused = client.get(url, &[]).await?;
    ensure!(refused.status == 401, "{url} without a key: {refused:?}");
    Ok(())
}
