//! What an attacker knows: addresses, what lies in the nodes' directories, and the operator's client where a token is stolen.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result};
use hanse_identity::{ClientTls, Expect, TrustAnchor, client_tls};
use hanse_topology::Role;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Operator, World, http::tls_config};

/// A loopback address that no node of any federation has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);

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
    /// A federation's.
    pub fn of(world: &World) -> Result<Self> {
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

    /// The same, but at every port of every node there is no answer.
    #[must_use]
    pub fn where_no_port_is_open(mut self) -> Self {
        self.addresses.values_mut().for_each(|address| *address = NOBODY);
        self
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

    /// TLS as a joiner speaks it: without a certificate, to a control node or an agent.
    pub fn joiner_tls(&self) -> Result<ClientTls> {
        let root = TrustAnchor::from_pem(&std::fs::read_to_string(&self.ca_file)?)?;
        let expect = Expect { roles: vec![Role::Server, Role::Agent], region: None };
        Ok(client_tls(None, &root, expect)?)
    }

    /// TLS as a client of the operator API speaks it, without a certificate.
    pub fn tls(&self) -> Result<Arc<ClientConfig>> {
        Ok(Arc::new(tls_config(Some(&self.ca_file))?))
    }
}

/// TLS over a connection that reached its port: what fails from here on is the node's doing.
pub(super) async fn shake_hands(stream: TcpStream, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    let address = stream.peer_addr()?.ip();
    Ok(TlsConnector::from(tls).connect(address.into(), stream).await?)
}
