//! Connections that say nothing, or half of something.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use super::{Arena, Attack, DESCRIPTORS, Strength, Using, arena::shake_hands};
use crate::{World, spec};

/// More connections than the node has descriptors.
const EACH: usize = DESCRIPTORS as usize + 100;
/// Connections made in a second, at CI's size: in four seconds more than the node has descriptors.
const PER_SECOND: usize = 300;
/// And at most: what is tried here is idle connections, not a flood of handshakes that takes a core by itself.
const MOST_PER_SECOND: usize = 1_200;
/// Connections are made this often.
const TICK: Duration = Duration::from_millis(20);
/// Half of a request's head.
const HALF_HEAD: &[u8] = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Endless: ";

/// Connections that shook hands and then are silent.
pub(super) const CONNECTIONS: Attack = Attack {
    name: "idle-connections",
    about: "more silent TLS connections to one port than the node has descriptors",
    node: "cp-1",
    run: |arena, strength| Box::pin(silent(arena, strength)),
    beside: None,
};

/// Half request heads at the API and admin ports.
pub(super) const HALF_HEADS: Attack = Attack {
    name: "half-heads",
    about: "half request heads at the operator API and the admin port",
    node: "cp-1",
    run: |arena, strength| Box::pin(half_heads(arena, strength)),
    beside: None,
};

/// Connections that never begin their handshake.
pub(super) const HANDSHAKES: Attack = Attack {
    name: "silent-handshakes",
    about: "connections to the operator API and the federation port that never say hello, hundreds a second",
    node: "cp-1",
    run: |arena, strength| Box::pin(no_hello(arena, strength)),
    beside: None,
};

/// Connections to a gateway's port for clients, silent or with half a head.
pub(super) const GATEWAY: Attack = Attack {
    name: "gateway-connections",
    about: "more silent connections and half heads to a gateway than it has descriptors",
    node: "gateway-eu-west",
    run: |arena, strength| Box::pin(at_gateway(arena, strength)),
    beside: Some(new_clients_are_served),
};

/// How long a new client of the gateway waits: a call takes milliseconds.
const NEW_CLIENT_WAITS: Duration = Duration::from_secs(1);
/// Clients of the gateway that come while it is full, and the time between two.
const NEW_CLIENTS: usize = 20;
const BETWEEN_CLIENTS: Duration = Duration::from_millis(100);
/// For the attacker to fill the gateway.
const UNTIL_FULL: Duration = Duration::from_secs(2);

/// A client that was not there before the attack is served too.
fn new_clients_are_served(world: &mut World) -> Using<'_> {
    Box::pin(async {
        let address = Arena::of(world)?.at("gateway-eu-west", spec::HTTP)?;
        tokio::time::sleep(UNTIL_FULL).await;
        for number in 0..NEW_CLIENTS {
            let answer = timeout(NEW_CLIENT_WAITS, call(address)).await;
            let answer = answer.with_context(|| format!("new client {number} was not answered"))??;
            ensure!(answer.starts_with("HTTP/1.1 200"), "new client {number} was answered {answer:?}");
            tokio::time::sleep(BETWEEN_CLIENTS).await;
        }
        Ok(())
    })
}

/// A call on a connection of its own; the answer.
async fn call(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /honest/item HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn no_hello(arena: Arena, strength: Strength) -> Result<()> {
    let (api, federation) = (arena.at("cp-1", spec::API)?, arena.at("cp-1", spec::FEDERATION)?);
    let count = 2 * EACH * strength.scale;
    tokio::try_join!(
        hold(count, strength, move |made| held(api, None, b"", made)),
        hold(count, strength, move |made| held(federation, None, b"", made)),
    )?;
    Ok(())
}

async fn at_gateway(arena: Arena, strength: Strength) -> Result<()> {
    let address = arena.at("gateway-eu-west", spec::HTTP)?;
    let count = EACH * strength.scale;
    tokio::try_join!(
        hold(count, strength, move |made| held(address, None, b"", made)),
        hold(count, strength, move |made| held(address, None, HALF_HEAD, made)),
    )?;
    Ok(())
}

async fn silent(arena: Arena, strength: Strength) -> Result<()> {
    let (address, tls) = (arena.at("cp-1", spec::ENROLMENT)?, arena.tls()?);
    hold(EACH * strength.scale, strength, move |made| held(address, Some(tls.clone()), b"", made)).await
}

async fn half_heads(arena: Arena, strength: Strength) -> Result<()> {
    let (api, admin) = (arena.at("cp-1", spec::API)?, arena.at("cp-1", spec::SERVER_ADMIN)?);
    let tls = arena.tls()?;
    let count = EACH * strength.scale / 2;
    tokio::try_join!(
        hold(count, strength, move |made| held(api, Some(tls.clone()), HALF_HEAD, made)),
        hold(count, strength, move |made| held(admin, None, HALF_HEAD, made)),
    )?;
    Ok(())
}

/// Connections that must have come about: an attack that did not reach the port shows nothing.
const LEAST: usize = DESCRIPTORS as usize / 4;

/// Makes connections until there are `count`, and again for each that is closed, until the attack is over. `connect` counts
/// those that came about.
async fn hold<F>(count: usize, strength: Strength, connect: impl Fn(Arc<AtomicUsize>) -> F) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let per_second = (PER_SECOND * strength.scale).min(MOST_PER_SECOND);
    let per_tick = (per_second as f64 * TICK.as_secs_f64()).ceil() as usize;
    let made = Arc::new(AtomicUsize::new(0));
    let mut held = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    let attack = async {
        loop {
            ticks.tick().await;
            while held.try_join_next().is_some() {}
            for _ in 0..per_tick.min(count.saturating_sub(held.len())) {
                held.spawn(connect(made.clone()));
            }
        }
    };
    tokio::select! {
        () = strength.over() => {}
        () = attack => {}
    }
    let made = made.load(Ordering::Relaxed);
    ensure!(
        made >= LEAST.min(count / 2),
        "only {made} of {count} connections came about: nothing was attacked"
    );
    Ok(())
}

/// One connection, until the other end closes it.
async fn held(
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    says: &'static [u8],
    made: Arc<AtomicUsize>,
) {
    let mut rest = [0; 256];
    match tls {
        Some(tls) => {
            let Ok(stream) = TcpStream::connect(address).await else { return };
            let Ok(mut stream) = shake_hands(stream, tls).await else { return };
            if stream.write_all(says).await.is_ok() && stream.flush().await.is_ok() {
                made.fetch_add(1, Ordering::Relaxed);
                while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
            }
        }
        None => {
            let Ok(mut stream) = TcpStream::connect(address).await else { return };
            if stream.write_all(says).await.is_ok() {
                made.fetch_add(1, Ordering::Relaxed);
                while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
            }
        }
    }
}
