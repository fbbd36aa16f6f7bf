//! A running agent: everything composed.

use std::{sync::Arc, time::Instant};

use hanse_identity::{
    Alpn, Authority, Clients, LiveAuthority, LiveCredentials, MAX_ENROLMENT_BYTES, Ports, server_tls,
};
use hanse_link::{
    EffectiveSource, Freshness, LinkStatus, MAX_GATEWAY_MESSAGE_BYTES, NeighbourService, Published, Replicas,
    SubscriberHandle, Subscribers, neighbour_service, publisher_service,
};
use hanse_local::{Directory, Holding, Wishes};
use hanse_node::{Consumer, JoinedNode, Shell};
use hanse_process::{Shutdown, WallClock, bind, raise_descriptor_limit};
use hanse_proto::{
    enrolment::enrolment_server::EnrolmentServer,
    sync::{Facts, Report},
};
use hanse_topology::{Identity, Name, Role};
use tokio::sync::{Mutex, oneshot, watch};
use tonic::service::Routes;
use tracing::{info, warn};

use crate::{
    Config, Error,
    admission::{Answers, GatewayAdmission, LocalScopes},
    enrolment::EnrolmentService,
    gateways::Gateways,
    neighbours::{self, Links, NeighbourAdmission},
    places::OwnPlaces,
    region::{self, Own, RegionMetrics, RegionWatcher, Shown, Teller, Watched, Watching},
    test_origin,
};

/// Descriptors for everything but accepted connections: the store and small files, connections to control nodes, sockets of
/// listeners, and connections that are being closed.
const RESERVED_DESCRIPTORS: usize = 192;
/// Of the rest, for enrolment. Gateways get what it leaves.
const ENROLMENT_PERCENT: usize = 20;

/// Runs an agent until the shutdown. The first run joins the federation with the join token.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    run_with_clock(config, WallClock::system(), shutdown).await
}

/// The same, with certificates and tokens judged by another clock than the system's.
pub async fn run_with_clock(config: Config, clock: WallClock, shutdown: Shutdown) -> Result<(), Error> {
    let wishes = test_origin::wishes(&config.region, shutdown.clone());
    run_with_origins(config, clock, wishes, shutdown).await
}

/// The same, with sources that wish for this in local scopes. Those whose Origin does not name this agent are left alone.
pub async fn run_with_origins(
    config: Config,
    clock: WallClock,
    wishes: watch::Receiver<Wishes>,
    shutdown: Shutdown,
) -> Result<(), Error> {
    run_observed(config, clock, wishes, oneshot::channel().0, shutdown).await
}

/// What a measurement sees of an agent that runs in its process.
pub struct Observed {
    /// What the agent holds.
    pub replicas: Replicas,
    /// What it knows of its region.
    pub region: RegionWatcher,
}

