//! A running control-plane node: everything composed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use hanse_api::{ApiMetrics, ClientAddress, Clock, OperatorApi};
use hanse_identity::{
    Alpn, Bounds, Clients, Expect, ExpiryMetrics, Listener, LiveAuthority, LiveTrust, MAX_ENROLMENT_BYTES,
    Peer, Ports, client_tls, renew_from, server_tls, warn_of_expiry,
};
use hanse_link::{
    Freshness, MAX_AGENT_MESSAGE_BYTES, Persistence, Persister, Published, Subscribers, keep_places,
    kept_places, own_facts, publisher_service, trust_status,
};
use hanse_process::{Pulse, Shutdown, ShutdownTrigger, Supervisor, WallClock, bind, raise_descriptor_limit};
use hanse_proto::{
    enrolment::enrolment_server::{Enrolment, EnrolmentServer},
    sync::Facts,
};
use hanse_raft::{DamageMetric, GroupError, RaftGroup, RaftOptions};
use hanse_state::{State, Version, port::Replicated};
use hanse_topology::Role;
use tokio::{sync::watch, task::JoinSet};
use tonic::service::Routes;
use tracing::info;

use crate::{
    Config, Error,
    admission::{AgentAdmission, watch_answers},
    behind::{Behind, BehindMetric},
    control::Control,
    create, damaged,
    enrolment::EnrolmentService,
    fleet::{self, GatheredFleet},
    founding::{self, Own},
    home::{self, Lock, NodeFile},
    identity,
    locked::{self, LockedMetric},
    projector::{self, Projector},
    reconcile::{
        Driver, FederationKey, Neighbours, ReconcilerMetrics, RecordMinted, RefuseKeys, Sweep, TakeSteps,
    },
    revocations,
    roots::{Certificates, ControlAuthority, ControlRenewal, Roots},
    secrets::{Keeper, KeeperMetrics, Keys, RevealMetrics, Rewrap},
    shell::{STARTING, Shell},
};

/// How often this node looks whether it is still in contact with a leader that has a quorum. A fifth of a bookmark's
/// interval, so that bookmarks carry an age that is nearly right.
const FRESHNESS_INTERVAL: Duration = Duration::from_millis(200);

/// Raft's core that does not turn for so long hangs. It waits for its log's disk, and Linux gives a disk 30 s for a command before
/// it resets the disk and tries again: a restart would only have to read the log from a disk that is slow.
const CORE_HANGS_AFTER: Duration = Duration::from_secs(120);
/// How often it is asked for a sign.
const CORE_ASKED_EVERY: Duration = Duration::from_secs(1);

/// Descriptors for everything but accepted connections: the log, snapshots and the store (some 30), connections to other
/// control nodes (three to each), sockets of listeners, and connections that are being closed.
const RESERVED_DESCRIPTORS: usize = 320;
/// Connections from other control nodes: three from each of six, as many that broke and are not noticed yet, and handshakes.
const RAFT: usize = 128;
/// Of the rest, for the operator API and for enrolment. Agents get what these leave.
const API_PERCENT: usize = 25;
const ENROLMENT_PERCENT: usize = 15;
/// Raft's call that takes a stream of messages; each part of it has its own time.
const RAFT_STREAMS: &[&str] = &["/hanse.raft.v1.Raft/InstallSnapshot"];

/// How long before its end a control intermediate is spoken of: the root is in a safe somewhere, and the people who know
/// where may be on holiday.
const WARN_BEFORE: Duration = Duration::from_secs(180 * 24 * 3600);
/// What to do then.
const RENEW_BY_HAND: &str = "bring the directory pki/root back into the data directory of this or another control node and move it away \
                             again after two minutes: all control nodes have their intermediates renewed from there";

/// Runs a control-plane node until the shutdown.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    run_with_clock(config, WallClock::system(), shutdown).await
}

