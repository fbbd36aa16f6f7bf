//! A control node comes back with less of its log than it had: it says so, the others go on, and it joins anew.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Role, World, WorldOptions, process::until, spec};

use crate::say;

/// A node notices at its start; a loaded machine with a dev build takes seconds for that.
const SAID_WITHIN: Duration = Duration::from_secs(30);

/// What the admin port says at a path.
pub(crate) async fn admin(world: &World, node: &str, path: &str) -> Result<(u16, String)> {
    let url = format!("http://{}{path}", spec::at(world.address(node)?, spec::SERVER_ADMIN));
    let answer = world.client().get(&url, &[]).await?;
    Ok((answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()))
}

/// Starts a node that is down and must find its log damaged, with these figures.
async fn says_so(world: &mut World, node: &str, figures: &str) -> Result<()> {
    world.start_only(node)?;
    let world = &*world;
    until("the node says that its log is damaged", SAID_WITHIN, || async {
        let (status, text) = admin(world, node, "/readyz").await?;
        ensure!(status == 503 && text.contains("the log is damaged"), "{status} {text}");
        ensure!(text.contains(figures) && text.contains("hanse server rejoin"), "{text}");
        Ok(())
    })
    .await?;
    let (status, _) = admin(world, node, "/livez").await?;
    ensure!(status == 200, "it is not live: {status}");
    let (_, metrics) = admin(world, node, "/metrics").await?;
    ensure!(metrics.contains("hanse_raft_log_damaged 1\n"), "{metrics}");
    ensure!(world.process(node)?.log().contains("damaged"), "its log does not say so");
    takes_no_part(world, node).await
}

/// Nothing of it is open but the admin port.
pub(crate) async fn takes_no_part(world: &World, node: &str) -> Result<()> {
    for port in [spec::RAFT, spec::API, spec::FEDERATION, spec::ENROLMENT] {
        let address = SocketAddr::from((world.address(node)?, port));
        ensure!(tokio::net::TcpStream::connect(address).await.is_err(), "{address} is open");
    }
    Ok(())
}

/// Writes Plans with these numbers.
pub(crate) fn write(world: &World, names: std::ops::Range<u32>) -> Result<()> {
    let plans: Vec<_> = names.map(|number| format!("{{kind: Plan, name: p-{number}, spec: {{}}}}")).collect();
    world.operator().apply(&plans.join("\n---\n"))
}

/// The Plans that one node has, without asking the others.
pub(crate) async fn plans(world: &World, node: &str) -> Result<usize> {
    let url = format!("{}/v1/organizations/default/plans?limit=1000&consistency=stale", world.url(node)?);
    let client = hanse_chaos::Client::new(Some(&world.dir().join("ca.crt")))?;
    let answer = client.get(&url, &[("authorization", &format!("Bearer {}", world.token()?))]).await?;
    ensure!(answer.status == 200, "{url}: {answer:?}");
    let items = answer.json()?;
    let items = items["items"].as_array().context("items")?;
    Ok(items.iter().filter(|item| item["name"].as_str().is_some_and(|name| name.starts_with("p-"))).count())
}

fn id(data: &Path) -> Result<u64> {
    let node: serde_json::Value = serde_json::from_slice(&fs::read(data.join("node.json"))?)?;
    node["id"].as_u64().context("an id")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_log_says_so_and_joins_anew() -> Result<()> {
    let options = WorldOptions { regions: Vec::new(), ..WorldOptions::default() };
    let mut world = World::set_up(options).await?;
    write(&world, 0..10)?;
    // Not the first: that has the root, by which nodes are admitted. Not the leader: a new one may take its place.
    let leader = world.agreed_leader().await?;
    let node = ["cp-2", "cp-3"].into_iter().find(|node| *node != leader).context("a follower")?;
    let data = world.data_dir(node);
    let old = id(&data)?;

    // The end of its log is gone: sled recovers what is left, and says nothing of it.
    world.kill(node)?;
    let database = data.join("raft/log/db");
    let length = fs::metadata(&database)?.len();
    fs::File::options().write(true).open(&database)?.set_len(length / 2)?;
    says_so(&mut world, node, "its last entry is").await?;
    write(&world, 10..20)?;

    // It stays so; and so does a node without any log.
    world.kill(node)?;
    fs::remove_dir_all(data.join("raft"))?;
    says_so(&mut world, node, "it is nobody's log").await?;
    write(&world, 20..30)?;

    let token = world.operator().ok(&["token", "create", "--join", "server", "--replace"])?;
    let file = world.dir().join("server-token");
    fs::write(&file, token)?;
    let via = spec::at(world.address("cp-1")?, spec::ENROLMENT);
    let config = world.config(node);
    let rejoin = |node_config: &str| {
        let file = file.to_str().context("a plain path")?;
        let words = ["server", "--config", node_config, "rejoin", "--token-file", file, "--via", &via];
        world.operator().run(&words, "", &[])
    };
    // Not while a node runs on its log.
    let healthy = world.config(&leader);
    let refused = rejoin(&healthy)?;
    ensure!(refused.code != 0 && refused.stderr.contains("is running"), "{refused:?}");
    let joined = rejoin(&config)?;
    ensure!(joined.code == 0, "{joined:?}");
    until("the process ends, to be started again", SAID_WITHIN, || async {
        let log = world.process(node)?.log();
        ensure!(log.contains("joined anew"), "{log}");
        ensure!(admin(&world, node, "/livez").await.is_err(), "it still runs");
        Ok(())
    })
    .await?;
    world.kill(node)?;
    world.start(node).await?;

    let new = id(&data)?;
    ensure!(new != old, "it kept its id {old}");
    until("it has caught up", SAID_WITHIN, || async {
        let found = plans(&world, node).await?;
        ensure!(found == 30, "{found} of 30 plans are there");
        Ok(())
    })
    .await?;
    // One member of that name: the old one is gone, and three vote.
    until("the old member is gone", SAID_WITHIN, || async {
        for asked in world.of_role(Role::Server) {
            let status = world.status_of(&asked).await?;
            let nodes = status["nodes"].as_array().context("nodes")?;
            let votes = nodes.iter().filter(|node| node["role"] != "learner").count();
            ensure!(nodes.len() == 3 && votes == 3, "{asked} has {nodes:?}");
        }
        Ok(())
    })
    .await?;
    let aside = fs::read_dir(&data)?
        .filter_map(|entry| entry.ok())
        .find(|entry| entry.file_name().to_string_lossy().starts_with("raft.aside-"))
        .context("the old log is kept")?;
    ensure!(aside.path().join("raft.witness").exists(), "with its witness");
    // It is a full member: it carries the quorum when another one goes.
    let other = ["cp-2", "cp-3"].into_iter().find(|other| *other != node).context("another")?;
    world.kill(other)?;
    world.leader().await?;
    write(&world, 30..31)?;
    say(format!("{node}: {old} is {new} now"));
    Ok(())
}
