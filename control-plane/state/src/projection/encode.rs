//! Leaf encoders: one spec → the bytes of one runtime resource.
//!
//! Prost writes fields in the order of their numbers and maps are ordered, so equal specs give equal bytes.

mod dns;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hanse_management::{
    ResourceKey, Spec,
    kinds::{
        ApiKeySpec, ApiRevisionSpec, CorsSpec, EgressSpec, EjectionSpec, EndpointSpec, EndpointsFromSpec,
        EnvironmentSpec, HeaderRulesSpec, HealthCheckSpec, HostGrantSpec, HostSpec, Lifecycle,
        ListenerProtocol, OperationSpec, OriginSpec, PolicySpec, RetryOn, RetrySpec, RewriteSpec, SecretSpec,
        SecretType, SecretValue, SecuritySpec, UpstreamSpec,
    },
};
use hanse_proto::runtime::{
    self, operation_security, resource::Kind as Runtime, security::Scheme, upstream::Host,
};
use hanse_runtime::{Cidr, EndpointUrl, ResourceKind};
use hanse_topology::{Exposure, Name};
use prost::Message as _;

pub(super) use dns::{Candidate, Share, candidate, global_host, zone};

use super::{Reveal, plain::Plain};
use crate::{Member, Metadata, Resource, State, Version, member::agent_identity};

/// The most a Binding adds to the Route of a revision: its organization, its name and 64 regions that serve it, each a name of 63 bytes,
/// two flags and framing, rounded up. The key of an upstream instead of the regions is shorter.
const MAX_BINDING_BYTES: usize = 4_608;

/// `KIND/ORGANIZATION/NAME`.
pub(super) fn owned_key(kind: &str, key: &ResourceKey) -> String {
    format!("{kind}/{}/{}", organization(key), key.name)
}

/// `upstream/ORGANIZATION/API_REVISION/NAME`.
pub(super) fn embedded_key(revision: &ResourceKey, upstream: &Name) -> String {
    format!("upstream/{}/{}/{upstream}", organization(revision), revision.name)
}

/// What an Environment accepts, and who owns which requests of it: its HostGrants in order of key.
pub(super) fn listener<'a>(
    environment: &Name,
    spec: &EnvironmentSpec,
    grants: impl Iterator<Item = &'a HostGrantSpec>,
) -> Bytes {
    bytes(Runtime::Listener(runtime::Listener {
        grants: grants.map(host_grant).collect(),
        environment: environment.to_string(),
        http: spec.listeners.contains(&ListenerProtocol::Http),
        https: spec.listeners.contains(&ListenerProtocol::Https),
        hostnames: spec.hostnames.clone(),
        internal: spec.exposure == Exposure::Internal,
        // Absent where nothing is said, and so no byte of an Environment that says nothing.
        egress: (!spec.egress.is_empty()).then(|| egress(&spec.egress)),
        tunnel_peers: tunnel_peers(spec),
    }))
}

/// The regions of the Environment, in order: each may send requests on to each.
fn tunnel_peers(spec: &EnvironmentSpec) -> Vec<String> {
    let regions: BTreeSet<&Name> = spec.regions.iter().filter(|_| spec.tunnel).collect();
    regions.into_iter().map(Name::to_string).collect()
}

/// That a region does not serve a host, or with `EveryHost` any without a Shift of its own, and where it is served.
pub(super) fn shift(of: runtime::shift::Of, regions: &[Name], epoch: runtime::Epoch) -> Bytes {
    let regions = regions.iter().map(Name::to_string).collect();
    bytes(Runtime::Shift(runtime::Shift { of: Some(of), regions, epoch: Some(epoch) }))
}

fn egress(spec: &EgressSpec) -> runtime::Egress {
    let wire = |networks: Vec<Cidr>| networks.iter().map(Cidr::to_wire).collect();
    let (allow, deny) = spec.networks();
    runtime::Egress { allow: wire(allow), deny: wire(deny) }
}

fn host_grant(spec: &HostGrantSpec) -> runtime::HostGrant {
    runtime::HostGrant {
        host: spec.host.clone(),
        path_prefix: spec.path_prefix.clone(),
        organization: spec.organization.to_string(),
    }
}

