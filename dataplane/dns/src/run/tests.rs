//! A whole responder against an agent.

mod harness;
mod secondary;

use std::time::Duration;

use hanse_dns_wire::{Question, RecordType, ResponseCode, Transport, absolute, ask, ask::Answered};
use hanse_proto::{places::Place, runtime, sync::Health};
use hanse_topology::Name;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use self::harness::*;
use crate::testbed::{host, host_entry, zone, zone_entry};

const ORDERS: &str = "orders.gslb.example.com";

/// The first address of a host, or the code.
async fn first(server: SocketAddr, name: &str, transport: Transport) -> String {
    let request = Question::new(absolute(name).unwrap(), RecordType::A).request(None, 0);
    match ask(server, &request, transport, SOON).await {
        Ok(Answered { reply, transport: came, .. }) => {
            assert_eq!(came == Transport::Tcp, transport == Transport::Tcp);
            let first = reply.answers.first().map(|record| record.data.to_string());
            first.unwrap_or_else(|| format!("{:?}", reply.code))
        }
        Err(error) => error.to_string(),
    }
}

fn content(address: &str) -> Vec<(std::sync::Arc<str>, bytes::Bytes)> {
    vec![zone_entry(zone("gslb.example.com")), host_entry(host(ORDERS, &[("eu-west", &[address])]))]
}

#[tokio::test]
async fn a_responder_joins_answers_follows_and_goes_on_alone() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    let (dns, admin) = (config.listen.dns[0].parse().unwrap(), config.listen.admin.clone());
    let running = start(&config);

    until(&admin, "/livez", 200).await;
    eventually("it has joined", async || get(&admin, "/readyz").await.1.contains("dns/eu-west is missing"))
        .await;
    assert_eq!(first(dns, ORDERS, Transport::Udp).await, "ServFail");

    agent.publish(3, content("192.0.2.3"));
    eventually("revision 3 is acknowledged", async || agent.acknowledged() == Some(3)).await;
    until(&admin, "/readyz", 200).await;
    for transport in [Transport::Udp, Transport::Tcp] {
        assert_eq!(first(dns, ORDERS, transport).await, "192.0.2.3", "acknowledged means answered");
        assert_eq!(first(dns, "www.example.org", transport).await, "Refused");
    }
    let bad = vec![(std::sync::Arc::from("host/bad"), bytes::Bytes::from_static(b"\xff"))];
    agent.publish(4, [content("192.0.2.4"), bad].concat());
    eventually("revision 4 is acknowledged", async || agent.acknowledged() == Some(4)).await;
    assert_eq!(first(dns, ORDERS, Transport::Udp).await, "192.0.2.4");
    assert_eq!(agent.quarantined(), ["host/bad"]);

    let (status, page) = get(&admin, &format!("/ask?name={ORDERS}&as=10.1.2.3&draw=7")).await;
    let page: crate::Explained = serde_json::from_str(&page).unwrap();
    assert_eq!((status, page.addresses[0].to_string(), page.draw), (200, "192.0.2.4".to_owned(), 7));
    for (query, status, why) in [
        ("name=www.example.org&as=10.1.2.3", 404, "in no zone"),
        ("name=a..b&as=10.1.2.3", 400, "name: "),
        (&*format!("name={ORDERS}&as=here"), 400, "as: "),
        ("name=a", 400, "missing field `as`"),
    ] {
        let (found, page) = get(&admin, &format!("/ask?{query}")).await;
        assert!(found == status && page.contains(why), "{query}: {found} {page}");
    }

    let shown: serde_json::Value = serde_json::from_str(&until(&admin, "/config", 200).await).unwrap();
    assert_eq!(shown["identity"], "dns-1.dns.eu-west.hanse.internal");
    assert_eq!(
        (&shown["scopes"][0]["scope"], &shown["scopes"][0]["hosts"]),
        (&"dns/eu-west".into(), &1.into())
    );
    eventually("the agent hears of the zones", async || agent.zones() == [("gslb".to_owned(), 41)]).await;
    let metrics = until(&admin, "/metrics", 200).await;
    assert!(
        metrics.contains("hanse_dns_queries_total{transport=\"tcp\",outcome=\"refused\"} 1"),
        "{metrics}"
    );

    // Without its agent it goes on, and starts again from its disk.
    eventually("revision 4 is on disk", async || agent.durable() == Some(4)).await;
    agent.trigger.trigger();
    eventually("the loss is noticed", async || {
        let shown: serde_json::Value = serde_json::from_str(&until(&admin, "/config", 200).await).unwrap();
        shown["agent"]["connectedTo"].is_null()
    })
    .await;
    assert_eq!(first(dns, ORDERS, Transport::Udp).await, "192.0.2.4");
    stop(running).await;
    let running = start(&config);
    until(&admin, "/readyz", 200).await;
    assert_eq!(first(dns, ORDERS, Transport::Udp).await, "192.0.2.4");
    assert_eq!(first(dns, ORDERS, Transport::Tcp).await, "192.0.2.4");
    stop(running).await;
}

