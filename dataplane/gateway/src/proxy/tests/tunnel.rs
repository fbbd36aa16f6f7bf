//! An entry and an exit, on real sockets and with mutual TLS between them.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use hanse_identity::{LiveTrust, Refused, Tunnels as Ends};
use hanse_proto::runtime;
use hanse_topology::Name;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use super::harness::*;
use crate::{
    testbed::*,
    tunnel::{Direction, Outcome, Peers, Tunnels},
};

const GET: &str = "GET /a/x?q=1";

/// A gateway of `eu-west` that tunnels to one of `us-east`.
struct Pair {
    entry: Gateway,
    exit: Gateway,
    peers: Peers,
    entry_ends: Ends,
    exit_trust: LiveTrust,
    log: Log,
}

/// One Api whose callers show a key, and may send two requests a minute.
fn limited(url: &str) -> Resources {
    let mut own = route("a", "/a", &["GET /{p}", "POST /{p}"]);
    own.policies.push(runtime::Policy {
        request_headers: Some(adds("x-policy")),
        response_headers: Some(adds("x-answered")),
        ..Default::default()
    });
    vec![
        peered_listener("production", &["eu-west"]),
        route_entry(with_key_or_query(own, "key")),
        upstream_entry("a", upstream(&[url])),
        plan("free", 60, 2),
        credential("one", "shop", "key-one", 0),
        subscription("shop-a", "shop", "a", "free"),
    ]
}

fn adds(name: &str) -> runtime::HeaderRules {
    let header = runtime::Header { name: name.to_owned(), value: "1".to_owned() };
    runtime::HeaderRules { add: vec![header], ..Default::default() }
}

impl Pair {
    /// Leaves of the entry and of the exit name these environments.
    fn start(url: &str, environments: [&[&str]; 2], max_requests: usize) -> Self {
        let federation = TwoRegions::new();
        let own = |region, environments| watch::channel(Some(federation.credentials(region, environments))).1;
        let exit_trust = federation.trust();
        let exit_ends = Ends::new(own("us-east", environments[1]), exit_trust.clone());
        let entry_ends = Ends::new(own("eu-west", environments[0]), federation.trust());
        let exit = Gateway::with(
            Setup {
                tunnels: Tunnels::new(Peers::default(), 1_024),
                tunnel: Some(exit_ends.server().unwrap()),
                ..Default::default()
            },
            limited(url),
        );
        let (peers, log) = (Peers::default(), Log::default());
        let setup = Setup { tunnels: Tunnels::new(peers.clone(), max_requests), ..log.setup() };
        // The entry's own upstream is nowhere: only the exit can answer.
        let entry = Gateway::with(setup, limited("http://127.0.0.1:9"));
        entry.change(vec![shift("", &["us-east"], 5)]);
        let pair = Self { entry, exit, peers, entry_ends, exit_trust, log };
        pair.reach(&[&pair.exit.tunnel.unwrap().to_string()]);
        pair
    }

    /// The entry knows these addresses in `us-east`.
    fn reach(&self, addresses: &[&str]) {
        let addresses: Vec<String> = addresses.iter().map(|&text| text.to_owned()).collect();
        self.peers.set(&in_us_east(&addresses), &self.entry_ends, &self.entry.endpoints).unwrap();
    }

    async fn get(&self) -> Answer {
        self.entry.call(request(GET, &[("x-api-key", "key-one")], "")).await
    }

    /// Requests that came to that.
    fn counted(gateway: &Gateway, direction: Direction, region: &str, outcome: Outcome) -> u64 {
        let counts = gateway.metrics.tunnelled_so_far();
        let key = (direction, Name::new(region).unwrap());
        counts.get(&key).map_or(0, |counts| counts[outcome as usize])
    }
}

const BOTH: [&[&str]; 2] = [&["production"], &["production"]];

#[tokio::test]
async fn a_request_is_authenticated_at_the_entry_and_served_as_the_client_sent_it() {
    let upstream = Upstream::start().await;
    let pair = Pair::start(&upstream.url(), BOTH, 16);
    assert_eq!(pair.entry.get(GET).await.problem(), "key-missing");
    let headers =
        [("x-api-key", "key-one"), ("hanse-tunnel", "environment=other;route=x"), ("te", "trailers")];
    let answer = pair.entry.call(request("POST /a/x?q=1", &headers, "body")).await;
    assert_eq!(answer.header("x-answered"), "1", "policies once: {answer:?}");
    let seen = answer.seen();
    assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.body.as_str()), ("POST", "/x?q=1", "body"));
    for (name, wanted) in [
        ("x-api-key", ""),
        ("hanse-tunnel", ""),
        ("x-policy", "1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1, 127.0.0.1"),
        ("x-forwarded-host", "gateway.example:8080"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-prefix", "/a"),
    ] {
        assert_eq!(seen.header(name), wanted, "{name}");
    }
    // The plan counts at the entry alone: the second passes both gateways, the third neither.
    assert_eq!(pair.get().await.status, 200);
    assert_eq!(pair.get().await.problem(), "over-plan");
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 2);

    eventually("both are counted", async || {
        Pair::counted(&pair.entry, Direction::Out, "us-east", Outcome::Answered) == 2
            && Pair::counted(&pair.exit, Direction::In, "eu-west", Outcome::Answered) == 2
    })
    .await;
    eventually("the access log has all", async || pair.log.lines().len() == 4).await;
    let sent = pair.log.lines().into_iter().find(|line| line["status"] == 200).unwrap();
    assert_eq!((&sent["tunnel_to"], &sent["application"]), (&"us-east".into(), &"shop".into()));
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let upstream = Upstream::start().await;
    let pair = Pair::start(&upstream.url(), BOTH, 16);
    let answer =
        pair.entry.call(request("GET /a/trailers", &[("x-api-key", "key-one"), ("te", "trailers")], ""));
    assert_eq!(answer.await.trailers.unwrap()["x-sum"], "42");
    let mut stream = TcpStream::connect(pair.entry.http).await.unwrap();
    let head = "GET /a/silent HTTP/1.1\r\nhost: a\r\nx-api-key: key-one\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut got, mut room) = (Vec::new(), [0; 1_024]);
    eventually("the part that is there comes before the end", async || {
        let read = stream.read(&mut room).await.unwrap();
        got.extend_from_slice(&room[..read]);
        got.windows(5).any(|window| window == b"first")
    })
    .await;
}

