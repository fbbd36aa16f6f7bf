use base64::{Engine as _, prelude::BASE64_STANDARD};
use hanse_topology::bring_back;
use proptest::prelude::*;

use super::*;
use crate::{
    Malformed, absolute,
    testbed::{Raw, a, decoded},
};

/// When the recorded messages were signed.
const RECORDED: u64 = 1_796_070_150;

fn recorded_key() -> Key {
    let secret = BASE64_STANDARD.decode("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
    Key::new(absolute("to-bind").unwrap(), &secret).unwrap()
}

/// The messages of one section of the recording: those to the server, and those from it.
pub(crate) fn recorded(section: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
    let text = include_str!("testdata/bind-9.18.txt");
    let (_, behind) = text.split_once(&format!("[{section}]\n")).unwrap();
    let lines = || behind.lines().take_while(|line| !line.starts_with('['));
    let of = |sign: &'static str| {
        lines().filter_map(move |line| Some(hex::decode(line.strip_prefix(sign)?).unwrap()))
    };
    (of("> ").next().unwrap(), of("< ").collect())
}

fn key(name: &str, octet: u8) -> Key {
    Key::new(absolute(name).unwrap(), &[octet; 32]).unwrap()
}

fn verified(message: &[u8], key: Option<&Key>, now: u64) -> Result<Transaction, Refused> {
    let query = Query::read(message).unwrap();
    verify(message, &query.signature.unwrap(), key, now)
}

/// A signed query, and what the client keeps of it.
fn asked(key: &Key, now: u64) -> (Vec<u8>, Expected) {
    let mut message = Raw::query().with_opt(1232, 0, &[]).bytes();
    let expected = Expected::begin(key, &mut message, now);
    (message, expected)
}

#[test]
fn a_query_of_dig_and_the_answer_of_bind() {
    let (query, answers) = recorded("query");
    let [answer] = &answers[..] else { panic!("{}", answers.len()) };
    let mut server = verified(&query, Some(&recorded_key()), RECORDED).unwrap();
    let mut client = Expected(server.0.clone());
    client.check(answer, RECORDED).unwrap();

    // What this crate signs in the place of BIND is the same, octet by octet.
    let signature = last_record(answer).unwrap();
    let signed = server.sign(signature.signed(answer), RECORDED);
    assert_eq!(hex::encode(signed), hex::encode(answer));
    assert_eq!(server.room(), answer.len() - signature.at);
    // So is what it signs in the place of dig.
    let mut message = last_record(&query).unwrap().signed(&query);
    Expected::begin(&recorded_key(), &mut message, RECORDED);
    assert_eq!(hex::encode(message), hex::encode(query));
}

#[test]
fn a_transfer_of_bind_in_seven_messages() {
    let (query, answers) = recorded("transfer");
    assert_eq!(answers.len(), 7);
    let begun = verified(&query, Some(&recorded_key()), RECORDED).unwrap();
    let (mut client, mut server) = (Expected(begun.0.clone()), begun.clone());
    for answer in &answers {
        client.check(answer, RECORDED).unwrap();
        let signature = last_record(answer).unwrap();
        assert_eq!(server.sign(signature.signed(answer), RECORDED), *answer);
    }
    let mut late = Expected(begun.0);
    late.check(&answers[0], RECORDED).unwrap();
    assert_eq!(late.check(&answers[2], RECORDED), Err(BadSignature::Other), "one is missing");
}

#[test]
fn an_update_of_nsupdate_and_the_answer_of_bind() {
    let (request, answers) = recorded("update");
    let signature = last_record(&request).unwrap();
    let server = verify(&request, &signature, Some(&recorded_key()), RECORDED).unwrap();
    Expected(server.0).check(&answers[0], RECORDED).unwrap();
}

