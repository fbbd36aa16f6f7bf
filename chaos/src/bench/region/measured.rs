//! A region of real agents: the three relays are processes, so that they can be killed and their memory is their own. The others run in
//! this process.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_agent::Config;
use hanse_topology::{Name, ScopeId};
use serde_json::Value;

use super::{
    Figures, RELAYS, RegionOptions,
    agents::{InProcess, all_hold, last_of, listen, start_all, stop_all},
    live, say, sockets,
};
use crate::{
    Role, World, WorldOptions,
    bench::ms,
    process::{resident_bytes, until},
    spec,
};

const REGION: &str = "eu-west";
/// Agents that join at once: the control node answers joins one after the other.
const JOINING: usize = 8;
/// For all links to stand: two hundred agents share the machine, and a relay is replaced after a minute of silence.
const LINKED_WITHIN: Duration = Duration::from_secs(300);
/// Between two changes: longer than their messages and acknowledgements take.
const PAUSE: Duration = Duration::from_millis(200);
/// After which a region is quiet: reports and bookmarks come each second.
const SETTLED: Duration = Duration::from_secs(3);

/// The region while it runs.
struct Running {
    world: World,
    agents: Vec<InProcess>,
    /// Where every agent's federation port is.
    addresses: BTreeMap<String, Ipv4Addr>,
    /// What the first holders publish, in their order.
    scopes: Vec<ScopeId>,
    /// The last change.
    change: u64,
}

/// Measures.
pub(super) async fn measure(options: &RegionOptions) -> Result<Figures> {
    say(&format!("{} agents join", options.agents));
    let before = resident_bytes(std::process::id())?;
    let mut region = Running::found(options).await?;
    let mut figures = Figures { agents: options.agents, ..Figures::default() };
    region.linked(options.agents).await?;
    for scope in 0..options.scopes {
        region.change(scope).await?;
    }

    say("nothing changes");
    region.at_rest(&mut figures, options, before).await?;
    say("changes");
    let mut took = Vec::new();
    for change in 0..options.changes {
        took.push(region.change(change % options.scopes).await?);
        tokio::time::sleep(PAUSE).await;
    }
    figures.note_changes(took);

    say("gateways come and go");
    figures.note_live(&region.live(options).await?);

    say("a relay is killed");
    let killed = region.relays().await?.pop_last().context("a relay")?.0;
    let began = Instant::now();
    region.world.kill(&killed)?;
    figures.relay_killed_change_to_all_ms = ms(region.change(0).await?);
    if !options.quick {
        region.linked(options.agents - 1).await?;
        figures.relay_replaced_ms = Some(ms(began.elapsed()));
    }

    say("all restart");
    (figures.restarted_linked_ms, figures.restarted_change_to_all_ms) = region.restart(options).await?;
    stop_all(&mut region.agents).await?;
    Ok(figures)
}

impl Running {
    async fn found(options: &RegionOptions) -> Result<Self> {
        let mut world = World::set_up(WorldOptions {
            control_nodes: 1,
            regions: vec![REGION.to_owned()],
            agents: vec![0; RELAYS],
            ..WorldOptions::default()
        })
        .await?;
        let mut addresses = BTreeMap::new();
        for agent in world.of_role(Role::Agent) {
            addresses.insert(agent.clone(), world.address(&agent)?);
        }
        // They are relays before others join: those are named by their names where several may be.
        relays_are_named(&world).await?;

        let uses = options.agents.to_string();
        let token = world.operator().ok(&[
            "token", "create", "--join", "agent", "--region", REGION, "--uses", &uses, "--ttl", "1h",
        ])?;
        let token_file = world.dir().join("agents.token");
        std::fs::write(&token_file, token)?;
        let mut agents = Vec::new();
        for number in 0..options.agents - RELAYS {
            let name = format!("bench-{number:03}");
            let address = world.take_address(&name)?;
            addresses.insert(name.clone(), address);
            agents.push(InProcess::new(config(&world, &name, address, token_file.clone())?));
        }
        start_all(&mut agents, JOINING).await?;

        let scopes: Vec<ScopeId> = (0..options.scopes)
            .map(|number| format!("local/{REGION}/production/pods-{number}").parse())
            .collect::<Result<_, _>>()?;
        let origin = |number: usize| {
            let holder = &agents[number].config.name;
            format!(
                "kind: Origin\nname: pods-{number}\nspec: {{region: {REGION}, environments: [production], \
                 organizations: [default], kinds: [Route], holders: [{holder}]}}\n"
            )
        };
        let origins: Vec<_> = (0..options.scopes).map(origin).collect();
        let ran = world.operator().run(&["apply", "-f", "-"], &origins.join("---\n"), &[])?;
        ensure!(ran.code == 0, "telling the Origins: {}", ran.stderr);
        Ok(Self { world, agents, addresses, scopes, change: 0 })
    }

    /// The source of a scope wishes for something else: how long it takes until every agent in this process holds it. The relays had it
    /// before.
    async fn change(&mut self, scope: usize) -> Result<Duration> {
        self.change += 1;
        let moments = all_hold(&self.agents, &self.scopes[scope], self.change);
        let wished = Instant::now();
        self.agents[scope].wish(&self.scopes[scope], self.change);
        Ok(last_of(moments).await?.saturating_duration_since(wished))
    }

    /// Gateways come at agents that hold no scope, and go: how long until every agent shows it.
    async fn live(&self, options: &RegionOptions) -> Result<live::Took> {
        let relays = self.relays().await?.into_iter();
        let url = |address| format!("http://{}/region", spec::at(address, spec::AGENT_ADMIN));
        let relays = relays.map(|(name, address)| (name, url(address))).collect();
        let (client, ca_file) = (self.world.client(), self.world.ca_file());
        live::measure(&self.agents, relays, client, &ca_file, (options.gateways, options.scopes)).await
    }

