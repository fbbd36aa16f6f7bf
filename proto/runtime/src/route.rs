//! One revision of an Api as a scope serves it.

use std::{collections::BTreeMap, time::Duration};

use hanse_proto::runtime::{self, operation_security, security};
use hanse_topology::Name;
use http::{HeaderName, Method};

use crate::{Context, HostPattern, Policy, Template, Unusable, header::key_name, regions};

/// One revision of an Api as a scope serves it.
#[derive(Debug, Clone)]
pub struct Route {
    /// Who owns the Api.
    pub organization: Box<str>,
    /// The Api's name.
    pub api: Box<str>,
    /// The revision of the Api.
    pub api_revision: u64,
    /// The base path.
    pub context: Context,
    /// The hosts it answers to.
    pub hosts: Vec<HostPattern>,
    /// What can be called; no two of them are the same method on equal templates.
    pub operations: Vec<Operation>,
    /// Who may call.
    pub security: Security,
    /// Of all operations, in order.
    pub policies: Vec<Policy>,
    /// The key of its upstream in the scope; empty where other regions serve it.
    pub upstream: Box<str>,
    /// The regions that serve it for this one; none: this region does.
    pub served_in: Vec<Name>,
    /// Largest request body; `None`: the gateway's own limit.
    pub max_body: Option<u64>,
    /// Answers 503 to everything.
    pub blocked: bool,
    /// Tells callers that it will go.
    pub deprecated: bool,
}

/// One method on one path.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The method; `None`: every method.
    pub method: Option<Method>,
    /// Its path below the context.
    pub template: Template,
    /// `operationId`, or method and path template: for logs.
    pub id: Box<str>,
    /// Every client may call it, also where the route asks for a key.
    pub open: bool,
    /// Instead of the upstream's.
    pub timeout: Option<Duration>,
    /// After the route's.
    pub policies: Vec<Policy>,
}

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Every client.
    Open,
    /// Who shows the API key of a subscribed application.
    ApiKey(ApiKey),
}

/// Where an API key is looked for: in at least one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// In this header.
    pub header: Option<HeaderName>,
    /// In this query parameter.
    pub query: Option<Box<str>>,
}

impl Route {
    pub(crate) fn new(route: &runtime::Route) -> Result<Self, Unusable> {
        Ok(Self {
            organization: route.organization.as_str().into(),
            api: route.api.as_str().into(),
            api_revision: route.api_revision,
            context: Context::parse(&route.context)
                .ok_or_else(|| Unusable::new("context", format!("{:?} is not a path", route.context)))?,
            hosts: HostPattern::parse_all("hosts", &route.hosts)?,
            operations: operations(&route.operations)?,
            security: Security::new(route.security.as_ref())?,
            #[cfg(not(feature = "next"))]
            policies: Policy::all(&route.policies)?,
            #[cfg(feature = "next")]
            policies: crate::note::with_policies(route)?,
            upstream: route.upstream.as_str().into(),
            served_in: served_in(route)?,
            max_body: (route.max_body_bytes > 0).then_some(route.max_body_bytes),
            blocked: route.blocked,
            deprecated: route.deprecated,
        })
    }
}

/// A Route is served here or elsewhere: one that named both would be served by whichever a consumer looks at first.
fn served_in(route: &runtime::Route) -> Result<Vec<Name>, Unusable> {
    let regions = regions::or_none("served_in", &route.served_in)?;
    if !regions.is_empty() && !route.upstream.is_empty() {
        let reason = format!("{} serves it: it has no upstream here", regions[0]);
        return Err(Unusable::new("upstream", reason));
    }
    Ok(regions)
}

fn operations(given: &[runtime::Operation]) -> Result<Vec<Operation>, Unusable> {
    let mut operations = Vec::with_capacity(given.len());
    for (at, operation) in given.iter().enumerate() {
        let operation = Operation::new(operation).map_err(|bad| bad.within(format!("operations[{at}]")))?;
        operations.push(operation);
    }
    let mut seen = BTreeMap::new();
    for (at, operation) in operations.iter().enumerate() {
        let method = operation.method.as_ref().map(Method::as_str);
        if let Some(first) = seen.insert((&operation.template, method), at) {
            let reason = format!("matches the same requests as operations[{first}]");
            return Err(Unusable::new(format!("operations[{at}]"), reason));
        }
    }
    Ok(operations)
}

/// Stands for every method.
const EVERY_METHOD: &str = "*";

impl Operation {
    fn new(operation: &runtime::Operation) -> Result<Self, Unusable> {
        Ok(Self {
            method: match operation.method.as_str() {
                EVERY_METHOD => None,
                one => Some(
                    Method::from_bytes(one.as_bytes())
                        .map_err(|_| Unusable::new("method", format!("{one:?} is not a method")))?,
                ),
            },
            template: Template::parse(&operation.path).map_err(|bad| Unusable::new("path", bad.detail))?,
            id: match operation.id.as_str() {
                "" => format!("{} {}", operation.method, operation.path).into(),
                id => id.into(),
            },
            open: is_open(operation.security.as_ref())?,
            timeout: (operation.timeout_ms > 0).then(|| Duration::from_millis(operation.timeout_ms)),
            policies: Policy::all(&operation.policies)?,
        })
    }
}

/// Whether an operation is open although its route is not.
fn is_open(own: Option<&runtime::OperationSecurity>) -> Result<bool, Unusable> {
    match own.map(|own| own.scheme.as_ref()) {
        None => Ok(false),
        Some(Some(operation_security::Scheme::Open(runtime::Open {}))) => Ok(true),
        Some(None) => Err(Unusable::new("security", NO_SCHEME)),
    }
}

/// Why nothing is open that does not say so.
const NO_SCHEME: &str = "names no scheme that is known here: who may call is not known";

impl Security {
    fn new(security: Option<&runtime::Security>) -> Result<Self, Unusable> {
        match security.and_then(|security| security.scheme.as_ref()) {
            None => Err(Unusable::new("security", NO_SCHEME)),
            Some(security::Scheme::Open(runtime::Open {})) => Ok(Self::Open),
            Some(security::Scheme::ApiKey(key)) => {
                ApiKey::new(key).map(Self::ApiKey).map_err(|bad| bad.within("security.api_key"))
            }
        }
    }
}

impl ApiKey {
    fn new(key: &runtime::ApiKey) -> Result<Self, Unusable> {
        let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (header, query) = (named(&key.header), named(&key.query));
        if header.is_none() && query.is_none() {
            return Err(Unusable::new("", "names neither a header nor a query parameter"));
        }
        let header = header.map(|name| key_name(&name).map_err(|bad| bad.within("header"))).transpose()?;
        Ok(Self { header, query: query.map(Into::into) })
    }
}

#[cfg(test)]
mod tests;