/// A signed query at the server → the reply's code, the error of TSIG, whether it is signed, and what the client makes of it.
#[track_caller]
fn check(message: &[u8], at_server: Option<&Key>, now: u64, client: Option<Expected>, expected: &str) {
    let refused = verified(message, at_server, now).expect_err("it is refused");
    let reply = refused.reply(&Query::read(message).unwrap(), now);
    let code = decoded(&reply).response_code;
    let signature = last_record(&reply);
    let error = signature.as_ref().and_then(|signature| signature.tsig.error).map_or(0, u16::from);
    let signed = signature.is_some_and(|signature| !signature.tsig.mac.is_empty());
    let heard = client.map(|mut client| client.check(&reply, now).expect_err("it is an error"));
    let heard = heard.map_or(String::new(), |heard| format!(", client: {heard}"));
    assert_eq!(format!("{code:?} {error} {}{heard}", if signed { "signed" } else { "unsigned" }), expected);
}

#[test]
fn errors_of_rfc_8945_section_5() {
    let (ours, now) = (key("ours", 1), 1_000_000);
    let (message, client) = asked(&ours, now);
    let client = || Some(client.clone());
    let unknown = "NotAuth 17 unsigned, client: the server refuses the signature: BADKEY: it knows no key of this name for HMAC-SHA256";
    check(&message, None, now, client(), unknown);
    check(&message, Some(&key("other", 1)), now, client(), unknown);
    let wrong = "NotAuth 16 unsigned, client: the server refuses the signature: BADSIG: the two ends have different secrets under this name";
    check(&message, Some(&key("ours", 2)), now, client(), wrong);

    // Within the fudge of 300 s, on both sides.
    for clock in [now - 300, now + 300] {
        verified(&message, Some(&ours), clock).unwrap();
    }
    let late = "NotAuth 18 signed, client: the server refuses the signature: BADTIME: its clock differs by more than the message allows";
    for clock in [now - 301, now + 301] {
        check(&message, Some(&ours), clock, client(), late);
    }
    // A client may not allow itself more, although it has the key.
    let long = signed_with(&ours, |tsig| tsig.fudge = u16::MAX);
    check(&long, Some(&ours), now + 301, None, "NotAuth 18 signed");
    verified(&long, Some(&ours), now).unwrap();

    // The client hears of its own algorithm, or it would not take the reply for an answer to its query.
    let sha512 = signed_with(&ours, |tsig| tsig.algorithm = TsigAlgorithm::HmacSha512);
    check(&sha512, Some(&ours), now, None, "NotAuth 17 unsigned");
    let refused = verified(&sha512, Some(&ours), now).unwrap_err();
    let reply = refused.reply(&Query::read(&sha512).unwrap(), now);
    assert_eq!(last_record(&reply).unwrap().tsig.algorithm.to_name(), TsigAlgorithm::HmacSha512.to_name());
}

#[test]
fn no_refusal_is_larger_than_what_the_client_takes() {
    let long = |letter: &str| absolute(&vec![letter.repeat(61); 4].join(".")).unwrap();
    let bare = Raw { body: [b"\x3d", &[b'q'; 61][..]].concat().repeat(4), ..Raw::query() };
    for (key, octets) in [("k".to_owned(), 359), (long("k").to_string(), 265)] {
        let mut message = Raw { body: [&bare.body[..], b"\0\0\x01\0\x01"].concat(), ..Raw::query() }.bytes();
        let algorithm = TsigAlgorithm::Unknown(absolute(&"a".repeat(63)).unwrap());
        attach(&mut message, &absolute(&key).unwrap(), &without_mac(algorithm, Raw::ID, 7, 0));
        let reply = verified(&message, None, 7).unwrap_err().reply(&Query::read(&message).unwrap(), 7);
        let code = decoded(&reply).response_code;
        let expected =
            if last_record(&reply).is_some() { ResponseCode::NotAuth } else { ResponseCode::FormErr };
        assert_eq!((reply.len(), code), (octets, expected));
    }
}

#[test]
fn names_of_keys_compare_without_case() {
    let (message, mut client) = asked(&key("OURS.example", 1), 7);
    let mut server = verified(&message, Some(&key("ours.EXAMPLE", 1)), 7).unwrap();
    let plain = Raw { flags: [0x84, 0], ..Raw::query() }.bytes();
    client.check(&server.sign(plain, 7), 7).unwrap();
    // The MAC is that of the name in lower case (§4.3.3).
    let mac = |message: &[u8]| last_record(message).unwrap().tsig.mac;
    let (lower, _) = asked(&key("ours.example", 1), 7);
    assert_eq!(mac(&message), mac(&lower));
}

