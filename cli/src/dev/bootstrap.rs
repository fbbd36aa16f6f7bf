//! From nothing, or from an earlier run's data, to a federation that serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use hanse_api::answer::{LineageStatus, Status};
use hanse_identity::TrustAnchor;
use hanse_management::{Spec, kinds::JoinRole};

use super::{
    configs,
    data_dir::DataDir,
    example, own,
    plan::{CONTROL_NODES, Face, Plan, ProcessSpec, REGIONS, Role},
    ports::Reservations,
    process, ready,
    supervisor::Supervisor,
};
use crate::{
    args::DevArgs,
    client::{ApplyOptions, Client},
    client_config::{ClientConfig, default_organization, write_private},
    commands::{root, token},
    exit::{Exit, Failure, exit_of},
    out::{Progress, say},
};

/// Something is wrong with a federation that takes longer; it takes some seconds.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long the control plane may take to hear of every gateway: agents report within a second.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
/// How long the join tokens of the first start are good.
const TOKEN_TTL: Duration = Duration::from_secs(3600);
/// How long the ports of an earlier run may take to become free where it was killed: its processes stop when it is gone.
const PORTS_WITHIN: Duration = Duration::from_secs(8);

/// What is to be run.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) reservations: Reservations,
    /// Whether there is no federation in the directory yet.
    pub(super) is_new: bool,
}

/// What became of it.
pub(super) struct Federation {
    pub(super) lineage: LineageStatus,
}

/// Plans a new federation, or the one that is in the directory; on none of the ports `avoided`.
pub(super) fn prepare(
    dir: &DataDir,
    args: &DevArgs,
    was_killed: bool,
    avoided: &BTreeSet<u16>,
) -> anyhow::Result<Prepared> {
    let mut reservations = Reservations::new(own::temporary());
    reservations.avoid(avoided.iter().copied());
    let known = match fs::read(dir.plan()) {
        Ok(text) => Some(
            serde_json::from_slice::<Plan>(&text)
                .with_context(|| format!("reading {}", dir.plan().display()))?,
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("reading {}", dir.plan().display())),
    };
    let (mut plan, is_new) = match known {
        Some(plan) if plan.complete => {
            check_size(dir, &plan, args)?;
            (resumed(plan, &mut reservations, if was_killed { PORTS_WITHIN } else { Duration::ZERO })?, false)
        }
        known => {
            if known.is_some() && avoided.is_empty() {
                say("the first start was not finished; starting over");
            }
            clear(dir)?;
            let (nodes, regions) =
                (args.control_nodes.unwrap_or(CONTROL_NODES), args.regions.unwrap_or(REGIONS));
            (args.pattern.map_or_else(|| Plan::new(nodes, regions), Plan::of_pattern), true)
        }
    };
    plan.access_logs = args.access_log;
    plan.choose_ports(|preferred| reservations.pick(preferred)).context("choosing ports")?;
    for process in &plan.processes {
        configs::write(dir, &plan, process)?;
    }
    Ok(Prepared { plan, reservations, is_new })
}

fn check_size(dir: &DataDir, plan: &Plan, args: &DevArgs) -> Result<(), Failure> {
    if let Some(pattern) = args.pattern
        && plan.pattern != Some(pattern)
    {
        let message = format!(
            "{} holds a federation that is not of pattern {}",
            dir.path().display(),
            pattern.number()
        );
        return Err(
            Failure::usage(message).remedy("leave --pattern out to resume it, or give another --data-dir")
        );
    }
    let (nodes, regions_there) = plan.size();
    let same = |asked: Option<u8>, there: usize| asked.is_none_or(|asked| usize::from(asked) == there);
    if same(args.control_nodes, nodes) && same(args.regions, regions_there) {
        return Ok(());
    }
    let message = format!(
        "{} holds a federation of {nodes} control-plane nodes and {regions_there} regions",
        dir.path().display()
    );
    Err(Failure::usage(message)
        .remedy("leave --control-nodes and --regions out to resume it, or give another --data-dir"))
}

/// The plan with the addresses it had, where they are free.
fn resumed(mut plan: Plan, reservations: &mut Reservations, patience: Duration) -> anyhow::Result<Plan> {
    let deadline = Instant::now() + patience;
    for process in &mut plan.processes {
        let mut kept = BTreeMap::new();
        for (&face, &port) in &process.ports {
            let mut free = reservations.reserve(port);
            while !free && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(100));
                free = reservations.reserve(port);
            }
            if free {
                kept.insert(face, port);
            } else if process.role.keeps(face) {
                let message = format!(
                    "{} cannot have its address 127.0.0.1:{port}: somebody else listens there",
                    process.name
                );
                return Err(Failure::new(Exit::Conflict, message)
                    .remedy("stop whoever listens there, or start another federation with another --data-dir")
                    .into());
            }
        }
        process.ports = kept;
    }
    Ok(plan)
}