/// The words of a region's agents, as a control node's and an agent's memory makes them.
fn place(region: &str, health: Health, address: &str) -> Place {
    Place {
        region: Name::new(region).unwrap(),
        environment: Name::new("production").unwrap(),
        health,
        age: Duration::ZERO,
        addresses: vec![address.parse().unwrap()],
        tunnels: Vec::new(),
        left_out: 0,
    }
}

#[tokio::test]
async fn advertised_addresses_answer_where_none_are_committed_and_health_moves_answers() {
    let agent = Agent::start().await;
    let mut orders = host(ORDERS, &[("eu-west", &[]), ("us-east", &[])]);
    let order = vec!["eu-west".to_owned(), "us-east".to_owned()];
    let failover = runtime::step::Step::Failover(runtime::Regions { names: order });
    orders.steps = vec![runtime::Step { step: Some(failover) }];
    agent.publish(3, vec![zone_entry(zone("gslb.example.com")), host_entry(orders)]);
    let tell = |health, address| {
        let rows = [place("eu-west", health, address), place("us-east", Health::Up, "192.0.2.20")];
        agent.places.take_own(rows, std::time::Instant::now());
    };
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    let (dns, admin) = (config.listen.dns[0].parse().unwrap(), config.listen.admin.clone());
    let running = start(&config);
    until(&admin, "/readyz", 200).await;
    assert_eq!(first(dns, ORDERS, Transport::Udp).await, "ServFail", "no address is known");

    tell(Health::Up, "192.0.2.10");
    eventually("an advertised address answers", async || {
        first(dns, ORDERS, Transport::Udp).await == "192.0.2.10"
    })
    .await;
    tell(Health::Down, "192.0.2.11");
    eventually("answers move", async || first(dns, ORDERS, Transport::Udp).await == "192.0.2.20").await;
    // The word on health counts for 15 s, and the page may come later.
    eventually("the page shows age and health", async || {
        tell(Health::Down, "192.0.2.11");
        let (_, page) = get(&admin, &format!("/ask?name={ORDERS}&as=10.1.2.3")).await;
        page.contains("eu-west reported down") && page.contains(" ms ago") && page.contains("advertises 1")
    })
    .await;
    let (_, page) = get(&admin, "/places").await;
    let shown: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(shown[0]["region"], "eu-west");
    assert_eq!(shown[0]["addresses"], serde_json::json!(["192.0.2.11"]));

    // Another process knows addresses, and no health, so the first region in order answers.
    eventually("revision 3 is on disk", async || agent.durable() == Some(3)).await;
    agent.trigger.trigger();
    stop(running).await;
    let running = start(&config);
    until(&admin, "/readyz", 200).await;
    // What it was told first was on its disk at once; the rest would have followed within a minute.
    assert_eq!(first(dns, ORDERS, Transport::Udp).await, "192.0.2.10");
    assert!(get(&admin, "/places").await.1.contains("\"health\":\"unknown\""));
    stop(running).await;
}

