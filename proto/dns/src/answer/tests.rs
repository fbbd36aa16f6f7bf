use hanse_topology::bring_back;
use hickory_proto::rr::{
    DNSClass,
    rdata::{AAAA, CNAME, NS, TXT},
};
use proptest::prelude::*;

use super::*;
use crate::{
    Ecs, absolute,
    testbed::{Raw, a, decoded, soa},
    tsig::LONGEST_NAME,
};

fn encoded(answer: &Answer, query: &Query) -> Vec<u8> {
    answer.encode(query, &Echo::default(), Transport::Udp).unwrap()
}

#[test]
fn headers() {
    let query = Raw::query().read();
    let header = |answer: &Answer| {
        let bytes = encoded(answer, &query);
        assert_eq!(bytes[..2], [0x12, 0x34]);
        (bytes[2], bytes[3])
    };
    // QR, AA and RD; never RA, AD or CD.
    assert_eq!(header(&Answer::records(vec![a("Orders.test", 30, 1)])), (0x85, 0));
    assert_eq!(header(&Answer::error(ResponseCode::Refused)), (0x81, 5));
    assert_eq!(header(&Answer::error(ResponseCode::ServFail)), (0x81, 2));
    assert_eq!(header(&Answer::truncated()), (0x87, 0));
    assert_eq!(header(&Answer::no_such_name(&soa(30, 30))), (0x85, 3));
    // AD and CD of a query, and no RD.
    let query = Raw { flags: [0, 0x30], ..Raw::query() }.read();
    assert_eq!(encoded(&Answer::records(vec![]), &query)[2..4], [0x84, 0]);
}

#[test]
fn every_type_is_read_by_another_implementation() {
    let query = Raw::query().with_opt(1232, 0, &[]).read();
    let name = |text| absolute(text).unwrap();
    let record = |data| Record::from_rdata(name("Orders.test"), 30, data);
    let sent = Answer {
        authorities: vec![
            Record::from_rdata(name("test"), 300, RData::NS(NS(name("ns1.test")))),
            soa(60, 30),
        ],
        additionals: vec![a("ns1.test", 300, 53)],
        ..Answer::records(vec![
            record(RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into())),
            record(RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
            record(RData::CNAME(CNAME(name("www.Orders.test")))),
            record(RData::TXT(TXT::new(vec!["1 7".to_owned(), String::new()]))),
        ])
    };
    let bytes = encoded(&sent, &query);
    let read = decoded(&bytes);
    assert_eq!(
        (&read.answers, &read.authorities, &read.additionals),
        (&sent.answers, &sent.authorities, &sent.additionals)
    );
    assert!(read.queries[0].name().eq_case(&name("Orders.test")));
    assert_eq!(read.queries[0].query_class(), DNSClass::IN);
    assert_eq!(
        bytes.windows(6).filter(|octets| octets.eq_ignore_ascii_case(b"orders")).count(),
        1,
        "names are compressed"
    );
}

#[test]
fn negative_answers_of_rfc_2308() {
    let query = Raw::query().read();
    for (ttl, minimum, kept) in [(3600, 30, 30), (30, 3600, 30), (60, 60, 60), (60, 0, 0)] {
        for (answer, code) in [
            (Answer::no_data(&soa(ttl, minimum)), ResponseCode::NoError),
            (Answer::no_such_name(&soa(ttl, minimum)), ResponseCode::NXDomain),
        ] {
            let read = decoded(&encoded(&answer, &query));
            assert_eq!((read.response_code, read.answers.len(), read.authorities.len()), (code, 0, 1));
            assert_eq!(read.authorities[0].ttl, kept);
            assert_eq!(read.authorities[0].data, soa(ttl, minimum).data, "its data is as it was");
        }
    }
}

#[test]
fn any_is_answered_with_one_short_record() {
    let query = Raw::query().read();
    let read = decoded(&encoded(&Answer::any(&query, 3600), &query));
    let [record] = &read.answers[..] else { panic!("{:?}", read.answers) };
    assert_eq!((record.name.to_string().as_str(), record.ttl), ("Orders.test.", 3600));
    assert_eq!(record.data, RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new())));
}

#[test]
fn edns_is_answered_where_it_was_asked() {
    let cookie = Echo { cookie: Some([7; 16]), ..Echo::default() };
    let opt = |query: &Query, echo: &Echo| {
        let bytes = Answer::records(vec![]).encode(query, echo, Transport::Udp).unwrap();
        let Some(at) = bytes.windows(3).position(|octets| octets == [0, 0, 41]) else { return String::new() };
        hex::encode(&bytes[at + 3..])
    };
    assert_eq!(opt(&Raw::query().read(), &cookie), "");
    // 1,232 octets, no code, version 0, DO as it was.
    assert_eq!(opt(&Raw::query().with_opt(4096, 0x8000, &[]).read(), &cookie), "04d0000080000000");
    let shown = Raw::query().with_opt(512, 0, &[(10, b"client01")]).read();
    assert_eq!(opt(&shown, &Echo::default()), "04d0000000000000", "without a secret there are no cookies");
    let both = hex::encode(b"client01") + &"07".repeat(16);
    assert_eq!(opt(&shown, &cookie), format!("04d000000000001c000a0018{both}"));
}

