//! `GET /v1/watch`: changes as server-sent events.
//!
//! Level, not edge: each round takes the resources that changed since the watcher's position and says what they are
//! now. A slow watcher skips what lay between and costs nothing meanwhile.

mod events;

use std::{collections::BTreeSet, convert::Infallible};

use axum::{
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::Stream;
use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Revision};
use hanse_state::State;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use utoipa_axum::routes;

use crate::{
    OperatorApi,
    authenticate::Actor,
    bounds::{SMALL_BODY, WatchPlace},
    call::Call,
    openapi::refusal,
    rejection::{Rejection, bad_request},
    routes::Route,
};

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(watch)]
}

/// Changes as they happen: events put, delete and bookmark
#[utoipa::path(get, path = "/v1/watch", tag = "federation", extensions(("x-hanse-access" = json!("token"))),
    params(
        ("from" = Option<u64>, Query,
            description = "Changes after this revision; default: from now on. `Last-Event-ID` goes before it"),
        ("kinds" = Option<String>, Query, description = "Only these kinds: `apis,bindings`; default: all that the token may read"),
        ("Last-Event-ID" = String, Header, description = "Go on after this revision")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events"),
        refusal::Gone))]
async fn watch(call: Call) -> Result<Response, Rejection> {
    let (asked, kinds) = (call.text("kinds").is_some(), kinds(&call)?);
    if let Some(actor) = call.actor.as_ref().filter(|_| asked) {
        actor.asking().check_kinds(&kinds)?;
    }
    let from = match last_event_id(&call.headers)? {
        Some(revision) => Some(revision),
        None => call.number("from"),
    };
    let state = call.current();
    let position = match from {
        None => state.revision(),
        Some(revision) => remembered(&call, state, revision).await?,
    };
    let Some(actor) = call.actor else {
        return Err(Problem::new(ProblemName::Internal, "a watch was let in without a token").into());
    };
    let place = call.api.bounds.watch(&actor.name, &call.api.metrics)?;
    let stream = Watcher { api: call.api, actor, kinds, position, place }.stream();
    let mut response = Sse::new(stream).into_response();
    // Proxies that buffer would hold events back.
    response.headers_mut().insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    Ok(response)
}

/// `revision`, if everything after it is still remembered.
async fn remembered(call: &Call, mut state: State, revision: Revision) -> Result<Revision, Problem> {
    let gone = |detail: String| {
        Problem::new(ProblemName::Gone, detail)
            .at("query: from")
            .remedy("list what you watch again and watch from that list's revision")
    };
    if revision > state.revision() {
        // Either this node is behind, or the caller's position is of a history that was replaced.
        state = call.read_latest().await?;
    }
    if revision > state.revision() {
        return Err(gone(format!(
            "revision {revision} is ahead of this history, which is at {}",
            state.revision()
        )));
    }
    match state.journal_since(revision) {
        Some(_) => Ok(revision),
        None => Err(gone(format!("what changed after revision {revision} is no longer remembered"))),
    }
}

fn kinds(call: &Call) -> Result<BTreeSet<Kind>, Problem> {
    let Some(words) = call.text("kinds") else { return Ok(Kind::ALL.into_iter().collect()) };
    let kind = |word: &str| {
        Kind::from_word(word.trim()).map_err(|error| {
            bad_request(error.to_string()).at("query: kinds").remedy("write kinds as apis,bindings")
        })
    };
    words.split(',').map(kind).collect()
}

/// Where a client that was cut off goes on (HTML, §9.2.4).
fn last_event_id(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    let Some(given) = headers.get("last-event-id") else { return Ok(None) };
    given.to_str().ok().and_then(|text| text.trim().parse().ok()).map(Some).ok_or_else(|| {
        bad_request("Last-Event-ID is not a revision")
            .at("header: Last-Event-ID")
            .remedy("send the id unchanged")
    })
}

struct Watcher {
    api: OperatorApi,
    actor: Actor,
    kinds: BTreeSet<Kind>,
    position: Revision,
    place: WatchPlace,
}

impl Watcher {
    /// Ends when the process stops, the token is revoked, or the watcher is so far behind that it must list again; the
    /// client's reconnect then gets the reason.
    fn stream(mut self) -> impl Stream<Item = Result<Event, Infallible>> {
        async_stream::stream! {
            let _open = (self.place, self.api.metrics.watching());
            let mut closing = self.api.closing.clone();
            yield Ok(events::bookmark(self.position));
            let mut told_at = Instant::now();
            loop {
                let bookmark_at = told_at + self.api.limits.bookmark_every;
                let round = tokio::select! {
                    biased;
                    () = closed(&mut closing) => break,
                    () = sleep_until(bookmark_at) => None, // even if changes of other kinds never stop
                    state = self.api.replicated.changed_since(self.position) => Some(state),
                };
                let now_ms = self.api.clock.now_ms();
                if !self.actor.still_good(&self.api.replicated.current(), now_ms) {
                    break;
                }
                let Some(state) = round else {
                    yield Ok(events::bookmark(self.position));
                    told_at = Instant::now();
                    continue;
                };
                let seen = |key: &ResourceKey| self.kinds.contains(&key.kind) && self.actor.access.may_read(key);
                let Some(changes) = events::since(&state, self.position, seen) else { break };
                for change in changes {
                    // A round may be the whole journal, and its reader slow.
                    if !self.actor.still_good(&self.api.replicated.current(), self.api.clock.now_ms()) {
                        return;
                    }
                    let size = state.get(&change.key).map_or(0, |resource| resource.spec.json_len());
                    // Given back when the client asks for the next event: until then this one is held for it.
                    let held = (size > SMALL_BODY).then(|| self.api.bounds.untaken(size, &self.api.metrics));
                    if matches!(held, Some(Err(_))) {
                        return;
                    }
                    yield Ok(change.event(&state));
                    drop(held);
                    told_at = Instant::now();
                }
                self.position = state.revision();
            }
        }
    }
}

/// Resolves when the process stops; never, once the sender is gone.
async fn closed(closing: &mut watch::Receiver<bool>) {
    if closing.wait_for(|closing| *closing).await.is_err() {
        std::future::pending().await
    }
}
