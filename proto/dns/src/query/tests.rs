use hickory_proto::op::{MessageType, OpCode};
use proptest::prelude::*;

use super::*;
use crate::{
    Answer, Echo, Ecs, Transport,
    testbed::{QUESTION, Raw, decoded, record},
};

const SUBNET: (u16, &[u8]) = (8, &[0, 1, 24, 0, 192, 0, 2]);
const COOKIE: (u16, &[u8]) = (10, b"client01");
const TSIG: &[u8] = b"\x0bhmac-sha256\0\0\0\x6b\x0d\xdb\x06\x01\x2c\0\0\x12\x34\0\0\0\0";

/// A message → why it is no query, and its reply in the words of another implementation.
#[track_caller]
fn refused(message: &[u8], problem: Problem, reply: Option<&str>) {
    let malformed = Query::read(message).map(|query| query.name).unwrap_err();
    assert_eq!(malformed.problem, problem);
    let text = malformed.reply.as_deref().map(|reply| {
        let reply = decoded(reply);
        assert_eq!((reply.id, reply.message_type), (Raw::ID, MessageType::Response));
        assert_eq!((reply.answers.len(), reply.authorities.len(), reply.additionals.len()), (0, 0, 0));
        let question = reply.queries.iter().map(|asked| asked.name().to_string()).collect::<String>();
        let edns = if reply.edns.is_some() { " +edns" } else { "" };
        let code = match u16::from(reply.response_code) {
            16 => "BADVERS".to_owned(), // another name for the same number is BADSIG
            _ => format!("{:?}", reply.response_code),
        };
        format!("{code} {question}{edns}")
    });
    assert_eq!(text.as_deref(), reply);
}

#[test]
fn messages_that_get_no_reply() {
    let whole = Raw::query().bytes();
    for short in 0..12 {
        refused(&whole[..short], Problem::NoHeader, None);
    }
    refused(&Raw { flags: [0x80, 0], ..Raw::query() }.bytes(), Problem::Response, None);
}

#[test]
fn opcodes_other_than_query_and_notify() {
    for opcode in [1, 2, 3, 5, 6, 15] {
        let message = Raw { flags: [opcode << 3 | 1, 0], ..Raw::query() }.bytes();
        refused(&message, Problem::Opcode(opcode), Some("NotImp "));
        let reply = Query::read(&message).map(|query| query.name).unwrap_err().reply.unwrap();
        assert_eq!(reply[2], 0x81 | opcode << 3, "opcode and RD are echoed");
        let with_opt = Raw { flags: [opcode << 3 | 1, 0], ..Raw::query().with_opt(1232, 0, &[]) }.bytes();
        refused(&with_opt, Problem::Opcode(opcode), Some("NotImp  +edns"));
    }
}

#[test]
fn questions_of_rfc_1035() {
    let body = |body: &[u8]| Raw { body: body.to_vec(), ..Raw::query() }.bytes();
    for count in [0, 2] {
        let message = Raw { counts: [count, 0, 0, 0], ..Raw::query() }.bytes();
        refused(&message, Problem::Questions(count), Some("FormErr "));
    }
    let two = Raw { counts: [2, 0, 0, 0], body: [QUESTION, QUESTION].concat(), ..Raw::query() };
    refused(&two.with_opt(1232, 0, &[]).bytes(), Problem::Questions(2), Some("FormErr  +edns"));
    for length in 0..QUESTION.len() {
        refused(&body(&QUESTION[..length]), Problem::Question, Some("FormErr "));
    }
    let long = [&[b"\x3f", &[b'a'; 63][..]].concat().repeat(4)[..], b"\0\0\x01\0\x01"].concat();
    let label = [&[64][..], &[b'a'; 64], b"\0\0\x01\0\x01"].concat();
    for broken in
        [&b"\xc0\x0c\0\x01\0\x01"[..], b"\x01a\xc0\x02\0\x01\0\x01", b"\x80\0\x01\0\x01", &long, &label]
    {
        refused(&body(broken), Problem::Question, Some("FormErr "));
    }
    // 255 octets, with the root.
    let longest =
        [[b"\x3f", &[b'a'; 63][..]].concat().repeat(3), [b"\x3d", &[b'a'; 61][..]].concat()].concat();
    let longest = [&longest[..], b"\0\0\x01\0\x01"].concat();
    assert_eq!(Query::read(&body(&longest)).unwrap().name.num_labels(), 4);
    assert_eq!(Query::read(&body(b"\0\0\x02\0\x01")).unwrap().name, Name::root());
}

