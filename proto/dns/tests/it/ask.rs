//! The asking client.

use std::{net::SocketAddr, time::Duration};

use hanse_dns_wire::{
    BadReply, Cookie, Ecs, Edns, Question, RecordType, ResponseCode, Transport, ask,
    ask::{Answered, AskError, receive, send},
    tsig::{BadSignature, Key},
};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::server::{Zone, key, name, now};

/// Far beyond what loopback takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn edns() -> Edns {
    Edns { size: 1232, dnssec_ok: false, ecs: None, cookie: None }
}

async fn asked(server: SocketAddr, question: &Question, key: Option<&Key>) -> Result<Answered, AskError> {
    ask(server, &question.request(key, now()), Transport::Udp, DEADLINE).await
}

#[tokio::test]
async fn an_answer_over_udp() {
    let server = Zone::new(0).serve().await;
    let answered =
        asked(server.address, &Question::new(name("Orders.TEST"), RecordType::A), None).await.unwrap();
    assert_eq!((answered.transport, answered.reply.code), (Transport::Udp, ResponseCode::NoError));
    assert!(answered.reply.authoritative && answered.reply.edns.is_none());
    assert_eq!(answered.reply.answers.len(), 2);
    assert!(answered.reply.answers[0].name.eq_case(&name("Orders.TEST")), "the case is kept");
    let nothing =
        asked(server.address, &Question::new(name("none.test"), RecordType::A), None).await.unwrap();
    assert_eq!((nothing.reply.code, nothing.reply.authorities[0].ttl), (ResponseCode::NXDomain, 30));
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let server = Zone::new(0).serve().await;
    let question = Question::new(name("many.test"), RecordType::A);
    let answered = asked(server.address, &question, None).await.unwrap();
    assert_eq!((answered.transport, answered.reply.answers.len()), (Transport::Tcp, 100));
    assert!(!answered.reply.truncated && answered.octets > 1232);
}

#[tokio::test]
async fn networks_and_cookies() {
    let server = Zone::new(0).serve().await;
    let ecs = Ecs::new("192.0.9.0".parse().unwrap(), 24);
    let cookie = Cookie { client: *b"client01", server: vec![] };
    let mut question = Question::new(name("near.test"), RecordType::A);
    question.edns = Some(Edns { ecs: Some(ecs), cookie: Some(cookie.clone()), ..edns() });
    let first = asked(server.address, &question, None).await.unwrap().reply;
    assert_eq!(first.answers[0].data.to_string(), "198.51.100.9");
    let said = first.edns.unwrap();
    assert_eq!((said.ecs, first.scope, said.size), (Some(ecs), 24, 1232));
    let given = said.cookie.unwrap();
    assert_eq!((given.client, given.server.len()), (cookie.client, 16));

    // With the server's cookie it is as before, and with a wrong one refused.
    let mut again = given.clone();
    for code in [ResponseCode::NoError, ResponseCode::BADCOOKIE] {
        question.edns = Some(Edns { cookie: Some(again.clone()), ..edns() });
        assert_eq!(asked(server.address, &question, None).await.unwrap().reply.code, code);
        again.server[15] ^= 1;
    }
}

#[tokio::test]
async fn signed_answers() {
    let server = Zone::new(0).serve().await;
    for owner in ["orders.test", "many.test"] {
        let answered =
            asked(server.address, &Question::new(name(owner), RecordType::A), Some(&key())).await.unwrap();
        assert_eq!(answered.reply.code, ResponseCode::NoError);
    }
    let question = Question::new(name("orders.test"), RecordType::A);
    for (wrong, error) in [
        (Key::new(name("to-bind"), &[9; 32]).unwrap(), 16),
        (Key::new(name("unknown"), &[9; 32]).unwrap(), 17),
    ] {
        let signed = question.request(Some(&wrong), now());
        let refused = ask(server.address, &signed, Transport::Tcp, DEADLINE).await.unwrap_err();
        let AskError::Reply(_, BadReply::Signature(BadSignature::Refused(found))) = refused else {
            panic!("{refused}")
        };
        assert_eq!(found, error);
    }
    let late = question.request(Some(&key()), now() - 1_000);
    let refused = ask(server.address, &late, Transport::Tcp, DEADLINE).await.unwrap_err();
    assert!(
        matches!(refused, AskError::Reply(_, BadReply::Signature(BadSignature::Refused(18)))),
        "{refused}"
    );
}

#[tokio::test]
async fn a_transfer_in_several_messages() {
    let server = Zone::new(5_000).serve().await;
    let request = Question::new(name("test"), RecordType::AXFR).request(Some(&key()), now());
    let mut expected = request.expected().unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    send(&mut stream, request.message()).await.unwrap();
    let (mut messages, mut records) = (0, 0);
    while records < 5_000 + 104 + 2 {
        let message = tokio::time::timeout(DEADLINE, receive(&mut stream)).await.unwrap().unwrap();
        expected.check(&message, now()).unwrap();
        messages += 1;
        records += usize::from(u16::from_be_bytes([message[6], message[7]]));
    }
    assert!(messages > 2, "{messages} messages");
    let unsigned = Question::new(name("test"), RecordType::AXFR).request(None, 0);
    let refused = ask(server.address, &unsigned, Transport::Tcp, DEADLINE).await.unwrap();
    assert_eq!(refused.reply.code, ResponseCode::Refused);
}

