//! A running agent: everything composed.

use std::{sync::Arc, time::Instant};

use hanse_identity::{
    Alpn, Clients, Expect, ExpiryMetrics, Listener, ListenerMetrics, LiveAuthority, LiveCredentials,
    LiveTrust, MAX_ENROLMENT_BYTES, client_tls, renew_from, server_tls,
};
use hanse_link::{
    EffectiveSource, KeptRoots, KeptTrust, LinkStatus, MAX_GATEWAY_MESSAGE_BYTES, Persistence, StoreOptions,
    SubscriberOptions, SubscriberTask, Subscribers, Wanted, keep_offer, kept_offer, publisher_service,
};
use hanse_process::{
    Metrics, Shutdown, WallClock, admin, bind, drain, raise_descriptor_limit, tell_service_manager,
};
use hanse_proto::{enrolment::enrolment_server::EnrolmentServer, sync::Report};
use hanse_topology::Role;
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};
use tonic::service::Routes;
use tracing::info;

use crate::{
    Config, Error, admission::GatewayAdmission, enrolment::EnrolmentService, gateways::Gateways, identity,
    ports::Ports,
};

/// Runs an agent until the shutdown. The first run joins the federation with the join token.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    run_with_clock(config, WallClock::system(), shutdown).await
}

/// The same, with certificates and tokens judged by another clock than the system's.
pub async fn run_with_clock(config: Config, clock: WallClock, shutdown: Shutdown) -> Result<(), Error> {
    hanse_process::private::keep_private(&config.data_dir);
    let ports = Ports::of(raise_descriptor_limit());
    let federation = bind("federation", &config.listen.federation).await?;
    let enrolment = bind("enrolment", &config.listen.enrolment).await?;
    let admin = bind("admin", &config.listen.admin).await?;
    let metrics = Metrics::new();
    let listeners = metrics.register(ListenerMetrics::register);
    let mut tasks = JoinSet::new();
    let (ready, readiness) = watch::channel(Err("not joined yet".to_owned()));
    tasks.spawn(tell_service_manager(readiness.clone(), || true, shutdown.clone()));
    let admin = Listener::new("admin", admin, ports.admin, &listeners);
    tasks.spawn(admin.serve(admin::router(metrics.clone(), readiness), shutdown.clone()));

    let authority = tokio::select! {
        authority = identity::authority(&config, &clock) => authority?,
        () = shutdown.wait() => return Ok(()),
    };
    let config = Arc::new(config);
    let trust = LiveTrust::new(authority.trust_anchor()?, clock.clone());
    let kept_trust = KeptTrust::restore(config.data_dir.clone(), trust.clone());
    let live = identity::issue(&config, &authority)?;
    let kept_roots = KeptRoots::restore(config.data_dir.clone(), trust.clone(), live.clone());
    let authority = LiveAuthority::new(authority);
    let gateways = Arc::new(Gateways::open(config.clone(), clock.unix_seconds())?);
    metrics.register(|registry| ExpiryMetrics::register(registry, live.clone(), Some(authority.clone())));
    tasks.spawn(identity::keep_authority(config.clone(), authority.clone(), trust.clone(), shutdown.clone()));
    tasks.spawn(gateways.clone().watch_directory(clock.clone(), shutdown.clone()));
    tasks.spawn(renew_from(authority.clone(), Vec::new(), live.clone(), clock, shutdown.clone()));

    let kept = open_store(&config, &live).await?;
    let (replicas, store) = (kept.replicas, kept.store);
    metrics.register(|registry| {
        replicas.metrics().register(registry);
        store.metrics().register(registry);
    });
    tasks.spawn(kept.persister.run(shutdown.clone()));
    let subscribers = Subscribers::new();
    let (_servers, publishers) = watch::channel(identity::publishers(&config)?);
    let options = SubscriberOptions {
        identity: live.identity(),
        publishers,
        tls: client_tls(Some(&live), &trust, Expect { roles: vec![Role::Server], region: None })?,
        wanted: Wanted::All,
    };
    let report = {
        let (subscribers, roots) = (subscribers.clone(), kept_roots.clone());
        let (gateways, trust) = (gateways.clone(), trust.clone());
        Arc::new(move || {
            let report = gateways.add_unheard(subscribers.to_report(Instant::now()), &trust);
            let report = gateways.add_keys(report, &trust);
            Report { trust: Some(roots.status()), ..report }
        })
    };
    let (task, handle) =
        SubscriberTask::new(options, replicas.clone(), EffectiveSource::Immediate, Some(report));
    let mut task = task.with_report_on(subscribers.changed()).with_durable(kept.durable);
    if let Some((offered, as_of)) = kept_offer(&store) {
        task = task.with_offer(offered, as_of);
    }
    tasks.spawn(keep_offer(store, handle.status.clone(), shutdown.clone()));
    tasks.spawn(task.run(shutdown.clone()));
    let (revoked, roots) = (kept_trust.in_force(), kept_roots.clone());
    tasks.spawn(kept_trust.follow(handle.revoked, shutdown.clone()));
    tasks.spawn(kept_roots.follow(handle.roots, shutdown.clone()));
    tasks.spawn(watch_readiness(ready, handle.status.clone(), shutdown.clone()));

    let (admission, watcher) = GatewayAdmission::new(
        gateways.clone(),
        handle.status,
        revoked,
        roots,
        live.replaced(),
        shutdown.clone(),
    );
    tasks.spawn(watcher);
    let name = live.identity().to_string();
    let publisher = publisher_service(
        replicas,
        Arc::new(admission),
        handle.freshness,
        subscribers,
        name,
        MAX_GATEWAY_MESSAGE_BYTES,
        shutdown.clone(),
    );
    // A certificate of another region is of no use at either port.
    let (roles, region) = (vec![Role::Gateway], Some(config.region.clone()));
    let clients = Clients::Mutual { trust: trust.clone(), roles: roles.clone(), region: region.clone() };
    let tls = server_tls(&live, clients, Alpn::Http2)?;
    let federation = Listener::new("federation", federation, ports.federation, &listeners).with_tls(tls);
    tasks.spawn(federation.serve_grpc(Routes::new(publisher), shutdown.clone()));
    let clients = Clients::Renewing { trust: trust.clone(), roles, region };
    let tls = server_tls(&live, clients, Alpn::Http2)?;
    let service =
        EnrolmentService { config: config.clone(), gateways, authority, trust, turn: Mutex::new(()) };
    let service = EnrolmentServer::new(service).max_decoding_message_size(MAX_ENROLMENT_BYTES);
    let enrolment = Listener::new("enrolment", enrolment, ports.enrolment, &listeners).with_tls(tls);
    tasks.spawn(enrolment.serve_grpc(Routes::new(service), shutdown.clone()));

    info!(name = %config.name, region = %config.region, "this agent serves");
    shutdown.wait().await;
    drain(tasks).await;
    info!("stopped");
    Ok(())
}

/// What an earlier process kept, if any did.
async fn open_store(config: &Config, live: &LiveCredentials) -> Result<Persistence, Error> {
    let node = live.identity().to_string();
    let options = StoreOptions { dir: config.store_dir(), node, key: config.store_key() };
    Ok(Persistence::open(options, &Wanted::All).await?)
}

/// Ready once a control node said what this agent may have, to this process or to one before it: from then on gateways can
/// be served.
async fn watch_readiness(
    ready: watch::Sender<Result<(), String>>,
    mut link: watch::Receiver<LinkStatus>,
    shutdown: Shutdown,
) {
    loop {
        {
            let status = link.borrow_and_update();
            let reason =
                || status.last_failure.clone().unwrap_or_else(|| "no control node has answered yet".into());
            let now = if status.offered_as_of.is_some() { Ok(()) } else { Err(reason()) };
            ready.send_if_modified(|before| {
                let changed = *before != now;
                *before = now;
                changed
            });
        }
        tokio::select! {
            () = shutdown.wait() => return,
            changed = link.changed() => if changed.is_err() { return },
        }
    }
}
