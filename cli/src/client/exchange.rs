//! Requests over HTTPS to whichever server answers.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use hanse_management::ProblemName;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::ClientConfig;
use url::Url;

use super::answer::Answer;
use crate::{
    exit::{Exit, Failure},
    out::say,
};

/// Longest wait for a TCP connection: two lost SYNs; a dead server must not hide the next in the list for long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest wait for the head of an answer, and for each part of the rest: the server's own deadline for a write, and the way there and
/// back. A request's body has its own time beside it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How many bytes of a body a road takes in a second at least: what servers ask of it, too (docs/api.md).
const BODY_RATE: usize = 512 << 10;
/// The largest answer read: a thousand resources of the largest size would be more, but no federation has them.
const MAX_ANSWER_BYTES: usize = 256 << 20;
/// How often an API without quorum is asked again: elections take 1–2 s.
const ROUNDS: u32 = 3;
/// A person who waits longer without a word thinks that something is broken; answers take milliseconds.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two rounds.
const ROUND_PAUSE: Duration = Duration::from_millis(700);

/// What to do about a certificate that is not believed.
const CHECK_CA_FILE: &str = "check that `ca_file` in the client configuration is the root certificate of this federation, \
and that `servers` names its control plane";

#[derive(Debug)]
pub(super) struct HttpClient {
    servers: Vec<String>,
    /// Index of the server that answered last.
    preferred: AtomicUsize,
    authorization: HeaderValue,
    /// The file that the token came from.
    token_file: PathBuf,
    client: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why one server gave no answer to go by.
#[derive(Debug)]
enum Attempt {
    /// It answered, and the answer holds.
    Refused(Failure),
    /// Another server may do better.
    Retry(Failure),
}

impl HttpClient {
    pub(super) fn new(
        servers: &[String],
        token: &str,
        token_file: &Path,
        tls: ClientConfig,
    ) -> anyhow::Result<Self> {
        let servers = servers.iter().map(|server| base(server)).collect::<Result<Vec<_>, _>>()?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            Failure::usage(format!("the token in {} has characters that no token has", token_file.display()))
        })?;
        authorization.set_sensitive(true);
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
        let token_file = token_file.to_owned();
        Ok(Self { servers, preferred: AtomicUsize::new(0), authorization, token_file, client })
    }

    /// Sends a request to the servers in turn until one answers. `once` is the key of a write that must not be done
    /// twice: with it, trying again after a broken connection is harmless.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        once: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let waiting_for = Mutex::new(String::new());
        let mut exchange = pin!(self.try_in_turn(&method, path, body, once, &waiting_for));
        if let Ok(answer) = tokio::time::timeout(SILENCE, exchange.as_mut()).await {
            return answer;
        }
        say(waiting_for.lock().map(|words| words.clone()).unwrap_or_default());
        exchange.await
    }

    /// The same; `waiting_for` says what for, meanwhile.
    async fn try_in_turn(
        &self,
        method: &Method,
        path: &str,
        body: Option<Bytes>,
        once: Option<&str>,
        waiting_for: &Mutex<String>,
    ) -> anyhow::Result<Answer> {
        let now_for = |words: String| {
            if let Ok(mut waiting_for) = waiting_for.lock() {
                *waiting_for = words;
            }
        };
        let mut failures: Vec<Failure> = Vec::new();
        for round in 0..ROUNDS {
            if round > 0 {
                now_for(format!(
                    "waiting for a quorum of control-plane nodes: asking again, at most {ROUNDS} times"
                ));
                tokio::time::sleep(ROUND_PAUSE).await;
            }
            failures.clear();
            let first = self.preferred.load(Ordering::Relaxed);
            for offset in 0..self.servers.len() {
                let index = (first + offset) % self.servers.len();
                let request = self.request(index, method, path, body.clone(), once)?;
                if round == 0 {
                    now_for(format!("waiting for {} to answer", self.servers[index]));
                }
                match self.ask(&self.servers[index], request).await {
                    Ok(answer) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(Attempt::Refused(failure)) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Err(self.with_token_file(failure).into());
                    }
                    Err(Attempt::Retry(failure)) => failures.push(failure),
                }
            }
            // Where no node even listens, an election will not help.
            if failures.iter().all(|failure| failure.problem.is_none()) {
                break;
            }
        }
        Err(summary(failures).into())
    }

    fn request(
        &self,
        index: usize,
        method: &Method,
        path: &str,
        body: Option<Bytes>,
        key: Option<&str>,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.servers[index]))
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::ACCEPT, "application/json, application/problem+json")
            .header(header::USER_AGENT, concat!("hanse/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body.unwrap_or_default())).context("making the request")
    }

    /// A refusal of the token says where the token came from: an operator may have several configurations.
    fn with_token_file(&self, failure: Failure) -> Failure {
        if failure.problem != Some(ProblemName::Unauthenticated) {
            return failure;
        }
        Failure {
            message: format!("{} (the token in {})", failure.message, self.token_file.display()),
            ..failure
        }
    }

    /// An answer whose body is a stream, of the first server that gives one.
    pub(super) async fn open(&self, path: &str) -> anyhow::Result<Response<Incoming>> {
        let mut failures = Vec::new();
        let first = self.preferred.load(Ordering::Relaxed);
        for offset in 0..self.servers.len() {
            let index = (first + offset) % self.servers.len();
            let mut request = self.request(index, &Method::GET, path, None, None)?;
            request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
            match self.begin(&self.servers[index], request).await {
                Ok(response) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(Attempt::Refused(failure)) => return Err(self.with_token_file(failure).into()),
                Err(Attempt::Retry(failure)) => failures.push(failure),
            }
        }
        Err(summary(failures).into())
    }

    async fn begin(
        &self,
        server: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Attempt> {
        let response = self.response(server, request).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(match whole(server, response).await {
                Err(attempt) => attempt,
                Ok(_) => unreachable(server, "no answer to go by"),
            }),
        }
    }

    async fn ask(&self, server: &str, request: Request<Full<Bytes>>) -> Result<Answer, Attempt> {
        whole(server, self.response(server, request).await?).await
    }

    /// An answer up to its body.
    async fn response(
        &self,
        server: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Attempt> {
        let bytes = request.body().size_hint().lower();
        let time = ANSWER_TIMEOUT + Duration::from_secs(bytes / BODY_RATE as u64);
        let response = within(server, time, self.client.request(request)).await?;
        response.map_err(|error| {
            let failure = Failure::new(Exit::NoQuorum, format!("{server}: {}", causes(&error)));
            Attempt::Retry(if is_distrusted(&error) { failure.remedy(CHECK_CA_FILE) } else { failure })
        })
    }
}

/// Reads a whole answer, which may be large: each part of it must come in time.
async fn whole(server: &str, response: Response<Incoming>) -> Result<Answer, Attempt> {
    let (head, body) = response.into_parts();
    let mut body = Limited::new(body, MAX_ANSWER_BYTES);
    let mut read = BytesMut::new();
    while let Some(frame) = within(server, ANSWER_TIMEOUT, body.frame()).await? {
        let frame = frame.map_err(|error| unreachable(server, &causes(error.as_ref())))?;
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data);
        }
    }
    let body = read.freeze();
    Answer::of(head.status, &head.headers, &body).map_err(|failure| match failure.exit {
        Exit::NoQuorum => Attempt::Retry(failure),
        _ => Attempt::Refused(failure),
    })
}

