//! An upstream that waits before it answers.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// As an upstream that asks a database.
const WAITS: Duration = Duration::from_millis(500);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Starts it; its URL. It ends with the process.
pub(super) async fn start() -> Result<String> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(format!("http://{address}"))
}

/// Answers each head, until the other end closes.
async fn serve(mut stream: TcpStream) {
    let mut got = Vec::new();
    while stream.read_buf(&mut got).await.is_ok_and(|read| read > 0) {
        while let Some(at) = got.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) {
            got.drain(..at + END_OF_HEAD.len());
            tokio::time::sleep(WAITS).await;
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}
