//! A running control-plane node: everything composed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_api::{ApiMetrics, Clock, OperatorApi};
use hanse_identity::{
    Alpn, Clients, Expect, ExpiryMetrics, Listener, ListenerMetrics, LiveAuthority, LiveTrust,
    MAX_ENROLMENT_BYTES, client_tls, renew_from, server_tls, warn_of_expiry,
};
use hanse_link::{
    Freshness, MAX_AGENT_MESSAGE_BYTES, Persistence, Subscribers, publisher_service, trust_status,
};
use hanse_process::{
    Metrics, Shutdown, WallClock, admin, bind, drain, raise_descriptor_limit, tell_service_manager,
};
use hanse_proto::enrolment::enrolment_server::{Enrolment, EnrolmentServer};
use hanse_raft::{DamageMetric, RaftGroup, RaftOptions};
use hanse_state::port::Replicated;
use hanse_topology::Role;
use tokio::{sync::watch, task::JoinSet};
use tonic::service::Routes;
use tracing::info;

use crate::{
    Config, Error,
    admission::AgentAdmission,
    create, damaged,
    enrolment::EnrolmentService,
    fleet::{self, GatheredFleet},
    founding::{self, Own},
    home::{self, NodeFile},
    identity,
    ports::Ports,
    projector::Projector,
    reconcile::{Driver, ReconcilerMetrics, RefuseKeys, Sweep},
    revocations,
    roots::{Certificates, ControlAuthority, ControlRenewal, Roots},
};