#[test]
fn records_and_their_places() {
    let a = record(b"\xc0\x0c", 1, 1, 30, &[192, 0, 2, 1]);
    let opt = record(b"\0", 41, 1232, 0, b"");
    let tsig = record(b"\x03key\0", 250, 255, 0, TSIG);
    let form = Some("FormErr Orders.test.");
    let with_opt = Some("FormErr Orders.test. +edns");
    let cut = |octets: usize| {
        let whole = Raw::query().with(1, &a).bytes();
        whole[..whole.len() - octets].to_vec()
    };
    for octets in 1..a.len() {
        refused(&cut(octets), Problem::Records, form);
    }
    let behind = Raw { body: [QUESTION, b"\0"].concat(), ..Raw::query() };
    refused(&behind.bytes(), Problem::Records, form);
    refused(&Raw { counts: [1, 0, 0, 3], ..Raw::query() }.bytes(), Problem::Records, form);
    let place = Problem::Place;
    refused(&Raw::query().with(1, &opt).bytes(), place(RecordType::OPT), with_opt);
    refused(&Raw::query().with(2, &opt).bytes(), place(RecordType::OPT), with_opt);
    refused(&Raw::query().with(3, &opt).with(3, &opt).bytes(), place(RecordType::OPT), with_opt);
    refused(&Raw::query().with(1, &tsig).bytes(), place(RecordType::TSIG), form);
    refused(&Raw::query().with(3, &tsig).with(3, &tsig).bytes(), place(RecordType::TSIG), form);
    refused(&Raw::query().with(3, &tsig).with(3, &opt).bytes(), place(RecordType::OPT), with_opt);
    refused(&Raw::query().with(3, &tsig).with(3, &a).bytes(), place(RecordType::A), form);
    let read = Raw::query().with(3, &a).with(3, &opt).with(3, &tsig).read();
    assert!(read.edns.is_some());
    assert_eq!(read.signature.unwrap().key().to_string(), "key.");
}

#[test]
fn tsig_records_of_rfc_8945_section_4_2() {
    let form = Some("FormErr Orders.test.");
    for (class, ttl, data) in [
        (1, 0, TSIG),
        (255, 1, TSIG),
        (255, 0, &TSIG[..TSIG.len() - 1]),
        (255, 0, &[TSIG, b"x"].concat()),
        (255, 0, b""),
    ] {
        let message = Raw::query().with(3, &record(b"\x03key\0", 250, class, ttl, data));
        refused(&message.bytes(), Problem::Tsig, form);
    }
}

#[test]
fn opt_records_that_are_refused() {
    let form = Some("FormErr Orders.test. +edns");
    let opt = |ttl, options: &[(u16, &[u8])]| Raw::query().with_opt(1232, ttl, options).bytes();
    for version in [1, 255] {
        let ttl = u32::from(version) << 16;
        let broken = (8, &b"what it means is unknown"[..]);
        refused(&opt(ttl, &[broken]), Problem::Version(version), Some("BADVERS Orders.test. +edns"));
    }
    refused(&opt(0, &[(8, &[0, 1, 20, 0, 192, 0, 0x18])]), Problem::Ecs, form);
    refused(&opt(0, &[(8, &[0, 1, 24, 1, 192, 0, 2])]), Problem::Ecs, form); // a scope
    refused(&opt(0, &[SUBNET, SUBNET]), Problem::Ecs, form);
    refused(&opt(0, &[(10, b"nine octs")]), Problem::Cookie, form);
    for data in [&[0][..], &[0, 3, 0], &[0, 3, 0, 9, 1]] {
        let message = Raw::query().with(3, &record(b"\0", 41, 1232, 0, data));
        refused(&message.bytes(), Problem::Opt, form);
    }
    let named = Raw::query().with(3, &record(b"\x01a\0", 41, 1232, 0, b""));
    refused(&named.bytes(), Problem::Opt, Some("FormErr Orders.test."));
}

