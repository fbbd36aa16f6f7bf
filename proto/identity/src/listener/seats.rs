//! The connections of one listener, and which of them gives way when there are too many.
//!
//! No address has a fixed share: many honest clients come through one NAT or balancer. A full listener closes the connection that
//! has no identity, no request in flight, and been quiet for longest, of the source that holds most of those. A connection that
//! is kept and used has not been quiet for long, and a handshake is over before its turn comes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::requests::Requests;
use crate::KeyDigest;
use hanse_topology::Identity;

/// How many connections may be on their way out while others have their places already: descriptors of the reserve.
const LEAVING: usize = 32;

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    pub(super) connections: usize,
    pub(super) unauthenticated: usize,
    pub(super) per_identity: usize,
}

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Seats {
    caps: Caps,
    table: Mutex<Table>,
    /// Connections whose descriptor is still in use, with a row or evicted.
    held: AtomicUsize,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    rows: BTreeMap<u64, Row>,
    /// Those without an identity, oldest first.
    unauthenticated: BTreeSet<u64>,
    /// The others, oldest first.
    by_holder: BTreeMap<Holder, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Row {
    source: IpAddr,
    holder: Option<Holder>,
    requests: Arc<Requests>,
}

/// Whose connections are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// Those of one name.
    Identity(Identity),
    /// Those under one authority: where each peer has an authority of its own, which could certify any number of names.
    Authority(KeyDigest),
}

/// One connection's place. Free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    pub(super) requests: Arc<Requests>,
}

/// There is no place, and no connection to close for one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoPlace;

/// A place, and whether another connection gave way.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) seat: Seat,
    pub(super) evicted: bool,
}

impl Seats {
    pub(super) fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self { caps, table: Mutex::default(), held: AtomicUsize::new(0), freed: Notify::new() })
    }

    /// A place for a connection that has just been accepted.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Taken, NoPlace> {
        let mut table = self.table.lock();
        let full = table.rows.len() >= self.caps.connections
            || table.unauthenticated.len() >= self.caps.unauthenticated;
        if full {
            let leaving = table.unauthenticated_to_close().ok_or(NoPlace)?;
            table.evict(leaving);
        }
        table.next += 1;
        let (number, requests) = (table.next, Requests::new());
        let row = Row { source: source(address), holder: None, requests: requests.clone() };
        table.rows.insert(number, row);
        table.unauthenticated.insert(number);
        drop(table);
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(Taken { seat: Seat { seats: self.clone(), number, requests }, evicted: full })
    }

    /// Waits while so many connections are on their way out that their descriptors are missing elsewhere.
    pub(super) async fn room(&self) {
        while self.held.load(Ordering::Relaxed) >= self.caps.connections + LEAVING {
            self.freed.notified().await;
        }
    }
}

impl Table {
    /// The connection without an identity and a request in flight that has been quiet for longest, of the source that has most
    /// of those.
    fn unauthenticated_to_close(&self) -> Option<u64> {
        // The number of a source's connections, and the quietest: since when, and its own number.
        let mut sources = HashMap::<IpAddr, (usize, (Instant, u64))>::new();
        for number in &self.unauthenticated {
            let Some(row) = self.rows.get(number) else { continue };
            let Some(since) = row.requests.quiet_since() else { continue };
            let (count, quietest) = sources.entry(row.source).or_insert((0, (since, *number)));
            (*count, *quietest) = (*count + 1, (*quietest).min((since, *number)));
        }
        let most =
            sources.into_values().max_by_key(|(count, quietest)| (*count, std::cmp::Reverse(*quietest)));
        most.map(|(_, (_, number))| number)
    }

    fn evict(&mut self, number: u64) {
        if let Some(row) = self.remove(number) {
            row.requests.evict();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Row> {
        let row = self.rows.remove(&number)?;
        match &row.holder {
            None => drop(self.unauthenticated.remove(&number)),
            Some(holder) => {
                if let Some(numbers) = self.by_holder.get_mut(holder) {
                    numbers.remove(&number);
                    if numbers.is_empty() {
                        self.by_holder.remove(holder);
                    }
                }
            }
        }
        Some(row)
    }
}

impl Seat {
    /// Who the connection belongs to. A peer that has too many loses the one without a request in flight that has been quiet for longest, else this
    /// one.
    /// Returns whether one was closed.
    pub(super) fn identify(&self, holder: &Holder) -> Result<bool, NoPlace> {
        let mut table = self.seats.table.lock();
        let table = &mut *table;
        // Without a row it has been evicted itself meanwhile.
        if !table.rows.contains_key(&self.number) {
            return Ok(false);
        }
        let of_peer = table.by_holder.get(holder).map_or(0, BTreeSet::len);
        let full = of_peer >= self.seats.caps.per_identity;
        if full {
            let numbers = table.by_holder.get(holder).into_iter().flatten();
            let quiet =
                numbers.filter_map(|number| Some((table.rows.get(number)?.requests.quiet_since()?, *number)));
            let (_, leaving) = quiet.min().ok_or(NoPlace)?;
            table.evict(leaving);
        }
        if let Some(row) = table.rows.get_mut(&self.number) {
            row.holder = Some(holder.clone());
            table.unauthenticated.remove(&self.number);
            table.by_holder.entry(holder.clone()).or_default().insert(self.number);
        }
        Ok(full)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.table.lock().remove(self.number);
        self.seats.held.fetch_sub(1, Ordering::Relaxed);
        self.seats.freed.notify_one();
    }
}

/// What counts as one source: an IPv4 address, or the /64 that one IPv6 host commonly has to itself.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seats(connections: usize, unauthenticated: usize, per_identity: usize) -> Arc<Seats> {
        Seats::new(Caps { connections, unauthenticated, per_identity })
    }