/// The same, with certificates, tokens and commands dated by another clock than the system's.
pub async fn run_with_clock(config: Config, clock: WallClock, shutdown: Shutdown) -> Result<(), Error> {
    home::node(&config)?;
    let shell = Shell::start(&config, shutdown).await?;
    let (damage, behind) =
        (shell.metrics.register(DamageMetric::register), BehindMetric::register(&shell.metrics));
    let locked = LockedMetric::register(&shell.metrics);
    let (control, lock) = match locked::opened(&config, &clock, &shell, &locked).await {
        Ok(Some(opened)) => opened,
        Ok(None) => {
            shell.end().await;
            return Ok(());
        }
        Err(error) => {
            shell.end().await;
            return Err(error);
        }
    };
    // In this order, and now: an operator may have joined the node anew while it could not open its key. `rejoin` writes the new id
    // before join.json, and an empty log must not meet the old id.
    let is_member = home::is_member(&config);
    let node = home::node(&config)?;
    let id = node.id;
    let seated = Seated { node, is_member, control, lock };
    let ended = match take_part_until_told(&config, seated, clock, &shell).await {
        Err(Error::Raft(error)) if error.is_damage() => {
            damage.set();
            damaged::stay(&config, id, &error, &shell).await
        }
        Err(error) => match Behind::of(&error) {
            Some(reason) => {
                reason.stay(&config, &shell, &behind).await;
                Ok(())
            }
            None => Err(error),
        },
        Ok(()) => Ok(()),
    };
    shell.end().await;
    ended
}

/// Who this node is.
struct Seated {
    node: NodeFile,
    /// Whether it has founded a control plane or been added to one.
    is_member: bool,
    control: Control,
    lock: Lock,
}

/// Takes part until the process is to stop, or until that is not possible any more.
async fn take_part_until_told(
    config: &Config,
    seated: Seated,
    clock: WallClock,
    shell: &Shell,
) -> Result<(), Error> {
    let (stopping, _) = ShutdownTrigger::new();
    let mut part = Box::pin(take_part(config.clone(), seated, clock, shell, &stopping));
    tokio::select! {
        ended = &mut part => ended,
        () = shell.shutdown.wait() => {
            stopping.trigger();
            part.await
        }
    }
}