#[tokio::test]
async fn queries_on_one_connection_are_answered_in_order() {
    let agent = Agent::start().await;
    agent.publish(3, content("192.0.2.3"));
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    let running = start(&config);
    until(&config.listen.admin, "/readyz", 200).await;

    let mut stream = TcpStream::connect(&config.listen.dns[0]).await.unwrap();
    let names = [ORDERS, "x.gslb.example.com", ORDERS];
    let requests = names.map(|name| Question::new(absolute(name).unwrap(), RecordType::A).request(None, 0));
    let mut sent = Vec::new();
    for request in &requests {
        sent.extend(u16::try_from(request.message().len()).unwrap().to_be_bytes());
        sent.extend(request.message());
    }
    // In pieces that end in the middle of a length and of a message.
    for piece in [&sent[..1], &sent[1..40], &sent[40..]] {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut codes = Vec::new();
    for request in &requests {
        let answer = async {
            let mut message = vec![0; stream.read_u16().await?.into()];
            stream.read_exact(&mut message).await?;
            std::io::Result::Ok(message)
        };
        let message = tokio::time::timeout(SOON, answer).await.unwrap().unwrap();
        codes.push(request.read(&message, 0).unwrap().code);
    }
    assert_eq!(codes, [ResponseCode::NoError, ResponseCode::NXDomain, ResponseCode::NoError]);
    // What is no query ends the connection.
    stream.write_all(&[0, 3, 1, 2, 3]).await.unwrap();
    let ended = tokio::time::timeout(SOON, stream.read_u16()).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    stop(running).await;
}

#[tokio::test]
async fn the_end_of_any_serving_thread_ends_the_responder() {
    let (_goes_on, first) = tokio::sync::oneshot::channel();
    let (end, second) = tokio::sync::oneshot::channel();
    let answering = super::Answering { threads: vec![first, second] };
    end.send(Err(std::io::Error::other("no descriptor"))).unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), answering.ended());
    let error = ended.await.expect("the first thread is not waited for").unwrap_err();
    assert!(matches!(error, crate::Error::Serving(_)), "{error}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    let _taken = tokio::net::UdpSocket::bind(&config.listen.dns[0]).await.unwrap();
    let (_trigger, running) = start(&config);
    let error = tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen on {} (listen.dns)", config.listen.dns[0]));
}

/// What dig of bind9-dnsutils prints, line by line.
#[cfg(feature = "tools")]
async fn dig(server: SocketAddr, arguments: &[&str]) -> Vec<String> {
    let mut dig = tokio::process::Command::new("dig");
    dig.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string(), "+time=5", "+tries=2"]);
    let output = tokio::time::timeout(SOON, dig.args(arguments).output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[cfg(feature = "tools")]
#[tokio::test]
async fn dig_gets_answers() {
    let agent = Agent::start().await;
    agent.publish(3, content("192.0.2.3"));
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    let dns = config.listen.dns[0].parse().unwrap();
    let running = start(&config);
    until(&config.listen.admin, "/readyz", 200).await;
    for (arguments, expected) in [
        (&["+short", ORDERS][..], &["192.0.2.3"][..]),
        (&["+short", "+tcp", "ORDERS.gslb.example.com"], &["192.0.2.3"]),
        (&["+short", "+subnet=198.51.100.0/24", ORDERS], &["192.0.2.3"]),
        (&["+short", "gslb.example.com", "NS"], &["ns1.gslb.example.com.", "ns.other.example."]),
        (&["+short", ORDERS, "AAAA"], &[]),
        (&["+short", ORDERS, "ANY"], &["\"RFC8482\" \"\""]),
    ] {
        assert_eq!(dig(dns, arguments).await, expected, "{arguments:?}");
    }
    let whole = dig(dns, &["www.example.org"]).await.join("\n");
    assert!(whole.contains("status: REFUSED"), "{whole}");
    let whole = dig(dns, &["nothing.gslb.example.com"]).await.join("\n");
    assert!(whole.contains("status: NXDOMAIN") && whole.contains("flags: qr aa rd"), "{whole}");
    assert!(whole.contains("COOKIE") && whole.contains("(good)"), "{whole}");
    stop(running).await;
}
