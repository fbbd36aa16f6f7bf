//! A name server that answers as it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use super::super::system::Source;

/// How often its thread looks whether a test still needs it.
const LOOK: Duration = Duration::from_millis(100);

/// What it does when it is asked for a name.
#[derive(Debug, Clone)]
pub(super) enum Does {
    Answer { addresses: Vec<IpAddr>, ttl: u32 },
    SayNoSuchName,
    Fail,
    KeepSilent,
}

impl Does {
    pub(super) fn answer(addresses: &[&str], ttl: u32) -> Self {
        Self::Answer { addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(), ttl }
    }
}

/// A name server; it ends when it is dropped. Names below `silent.test` get no answer and names below `answers.test` are
/// 127.0.0.1, unless it is told otherwise; there are no others.
pub(super) struct NameServer {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    told: BTreeMap<String, Does>,
    silent: bool,
    silent_on_ipv6: bool,
    asked: Vec<(String, u16)>,
}

impl NameServer {
    pub(super) fn start() -> Self {
        Self::on(UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    /// Two of them: as `nameserver 127.0.0.1` and `nameserver 127.0.0.2`.
    pub(super) fn two() -> (Self, Self) {
        loop {
            let one = UdpSocket::bind("127.0.0.1:0").unwrap();
            let port = one.local_addr().unwrap().port();
            // Another process may have that port there.
            if let Ok(other) = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), port)) {
                return (Self::on(one), Self::on(other));
            }
        }
    }

    fn on(socket: UdpSocket) -> Self {
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let heard = Arc::downgrade(&state);
        std::thread::spawn(move || serve(&socket, &heard));
        Self { port, state }
    }

    pub(super) fn tell(&self, name: &str, does: Does) {
        self.state.lock().unwrap().told.insert(name.to_owned(), does);
    }

    /// Answers no request any more.
    pub(super) fn fall_silent(&self) {
        self.state.lock().unwrap().silent = true;
    }

    /// Says nothing any more when it is asked for IPv6 addresses.
    pub(super) fn keep_silent_on_ipv6(&self) {
        self.state.lock().unwrap().silent_on_ipv6 = true;
    }

    /// Names it was asked for that fit.
    pub(super) fn asked(&self, fits: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let state = self.state.lock().unwrap();
        state.asked.iter().filter(|(name, _)| fits(name)).map(|(name, _)| name.clone()).collect()
    }

    /// How often it was asked for the IPv4 addresses of a name.
    pub(super) fn times(&self, name: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|(asked, kind)| asked == name && *kind == A).count()
    }

    /// A system that asks it, with these further lines in its files.
    pub(super) fn system(&self, directory: &tempfile::TempDir, hosts: &str, resolv_conf: &str) -> Source {
        let at = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Source {
            hosts: at("hosts", hosts.to_owned()),
            resolv_conf: at("resolv.conf", format!("nameserver 127.0.0.1\n{resolv_conf}\n")),
            port: self.port,
        }
    }
}

const A: u16 = 1;
const AAAA: u16 = 28;

fn serve(socket: &UdpSocket, state: &Weak<Mutex<State>>) {
    let mut buffer = [0; 1_500];
    loop {
        let received = socket.recv_from(&mut buffer);
        let Some(state) = state.upgrade() else { return };
        let Ok((length, from)) = received else { continue };
        let query = &buffer[..length];
        let (name, end) = question(query);
        let kind = u16::from_be_bytes([query[end], query[end + 1]]);
        let does = {
            let mut state = state.lock().unwrap();
            state.asked.push((name.clone(), kind));
            match state.told.get(&name) {
                _ if state.silent || state.silent_on_ipv6 && kind == AAAA => Does::KeepSilent,
                Some(does) => does.clone(),
                None if name.ends_with(".silent.test") => Does::KeepSilent,
                None if name.ends_with(".answers.test") => Does::answer(&["127.0.0.1"], 1),
                None => Does::SayNoSuchName,
            }
        };
        if let Some(answer) = answer(query, end + 4, kind, &does) {
            let _ = socket.send_to(&answer, from); // who asked may be gone
        }
    }
}

/// The name in the question, and where it ends.
fn question(query: &[u8]) -> (String, usize) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    (labels.join("."), at + 1)
}

fn answer(query: &[u8], question_end: usize, kind: u16, does: &Does) -> Option<Vec<u8>> {
    const FAILURE: u8 = 2;
    const NO_SUCH_NAME: u8 = 3;
    let (code, addresses, ttl) = match does {
        Does::KeepSilent => return None,
        Does::Fail => (FAILURE, [].as_slice(), 0),
        Does::SayNoSuchName => (NO_SUCH_NAME, [].as_slice(), 0),
        Does::Answer { addresses, ttl } => (0, addresses.as_slice(), *ttl),
    };
    let octets: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), A) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), AAAA) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    // The same identifier; a response, recursion desired and available.
    let mut answer = vec![query[0], query[1], 0x81, 0x80 | code];
    for count in [1, octets.len() as u16, 0, 0] {
        answer.extend(count.to_be_bytes());
    }
    answer.extend(&query[12..question_end]);
    for octets in octets {
        answer.extend([0xc0, 12]); // the name of the question
        answer.extend(kind.to_be_bytes());
        answer.extend(1_u16.to_be_bytes());
        answer.extend(ttl.to_be_bytes());
        answer.extend((octets.len() as u16).to_be_bytes());
        answer.extend(octets);
    }
    Some(answer)
}

/// A port of this machine at which no process answers.
pub(super) fn nobody() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