#[test]
fn what_a_query_says() {
    let plain = Raw::query().read();
    assert_eq!((plain.id, plain.opcode, plain.recursion_desired), (Raw::ID, Opcode::Query, true));
    assert_eq!((plain.record_type, plain.class), (RecordType::A, DNSClass::IN));
    assert!(plain.name.eq_case(&Name::from_ascii("Orders.test.").unwrap()), "the case is kept");
    assert!(plain.edns.is_none() && plain.signature.is_none());

    let edns = Raw::query()
        .with_opt(4096, 0x8000, &[(3, b""), SUBNET, COOKIE, (65_001, b"x"), (10, b"ignored0")])
        .read();
    let edns = edns.edns.unwrap();
    assert_eq!((edns.size, edns.dnssec_ok), (4096, true));
    assert_eq!(edns.ecs, Some(Ecs::new("192.0.2.0".parse().unwrap(), 24)));
    assert_eq!(edns.cookie.unwrap().client, *b"client01");
    let small = Raw::query().with_opt(100, 0, &[]).read().edns.unwrap();
    assert_eq!((small.size, small.dnssec_ok, small.ecs), (512, false, None));

    // NOTIFY has the SOA in the answer section, IXFR in the authority section.
    let soa = record(b"\xc0\x0c", 6, 1, 30, b"\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let notify = Raw { flags: [4 << 3 | 4, 0], ..Raw::query() }.with(1, &soa).read();
    assert_eq!((notify.opcode, notify.recursion_desired), (Opcode::Notify, false));
    assert_eq!(notify.serial, None);
}

#[test]
fn the_serial_of_ixfr_of_rfc_1995_section_3() {
    let ixfr = || Raw { flags: [0, 0], body: b"\x04test\0\0\xfb\0\x01".to_vec(), ..Raw::query() };
    let soa = |serial: u32| {
        let data = [&[0, 0][..], &serial.to_be_bytes(), &[0; 16]].concat();
        record(b"\xc0\x0c", 6, 1, 30, &data)
    };
    let read = ixfr().with(2, &soa(7)).read();
    assert_eq!((read.record_type, read.serial), (RecordType::IXFR, Some(7)));
    assert_eq!(ixfr().read().serial, None, "it names none");
    assert!(!ixfr().read().is_up_to_date(7));
    assert_eq!(ixfr().with(1, &soa(7)).read().serial, None, "of another section");
    assert_eq!(Raw::query().with(2, &soa(7)).read().serial, None, "of another type");
    for (theirs, ours, up_to_date) in
        [(7, 7, true), (8, 7, true), (6, 7, false), (u32::MAX, 1, false), (1, u32::MAX, true)]
    {
        assert_eq!(ixfr().with(2, &soa(theirs)).read().is_up_to_date(ours), up_to_date, "{theirs} of {ours}");
    }
    let short = record(b"\xc0\x0c", 6, 1, 30, &[0; 21]);
    refused(&ixfr().with(2, &short).bytes(), Problem::Records, Some("FormErr test."));
}

fn whole() -> Vec<u8> {
    let tsig = record(b"\x03key\0", 250, 255, 0, TSIG);
    Raw::query().with_opt(1232, 0x8000, &[SUBNET, COOKIE]).with(3, &tsig).bytes()
}

/// Nothing that is read panics, a query is echoed octet by octet, and what is no query gets a reply that others can read.
fn holds(message: &[u8]) -> Result<(), TestCaseError> {
    match Query::read(message) {
        Ok(query) => {
            let echo = Echo { scope: 0, cookie: Some([1; 16]), signature: 0 };
            let answer = Answer::records(vec![]).encode(&query, &echo, Transport::Udp).unwrap();
            let length = query.name.iter().map(|label| label.len() + 1).sum::<usize>() + 5;
            prop_assert_eq!(&answer[12..12 + length], &message[12..12 + length]);
            prop_assert_eq!(&answer[..2], &message[..2]);
            let read = decoded(&answer);
            prop_assert_eq!(read.op_code, OpCode::from_u8(query.opcode.number()));
            let edns = read.edns.is_some();
            prop_assert_eq!(edns, query.edns.is_some());
            prop_assert!(answer.len() <= Transport::Udp.room(&query));
            if let Some(key) = query.signature {
                let refused = crate::tsig::verify(message, &key, None, 0).map(drop);
                prop_assert!(refused.is_err());
            }
        }
        Err(Malformed { problem, reply: Some(reply) }) => {
            let read = decoded(&reply);
            prop_assert_eq!(Some(read.response_code.into()), problem.code().map(u16::from));
            prop_assert_eq!(&reply[..2], &message[..2]);
            prop_assert!(reply.len() <= 512);
        }
        Err(Malformed { problem, reply: None }) => prop_assert_eq!(problem.code(), None),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn random_octets(message in prop::collection::vec(any::<u8>(), 0..300)) {
        holds(&message)?;
    }

    /// With a header that leads further in.
    #[test]
    fn random_bodies(counts in prop::array::uniform3(0u16..3), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let [a, b, c] = counts;
        holds(&Raw { counts: [1, a, b, c], body: [QUESTION, &body].concat(), ..Raw::query() }.bytes())?;
    }

    #[test]
    fn mutated_queries(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        let mut message = whole();
        for (at, octet) in changes {
            let at = at.index(message.len());
            message[at] = octet;
        }
        holds(&message)?;
        let length = cut.index(message.len());
        holds(&message[..length])?;
    }

    #[test]
    fn any_name_type_and_class(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..6), record_type: u16, class: u16) {
        let mut body = Vec::new();
        for label in labels {
            body.push(label.len() as u8);
            body.extend(label);
        }
        let fits = body.len() < 255;
        body.push(0);
        body.extend(record_type.to_be_bytes());
        body.extend(class.to_be_bytes());
        let message = Raw { body, ..Raw::query() }.bytes();
        prop_assert_eq!(Query::read(&message).is_ok(), fits);
        holds(&message)?;
    }
}
