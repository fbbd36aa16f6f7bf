//! From nothing to a federation that serves, as an operator would set it up: `init`, tokens, `join`, `mint-token`.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{Node, Places, Role, World, WorldOptions};
use crate::{
    clock,
    delay::Road,
    http::Client,
    operator::Operator,
    process::{Launch, Process, binary},
    spec::{self, AgentListen, AgentSpec, GatewayListen, GatewaySpec, ServerListen, ServerSpec},
};

/// What a new federation is told first.
const BASE: &str = "kind: Organization\nname: default\nspec: {displayName: Default organization}\n---\n\
                    kind: Plan\nname: unlimited\nspec: {}\n";

impl World {
    /// Sets a federation up; returns when every process serves.
    pub async fn set_up(options: WorldOptions) -> Result<Self> {
        ensure!(options.control_nodes > 0, "a federation has at least one control-plane node");
        let dir = tempfile::Builder::new().prefix("hanse-chaos-").tempdir()?;
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => binary()?,
        };
        let mut world = Self {
            places: Places::new(options.placement)?,
            operator: Operator::new(&binary, &dir.path().join("client.toml")),
            client: Client::new(None)?,
            nodes: BTreeMap::new(),
            windows: Vec::new(),
            roads: BTreeMap::new(),
            options,
            binary,
            dir,
        };
        let outcome = world.found().await;
        outcome.with_context(|| format!("setting a federation up:\n{}", world.logs()))?;
        Ok(world)
    }

    async fn found(&mut self) -> Result<()> {
        let (address, namespace) = self.places.place("upstream")?;
        let listen = spec::at(address, spec::UPSTREAM);
        self.launch("upstream", Role::Upstream, address, namespace, vec!["--listen".into(), listen])?;

        let mut servers = BTreeMap::new();
        for number in 1..=self.options.control_nodes {
            let name = format!("cp-{number}");
            let place = self.places.place(&name)?;
            let data_dir = self.data_dir(&name);
            let listen = ServerListen::at(place.0);
            let road = self.road_to(&name, place.0).await?;
            let advertise = road.map(|road| listen.clone().by_way_of(road));
            self.write_config(&name, &ServerSpec { name: name.clone(), data_dir, listen, advertise })?;
            servers.insert(name, place);
        }
        self.found_control_plane(servers).await?;
        for region in self.options.regions.clone() {
            self.found_region(&region).await?;
        }
        Ok(())
    }

    /// The agents of a region, and their gateways.
    async fn found_region(&mut self, region: &str) -> Result<()> {
        let mut gateways = 0;
        for (agent, behind_it) in self.options.agents.clone().into_iter().enumerate() {
            let agent = numbered("agent", region, agent);
            self.add_agent(region, &agent).await?;
            for gateway in gateways..gateways + behind_it {
                self.add_gateway(&agent, &numbered("gateway", region, gateway)).await?;
            }
            gateways += behind_it;
        }
        Ok(())
    }

    /// Makes the road to a control-plane node, if the options ask for one; its address.
    async fn road_to(&mut self, name: &str, server: Ipv4Addr) -> Result<Option<String>> {
        let Some([up, down]) = self.options.road else { return Ok(None) };
        let listen = SocketAddr::from((self.own_address(), 0));
        let road = Road::start(listen, SocketAddr::from((server, spec::FEDERATION)), up, down).await?;
        let address = road.address.to_string();
        self.roads.insert(name.to_owned(), road);
        Ok(Some(address))
    }

    /// The first node makes the federation, the others join it by the first.
    async fn found_control_plane(
        &mut self,
        servers: BTreeMap<String, (Ipv4Addr, Option<String>)>,
    ) -> Result<()> {
        let apis: Vec<_> = servers.values().map(|(address, _)| spec::at(*address, spec::API)).collect();
        let mut via = None;
        for (name, (address, namespace)) in servers {
            let config = self.config(&name);
            match &via {
                None => {
                    let token = self.operator.ok(&["server", "--config", &config, "init"])?;
                    self.write_client(&token, &apis, &name)?;
                    via = Some(spec::at(address, spec::ENROLMENT));
                }
                Some(via) => {
                    let token = self.operator.ok(&["token", "create", "--join", "server"])?;
                    let join = ["server", "--config", &config, "join", "--via", via.as_str()];
                    let secret = [("HANSE_SERVER_JOIN_TOKEN", token.trim())];
                    let ran = self.operator.run(&join, "", &secret)?;
                    ensure!(ran.code == 0, "{name} may not join: {}", ran.stderr);
                }
            }
            let first = self.nodes.values().all(|node| node.role != Role::Server);
            self.launch(&name, Role::Server, address, namespace, vec!["--config".into(), config])?;
            self.serves(&name).await?;
            if first {
                self.tell_base()?;
            }
        }
        Ok(())
    }

    /// Organization, regions, one environment in all of them, a plan.
    fn tell_base(&self) -> Result<()> {
        let mut manifests = BASE.to_owned();
        for region in &self.options.regions {
            manifests += &format!("---\nkind: Region\nname: {region}\nspec: {{provider: cloud}}\n");
        }
        if !self.options.regions.is_empty() {
            let regions = self.options.regions.join(", ");
            manifests +=
                &format!("---\nkind: Environment\nname: production\nspec: {{regions: [{regions}]}}\n");
        }
        let ran = self.operator.run(&["apply", "-f", "-"], &manifests, &[])?;
        ensure!(ran.code == 0, "telling the first resources: {}", ran.stderr);
        Ok(())
    }

    fn write_client(&self, token: &str, apis: &[String], founder: &str) -> Result<()> {
        let ca = self.ca_file();
        fs::copy(self.data_dir(founder).join("pki/root.crt"), &ca).context("the root's certificate")?;
        fs::write(self.dir.path().join("operator.token"), token)?;
        let mut table = toml::Table::new();
        let servers = apis.iter().map(|api| format!("https://{api}").into()).collect();
        table.insert("servers".into(), toml::Value::Array(servers));
        table.insert("ca_file".into(), ca.to_string_lossy().into_owned().into());
        table.insert("token".into(), token.trim().into());
        table.insert("organization".into(), "default".into());
        fs::write(self.operator.config(), table.to_string())?;
        Ok(())
    }

    async fn add_agent(&mut self, region: &str, name: &str) -> Result<()> {
        let (address, namespace) = self.places.place(name)?;
        let token = self.operator.ok(&["token", "create", "--join", "agent", "--region", region])?;
        let spec = AgentSpec {
            name: name.to_owned(),
            region: region.to_owned(),
            data_dir: self.data_dir(name),
            servers: match self.options.road {
                Some(_) => self.roads.values().map(|road| road.address.to_string()).collect(),
                None => self.addresses(Role::Server, spec::FEDERATION),
            },
            enrolment: self.addresses(Role::Server, spec::ENROLMENT),
            join_token_file: self.write_token(name, &token)?,
            listen: AgentListen::at(address),
        };
        self.write_config(name, &spec)?;
        let arguments = vec!["--config".into(), self.config(name)];
        self.launch(name, Role::Agent, address, namespace, arguments)?;
        self.serves(name).await
    }

    /// Adds a gateway behind an agent, with a token that this agent mints; returns when it serves. Needs no control plane.
    pub async fn add_gateway(&mut self, agent: &str, name: &str) -> Result<()> {
        let (address, namespace) = self.places.place(name)?;
        let token = self.operator.ok(&["agent", "--config", &self.config(agent), "mint-token"])?;
        let agent = self.node(agent)?.address;
        let spec = GatewaySpec {
            name: name.to_owned(),
            data_dir: self.data_dir(name),
            agents: vec![spec::at(agent, spec::FEDERATION)],
            enrolment: vec![spec::at(agent, spec::ENROLMENT)],
            join_token_file: self.write_token(name, &token)?,
            workers: self.options.gateway_workers,
            listen: GatewayListen::at(address),
        };
        self.write_config(name, &spec)?;
        let arguments = vec!["--config".into(), self.config(name)];
        self.launch(name, Role::Gateway, address, namespace, arguments)?;
        self.serves(name).await
    }

    /// An address for a process of the caller's own, as nodes on loopback have one.
    pub fn take_address(&mut self, name: &str) -> Result<Ipv4Addr> {
        let (address, namespace) = self.places.place(name)?;
        ensure!(namespace.is_none(), "the caller's own processes are in no namespace");
        Ok(address)
    }

    fn addresses(&self, role: Role, port: u16) -> Vec<String> {
        let of_role = self.nodes.values().filter(|node| node.role == role);
        of_role.map(|node| spec::at(node.address, port)).collect()
    }

    fn launch(
        &mut self,
        name: &str,
        role: Role,
        address: Ipv4Addr,
        namespace: Option<String>,
        further: Vec<String>,
    ) -> Result<()> {
        let subcommand = match role {
            Role::Server => "server",
            Role::Agent => "agent",
            Role::Gateway => "gateway",
            Role::Upstream => "upstream",
        };
        fs::create_dir_all(self.node_dir(name))?;
        let clock = (self.options.clocks && role == Role::Server).then(|| self.clock_file(name));
        if let Some(file) = &clock {
            clock::write(file, 0)?;
        }
        let test_origin = self.options.test_origin.as_ref().filter(|_| role == Role::Agent);
        let test_origin = test_origin.map(|dir| dir.join(name));
        test_origin.iter().try_for_each(fs::create_dir_all)?;
        let launch = Launch {
            name: name.to_owned(),
            program: self.binary.clone(),
            arguments: std::iter::once(subcommand.to_owned()).chain(further).collect(),
            namespace,
            descriptors: self.options.descriptors,
            clock,
            seeded_bug: self.options.seeded_bug.clone(),
            test_origin,
            log: self.node_dir(name).join("log"),
        };
        let process = Process::start(launch)?;
        self.nodes.insert(name.to_owned(), Node { role, address, process });
        Ok(())
    }

    /// The path of a node's configuration file.
    pub fn config(&self, name: &str) -> String {
        self.node_dir(name).join("config.toml").to_string_lossy().into_owned()
    }

    fn write_config(&self, name: &str, spec: &impl Serialize) -> Result<()> {
        fs::create_dir_all(self.node_dir(name))?;
        fs::write(self.config(name), toml::to_string(spec)?).with_context(|| self.config(name))
    }

    fn write_token(&self, name: &str, token: &str) -> Result<std::path::PathBuf> {
        fs::create_dir_all(self.node_dir(name))?;
        let path = self.node_dir(name).join("join-token");
        fs::write(&path, token)?;
        Ok(path)
    }
}

/// The name of the first node of its kind in a region, and of those after it.
fn numbered(kind: &str, region: &str, index: usize) -> String {
    match index {
        0 => format!("{kind}-{region}"),
        _ => format!("{kind}-{region}-{}", index + 1),
    }
}
