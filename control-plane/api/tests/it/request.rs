//! Requests and answers, short enough to read in tables.

use std::sync::Arc;

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::node::{SingleNode, TOKEN};

/// A node and its API.
pub(crate) struct Api {
    pub(crate) node: Arc<SingleNode>,
    pub(crate) router: Router,
}

impl Api {
    pub(crate) fn new() -> Self {
        Self::over(SingleNode::new())
    }

    pub(crate) fn over(node: Arc<SingleNode>) -> Self {
        Self { router: hanse_api::router(node.api()), node }
    }

    /// With organization `default`, region `eu`, environment `prod`, an upstream, an Api and its Binding.
    pub(crate) async fn furnished() -> Self {
        let api = Self::new();
        let answer = api.post("/v1/apply").json(json!({"resources": [
            {"kind": "Organization", "name": "default", "spec": {}},
            {"kind": "Region", "name": "eu", "spec": {"provider": "cloud"}},
            {"kind": "Environment", "name": "prod", "spec": {"regions": ["eu"]}},
            {"kind": "Upstream", "name": "backend", "spec": {"endpoints": [{"url": "http://10.0.0.7:8080"}]}},
            {"kind": "Api", "name": "orders", "spec": orders("/orders")},
            {"kind": "Binding", "name": "orders-prod",
             "spec": {"api": "orders", "environment": "prod", "upstream": "backend"}},
        ]}));
        answer.send().await.expect(200);
        api
    }

    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        self.call("GET", path)
    }

    pub(crate) fn put(&self, path: &str) -> Call<'_> {
        self.call("PUT", path)
    }

    pub(crate) fn post(&self, path: &str) -> Call<'_> {
        self.call("POST", path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call<'_> {
        self.call("DELETE", path)
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call<'_> {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .body(Body::empty())
            .unwrap();
        Call { router: &self.router, request }
    }
}

/// A small valid Api spec.
pub(crate) fn orders(context: &str) -> Value {
    json!({"context": context, "version": "1", "operations": [{"method": "GET", "path": "/orders/{id}"}]})
}

/// A request in the making, with the operator's token.
pub(crate) struct Call<'a> {
    router: &'a Router,
    request: Request<Body>,
}

impl Call<'_> {
    /// Sets a header; `""` removes it.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().remove(name);
        if !value.is_empty() {
            self.request.headers_mut().insert(name, value.parse().unwrap());
        }
        self
    }

    /// The client's address, as the listener says it.
    pub(crate) fn at_address(mut self, address: &str) -> Self {
        self.request.extensions_mut().insert(hanse_api::ClientAddress(address.parse().unwrap()));
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        let value = if token.is_empty() { String::new() } else { format!("Bearer {token}") };
        self.header("authorization", &value)
    }

    pub(crate) fn json(self, body: Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn yaml(self, body: &str) -> Self {
        self.body("application/yaml", body.to_owned())
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self.header("content-type", content_type)
    }

    /// The head of the answer and its body as a stream.
    pub(crate) async fn open(self) -> http::Response<Body> {
        self.router.clone().oneshot(self.request).await.unwrap()
    }

    /// As [`Call::open`], for tasks of their own.
    pub(crate) fn open_owned(self) -> impl Future<Output = http::Response<Body>> + Send + 'static {
        let (router, request) = (self.router.clone(), self.request);
        async move { router.oneshot(request).await.unwrap() }
    }

    pub(crate) async fn send(self) -> Answer {
        let asked = format!("{} {}", self.request.method(), self.request.uri());
        let (parts, body) = self.open().await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.into()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { asked, status: parts.status, headers: parts.headers, text, json }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    asked: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// The answer, which must have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.asked, self.text);
        self
    }

    /// The answer, which must be a problem of this name.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, name: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json["type"], format!("urn:hanse:problem:{name}"), "{}", answer.text);
        assert_eq!(answer.json["status"], status);
        assert!(answer.json["remedy"].is_string(), "every problem says what to do: {}", answer.text);
        answer.json
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The revision in the ETag.
    pub(crate) fn etag(&self) -> u64 {
        self.header("etag").trim_matches('"').parse().unwrap()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.header("hanse-revision").parse().unwrap()
    }
}
