//! A responder and the secondaries of its zone.

use std::os::unix::fs::PermissionsExt as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hanse_dns_wire::{
    Question, Record, RecordType, ResponseCode, Transport, absolute, ask,
    ask::{receive, send},
    tsig::Key,
};
use hanse_proto::runtime;
use tokio::net::TcpStream;

use super::harness::*;
use crate::{
    config::TsigKey,
    testbed::{host, host_entry, zone, zone_entry},
    worker::unix_now,
};

pub(super) const ORIGIN: &str = "gslb.example.com";
const SECRET: [u8; 32] = [7; 32];

pub(super) fn key(name: &str, secret: &[u8]) -> Key {
    Key::new(absolute(name).unwrap(), secret).unwrap()
}

/// The configuration of a responder that has the key `to-bind`.
pub(super) fn with_key(agent: &Agent, dir: &std::path::Path) -> Config {
    let secret_file = dir.join("to-bind.key");
    std::fs::write(&secret_file, STANDARD.encode(SECRET)).unwrap();
    std::fs::set_permissions(&secret_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    Config { tsig: vec![TsigKey { name: "to-bind".to_owned(), secret_file }], ..agent.config(dir) }
}

/// The zone at this serial with a host at this address, and these secondaries with the key `to-bind`.
pub(super) fn content(
    serial: u32,
    address: &str,
    secondaries: &[SocketAddr],
) -> Vec<(std::sync::Arc<str>, bytes::Bytes)> {
    let secondary =
        |address: &SocketAddr| runtime::Secondary { address: address.to_string(), key: "to-bind".to_owned() };
    let zone =
        runtime::Zone { serial, secondaries: secondaries.iter().map(secondary).collect(), ..zone(ORIGIN) };
    vec![zone_entry(zone), host_entry(host("orders.gslb.example.com", &[("eu-west", &[address])]))]
}

/// The records of a transfer, or the code of its first message.
async fn transfer(
    server: SocketAddr,
    record_type: RecordType,
    key: &Key,
) -> Result<Vec<Record>, ResponseCode> {
    let request = Question::new(absolute(ORIGIN).unwrap(), record_type).request(Some(key), unix_now());
    let mut expected = request.expected().unwrap();
    let mut stream = TcpStream::connect(server).await.unwrap();
    send(&mut stream, request.message()).await.unwrap();
    let mut records: Vec<Record> = Vec::new();
    loop {
        let message = tokio::time::timeout(SOON, receive(&mut stream)).await.unwrap().unwrap();
        expected.check(&message, unix_now()).unwrap();
        let reply = request.read(&message, unix_now()).unwrap();
        if reply.code != ResponseCode::NoError {
            return Err(reply.code);
        }
        records.extend(reply.answers);
        if records.len() > 1 && records.last().unwrap().record_type() == RecordType::SOA {
            return Ok(records);
        }
    }
}

#[tokio::test]
async fn a_secondary_with_the_key_gets_the_zone() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = with_key(&agent, dir.path());
    let dns: SocketAddr = config.listen.dns[0].parse().unwrap();
    agent.publish(3, content(41, "192.0.2.3", &["127.0.0.1:9".parse().unwrap()]));
    let running = start(&config);
    until(&config.listen.admin, "/readyz", 200).await;

    let good = key("to-bind", &SECRET);
    let records = transfer(dns, RecordType::AXFR, &good).await.unwrap();
    let types: Vec<String> = records.iter().map(|record| record.record_type().to_string()).collect();
    assert_eq!(types, ["SOA", "NS", "NS", "A", "A", "AAAA", "SOA"]);
    // An answer to a signed question is signed.
    let question = Question::new(absolute("orders.gslb.example.com").unwrap(), RecordType::A);
    let reply =
        ask(dns, &question.request(Some(&good), unix_now()), Transport::Udp, SOON).await.unwrap().reply;
    assert_eq!(reply.answers[0].data.to_string(), "192.0.2.3");
    // An open question for the zone, another secret, and another time.
    let open = Question::new(absolute(ORIGIN).unwrap(), RecordType::AXFR);
    let reply = ask(dns, &open.request(None, 0), Transport::Tcp, SOON).await.unwrap().reply;
    assert_eq!(reply.code, ResponseCode::Refused);
    for (key, time, why) in [
        (key("to-bind", &[8; 32]), unix_now(), "BADSIG"),
        (key("to-knot", &SECRET), unix_now(), "BADKEY"),
        (good.clone(), unix_now() - 1_000, "BADTIME"),
    ] {
        let error = ask(dns, &open.request(Some(&key), time), Transport::Tcp, SOON).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(why), "{cause}");
    }
    // The key is no longer one of the zone's secondaries.
    agent.publish(4, content(42, "192.0.2.4", &[]));
    eventually("revision 4 is acknowledged", async || agent.acknowledged() == Some(4)).await;
    assert_eq!(transfer(dns, RecordType::AXFR, &good).await, Err(ResponseCode::Refused));
    let metrics = until(&config.listen.admin, "/metrics", 200).await;
    for line in [
        "hanse_dns_queries_total{transport=\"tcp\",outcome=\"transfer\"} 1",
        "hanse_dns_transfers 0",
        "hanse_dns_missing_keys 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    stop(running).await;
}

#[tokio::test]
async fn keys_that_are_missing_are_shown() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = agent.config(dir.path());
    agent.publish(3, content(41, "192.0.2.3", &["127.0.0.1:9".parse().unwrap()]));
    let running = start(&config);
    until(&config.listen.admin, "/readyz", 200).await;
    let shown: serde_json::Value =
        serde_json::from_str(&until(&config.listen.admin, "/config", 200).await).unwrap();
    assert_eq!(shown["scopes"][0]["missingKeys"], serde_json::json!(["to-bind"]));
    let metrics = until(&config.listen.admin, "/metrics", 200).await;
    assert!(metrics.contains("hanse_dns_missing_keys 1"), "{metrics}");
    eventually("the agent hears of it", async || agent.missing_keys() == ["to-bind"]).await;
    stop(running).await;
}
