//! Reads a plain query for an address and makes its answer, again and again, and prints the time of one turn.
//!
//! `cargo run --profile fast -p hanse-dns-wire --example measure [TURNS]`

#![allow(clippy::print_stdout)] // the output of a command

use std::{hint::black_box, time::Instant};

use hanse_dns_wire::{
    Answer, Echo, Ecs, Edns, Query, Question, RData, Record, RecordType, Transport, absolute, cookie::Secret,
    rdata::A,
};

fn main() {
    let turns: u32 =
        std::env::args().nth(1).map_or(1_000_000, |turns| turns.parse().expect("TURNS is a number"));
    let name = absolute("orders.gslb.example.com").expect("it is a name");
    let plain = Question::new(name.clone(), RecordType::A);
    let ecs = Ecs::new([192, 0, 2, 0].into(), 24);
    let edns = Edns { size: 1232, dnssec_ok: false, ecs: None, cookie: None };
    let with = |edns| Question { edns: Some(edns), ..plain.clone() };
    let secret = Secret::new([7; 16]);
    let server = secret.make(&[1; 8], [192, 0, 2, 1].into(), 0).to_vec();
    let cookie = hanse_dns_wire::Cookie { client: [1; 8], server };
    for (what, question) in [
        ("plain", plain.clone()),
        ("EDNS", with(edns.clone())),
        (
            "EDNS, a client's network and a cookie",
            with(Edns { ecs: Some(ecs), cookie: Some(cookie), ..edns }),
        ),
    ] {
        let message = question.request(None, 0).message().to_vec();
        let began = Instant::now();
        for _ in 0..turns {
            let query = Query::read(black_box(&message)).expect("it is a query");
            let record = Record::from_rdata(query.name.clone(), 30, RData::A(A::new(192, 0, 2, 1)));
            let shown = query.edns.as_ref().and_then(|edns| edns.cookie.as_ref());
            black_box(secret.judge(shown, [192, 0, 2, 1].into(), 0));
            let cookie = shown.map(|shown| secret.make(&shown.client, [192, 0, 2, 1].into(), 0));
            let echo = Echo { scope: 24, cookie, signature: 0 };
            black_box(Answer::records(vec![record]).encode(&query, &echo, Transport::Udp).expect("it fits"));
        }
        println!("{what}: {} ns", began.elapsed().as_nanos() / u128::from(turns.max(1)));
    }
}
