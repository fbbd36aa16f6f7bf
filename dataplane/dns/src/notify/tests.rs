use std::collections::BTreeMap;

use hanse_dns_wire::{Answer, Echo, Opcode, Query, tsig};
use hanse_proto::runtime;
use tokio::net::UdpSocket;

use super::*;
use crate::{
    keys::test_keys,
    testbed::{zone, zone_entry},
    zones::ScopeIndex,
};

const SECRET: [u8; 32] = [7; 32];
/// Short pauses; the deadline is that of a busy machine.
const TEST: Patience = Patience { deadline: Duration::from_secs(20), pauses: &[Duration::from_millis(1); 4] };

fn zones(serial: u32, secondaries: &[(&str, &str)]) -> Zones {
    let secondary = |(address, key): &(&str, &str)| runtime::Secondary {
        address: (*address).to_owned(),
        key: (*key).to_owned(),
    };
    let secondaries = secondaries.iter().map(secondary).collect();
    let zone = runtime::Zone { serial, secondaries, ..zone("gslb.example.com") };
    ScopeIndex::default().hold(vec![zone_entry(zone)], Vec::new(), &BTreeMap::new())
}

#[test]
fn each_secondary_is_told_of_each_serial_once() {
    const ONE: (&str, &str) = ("192.0.2.1:53", "to-bind");
    const OTHER: (&str, &str) = ("192.0.2.2:53", "to-bind");
    let keys = test_keys(&[("to-bind", &SECRET)]);
    let mut told = Told::new();
    let mut check = |zones: Option<&Zones>, expected: &[(&str, u32)]| {
        let mut due: Vec<_> = due(&mut told, zones, &keys)
            .into_iter()
            .map(|notice| {
                told.insert((notice.origin, notice.secondary), (notice.serial, None));
                (notice.secondary.to_string(), notice.serial)
            })
            .collect();
        due.sort();
        let expected: Vec<_> = expected.iter().map(|(to, serial)| ((*to).to_owned(), *serial)).collect();
        assert_eq!(due, expected);
    };
    check(None, &[]);
    check(Some(&zones(1, &[ONE])), &[(ONE.0, 1)]);
    check(Some(&zones(1, &[ONE])), &[]);
    check(Some(&zones(1, &[ONE, OTHER])), &[(OTHER.0, 1)]);
    check(Some(&zones(2, &[ONE, OTHER])), &[(ONE.0, 2), (OTHER.0, 2)]);
    check(Some(&zones(2, &[OTHER])), &[]);
    check(Some(&zones(2, &[ONE, OTHER])), &[(ONE.0, 2)]); // it was gone meanwhile
    check(Some(&zones(3, &[("192.0.2.3:53", "to-knot")])), &[]); // no key
    check(Some(&Zones::default()), &[]);
}

#[tokio::test]
async fn a_newer_serial_ends_the_attempts_with_the_older() {
    let keys = test_keys(&[("to-bind", &SECRET)]);
    let mut tasks = JoinSet::<()>::new();
    let mut told = Told::new();
    let secondaries = [("192.0.2.1:53", "to-bind")];
    for notice in due(&mut told, Some(&zones(1, &secondaries)), &keys) {
        let task = tasks.spawn(std::future::pending());
        told.insert((notice.origin, notice.secondary), (notice.serial, Some(task)));
    }
    assert_eq!(due(&mut told, Some(&zones(2, &secondaries)), &keys).len(), 1);
    let ended = tokio::time::timeout(Duration::from_secs(30), tasks.join_next()).await.unwrap();
    assert!(ended.unwrap().unwrap_err().is_cancelled());
}

/// What a secondary does with the datagrams, one after the other.
#[derive(Debug, Clone, Copy)]
enum Does {
    Silence,
    Says(ResponseCode),
    Forges,
}

/// What became of telling a secondary, and how many datagrams it got.
async fn told(does: &'static [Does]) -> (Result<(), String>, usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let key = Key::new(hanse_dns_wire::absolute("to-bind").unwrap(), &SECRET).unwrap();
    let wrong = Key::new(key.name().clone(), &[8; 32]).unwrap();
    let address = socket.local_addr().unwrap();
    let secondary = tokio::spawn(async move {
        let mut buffer = vec![0; 4_096];
        for does in does {
            let (octets, from) = socket.recv_from(&mut buffer).await.unwrap();
            let message = &buffer[..octets];
            let query = Query::read(message).unwrap();
            assert_eq!(query.opcode, Opcode::Notify);
            let signature = query.signature.as_ref().unwrap();
            let mut transaction = tsig::verify(message, signature, Some(&key), unix_now()).unwrap();
            let code = match does {
                Does::Silence => continue,
                Does::Says(code) => *code,
                Does::Forges => {
                    let refused = tsig::verify(message, signature, Some(&wrong), unix_now()).unwrap_err();
                    socket.send_to(&refused.reply(&query, unix_now()), from).await.unwrap();
                    continue;
                }
            };
            let echo = Echo { signature: transaction.room(), ..Echo::default() };
            let answer = Answer::error(code).encode(&query, &echo, Transport::Udp).unwrap();
            socket.send_to(&transaction.sign(answer, unix_now()), from).await.unwrap();
        }
    });
    let zones = zones(7, &[(&address.to_string(), "to-bind")]);
    let notice = due(&mut Told::new(), Some(&zones), &test_keys(&[("to-bind", &SECRET)])).remove(0);
    let result = tell(&notice, TEST, &Semaphore::new(1)).await;
    secondary.abort();
    let all = secondary.await.is_ok();
    (result, if all { does.len() } else { 0 })
}

#[tokio::test]
async fn a_secondary_is_told_until_it_says_so() {
    use Does::{Forges, Says, Silence};
    const FAILS: Does = Says(ResponseCode::ServFail);
    const GOOD: Does = Says(ResponseCode::NoError);
    assert_eq!(told(&[GOOD]).await, (Ok(()), 1));
    assert_eq!(told(&[Silence, GOOD]).await, (Ok(()), 2)); // a datagram is lost
    assert_eq!(told(&[FAILS, FAILS, FAILS, FAILS, GOOD]).await, (Ok(()), 5));
    let refused = Err("it answers ServFail".to_owned());
    assert_eq!(told(&[FAILS, FAILS, FAILS, FAILS, FAILS]).await, (refused, 5));
    assert_eq!(told(&[Forges, GOOD]).await, (Ok(()), 2)); // anybody may have sent that: the wait goes on
}

#[tokio::test]
async fn a_secondary_that_is_away_is_given_up() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket); // the port is closed, which the system tells
    let zones = zones(7, &[(&address.to_string(), "to-bind")]);
    let notice = due(&mut Told::new(), Some(&zones), &test_keys(&[("to-bind", &SECRET)])).remove(0);
    let away = tell(&notice, TEST, &Semaphore::new(1)).await.unwrap_err();
    assert!(away.contains(&address.to_string()), "{away}");
}