/// Removes what an unfinished start left.
fn clear(dir: &DataDir) -> anyhow::Result<()> {
    let clearing = || format!("clearing {}", dir.path().display());
    fs::remove_dir_all(dir.nodes()).with_context(clearing)?;
    own::dir(&dir.nodes())?;
    for file in [dir.plan(), dir.client(), dir.ca(), dir.operator_token()] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(clearing);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Starts everything; returns when every process serves and the client configuration is written.
pub(super) async fn bring_up(
    supervisor: &Arc<Supervisor>,
    dir: &DataDir,
    is_new: bool,
    with_example: bool,
) -> anyhow::Result<Federation> {
    let progress = Progress::start("starting the federation");
    let plan = supervisor.plan();
    supervisor.save_plan(!is_new)?;
    if is_new {
        found(supervisor, dir, &plan, &progress).await?;
    } else {
        for process in &plan.processes {
            supervisor.spawn(process.name.as_str())?;
        }
    }
    progress.message("waiting until every process serves");
    try_join_all(plan.processes.iter().map(|process| supervisor.serves(process.name.as_str()))).await?;
    let client = write_client(dir, &plan)?;
    progress.message("waiting until the control plane knows every gateway");
    let status = known_gateways(&client, &plan).await.map_err(|error| token_refused(error, dir))?;
    if with_example {
        progress.message("publishing the example");
        example::publish(supervisor, dir, &plan).await?;
    }
    // From here on a start resumes; a first start that ended before it begins anew.
    supervisor.save_plan(true)?;
    let lineage = status.lineage.context("the control plane has no history yet; start again")?;
    Ok(Federation { lineage })
}

/// Waits until the control plane has heard of every gateway what it serves: an operator who makes a change before that waits for
/// none of them. A gateway that is revoked is never heard of, and delays this for `KNOWN_WITHIN` only.
async fn known_gateways(client: &Client, plan: &Plan) -> anyhow::Result<Status> {
    let deadline = Instant::now() + KNOWN_WITHIN;
    loop {
        let status = client.status().await?;
        let heard: BTreeSet<&str> = status
            .regions
            .iter()
            .flat_map(|region| &region.gateways)
            .filter(|gateway| gateway.connected && gateway.revision.is_some())
            .map(|gateway| gateway.name.as_str())
            .collect();
        let all = plan.of_role(Role::Gateway).all(|gateway| heard.contains(gateway.name.as_str()));
        if all || Instant::now() > deadline {
            return Ok(status);
        }
        tokio::time::sleep(ready::POLL).await;
    }
}

/// A refusal of the token that was made with the federation: it was deleted, and there is no other to go on with.
fn token_refused(error: anyhow::Error, dir: &DataDir) -> anyhow::Error {
    if exit_of(&error) != Exit::Auth {
        return error;
    }
    let file = dir.operator_token();
    let message = format!("the federation does not take the operator's token in {} any more", file.display());
    Failure::new(Exit::Auth, message)
        .remedy(format!(
            "write another operator's token into that file and start again; if there is none, start a new federation: \
             remove {} or give another --data-dir",
            dir.path().display()
        ))
        .into()
}

/// The first start: one control node founds the control plane, and every other node joins.
async fn found(
    supervisor: &Arc<Supervisor>,
    dir: &DataDir,
    plan: &Plan,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut servers = plan.of_role(Role::Server);
    let founder = servers.next().context("a federation has at least one control-plane node")?;
    let joining: Vec<_> = servers.collect();

    supervisor.spawn("upstream")?;
    let mut init = process::command(supervisor.executable(), "server");
    init.arg("init").arg("--config").arg(dir.config(founder.name.as_str()));
    let token = process::output_of(init, "founding the federation").await?;
    write_private(&dir.operator_token(), token.as_bytes())?;
    let root = dir.data(founder.name.as_str()).join("pki").join("root.crt");
    fs::copy(&root, dir.ca()).with_context(|| format!("copying {}", root.display()))?;

    progress.message("starting the control plane");
    supervisor.spawn(founder.name.as_str())?;
    supervisor.serves(founder.name.as_str()).await?;
    let client = client_of(dir, std::iter::once(founder))?;
    tell(&client, dir, plan, &root::issuing(&client).await?).await?;

    progress.message("joining control-plane nodes, agents, gateways and responders");
    let nodes = async {
        for node in joining {
            join_server(supervisor, dir, founder, node).await?;
        }
        Ok(())
    };
    let regions = try_join_all(plan.of_role(Role::Agent).map(|agent| async {
        supervisor.spawn(agent.name.as_str())?;
        supervisor.serves(agent.name.as_str()).await?;
        let below = plan.of_role(Role::Gateway).chain(plan.of_role(Role::Dns));
        // One agent of a region admits the gateways and responders of its host; of a host without an agent, the region's first one does.
        for node in below.filter(|node| plan.admits(agent, node)) {
            supervisor.mint_token(agent, node).await?;
            supervisor.spawn(node.name.as_str())?;
        }
        anyhow::Ok(())
    }));
    tokio::try_join!(nodes, regions)?;
    Ok(())
}

/// Writes what a new federation starts with, and the join tokens of the other control nodes and the agents, in one change.
async fn tell(client: &Client, dir: &DataDir, plan: &Plan, anchor: &TrustAnchor) -> anyhow::Result<()> {
    let expires_at = token::unix_seconds(SystemTime::now() + TOKEN_TTL);
    let mut resources = plan.resources();
    for process in plan.of_role(Role::Server).skip(1).chain(plan.of_role(Role::Agent)) {
        let role = if process.role == Role::Server { JoinRole::Server } else { JoinRole::Agent };
        let (token, spec) =
            token::new_join_token(&process.name, role, process.region.clone(), anchor, expires_at);
        resources.push(token::manifest(&process.name, &Spec::from(spec)));
        write_private(&dir.join_token(process.name.as_str()), token.to_string().as_bytes())?;
    }
    client.apply(&resources, &ApplyOptions::default()).await.context("setting the federation up")?;
    Ok(())
}

async fn join_server(
    supervisor: &Arc<Supervisor>,
    dir: &DataDir,
    founder: &ProcessSpec,
    node: &ProcessSpec,
) -> anyhow::Result<()> {
    let name = node.name.as_str();
    let token = fs::read_to_string(dir.join_token(name))
        .with_context(|| format!("reading the join token of {name}"))?;
    let mut join = process::command(supervisor.executable(), "server");
    join.arg("join").arg("--config").arg(dir.config(name));
    join.arg("--via").arg(founder.address(Face::Enrolment).unwrap_or_default());
    // Not on the command line: others can see that.
    join.env("HANSE_SERVER_JOIN_TOKEN", token);
    process::output_of(join, &format!("joining {name}")).await?;
    supervisor.spawn(name)?;
    supervisor.serves(name).await
}

fn client_of<'a>(dir: &DataDir, servers: impl Iterator<Item = &'a ProcessSpec>) -> anyhow::Result<Client> {
    Client::new(client_config(dir, servers)?, dir.client())
}