#[test]
fn answers_that_do_not_fit_are_empty() {
    let query = |size: Option<u16>| match size {
        Some(size) => Raw::query().with_opt(size, 0, &[]).read(),
        None => Raw::query().read(),
    };
    let addresses = |count: u8| Answer::records((0..count).map(|last| a("Orders.test", 30, last)).collect());
    // 29 octets of header and question, 16 a record, 11 for OPT.
    for (size, transport, signature, fits) in [
        (None, Transport::Udp, 0, 30),
        (Some(512), Transport::Udp, 0, 29),
        (Some(0), Transport::Udp, 0, 29),
        (Some(1232), Transport::Udp, 0, 74),
        (Some(4096), Transport::Udp, 0, 74),
        (Some(1232), Transport::Udp, 85, 69),
        (Some(1232), Transport::Tcp, 85, 200),
    ] {
        let (query, echo) = (query(size), Echo { signature, ..Echo::default() });
        let answers = |count| {
            let read = decoded(&addresses(count).encode(&query, &echo, transport).unwrap());
            assert_eq!(read.truncation, read.answers.len() != count as usize);
            assert!(!read.truncation || read.answers.is_empty());
            assert!(read.authoritative);
            read.answers.len()
        };
        assert_eq!(answers(fits), fits as usize, "{size:?} {transport:?} {signature}");
        if transport == Transport::Udp {
            assert_eq!(answers(fits + 1), 0, "{size:?} {transport:?} {signature}");
        }
    }
}

fn text(octets: usize) -> Record {
    let data = RData::TXT(TXT::new(vec!["x".repeat(octets)]));
    Record::from_rdata(absolute("Orders.test").unwrap(), 30, data)
}

/// Answers, authorities and additionals that arrive over UDP without EDNS; `None`: the answer is truncated.
#[track_caller]
fn left_out([answers, authorities, additionals]: [u8; 3], expected: Option<[usize; 3]>) {
    let addresses = |count: u8| (0..count).map(|last| a("Orders.test", 30, last)).collect();
    let sent = Answer {
        authorities: addresses(authorities),
        additionals: addresses(additionals),
        ..Answer::records(addresses(answers))
    };
    let bytes = encoded(&sent, &Raw::query().read());
    let read = decoded(&bytes);
    let arrived = [read.answers.len(), read.authorities.len(), read.additionals.len()];
    assert_eq!((!read.truncation).then_some(arrived), expected);
    assert!(!read.truncation || arrived == [0; 3], "{arrived:?}");
    let records = arrived.iter().sum::<usize>();
    assert_eq!(bytes.len(), 29 + 16 * records, "nothing is left of records that do not fit");
}

#[test]
fn sections_that_are_not_needed_are_left_out_before_the_answer_is_truncated() {
    // 30 of these records fit into 512 octets.
    left_out([20, 5, 5], Some([20, 5, 5]));
    left_out([20, 5, 6], Some([20, 5, 0]));
    left_out([20, 11, 1], Some([20, 0, 0]));
    left_out([30, 1, 1], Some([30, 0, 0]));
    left_out([31, 0, 0], None);
    // A negative answer, and a referral.
    left_out([0, 30, 0], Some([0, 30, 0]));
    left_out([0, 31, 0], None);
    left_out([0, 20, 10], Some([0, 20, 10]));
    left_out([0, 20, 11], None);
}

#[test]
fn what_cannot_be_sent_is_an_error_and_no_answer() {
    let query = Raw::query().with_opt(1232, 0, &[]).read();
    let failed = |answer: &Answer, transport| {
        let error = answer.encode(&query, &Echo::default(), transport).unwrap_err();
        format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string))
    };
    let rule = "cannot encode the TXT record of Orders.test.: Some(\"char data length exceeds 255: 256\")";
    for transport in [Transport::Udp, Transport::Tcp] {
        let answers = vec![a("Orders.test", 30, 1), text(256), a("Orders.test", 30, 2)];
        assert_eq!(failed(&Answer::records(answers), transport), rule);
        let optional =
            Answer { additionals: vec![text(256)], ..Answer::records(vec![a("Orders.test", 30, 1)]) };
        assert_eq!(failed(&optional, transport), rule);
    }
    let many = Answer::records((0..5_000).map(|at| a("Orders.test", 30, at as u8)).collect());
    assert_eq!(
        failed(&many, Transport::Tcp),
        "the A record of Orders.test., behind the records before it, does not fit into 65524 octets; use fewer or shorter records: None"
    );
    assert!(decoded(&encoded(&many, &query)).truncation);
    let echo = Echo { signature: 1232, ..Echo::default() };
    assert!(matches!(many.encode(&query, &echo, Transport::Udp), Err(EncodeError::TooLong { .. })));
}

#[test]
fn an_answer_over_udp_is_written_no_further_than_its_room() {
    // The last record cannot be encoded, and is not reached.
    let mut answers: Vec<Record> = (0..80).map(|last| a("Orders.test", 30, last)).collect();
    answers.push(text(256));
    let query = Raw::query().with_opt(1232, 0, &[]).read();
    assert!(decoded(&encoded(&Answer::records(answers), &query)).truncation);
}

