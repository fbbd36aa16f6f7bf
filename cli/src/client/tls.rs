//! Whom the client believes.

use std::path::Path;

use anyhow::Context as _;
use hanse_transport::{Expect, Role, TrustAnchor, client_tls};
use rustls::ClientConfig;

use crate::exit::Failure;

/// Accepts control-plane nodes of the federation whose root is in `ca_file`, at whatever address.
pub(super) fn client_config(ca_file: &Path) -> anyhow::Result<ClientConfig> {
    let anchor = trust_anchor(ca_file)?;
    let expect = Expect { roles: vec![Role::Server], region: None };
    let mut config = (*client_tls(None, &anchor, expect).context("preparing TLS")?).clone();
    // The connector chooses the protocol itself.
    config.alpn_protocols.clear();
    Ok(config)
}

/// The root certificate in a file.
pub(crate) fn trust_anchor(ca_file: &Path) -> anyhow::Result<TrustAnchor> {
    let pem = std::fs::read_to_string(ca_file)
        .map_err(|error| Failure::usage(format!("cannot read ca_file {}: {error}", ca_file.display())))?;
    TrustAnchor::from_pem(&pem).with_context(|| format!("reading ca_file {}", ca_file.display()))
}