/// The same. `observer` gets what a measurement sees, when the agent has opened its store.
pub async fn run_observed(
    config: Config,
    clock: WallClock,
    wishes: watch::Receiver<Wishes>,
    observer: oneshot::Sender<Observed>,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let ports = Ports::of(raise_descriptor_limit(), RESERVED_DESCRIPTORS, ENROLMENT_PERCENT);
    let shell = Shell::start(config.node(), clock, shutdown.clone()).await?;
    let federation = bind("federation", &config.listen.federation).await?;
    let enrolment = bind("enrolment", &config.listen.enrolment).await?;
    let Some(authority) = shell.join::<Authority>(&config.authority_dir()).await? else { return Ok(()) };
    let own = Identity::agent(config.name.clone(), config.region.clone());
    let credentials = LiveCredentials::new(authority.issue_renewal_credentials(&own)?);
    let authority = LiveAuthority::new(authority);
    let node = JoinedNode::open(shell, credentials).await?;
    node.renew_authority(&authority, config.authority_dir());

    let (shell, config) = (&node.shell, Arc::new(config));
    let gateways = Arc::new(Gateways::open(config.clone(), shell.clock().unix_seconds())?);
    let state = (gateways.clone(), shell.clock().clone());
    shell.supervisor.spawn("gateway-entries", state, |(gateways, clock), shutdown| {
        gateways.watch_directory(clock, shutdown)
    });
    let subscribers = Subscribers::new();
    let own = Own::new(subscribers.clone(), gateways.clone());
    let link = follow(&node, &gateways, &subscribers, &own, &authority)?;
    shell.ready_by(link.status.clone(), readiness);

    let (replicas, origins) = (node.replicas.clone(), node.origins.clone());
    let (task, holding) = Holding::new(replicas, origins, authority.clone(), wishes);
    shell.supervisor.spawn_lasting("local-scopes", task, |task, shutdown| Box::pin(task.run(shutdown)));
    let local = LocalScopes { held: node.origins.held(), holding };
    let (admission, answers) = GatewayAdmission::new(
        gateways.clone(),
        link.status.clone(),
        node.revoked.in_force(),
        node.roots.clone(),
        local.clone(),
        node.credentials.replaced(),
    );
    shell.supervisor.spawn("admission", answers, Answers::watch);
    let publisher = publisher_service(
        Published {
            replicas: node.replicas.clone(),
            freshness: link.freshness.clone(),
            places: node.places.clone(),
        },
        Arc::new(admission),
        subscribers.clone(),
        node.credentials.identity().to_string(),
        MAX_GATEWAY_MESSAGE_BYTES,
        shutdown.clone(),
    );
    let (neighbours, region) = neighbours(&node, &config.region, &own, local, link.freshness);
    let own_places =
        OwnPlaces::new(&config.region, region.clone(), node.places.clone(), node.replicas.clone());
    shell.supervisor.spawn("places-of-region", own_places, OwnPlaces::run);
    // Mostly nothing measures.
    let _ = observer.send(Observed { replicas: node.replicas.clone(), region: RegionWatcher::new(region) });
    // A certificate of another region is of no use at either port.
    let (roles, region, trust) =
        (Role::Agent.admits().collect::<Vec<_>>(), Some(config.region.clone()), node.trust.clone());
    let followers = roles.iter().copied().chain([Role::Agent]).collect();
    let clients = Clients::Mutual { trust: trust.clone(), roles: followers, region: region.clone() };
    let tls = server_tls(&node.credentials, clients, Alpn::Http2)?;
    shell.serve_grpc(
        "federation",
        federation,
        ports.federation,
        tls,
        Routes::new(publisher).add_service(neighbours),
    );
    let clients = Clients::Renewing { trust: trust.clone(), roles, region };
    let tls = server_tls(&node.credentials, clients, Alpn::Http2)?;
    let service =
        EnrolmentService { config: config.clone(), gateways, authority, trust, turn: Mutex::new(()) };
    let service = EnrolmentServer::new(service).max_decoding_message_size(MAX_ENROLMENT_BYTES);
    shell.serve_grpc("enrolment", enrolment, ports.enrolment, tls, Routes::new(service));

    if config.found_at().is_none() {
        warn!(
            address = config.advertised(),
            "other agents of the region cannot find this one at this address, so it is no relay, and no relay follows what it \
             publishes of local scopes: set advertise.federation to the HOST:PORT that others reach its federation port at"
        );
    }
    info!(name = %config.name, region = %config.region, "this agent serves");
    shutdown.wait().await;
    node.close().await;
    Ok(())
}

/// Follows the control nodes. What the agent holds is in use as it is, for it relays it.
fn follow(
    node: &JoinedNode,
    gateways: &Arc<Gateways>,
    subscribers: &Subscribers,
    own: &Own,
    authority: &LiveAuthority,
) -> Result<SubscriberHandle, Error> {
    let report = reports(node, gateways, subscribers, own, authority);
    let report_on = Some(subscribers.changed());
    let consumer = Consumer { effective: EffectiveSource::Immediate, report, report_on, relays: true };
    Ok(node.follow(consumer)?)
}

/// Makes a report from the facts that every node states of itself.
type Reports = Arc<dyn Fn(Facts) -> Report + Send + Sync>;

