//! One Api as it is served: the compiled form of one Route resource.

use std::{sync::Arc, time::Duration};

use hanse_runtime::{Context, HostPattern, Policy, Route};
use hanse_topology::Name;
use http::Method;

use super::{HostMap, Methods, callers::OwnedId, operations::OperationTree};
use crate::{
    policy::{Cors, HeaderRules, Rewrite},
    scheme::Scheme,
};

/// A compiled Route. Immutable; made again only when the resource's bytes change.
#[derive(Debug)]
pub struct ApiRoutes {
    /// Who owns it.
    pub organization: Box<str>,
    /// The Api's name.
    pub api: Box<str>,
    /// The Api, as subscriptions name it.
    pub id: OwnedId,
    /// The base path.
    pub context: Context,
    /// The hosts it answers to.
    pub hosts: Vec<HostPattern>,
    /// The place of each among them; empty where there is one host.
    host_places: HostMap<usize>,
    /// What can be called.
    pub operations: OperationTree<Operation>,
    /// How callers show who they are; `None`: anybody may call.
    pub scheme: Option<Scheme>,
    /// Largest request body; `None`: the gateway's own limit.
    pub max_body: Option<u64>,
    /// Answers 503 to everything.
    pub blocked: bool,
    /// Tells callers that it will go.
    pub deprecated: bool,
    /// The key of its upstream in the scope; empty where other regions serve it.
    pub upstream: Arc<str>,
    /// The regions that serve it for this one; none: this region does.
    pub served_in: Box<[Name]>,
    /// Of the Api; an operation may have its own.
    pub cors: Option<Arc<Cors>>,
    /// The revision of the Api that is served.
    pub api_revision: u64,
}

/// One method on one path.
#[derive(Debug)]
pub struct Operation {
    /// `operationId`, or method and path template: for logs.
    pub id: Box<str>,
    /// Asks for no key.
    pub open: bool,
    /// Instead of the upstream's.
    pub timeout: Option<Duration>,
    /// On the way to the upstream.
    pub request_headers: Arc<HeaderRules>,
    /// On the way back.
    pub response_headers: Arc<HeaderRules>,
    /// The last one of the Api's and the operation's policies.
    pub cors: Option<Arc<Cors>>,
    /// What is rewritten in answers, if anything is.
    pub rewrite: Option<Arc<Rewrite>>,
}

/// What a list of policies comes to.
#[derive(Debug, Clone, Default)]
struct Effects {
    request: Arc<HeaderRules>,
    response: Arc<HeaderRules>,
    cors: Option<Arc<Cors>>,
    rewrite: Option<Arc<Rewrite>>,
}

impl ApiRoutes {
    /// Compiles a route.
    pub fn new(route: Route) -> Self {
        let effects = Effects::default().with(route.policies, &route.context);
        let operations = route.operations.into_iter().map(|operation| {
            let hanse_runtime::Operation { method, template, id, open, timeout, policies } = operation;
            let Effects { request, response, cors, rewrite } = effects.clone().with(policies, &route.context);
            let operation = Operation {
                id,
                open,
                timeout,
                request_headers: request,
                response_headers: response,
                cors,
                rewrite,
            };
            (method, template, operation)
        });
        let mut host_places = HostMap::default();
        for (place, pattern) in route.hosts.iter().enumerate().filter(|_| route.hosts.len() > 1) {
            host_places.set(pattern, Some(place));
        }
        Self {
            id: OwnedId::new(&route.organization, &route.api),
            host_places,
            operations: OperationTree::new(operations),
            organization: route.organization,
            api: route.api,
            context: route.context,
            hosts: route.hosts,
            scheme: Scheme::of(route.security),
            max_body: route.max_body,
            blocked: route.blocked,
            deprecated: route.deprecated,
            upstream: route.upstream.into(),
            served_in: route.served_in.into(),
            cors: effects.cors,
            api_revision: route.api_revision,
        }
    }

    /// The place among its hosts of the most special one that fits a request for `host`.
    pub fn place_of(&self, host: &str) -> usize {
        match self.host_places.is_empty() {
            true => 0,
            false => self.host_places.find(host, |place| Some(*place)).map_or(0, |(_, place)| place),
        }
    }

    /// Whether every client may call this operation of it.
    pub fn is_open(&self, operation: &Operation) -> bool {
        self.scheme.is_none() || operation.open
    }

    /// Whether a path below the context is that of an operation that is not open, to some upstream. A path without the method
    /// counts if any of its operations is not open.
    pub fn guards(&self, method: &Method, path: &[u8]) -> bool {
        let is_guarded = |methods: &Methods<Operation>| match methods.get(method) {
            Some(operation) => !self.is_open(operation),
            None => methods.all().any(|operation| !self.is_open(operation)),
        };
        let found = [self.operations.find(path), self.operations.find_whole(path)];
        found.into_iter().flatten().any(is_guarded)
    }
}

impl Effects {
    /// With more policies after those already there. Of several CORS policies the last one holds.
    fn with(mut self, policies: Vec<Policy>, context: &Context) -> Self {
        for policy in policies {
            for (rules, steps) in
                [(&mut self.request, policy.request_headers), (&mut self.response, policy.response_headers)]
            {
                if !steps.is_empty() {
                    Arc::make_mut(rules).extend(steps);
                }
            }
            if let Some(cors) = policy.cors {
                self.cors = Some(Arc::new(cors.into()));
            }
            self.rewrite = Rewrite::with(self.rewrite, policy.rewrite, context);
        }
        self
    }
}