/// Votes and serves until `stopping`, or until that is not possible any more: then it stops by itself.
async fn take_part(
    config: Config,
    seated: Seated,
    clock: WallClock,
    shell: &Shell,
    stopping: &ShutdownTrigger,
) -> Result<(), Error> {
    // The lock is the first that is here, so it is the last to go.
    let Seated { lock: _lock, node, is_member, control: Control { authority, dir } } = seated;
    let shutdown = stopping.shutdown();
    let descriptors = raise_descriptor_limit();
    let reserve = RESERVED_DESCRIPTORS + RAFT;
    let (ports, api_bounds) = Ports::with_api(descriptors, reserve, ENROLMENT_PERCENT, API_PERCENT);
    let live = identity::issue(&config, &authority)?;
    let own = Own::new(&config, &authority, node.id)?;
    let (metrics, listeners) = (&shell.metrics, &shell.listeners);
    let supervisor = shell.supervisor.part(shutdown.clone());
    let names = identity::api_names(&config);
    let trust = LiveTrust::new(authority.trust_anchor()?, clock.clone());
    let control = LiveAuthority::new(authority);
    metrics.register(|registry| ExpiryMetrics::register(registry, live.clone(), Some(control.clone())));
    let state = (control.clone(), names, live.clone(), clock.clone());
    supervisor.spawn("certificate-renewal", state, |(control, names, live, clock), shutdown| {
        renew_from(control, names, live, clock, shutdown)
    });
    let state = (control.clone(), clock.clone());
    supervisor.spawn("expiry-warning", state, |(control, clock), shutdown| {
        warn_of_expiry(control, WARN_BEFORE, RENEW_BY_HAND, clock, shutdown)
    });

    // Bound before anything is asked of others: an address in use is an error at once, not after an election.
    let api = bind("api", &config.listen.api).await?;
    let federation = bind("federation", &config.listen.federation).await?;
    let raft = bind("raft", &config.listen.raft).await?;
    let enrolment = bind("enrolment", &config.listen.enrolment).await?;

    let servers_only = Expect { roles: vec![Role::Server], region: None };
    let peers_tls = client_tls(Some(&live), &trust, servers_only)?;
    let mut options = RaftOptions::new(create::control_node(&config, node.id), &config.data_dir);
    options.is_member = is_member;
    let group = match RaftGroup::open(options, peers_tls).await {
        Ok(group) => group,
        Err(error) => {
            stopping.trigger();
            supervisor.drain().await;
            return Err(error.into());
        }
    };
    metrics.register(|registry| group.register_metrics(registry));
    let replicated: Arc<dyn Replicated> = group.clone();
    let state = (group.clone(), supervisor.pulse("the Raft core", CORE_HANGS_AFTER));
    supervisor.spawn("raft-pulse", state, |(group, pulse), shutdown| prove_core(group, pulse, shutdown));
    let state = (replicated.clone(), trust.clone());
    supervisor.spawn("enforce-revocations", state, |(replicated, trust), shutdown| {
        revocations::enforce(replicated, trust, shutdown)
    });
    let roots = Roots {
        replicated: replicated.clone(),
        trust: trust.clone(),
        control: control.clone(),
        file: home::roots_file(&config),
    };
    supervisor.spawn("enforce-roots", roots, Roots::enforce);
    let root = home::root_key(&config, &clock);
    let (keeper, keys) = Keeper::new(
        home::key_files(&config, &dir),
        home::recovery_dir(&config),
        replicated.clone(),
        group.clone(),
        KeeperMetrics::register(metrics),
    );
    supervisor.spawn("federation-keys", keeper, Keeper::run);
    let config = Arc::new(config);
    let authority = ControlAuthority {
        config: config.clone(),
        live: control.clone(),
        trust: trust.clone(),
        root: root.clone(),
        group: group.clone(),
        id: node.id,
        dir,
    };
    supervisor.spawn("authority-renewal", authority, ControlAuthority::keep);

    let facts = Arc::new({
        let (trust, live) = (trust.clone(), live.clone());
        let (replicated, keys) = (replicated.clone(), keys.clone());
        move || Facts {
            version: Version::KNOWN.number(),
            newest_key: keys.newest(&replicated.current()),
            ..own_facts(trust_status(&trust, &live), &live)
        }
    });
    let subscribers = Subscribers::new();
    let reports = {
        let (subscribers, own) = (subscribers.clone(), facts.clone());
        Arc::new(move || fleet::reports_of(subscribers.snapshot(), own(), Instant::now()))
    };
    let told = {
        let keys = keys.clone();
        Arc::new(move |state: &State| keys.current().told(state))
    };
    let (raft_service, peer_service) = group.services(reports, told);
    let tls = server_tls(&live, mutual(&trust, Role::Server), Alpn::Http2)?;
    let renewal = ControlRenewal {
        replicated: replicated.clone(),
        live: control.clone(),
        trust: trust.clone(),
        root: root.clone(),
        group: group.clone(),
    };
    let routes = Routes::new(raft_service).add_service(peer_service).add_service(enrolment_server(renewal));
    let raft = Listener::new("raft", raft, Bounds::of_raft(RAFT, RAFT_STREAMS), listeners).with_tls(tls);
    // On Raft's own threads: heartbeats must not wait behind callers.
    supervisor.spawn_on(group.handle(), "raft", (raft, routes), serve_grpc);

    let dated = commands_clock(&clock);
    tokio::select! {
        founded = founding::found_or_join(&config, &group, &own, &dated) => if founded.is_err() {
            stop(&group, &supervisor, stopping).await;
            return founded;
        },
        () = group.fatal() => {
            stop(&group, &supervisor, stopping).await;
            return Err(died(&group));
        }
        () = shutdown.wait() => {
            stop(&group, &supervisor, stopping).await;
            return Ok(());
        }
    }
    let state = (group.clone(), own, dated.clone());
    supervisor.spawn("own-record", state, |(group, own, dated), shutdown| async move {
        founding::record_itself(group, own, dated, shutdown.clone()).await;
        shutdown.wait().await; // once it is on record there is no more to do
    });

    let kept = Persistence::open_origin(config.store()).await?;
    let replicas = kept.replicas;
    metrics.register(|registry| {
        replicas.metrics().register(registry);
        kept.store.metrics().register(registry);
    });
    let places = kept_places(&kept.store);
    let state = (kept.store, places.clone());
    supervisor.spawn("places", state, |(store, places), shutdown| keep_places(store, places, shutdown));
    supervisor.spawn("store", kept.persister, Persister::run);
    let (projector, projected) = Projector::new(replicated.clone(), replicas.clone(), keys.clone());
    let projector = projector.counting(RevealMetrics::register(metrics));
    let projector = projector.beating(supervisor.pulse("the projector", projector::HANGS_AFTER));
    // Not started again: without it this node must not go on.
    let mut projecting_task = JoinSet::new();
    projecting_task.spawn(projector.run(shutdown.clone()));
    let projecting = projected.clone();
    tokio::select! {
        () = projecting.begun() => {}
        () = say_whether_ready(shell, &*replicated, keys.clone(), false) => {}
        () = group.fatal() => {
            stop(&group, &supervisor, stopping).await;
            return Err(died(&group));
        }
        () = projecting.ended() => {
            let ended = if shutdown.is_triggered() { Ok(()) } else { Err(Error::Projection) };
            stop(&group, &supervisor, stopping).await;
            return ended;
        }
    }
    let (admission, answers) = AgentAdmission::new(
        replicated.clone(),
        replicas.clone(),
        projected.clone(),
        control.clone(),
        keys.clone(),
    );
    supervisor.spawn("admission", answers, watch_answers);
    let (freshness, fresh) = watch::channel(Freshness::unconfirmed(Instant::now()));
    supervisor.spawn("freshness", (group.clone(), freshness), |(group, freshness), shutdown| {
        watch_freshness(group, freshness, shutdown)
    });
    let publisher = publisher_service(
        Published { replicas: replicas.clone(), freshness: fresh, places: places.clone() },
        Arc::new(admission),
        subscribers.clone(),
        config.name.to_string(),
        MAX_AGENT_MESSAGE_BYTES,
        shutdown.clone(),
    );
    let tls = server_tls(&live, mutual(&trust, Role::Agent), Alpn::Http2)?;
    // An agent could certify any number of names of its region.
    let bounds = Bounds { by_authority: true, ..ports.federation };
    let federation = Listener::new("federation", federation, bounds, listeners).with_tls(tls);
    supervisor.spawn("federation", (federation, Routes::new(publisher)), serve_grpc);

    let service = EnrolmentService {
        replicated: replicated.clone(),
        control: control.clone(),
        trust: trust.clone(),
        root,
        group: group.clone(),
        clock: dated.clone(),
    };
    let clients = Clients::Renewing { trust, roles: vec![Role::Agent], region: None };
    let tls = server_tls(&live, clients, Alpn::Http2)?;
    let enrolment = Listener::new("enrolment", enrolment, ports.enrolment, listeners).with_tls(tls);
    supervisor.spawn("enrolment", (enrolment, Routes::new(enrolment_server(service))), serve_grpc);

    let fleet = Arc::new(GatheredFleet::new(
        config.name.to_string(),
        facts,
        subscribers,
        replicas,
        group.clone(),
        keys.clone(),
        places,
    ));
    supervisor.spawn("fleet-memory", fleet.clone(), GatheredFleet::remember);
    let driver = Driver {
        reconcilers: vec![
            Arc::new(RefuseKeys),
            Arc::new(RecordMinted),
            Arc::new(FederationKey),
            Arc::new(Neighbours),
            Arc::new(TakeSteps::default()),
            Arc::new(Sweep),
        ],
        replicated: replicated.clone(),
        observed: fleet.clone(),
        clock: dated.clone(),
        metrics: metrics.register(ReconcilerMetrics::register),
    };
    supervisor.spawn("reconcilers", driver, Driver::run);
    let api_metrics = metrics.register(ApiMetrics::register);
    let scrape = {
        let metrics = metrics.clone();
        Arc::new(move || metrics.encode())
    };
    let certificates = Arc::new(Certificates { control });
    let recovery = Arc::new(Rewrap(keys.clone()));
    let sealing = Arc::new(keys.clone());
    let mut operator = OperatorApi::new(
        replicated.clone(),
        fleet,
        Arc::new(projected),
        certificates,
        recovery,
        api_metrics,
        scrape,
    );
    operator.clock = dated;
    operator.closing = closing(&supervisor);
    operator.sealing = sealing;
    let tls = server_tls(&live, Clients::Anyone, Alpn::Http1And2)?;
    let api = Listener::new("api", api, api_bounds, listeners).with_tls(tls);
    let router = hanse_api::router(operator).layer(from_fn(client_address));
    let state = (api, router);
    supervisor.spawn("api", state, |(api, router), shutdown| api.serve(router, shutdown));

    info!(name = %config.name, id = node.id, "this control-plane node serves");
    let ended = tokio::select! {
        () = say_whether_ready(shell, &*replicated, keys, true) => Ok(()),
        () = shutdown.wait() => Ok(()),
        () = group.fatal() => Err(died(&group)),
        () = projecting.ended() => if shutdown.is_triggered() { Ok(()) } else { Err(Error::Projection) },
    };
    shell.not_ready("stopping".to_owned());
    stop(&group, &supervisor, stopping).await;
    ended
}

