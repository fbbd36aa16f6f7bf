//! Messages that are announced and never come to an end.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use hanse_identity::connect;
use hanse_proto::enrolment::{EnrolRequest, enrolment_client::EnrolmentClient};
use http::Request;
use http_body_util::{BodyExt as _, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_stream::StreamExt as _;
use tonic::Code;

use super::{Arena, Attack, Strength, arena::shake_hands, count::Count};
use crate::{World, spec};

/// Connections, at CI's size: two held 1.7 GB.
const CONNECTIONS: usize = 2;
/// Messages begun on each.
const MESSAGES: usize = 200;
/// Of them, so many of each connection must have been begun: the node lets it have a few at a time.
const LEAST_BEGUN: usize = 4;
/// What most of them announce: the most that a server takes which was told nothing else.
const LARGE: u32 = (4 << 20) - 1;
/// What the others announce: within any bound there may be.
const SMALL: u32 = 1_000;
/// Sent of a message at once.
const PART: usize = 16 << 10;
/// A connection is made again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// A message that was refused is begun again after this: what is tried here is memory, not a flood of requests.
const REFUSED: Duration = Duration::from_secs(1);
/// How often an honest joiner asks meanwhile, and how long it waits.
const JOINERS: usize = 10;
const JOINER_WAITS: Duration = Duration::from_secs(3);

/// Enrol messages of which all but the last octets come.
pub(super) const ENROL: Attack = Attack {
    name: "enrol-halves",
    about: "hundreds of Enrol messages of 4 MiB on a few connections, all but their ends",
    node: "cp-1",
    run: |arena, strength| Box::pin(halves(arena, strength)),
    beside: Some(|world| Box::pin(joiners_are_answered(world, "cp-1"))),
};

async fn halves(arena: Arena, strength: Strength) -> Result<()> {
    let address = arena.at("cp-1", spec::ENROLMENT)?;
    let mut tls = ClientConfig::clone(&*arena.tls()?);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = Arc::new(tls);
    let (reached, begun) = (Count::default(), Count::default());
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS * strength.scale {
        let (tls, reached, begun) = (tls.clone(), reached.clone(), begun.clone());
        connections.spawn(async move {
            loop {
                if let Ok(stream) = TcpStream::connect(address).await {
                    reached.one();
                    let _ = hold(stream, tls.clone(), &begun).await; // the other end may close it
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
    strength.over().await;
    reached.at_least(CONNECTIONS * strength.scale, "connections reached the port")?;
    begun.at_least(LEAST_BEGUN * CONNECTIONS * strength.scale, "messages were begun")
}

/// Begins messages on one connection and leaves them there, until it is closed.
async fn hold(stream: TcpStream, tls: Arc<ClientConfig>, begun: &Count) -> Result<()> {
    let stream = TokioIo::new(shake_hands(stream, tls).await?);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    let mut messages = JoinSet::new();
    for number in 0..MESSAGES {
        let (mut sender, begun) = (sender.clone(), begun.clone());
        messages.spawn(async move {
            loop {
                let announced = if number % 8 == 7 { SMALL } else { LARGE };
                let message = message(announced, begun.clone())?;
                if sender.ready().await.is_err() || sender.send_request(message).await.is_err() {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(REFUSED).await;
            }
        });
    }
    Ok(connection.await?)
}

/// A message of which the last octet never comes. It is begun when its head is taken for sending.
fn message(announced: u32, begun: Count) -> Result<Request<BoxBody<Bytes, Infallible>>> {
    let mut head = vec![0];
    head.extend(announced.to_be_bytes());
    let rest = announced as usize - 1;
    let parts = (0..rest.div_ceil(PART)).map(move |part| Bytes::from(vec![7; PART.min(rest - part * PART)]));
    let head = std::iter::once_with(move || {
        begun.one();
        Bytes::from(head)
    });
    let parts = head.chain(parts).map(|part| Ok(Frame::data(part)));
    let body = StreamBody::new(tokio_stream::iter(parts).chain(tokio_stream::pending()));
    let request = Request::post("http://cp-1/hanse.enrolment.v1.Enrolment/Enrol");
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    Ok(request.body(body.boxed())?)
}

/// A joiner with a token that does not exist is told so, each time and soon.
pub(super) async fn joiners_are_answered(world: &World, node: &str) -> Result<()> {
    let arena = Arena::of(world)?;
    let address = arena.at(node, spec::ENROLMENT)?.to_string();
    let tls = arena.joiner_tls()?;
    for _ in 0..JOINERS {
        let asked = async {
            let channel = connect(&address, tls.clone()).await?;
            let request = EnrolRequest {
                token_id: "none-such".into(),
                name: "honest".into(),
                ..EnrolRequest::default()
            };
            anyhow::Ok(EnrolmentClient::new(channel).enrol(request).await)
        };
        let answer = timeout(JOINER_WAITS, asked).await.context("a joiner was not answered")??;
        let status = answer.err().context("a token that does not exist was taken")?;
        ensure!(status.code() == Code::PermissionDenied, "a joiner was told {status}");
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}