#[tokio::test]
async fn where_no_exit_can_be_reached_the_entry_serves_nothing_itself() {
    let upstream = Upstream::start().await;
    let pair = Pair::start(&upstream.url(), BOTH, 16);
    pair.entry.change(vec![upstream_entry("a", crate::testbed::upstream(&[&upstream.url()]))]);
    for addresses in [&["127.0.0.1:9"][..], &[]] {
        pair.reach(addresses);
        let answer = pair.get().await;
        assert_eq!((answer.problem().as_str(), answer.header("retry-after")), ("tunnel-unreachable", "1"));
    }
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 0);
    eventually("both are counted", async || {
        Pair::counted(&pair.entry, Direction::Out, "us-east", Outcome::Unreachable) == 2
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_down_costs_a_request_no_failure_and_names_are_looked_up() {
    let upstream = Upstream::start().await;
    let pair = Pair::start(&upstream.url(), BOTH, 16);
    let port = pair.exit.tunnel.unwrap().port();
    pair.reach(&["127.0.0.1:9", &format!("localhost:{port}")]);
    assert_eq!([pair.get().await.status, pair.get().await.status], [200, 200]);
}

#[tokio::test]
async fn both_sides_must_serve_the_environment() {
    let upstream = Upstream::start().await;
    for (environments, wanted) in [
        ([&["production"][..], &["sandbox"]], "tunnel-unreachable"),
        ([&["sandbox"], &["production"]], "tunnel-refused"),
        ([&["production"], &[]], "tunnel-unreachable"),
    ] {
        let pair = Pair::start(&upstream.url(), environments, 16);
        assert_eq!(pair.get().await.problem(), wanted, "{environments:?}");
    }
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn only_gateways_with_a_leaf_come_in() {
    let upstream = Upstream::start().await;
    let pair = Pair::start(&upstream.url(), BOTH, 16);
    let none = Ends::new(watch::channel(None).1, TwoRegions::new().trust());
    let stranger = TwoRegions::new().ends("eu-west", &["production"]);
    for ends in [none, stranger] {
        let peers = Peers::default();
        let setup = Setup { tunnels: Tunnels::new(peers.clone(), 16), ..Default::default() };
        let entry = Gateway::with(setup, limited("http://127.0.0.1:9"));
        entry.change(vec![shift("", &["us-east"], 5)]);
        let exit = pair.exit.tunnel.unwrap().to_string();
        peers.set(&in_us_east(&[exit]), &ends, &entry.endpoints).unwrap();
        let answer = entry.call(request(GET, &[("x-api-key", "key-one")], "")).await;
        assert_eq!(answer.problem(), "tunnel-unreachable");
    }
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_exit_that_does_not_serve_either_refuses() {
    let upstream = Upstream::start().await;
    let pair = Pair::start(&upstream.url(), BOTH, 16);
    pair.exit.change(vec![shift("", &["eu-west"], 4)]);
    assert_eq!(pair.get().await.status, 200, "it does not know the entry's decision yet");
    pair.exit.change(vec![shift("", &["eu-west"], 6)]);
    assert_eq!(pair.get().await.problem(), "tunnel-refused");
    eventually("it is counted", async || {
        Pair::counted(&pair.exit, Direction::In, "eu-west", Outcome::Refused) == 1
    })
    .await;
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn more_than_the_budget_is_refused() {
    let upstream = Upstream::start().await;
    let pair = Pair::start(&upstream.url(), BOTH, 1);
    let mut stream = TcpStream::connect(pair.entry.http).await.unwrap();
    let head = "GET /a/silent HTTP/1.1\r\nhost: a\r\nx-api-key: key-one\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 8]).await.unwrap(); // the answer has begun, and goes on
    let answer = pair.get().await;
    assert_eq!((answer.problem().as_str(), answer.header("retry-after")), ("tunnel-full", "1"));
}

#[tokio::test]
async fn a_revoked_entry_loses_the_connections_that_it_has() {
    let upstream = Upstream::start().await;
    let pair = Pair::start(&upstream.url(), BOTH, 16);
    let mut stream = TcpStream::connect(pair.entry.http).await.unwrap();
    let head = "GET /a/silent HTTP/1.1\r\nhost: a\r\nx-api-key: key-one\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 8]).await.unwrap();
    let entry = "g-1.gateway.eu-west.hanse.internal".parse().unwrap();
    pair.exit_trust.refuse(Refused::from(BTreeSet::from([entry])));
    let mut rest = Vec::new();
    // Without it the answer would go on for as long as the upstream may be silent: 300 s.
    let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
    ended.expect("the answer is cut").ok();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it is cut, and has no end");
    assert_ne!(pair.get().await.status, 200);
    assert_eq!(upstream.requests.load(Ordering::SeqCst), 1);
}
