//! Cross-origin resource sharing (Fetch standard, §3.2): preflights are answered here, responses are decorated.

use hanse_proto::runtime;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::resource::Unusable;

/// A CORS policy, its answers made beforehand.
#[derive(Debug, Clone, PartialEq)]
pub struct Cors {
    origins: Origins,
    methods: Option<HeaderValue>,
    headers: AllowedHeaders,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<HeaderValue>,
}

#[derive(Debug, Clone, PartialEq)]
enum Origins {
    Any,
    Listed(Vec<HeaderValue>),
}

#[derive(Debug, Clone, PartialEq)]
enum AllowedHeaders {
    Asked,
    Listed(Option<HeaderValue>),
}

/// Headers only this policy may set: an upstream's own are replaced.
const OWNED: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

impl Cors {
    /// Checks a policy.
    pub fn new(cors: &runtime::Cors) -> Result<Self, Unusable> {
        let value = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| Unusable::new("policies.cors", format!("{text:?} holds control characters")))
        };
        let list = |items: &[String]| match items {
            [] => Ok(None),
            items => value(&items.join(", ")).map(Some),
        };
        let any = cors.origins.iter().any(|origin| origin == "*");
        Ok(Self {
            origins: if any {
                Origins::Any
            } else {
                Origins::Listed(cors.origins.iter().map(|origin| value(origin)).collect::<Result<_, _>>()?)
            },
            methods: list(&cors.methods)?,
            headers: if cors.headers.iter().any(|name| name == "*") {
                AllowedHeaders::Asked
            } else {
                AllowedHeaders::Listed(list(&cors.headers)?)
            },
            expose: list(&cors.expose_headers)?,
            // Browsers refuse credentials with origin "*", and echoing any origin would let every site act for a user.
            credentials: cors.credentials && !any,
            max_age: (cors.max_age_seconds > 0).then(|| HeaderValue::from(cors.max_age_seconds)),
        })
    }

    /// The method that a preflight asks for; `None`: the request is no preflight.
    pub fn preflight_for(method: &Method, headers: &HeaderMap) -> Option<Method> {
        if method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
            return None;
        }
        Method::from_bytes(headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
    }

    /// The headers that answer a preflight. `path_methods` are the methods the path has. An origin that is not allowed
    /// gets no permission, which is how the protocol refuses.
    pub fn preflight(&self, request: &HeaderMap, path_methods: &HeaderValue) -> HeaderMap {
        let mut answer = HeaderMap::new();
        if self.allow_origin(request, &mut answer) {
            let methods = self.methods.as_ref().unwrap_or(path_methods);
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
            let headers = match &self.headers {
                AllowedHeaders::Asked => request.get(header::ACCESS_CONTROL_REQUEST_HEADERS),
                AllowedHeaders::Listed(list) => list.as_ref(),
            };
            if let Some(headers) = headers {
                answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
            }
            if let Some(max_age) = &self.max_age {
                answer.insert(header::ACCESS_CONTROL_MAX_AGE, max_age.clone());
            }
        }
        if self.headers == AllowedHeaders::Asked {
            answer.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        }
        answer
    }

    /// Decorates a response. `origin` is the request's.
    pub fn decorate(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap) {
        for name in &OWNED {
            response.remove(name);
        }
        if self.allow(origin, response)
            && let Some(expose) = &self.expose
        {
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    fn allow_origin(&self, request: &HeaderMap, answer: &mut HeaderMap) -> bool {
        self.allow(request.get(header::ORIGIN), answer)
    }

    fn allow(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) -> bool {
        let allowed = match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::Listed(origins) => {
                // Whatever the answer is, it depends on the origin: caches must know.
                answer.append(header::VARY, HeaderValue::from_static("Origin"));
                origin.filter(|asked| origins.contains(asked)).cloned()
            }
        };
        let Some(allowed) = allowed else { return false };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(origin: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        headers.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("x-a, x-b"));
        headers
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    fn listed() -> runtime::Cors {
        runtime::Cors {
            origins: vec!["https://app.example".to_owned()],
            headers: vec!["X-A".to_owned()],
            expose_headers: vec!["X-Total".to_owned()],
            credentials: true,
            max_age_seconds: 600,
            ..Default::default()
        }
    }

    #[test]
    fn a_listed_origin_gets_its_permission_back() {
        let cors = Cors::new(&listed()).unwrap();
        let path = HeaderValue::from_static("GET, HEAD, PUT");
        assert_eq!(
            lines(&cors.preflight(&request("https://app.example"), &path)),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: X-A",
                "access-control-allow-methods: GET, HEAD, PUT",
                "access-control-allow-origin: https://app.example",
                "access-control-max-age: 600",
                "vary: Origin",
            ]
        );
        assert_eq!(lines(&cors.preflight(&request("https://evil.example"), &path)), ["vary: Origin"]);
    }

    #[test]
    fn responses_are_decorated_and_an_upstreams_own_permissions_replaced() {
        let cors = Cors::new(&listed()).unwrap();
        let upstream = || {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            headers.insert(header::VARY, HeaderValue::from_static("Accept"));
            headers
        };
        let mut allowed = upstream();
        cors.decorate(Some(&HeaderValue::from_static("https://app.example")), &mut allowed);
        assert_eq!(
            lines(&allowed),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-origin: https://app.example",
                "access-control-expose-headers: X-Total",
                "vary: Accept",
                "vary: Origin",
            ]
        );
        for origin in [None, Some(HeaderValue::from_static("null"))] {
            let mut refused = upstream();
            cors.decorate(origin.as_ref(), &mut refused);
            assert_eq!(lines(&refused), ["vary: Accept", "vary: Origin"]);
        }
    }

    #[test]
    fn any_origin_never_goes_with_credentials() {
        let cors = Cors::new(&runtime::Cors {
            origins: vec!["*".to_owned()],
            headers: vec!["*".to_owned()],
            methods: vec!["GET".to_owned()],
            credentials: true,
            ..Default::default()
        })
        .unwrap();
        assert_eq!(
            lines(&cors.preflight(&request("https://x.example"), &HeaderValue::from_static("PUT"))),
            [
                "access-control-allow-headers: x-a, x-b",
                "access-control-allow-methods: GET",
                "access-control-allow-origin: *",
                "vary: Access-Control-Request-Headers",
            ]
        );
    }

    #[test]
    fn a_preflight_is_options_with_origin_and_method() {
        let headers = request("https://app.example");
        assert_eq!(Cors::preflight_for(&Method::OPTIONS, &headers), Some(Method::PUT));
        assert_eq!(Cors::preflight_for(&Method::GET, &headers), None);
        assert_eq!(Cors::preflight_for(&Method::OPTIONS, &HeaderMap::new()), None);
    }
}