    fn from(seats: &Arc<Seats>, address: &str) -> Seat {
        seats.take(address.parse().unwrap()).unwrap().seat
    }

    fn present(seat: &Seat) -> bool {
        seat.seats.table.lock().rows.contains_key(&seat.number)
    }

    #[tokio::test]
    async fn the_oldest_of_the_source_with_most_gives_way() {
        let seats = seats(5, 5, 1);
        let alone = from(&seats, "192.0.2.1");
        let many: Vec<_> = (0..4).map(|_| from(&seats, "192.0.2.2")).collect();
        let taken = seats.take("192.0.2.1".parse().unwrap()).unwrap();
        assert!(taken.evicted && present(&alone) && present(&taken.seat));
        assert_eq!(many.iter().map(present).collect::<Vec<_>>(), [false, true, true, true]);
        crate::testbed::soon(many[0].requests.evicted()).await;
        // Three of one source and two of the other, which is no fixed share: three more of the first leave two of each.
        let again: Vec<_> = (0..2).map(|_| from(&seats, "192.0.2.1")).collect();
        assert_eq!(many.iter().filter(|seat| present(seat)).count(), 2);
        assert!(present(again.last().unwrap()));
    }

    #[tokio::test]
    async fn a_request_in_flight_protects_and_half_a_request_does_not() {
        let seats = seats(2, 2, 1);
        let (one, two) = (from(&seats, "192.0.2.1"), from(&seats, "192.0.2.1"));
        let working = one.requests.open(false);
        let half = two.requests.open(false);
        half.awaits();
        let three = from(&seats, "192.0.2.9");
        assert!(present(&one) && !present(&two));
        half.received();
        let _busy = three.requests.open(false);
        assert_eq!(seats.take("192.0.2.1".parse().unwrap()).map(drop), Err(NoPlace));
        drop(working);
        let _four = from(&seats, "192.0.2.1");
        assert!(!present(&one) && present(&three));
    }

    #[tokio::test(start_paused = true)]
    async fn of_one_source_the_one_that_is_quiet_for_longest_gives_way() {
        let seats = seats(3, 3, 1);
        let kept = from(&seats, "192.0.2.1");
        tokio::time::advance(Duration::from_millis(1)).await;
        let [silent, half] = [(); 2].map(|()| from(&seats, "192.0.2.1"));
        tokio::time::advance(Duration::from_millis(1)).await;
        let sending = half.requests.open(true);
        sending.awaits();
        tokio::time::advance(Duration::from_millis(1)).await;
        drop(kept.requests.open(true));
        let _newcomer = from(&seats, "192.0.2.1");
        assert_eq!([&kept, &silent, &half].map(present), [true, false, true]);
        let _newcomer = from(&seats, "192.0.2.1");
        assert_eq!([&kept, &silent, &half].map(present), [true, false, false]);
    }

    #[tokio::test]
    async fn peers_with_an_identity_never_give_way_to_strangers() {
        let seats = seats(3, 2, 2);
        let peer = |name: &str| {
            let seat = from(&seats, "192.0.2.1");
            seat.identify(&Holder::Identity(crate::testbed::identity(name))).unwrap();
            seat
        };
        let peers = [peer("a.agent.eu-west"), peer("b.agent.eu-west")];
        let stranger = from(&seats, "192.0.2.1");
        let other = from(&seats, "192.0.2.1");
        assert!(!present(&stranger) && present(&other), "the third place goes from hand to hand");
        other.identify(&Holder::Identity(crate::testbed::identity("c.agent.eu-west"))).unwrap();
        assert_eq!(seats.take("192.0.2.7".parse().unwrap()).map(drop), Err(NoPlace));
        assert!(peers.iter().all(present));
        drop(peers);
        from(&seats, "192.0.2.7");
    }

    #[tokio::test]
    async fn a_peer_has_so_many_and_no_more() {
        let seats = seats(9, 9, 2);
        let identity = Holder::Identity(crate::testbed::identity("a.agent.eu-west"));
        let (one, two, three) =
            (from(&seats, "192.0.2.1"), from(&seats, "192.0.2.2"), from(&seats, "192.0.2.3"));
        assert_eq!((one.identify(&identity), two.identify(&identity)), (Ok(false), Ok(false)));
        let streaming = one.requests.open(false);
        assert_eq!(three.identify(&identity), Ok(true));
        assert!(present(&one) && !present(&two) && present(&three));
        let _streaming = three.requests.open(false);
        assert_eq!(from(&seats, "192.0.2.4").identify(&identity), Err(NoPlace));
        drop(streaming);
        drop(one);
        assert_eq!(from(&seats, "192.0.2.4").identify(&identity), Ok(false));
    }

    #[test]
    fn one_ipv6_host_is_one_source() {
        let of = |address: &str| source(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
