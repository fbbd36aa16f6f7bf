//! `GET /v1/dump`: the whole state, in parts that `POST /v1/apply` of another federation takes one after the other.
//!
//! Lines of JSON: a head, then for each part a line that begins it and a line for each of its resources, and an end. A dump without
//! its end broke off.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use futures_util::Stream;
use hanse_management::{
    Kind, ResourceKey,
    manifest::{self, MAX_MANIFEST_BYTES, MAX_MANIFESTS_MEMORY},
};
use hanse_state::{
    Change, Dump, State,
    admission::{MAX_COMMAND_BYTES, change_bytes},
};
use http::{HeaderValue, header};
use serde::Serialize;
use tokio::time::Instant;
use utoipa_axum::routes;

use crate::{
    answer::{DumpCount, DumpEnd, DumpHead, DumpPart, Dumped},
    bounds::Place,
    call::{CONSISTENCY, Call, MIN_REVISION},
    rejection::Rejection,
    routes::{REVISION_HEADER, Route},
    status::lineage,
};

/// What an apply has around its resources, generously.
const AROUND: usize = 1 << 10;
/// How long a client may take for a dump, and beside that what it takes at [`RATE`]: as for other answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many bytes a second a client takes at least.
const RATE: usize = 128 << 10;

/// The routes of this file.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(dump)]
}

/// Everything that another federation needs to serve the same, in parts for `POST /v1/apply`
///
/// Lines of JSON: a head (`{"dump": …}`), then for each part `{"part": N}` and a line for each of its resources, and an end
/// (`{"end": …}`). The resources of a part fit one apply. Digests of secrets are whole.
#[utoipa::path(get, path = "/v1/dump", tag = "federation", extensions(("x-hanse-access" = json!("admin"))),
    params(
        ("tokens" = Option<bool>, Query, description = "With operators' tokens"),
        ("consistency" = Option<String>, Query, description = CONSISTENCY),
        ("min_revision" = Option<u64>, Query, description = MIN_REVISION)),
    responses((status = 200, body = String, content_type = "application/x-ndjson",
        description = "`DumpHead`, `DumpPart`, resources and `DumpEnd`, a line each")))]
async fn dump(call: Call) -> Result<Response, Rejection> {
    let place = call.api.bounds.dump(&call.api.metrics)?;
    let state = call.read_state().await?;
    let revision = state.revision();
    let dump = Dump::of(state, call.flag("tokens"));
    let body = Body::from_stream(lines(dump, call, place));
    const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
    let mut response = ([(header::CONTENT_TYPE, LINES)], body).into_response();
    response.headers_mut().insert(REVISION_HEADER, HeaderValue::from(revision));
    Ok(response)
}

/// The text of a dump, part after part: one part is in memory at a time.
fn lines(dump: Dump, call: Call, place: Place) -> impl Stream<Item = io::Result<Vec<u8>>> {
    async_stream::try_stream! {
        let _place = place;
        let (began, mut written) = (Instant::now(), 0);
        let dump = Arc::new(dump);
        yield line(&head(dump.state()));
        let mut count = DumpCount::default();
        let mut after = None;
        loop {
            if began.elapsed() > PATIENCE + Duration::from_secs((written / RATE) as u64) {
                Err(io::Error::from(io::ErrorKind::TimedOut))?;
            }
            if !call.may_go_on() {
                Err(io::Error::from(io::ErrorKind::PermissionDenied))?;
            }
            let (from, number) = (dump.clone(), count.parts + 1);
            let part = call.api.bounds.answer(move || Part::after(&from, after.as_ref(), number)).await;
            let part = part.map_err(io::Error::other)?;
            let Some(last) = part.last else { break };
            after = Some(last);
            count = DumpCount { parts: number, resources: count.resources + part.resources };
            written += part.text.len();
            yield part.text;
        }
        yield line(&DumpEnd { end: count });
    }
}

fn head(state: &State) -> DumpHead {
    let (revision, version) = (state.revision(), state.version().number());
    let lineage = state.lineage().map(lineage);
    DumpHead { dump: Dumped { format: Dumped::FORMAT, lineage, revision, version } }
}

/// Resources that fit one apply.
struct Part {
    text: Vec<u8>,
    resources: u64,
    /// The last of them; `None`: there are none.
    last: Option<ResourceKey>,
}

impl Part {
    /// As many resources behind `after` as fit. Secrets have parts of their own: the apply refuses those that are not there, and what they
    /// refer to is in the parts before.
    fn after(dump: &Dump, after: Option<&ResourceKey>, number: u64) -> Self {
        let mut part = Self { text: line(&DumpPart { part: number }), resources: 0, last: None };
        let (mut command, mut memory) = (0, 0);
        for manifest in dump.resources_after(after) {
            let key = manifest.key.clone();
            let text = line(&manifest);
            memory += manifest::memory(&manifest);
            command += change_bytes(&Change::from(manifest));
            let fits = command <= MAX_COMMAND_BYTES
                && memory <= MAX_MANIFESTS_MEMORY
                && part.text.len() + text.len() <= MAX_MANIFEST_BYTES - AROUND;
            let is_of_part = |last: &ResourceKey| (last.kind == Kind::Secret) == (key.kind == Kind::Secret);
            // One that does not fit by itself goes by itself: the apply tells why.
            if part.last.as_ref().is_some_and(|last| !fits || !is_of_part(last)) {
                break;
            }
            part.text.extend(text);
            part.resources += 1;
            part.last = Some(key);
        }
        part
    }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("a dump has string keys only");
    text.push(b'\n');
    text
}