/// A query at 1,000,000 whose TSIG record was changed before it was signed.
fn signed_with(key: &Key, change: impl FnOnce(&mut TSIG)) -> Vec<u8> {
    let mut message = Raw::query().bytes();
    let mut tsig = without_mac(TsigAlgorithm::HmacSha256, Raw::ID, 1_000_000, 0);
    change(&mut tsig);
    let mac = key.mac(None, &message, &Covered::All(&key.name, &tsig));
    attach(&mut message, &key.name, &tsig.set_mac(mac.to_vec()));
    message
}

#[test]
fn macs_that_are_truncated() {
    let (ours, now) = (key("ours", 1), 1_000_000);
    let with_mac = |octets: usize| {
        let whole = last_record(&signed_with(&ours, |_| {})).unwrap().tsig;
        let mut mac = whole.mac.clone();
        mac.resize(octets, 0);
        let mut message = Raw::query().bytes();
        attach(&mut message, &ours.name, &whole.set_mac(mac));
        message
    };
    for octets in [0, 1, 10, 15, 33, 64] {
        check(&with_mac(octets), Some(&ours), now, None, "FormErr 0 unsigned");
    }
    for octets in [16, 31] {
        check(&with_mac(octets), Some(&ours), now, None, "NotAuth 22 signed");
    }
    verified(&with_mac(32), Some(&ours), now).unwrap();
}

#[test]
fn an_octet_that_was_changed_is_noticed() {
    let (ours, now) = (key("ours", 1), 1_000_000);
    let (message, _) = asked(&ours, now);
    let signature = last_record(&message).unwrap();
    let algorithm = signature.at + "\x04ours\0".len() + 10;
    let names = [signature.at..algorithm - 10, algorithm..algorithm + "\x0bhmac-sha256\0".len()];
    let mut noticed = [0; 2];
    for at in 0..message.len() {
        for bit in 0..8 {
            let mut changed = message.clone();
            changed[at] ^= 1 << bit;
            let unseen = match Query::read(&changed) {
                Err(Malformed { .. }) => continue,
                Ok(Query { signature: None, .. }) => {
                    noticed[0] += 1;
                    continue;
                }
                Ok(Query { signature: Some(signature), .. }) => {
                    verify(&changed, &signature, Some(&ours), now).is_ok()
                }
            };
            // The id may change on the way: what was signed is the original one. Names of keys and algorithms have no case.
            let without_case =
                names.iter().any(|name| name.contains(&at)) && changed[at].eq_ignore_ascii_case(&message[at]);
            assert_eq!(unseen, at < 2 || without_case, "bit {bit} of octet {at}");
            noticed[1] += 1;
        }
    }
    assert!(noticed[1] > 500, "{noticed:?}");
}

#[test]
fn answers_that_a_client_does_not_believe() {
    let (ours, now) = (key("ours", 1), 1_000_000);
    let (message, client) = asked(&ours, now);
    let check = |answer: &[u8], expected| assert_eq!(client.clone().check(answer, now), expected);
    let plain = Raw { flags: [0x84, 0], ..Raw::query() }.bytes();
    let server = verified(&message, Some(&ours), now).unwrap();
    let sign = |server: &Transaction, now| server.clone().sign(plain.clone(), now);
    check(&sign(&server, now), Ok(()));
    check(&sign(&server, now + 300), Ok(()));
    check(&sign(&server, now + 301), Err(BadSignature::Time));
    check(&plain, Err(BadSignature::Unsigned));
    check(&plain[..12], Err(BadSignature::Unsigned));
    check(&[], Err(BadSignature::Unsigned));
    let (other, _) = asked(&ours, now + 1);
    check(&sign(&verified(&other, Some(&ours), now).unwrap(), now), Err(BadSignature::Other));
    let (other, _) = asked(&key("ours", 2), now);
    check(&sign(&verified(&other, Some(&key("ours", 2)), now).unwrap(), now), Err(BadSignature::Other));
    let behind = [&sign(&server, now)[..], b"x"].concat();
    check(&behind, Err(BadSignature::Unsigned));
}

