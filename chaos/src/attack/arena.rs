//! What an attacker knows: addresses, what lies in the nodes' directories, and the operator's client where a token is stolen.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Operator, World, http::tls_config};

/// A federation as an attacker sees it. Cloning shares nothing that runs.
#[derive(Debug, Clone)]
pub struct Arena {
    addresses: BTreeMap<String, Ipv4Addr>,
    data_dirs: BTreeMap<String, PathBuf>,
    /// The root's certificate.
    pub ca_file: PathBuf,
    /// The operator's client.
    pub operator: Operator,
    /// The operator's token.
    pub token: String,
}

impl Arena {
    pub(super) fn of(world: &World) -> Result<Self> {
        let names: Vec<String> = world.names().map(str::to_owned).collect();
        let mut addresses = BTreeMap::new();
        for name in &names {
            addresses.insert(name.clone(), world.address(name)?);
        }
        Ok(Self {
            addresses,
            data_dirs: names.into_iter().map(|name| (name.clone(), world.data_dir(&name))).collect(),
            ca_file: world.ca_file(),
            operator: world.operator().clone(),
            token: world.token()?,
        })
    }

    /// A port of a node; ports are in [`crate::spec`].
    pub fn at(&self, node: &str, port: u16) -> Result<SocketAddr> {
        let address = self.addresses.get(node).with_context(|| format!("no node {node}"))?;
        Ok(SocketAddr::from((*address, port)))
    }

    /// Where a node keeps everything: for attackers that stole it.
    pub fn data_dir(&self, node: &str) -> Result<&PathBuf> {
        self.data_dirs.get(node).with_context(|| format!("no node {node}"))
    }

    /// TLS as a client without a certificate speaks it.
    pub fn tls(&self) -> Result<Arc<ClientConfig>> {
        Ok(Arc::new(tls_config(Some(&self.ca_file))?))
    }
}

/// A TLS connection to a port, with this configuration.
pub(super) async fn dial(address: SocketAddr, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TlsConnector::from(tls).connect(address.ip().into(), stream).await?)
}
