//! Policies: what is done to requests and responses besides forwarding them.

use hanse_proto::runtime;
use http::HeaderValue;

use crate::{HeaderStep, Origins, Unusable, header::steps};

/// One policy. Where a request has several, the rules of each come one after the other, and the last CORS policy holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The rules for a request's headers on the way to the upstream.
    pub request_headers: Vec<HeaderStep>,
    /// The rules for a response's headers on the way back.
    pub response_headers: Vec<HeaderStep>,
    /// The policy for cross-origin requests, if there is one.
    pub cors: Option<Cors>,
    /// What is rewritten in answers.
    pub rewrite: Rewrite,
}

/// Which addresses in an upstream's answers are turned into those that clients know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Those of `Location` and `Content-Location`.
    pub location: bool,
    /// The paths of cookies.
    pub cookies: bool,
}

/// A CORS policy (Fetch standard, §3.2), its header values made beforehand.
#[derive(Debug, Clone, PartialEq)]
pub struct Cors {
    /// The origins whose scripts may call.
    pub origins: Origins,
    /// The methods that scripts may use; `None`: the methods that the path has.
    pub methods: Option<HeaderValue>,
    /// The request headers that scripts may send.
    pub headers: AllowedHeaders,
    /// The response headers that scripts may read, if any.
    pub expose: Option<HeaderValue>,
    /// Whether scripts may send cookies and other credentials; never together with origins that are not named.
    pub credentials: bool,
    /// The seconds for which a browser may remember a preflight; `None`: the browser's own default.
    pub max_age: Option<HeaderValue>,
}

/// The request headers that scripts may send.
#[derive(Debug, Clone, PartialEq)]
pub enum AllowedHeaders {
    /// The headers that a preflight asks for.
    Asked,
    /// These headers; `None`: no header.
    Listed(Option<HeaderValue>),
}

impl Policy {
    /// Checks the policies in the field `policies`, in order.
    pub(crate) fn all(policies: &[runtime::Policy]) -> Result<Vec<Self>, Unusable> {
        let one = |(at, policy)| Self::new(policy).map_err(|bad| bad.within(format!("policies[{at}]")));
        policies.iter().enumerate().map(one).collect()
    }

    fn new(policy: &runtime::Policy) -> Result<Self, Unusable> {
        let rules = |field: &str, rules: &Option<runtime::HeaderRules>| match rules {
            Some(rules) => steps(rules).map_err(|bad| bad.within(field)),
            None => Ok(Vec::new()),
        };
        Ok(Self {
            request_headers: rules("request_headers", &policy.request_headers)?,
            response_headers: rules("response_headers", &policy.response_headers)?,
            cors: policy.cors.as_ref().map(Cors::new).transpose().map_err(|bad| bad.within("cors"))?,
            rewrite: policy.rewrite.map(Rewrite::from).unwrap_or_default(),
        })
    }
}

impl From<runtime::Rewrite> for Rewrite {
    fn from(runtime::Rewrite { location, cookies }: runtime::Rewrite) -> Self {
        Self { location, cookies }
    }
}

impl Cors {
    fn new(cors: &runtime::Cors) -> Result<Self, Unusable> {
        let value = |field: &str, text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| Unusable::new(field, format!("{text:?} holds control characters")))
        };
        let list = |field: &str, items: &[String]| match items {
            [] => Ok(None),
            items => value(field, &items.join(", ")).map(Some),
        };
        let origins = Origins::parse(&cors.origins)
            .map_err(|at| Unusable::new(format!("origins[{at}]"), "holds control characters"))?;
        if origins.are_anybodys() && cors.credentials {
            // Browsers refuse it with "*". With any origin echoed, or "null", every site could act for a user.
            return Err(Unusable::new("credentials", "goes with named origins only"));
        }
        Ok(Self {
            origins,
            methods: list("methods", &cors.methods)?,
            headers: if cors.headers.iter().any(|name| name == "*") {
                AllowedHeaders::Asked
            } else {
                AllowedHeaders::Listed(list("headers", &cors.headers)?)
            },
            expose: list("expose_headers", &cors.expose_headers)?,
            credentials: cors.credentials,
            max_age: cors.max_age_seconds.map(HeaderValue::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_origin_never_goes_with_credentials() {
        let with = |origin: &str| {
            let cors =
                runtime::Cors { origins: vec![origin.to_owned()], credentials: true, ..Default::default() };
            Policy::all(&[runtime::Policy { cors: Some(cors), ..Default::default() }])
        };
        for any in ["*", "null"] {
            assert_eq!(with(any).unwrap_err().field, "policies[0].cors.credentials");
        }
        with("https://*.example.com").unwrap();
    }
}
