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
    // It reads what has been checked already: a request's own check is that of a first message.
    let unsigned = Question::new(absolute(ORIGIN).unwrap(), record_type).request(None, 0);
    let mut stream = TcpStream::connect(server).await.unwrap();
    send(&mut stream, request.message()).await.unwrap();
    let mut records: Vec<Record> = Vec::new();
    loop {
        let mut message = tokio::time::timeout(SOON, receive(&mut stream)).await.unwrap().unwrap();
        expected.check(&message, unix_now()).unwrap();
        message[..2].copy_from_slice(&unsigned.message()[..2]);
        let reply = unsigned.read(&message, 0).unwrap();
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

/// A zone that is too long for what sockets keep.
fn long(secondary: SocketAddr) -> Vec<(std::sync::Arc<str>, bytes::Bytes)> {
    let hosts = (0..512).map(|nth| {
        let addresses: Vec<String> =
            (0..64).map(|last| format!("10.{}.{}.{last}", nth >> 8, nth & 255)).collect();
        let regions: Vec<(String, Vec<&str>)> = addresses
            .chunks(8)
            .enumerate()
            .map(|(at, chunk)| (format!("region-{at}"), chunk.iter().map(String::as_str).collect()))
            .collect();
        let regions: Vec<(&str, &[&str])> =
            regions.iter().map(|(name, chunk)| (name.as_str(), chunk.as_slice())).collect();
        let label = "a".repeat(50);
        host_entry(host(&format!("host-{nth}-{label}.{ORIGIN}"), &regions))
    });
    content(41, "192.0.2.3", &[secondary]).into_iter().chain(hosts).collect()
}

#[tokio::test]
async fn a_transfer_that_is_cut_ends_and_the_next_one_is_whole() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = with_key(&agent, dir.path());
    let dns: SocketAddr = config.listen.dns[0].parse().unwrap();
    agent.publish(3, long("127.0.0.1:9".parse().unwrap()));
    let running = start(&config);
    until(&config.listen.admin, "/readyz", 200).await;
    let good = key("to-bind", &SECRET);
    let request = Question::new(absolute(ORIGIN).unwrap(), RecordType::AXFR).request(Some(&good), unix_now());
    // A socket with a small window, so that the transfer is under way when it is cut.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(dns).await.unwrap();
    send(&mut stream, request.message()).await.unwrap();
    receive(&mut stream).await.unwrap();
    let metrics = async || until(&config.listen.admin, "/metrics", 200).await;
    eventually("it is under way", async || metrics().await.contains("hanse_dns_transfers 1")).await;
    drop(stream);
    eventually("it has ended", async || {
        let metrics = metrics().await;
        metrics.contains("hanse_dns_transfers 0") && metrics.contains("hanse_dns_broken_transfers_total 1")
    })
    .await;
    let records = transfer(dns, RecordType::AXFR, &good).await.unwrap();
    assert_eq!(records.len(), 2 + 2 + 2 + 1 + 512 * 64);
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

/// named of Debian's bind9 on loopback, ended with the value.
#[cfg(feature = "tools")]
struct Named {
    address: SocketAddr,
    _process: tokio::process::Child,
}

#[cfg(feature = "tools")]
impl Named {
    /// A secondary of the zone at this port, with this primary.
    fn start(dir: &std::path::Path, address: SocketAddr, primary: SocketAddr, secret: &[u8]) -> Self {
        let (path, secret) = (dir.display(), STANDARD.encode(secret));
        let configuration = format!(
            r#"options {{ directory "{path}"; pid-file "{path}/pid"; session-keyfile "{path}/session"; recursion no;
  listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; dnssec-validation no; }};
controls {{ }};
key "to-bind" {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "{ORIGIN}" {{ type secondary; file "zone"; notify no; allow-notify {{ key "to-bind"; }};
  primaries {{ {} port {} key "to-bind"; }}; }};"#,
            address.port(),
            primary.ip(),
            primary.port()
        );
        let file = dir.join("named.conf");
        std::fs::write(&file, configuration).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut command = tokio::process::Command::new("/usr/sbin/named");
        command.args(["-f", "-g", "-c"]).arg(&file).stderr(log).kill_on_drop(true);
        Self { address, _process: command.spawn().expect("named can be started") }
    }

    /// The records of a name, in one line; or the code.
    async fn has(&self, name: &str, record_type: RecordType) -> String {
        let question = Question::new(absolute(name).unwrap(), record_type).request(None, 0);
        match ask(self.address, &question, Transport::Tcp, SOON).await {
            Ok(answered) if answered.reply.answers.is_empty() => format!("{:?}", answered.reply.code),
            Ok(answered) => {
                let data = answered.reply.answers.iter().map(|record| record.data.to_string());
                let mut data: Vec<String> = data.collect(); // named changes their order
                data.sort();
                data.join(" ")
            }
            Err(error) => error.to_string(),
        }
    }
}