/// What the agent reports of itself and its gateways, with their requests.
fn reports(
    node: &JoinedNode,
    gateways: &Arc<Gateways>,
    subscribers: &Subscribers,
    own: &Own,
    authority: &LiveAuthority,
) -> Reports {
    let (gateways, subscribers, trust) = (gateways.clone(), subscribers.clone(), node.trust.clone());
    let (own, authority) = (own.clone(), authority.clone());
    #[cfg(test)]
    let identity = node.credentials.identity();
    Arc::new(move |facts: Facts| {
        #[cfg(test)]
        tests::fault(&identity);
        let authority_expires = authority.current().validity().end_unix_seconds();
        let facts = Facts { authority_expires, ..facts };
        let report = gateways.report(&subscribers.snapshot(), Instant::now(), &trust, facts);
        Report { traffic: Some(own.traffic()), ..report }
    })
}

/// Follows other agents of the region, serves them, and tells them of its gateways. The service, and what the agent knows of its region.
fn neighbours(
    node: &JoinedNode,
    region: &Name,
    gateways: &Own,
    local: LocalScopes,
    freshness: watch::Receiver<Freshness>,
) -> (NeighbourService, Shown) {
    let (shell, own) = (&node.shell, node.credentials.identity());
    let common = neighbours::Common {
        credentials: node.credentials.clone(),
        trust: node.trust.clone(),
        replicas: node.replicas.clone(),
        origins: node.origins.clone(),
        holding: local.holding.clone(),
        report: {
            let gateways = gateways.clone();
            Arc::new(move || gateways.report(Instant::now()))
        },
        report_on: gateways.changed(),
    };
    let links = Links::new(region.clone(), common, shell.supervisor.part(shell.shutdown.clone()));
    let directory = links.directory();
    let pages = neighbours::pages(
        own.name.clone(),
        node.replicas.clone(),
        node.durable.clone(),
        directory.clone(),
        links.shown(),
    );
    let followers = Subscribers::new();
    let shown = tell_of_region(node, gateways, &followers, &directory);
    shell.show(pages.merge(region::pages(shown.clone())).merge(node.place_pages()));
    shell.supervisor.spawn_lasting("neighbours", links, |links, shutdown| Box::pin(links.run(shutdown)));
    let (admission, answers) = NeighbourAdmission::new(region.clone(), directory, local);
    shell.supervisor.spawn("neighbour-admission", answers, neighbours::Answers::watch);
    let service = neighbour_service(
        node.replicas.clone(),
        Arc::new(admission),
        freshness,
        followers,
        own.to_string(),
        Arc::new(shown.told.clone()),
        shell.shutdown.clone(),
    );
    (service, shown)
}

/// Puts together what the agent hears of its region, and asks the relays for the rest.
fn tell_of_region(
    node: &JoinedNode,
    gateways: &Own,
    followers: &Subscribers,
    directory: &watch::Receiver<Arc<Directory>>,
) -> Shown {
    let (shell, own, watched) = (&node.shell, node.credentials.identity(), Watched::default());
    let (teller, told) = Teller::new(own.clone(), gateways.clone(), followers.clone(), directory.clone());
    shell.supervisor.spawn("region", teller, Teller::run);
    let watching = Watching {
        credentials: node.credentials.clone(),
        trust: node.trust.clone(),
        directory: directory.clone(),
        watched: watched.clone(),
    };
    shell.supervisor.spawn("region-watch", watching, Watching::run);
    let shown = Shown { own, told, watched };
    shell.metrics.register(|registry| registry.register_collector(Box::new(RegionMetrics(shown.clone()))));
    shown
}

/// Ready once a control node said what this agent may have, to this process or to one before it: from then on gateways can
/// be served.
fn readiness(link: &LinkStatus) -> Result<(), String> {
    let why = || link.last_failure.clone().unwrap_or_else(|| "no control node has answered yet".into());
    if link.offered_as_of.is_some() { Ok(()) } else { Err(why()) }
}

#[cfg(test)]
mod tests;
