//! A slow road: a TCP proxy that delays each direction, bounds its bandwidth, and can stop passing anything on. For what lies
//! between regions, where the kernel cannot do it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// What is read at once: small enough that a bound of some KB/s is smooth.
const PIECE_BYTES: usize = 16 << 10;
/// Pieces under way in one direction of a connection: with a delay of 500 ms they let 64 MB/s through.
const PIECES_UNDER_WAY: usize = 2_048;

/// One direction of a road.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Way {
    /// How long everything takes.
    pub delay: Duration,
    /// How much passes in a second, per connection; none: as much as comes.
    pub bytes_per_second: Option<u32>,
}

/// A road from clients to one address. Ends with all its connections when dropped.
#[derive(Debug)]
pub struct Road {
    /// Where clients connect.
    pub address: SocketAddr,
    paused: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Road {
    /// Listens at `listen` (port 0: any) and passes on to `to`; `out` is the way there, `back` the way back.
    pub async fn start(listen: SocketAddr, to: SocketAddr, out: Way, back: Way) -> Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (paused, pause) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, to, Arc::new([out, back]), pause));
        Ok(Self { address, paused, _tasks: tasks })
    }

    /// From now on nothing passes, in either direction, and neither end is told: as on a cut road.
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Lets everything pass again, what was held back first.
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, ways: Arc<[Way; 2]>, pause: watch::Receiver<bool>) {
    // Aborted with this task, so that connections end with the road.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(carry(client, to, ways.clone(), pause.clone()));
    }
}

async fn carry(client: TcpStream, to: SocketAddr, ways: Arc<[Way; 2]>, mut pause: watch::Receiver<bool>) {
    passable(&mut pause).await;
    // A refusal is passed on by closing the client's connection.
    let Ok(server) = TcpStream::connect(to).await else { return };
    // Delay is what this is about; Nagle's is not asked for.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        pass(from_client, to_server, ways[0], pause.clone()),
        pass(from_server, to_client, ways[1], pause)
    );
}

/// Passes one direction on. The end of one side's sending is passed on after what was sent before.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, mut pause: watch::Receiver<bool>) {
    let (pieces, mut under_way) = mpsc::channel::<(Instant, Bytes)>(PIECES_UNDER_WAY);
    let reading = async move {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + way.delay;
            if pieces.send((due, Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = under_way.recv().await {
            sleep_until(due).await;
            passable(&mut pause).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
            if let Some(rate) = way.bytes_per_second {
                sleep(Duration::from_secs(piece.len() as u64) / rate.max(1)).await;
            }
        }
        passable(&mut pause).await;
        // The other side may be gone already.
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

/// Returns when the road is open. A road that is gone is open: its tasks are being ended.
async fn passable(pause: &mut watch::Receiver<bool>) {
    let _ = pause.wait_for(|paused| !paused).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    /// A server that sends back what it gets, and a connection to it over a road.
    async fn over(out: Way, back: Way) -> (Road, TcpStream) {
        let listener = TcpListener::bind(any()).await.unwrap();
        let to = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut read, mut write) = stream.into_split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let road = Road::start(any(), to, out, back).await.unwrap();
        let stream = TcpStream::connect(road.address).await.unwrap();
        (road, stream)
    }

    async fn round_trip(stream: &mut TcpStream, bytes: usize) -> Duration {
        let began = Instant::now();
        let (mut read, mut write) = stream.split();
        let (sent, mut got) = (vec![7; bytes], vec![0; bytes]);
        let (wrote, was_read) = tokio::join!(write.write_all(&sent), read.read_exact(&mut got));
        wrote.unwrap();
        was_read.unwrap();
        assert_eq!(sent, got, "everything arrives, in order");
        began.elapsed()
    }

    const fn slow(ms: u64) -> Way {
        Way { delay: Duration::from_millis(ms), bytes_per_second: None }
    }

    #[tokio::test]
    async fn each_direction_has_its_delay_and_pieces_share_it() {
        let (_road, mut stream) = over(slow(30), slow(50)).await;
        let took = round_trip(&mut stream, 1).await;
        assert!(took >= Duration::from_millis(80), "{took:?}");
        // 60 pieces one after the other would take 5 s: they are under way together.
        let took = round_trip(&mut stream, 60 * PIECE_BYTES).await;
        assert!(took < Duration::from_secs(3), "{took:?}");
    }

    #[tokio::test]
    async fn bandwidth_is_bounded() {
        let narrow = Way { delay: Duration::ZERO, bytes_per_second: Some(200_000) };
        let (_road, mut stream) = over(narrow, Way::default()).await;
        let took = round_trip(&mut stream, 60_000).await;
        assert!(took >= Duration::from_millis(200), "{took:?}");
    }

    #[tokio::test]
    async fn a_paused_road_passes_nothing_and_forgets_nothing() {
        let (road, mut stream) = over(Way::default(), Way::default()).await;
        round_trip(&mut stream, 1).await;
        road.pause();
        stream.write_all(b"held").await.unwrap();
        let mut got = [0; 4];
        let early = tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut got)).await;
        assert!(early.is_err(), "nothing passes");
        road.resume();
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"held");
    }

    #[tokio::test]
    async fn connections_end_with_the_road() {
        let (road, mut stream) = over(Way::default(), Way::default()).await;
        round_trip(&mut stream, 1).await;
        drop(road);
        assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }
}
