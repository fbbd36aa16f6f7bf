use hickory_proto::{
    op::{Message, OpCode},
    rr::rdata::{A, TXT},
};

use super::*;
use crate::{
    absolute, notify,
    testbed::{decoded, soa},
    tsig::tests::recorded,
};

fn name(text: &str) -> Name {
    absolute(text).unwrap()
}

fn epoch(text: &str) -> RData {
    RData::TXT(TXT::new(vec![text.to_owned()]))
}

/// The epoch of `orders` is these texts.
fn holds(texts: &[&str]) -> Prerequisite {
    let values = texts.iter().map(|text| epoch(text)).collect();
    Prerequisite::RrsetIs { name: name("_hanse-epoch.orders.example.test"), values }
}

fn update(prerequisites: Vec<Prerequisite>) -> Update {
    let orders = name("orders.example.test");
    let add = Record::from_rdata(orders.clone(), 30, RData::A(A::new(192, 0, 2, 9)));
    let changes = vec![Change::DeleteRrset(orders, RecordType::A), Change::Add(add)];
    Update { zone: name("example.test"), prerequisites, changes }
}

fn sent(update: &Update) -> Message {
    decoded(update.request(None, 0).unwrap().message())
}

#[test]
fn the_same_as_nsupdate_sends() {
    let sent = sent(&update(vec![holds(&["1 7"])]));
    let theirs = decoded(&recorded("update").0);
    assert_eq!(sent.op_code, OpCode::Update);
    assert_eq!((sent.op_code, &sent.queries), (theirs.op_code, &theirs.queries));
    assert_eq!((&sent.answers, &sent.authorities), (&theirs.answers, &theirs.authorities));
}

#[test]
fn prerequisites_of_rfc_2136_section_2_4() {
    let none = Prerequisite::NoRrset {
        name: name("_hanse-epoch.orders.example.test"),
        record_type: RecordType::TXT,
    };
    let absent = sent(&update(vec![none]));
    let [record] = &absent.answers[..] else { panic!("{:?}", absent.answers) };
    assert_eq!(
        (record.dns_class, record.ttl, &record.data),
        (DNSClass::NONE, 0, &RData::Update0(RecordType::TXT))
    );
    let two = sent(&update(vec![holds(&["1 7", "1 8"])]));
    let values: Vec<_> =
        two.answers.iter().map(|record| (record.dns_class, record.ttl, record.data.clone())).collect();
    assert_eq!(values, [(DNSClass::IN, 0, epoch("1 7")), (DNSClass::IN, 0, epoch("1 8"))]);
}

#[test]
fn updates_that_make_no_request() {
    let failed = |update: &Update| update.request(None, 0).unwrap_err().to_string();
    assert_eq!(
        failed(&update(vec![holds(&[])])),
        "a prerequisite for _hanse-epoch.orders.example.test. has no values; name one at least, or say that there is no such RRset"
    );
    let changes = |records: Vec<Record>| Update {
        changes: records.into_iter().map(Change::Add).collect(),
        ..update(vec![])
    };
    let long = Record::from_rdata(name("orders.example.test"), 30, epoch(&"x".repeat(256)));
    assert_eq!(failed(&changes(vec![long])), "cannot encode the TXT record of orders.example.test.");
    let address = |at: u16| {
        let [third, fourth] = at.to_be_bytes();
        Record::from_rdata(name("orders.example.test"), 30, RData::A(A::new(10, 0, third, fourth)))
    };
    for count in [6_000, 70_000_u32] {
        let many = changes((0..count).map(|at| address(at as u16)).collect());
        assert_eq!(
            failed(&many),
            "the A record of orders.example.test., behind the records before it, does not fit into 65535 octets; use fewer or shorter records"
        );
    }
}

#[test]
fn outcomes() {
    let request = update(vec![]).request(None, 0).unwrap();
    let outcome = |code: u8| {
        // With the zone section, and without it (§3.8).
        let mut whole = request.message()[..request.message().len().min(30)].to_vec();
        (whole[2], whole[3]) = (whole[2] | 0x80, code);
        whole[6..12].fill(0);
        let mut bare = whole[..12].to_vec();
        bare[4..6].fill(0);
        let outcomes = [whole, bare].map(|reply| Outcome::of(&request.read(&reply, 0).unwrap()));
        assert_eq!(outcomes[0], outcomes[1]);
        outcomes[0]
    };
    assert_eq!(outcome(0), Outcome::NoError);
    assert_eq!(outcome(7), Outcome::YxRrset);
    assert_eq!(outcome(8), Outcome::NxRrset);
    for (number, code) in [
        (1, ResponseCode::FormErr),
        (5, ResponseCode::Refused),
        (9, ResponseCode::NotAuth),
        (10, ResponseCode::NotZone),
    ] {
        assert_eq!(outcome(number), Outcome::Error(code));
    }
}

#[test]
fn notify_of_rfc_1996() {
    let request = notify(&soa(60, 30), None, 0);
    let sent = decoded(request.message());
    assert_eq!((sent.op_code, sent.authoritative, sent.queries.len()), (OpCode::Notify, true, 1));
    assert_eq!((sent.queries[0].name(), sent.queries[0].query_type()), (&name("test"), RecordType::SOA));
    assert_eq!(sent.answers, [soa(60, 30)]);
}
