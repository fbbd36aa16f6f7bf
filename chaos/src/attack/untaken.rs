//! Answers that their clients do not take.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, sleep, timeout},
};

use super::{Arena, Attack, DESCRIPTORS, Strength, Using, count::Count};
use crate::{Client, World, spec};

/// The gateway that is attacked.
const GATEWAY: &str = "gateway-eu-west";
/// Clients that it takes with so many descriptors, as docs/limits.md has it: half of what its reserve leaves.
const PLACES: usize = (DESCRIPTORS as usize - 256) / 2;
/// Connections made in a second, at CI's size: in three seconds as many as the gateway takes. And at most: what is tried here
/// is places, not a flood.
const PER_SECOND: usize = 150;
const MOST_PER_SECOND: usize = 300;
/// Connections are made this often.
const TICK: Duration = Duration::from_millis(20);
/// An answer has more octets than buffers on its way could swallow.
const ANSWER: usize = 16 << 20;
/// Written of it at once.
const PART: usize = 64 << 10;
/// What the client's own side takes: the least that there is.
const ROOM: u32 = 4 << 10;
/// What the attacker calls.
const REQUEST: &[u8] = b"GET /untaken/item HTTP/1.1\r\nHost: x\r\n\r\n";

/// Connections that ask for a large answer each, and take nothing of it.
pub(super) const ANSWERS: Attack = Attack {
    name: "untaken-answers",
    about: "more connections than a gateway takes that ask for 16 MiB each and take nothing of it",
    node: GATEWAY,
    run: |arena, strength| Box::pin(ask(arena, strength)),
    beside: Some(new_clients_are_served),
};

/// How long a new client of the gateway waits: a call takes milliseconds.
const NEW_CLIENT_WAITS: Duration = Duration::from_secs(1);
/// Clients that come while the gateway is full, and the time between two.
const NEW_CLIENTS: usize = 20;
const BETWEEN_CLIENTS: Duration = Duration::from_millis(75);
/// For the attacker to publish, and to fill the gateway.
const UNTIL_FULL: Duration = Duration::from_millis(3_500);

/// A client that was not there before the attack is served too.
fn new_clients_are_served(world: &mut World) -> Using<'_> {
    Box::pin(async {
        let url = format!("{}/honest/item", world.url(GATEWAY)?);
        sleep(UNTIL_FULL).await;
        for number in 0..NEW_CLIENTS {
            let client = Client::new(None)?;
            let answer = timeout(NEW_CLIENT_WAITS, client.get(&url, &[])).await;
            let answer = answer.with_context(|| format!("new client {number} was not answered in time"))?;
            let answer = answer.with_context(|| format!("new client {number} was not answered"))?;
            ensure!(answer.status == 200, "new client {number} was answered {answer:?}");
            sleep(BETWEEN_CLIENTS).await;
        }
        Ok(())
    })
}

async fn ask(arena: Arena, strength: Strength) -> Result<()> {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", backend.local_addr()?);
    let answering = tokio::spawn(answer_all(backend));
    arena.operator.apply(&format!(
        "kind: Api\nname: untaken\nspec: {{context: /untaken, version: \"1\", operations: [{{method: GET, path: /item}}]}}\n---\n\
         kind: Upstream\nname: untaken\nspec: {{endpoints: [{{url: \"{url}\"}}]}}\n---\n\
         kind: Binding\nname: untaken\nspec: {{api: untaken, environment: production, upstream: untaken}}\n"
    ))?;
    let address = arena.at(GATEWAY, spec::HTTP)?;

    let per_second = (PER_SECOND * strength.scale).min(MOST_PER_SECOND);
    let per_tick = (per_second as f64 * TICK.as_secs_f64()).ceil() as usize;
    let made = Count::default();
    let mut held = JoinSet::new();
    let attack = async {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            // One that the gateway closed does not hear of it: it takes nothing.
            for _ in 0..per_tick.min((2 * PLACES * strength.scale).saturating_sub(held.len())) {
                held.spawn(hold(address, made.clone()));
            }
        }
    };
    tokio::select! {
        () = strength.over() => {}
        () = attack => {}
    }
    answering.abort();
    made.at_least(PLACES, "connections were answered")
}

/// One connection, for as long as the attack. Counts it once the answer has begun.
async fn hold(address: SocketAddr, made: Count) {
    let untaken = async {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(ROOM)?;
        let mut stream = socket.connect(address).await?;
        stream.write_all(REQUEST).await?;
        let began = stream.peek(&mut [0]).await? > 0;
        std::io::Result::Ok((stream, began))
    };
    if let Ok((_stream, true)) = untaken.await {
        made.one();
        std::future::pending().await
    }
}

/// Answers every request with [`ANSWER`] octets, as fast as they are taken.
async fn answer_all(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let (mut got, part) = (Vec::new(), vec![b'x'; PART]);
    loop {
        while !got.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut got).await? == 0 {
                return Ok(());
            }
        }
        got.clear(); // a GET has no body, and the next one comes after the answer
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {ANSWER}\r\n\r\n").as_bytes()).await?;
        for _ in 0..ANSWER / PART {
            stream.write_all(&part).await?;
        }
    }
}