/// An Origin that was made at this time, with the keys of its holders: those that joined and are not revoked.
pub(super) fn origin(name: &Name, spec: &OriginSpec, made_at_ms: u64, state: &State) -> Bytes {
    let holder = |agent: &Name| {
        let identity = agent_identity(agent, &spec.region);
        let member = state.member(&identity).filter(|_| !state.is_revoked(&identity))?;
        Some(runtime::Holder { name: agent.to_string(), key: member.key_digest.to_vec().into() })
    };
    bytes(Runtime::Origin(runtime::Origin {
        name: name.to_string(),
        organizations: spec.organizations.iter().map(Name::to_string).collect(),
        kinds: spec.kinds.iter().map(|kind| kind.prefix().to_owned()).collect(),
        holders: spec.holders.iter().filter_map(holder).collect(),
        made_at_ms,
    }))
}

/// An agent, for the others of its region.
pub(super) fn neighbour(name: &Name, member: &Member) -> Bytes {
    bytes(Runtime::Neighbour(runtime::Neighbour {
        name: name.to_string(),
        key: member.key_digest.to_vec().into(),
        environments: member.environments.iter().map(Name::to_string).collect(),
        address: member.address.clone(),
        relay: member.relay,
    }))
}

/// Where requests of a Route go.
pub(super) enum Served<'a> {
    /// To the Upstream of this key in the same scope.
    Here(&'a str),
    /// On to gateways of these regions.
    In(&'a [Name]),
}

/// One revision as `binding` serves it while `version` is in force.
#[cfg_attr(
    not(feature = "next"),
    expect(unused_variables, reason = "all bytes came with version 1 but those of the test release")
)]
pub(super) fn route(
    binding: &ResourceKey,
    revision: &ApiRevisionSpec,
    lifecycle: Lifecycle,
    served: Served<'_>,
    version: Version,
) -> Bytes {
    let spec = &revision.spec;
    let operations = spec.operations.iter();
    let (upstream, served_in) = match served {
        Served::Here(upstream) => (upstream.to_owned(), Vec::new()),
        Served::In(regions) => (String::new(), regions.iter().map(Name::to_string).collect()),
    };
    let route = runtime::Route {
        organization: organization(binding).to_owned(),
        binding: binding.name.to_string(),
        operations: operations.map(|one| operation(one, policies(&one.policies, revision))).collect(),
        policies: policies(&spec.policies, revision),
        upstream,
        served_in,
        blocked: lifecycle == Lifecycle::Blocked,
        deprecated: lifecycle == Lifecycle::Deprecated,
        ..route_head(revision)
    };
    #[cfg(feature = "next")]
    let route = crate::next::with_note(route, version);
    bytes(Runtime::Route(route))
}

