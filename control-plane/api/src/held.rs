//! A large answer holds its bytes until its client took them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hanse_management::Problem;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::{
    ApiMetrics,
    bounds::{Bounds, Place, SMALL_BODY},
};

/// How much of an answer the connection gets at once. It asks for more when the client took that, so what it holds beside the place is
/// at most this much.
const SLICE: usize = SMALL_BODY;
/// How long a client may take for an answer, and beside that what it takes at [`RATE`]. One that takes nothing at all for a minute loses
/// its connection; this is for those that take a little.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many bytes a second a client takes at least: the largest page in 40 s.
const RATE: usize = 128 << 10;

/// Gives a large answer its place among those that clients have not taken yet. Without one a read is refused. The answer to a write is
/// never kept from its client: where it may be large, it has its place `before` the write.
pub(crate) async fn hold(
    response: Response,
    before: Option<Place>,
    refusable: bool,
    bounds: &Bounds,
    metrics: &ApiMetrics,
) -> Result<Response, Problem> {
    let (head, body) = response.into_parts();
    // Watches have no size, and are written event by event.
    let size = http_body::Body::size_hint(&body).exact().unwrap_or_default();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size <= SMALL_BODY || head.extensions.get::<Shared>().is_some() {
        return Ok(Response::from_parts(head, body));
    }
    let place = match before {
        Some(place) => Some(place),
        None if refusable => Some(bounds.untaken(size, metrics)?),
        None => bounds.untaken(size, metrics).ok(),
    };
    let Ok(rest) = body.collect().await.map(|body| body.to_bytes()) else {
        unreachable!("an answer with a size is in memory");
    };
    let until = Instant::now() + PATIENCE + Duration::from_secs((size / RATE) as u64);
    Ok(Response::from_parts(head, Body::new(Held { rest, until, _place: place })))
}

/// On an answer of which there is one for all clients: nothing is held for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared;

struct Held {
    rest: Bytes,
    until: Instant,
    _place: Option<Place>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if Instant::now() > self.until {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        let length = self.rest.len().min(SLICE);
        // A copy: a slice would keep all of the answer until the client took the last of it.
        let slice = Bytes::copy_from_slice(&self.rest.split_to(length));
        Poll::Ready((!slice.is_empty()).then(|| Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