async fn within<F: Future>(server: &str, time: Duration, exchange: F) -> Result<F::Output, Attempt> {
    let late = |_| unreachable(server, &format!("no answer within {} s", time.as_secs()));
    tokio::time::timeout(time, exchange).await.map_err(late)
}

fn unreachable(server: &str, why: &str) -> Attempt {
    Attempt::Retry(Failure::new(Exit::NoQuorum, format!("{server}: {why}")))
}

/// The one failure to tell: what a server said goes before what none could.
fn summary(failures: Vec<Failure>) -> Failure {
    if let Some(said) = failures.iter().find(|failure| failure.problem.is_some()) {
        return said.clone();
    }
    let distrusted = failures.iter().any(|failure| failure.remedy == CHECK_CA_FILE);
    let each = failures.into_iter().map(|failure| failure.message).collect::<Vec<_>>().join("\n  ");
    Failure::new(Exit::NoQuorum, format!("no server answers:\n  {each}")).remedy(if distrusted {
        CHECK_CA_FILE
    } else {
        "check `servers` in the client configuration, and that the control plane runs"
    })
}

/// Whether the server was there and its certificate was not one to believe.
fn is_distrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = cause.downcast_ref() {
            return true;
        }
        // An I/O error does not give the error it is made of as its source.
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(made_of) => Some(made_of),
            None => cause.source(),
        };
    }
    false
}

/// A server's URL without the slash at its end. Tokens go over plain HTTP to this machine only.
fn base(server: &str) -> Result<String, Failure> {
    let invalid = |why: &str| Failure::usage(format!("server {server:?}: {why}"));
    let url = Url::parse(server).map_err(|error| invalid(&error.to_string()))?;
    let local = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => return Err(invalid("has no host")),
    };
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => {
            let why = "the token would go over the network unencrypted, for everyone on the way to read";
            return Err(invalid(why).remedy("write https://…; http:// is taken for this machine only"));
        }
        _ => return Err(invalid("must start with https://")),
    }
    Ok(server.trim_end_matches('/').to_owned())
}

/// An error and its causes, none twice: several libraries repeat their source.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let words = cause.to_string();
        if !said.iter().any(|earlier| earlier.contains(&words)) {
            said.push(words);
        }
        next = cause.source();
    }
    said.join(": ")
}