/// Says why the node is not ready while it lacks a key, and that it is once it `serves`. Never returns.
async fn say_whether_ready(shell: &Shell, replicated: &dyn Replicated, mut keys: Keys, serves: bool) {
    let mut said = None;
    loop {
        let state = replicated.current();
        let lacking = keys.lacking(&state);
        if said.as_ref() != Some(&lacking) {
            match &lacking {
                Some(why) => shell.not_ready(why.clone()),
                None if serves => shell.ready(),
                None => shell.not_ready(STARTING.to_owned()),
            }
            said = Some(lacking);
        }
        tokio::select! {
            _ = replicated.changed_since(state.revision()) => {}
            () = keys.changed() => {}
        }
    }
}

/// Tells the operator API where a request came from.
async fn client_address(mut request: Request, next: Next) -> Response {
    if let Some(address) = request.extensions().get::<Peer>().map(|peer| peer.address) {
        request.extensions_mut().insert(ClientAddress(address));
    }
    next.run(request).await
}

/// Why the replica died.
fn died(group: &RaftGroup) -> Error {
    group.unknown_version().map_or(Error::Fatal, |unknown| GroupError::Version(unknown).into())
}

/// The time that commands carry.
fn commands_clock(clock: &WallClock) -> Clock {
    let clock = clock.clone();
    Clock::from_fn(move || clock.unix_ms())
}