/// The runtime resources that are made of a spec, as far as no other resource matters to whether they can be used: an Api
/// without its Policies, a Policy as the only one of an Api, an Upstream with its endpoints for all scopes, a zone of no epoch, a
/// GlobalHost with one candidate.
pub(crate) fn by_itself(key: &ResourceKey, spec: &Spec, version: Version) -> Vec<(ResourceKind, Bytes)> {
    match spec {
        Spec::Environment(spec) => {
            vec![(ResourceKind::Listener, listener(&key.name, spec, std::iter::empty()))]
        }
        Spec::HostGrant(spec) => {
            let grants = vec![host_grant(spec)];
            let listener = runtime::Listener { grants, ..Default::default() };
            vec![(ResourceKind::Listener, bytes(Runtime::Listener(listener)))]
        }
        Spec::Origin(spec) => {
            // Without holders: each has the key of a member, which has 32 bytes.
            vec![(ResourceKind::Origin, origin(&key.name, spec, 0, &State::default()))]
        }
        Spec::Policy(spec) => {
            let policies = vec![policy(&key.name, spec)];
            let security = Some(security(&SecuritySpec::default()));
            let route = runtime::Route { context: "/".to_owned(), policies, security, ..Default::default() };
            vec![(ResourceKind::Route, bytes(Runtime::Route(route)))]
        }
        Spec::Upstream(spec) => {
            let bytes = upstream_with(key, &key.name, spec, spec.endpoints.iter());
            vec![(ResourceKind::Upstream, bytes)]
        }
        Spec::Api(spec) => {
            let revision = ApiRevisionSpec {
                api: key.name.clone(),
                number: 1,
                spec: spec.clone(),
                policies: BTreeMap::new(),
                upstreams: BTreeMap::new(),
            };
            vec![(ResourceKind::Route, route(key, &revision, spec.lifecycle, Served::Here(""), version))]
        }
        // Of a dump: those that the server makes are made of resources that were judged each by itself.
        Spec::ApiRevision(revision) => {
            let route = route(key, revision, revision.spec.lifecycle, Served::Here(""), version);
            let upstreams = revision.upstreams.iter().map(|(name, spec)| {
                (ResourceKind::Upstream, upstream_with(key, name, spec, spec.endpoints.iter()))
            });
            std::iter::once((ResourceKind::Route, route)).chain(upstreams).collect()
        }
        // Data that is kept was judged when it came.
        Spec::Secret(secret) => {
            let value = |(field, text): (&str, &str)| (field.to_owned(), text.to_owned().into());
            let encode = |texts: BTreeMap<&str, &str>| {
                let data = texts.into_iter().map(value).collect();
                vec![(ResourceKind::Secret, self::secret(key, secret.secret_type, data))]
            };
            secret.texts().map(encode).unwrap_or_default()
        }
        Spec::DnsZone(spec) => {
            let epoch = runtime::Epoch { generation: 1, revision: 0 };
            vec![(ResourceKind::Zone, zone(&key.name, spec, epoch))]
        }
        // With one candidate: the others are made of resources that are judged each by itself.
        Spec::GlobalHost(spec) => {
            let candidates = vec![candidate(&key.name, &Share::Whole, &[], None)];
            vec![(ResourceKind::GlobalHost, global_host(&key.name, spec, candidates))]
        }
        // Of the others nothing is made.
        _as_it_is_or_not => as_it_is(key, spec),
    }
}

/// A Secret of the state, opened. A value that does not open is left out: a consumer cannot use the Secret then, and keeps the last
/// version that it could use.
pub(super) fn revealed(state: &State, key: &ResourceKey, spec: &SecretSpec, reveal: &dyn Reveal) -> Bytes {
    let keys = state.federation_keys();
    let open = |(field, value): (&String, &SecretValue)| match value {
        SecretValue::Sealed(sealed) => Some((field.clone(), reveal.reveal(keys, key, field, sealed)?)),
        SecretValue::Text(_) | SecretValue::Kept => None, // the state has none
    };
    secret(key, spec.secret_type, spec.data.iter().filter_map(open).collect())
}

/// A Secret with its data in the clear.
fn secret(key: &ResourceKey, secret_type: SecretType, data: BTreeMap<String, Bytes>) -> Bytes {
    bytes(Runtime::Secret(runtime::Secret {
        organization: organization(key).to_owned(),
        name: key.name.to_string(),
        r#type: secret_type.as_str().to_owned(),
        data,
    }))
}

/// The runtime resource of a spec that is projected as it is.
fn as_it_is(key: &ResourceKey, spec: &Spec) -> Vec<(ResourceKind, Bytes)> {
    let encode = |plain: &Plain| {
        let resource = Resource { key: key.clone(), metadata: Metadata::default(), spec: spec.clone() };
        Some((ResourceKind::of_key(plain.prefix)?, plain.encode(&resource)?))
    };
    Plain::of(key.kind).and_then(encode).into_iter().collect()
}

/// What a Route says of the Api alone, but for its operations and policies.
fn route_head(revision: &ApiRevisionSpec) -> runtime::Route {
    let spec = &revision.spec;
    runtime::Route {
        api: revision.api.to_string(),
        version: spec.version.clone(),
        api_revision: revision.number,
        context: spec.context.clone(),
        hosts: spec.hosts.clone(),
        security: Some(security(&spec.security)),
        max_body_bytes: spec.max_body_bytes.unwrap_or(0),
        #[cfg(feature = "next")]
        note: spec.note.clone().unwrap_or_default(),
        ..runtime::Route::default()
    }
}

