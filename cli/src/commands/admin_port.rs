//! Asks a node's own admin port, and no control node.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// The node is on this machine, as a rule, and answers from memory.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Status and body of a page, of at most so many bytes. An error says why there is none.
pub(super) async fn get(address: &str, page: &str, most: usize) -> Result<(StatusCode, Bytes), String> {
    let asked = timeout(ANSWERS_WITHIN, ask(address, page, most)).await;
    asked.map_err(|_| format!("nothing came within {ANSWERS_WITHIN:?}"))?.map_err(|error| error.to_string())
}

async fn ask(
    address: &str,
    page: &str,
    most: usize,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(page).header(HOST, address).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), most).collect().await?.to_bytes();
    Ok((status, body))
}
