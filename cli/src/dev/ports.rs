//! Ports that no process uses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use rand::Rng as _;

use super::own;

/// Where ports are taken from when the preferred one is in use: below the range the system gives to outgoing
/// connections (32768 and up on Linux), so that a process that is down finds its port free when it is started again.
const OTHERS: std::ops::Range<u16> = 20_000..30_000;
/// More tries than this find nothing on a machine with ten thousand ports in use.
const TRIES: usize = 1_000;
/// Longest wait for an answer on loopback.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);

/// The ports of one federation. Each is held by a lock on a file from the moment it is chosen, whether its process runs or
/// not: two federations that start at one time never choose the same, and a process that was killed keeps its own.
#[derive(Debug)]
pub(super) struct Reservations {
    dir: PathBuf,
    held: BTreeMap<u16, Option<Flock<File>>>,
    /// Looked free and were not.
    avoided: BTreeSet<u16>,
}

impl Reservations {
    /// Locks lie in `dir`, which every federation of this machine's user shares.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, held: BTreeMap::new(), avoided: BTreeSet::new() }
    }

    /// Never picks these: they looked free once, and were in use.
    pub(super) fn avoid(&mut self, ports: impl IntoIterator<Item = u16>) {
        self.avoided.extend(ports);
    }

    /// Reserves `preferred` if it is free, else any other port.
    pub(super) fn pick(&mut self, preferred: u16) -> io::Result<u16> {
        if self.reserve(preferred) {
            return Ok(preferred);
        }
        let mut random = rand::rng();
        (0..TRIES)
            .map(|_| random.random_range(OTHERS))
            .find(|&port| self.reserve(port))
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, "no free port was found"))
    }

    /// Reserves `port` if it is free.
    pub(super) fn reserve(&mut self, port: u16) -> bool {
        if self.held.contains_key(&port) || self.avoided.contains(&port) {
            return false;
        }
        let lock = match self.lock(port) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // Where no file can be made no other process can lock one. A process that listens is still seen.
            Err(_) => None,
        };
        let free = is_free(port);
        if free {
            self.held.insert(port, lock);
        }
        free
    }

    fn lock(&self, port: u16) -> io::Result<Flock<File>> {
        own::dir(&self.dir).map_err(io::Error::other)?;
        let file = own::file(&self.dir.join(port.to_string()), OpenOptions::new().write(true))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
    }

    /// Gives all ports back.
    pub(super) fn release_all(&mut self) {
        self.held.clear();
    }

    /// Gives ports back.
    pub(super) fn release(&mut self, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            self.held.remove(&port);
        }
    }
}

/// Whether no process listens there. A listener with SO_REUSEPORT would let another one in beside it, and share its
/// connections: so both, connecting must fail and binding without that option must succeed.
fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    port != 0
        && TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_err()
        && TcpListener::bind(address).is_ok()
        && UdpSocket::bind(address).is_ok() // a responder needs both
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    fn listener(reuse_port: bool) -> (Socket, u16) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(reuse_port).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(1).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        (socket, port)
    }

    #[test]
    fn listeners_are_noticed_even_if_they_would_share() {
        let dir = tempfile::tempdir().unwrap();
        for reuse_port in [false, true] {
            let (listener, port) = listener(reuse_port);
            let mut reservations = Reservations::new(dir.path().into());
            assert!(!reservations.reserve(port));
            let other = reservations.pick(port).unwrap();
            assert!(OTHERS.contains(&other));
            drop(listener);
        }
    }

    #[test]
    fn a_reserved_port_is_refused_to_others_until_it_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut mine = Reservations::new(dir.path().into());
        let mut theirs = Reservations::new(dir.path().into());
        let port = mine.pick(0).unwrap();
        assert!(!mine.reserve(port), "twice");
        assert!(!theirs.reserve(port), "somebody else's");
        mine.release([port]);
        assert!(theirs.reserve(port));
        theirs.release_all();
        mine.avoid([port]);
        assert!(!mine.reserve(port), "to be avoided");
        assert_ne!(mine.pick(port).unwrap(), port);
    }

    #[test]
    fn without_locks_listeners_are_still_noticed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut reservations = Reservations::new(file.path().join("below-a-file"));
        let (_listener, port) = listener(false);
        assert!(!reservations.reserve(port));
        assert!(reservations.pick(0).is_ok());
    }
}