/// How many bytes [`route`] gives at most for this revision, with any Binding.
///
/// A Policy is copied into every operation that names it, but measured once: the work and the memory are those of the
/// revision, not of the Route.
pub(crate) fn route_len(revision: &ApiRevisionSpec) -> usize {
    let measure = |(name, spec)| (name, embedded_len(policy(name, spec).encoded_len()));
    let policies: BTreeMap<&Name, usize> = revision.policies.iter().map(measure).collect();
    let named = |names: &[Name]| names.iter().filter_map(|name| policies.get(name)).sum::<usize>();
    let spec = &revision.spec;
    let operation_len = |one: &OperationSpec| {
        embedded_len(operation(one, Vec::new()).encoded_len().saturating_add(named(&one.policies)))
    };
    let operations = spec.operations.iter().map(operation_len).fold(0, usize::saturating_add);
    MAX_BINDING_BYTES
        .saturating_add(route_head(revision).encoded_len())
        .saturating_add(named(&spec.policies))
        .saturating_add(operations)
}

/// A message inside another: a tag of one byte (the fields it is used for are below 16), its length, itself.
fn embedded_len(len: usize) -> usize {
    len.saturating_add(1 + prost::length_delimiter_len(len))
}

/// An Upstream with the endpoints that gateways of `environment` in `region` may use. `owner`: the Upstream itself, or the
/// ApiRevision that embeds it.
pub(super) fn upstream(
    owner: &ResourceKey,
    name: &Name,
    spec: &UpstreamSpec,
    region: &Name,
    environment: &Name,
) -> Bytes {
    upstream_with(owner, name, spec, spec.endpoints_for(region, environment))
}

fn upstream_with<'a>(
    owner: &ResourceKey,
    name: &Name,
    spec: &UpstreamSpec,
    endpoints: impl Iterator<Item = &'a EndpointSpec>,
) -> Bytes {
    // Admission has normalized it. Of another URL nothing is read: an endpoint without a host is in quarantine.
    let endpoint = |endpoint: &EndpointSpec| {
        EndpointUrl::parse(&endpoint.url).map(|url| url.to_wire(endpoint.weight)).unwrap_or_default()
    };
    let tls = spec.tls.clone().unwrap_or_default();
    bytes(Runtime::Upstream(runtime::Upstream {
        organization: organization(owner).to_owned(),
        name: name.to_string(),
        endpoints: endpoints.map(endpoint).collect(),
        timeout_ms: spec.timeout.as_millis(),
        connect_timeout_ms: spec.connect_timeout.as_millis(),
        ca_pem: tls.ca_bundle.unwrap_or_default(),
        server_name: tls.server_name.unwrap_or_default(),
        // Absent where nothing is said, and so no byte of an upstream that says nothing.
        health_check: spec.health_check.as_ref().map(health_check),
        ejection: spec.ejection.as_ref().map(ejection),
        retry: spec.retry.as_ref().map(retry),
        host: spec.host.as_ref().and_then(host),
        endpoints_from: spec.endpoints_from.as_ref().map(endpoints_from),
    }))
}

/// A runtime resource as it is sent and stored.
pub(super) fn bytes(kind: Runtime) -> Bytes {
    let used = REQUIRED.iter().filter(|(_, is_used)| is_used(&kind));
    let requires = used.map(|(feature, _)| (*feature).to_owned()).collect();
    runtime::Resource { kind: Some(kind), requires }.encode_to_vec().into()
}

/// The features that a consumer must know to use a resource as it is meant ([`hanse_runtime::FEATURES`]), and which resources
/// use each. Consumers drop fields that they do not know, so each field that forbids something is asked for here: a resource
/// that has it requires its feature.
const REQUIRED: &[(&str, Uses)] = &[
    (hanse_runtime::EXPOSURE, |kind| matches!(kind, Runtime::Listener(listener) if listener.internal)),
    (hanse_runtime::TUNNEL, |kind| match kind {
        Runtime::Route(route) => !route.served_in.is_empty(),
        kind => matches!(kind, Runtime::Shift(_)),
    }),
    #[cfg(feature = "next")]
    (crate::next::FEATURE, |kind| matches!(kind, Runtime::Route(route) if !route.note.is_empty())),
];

/// Whether a resource uses a feature.
type Uses = fn(&Runtime) -> bool;

/// The owner as the wire has it.
pub(super) fn organization(key: &ResourceKey) -> &str {
    key.organization.as_ref().map_or("", Name::as_str)
}

