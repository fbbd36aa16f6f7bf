//! Programs of others against this crate: dig, kdig and named of Debian's packages bind9-dnsutils, knot-dnsutils and bind9.
//!
//! `cargo test -p hanse-dns-wire --features tools`

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use hanse_dns_wire::{
    Change, Outcome, Prerequisite, Question, RData, Record, RecordType, ResponseCode, Transport, Update, ask,
    notify, rdata::TXT,
};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::server::{Server, Zone, a, key, name, now};

const KEY: &str = "hmac-sha256:to-bind:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const WRONG: &str = "hmac-sha256:to-bind:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY0";
const DEADLINE: Duration = Duration::from_secs(30);
/// A condition of named is looked at so often, for as long as the deadline.
const TURN: Duration = Duration::from_millis(50);
const TURNS: usize = 600;

/// Runs a program against the server. Its whole output has all of these texts.
async fn check(server: &Server, program: &str, arguments: &str, expected: &[&str]) {
    let (host, port) = (format!("@{}", server.address.ip()), server.address.port().to_string());
    let mut command = Command::new(program);
    command.args([&host, "-p", &port]).args(arguments.split(' ')).stdin(Stdio::null());
    let output = command.output().await.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for expected in expected {
        assert!(text.contains(expected), "{program} {arguments}: no {expected:?} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dig() {
    let server = Zone::new(5_000).serve().await;
    for (arguments, expected) in [
        (
            "OrDers.test A +norec",
            &["status: NOERROR", "flags: qr aa;", "OrDers.test.\t\t30\tIN\tA\t192.0.2.1", "(good)"][..],
        ),
        ("orders.test A +noedns", &["ANSWER: 2", "flags: qr aa rd;"]),
        ("orders.test AAAA", &["status: NOERROR", "ANSWER: 0", "AUTHORITY: 1", "test.\t\t\t30\tIN\tSOA"]),
        ("none.test A", &["status: NXDOMAIN", "test.\t\t\t30\tIN\tSOA"]),
        ("example.com A", &["status: REFUSED"]),
        ("orders.test ANY", &["HINFO\t\"RFC8482\" \"\""]),
        ("orders.test A +dnssec", &["flags: do; udp: 1232"]),
        ("near.test A +subnet=192.0.9.0/24", &["198.51.100.9", "CLIENT-SUBNET: 192.0.9.0/24/24"]),
        (
            "near.test A +subnet=2001:db8:0:107::/64",
            &["198.51.100.7", "CLIENT-SUBNET: 2001:db8:0:107::/64/64"],
        ),
        ("near.test A +subnet=0", &["CLIENT-SUBNET: 0.0.0.0/0/0"]),
        ("orders.test A +subnet=192.0.9.0/24", &["CLIENT-SUBNET: 192.0.9.0/24/0"]),
        ("near.test A +ednsopt=8:00011400c00018", &["status: FORMERR"]),
        ("orders.test A +edns=1 +noednsneg", &["status: BADVERS", "EDNS: version: 0"]),
        ("many.test A +ignore", &["flags: qr aa tc rd;", "ANSWER: 0"]),
        ("many.test A", &["Truncated, retrying in TCP mode", "ANSWER: 100", "(TCP)"]),
        ("many.test A +bufsize=4096 +ignore", &["flags: qr aa tc rd;"]),
        ("orders.test A +opcode=2", &["opcode: STATUS, status: NOTIMP"]),
        ("orders.test A +header-only +qr", &["status: FORMERR"]),
    ] {
        check(&server, "dig", arguments, expected).await;
    }
    check(
        &server,
        "dig",
        &format!("-y {KEY} orders.test A"),
        &["ANSWER: 2", "TSIG\thmac-sha256.", "NOERROR"],
    )
    .await;
    check(&server, "dig", &format!("-y {WRONG} orders.test A"), &["tsig indicates error", "status: NOTAUTH"])
        .await;
    check(&server, "dig", &format!("-y {KEY} test AXFR"), &["XFR size: 5106 records", "host-4999.test."])
        .await;
    check(&server, "dig", "test AXFR", &["Transfer failed"]).await;
    check(&server, "dig", &format!("-y {KEY} test IXFR=6"), &["XFR size: 5106 records"]).await;
    check(&server, "dig", &format!("-y {KEY} test IXFR=7"), &["XFR size: 1 records (messages 1,"]).await;
    let soa = "SOA\tns1.test. admin.test. 7";
    check(&server, "dig", &format!("-y {KEY} test IXFR=6 +notcp"), &[soa, "NOERROR", "(UDP)"]).await;
    // The refusal has the algorithm of the query, or dig would blame this server's signature.
    for wrong in [KEY.replace("sha256", "sha512"), KEY.replace("to-bind", "unknown")] {
        check(&server, "dig", &format!("-y {wrong} orders.test A"), &["tsig indicates error", "BADKEY"])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kdig() {
    let server = Zone::new(5_000).serve().await;
    for (arguments, expected) in [
        ("OrDers.test A", &["status: NOERROR", "Flags: qr aa rd;", "192.0.2.2"][..]),
        ("near.test A +subnet=192.0.9.0/24", &["198.51.100.9", "CLIENT-SUBNET: 192.0.9.0/24/24"]),
        ("orders.test A +edns=1", &["status: BADVERS"]),
        ("orders.test A +cookie=0102030405060708", &["COOKIE: 0102030405060708"]),
        ("orders.test A +cookie=010203040506070801000000000000000000000000000000", &["ANSWER: 2"]), // asks again
        ("many.test A", &["ANSWER: 100", "(TCP)"]),
        ("many.test A +bufsize=4096 +ignore", &["Flags: qr aa tc rd;", "ANSWER: 0"]),
        ("orders.test A +tcp +keepopen", &["ANSWER: 2"]),
    ] {
        check(&server, "kdig", arguments, expected).await;
    }
    check(&server, "kdig", &format!("-y {KEY} orders.test A"), &["ANSWER: 2", "TSIG"]).await;
    check(&server, "kdig", &format!("-y {WRONG} orders.test A"), &["BADSIG"]).await;
    check(&server, "kdig", &format!("-y {KEY} test AXFR"), &["5106 records", "host-4999.test."]).await;
}

/// named on loopback, ended with the value.
struct Named {
    address: SocketAddr,
    _process: Child,
    _directory: TempDir,
}

/// Starts it with these zones, and waits until it answers.
async fn named(zones: impl FnOnce(&Path) -> String) -> Named {
    let directory = TempDir::new().unwrap();
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let (path, port) = (directory.path().display(), address.port());
    let configuration = format!(
        r#"options {{ directory "{path}"; pid-file "{path}/pid"; session-keyfile "{path}/session"; recursion no;
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; dnssec-validation no; }};
controls {{ }};
key "to-bind" {{ algorithm hmac-sha256; secret "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="; }};
{}"#,
        zones(directory.path())
    );
    let file = directory.path().join("named.conf");
    std::fs::write(&file, configuration).unwrap();
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut command = Command::new("/usr/sbin/named");
    command.args(["-f", "-g", "-c"]).arg(&file).stderr(log).kill_on_drop(true);
    let process = command.spawn().expect("named can be started");
    for turn in 0.. {
        if TcpStream::connect(address).await.is_ok() {
            break;
        }
        assert!(turn < TURNS, "named does not listen at {address}");
        tokio::time::sleep(TURN).await;
    }
    Named { address, _process: process, _directory: directory }
}

async fn addresses(server: SocketAddr, owner: &str) -> Vec<String> {
    let question = Question::new(name(owner), RecordType::A).request(None, 0);
    let reply = ask(server, &question, Transport::Tcp, DEADLINE).await.unwrap().reply;
    reply.answers.iter().map(|record| record.data.to_string()).collect()
}

/// Waits until the server has this one address: it listens before it has its zones, and fetches those of a primary by itself.
async fn has(server: SocketAddr, owner: &str, address: &str) {
    for turn in 0.. {
        if addresses(server, owner).await == [address] {
            return;
        }
        assert!(turn < TURNS, "{owner} did not become {address}");
        tokio::time::sleep(TURN).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn named_as_the_target_of_updates() {
    let target = named(|directory| {
        let zone = "$TTL 30\n@ SOA ns1 admin 1 3600 600 86400 30\n@ NS ns1\nns1 A 127.0.0.1\n";
        std::fs::write(directory.join("zone"), zone).unwrap();
        r#"zone "example.test" { type primary; file "zone"; notify no; allow-update { key "to-bind"; }; };"#
            .to_owned()
    })
    .await;
    has(target.address, "ns1.example.test", "127.0.0.1").await;
    let (orders, holder) = (name("orders.example.test"), name("_hanse-epoch.orders.example.test"));
    let epoch = |text: &str| RData::TXT(TXT::new(vec![text.to_owned()]));
    let update = |before: Prerequisite, after: &str, address| Update {
        zone: name("example.test"),
        prerequisites: vec![before],
        changes: vec![
            Change::DeleteRrset(orders.clone(), RecordType::A),
            Change::Add(a("orders.example.test", address)),
            Change::DeleteRrset(holder.clone(), RecordType::TXT),
            Change::Add(Record::from_rdata(holder.clone(), 30, epoch(after))),
        ],
    };
    let send = async |update: Update, key| {
        let request = update.request(key, now()).unwrap();
        Outcome::of(&ask(target.address, &request, Transport::Tcp, DEADLINE).await.unwrap().reply)
    };
    let key = key();
    let absent = || Prerequisite::NoRrset { name: holder.clone(), record_type: RecordType::TXT };
    let exactly = |text| Prerequisite::RrsetIs { name: holder.clone(), values: vec![epoch(text)] };
    assert_eq!(
        send(update(absent(), "1 7", [192, 0, 2, 1]), None).await,
        Outcome::Error(ResponseCode::Refused)
    );
    assert_eq!(send(update(absent(), "1 7", [192, 0, 2, 1]), Some(&key)).await, Outcome::NoError);
    assert_eq!(send(update(absent(), "1 8", [192, 0, 2, 2]), Some(&key)).await, Outcome::YxRrset);
    assert_eq!(addresses(target.address, "orders.example.test").await, ["192.0.2.1"]);
    assert_eq!(send(update(exactly("1 7"), "1 8", [192, 0, 2, 2]), Some(&key)).await, Outcome::NoError);
    assert_eq!(send(update(exactly("1 7"), "1 9", [192, 0, 2, 3]), Some(&key)).await, Outcome::NxRrset);
    assert_eq!(addresses(target.address, "orders.example.test").await, ["192.0.2.2"]);
    let elsewhere = Update { zone: name("other.test"), ..update(exactly("1 8"), "1 9", [192, 0, 2, 3]) };
    assert_eq!(send(elsewhere, Some(&key)).await, Outcome::Error(ResponseCode::NotAuth));
}

#[tokio::test(flavor = "multi_thread")]
async fn named_as_a_secondary() {
    let primary = Zone::new(5_000);
    let mut soa = primary.soa.clone();
    let server = primary.serve().await;
    let (host, port) = (server.address.ip(), server.address.port());
    let secondary = named(|_| {
        format!(
            r#"zone "test" {{ type secondary; file "zone"; notify no; allow-notify {{ key "to-bind"; }};
  primaries {{ {host} port {port} key "to-bind"; }}; }};"#
        )
    })
    .await;
    has(secondary.address, "host-4999.test", "10.0.19.135").await;
    assert_eq!(addresses(secondary.address, "many.test").await.len(), 100);
    if let RData::SOA(data) = &mut soa.data {
        data.serial += 1;
    }
    let accepted =
        ask(secondary.address, &notify(&soa, Some(&key()), now()), Transport::Udp, DEADLINE).await.unwrap();
    assert_eq!(accepted.reply.code, ResponseCode::NoError);
    soa.name = name("other.test");
    let refused = ask(secondary.address, &notify(&soa, None, 0), Transport::Udp, DEADLINE).await.unwrap();
    assert_eq!(refused.reply.code, ResponseCode::NotAuth);
}
