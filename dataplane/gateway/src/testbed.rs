//! Runtime resources as tests write them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hanse_identity::{Authority, Credentials, Environments, KeyPair, LiveTrust, Tunnels};
use hanse_proto::runtime::{self, operation_security, resource::Kind, security::Scheme};
use hanse_runtime::{Cidr, EndpointUrl, Origin, ResourceKind};
use hanse_topology::{Exposure, Identity, Name, ScopeId};
use prost::Message as _;
use tokio::sync::watch;

use crate::{
    table::{ConnectProfiles, FACES, Face, Protocol, RoutingTable, digest, index::ScopeIndex},
    tunnel::Addresses,
};

/// For a condition that must hold soon: far above what a busy machine needs.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Waits for a condition, with a bound.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The scope of an environment in `eu-west`.
pub(crate) fn scope(environment: &str) -> ScopeId {
    ScopeId::runtime(Name::new("eu-west").unwrap(), Name::new(environment).unwrap())
}

/// A resource with its key.
pub(crate) fn entry(key: &str, kind: Kind) -> (Arc<str>, Bytes) {
    (key.into(), runtime::Resource { kind: Some(kind), requires: Vec::new() }.encode_to_vec().into())
}

/// A listener for both protocols; no hostnames: every host.
pub(crate) fn listener(environment: &str, hostnames: &[&str]) -> (Arc<str>, Bytes) {
    entry(
        &format!("listener/{environment}"),
        Kind::Listener(runtime::Listener {
            environment: environment.to_owned(),
            http: true,
            https: true,
            hostnames: hostnames.iter().map(|&name| name.to_owned()).collect(),
            ..Default::default()
        }),
    )
}

/// A listener for every host whose egress denies these networks.
pub(crate) fn closed_listener(environment: &str, deny: &[&str]) -> (Arc<str>, Bytes) {
    let deny = deny.iter().map(|text| Cidr::parse(text).unwrap().to_wire()).collect();
    let egress = runtime::Egress { allow: Vec::new(), deny };
    listening(environment, runtime::Listener { egress: Some(egress), ..Default::default() })
}

/// A listener of every host with grants: host, path prefix and organization of each.
pub(crate) fn granted(environment: &str, grants: &[(&str, &str, &str)]) -> (Arc<str>, Bytes) {
    let grant = |(host, prefix, organization): &(&str, &str, &str)| runtime::HostGrant {
        host: (*host).to_owned(),
        path_prefix: (*prefix).to_owned(),
        organization: (*organization).to_owned(),
    };
    let grants = grants.iter().map(grant).collect();
    listening(environment, runtime::Listener { grants, ..Default::default() })
}

/// A listener of every host, http and https.
fn listening(environment: &str, other: runtime::Listener) -> (Arc<str>, Bytes) {
    let listener =
        runtime::Listener { environment: environment.to_owned(), http: true, https: true, ..other };
    entry(&format!("listener/{environment}"), Kind::Listener(listener))
}

/// A route of an organization with its upstream.
pub(crate) fn route_of(organization: &str, mut route: runtime::Route) -> [(Arc<str>, Bytes); 2] {
    organization.clone_into(&mut route.organization);
    route.upstream = format!("upstream/{organization}/{}", route.api);
    let upstream = entry(&route.upstream, Kind::Upstream(upstream(&["http://127.0.0.1:9"])));
    [entry(&format!("route/{organization}/{}", route.binding), Kind::Route(route)), upstream]
}

/// A listener of every host that takes requests from gateways of these regions.
pub(crate) fn peered_listener(environment: &str, regions: &[&str]) -> (Arc<str>, Bytes) {
    let tunnel_peers = regions.iter().map(|&region| region.to_owned()).collect();
    listening(environment, runtime::Listener { tunnel_peers, ..Default::default() })
}

/// Says that these regions serve a host, or with "" every host, since a decision of that revision.
pub(crate) fn shift(host: &str, regions: &[&str], revision: u64) -> (Arc<str>, Bytes) {
    let of = match host {
        "" => runtime::shift::Of::EveryHost(runtime::EveryHost {}),
        host => runtime::shift::Of::Host(host.to_owned()),
    };
    let shift = runtime::Shift {
        of: Some(of),
        regions: regions.iter().map(|&region| region.to_owned()).collect(),
        epoch: Some(runtime::Epoch { generation: 1, revision }),
    };
    entry(&format!("shift/{}", if host.is_empty() { "every" } else { host }), Kind::Shift(shift))
}

