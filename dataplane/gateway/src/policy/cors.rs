//! Cross-origin resource sharing (Fetch standard, §3.2): preflights are answered here, responses are decorated.

use hanse_runtime::{AllowedHeaders, Origins};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// A CORS policy, in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Cors(hanse_runtime::Cors);

impl From<hanse_runtime::Cors> for Cors {
    fn from(checked: hanse_runtime::Cors) -> Self {
        Self(checked)
    }
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
            let methods = self.0.methods.as_ref().unwrap_or(path_methods);
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
            let headers = match &self.0.headers {
                AllowedHeaders::Asked => request.get(header::ACCESS_CONTROL_REQUEST_HEADERS),
                AllowedHeaders::Listed(list) => list.as_ref(),
            };
            if let Some(headers) = headers {
                answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
            }
            if let Some(max_age) = &self.0.max_age {
                answer.insert(header::ACCESS_CONTROL_MAX_AGE, max_age.clone());
            }
        }
        if self.0.headers == AllowedHeaders::Asked {
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
            && let Some(expose) = &self.0.expose
        {
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    fn allow_origin(&self, request: &HeaderMap, answer: &mut HeaderMap) -> bool {
        self.allow(request.get(header::ORIGIN), answer)
    }

    fn allow(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) -> bool {
        let allowed = match &self.0.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            listed @ Origins::Listed { .. } => {
                // Every answer depends on the origin, and caches must know.
                answer.append(header::VARY, HeaderValue::from_static("Origin"));
                origin.filter(|asked| listed.allow(asked)).cloned()
            }
        };
        let Some(allowed) = allowed else { return false };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.0.credentials {
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

    fn listed() -> Cors {
        let value = |text| Some(HeaderValue::from_static(text));
        Cors(hanse_runtime::Cors {
            origins: Origins::Listed {
                exact: Vec::from_iter(value("https://app.example")),
                below: Vec::new(),
            },
            methods: None,
            headers: AllowedHeaders::Listed(value("X-A")),
            expose: value("X-Total"),
            credentials: true,
            max_age: value("600"),
        })
    }

    #[test]
    fn a_listed_origin_gets_its_permission_back() {
        let cors = listed();
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
        let cors = listed();
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
    fn any_origin_may_send_what_it_asks_for() {
        let cors = Cors(hanse_runtime::Cors {
            origins: Origins::Any,
            methods: Some(HeaderValue::from_static("GET")),
            headers: AllowedHeaders::Asked,
            expose: None,
            credentials: false,
            max_age: None,
        });
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