fn operation(spec: &OperationSpec, policies: Vec<runtime::Policy>) -> runtime::Operation {
    runtime::Operation {
        method: spec.method.as_str().to_owned(),
        path: spec.path.clone(),
        id: spec.id.clone().unwrap_or_default(),
        scopes: spec.scopes.clone(),
        policies,
        timeout_ms: spec.timeout.map_or(0, |timeout| timeout.as_millis()),
        security: spec.open.then_some(runtime::OperationSecurity {
            scheme: Some(operation_security::Scheme::Open(runtime::Open {})),
        }),
    }
}

fn security(spec: &SecuritySpec) -> runtime::Security {
    let scheme = match &spec.api_key {
        None => Scheme::Open(runtime::Open {}),
        Some(key) => {
            let default = key.query.is_none().then(|| ApiKeySpec::DEFAULT_HEADER.to_owned());
            Scheme::ApiKey(runtime::ApiKey {
                header: key.header.clone().or(default).unwrap_or_default(),
                query: key.query.clone().unwrap_or_default(),
            })
        }
    };
    runtime::Security { scheme: Some(scheme) }
}

/// In the order named. A revision embeds every Policy that it names.
fn policies(names: &[Name], revision: &ApiRevisionSpec) -> Vec<runtime::Policy> {
    names.iter().filter_map(|name| Some(policy(name, revision.policies.get(name)?))).collect()
}

fn policy(name: &Name, spec: &PolicySpec) -> runtime::Policy {
    let headers = spec.headers.as_ref();
    runtime::Policy {
        name: name.to_string(),
        request_headers: headers.and_then(|both| both.request.as_ref()).map(header_rules),
        response_headers: headers.and_then(|both| both.response.as_ref()).map(header_rules),
        cors: spec.cors.as_ref().map(cors),
        rewrite: spec.rewrite.map(rewrite),
    }
}

fn rewrite(RewriteSpec { location, cookies }: RewriteSpec) -> runtime::Rewrite {
    runtime::Rewrite { location, cookies }
}

fn health_check(spec: &HealthCheckSpec) -> runtime::HealthCheck {
    runtime::HealthCheck {
        path: spec.path.clone(),
        interval_ms: spec.interval.as_millis(),
        timeout_ms: spec.timeout.as_millis(),
        unhealthy_after: spec.unhealthy_after,
        healthy_after: spec.healthy_after,
        expect_status: spec.expect_status.map_or(0, u32::from),
    }
}

fn endpoints_from(EndpointsFromSpec { origin, name }: &EndpointsFromSpec) -> runtime::EndpointsFrom {
    runtime::EndpointsFrom { origin: origin.to_string(), name: name.to_string() }
}

fn host(spec: &HostSpec) -> Option<Host> {
    match &spec.name {
        Some(name) => Some(Host::HostName(name.clone())),
        None => spec.preserve.then_some(Host::ClientHost(runtime::ClientHost {})),
    }
}

fn ejection(spec: &EjectionSpec) -> runtime::Ejection {
    runtime::Ejection {
        consecutive_failures: spec.consecutive_failures,
        base_time_ms: spec.base_time.as_millis(),
        max_ejected_percent: spec.max_ejected,
    }
}

fn retry(spec: &RetrySpec) -> runtime::Retry {
    let statuses: BTreeSet<u32> = spec.on.iter().filter_map(|on| on.status()).map(u32::from).collect();
    runtime::Retry {
        attempts: spec.attempts,
        per_try_timeout_ms: spec.per_try_timeout.map_or(0, |timeout| timeout.as_millis()),
        connect_failure: spec.on.contains(&RetryOn::ConnectFailure),
        reset_before_response: spec.on.contains(&RetryOn::ResetBeforeResponse),
        statuses: statuses.into_iter().collect(),
    }
}

fn header_rules(spec: &HeaderRulesSpec) -> runtime::HeaderRules {
    let header =
        |(name, value): (&String, &String)| runtime::Header { name: name.clone(), value: value.clone() };
    runtime::HeaderRules {
        set: spec.set.iter().map(header).collect(),
        add: spec.add.iter().map(header).collect(),
        remove: spec.remove.clone(),
    }
}

fn cors(spec: &CorsSpec) -> runtime::Cors {
    runtime::Cors {
        origins: spec.origins.clone(),
        methods: spec.methods.clone(),
        headers: spec.headers.clone(),
        expose_headers: spec.expose_headers.clone(),
        credentials: spec.credentials,
        max_age_seconds: spec.max_age_seconds,
    }
}