/// A federation of two regions, whose gateways have leaves for tunnels.
pub(crate) struct TwoRegions {
    root: Authority,
    regions: [(&'static str, Authority); 2],
}

impl TwoRegions {
    pub(crate) fn new() -> Self {
        let root = Authority::new_root().unwrap();
        let control = root.new_control_intermediate(&Name::new("cp-1").unwrap()).unwrap();
        let region = |name| (name, control.new_regional_intermediate(&Name::new(name).unwrap()).unwrap());
        let regions = ["eu-west", "us-east"].map(region);
        Self { root, regions }
    }

    /// What a gateway of a region shows. Its leaf names these environments.
    pub(crate) fn credentials(&self, region: &str, environments: &[&str]) -> Arc<Credentials> {
        let (name, authority) = self.regions.iter().find(|(name, _)| *name == region).unwrap();
        let own = Identity::gateway(Name::new("g-1").unwrap(), Name::new(name).unwrap());
        let key = KeyPair::generate().unwrap();
        let environments =
            Environments::Named(environments.iter().map(|name| Name::new(name).unwrap()).collect());
        let chain = authority.issue_leaf_for(&key.public_key_der(), &own, &environments).unwrap();
        Arc::new(Credentials::new(chain, key).unwrap())
    }

    /// The root, believed by one gateway.
    pub(crate) fn trust(&self) -> LiveTrust {
        self.root.trust_anchor().unwrap().into()
    }

    /// Both sides of the tunnels of a gateway.
    pub(crate) fn ends(&self, region: &str, environments: &[&str]) -> Tunnels {
        Tunnels::new(watch::channel(Some(self.credentials(region, environments))).1, self.trust())
    }
}

/// Addresses of the gateways of `us-east` for `production`.
pub(crate) fn in_us_east(addresses: &[String]) -> Addresses {
    let [region, environment] = ["us-east", "production"].map(|name| Name::new(name).unwrap());
    [((region, environment), addresses.to_vec())].into()
}

/// An operation from `"GET /path"`.
pub(crate) fn operation(text: &str) -> runtime::Operation {
    let (method, path) = text.split_once(' ').unwrap();
    runtime::Operation { method: method.to_owned(), path: path.to_owned(), ..Default::default() }
}

/// The security of an operation that every client may call.
pub(crate) fn open() -> Option<runtime::OperationSecurity> {
    let scheme = operation_security::Scheme::Open(runtime::Open {});
    Some(runtime::OperationSecurity { scheme: Some(scheme) })
}

/// An open route of organization `default`, its binding and upstream named like the Api.
pub(crate) fn route(api: &str, context: &str, operations: &[&str]) -> runtime::Route {
    runtime::Route {
        organization: "default".to_owned(),
        binding: api.to_owned(),
        api: api.to_owned(),
        version: "1".to_owned(),
        api_revision: 1,
        context: context.to_owned(),
        operations: operations.iter().map(|text| operation(text)).collect(),
        security: Some(runtime::Security { scheme: Some(Scheme::Open(runtime::Open {})) }),
        upstream: format!("upstream/default/{api}"),
        ..Default::default()
    }
}

/// Asks for an API key in `X-API-Key`.
pub(crate) fn with_key(route: runtime::Route) -> runtime::Route {
    with_key_or_query(route, "")
}

/// Asks for an API key in `X-API-Key` or in that query parameter.
pub(crate) fn with_key_or_query(mut route: runtime::Route, query: &str) -> runtime::Route {
    let api_key = runtime::ApiKey { header: "X-API-Key".to_owned(), query: query.to_owned() };
    route.security = Some(runtime::Security { scheme: Some(Scheme::ApiKey(api_key)) });
    route
}

/// A route with its key.
pub(crate) fn route_entry(route: runtime::Route) -> (Arc<str>, Bytes) {
    entry(&format!("route/default/{}", route.binding), Kind::Route(route))
}

/// An upstream of one weight.
pub(crate) fn upstream(urls: &[&str]) -> runtime::Upstream {
    // What is no URL is an endpoint without a host, which cannot be used.
    let endpoint = |url: &&str| EndpointUrl::parse(url).map(|url| url.to_wire(1)).unwrap_or_default();
    runtime::Upstream { endpoints: urls.iter().map(endpoint).collect(), ..Default::default() }
}

/// The same, checked.
pub(crate) fn checked(upstream: runtime::Upstream) -> hanse_runtime::Upstream {
    let (_, bytes) = entry("upstream/default/a", Kind::Upstream(upstream));
    match hanse_runtime::check(hanse_runtime::ResourceKind::Upstream, &bytes).unwrap() {
        hanse_runtime::Resource::Upstream(upstream) => upstream,
        other => panic!("{other:?}"),
    }
}

/// An upstream with its key.
pub(crate) fn upstream_entry(name: &str, upstream: runtime::Upstream) -> (Arc<str>, Bytes) {
    entry(&format!("upstream/default/{name}"), Kind::Upstream(upstream))
}

/// A plan of `requests` a minute; 0: no limit.
pub(crate) fn plan(name: &str, requests: u64, burst: u64) -> (Arc<str>, Bytes) {
    entry(
        &format!("plan/default/{name}"),
        Kind::Plan(runtime::Plan {
            organization: "default".to_owned(),
            name: name.to_owned(),
            requests,
            period_seconds: 60,
            burst,
        }),
    )
}

/// An API key of an application; `expires_at` 0: never.
pub(crate) fn credential(name: &str, application: &str, key: &str, expires_at: u64) -> (Arc<str>, Bytes) {
    entry(
        &format!("credential/default/{name}"),
        Kind::Credential(runtime::Credential {
            organization: "default".to_owned(),
            name: name.to_owned(),
            application: application.to_owned(),
            digest: digest(key.as_bytes()).to_vec().into(),
            expires_at,
        }),
    )
}

/// Lets an application call an Api.
pub(crate) fn subscription(name: &str, application: &str, api: &str, plan: &str) -> (Arc<str>, Bytes) {
    entry(
        &format!("subscription/default/{name}"),
        Kind::Subscription(runtime::Subscription {
            organization: "default".to_owned(),
            name: name.to_owned(),
            application: application.to_owned(),
            api: api.to_owned(),
            plan: plan.to_owned(),
        }),
    )
}

/// An index of these resources.
pub(crate) fn index(environment: &str, resources: Vec<(Arc<str>, Bytes)>) -> ScopeIndex {
    let mut index = ScopeIndex::new(scope(environment));
    index.apply(resources, Vec::new(), &mut ConnectProfiles::default());
    index
}

/// An index of a local scope of `production`, whose Origin allows Routes and Upstreams of `acme`, `shop` and `default`.
pub(crate) fn local_index(origin: &str, resources: Vec<(Arc<str>, Bytes)>) -> ScopeIndex {
    let name = |text| Name::new(text).unwrap();
    let mut index = ScopeIndex::new(ScopeId::local(name("eu-west"), name("production"), name(origin)));
    let allowed = Origin {
        made_at_ms: 1,
        name: origin.to_owned(),
        organizations: ["acme", "shop", "default"].map(str::to_owned).into(),
        kinds: [ResourceKind::Route, ResourceKind::Upstream].into(),
        holders: Vec::new(),
    };
    index.set_origin(Some(Arc::new(allowed)), &mut ConnectProfiles::default());
    index.apply(resources, Vec::new(), &mut ConnectProfiles::default());
    index
}

/// A table of one environment, `production`.
pub(crate) fn table(resources: Vec<(Arc<str>, Bytes)>) -> RoutingTable {
    RoutingTable::new(vec![index("production", resources).table()], &FACES)
}

/// Both protocols.
pub(crate) const PROTOCOLS: [Protocol; 2] = Protocol::ALL;

/// The faces of a gateway that has external entries only.
pub(crate) const EXTERNAL: [Face; 2] =
    [(Protocol::Http, Exposure::External), (Protocol::Https, Exposure::External)];

/// A listener of an internal environment.
pub(crate) fn internal_listener(environment: &str, hostnames: &[&str]) -> (Arc<str>, Bytes) {
    let hostnames = hostnames.iter().map(|&name| name.to_owned()).collect();
    listening(environment, runtime::Listener { hostnames, internal: true, ..Default::default() })
}

/// A Route whose Upstream is called so ends what compiles it, in the way that the rest of the name says.
pub(crate) const DEADLY: &str = "/deadly-";

/// Ends, if this resource is a deadly one.
pub(crate) fn meet(bytes: &[u8]) {
    let Some(at) = bytes.windows(DEADLY.len()).position(|window| window == DEADLY.as_bytes()) else { return };
    let way = &bytes[at + DEADLY.len()..];
    assert!(!way.starts_with(b"panic"), "a deadly resource, on purpose");
    if way.starts_with(b"abort") {
        std::process::abort();
    } else if way.starts_with(b"late") {
        std::thread::spawn(|| {
            std::thread::sleep(LATE);
            std::process::abort();
        });
    } else {
        assert!(way.starts_with(b"memory"), "{way:?}");
        let mut all = Vec::new();
        loop {
            all.push(Vec::<u8>::with_capacity(64 << 20)); // the address space ends before the machine's memory
        }
    }
}

/// A deadly Route may be in force for so long: enough for an acknowledgement.
const LATE: Duration = Duration::from_millis(500);