/// An answer in so many messages, which the client gets in this order.
fn arrives(order: &[usize]) -> Result<(), BadSignature> {
    let (ours, now) = (key("ours", 1), 1_000_000);
    let (message, mut client) = asked(&ours, now);
    let mut server = verified(&message, Some(&ours), now).unwrap();
    // All of them are equal, so that nothing but the chain can tell one from another.
    let plain = Raw { flags: [0x84, 0], ..Raw::query() }.bytes();
    let messages: Vec<_> = (0..5).map(|_| server.sign(plain.clone(), now)).collect();
    order.iter().try_for_each(|at| client.check(&messages[*at], now))
}

/// Messages come in their order, or the first one that does not is refused.
fn chain_holds(order: &[usize]) -> Result<(), TestCaseError> {
    let in_order = order.iter().enumerate().all(|(turn, at)| turn == *at);
    prop_assert_eq!(arrives(order).is_ok(), in_order);
    Ok(())
}

#[test]
fn a_chain_that_covers_no_message_before_is_noticed() {
    let whole = || chain_holds(&[0, 1, 2, 3, 4]);
    assert!(whole().is_ok());
    assert!(bring_back("tsig-unchained", whole).is_err());
}

proptest! {
    #[test]
    fn no_message_of_a_chain_is_missing_doubled_or_moved(order in prop::collection::vec(0usize..5, 0..6)) {
        chain_holds(&order)?;
    }
}

#[test]
fn an_octet_of_an_answer_that_was_changed_is_noticed() {
    let (ours, now) = (key("ours", 1), 1_000_000);
    let (message, client) = asked(&ours, now);
    let query = Query::read(&message).unwrap();
    let answer = Answer::records(vec![a("Orders.test", 30, 1)]);
    let answer = answer.encode(&query, &Echo::default(), Transport::Udp).unwrap();
    let answer = verified(&message, Some(&ours), now).unwrap().sign(answer, now);
    client.clone().check(&answer, now).unwrap();
    let signature = last_record(&answer).unwrap();
    let algorithm = signature.at + "\x04ours\0".len() + 10;
    let names = [signature.at..algorithm - 10, algorithm..algorithm + "\x0bhmac-sha256\0".len()];
    for at in 0..answer.len() {
        for bit in 0..8 {
            let mut changed = answer.clone();
            changed[at] ^= 1 << bit;
            let unseen = client.clone().check(&changed, now).is_ok();
            // The id is compared with that of the request, and what was signed is the original one.
            let without_case =
                names.iter().any(|name| name.contains(&at)) && changed[at].eq_ignore_ascii_case(&answer[at]);
            assert_eq!(unseen, at < 2 || without_case, "bit {bit} of octet {at}");
        }
    }
    for length in 0..answer.len() {
        assert!(client.clone().check(&answer[..length], now).is_err(), "{length} octets");
    }
}

#[test]
fn keys_that_are_refused_or_shown() {
    let bad = Key::new(absolute("to-bind").unwrap(), &[1; 15]).unwrap_err();
    assert_eq!(
        bad.to_string(),
        "the secret of TSIG key to-bind. has 15 octets; make one of at least 16, such as by `openssl rand -base64 32`"
    );
    let name = vec!["k".repeat(52); 2].join(".");
    assert!(Key::new(absolute(&name).unwrap(), &[1; 32]).is_ok());
    let bad = Key::new(absolute(&format!("a{name}")).unwrap(), &[1; 32]).unwrap_err();
    let text = bad.to_string();
    assert!(text.ends_with("has 108 octets; use one of at most 107"), "{text}");
    assert_eq!(format!("{:?}", key("ours", 200)), "Key(Name(\"ours.\"))");
}

#[test]
fn a_signature_has_its_room() {
    let key = key("a-long-name-of-a-key.example.com", 1);
    let (message, _) = asked(&key, 7);
    let mut server = verified(&message, Some(&key), 7).unwrap();
    let query = Query::read(&message).unwrap();
    let echo = Echo { signature: server.room(), ..Echo::default() };
    for count in [10, 67, 68, 80] {
        let answer = Answer::records((0..count).map(|last| a("Orders.test", 30, last)).collect());
        let signed = server.sign(answer.encode(&query, &echo, Transport::Udp).unwrap(), 7);
        assert!(signed.len() <= 1232);
        assert_eq!(decoded(&signed).truncation, count > 67, "{count}");
    }
}