#[cfg(feature = "tools")]
#[tokio::test]
async fn named_as_a_secondary_has_each_change_at_once() {
    const ORDERS: &str = "orders.gslb.example.com";
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = with_key(&agent, dir.path());
    let dns: SocketAddr = config.listen.dns[0].parse().unwrap();
    let free = sockets::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let address = free[0].udp.local_addr().unwrap();
    drop(free);
    agent.publish(3, content(41, "192.0.2.3", &[address]));
    let running = start(&config);
    until(&config.listen.admin, "/readyz", 200).await;

    let home = tempfile::tempdir().unwrap();
    let named = Named::start(home.path(), address, dns, &SECRET);
    eventually("named has the zone", async || named.has(ORDERS, RecordType::A).await == "192.0.2.3").await;
    assert_eq!(named.has(ORIGIN, RecordType::NS).await, "ns.other.example. ns1.gslb.example.com.");
    assert_eq!(named.has("ns1.gslb.example.com", RecordType::AAAA).await, "2001:db8::53");
    assert_eq!(named.has("nothing.gslb.example.com", RecordType::A).await, "NXDomain");
    // The SOA says to look again after 5 minutes: only a NOTIFY brings this within the wait.
    agent.publish(4, content(42, "192.0.2.4", &[address]));
    eventually("named has the change", async || named.has(ORDERS, RecordType::A).await == "192.0.2.4").await;
    let metrics = async || until(&config.listen.admin, "/metrics", 200).await;
    eventually("the secondary took note", async || !metrics().await.contains("hanse_dns_notified_total 0"))
        .await;
    // Without the agent, and then without the responder, the zone is answered for.
    agent.trigger.trigger();
    assert_eq!(named.has(ORDERS, RecordType::A).await, "192.0.2.4");
    stop(running).await;
    assert_eq!(named.has(ORDERS, RecordType::A).await, "192.0.2.4");
}

#[cfg(feature = "tools")]
#[tokio::test]
async fn named_with_another_secret_gets_nothing() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = with_key(&agent, dir.path());
    let dns: SocketAddr = config.listen.dns[0].parse().unwrap();
    let free = sockets::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let address = free[0].udp.local_addr().unwrap();
    drop(free);
    agent.publish(3, content(41, "192.0.2.3", &[address]));
    let running = start(&config);
    until(&config.listen.admin, "/readyz", 200).await;
    let home = tempfile::tempdir().unwrap();
    let named = Named::start(home.path(), address, dns, &[8; 32]);
    eventually("named was refused", async || {
        let log = std::fs::read_to_string(home.path().join("log")).unwrap();
        log.contains("tsig indicates error")
    })
    .await;
    assert_eq!(named.has("orders.gslb.example.com", RecordType::A).await, "ServFail");
    stop(running).await;
}

/// What a program prints that asks the responder.
#[cfg(feature = "tools")]
async fn printed(program: &str, server: SocketAddr, arguments: &str) -> String {
    let mut command = tokio::process::Command::new(program);
    command.args([format!("@{}", server.ip()), "-p".to_owned(), server.port().to_string()]);
    let output = command.args(arguments.split(' ')).output();
    let output = tokio::time::timeout(SOON, output).await.unwrap().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[cfg(feature = "tools")]
#[tokio::test]
async fn dig_and_kdig_transfer_with_the_key_alone() {
    let agent = Agent::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = with_key(&agent, dir.path());
    let dns: SocketAddr = config.listen.dns[0].parse().unwrap();
    agent.publish(3, content(41, "192.0.2.3", &["127.0.0.1:9".parse().unwrap()]));
    let running = start(&config);
    until(&config.listen.admin, "/readyz", 200).await;
    let good = format!("-y hmac-sha256:to-bind:{}", STANDARD.encode(SECRET));
    let wrong = format!("-y hmac-sha256:to-bind:{}", STANDARD.encode([8; 32]));
    for (program, arguments, expected) in [
        ("dig", format!("{good} {ORIGIN} AXFR"), "XFR size: 7 records"),
        ("dig", format!("{good} {ORIGIN} IXFR=40"), "XFR size: 7 records"),
        ("dig", format!("{good} {ORIGIN} IXFR=41"), "XFR size: 1 records"),
        ("dig", format!("{wrong} {ORIGIN} AXFR"), "tsig indicates error"),
        ("dig", format!("{ORIGIN} AXFR"), "Transfer failed"),
        ("dig", format!("{good} orders.{ORIGIN} A +subnet=198.51.100.0/24"), "TSIG\thmac-sha256."),
        ("dig", format!("{good} orders.{ORIGIN} A +tcp +bufsize=512"), "(TCP)"),
        ("kdig", format!("{good} {ORIGIN} AXFR"), "7 records"),
        (
            "kdig",
            format!("{good} orders.{ORIGIN} A +subnet=198.51.100.0/24"),
            "CLIENT-SUBNET: 198.51.100.0/24/0",
        ),
        ("kdig", format!("orders.{ORIGIN} A +tcp +bufsize=4096"), "192.0.2.3"),
        ("kdig", format!("{wrong} orders.{ORIGIN} A"), "BADSIG"),
    ] {
        let text = printed(program, dns, &arguments).await;
        assert!(text.contains(expected), "{program} {arguments}: no {expected:?} in\n{text}");
    }
    stop(running).await;
}
