//! Connections that say nothing, or half of something.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_process::raise_descriptor_limit;
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use super::{
    Arena, Attack, DESCRIPTORS, Strength, Using, arena::shake_hands, count::Count,
    halves::joiners_are_answered, honest::change_arrives,
};
use crate::{World, spec};

/// More connections than the node has descriptors: so many over all ways of a kind.
const EACH: usize = DESCRIPTORS as usize + 100;
/// Connections made in a second over all ways of a kind, at CI's size: in four seconds more than the node has descriptors.
const WITH_TLS_PER_SECOND: usize = 300;
const PLAIN_PER_SECOND: usize = 600;
/// And at most with TLS: what is tried here is idle connections, not a flood of handshakes that takes a core by itself.
const MOST_WITH_TLS_PER_SECOND: usize = 1_200;
/// Connections are made this often.
const TICK: Duration = Duration::from_millis(20);
/// Of a way, so many parts of what its rate allows must have come about: the attacker's machine has other work too.
const LEAST_OF_RATE: f64 = 0.75;
/// Of the connections that reached the port, one in so many must have said what it has to say before it was closed.
const LEAST_HELD: usize = 4;
/// Descriptors of the attacker that are not the attack's: honest clients, and pipes and logs of the nodes it started.
const OTHER_DESCRIPTORS: usize = 500;

/// Half of a request's head.
const HALF_HEAD: &[u8] = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Endless: ";
/// Half of what every HTTP/2 connection begins with.
const HALF_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// The first octets of a ClientHello of 512.
const HALF_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01";

/// How connections are held at a port: they say something, after a TLS handshake or without, and then nothing more.
#[derive(Debug, Clone, Copy)]
struct Way {
    port: u16,
    tls: bool,
    says: &'static [u8],
}

const fn plain(port: u16, says: &'static [u8]) -> Way {
    Way { port, tls: false, says }
}

/// Only where a client needs no certificate: elsewhere no handshake comes to its end.
const fn with_tls(port: u16, says: &'static [u8]) -> Way {
    Way { port, tls: true, says }
}

/// Connections that shook hands and then are silent.
pub(super) const CONNECTIONS: Attack = Attack {
    name: "idle-connections",
    about: "more silent connections to API, enrolment and admin port than the node has descriptors",
    node: "cp-1",
    run: |arena, strength| {
        let ways =
            vec![with_tls(spec::API, b""), with_tls(spec::ENROLMENT, b""), plain(spec::SERVER_ADMIN, b"")];
        Box::pin(hold(arena, "cp-1", ways, strength))
    },
    beside: None,
};

/// Half request heads.
pub(super) const HALF_HEADS: Attack = Attack {
    name: "half-heads",
    about: "half request heads at API, enrolment and admin port",
    node: "cp-1",
    run: |arena, strength| {
        let ways = vec![
            with_tls(spec::API, HALF_HEAD),
            with_tls(spec::ENROLMENT, HALF_PREFACE),
            plain(spec::SERVER_ADMIN, HALF_HEAD),
        ];
        Box::pin(hold(arena, "cp-1", ways, strength))
    },
    beside: None,
};

/// Connections that never begin their handshake, or stop in their first message.
pub(super) const HANDSHAKES: Attack = Attack {
    name: "silent-handshakes",
    about: "connections to API, enrolment, federation and Raft port without a whole hello, hundreds a second",
    node: "cp-1",
    run: |arena, strength| {
        let ways = vec![
            plain(spec::API, b""),
            plain(spec::ENROLMENT, HALF_HELLO),
            plain(spec::FEDERATION, b""),
            plain(spec::RAFT, HALF_HELLO),
        ];
        Box::pin(hold(arena, "cp-1", ways, strength))
    },
    beside: None,
};

/// The agent that is attacked. Honest clients call the other region's gateway, so this one's may restart.
const AGENT: &str = "agent-us-east";
const ITS_GATEWAY: &str = "gateway-us-east";

/// All of that at every port of an agent.
pub(super) const AT_AGENT: Attack = Attack {
    name: "agent-connections",
    about: "silent connections, half heads and half hellos at every port of an agent",
    node: AGENT,
    run: |arena, strength| {
        let ways = vec![
            with_tls(spec::ENROLMENT, b""),
            with_tls(spec::ENROLMENT, HALF_PREFACE),
            plain(spec::FEDERATION, b""),
            plain(spec::FEDERATION, HALF_HELLO),
            plain(spec::AGENT_ADMIN, HALF_HEAD),
        ];
        Box::pin(hold(arena, AGENT, ways, strength))
    },
    beside: Some(the_region_goes_on),
};

