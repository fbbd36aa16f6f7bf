//! One Api as it is served: the compiled form of one Route resource.

use std::{sync::Arc, time::Duration};

use hanse_proto::runtime;
use http::{HeaderName, HeaderValue, Method};

use super::{callers::OwnedId, contexts::Context, hosts::HostPattern, operations::OperationTree};
use crate::{
    policy::{Cors, HeaderRules, is_protected},
    resource::Unusable,
};

/// Where the API key is when the Api names no place.
const DEFAULT_KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

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
    /// What can be called.
    pub operations: OperationTree<Operation>,
    /// Where callers put their API key; `None`: no key is asked.
    pub key: Option<KeyPlace>,
    /// Largest request body; `None`: the gateway's own limit.
    pub max_body: Option<u64>,
    /// Answers 503 to everything.
    pub blocked: bool,
    /// Tells callers that it will go.
    pub deprecated: bool,
    /// The key of its upstream in the scope.
    pub upstream: Arc<str>,
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
}

/// Where an API key is looked for.
#[derive(Debug, Clone)]
pub struct KeyPlace {
    /// In this header.
    pub header: Option<HeaderName>,
    /// In this query parameter.
    pub query: Option<Box<str>>,
    /// For 401 (RFC 9110 §11.6.1).
    pub challenge: HeaderValue,
}

/// What a list of policies comes to.
#[derive(Debug, Clone, Default)]
struct Effects {
    request: Arc<HeaderRules>,
    response: Arc<HeaderRules>,
    cors: Option<Arc<Cors>>,
}

impl ApiRoutes {
    /// Checks and compiles a route.
    pub fn new(route: &runtime::Route) -> Result<Self, Unusable> {
        let context = Context::parse(&route.context)
            .ok_or_else(|| Unusable::new("context", format!("{:?} is not a path", route.context)))?;
        let effects = Effects::default().with(&route.policies)?;
        let mut operations = Vec::with_capacity(route.operations.len());
        for operation in &route.operations {
            let method = Method::from_bytes(operation.method.as_bytes()).map_err(|_| {
                Unusable::new("operations.method", format!("{:?} is not a method", operation.method))
            })?;
            operations.push((method, operation.path.as_str(), Operation::new(operation, &effects)?));
        }
        let key = route.security.as_ref().and_then(|security| security.api_key.as_ref());
        Ok(Self {
            id: OwnedId::new(&route.organization, &route.api),
            organization: route.organization.as_str().into(),
            api: route.api.as_str().into(),
            context,
            hosts: HostPattern::parse_all(&route.hosts),
            operations: OperationTree::new(operations)?,
            key: key.map(KeyPlace::new).transpose()?,
            max_body: (route.max_body_bytes > 0).then_some(route.max_body_bytes),
            blocked: route.blocked,
            deprecated: route.deprecated,
            upstream: route.upstream.as_str().into(),
            cors: effects.cors,
            api_revision: route.api_revision,
        })
    }
}

impl Operation {
    fn new(operation: &runtime::Operation, inherited: &Effects) -> Result<Self, Unusable> {
        let id = match operation.id.as_str() {
            "" => format!("{} {}", operation.method, operation.path).into(),
            id => id.into(),
        };
        let effects = inherited.clone().with(&operation.policies)?;
        Ok(Self {
            id,
            open: operation.open,
            timeout: (operation.timeout_ms > 0).then(|| Duration::from_millis(operation.timeout_ms)),
            request_headers: effects.request,
            response_headers: effects.response,
            cors: effects.cors,
        })
    }
}

impl Effects {
    /// With more policies after those already there. Of several CORS policies the last one holds.
    fn with(mut self, policies: &[runtime::Policy]) -> Result<Self, Unusable> {
        for policy in policies {
            if let Some(rules) = &policy.request_headers {
                Arc::make_mut(&mut self.request).extend(rules)?;
            }
            if let Some(rules) = &policy.response_headers {
                Arc::make_mut(&mut self.response).extend(rules)?;
            }
            if let Some(cors) = &policy.cors {
                self.cors = Some(Arc::new(Cors::new(cors)?));
            }
        }
        Ok(self)
    }
}

impl KeyPlace {
    fn new(key: &runtime::ApiKey) -> Result<Self, Unusable> {
        let query = (!key.query.is_empty()).then(|| key.query.as_str().into());
        let header = match key.header.as_str() {
            "" if query.is_some() => None,
            "" => Some(DEFAULT_KEY_HEADER),
            name => Some(HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                Unusable::new("security.api_key.header", format!("{name:?} is not a header name"))
            })?),
        };
        if let Some(header) = header.as_ref().filter(|name| is_protected(name)) {
            return Err(Unusable::new("security.api_key.header", format!("{header} cannot carry a key")));
        }
        let place = match (&header, &query) {
            (Some(header), _) => format!("ApiKey header=\"{header}\""),
            (None, _) => "ApiKey".to_owned(),
        };
        let challenge = HeaderValue::from_str(&place).unwrap_or_else(|_| HeaderValue::from_static("ApiKey"));
        Ok(Self { header, query, challenge })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_travel_in_headers_that_frame_or_route() {
        let check =
            |name: &str| KeyPlace::new(&runtime::ApiKey { header: name.to_owned(), ..Default::default() });
        for name in ["Host", "Connection", "Content-Length", "transfer-encoding", "TE", "Upgrade", "Expect"] {
            assert_eq!(check(name).unwrap_err().field, "security.api_key.header", "{name}");
        }
        assert_eq!(check("Authorization").unwrap().header.unwrap(), "authorization");
    }
}