/// The client's network comes back as it was, with the scope that the responder decided on (RFC 7871 §7.2.1).
fn network_is_echoed(address: std::net::IpAddr, source: u8, scope: u8) -> Result<(), TestCaseError> {
    let ecs = Ecs::new(address, source);
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let expected = if source == 0 { 0 } else { scope.min(bits) };
    let query = Raw::query().with_opt(1232, 0, &[(8, &ecs.write(0))]).read();
    let bytes =
        Answer::records(vec![]).encode(&query, &Echo { scope, ..Echo::default() }, Transport::Udp).unwrap();
    prop_assert!(bytes.ends_with(&ecs.write(expected)));
    prop_assert_eq!(bytes[bytes.len() - ecs.write(0).len() + 3], expected);
    Ok(())
}

#[test]
fn a_scope_of_zero_for_every_client_is_noticed() {
    let echoed = || network_is_echoed("192.0.2.0".parse().unwrap(), 24, 24);
    assert!(echoed().is_ok());
    assert!(bring_back("scope-zero", echoed).is_err());
    // A resolver that names no network has no scope to hear.
    network_is_echoed("192.0.2.0".parse().unwrap(), 0, 24).unwrap();
}

proptest! {
    #[test]
    fn networks_come_back(address: std::net::IpAddr, source in 0u8..=130, scope: u8) {
        network_is_echoed(address, source, scope)?;
    }

    /// An answer fits, its own section is whole or truncated, and another implementation reads it.
    #[test]
    fn no_answer_is_larger_than_its_room(
        size in prop::option::of(any::<u16>()),
        question in "[a-z]{1,63}(\\.[a-z]{50,61}){0,3}",
        names in prop::collection::vec("[a-z]{1,20}(\\.[a-z]{1,20}){0,3}", 0..60),
        more in prop::array::uniform2(prop::collection::vec("[a-z]{1,20}(\\.[a-z]{1,20}){0,3}", 0..30)),
        text in prop::collection::vec("[ -~]{0,255}", 0..4),
        signature in 0usize..=71 + LONGEST_NAME,
        udp: bool,
    ) {
        let ecs = Ecs::new([255; 16].into(), 128).write(0);
        let query = match size {
            Some(size) => Raw::query().with_opt(size, 0, &[(10, b"client01"), (8, &ecs)]).read(),
            None => Raw::query().read(),
        };
        let query = Query { name: absolute(&question).unwrap(), ..query };
        let transport = if udp { Transport::Udp } else { Transport::Tcp };
        let addresses = |names: &[String]| names.iter().map(|name| a(name, 30, 1)).collect::<Vec<_>>();
        let mut records = addresses(&names);
        records.extend((!text.is_empty()).then(|| Record::from_rdata(query.name.clone(), 0, RData::TXT(TXT::new(text)))));
        let [authorities, additionals] = more.map(|names| addresses(&names));
        let sent = Answer { authorities, additionals, ..Answer::records(records) };
        let bytes = sent.encode(&query, &Echo { scope: 24, cookie: Some([1; 16]), signature }, transport).unwrap();
        prop_assert!(bytes.len() + signature <= transport.room(&query));
        let read = decoded(&bytes);
        if read.truncation {
            let alone = Answer::records(sent.answers.clone());
            let alone = alone.encode(&query, &Echo { scope: 24, cookie: Some([1; 16]), signature }, transport).unwrap();
            prop_assert!(sent.answers.is_empty() || decoded(&alone).truncation, "the answer section fits");
            prop_assert!(udp && read.answers.is_empty() && read.authorities.is_empty() && read.additionals.is_empty());
        } else {
            prop_assert_eq!(&read.answers, &sent.answers);
            let all = [read.authorities == sent.authorities, read.additionals == sent.additionals];
            let none = [read.authorities.is_empty(), read.additionals.is_empty()];
            match sent.answers.is_empty() {
                true => prop_assert_eq!(all, [true, true]),
                false => prop_assert!(all == [true, true] || all[0] && none[1] || none == [true, true]),
            }
        }
    }
}

/// The longest question, network, cookie and signature fit into the smallest message together.
#[test]
fn the_longest_of_all_fit_together() {
    let ecs = Ecs::new([255; 16].into(), 128).write(0);
    let query = Raw::query().with_opt(512, 0, &[(10, b"client01"), (8, &ecs)]).read();
    let longest = [63, 63, 63, 61].map(|octets| "a".repeat(octets));
    let query = Query { name: absolute(&longest.join(".")).unwrap(), ..query };
    let name = absolute(&format!("{}.{}", longest[0], "k".repeat(41))).unwrap();
    let signature = crate::tsig::Key::new(name, &[1; 32]).unwrap().room();
    assert_eq!(signature, 71 + LONGEST_NAME);
    let echo = Echo { scope: 0, cookie: Some([1; 16]), signature };
    let bytes = Answer::truncated().encode(&query, &echo, Transport::Udp).unwrap();
    assert_eq!(bytes.len() + signature, 512);
}
