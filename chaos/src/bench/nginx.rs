//! nginx, as the upstream of both gateways and as the peer that does the same job: one worker, an API key, a rate limit, as
//! many Apis, kept connections to the upstream.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use anyhow::{Result, ensure};

use super::publish::bulk_name;
pub(super) use crate::nginx::{Nginx, find};
use crate::{Client, nginx::KEEPALIVE};

/// What the upstream answers with.
pub(super) const BODY_BYTES: usize = 1_024;

/// An upstream that answers everything with the same octets.
pub(super) async fn upstream(program: &Path, dir: &Path, address: SocketAddr) -> Result<Nginx> {
    let body = "x".repeat(BODY_BYTES);
    let server = format!("server {{ listen {address}; location / {{ return 200 \"{body}\"; }} }}");
    Nginx::start(program, &dir.join("nginx-upstream"), address, &server).await
}

/// A gateway to that upstream with `apis` Apis, each a location, called with `key`.
pub(super) async fn gateway(
    program: &Path,
    dir: &Path,
    address: SocketAddr,
    upstream: SocketAddr,
    apis: usize,
    key: &str,
) -> Result<Nginx> {
    let servers = configuration(address, upstream, apis, key);
    Nginx::start(program, &dir.join("nginx-gateway"), address, &servers).await
}

/// What Hanse's gateway does, in nginx's words: the key is looked up and removed, the rate counted, the context stripped,
/// the forwarding headers set.
fn configuration(address: SocketAddr, upstream: SocketAddr, apis: usize, key: &str) -> String {
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
