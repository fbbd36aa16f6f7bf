//! One request, and what became of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Uri, header::HOST};
use http_body_util::{BodyExt, Empty};
use tokio::time::{Instant as TokioInstant, timeout_at};

use super::{
    REQUEST_ID, Target,
    ledger::{Connection, Entry, Outcome},
    pool::{Kept, Pool, connect},
};

/// What is known of a request while it runs; what is left when time is up goes into the ledger as it is.
struct Progress {
    connection: Connection,
    connected_from: Instant,
}

/// Sends one request and waits for its whole answer, no longer than `timeout` from its arrival.
pub(super) async fn exchange(pool: &Pool, target: Target, id: u64, due: Instant, timeout: Duration) -> Entry {
    let sent = Instant::now();
    let mut progress = Progress { connection: Connection::New, connected_from: sent };
    let deadline = TokioInstant::from_std(due) + timeout;
    let (outcome, upstream_saw) = match timeout_at(deadline, answer(pool, &target, id, &mut progress)).await {
        Ok(answered) => answered,
        Err(_) => (Outcome::TimedOut, None),
    };
    Entry {
        id,
        target: target.name,
        due,
        sent,
        connection: progress.connection,
        connected_from: progress.connected_from,
        outcome,
        finished: Instant::now(),
        upstream_saw,
    }
}

async fn answer(pool: &Pool, target: &Target, id: u64, progress: &mut Progress) -> (Outcome, Option<bool>) {
    let (request, authority) = match request(target, id) {
        Ok(made) => made,
        Err(reason) => return (Outcome::Refused(reason), None),
    };
    let kept = if target.fresh { None } else { pool.take(&authority) };
    let mut kept = match kept {
        Some(kept) => {
            *progress = Progress { connection: Connection::Reused, connected_from: kept.opened };
            kept
        }
        None => match connect(&authority, target.tls.as_ref(), progress.connected_from).await {
            Ok(kept) => kept,
            Err(reason) => return (Outcome::Refused(reason), None),
        },
    };
    match whole_answer(&mut kept, request).await {
        Ok((status, body)) => {
            if !target.fresh {
                pool.give(authority, kept);
            }
            let saw = (200..300).contains(&status).then(|| !target.echoes || shows(&body, id));
            (Outcome::Status(status), saw)
        }
        Err(error) => (Outcome::Broken(causes(&error)), None),
    }
}

fn request(target: &Target, id: u64) -> Result<(Request<Empty<Bytes>>, String), String> {
    let uri: Uri = target.url.parse().map_err(|error| format!("{}: {error}", target.url))?;
    let authority = uri.authority().ok_or_else(|| format!("{}: no authority", target.url))?.to_string();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let named = target.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(HOST.as_str()));
    let mut request = Request::builder().method(&target.method).uri(path).header(REQUEST_ID, id.to_string());
    if !named {
        request = request.header(HOST, &authority);
    }
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
    Ok((request, authority))
}

async fn whole_answer(kept: &mut Kept, request: Request<Empty<Bytes>>) -> hyper::Result<(u16, Bytes)> {
    let response = kept.sender.send_request(request).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// Whether the upstream's echo carries the request's number.
fn shows(body: &[u8], id: u64) -> bool {
    let wanted = format!("\"{REQUEST_ID}\":\"{id}\"");
    body.windows(wanted.len()).any(|part| part == wanted.as_bytes())
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