/// How often this node looks whether it is still in contact with a leader that has a quorum. A fifth of a bookmark's
/// interval, so that bookmarks carry an age that is nearly right.
const FRESHNESS_INTERVAL: Duration = Duration::from_millis(200);

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
    hanse_process::private::keep_private(&config.data_dir);
    let ports = Ports::of(raise_descriptor_limit());
    let authority = home::load_control(&config, &clock)?;
    let path = home::node_file(&config);
    let node: NodeFile = home::read_json(&path)?.ok_or_else(|| Error::NotMade(config.data_dir.clone()))?;
    let live = identity::issue(&config, &authority)?;
    let own = Own::new(&config, &authority, node.id)?;
    let metrics = Metrics::new();
    let listeners = metrics.register(ListenerMetrics::register);
    let mut tasks = JoinSet::new();
    let names = identity::api_names(&config);
    let trust = LiveTrust::new(authority.trust_anchor()?, clock.clone());
    let control = LiveAuthority::new(authority);
    metrics.register(|registry| ExpiryMetrics::register(registry, live.clone(), Some(control.clone())));
    tasks.spawn(renew_from(control.clone(), names, live.clone(), clock.clone(), shutdown.clone()));
    tasks.spawn(warn_of_expiry(control.clone(), WARN_BEFORE, RENEW_BY_HAND, clock.clone(), shutdown.clone()));

    // Bound before anything is asked of others: an address in use is an error at once, not after an election.
    let api = bind("api", &config.listen.api).await?;
    let federation = bind("federation", &config.listen.federation).await?;
    let raft = bind("raft", &config.listen.raft).await?;
    let enrolment = bind("enrolment", &config.listen.enrolment).await?;
    let admin = bind("admin", &config.listen.admin).await?;

    let (ready, readiness) = watch::channel(Err("starting".to_owned()));
    tasks.spawn(tell_service_manager(readiness.clone(), || true, shutdown.clone()));
    let admin = Listener::new("admin", admin, ports.admin, &listeners);
    tasks.spawn(admin.serve(admin::router(metrics.clone(), readiness), shutdown.clone()));

    let servers_only = Expect { roles: vec![Role::Server], region: None };
    let peers_tls = client_tls(Some(&live), &trust, servers_only)?;
    let damage = metrics.register(DamageMetric::register);
    let mut options = RaftOptions::new(create::control_node(&config, node.id), &config.data_dir);
    options.is_member = home::is_member(&config);
    let group = match RaftGroup::open(options, peers_tls).await {
        Ok(group) => group,
        Err(error) if error.is_damage() => {
            damage.set();
            drop((api, federation, raft, enrolment));
            let ended = damaged::stay(&config, node.id, &error, &ready, &shutdown).await;
            // The tasks that are left end with the shutdown.
            if ended.is_ok() {
                drain(tasks).await;
            }
            return ended;
        }
        Err(error) => return Err(error.into()),
    };
    metrics.register(|registry| group.register_metrics(registry));
    let replicated: Arc<dyn Replicated> = group.clone();
    tasks.spawn(revocations::enforce(replicated.clone(), trust.clone(), shutdown.clone()));
    let roots = Roots {
        replicated: replicated.clone(),
        trust: trust.clone(),
        control: control.clone(),
        file: home::roots_file(&config),
    };
    tasks.spawn(roots.enforce(shutdown.clone()));
    let root = home::root_key(&config, &clock);
    let config = Arc::new(config);
    let keeper = ControlAuthority {
        config: config.clone(),
        live: control.clone(),
        trust: trust.clone(),
        root: root.clone(),
        group: group.clone(),
        id: node.id,
        dir: home::control_dir(&config),
    };
    tasks.spawn(keeper.keep(shutdown.clone()));

    let own_trust = Arc::new({
        let (trust, live) = (trust.clone(), live.clone());
        move || trust_status(&trust, &live)
    });
    let subscribers = Subscribers::new();
    let reports = {
        let (subscribers, own) = (subscribers.clone(), own_trust.clone());
        Arc::new(move || fleet::reports_of(&subscribers, own(), Instant::now()))
    };
    let (raft_service, peer_service) = group.services(reports);
    let tls = server_tls(&live, mutual(&trust, Role::Server), Alpn::Http2)?;
    let renewal = ControlRenewal {
        replicated: replicated.clone(),
        live: control.clone(),
        trust: trust.clone(),
        root: root.clone(),
        group: group.clone(),
    };
    let routes = Routes::new(raft_service).add_service(peer_service).add_service(enrolment_server(renewal));
    let raft = Listener::new("raft", raft, ports.raft, &listeners).with_tls(tls);
    // On Raft's own threads: heartbeats must not wait behind callers.
    tasks.spawn_on(raft.serve_grpc(routes, shutdown.clone()), group.handle());

    let dated = commands_clock(&clock);
    tokio::select! {
        founded = founding::found_or_join(&config, &group, &own, &dated) => founded?,
        () = group.fatal() => {
            stop(group, tasks).await?;
            return Err(Error::Fatal);
        }
        () = shutdown.wait() => return stop(group, tasks).await,
    }
    tasks.spawn(founding::record_itself(group.clone(), own, dated.clone(), shutdown.clone()));

    let kept = Persistence::open_origin(config.store()).await?;
    let replicas = kept.replicas;
    metrics.register(|registry| {
        replicas.metrics().register(registry);
        kept.store.metrics().register(registry);
    });
    tasks.spawn(kept.persister.run(shutdown.clone()));
    let (projector, projected) = Projector::new(replicated.clone(), replicas.clone());
    tasks.spawn(projector.run(shutdown.clone()));
    let projecting = projected.clone();
    tokio::select! {
        () = projecting.begun() => {}
        () = group.fatal() => {
            stop(group, tasks).await?;
            return Err(Error::Fatal);
        }
        () = projecting.ended() => {
            stop(group, tasks).await?;
            return if shutdown.is_triggered() { Ok(()) } else { Err(Error::Projection) };
        }
    }
    let (admission, watcher) = AgentAdmission::new(
        replicated.clone(),
        replicas.clone(),
        projected.clone(),
        control.clone(),
        shutdown.clone(),
    );
    tasks.spawn(watcher);
    let (freshness, fresh) = watch::channel(Freshness::unconfirmed(Instant::now()));
    tasks.spawn(watch_freshness(group.clone(), freshness, shutdown.clone()));
    let publisher = publisher_service(
        replicas.clone(),
        Arc::new(admission),
        fresh,
        subscribers.clone(),
        config.name.to_string(),
        MAX_AGENT_MESSAGE_BYTES,
        shutdown.clone(),
    );
    let tls = server_tls(&live, mutual(&trust, Role::Agent), Alpn::Http2)?;
    let federation = Listener::new("federation", federation, ports.federation, &listeners).with_tls(tls);
    tasks.spawn(federation.serve_grpc(Routes::new(publisher), shutdown.clone()));

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
    let enrolment = Listener::new("enrolment", enrolment, ports.enrolment, &listeners).with_tls(tls);
    tasks.spawn(enrolment.serve_grpc(Routes::new(enrolment_server(service)), shutdown.clone()));

    let fleet = Arc::new(GatheredFleet::new(
        config.name.to_string(),
        own_trust,
        subscribers,
        replicas,
        group.clone(),
    ));
    tasks.spawn(fleet.clone().remember(shutdown.clone()));
    let driver = Driver {
        reconcilers: vec![Arc::new(RefuseKeys), Arc::new(Sweep)],
        replicated: replicated.clone(),
        observed: fleet.clone(),
        clock: dated.clone(),
        metrics: metrics.register(ReconcilerMetrics::register),
    };
    tasks.spawn(driver.run(shutdown.clone()));
    let api_metrics = metrics.register(ApiMetrics::register);
    let scrape = Arc::new(move || metrics.encode());
    let certificates = Arc::new(Certificates { control });
    let mut operator =
        OperatorApi::new(replicated, fleet, Arc::new(projected), certificates, api_metrics, scrape);
    operator.clock = dated;
    operator.closing = closing(&shutdown, &mut tasks);
    let tls = server_tls(&live, Clients::Anyone, Alpn::Http1And2)?;
    let api = Listener::new("api", api, ports.api, &listeners).with_tls(tls);
    tasks.spawn(api.serve(hanse_api::router(operator), shutdown.clone()));

    info!(name = %config.name, id = node.id, "this control-plane node serves");
    let _ = ready.send_replace(Ok(()));
    let ended = tokio::select! {
        () = shutdown.wait() => Ok(()),
        () = group.fatal() => Err(Error::Fatal),
        () = projecting.ended() => if shutdown.is_triggered() { Ok(()) } else { Err(Error::Projection) },
    };
    let _ = ready.send_replace(Err("stopping".to_owned()));
    stop(group, tasks).await?;
    ended
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
fn closing(shutdown: &Shutdown, tasks: &mut JoinSet<()>) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    let shutdown = shutdown.clone();
    tasks.spawn(async move {
        shutdown.wait().await;
        sender.send_replace(true);
    });
    receiver
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
            freshness.quorum = status.quorum;
            if let Some(confirmed_at) = confirmed_at {
                freshness.confirmed_at = confirmed_at;
            }
        });
    }
}

/// Lets tasks that noticed the shutdown end, then the Raft core.
async fn stop(group: Arc<RaftGroup>, tasks: JoinSet<()>) -> Result<(), Error> {
    drain(tasks).await;
    group.shutdown().await;
    info!("stopped");
    Ok(())
}
