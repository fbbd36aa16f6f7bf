//! A large answer holds its bytes until its client took them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hanse_state::Problem;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use crate::{
    ApiMetrics,
    bounds::{Bounds, Place, SMALL_BODY},
};

/// How much of an answer the connection gets at once. It asks for more when the client took that, so what it holds beside the place is
/// at most this much.
const SLICE: usize = SMALL_BODY;

/// Gives a large answer its place among those that clients have not taken yet. `refusable`: without one it is refused, as a read may
/// be; the answer to a write is never kept from its client.
pub(crate) async fn hold(
    response: Response,
    refusable: bool,
    bounds: &Bounds,
    metrics: &ApiMetrics,
) -> Result<Response, Problem> {
    let (head, body) = response.into_parts();
    // Watches have no size, and are written event by event.
    let size = http_body::Body::size_hint(&body).exact().unwrap_or_default();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size <= SMALL_BODY {
        return Ok(Response::from_parts(head, body));
    }
    let place = match bounds.untaken(size, metrics) {
        Err(problem) if refusable => return Err(problem),
        place => place.ok(),
    };
    let Ok(rest) = body.collect().await.map(|body| body.to_bytes()) else {
        unreachable!("an answer with a size is in memory");
    };
    Ok(Response::from_parts(head, Body::new(Held { rest, _place: place })))
}

struct Held {
    rest: Bytes,
    _place: Option<Place>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(SLICE);
        let slice = self.rest.split_to(length);
        Poll::Ready((!slice.is_empty()).then(|| Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