    /// Waits until every agent follows every relay, of which none is dead.
    async fn linked(&self, alive: usize) -> Result<()> {
        until("all agents follow three relays", LINKED_WITHIN, || async {
            for (name, address) in self.relays().await? {
                let served = sockets::served(address)?;
                // Each other agent has two connections: it follows the relay, and it watches the region there.
                let wanted = 2 * (alive - 1);
                ensure!(served >= wanted, "{name} serves {served} of {wanted} connections");
            }
            Ok(())
        })
        .await
    }

    /// The relays, each of which answers.
    async fn relays(&self) -> Result<BTreeMap<String, Ipv4Addr>> {
        let page =
            page(&self.world, self.agents.first().context("an agent")?.config.listen.admin.as_str()).await?;
        let names: Vec<String> = serde_json::from_value(page["relays"].clone())?;
        let mut relays = BTreeMap::new();
        for name in names {
            let address = *self.addresses.get(&name).with_context(|| format!("no agent {name}"))?;
            page_of(&self.world, address).await?;
            relays.insert(name, address);
        }
        ensure!(relays.len() == RELAYS, "relays are {relays:?}");
        Ok(relays)
    }

    async fn at_rest(&self, figures: &mut Figures, options: &RegionOptions, before: u64) -> Result<()> {
        tokio::time::sleep(SETTLED).await;
        let (began, first) = (Instant::now(), sockets::carried()?);
        tokio::time::sleep(options.idle()).await;
        let (last, seconds) = (sockets::carried()?, began.elapsed().as_secs_f64());
        let carried = |address: &Ipv4Addr| {
            let at = |carried: &BTreeMap<Ipv4Addr, u64>| carried.get(address).copied().unwrap_or_default();
            at(&last).saturating_sub(at(&first)) as f64 / seconds
        };
        let (relays, count) = (self.relays().await?, RELAYS as f64);
        let by_relays: f64 = relays.values().map(carried).sum();
        let by_control = carried(&self.world.address("cp-1")?);
        figures.idle_bytes_per_second_per_relay = (by_relays / count).round();
        figures.idle_bytes_per_second_per_agent = ((by_relays + by_control) / options.agents as f64).round();

        for address in relays.values() {
            let follows = page_of(&self.world, *address).await?["links"].as_array().map_or(0, Vec::len);
            let streams = sockets::served(*address)? + follows + (RELAYS - 1) + 1;
            figures.streams_per_relay = figures.streams_per_relay.max(streams);
        }
        let other = &self.agents.last().context("an agent")?.config;
        let follows = page(&self.world, &other.listen.admin).await?["links"].as_array().map_or(0, Vec::len);
        figures.streams_per_agent = follows + RELAYS + 1;

        let in_process = resident_bytes(std::process::id())?.saturating_sub(before);
        let mut of_relays = 0;
        for name in relays.keys() {
            of_relays += self.world.process(name)?.resident_bytes()?;
        }
        figures.memory_per_agent_bytes = in_process / self.agents.len() as u64;
        figures.memory_per_relay_bytes = Some(of_relays / RELAYS as u64);
        figures.memory_total_bytes = in_process + of_relays;
        Ok(())
    }

    /// Every agent starts again, all at once. How long until each follows every relay, and until each holds a change of every scope
    /// that was made then.
    async fn restart(&mut self, options: &RegionOptions) -> Result<(f64, f64)> {
        stop_all(&mut self.agents).await?;
        let processes = self.world.of_role(Role::Agent);
        for name in &processes {
            if self.world.process(name)?.pid().is_some() {
                self.world.kill(name)?;
            }
        }
        let began = Instant::now();
        for name in &processes {
            self.world.start_only(name)?;
        }
        let all = self.agents.len();
        start_all(&mut self.agents, all).await?;
        self.linked(options.agents).await?;
        let linked = began.elapsed();

        self.change += 1;
        let wished = Instant::now();
        let mut waiting = Vec::new();
        for (number, scope) in self.scopes.iter().enumerate() {
            waiting.push(all_hold(&self.agents, scope, self.change));
            self.agents[number].wish(scope, self.change);
        }
        let mut last = wished;
        for moments in waiting {
            last = last.max(last_of(moments).await?);
        }
        Ok((ms(linked), ms(last.saturating_duration_since(wished))))
    }
}

/// Waits until the leader has named the processes relays.
async fn relays_are_named(world: &World) -> Result<()> {
    until("three relays are named", LINKED_WITHIN, || async {
        for agent in world.of_role(Role::Agent) {
            let page = page_of(world, world.address(&agent)?).await?;
            ensure!(page["relay"] == true, "{agent}: {page}");
        }
        Ok(())
    })
    .await
}

fn config(world: &World, name: &str, address: Ipv4Addr, token_file: PathBuf) -> Result<Config> {
    let servers = |port: u16| -> Result<Vec<String>> {
        world.of_role(Role::Server).iter().map(|name| Ok(spec::at(world.address(name)?, port))).collect()
    };
    Ok(Config {
        name: Name::new(name)?,
        region: Name::new(REGION)?,
        data_dir: world.data_dir(name),
        store_key: None,
        servers: servers(spec::FEDERATION)?,
        enrolment: servers(spec::ENROLMENT)?,
        join_token_file: Some(token_file),
        listen: listen(address),
        advertise: None,
    })
}

async fn page_of(world: &World, address: Ipv4Addr) -> Result<Value> {
    page(world, &spec::at(address, spec::AGENT_ADMIN)).await
}

async fn page(world: &World, admin: &str) -> Result<Value> {
    world.client().get(&format!("http://{admin}/neighbours"), &[]).await?.json()
}