#[tokio::test]
async fn datagrams_that_are_no_reply_are_passed_over_and_a_lost_one_is_sent_again() {
    let real = Zone::new(0).serve().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let between = tokio::spawn(async move {
        let (mut buffer, upstream) = (vec![0; 65_535], UdpSocket::bind("127.0.0.1:0").await.unwrap());
        upstream.connect(real.address).await.unwrap();
        let _lost = socket.recv_from(&mut buffer).await.unwrap();
        let (octets, client) = socket.recv_from(&mut buffer).await.unwrap();
        upstream.send(&buffer[..octets]).await.unwrap();
        let query = buffer[..octets].to_vec();
        let octets = upstream.recv(&mut buffer).await.unwrap();
        let reply = &buffer[..octets];
        let change = |at: usize, by: u8| {
            let mut changed = reply.to_vec();
            changed[at] ^= by;
            changed
        };
        let mut bare = reply[..12].to_vec();
        bare[4..12].fill(0);
        let counted = change(7, 0x40);
        // Another id, another opcode, another name, another type, the query itself, what is no message, a header alone, and records that are
        // not there.
        for other in
            [change(0, 1), change(2, 0x20), change(14, 1), change(25, 1), query, vec![1, 2], bare, counted]
        {
            socket.send_to(&other, client).await.unwrap();
        }
        socket.send_to(reply, client).await.unwrap();
    });
    let question = Question::new(name("orders.test"), RecordType::A);
    let answered = asked(address, &question, Some(&key())).await.unwrap();
    assert_eq!(answered.reply.answers.len(), 2);
    between.await.unwrap();
}

#[tokio::test]
async fn servers_that_do_not_answer() {
    let request = Question::new(name("orders.test"), RecordType::A).request(None, 0);
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let short = Duration::from_millis(50);
    let error = ask(address, &request, Transport::Udp, short).await.unwrap_err();
    assert!(matches!(error, AskError::Silent(server, _) if server == address), "{error}");
    drop(silent);
    for transport in [Transport::Udp, Transport::Tcp] {
        let error = ask(address, &request, transport, DEADLINE).await.unwrap_err();
        assert!(matches!(error, AskError::Io(..)), "{error}");
    }
    // Over TCP only the server can send, so a message that is no reply ends the wait. So does a connection that ends early.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        for reply in [&[0, 2, 1, 2][..], &[0, 9, 1]] {
            let (mut stream, _) = listener.accept().await.unwrap();
            receive(&mut stream).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, reply).await.unwrap();
        }
    });
    let error = ask(address, &request, Transport::Tcp, DEADLINE).await.unwrap_err();
    assert!(matches!(error, AskError::Reply(_, BadReply::Another)), "{error}");
    let error = ask(address, &request, Transport::Tcp, DEADLINE).await.unwrap_err();
    assert!(matches!(error, AskError::Io(..)), "{error}");
    serving.await.unwrap();
}

/// Each request gets one reply, which is changed like this. The error is that of the reply, once the deadline has passed.
async fn no_better_reply(change: fn(&mut Vec<u8>), key: Option<&Key>) -> BadReply {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut buffer = vec![0; 512];
        loop {
            let (octets, client) = socket.recv_from(&mut buffer).await.unwrap();
            let mut reply = buffer[..octets].to_vec();
            reply[2] = 0x84;
            change(&mut reply);
            socket.send_to(&reply, client).await.unwrap();
        }
    });
    let request = Question::new(name("orders.test"), RecordType::A).request(key, now());
    // On a busy machine the reply may come behind a short deadline.
    for deadline in [100, 400, 1_600, 6_400, 25_600].map(Duration::from_millis) {
        match ask(address, &request, Transport::Udp, deadline).await.unwrap_err() {
            AskError::Silent(..) => {}
            AskError::Reply(_, bad) => {
                serving.abort();
                return bad;
            }
            AskError::Io(_, error) => panic!("{error}"),
        }
    }
    panic!("no reply came");
}

#[tokio::test]
async fn the_last_reply_that_is_not_taken_is_the_error() {
    let record_that_is_not_there = |reply: &mut Vec<u8>| reply[7] = 1;
    assert_eq!(no_better_reply(record_that_is_not_there, None).await, BadReply::Broken);
    // The signature is looked for before the records are read.
    let unsigned = BadReply::Signature(BadSignature::Unsigned);
    assert_eq!(no_better_reply(record_that_is_not_there, Some(&key())).await, unsigned);
    let bare = |reply: &mut Vec<u8>| {
        reply.truncate(12);
        reply[4..12].fill(0);
    };
    assert_eq!(no_better_reply(bare, Some(&key())).await, unsigned);
    assert_eq!(no_better_reply(|_| {}, Some(&key())).await, BadReply::Signature(BadSignature::Other));
}
