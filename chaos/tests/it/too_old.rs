//! A control node whose release is too old learns it while it runs, or when it joins: the process stays, says which release it
//! needs, and does not tell its service manager that it stops.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Client, process::until};
use hanse_identity::{
    Alpn, Authority, Bounds, ClientTls, Clients, Expect, Listener, ListenerMetrics, LiveCredentials,
    ServerTls, client_tls, connect, server_tls,
};
use hanse_process::{Metrics, ShutdownTrigger};
use hanse_proto::{
    control::{Batch, Command, Finalize, Problem, command},
    raft::{
        AddVoterRequest, AddVoterResponse, AppendEntriesRequest, Entry, FederationKeysRequest,
        FederationKeysResponse, LogId, ProposeRequest, ProposeResponse, ReadIndexRequest, ReadIndexResponse,
        ReportsRequest, ReportsResponse, Vote, VoteRequest, add_voter_response, append_entries_response,
        entry,
        peer_server::{Peer, PeerServer},
        raft_client::RaftClient,
    },
};
use hanse_topology::{Identity, Name, Role};
use nix::sys::signal::Signal;
use prost::Message as _;
use tonic::{Request, Response, Status, service::Routes};

use crate::{deploy::Managed, say};

/// For a process of a dev build to start, or to stop taking part, on a loaded machine.
const SOON: Duration = Duration::from_secs(30);
/// A process that tells its manager that it stops does so at once. This is some proofs of life later.
const WATCHED_FOR: Duration = Duration::from_secs(3);

/// The release that the leader of these tests has, and the version that it brought.
const LATER: &str = "9.8.0";
const LATER_VERSION: u32 = 99;

/// The Raft id of a control node of the later release.
const OTHER: u64 = 77;

/// What another control node of the federation shows, whose root is in this data directory.
struct Other {
    outgoing: ClientTls,
    incoming: ServerTls,
}

impl Other {
    fn of(data: &Path) -> Result<Self> {
        let root = Authority::load(data.join("pki/root"))?;
        let (anchor, name) = (root.trust_anchor()?, Name::new("cp-2")?);
        let own = root.new_control_intermediate(&name)?;
        let own = LiveCredentials::new(own.issue_credentials(&Identity::server(name), &[])?);
        let outgoing = client_tls(Some(&own), &anchor, Expect { roles: vec![Role::Server], region: None })?;
        let clients = Clients::Mutual { trust: anchor.into(), roles: vec![Role::Server], region: None };
        Ok(Self { outgoing, incoming: server_tls(&own, clients, Alpn::Http2)? })
    }
}

fn id(data: &Path) -> Result<u64> {
    let node: serde_json::Value = serde_json::from_slice(&fs::read(data.join("node.json"))?)?;
    node["id"].as_u64().context("an id")
}

/// Leads the node, and commits there that the version was raised to one that only the later release knows.
async fn raise_the_version(managed: &Managed) -> Result<()> {
    let (other, target) = (Other::of(&managed.data())?, id(&managed.data())?);
    let mut raft = RaftClient::new(connect(&managed.raft.to_string(), other.outgoing).await?);
    let finalize = Finalize { version: LATER_VERSION, release: LATER.to_owned() };
    let command = Command { body: Some(command::Body::Finalize(finalize)), ..Command::default() };
    let batch = Batch { commands: vec![command] }.encode_to_vec();
    let deadline = Instant::now() + SOON;
    loop {
        // The node refuses this vote. Its answer says which term and which log it has.
        let asks = Vote { term: 0, node_id: OTHER, committed: false };
        let asked = VoteRequest { vote: Some(asks), last_log_id: None, target };
        let known = raft.request_vote(asked).await?.into_inner();
        let (vote, last) = (known.vote.context("a vote")?, known.last_log_id.context("a log")?);
        let term = vote.term + 1;
        let next = LogId { term, node_id: OTHER, index: last.index + 1 };
        let payload = Some(entry::Payload::Batch(batch.clone().into()));
        let appended = raft
            .append_entries(AppendEntriesRequest {
                vote: Some(Vote { term, node_id: OTHER, committed: true }),
                prev_log_id: Some(last),
                entries: vec![Entry { log_id: Some(next), payload }],
                leader_commit: Some(next),
                target,
                quorum_age_ms: None,
            })
            .await?
            .into_inner();
        if appended.result() == append_entries_response::Result::Success {
            return Ok(());
        }
        // The node wrote an entry in between.
        ensure!(Instant::now() < deadline, "the node does not follow: {appended:?}");
    }
}

/// What the admin port says at a path.
async fn admin(managed: &Managed, path: &str) -> Result<(u16, String)> {
    let answer = Client::new(None)?.get(&format!("http://{}{path}", managed.admin), &[]).await?;
    Ok((answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()))
}

