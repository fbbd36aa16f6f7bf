//! A server for one zone, `test`, on loopback.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use hanse_dns_wire::{
    Answer, Echo, Name, Opcode, Query, RData, Record, RecordType, ResponseCode, Transfer, Transport,
    absolute,
    ask::{receive, send},
    cookie::{self, CookieStatus},
    rdata::{A, SOA},
    tsig::{Key, Transaction, verify},
};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// What the zone has, beside its SOA.
pub(crate) struct Zone {
    pub(crate) soa: Record,
    pub(crate) records: Vec<Record>,
    pub(crate) key: Key,
    pub(crate) secret: cookie::Secret,
}

/// Serves while it lives.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

pub(crate) fn name(text: &str) -> Name {
    absolute(text).unwrap()
}

pub(crate) fn a(owner: &str, address: [u8; 4]) -> Record {
    let [a, b, c, d] = address;
    Record::from_rdata(name(owner), 30, RData::A(A::new(a, b, c, d)))
}

pub(crate) fn key() -> Key {
    Key::new(name("to-bind"), b"0123456789abcdef0123456789abcdef").unwrap()
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Zone {
    /// `orders` has two addresses, `many` has 100, and `near` has one that depends on the client's network.
    pub(crate) fn new(hosts: usize) -> Self {
        let data = SOA::new(name("ns1.test"), name("admin.test"), 7, 3600, 600, 86_400, 30);
        let mut records = vec![
            Record::from_rdata(name("test"), 300, RData::NS(hanse_dns_wire::rdata::NS(name("ns1.test")))),
            a("ns1.test", [127, 0, 0, 1]),
            a("orders.test", [192, 0, 2, 1]),
            a("orders.test", [192, 0, 2, 2]),
        ];
        records.extend((0..100).map(|last| a("many.test", [192, 0, 2, last])));
        records.extend(
            (0..hosts).map(|host| a(&format!("host-{host}.test"), [10, 0, (host >> 8) as u8, host as u8])),
        );
        let soa = Record::from_rdata(name("test"), 300, RData::SOA(data));
        Self { soa, records, key: key(), secret: cookie::Secret::new([7; 16]) }
    }

    fn answer(&self, query: &Query) -> (Answer, u8) {
        let network = query.edns.as_ref().and_then(|edns| edns.ecs);
        if query.opcode == Opcode::Notify || !name("test").zone_of(&query.name) {
            return (Answer::error(ResponseCode::Refused), 0);
        }
        if query.name == name("near.test") {
            let third = network.and_then(|ecs| ecs.network()).map_or(0, |(address, _)| match address {
                IpAddr::V4(address) => address.octets()[2],
                IpAddr::V6(address) => address.octets()[7],
            });
            let mut near = a("near.test", [198, 51, 100, third]);
            near.name = query.name.clone();
            return (Answer::records(vec![near]), network.map_or(0, |ecs| ecs.source()));
        }
        let of_name: Vec<&Record> =
            self.records.iter().chain([&self.soa]).filter(|record| record.name == query.name).collect();
        let of_type = of_name.iter().filter(|record| record.record_type() == query.record_type);
        let mut found: Vec<Record> = of_type.map(|record| (*record).clone()).collect();
        found.iter_mut().for_each(|record| record.name = query.name.clone());
        let answer = match (query.record_type, of_name.is_empty(), found.is_empty()) {
            (_, true, _) => Answer::no_such_name(&self.soa),
            (RecordType::ANY, false, _) => Answer::any(query, 3600),
            (_, false, true) => Answer::no_data(&self.soa),
            (_, false, false) => Answer::records(found),
        };
        (answer, 0)
    }

    /// All messages of the answer.
    fn answers(&self, message: &[u8], client: IpAddr, transport: Transport) -> Vec<Vec<u8>> {
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(malformed) => return malformed.reply.into_iter().collect(),
        };
        let known = |signature: &hanse_dns_wire::tsig::Signature| {
            Some(&self.key).filter(|key| signature.key() == key.name())
        };
        let verified =
            query.signature.as_ref().map(|signature| verify(message, signature, known(signature), now()));
        let mut transaction: Option<Transaction> = match verified.transpose() {
            Ok(transaction) => transaction,
            Err(refused) => return vec![refused.reply(&query, now())],
        };
        let is_transfer = matches!(query.record_type, RecordType::AXFR | RecordType::IXFR);
        let RData::SOA(soa) = &self.soa.data else { panic!("{}", self.soa) };
        let by_transfer = is_transfer && transport == Transport::Tcp && !query.is_up_to_date(soa.serial);
        if let Some(transaction) = transaction.clone().filter(|_| by_transfer) {
            let mut transfer = Transfer::new(&query, &self.soa, &self.records, transaction);
            return std::iter::from_fn(|| transfer.next(now())).map(Result::unwrap).collect();
        }
        let (answer, scope) = match (is_transfer, &transaction) {
            (false, _) => self.answer(&query),
            (true, Some(_)) if query.record_type == RecordType::IXFR => (Answer::soa(&self.soa), 0),
            (true, _) => (Answer::error(ResponseCode::Refused), 0),
        };
        let shown = query.edns.as_ref().and_then(|edns| edns.cookie.as_ref());
        let made = shown.map(|shown| self.secret.make(&shown.client, client, now() as u32));
        let bad = self.secret.judge(shown, client, now() as u32) == CookieStatus::Bad;
        let answer = if bad { Answer::error(ResponseCode::BADCOOKIE) } else { answer };
        let signature = transaction.as_ref().map_or(0, Transaction::room);
        let encoded = answer.encode(&query, &Echo { scope, cookie: made, signature }, transport).unwrap();
        match &mut transaction {
            Some(transaction) => vec![transaction.sign(encoded, now())],
            None => vec![encoded],
        }
    }

    /// Serves over UDP and TCP at one port.
    pub(crate) async fn serve(self) -> Server {
        let (tcp, udp) = both().await;
        let address = tcp.local_addr().unwrap();
        let zone = Arc::new(self);
        let mut tasks = JoinSet::new();
        let of_udp = zone.clone();
        tasks.spawn(async move {
            let mut buffer = vec![0; 65_535];
            loop {
                let (octets, client) = udp.recv_from(&mut buffer).await.unwrap();
                for answer in of_udp.answers(&buffer[..octets], client.ip(), Transport::Udp) {
                    udp.send_to(&answer, client).await.unwrap();
                }
            }
        });
        tasks.spawn(async move {
            loop {
                let (stream, client) = tcp.accept().await.unwrap();
                tokio::spawn(connection(zone.clone(), stream, client.ip()));
            }
        });
        Server { address, _tasks: tasks }
    }
}

/// A free port of TCP may be taken for UDP, such as by a client of another test.
async fn both() -> (TcpListener, UdpSocket) {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (tcp, udp);
        }
    }
    panic!("no port of loopback is free for both");
}

async fn connection(zone: Arc<Zone>, mut stream: TcpStream, client: IpAddr) {
    while let Ok(message) = receive(&mut stream).await {
        for answer in zone.answers(&message, client, Transport::Tcp) {
            if send(&mut stream, &answer).await.is_err() {
                return;
            }
        }
    }
}