fn client_config<'a>(
    dir: &DataDir,
    servers: impl Iterator<Item = &'a ProcessSpec>,
) -> anyhow::Result<ClientConfig> {
    let token = fs::read_to_string(dir.operator_token())
        .with_context(|| format!("reading {}", dir.operator_token().display()))?;
    Ok(ClientConfig {
        servers: servers
            .filter_map(|server| server.address(Face::Api))
            .map(|address| format!("https://{address}"))
            .collect(),
        ca_file: dir.ca(),
        token,
        organization: default_organization(),
    })
}

fn write_client(dir: &DataDir, plan: &Plan) -> anyhow::Result<Client> {
    let config = client_config(dir, plan.of_role(Role::Server))?;
    config.save(&dir.client())?;
    Client::new(config, dir.client())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_operators_token_has_a_way_out() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::make(temporary.path()).unwrap();
        let error = token_refused(Failure::new(Exit::Auth, "unknown token").into(), &dir);
        assert_eq!(exit_of(&error), Exit::Auth);
        let said = error.to_string();
        assert!(
            said.contains("operator.token any more") && said.contains("or give another --data-dir"),
            "{said}"
        );
        let other = token_refused(Failure::new(Exit::NoQuorum, "nobody").into(), &dir);
        assert_eq!(other.to_string(), "nobody");
    }

    #[test]
    fn a_first_start_that_met_used_ports_takes_others() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::make(temporary.path()).unwrap();
        let args = DevArgs {
            data_dir: temporary.path().to_owned(),
            regions: Some(1),
            control_nodes: Some(1),
            pattern: None,
            access_log: false,
            no_example: true,
            action: None,
        };
        let first = prepare(&dir, &args, false, &BTreeSet::new()).unwrap();
        let taken: BTreeSet<_> =
            first.plan.find("gateway-eu-west").unwrap().ports.values().copied().collect();
        drop(first);
        let second = prepare(&dir, &args, false, &taken).unwrap();
        assert!(second.is_new);
        let ports = second.plan.processes.iter().flat_map(|process| process.ports.values());
        assert!(ports.clone().all(|port| !taken.contains(port)), "{:?}", ports.collect::<Vec<_>>());
    }
}
