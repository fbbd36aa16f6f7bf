//! A road that carries little: a TCP proxy that lets so many bytes a second through each connection.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// Bytes passed on at once.
const PIECE: usize = 8 << 10;

/// Starts a proxy to `target` and returns its address. It lives as long as the test's runtime.
pub(crate) async fn to(target: SocketAddr, bytes_per_second: u32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            connections.spawn(async move {
                let Ok(far) = TcpStream::connect(target).await else { return };
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::join!(
                    pass(near_in, far_out, bytes_per_second),
                    pass(far_in, near_out, bytes_per_second)
                );
            });
        }
    });
    address
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    bytes_per_second: u32,
) {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                sleep(Duration::from_secs(1) * u32::try_from(read).unwrap() / bytes_per_second).await;
                if to.write_all(&piece[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