fn mutual(trust: &LiveTrust, role: Role) -> Clients {
    Clients::Mutual { trust: trust.clone(), roles: vec![role], region: None }
}

fn enrolment_server<S: Enrolment>(service: S) -> EnrolmentServer<S> {
    EnrolmentServer::new(service).max_decoding_message_size(MAX_ENROLMENT_BYTES)
}

/// Watches end when the node stops, so that their connections can close.
fn closing(supervisor: &Supervisor) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    supervisor.spawn("watches", sender, |sender, shutdown| async move {
        shutdown.wait().await;
        sender.send_replace(true);
    });
    receiver
}

async fn serve_grpc((listener, routes): (Listener, Routes), shutdown: Shutdown) {
    listener.serve_grpc(routes, shutdown).await;
}

/// Proves that Raft's core turns.
async fn prove_core(group: Arc<RaftGroup>, pulse: Pulse, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            turns = group.turns() => if turns { pulse.beat() },
        }
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(CORE_ASKED_EVERY) => {}
        }
    }
}

/// Keeps what bookmarks say of this node's contact with the leader.
async fn watch_freshness(group: Arc<RaftGroup>, freshness: watch::Sender<Freshness>, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(FRESHNESS_INTERVAL);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = ticks.tick() => {}
        }
        let status = group.group();
        let age = Duration::from_millis(status.as_of_age_ms);
        let confirmed_at = Instant::now().checked_sub(age);
        freshness.send_modify(|freshness| {
            freshness.quorum = status.up_to_date;
            if let Some(confirmed_at) = confirmed_at {
                freshness.confirmed_at = confirmed_at;
            }
        });
    }
}

/// Lets the tasks end, then the Raft core.
async fn stop(group: &RaftGroup, supervisor: &Supervisor, stopping: &ShutdownTrigger) {
    stopping.trigger();
    supervisor.drain().await;
    group.shutdown().await;
    info!("stopped");
}
