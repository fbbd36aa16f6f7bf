use proptest::prelude::*;

use super::*;
use crate::{
    Answer, Cookie, Echo, Ecs, Query, RData, ResponseCode, Transport, absolute,
    rdata::{A, TXT},
};

fn request() -> Request {
    let ecs = Ecs::new([192, 0, 2, 0].into(), 24);
    let cookie = Cookie { client: *b"client01", server: vec![] };
    let edns = Edns { size: 4096, dnssec_ok: false, ecs: Some(ecs), cookie: Some(cookie) };
    Question { edns: Some(edns), ..Question::new(absolute("orders.test").unwrap(), RecordType::A) }
        .request(None, 0)
}

fn answer(request: &Request) -> (Answer, Query) {
    let query = Query::read(request.message()).unwrap();
    let record = |data| Record::from_rdata(query.name.clone(), 30, data);
    let text = TXT::new(vec!["1 7".to_owned()]);
    let answers = vec![record(RData::A(A::new(192, 0, 2, 1))), record(RData::TXT(text))];
    (Answer::records(answers), query)
}

/// A reply to the request, to a query that was changed before.
fn reply(request: &Request, change: impl FnOnce(&mut Query)) -> Vec<u8> {
    let (answer, mut query) = answer(request);
    change(&mut query);
    answer.encode(&query, &Echo { scope: 20, cookie: Some([7; 16]), signature: 0 }, Transport::Udp).unwrap()
}

#[test]
fn a_reply_comes_back_as_it_was_sent() {
    let request = request();
    let read = request.read(&reply(&request, |_| {}), 0).unwrap();
    let (sent, _) = answer(&request);
    assert_eq!((read.answers, read.code, read.authoritative), (sent.answers, sent.code, true));
    assert_eq!((read.scope, read.edns.unwrap().cookie.unwrap().server), (20, vec![7; 16]));
}

#[test]
fn replies_to_other_questions() {
    let request = request();
    #[track_caller]
    fn check(request: &Request, change: impl FnOnce(&mut Query), expected: Result<ResponseCode, BadReply>) {
        let read = request.read(&reply(request, change), 0);
        assert_eq!(read.map(|reply| reply.code), expected);
    }
    let (another, same) = (Err(BadReply::Another), Ok(ResponseCode::NoError));
    check(&request, |query| query.id ^= 1, another);
    check(&request, |query| query.opcode = crate::Opcode::Notify, another);
    check(&request, |query| query.name = absolute("other.test").unwrap(), another);
    check(&request, |query| query.name = absolute("ORDERS.test").unwrap(), same);
    check(&request, |query| query.record_type = RecordType::AAAA, another);
    let edns = |change: fn(&mut Edns)| move |query: &mut Query| change(query.edns.as_mut().unwrap());
    check(&request, edns(|edns| edns.cookie.as_mut().unwrap().client[0] ^= 1), another);
    check(&request, edns(|edns| edns.ecs = Some(Ecs::new([192, 0, 3, 0].into(), 24))), another);
    check(&request, edns(|edns| edns.ecs = Some(Ecs::new([192, 0, 2, 0].into(), 23))), another);
    // A server may know no such options, and no EDNS.
    check(&request, edns(|edns| (edns.cookie, edns.ecs) = (None, None)), same);
    check(&request, |query| query.edns = None, same);
    let plain = Question::new(absolute("orders.test").unwrap(), RecordType::A).request(None, 0);
    let edns = Edns { size: 1232, dnssec_ok: false, ecs: None, cookie: None };
    let cookie = Some(Cookie { client: [1; 8], server: vec![] });
    check(&plain, |query| query.edns = Some(Edns { cookie, ..edns }), another);
}

#[test]
fn codes_beyond_four_bits() {
    let request = request();
    let (_, query) = answer(&request);
    for code in [ResponseCode::BADVERS, ResponseCode::BADCOOKIE, ResponseCode::Refused] {
        let message = Answer::error(code).encode(&query, &Echo::default(), Transport::Udp).unwrap();
        assert_eq!(request.read(&message, 0).unwrap().code, code);
    }
}

/// Nothing that comes from the network panics, and what is read has all the records that its header counts.
fn holds(request: &Request, message: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(reply) = request.read(message, 0) {
        let counted = |at: usize| usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
        prop_assert_eq!((reply.answers.len(), reply.authorities.len()), (counted(6), counted(8)));
        prop_assert!(reply.additionals.len() + usize::from(reply.edns.is_some()) <= counted(10));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_replies(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        let request = request();
        let mut message = reply(&request, |_| {});
        for (at, octet) in changes {
            let at = at.index(message.len() - 3) + 3;
            message[at] = octet;
        }
        holds(&request, &message)?;
        holds(&request, &message[..cut.index(message.len())])?;
    }

    #[test]
    fn random_records(counts in prop::array::uniform3(0u16..3), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let request = request();
        let mut message = request.message()[..12].to_vec();
        message[2] |= 0x80;
        let numbers = counts.iter().flat_map(|count| count.to_be_bytes());
        message.truncate(4);
        message.extend([0, 0]);
        message.extend(numbers);
        message.extend(&body);
        holds(&request, &message)?;
    }
}
