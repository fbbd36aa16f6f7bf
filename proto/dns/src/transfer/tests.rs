use hickory_proto::rr::{RData, rdata::TXT};
use proptest::prelude::*;

use super::*;
use crate::{
    Answer, RecordType, Transport, absolute,
    testbed::{Raw, a, decoded, record, soa},
    tsig::{Expected, Key, verify},
};

const NOW: u64 = 1_000_000;

/// Transfers the zone, and checks each message as the secondary does. The lengths of the messages, and the records.
fn transferred(records: &[Record], edns: bool) -> Result<(Vec<usize>, Vec<Record>), EncodeError> {
    let key = Key::new(absolute("to-bind").unwrap(), &[1; 32]).unwrap();
    let axfr = Raw { flags: [0, 0], body: b"\x04Test\0\0\xfc\0\x01".to_vec(), ..Raw::query() };
    let mut message = if edns { axfr.with_opt(4096, 0, &[]) } else { axfr }.bytes();
    let mut client = Expected::begin(&key, &mut message, NOW);
    let query = Query::read(&message).unwrap();
    let server = verify(&message, query.signature.as_ref().unwrap(), Some(&key), NOW).unwrap();
    let soa = soa(60, 30);
    let mut transfer = Transfer::new(&query, &soa, records, server);
    let (mut lengths, mut received) = (vec![], vec![]);
    while let Some(message) = transfer.next(NOW) {
        let message = message?;
        client.check(&message, NOW).unwrap();
        let read = decoded(&message);
        assert_eq!(
            (read.id, read.authoritative, read.truncation, read.recursion_desired),
            (Raw::ID, true, false, false)
        );
        let first = lengths.is_empty();
        assert_eq!((read.queries.len(), read.edns.is_some()), (first.into(), first && edns));
        lengths.push(message.len());
        received.extend(read.answers);
    }
    assert!(transfer.next(NOW).is_none());
    let (Some(begin), Some(end)) = (received.first(), received.last()) else { panic!("nothing came") };
    assert_eq!((begin, end), (&soa, &soa));
    Ok((lengths, received[1..received.len() - 1].to_vec()))
}

fn text(name: &str, strings: usize) -> Record {
    let data = TXT::new(vec!["x".repeat(255); strings]);
    Record::from_rdata(absolute(name).unwrap(), 30, RData::TXT(data))
}

#[test]
fn an_empty_zone_is_its_soa_twice() {
    let (lengths, received) = transferred(&[], false).unwrap();
    assert_eq!((lengths.len(), received.len()), (1, 0));
}

#[test]
fn a_large_zone_comes_in_full_messages() {
    let records: Vec<Record> = (0..20_000).map(|at| a(&format!("host-{at}.test"), 30, at as u8)).collect();
    for edns in [false, true] {
        let (lengths, received) = transferred(&records, edns).unwrap();
        assert_eq!(received, records);
        assert!(lengths.iter().all(|octets| *octets <= MAX_TRANSFER_MESSAGE), "{lengths:?}");
        let (_, full) = lengths.split_last().unwrap();
        assert!(
            full.len() > 5 && full.iter().all(|octets| *octets > MAX_TRANSFER_MESSAGE - 300),
            "{lengths:?}"
        );
    }
}

#[test]
fn a_secondary_that_is_up_to_date_gets_the_soa_alone() {
    let body = b"\x04Test\0\0\xfb\0\x01".to_vec();
    let theirs = [&[0, 0, 0, 0, 0, 7][..], &[0; 16]].concat();
    let ixfr =
        Raw { flags: [0, 0], body, ..Raw::query() }.with(2, &record(b"\xc0\x0c", 6, 1, 0, &theirs)).read();
    let soa = soa(60, 30);
    let RData::SOA(data) = &soa.data else { panic!("{soa}") };
    assert!(ixfr.is_up_to_date(data.serial) && !ixfr.is_up_to_date(data.serial + 1));
    for transport in [Transport::Udp, Transport::Tcp] {
        let bytes = Answer::soa(&soa).encode(&ixfr, &Echo::default(), transport).unwrap();
        let read = decoded(&bytes);
        assert_eq!((read.queries[0].query_type(), read.authoritative), (RecordType::IXFR, true));
        assert_eq!((&read.answers[..], read.authorities.len()), (&[soa.clone()][..], 0));
    }
}

#[test]
fn a_record_that_fits_into_no_message_is_named() {
    // 127 strings of 256 octets, and what is around them.
    let (lengths, received) = transferred(&[text("a.test", 100), text("b.test", 127)], false).unwrap();
    assert_eq!((lengths.len(), received.len()), (2, 2));
    let zone = [a("a.test", 30, 1), text("b.test", 128), a("c.test", 30, 1)];
    let error = transferred(&zone, true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the TXT record of b.test., behind the records before it, does not fit into 32688 octets; use fewer or shorter records"
    );
}

#[test]
fn a_record_that_cannot_be_encoded_is_named_with_its_reason() {
    let long = RData::TXT(TXT::new(vec!["x".repeat(256)]));
    let record = Record::from_rdata(absolute("b.test").unwrap(), 30, long);
    let error = transferred(&[a("a.test", 30, 1), record, a("c.test", 30, 1)], false).unwrap_err();
    assert_eq!(error.to_string(), "cannot encode the TXT record of b.test.");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "char data length exceeds 255: 256");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_zone_arrives_whole(strings in prop::collection::vec(0usize..40, 0..60), edns: bool) {
        let records: Vec<Record> = strings.iter().enumerate().map(|(at, strings)| text(&format!("r{at}.test"), strings + 1)).collect();
        let (lengths, received) = transferred(&records, edns).unwrap();
        prop_assert_eq!(received, records);
        prop_assert!(lengths.iter().all(|octets| *octets <= MAX_TRANSFER_MESSAGE));
    }
}