/// Connections to a gateway's ports for clients and for its operator, silent or with half a head.
pub(super) const GATEWAY: Attack = Attack {
    name: "gateway-connections",
    about: "more silent connections and half heads to a gateway than it has descriptors",
    node: "gateway-eu-west",
    run: |arena, strength| {
        let ways =
            vec![plain(spec::HTTP, b""), plain(spec::HTTP, HALF_HEAD), plain(spec::GATEWAY_ADMIN, HALF_HEAD)];
        Box::pin(hold(arena, "gateway-eu-west", ways, strength))
    },
    beside: Some(new_clients_are_served),
};

/// How long a new client of the gateway waits: a call takes milliseconds.
const NEW_CLIENT_WAITS: Duration = Duration::from_secs(1);
/// Clients of the gateway that come while it is full, and the time between two.
const NEW_CLIENTS: usize = 20;
const BETWEEN_CLIENTS: Duration = Duration::from_millis(100);
/// For the attacker to fill the node.
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

/// A change takes a second or two, on a loaded machine more.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// What goes through the agent goes on: changes arrive, the gateway comes back by it, joiners are answered.
fn the_region_goes_on(world: &mut World) -> Using<'_> {
    Box::pin(async {
        tokio::time::sleep(UNTIL_FULL).await;
        change_arrives(world, "through-agent", ARRIVES_WITHIN)?;
        world.kill(ITS_GATEWAY)?;
        world.start(ITS_GATEWAY).await?;
        change_arrives(world, "to-restarted", ARRIVES_WITHIN)?;
        joiners_are_answered(world, AGENT).await
    })
}

/// Holds connections in all these ways until the attack is over.
async fn hold(arena: Arena, node: &'static str, ways: Vec<Way>, strength: Strength) -> Result<()> {
    let (of_api, of_joiner): (_, Arc<ClientConfig>) = (arena.tls()?, arena.joiner_tls()?.into());
    let descriptors = raise_descriptor_limit().saturating_sub(OTHER_DESCRIPTORS);
    ensure!(descriptors >= 2 * EACH, "the attacker has too few descriptors: raise `ulimit -Hn`");
    let mut holding = JoinSet::new();
    for way in &ways {
        let kin = ways.iter().filter(|other| other.tls == way.tls).count();
        let per_second = match way.tls {
            true => (WITH_TLS_PER_SECOND * strength.scale).min(MOST_WITH_TLS_PER_SECOND),
            false => PLAIN_PER_SECOND * strength.scale,
        };
        let way = Holding {
            address: arena.at(node, way.port)?,
            tls: way.tls.then(|| if way.port == spec::API { of_api.clone() } else { of_joiner.clone() }),
            says: way.says,
            per_second: per_second as f64 / kin as f64,
            count: (EACH * strength.scale / kin).min(descriptors / ways.len()),
            reached: Count::default(),
            held: Count::default(),
        };
        holding.spawn(way.until_over(strength));
    }
    while let Some(ended) = holding.join_next().await {
        ended??;
    }
    Ok(())
}

/// One way at its address, with how hard it is gone.
#[derive(Clone)]
struct Holding {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    says: &'static [u8],
    per_second: f64,
    /// Connections that are to be held at once.
    count: usize,
    /// Connections that reached the port.
    reached: Count,
    /// Those that said what they have to say.
    held: Count,
}

impl Holding {
    /// Makes connections until there are `count`, and again for each that is closed, until the attack is over.
    async fn until_over(self, strength: Strength) -> Result<()> {
        let began = Instant::now();
        let mut connections = JoinSet::new();
        let mut ticks = tokio::time::interval(TICK);
        let mut due = 0.0;
        let attack = async {
            loop {
                ticks.tick().await;
                while connections.try_join_next().is_some() {}
                due += self.per_second * TICK.as_secs_f64();
                for _ in 0..(due as usize).min(self.count.saturating_sub(connections.len())) {
                    connections.spawn(self.clone().one());
                }
                due = due.fract();
            }
        };
        tokio::select! {
            () = strength.over() => {}
            () = attack => {}
        }
        let by_rate = began.elapsed().as_secs_f64() * self.per_second * LEAST_OF_RATE;
        let least = self.count.min(by_rate as usize);
        self.reached.at_least(least, &format!("connections reached {}", self.address))?;
        self.held.at_least(least / LEAST_HELD, &format!("connections were held at {}", self.address))
    }

    /// One connection, until the other end closes it.
    async fn one(self) {
        let Ok(stream) = TcpStream::connect(self.address).await else { return };
        self.reached.one();
        match &self.tls {
            Some(tls) => {
                if let Ok(stream) = shake_hands(stream, tls.clone()).await {
                    self.say(stream).await;
                }
            }
            None => self.say(stream).await,
        }
    }

    async fn say(&self, mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) {
        let mut rest = [0; 256];
        if stream.write_all(self.says).await.is_ok() && stream.flush().await.is_ok() {
            self.held.one();
            while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
        }
    }
}