/// The process says what it needs, at its admin port and to its service manager, and stays.
async fn stays_and_says(mut managed: Managed, why: &str, remedy: &str) -> Result<()> {
    let mut heard = Vec::new();
    until("the node names the release", SOON, || {
        heard.extend(managed.said());
        async {
            let (status, text) = admin(&managed, "/readyz").await?;
            ensure!(status == 503 && text.contains(why) && text.contains(remedy), "{status} {text}");
            Ok(())
        }
    })
    .await?;
    let since = Instant::now();
    while since.elapsed() < WATCHED_FOR {
        heard.extend(managed.said());
    }
    ensure!(!heard.iter().any(|line| line == "STOPPING=1"), "it says that it stops: {heard:?}");
    let said = |line: &String| line.starts_with("STATUS=") && line.contains(why) && line.contains(remedy);
    let told =
        heard.iter().position(said).with_context(|| format!("the manager is not told why: {heard:?}"))?;
    let proofs = heard[told..].iter().filter(|line| *line == "WATCHDOG=1").count();
    ensure!(proofs > 2, "it proves its life {proofs} times: {heard:?}");
    ensure!(admin(&managed, "/livez").await?.0 == 200, "it is not live");
    let (_, metrics) = admin(&managed, "/metrics").await?;
    ensure!(metrics.contains("hanse_server_release_too_old 1\n"), "{metrics}");
    for address in [managed.raft, managed.api] {
        ensure!(tokio::net::TcpStream::connect(address).await.is_err(), "{address} is open");
    }

    managed.signal(Signal::SIGTERM)?;
    let status = managed.ended(SOON).await?;
    ensure!(status.success(), "it ends with {status}");
    ensure!(managed.said().iter().any(|line| line == "STOPPING=1"), "it does not say that it stops");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_meets_a_later_version_while_it_runs_stays_and_says_so() -> Result<()> {
    let managed = Managed::start()?;
    until("it is ready", SOON, || async {
        let (status, text) = admin(&managed, "/readyz").await?;
        ensure!(status == 200, "{text}");
        Ok(())
    })
    .await?;
    raise_the_version(&managed).await?;
    stays_and_says(managed, "needs release 9.8.0", "start release 9.8.0 or a later one").await?;
    say("a node that was overtaken stayed up, and its service manager heard why");
    Ok(())
}

/// A leader that refuses to add a node, as a leader of a later version does with a node of an earlier release.
struct Refusing;

#[tonic::async_trait]
impl Peer for Refusing {
    type ReportsStream = tokio_stream::Empty<Result<ReportsResponse, Status>>;

    async fn add_voter(&self, _: Request<AddVoterRequest>) -> Result<Response<AddVoterResponse>, Status> {
        let problem = Problem {
            name: "upgrade".to_owned(),
            detail: "the control plane is at version 99, and cp-1 knows versions up to 1 only".to_owned(),
            remedy: "run release 9.8.0 or a later one there".to_owned(),
            ..Problem::default()
        };
        let result = Some(add_voter_response::Result::Problem(problem));
        Ok(Response::new(AddVoterResponse { result }))
    }

    async fn propose(&self, _: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        Err(Status::unimplemented("it only refuses"))
    }

    async fn read_index(&self, _: Request<ReadIndexRequest>) -> Result<Response<ReadIndexResponse>, Status> {
        Err(Status::unimplemented("it only refuses"))
    }

    async fn reports(&self, _: Request<ReportsRequest>) -> Result<Response<Self::ReportsStream>, Status> {
        Err(Status::unimplemented("it only refuses"))
    }

    async fn federation_keys(
        &self,
        _: Request<FederationKeysRequest>,
    ) -> Result<Response<FederationKeysResponse>, Status> {
        Err(Status::unimplemented("it only refuses"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_too_old_to_join_stays_and_says_so() -> Result<()> {
    let tcp = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let leader = tcp.local_addr()?;
    // As `join` leaves a node.
    let managed = Managed::start_with(|data| {
        fs::remove_file(data.join("bootstrap.json"))?;
        Ok(fs::write(data.join("join.json"), format!("{{\"members\": [\"{leader}\"]}}"))?)
    })?;
    let metrics = Metrics::new().register(ListenerMetrics::register);
    let listener = Listener::new("raft", tcp, Bounds::of_raft(8, &[]), &metrics);
    let listener = listener.with_tls(Other::of(&managed.data())?.incoming);
    let (_serving, shutdown) = ShutdownTrigger::new();
    tokio::spawn(listener.serve_grpc(Routes::new(PeerServer::new(Refusing)), shutdown));
    let join_file = managed.data().join("join.json");
    let refused = "knows versions up to 1 only";
    until("it was refused", SOON, || async {
        let (_, text) = admin(&managed, "/readyz").await?;
        ensure!(text.contains(refused), "{text}");
        Ok(())
    })
    .await?;
    ensure!(join_file.exists(), "the release that it needs goes on joining");
    stays_and_says(managed, refused, "run release 9.8.0 or a later one").await?;
    say("a node that was too old to join stayed up, and its service manager heard why");
    Ok(())
}
