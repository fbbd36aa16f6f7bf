//! Connections to upstreams: the seam behind which they are pooled.
//!
//! One [`UpstreamClient`] per serving thread. What it promises: a request goes out at most once, unless nothing of it
//! had been written when a kept connection turned out to be closed.

mod connector;

use std::{
    cell::RefCell,
    collections::HashMap,
    error::Error as _,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::Instant;

use self::connector::{ConnectTimeout, Connector};
use super::body::{RequestBody, Upload};
use crate::table::ConnectProfile;

/// Idle connections kept per endpoint and thread: the requests in flight of a busy Api, and not a backend's limit.
const MAX_IDLE: usize = 256;
/// For how long: below the 60 s after which common servers and balancers close, so that we close first.
const IDLE: Duration = Duration::from_secs(50);

/// A timeout above this is none: clocks must not overflow.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    /// No connection, or no head of an answer, in time.
    #[error("timed out")]
    Timeout,
    /// No connection, or it broke before the head of the answer.
    #[error("unreachable")]
    Unreachable(#[source] Error),
    /// The answer is none we can pass on.
    #[error("answered 101 to a request that asked for no upgrade")]
    UnaskedUpgrade,
}

/// A serving thread's connections to upstreams.
#[derive(Default)]
pub(super) struct UpstreamClient {
    by_profile: RefCell<HashMap<u64, Pool>>,
}

struct Pool {
    profile: Weak<ConnectProfile>,
    client: Client<Connector, RequestBody>,
}

impl UpstreamClient {
    /// Sends a request with an absolute target and waits for the head of its answer: up to `timeout`, not counting the
    /// time in which the client is to send more of the body, which the body bounds itself.
    pub(super) async fn exchange(
        &self,
        profile: &Arc<ConnectProfile>,
        request: Request<RequestBody>,
        timeout: Duration,
        upload: &Upload,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let mut answer = pin!(self.pool(profile).request(request));
        let timeout = timeout.min(LONGEST);
        let begun = Instant::now();
        let mut until = begun + timeout;
        let answer = loop {
            if let Ok(answer) = tokio::time::timeout_at(until, answer.as_mut()).await {
                break answer;
            }
            let now = Instant::now();
            match upload.upstreams_turn_since(begun) {
                Some(since) if since + timeout <= now => return Err(UpstreamError::Timeout),
                Some(since) => until = since + timeout,
                None => until = now + timeout,
            }
        };
        let response = answer.map_err(|error| {
            if is_connect_timeout(&error) {
                UpstreamError::Timeout
            } else {
                UpstreamError::Unreachable(error)
            }
        })?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::UnaskedUpgrade);
        }
        Ok(response)
    }

    fn pool(&self, profile: &Arc<ConnectProfile>) -> Client<Connector, RequestBody> {
        let mut pools = self.by_profile.borrow_mut();
        if let Some(pool) = pools.get(&profile.id) {
            return pool.client.clone();
        }
        // A new profile is rare, and the time to forget those that nothing uses any more.
        pools.retain(|_, pool| pool.profile.strong_count() > 0);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .set_host(false)
            .build(Connector::new(profile));
        pools.insert(profile.id, Pool { profile: Arc::downgrade(profile), client: client.clone() });
        client
    }
}

fn is_connect_timeout(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.is::<ConnectTimeout>() {
            return true;
        }
        source = error.source();
    }
    false
}
