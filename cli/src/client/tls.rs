//! Whom the client believes.

use std::path::Path;

use anyhow::Context as _;
use hanse_identity::{Expect, LiveTrust, TrustBundle, client_tls};
use hanse_process::WallClock;
use hanse_topology::Role;
use rustls::ClientConfig;

use crate::exit::Failure;

/// Accepts control nodes of the federation whose roots are in `ca_file`, at any address.
pub(super) fn client_config(ca_file: &Path) -> anyhow::Result<ClientConfig> {
    let trust = LiveTrust::new(trust_bundle(ca_file)?, WallClock::system());
    let expect = Expect { roles: vec![Role::Server], region: None };
    let mut config = (*client_tls(None, &trust, expect).context("preparing TLS")?).clone();
    // The connector chooses the protocol itself.
    config.alpn_protocols.clear();
    Ok(config)
}

/// The root certificates in a file: one, or two while one takes the other's place.
pub(crate) fn trust_bundle(ca_file: &Path) -> anyhow::Result<TrustBundle> {
    let pem = std::fs::read_to_string(ca_file)
        .map_err(|error| Failure::unreadable(format_args!("ca_file {}", ca_file.display()), &error))?;
    TrustBundle::from_pem(&pem).with_context(|| format!("reading ca_file {}", ca_file.display()))
}
