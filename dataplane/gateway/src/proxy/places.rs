//! The client connections of one serving thread, and which of them gives way when the gateway has as many as it may.
//!
//! No address has a fixed share: many honest clients come through one NAT or balancer. The connection is closed that has no
//! request in flight and has been quiet for longest, of the source that holds most of those on this thread. A request whose client
//! has not sent all of its body is not in flight: half a request must not protect a connection. Nothing here is shared between
//! threads, and a request costs a connection a few cells.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    rc::Rc,
    task::{Poll, Waker},
    time::Instant,
};

use super::body::Upload;

/// Connections picked to give way by one look over all of them: under a flood of newcomers the look is paid for by so many. The
/// table changes meanwhile, but not by much.
const PICKED: usize = 64;

/// The connections of one thread.
#[derive(Default)]
pub(super) struct Places {
    next: Cell<u64>,
    /// Oldest first.
    taken: RefCell<BTreeMap<u64, Rc<Place>>>,
    /// To give way next, oldest first.
    picked: RefCell<VecDeque<u64>>,
}

/// What one connection is doing.
pub(super) struct Place {
    source: IpAddr,
    /// Requests whose answer is not over.
    open: Cell<usize>,
    /// When the connection was accepted, then when a request last began or ended.
    quiet_since: Cell<Instant>,
    /// The bodies of those that have one.
    uploads: RefCell<Vec<Upload>>,
    evicted: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// A connection's place. Free again when dropped.
pub(super) struct Taken {
    places: Rc<Places>,
    number: u64,
    place: Rc<Place>,
}

/// A request and its answer.
pub(super) struct InFlight {
    place: Rc<Place>,
    upload: Option<Upload>,
}

impl Places {
    /// A place for a connection from `address`.
    pub(super) fn take(self: &Rc<Self>, address: IpAddr) -> Taken {
        let number = self.next.get();
        self.next.set(number + 1);
        let place = Rc::new(Place {
            source: source(address),
            open: Cell::new(0),
            quiet_since: Cell::new(Instant::now()),
            uploads: RefCell::default(),
            evicted: Cell::new(false),
            waker: Cell::default(),
        });
        self.taken.borrow_mut().insert(number, place.clone());
        Taken { places: self.clone(), number, place }
    }

    /// Closes a connection in favour of another. Whether there was one that may be closed.
    pub(super) fn evict(&self) -> bool {
        let mut taken = self.taken.borrow_mut();
        let mut picked = self.picked.borrow_mut();
        for fresh in [false, true] {
            if fresh {
                *picked = pick(&taken);
            }
            while let Some(number) = picked.pop_front() {
                if taken.get(&number).is_some_and(|place| !place.is_in_flight()) {
                    if let Some(place) = taken.remove(&number) {
                        place.evict();
                    }
                    return true;
                }
            }
        }
        false
    }
}

/// The connections without a request in flight that have been quiet for longest, of the source that has most of those.
fn pick(taken: &BTreeMap<u64, Rc<Place>>) -> VecDeque<u64> {
    let idle = || taken.iter().filter(|(_, place)| !place.is_in_flight());
    // The number of its connections, and the oldest.
    let mut sources = HashMap::<IpAddr, (usize, u64)>::new();
    for (number, place) in idle() {
        sources.entry(place.source).or_insert((0, *number)).0 += 1;
    }
    let most = sources.into_iter().max_by_key(|(_, (count, oldest))| (*count, Reverse(*oldest)));
    let Some((source, (count, _))) = most else { return VecDeque::new() };
    let of_source = idle().filter(|(_, place)| place.source == source);
    let mut quiet: Vec<_> = of_source.map(|(number, place)| (place.quiet_since.get(), *number)).collect();
    quiet.sort_unstable();
    // Not so many that another source would hold most of them by then.
    quiet.into_iter().take(PICKED.min(count.div_ceil(8))).map(|(_, number)| number).collect()
}

impl Taken {
    /// What the connection's requests are counted on.
    pub(super) fn place(&self) -> &Rc<Place> {
        &self.place
    }

    /// Resolves when the connection is to be closed.
    pub(super) async fn evicted(&self) {
        std::future::poll_fn(|cx| {
            if self.place.evicted.get() {
                return Poll::Ready(());
            }
            let known = self.place.waker.take().filter(|waker| waker.will_wake(cx.waker()));
            self.place.waker.set(Some(known.unwrap_or_else(|| cx.waker().clone())));
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.places.taken.borrow_mut().remove(&self.number);
    }
}

impl Place {
    /// A request's head came at `now`.
    pub(super) fn open(self: &Rc<Self>, now: Instant) -> InFlight {
        self.open.set(self.open.get() + 1);
        self.quiet_since.set(now);
        InFlight { place: self.clone(), upload: None }
    }

    /// Whether a request waits for anything but its client's sending.
    fn is_in_flight(&self) -> bool {
        let open = self.open.get();
        open > 0 && open > self.uploads.borrow().iter().filter(|upload| upload.is_clients_turn()).count()
    }

    fn evict(&self) {
        self.evicted.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl InFlight {
    /// It has a body, which the client may take its time to send.
    pub(super) fn uploads(&mut self, upload: &Upload) {
        if upload.is_there() {
            self.place.uploads.borrow_mut().push(upload.clone());
            self.upload = Some(upload.clone());
        }
    }
}

impl InFlight {
    /// The answer has begun: from here on it is in flight, also where the client goes on sending.
    pub(super) fn answered(&mut self) {
        if let Some(own) = self.upload.take() {
            self.place.uploads.borrow_mut().retain(|upload| !upload.is_same(&own));
        }
    }
}

impl InFlight {
    /// The answer was over at `now`.
    pub(super) fn ended(&self, now: Instant) {
        self.place.quiet_since.set(now);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.answered();
        self.place.open.set(self.place.open.get() - 1);
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

    fn from(places: &Rc<Places>, address: &str) -> Taken {
        places.take(address.parse().unwrap())
    }

    fn gone(taken: &[Taken]) -> Vec<usize> {
        (0..taken.len()).filter(|number| taken[*number].place.evicted.get()).collect()
    }

    #[test]
    fn the_oldest_idle_of_the_source_with_most_gives_way() {
        let places = Rc::<Places>::default();
        let alone = from(&places, "2001:db8::1");
        let busy = from(&places, "192.0.2.1");
        let _request = busy.place().open(Instant::now());
        let many: Vec<_> = (0..16).map(|n| from(&places, &format!("2001:db8:1::{n}"))).collect();
        assert!(places.evict() && places.evict());
        assert_eq!(gone(&many), [0, 1], "one host has a /64");
        // One that was picked and became busy is passed over.
        let third = many[2].place().open(Instant::now());
        assert!(places.evict());
        assert_eq!(gone(&many), [0, 1, 3]);
        drop(third);
        let left = (0..).take_while(|_| places.evict()).count();
        assert_eq!(left, 14, "all but the busy one");
        assert!(alone.place.evicted.get() && !busy.place.evicted.get());
    }

    #[test]
    fn of_one_source_the_one_that_is_quiet_for_longest_gives_way() {
        let places = Rc::<Places>::default();
        let of_one = [(); 4].map(|()| from(&places, "192.0.2.1"));
        of_one[0].place().open(Instant::now()).ended(Instant::now() + Duration::from_secs(1));
        for _ in 0..3 {
            assert!(places.evict());
        }
        assert_eq!(gone(&of_one), [1, 2, 3]);
    }

    #[test]
    fn a_source_does_not_lose_much_more_than_others_have() {
        let places = Rc::<Places>::default();
        let one: Vec<_> = (0..10).map(|_| from(&places, "192.0.2.1")).collect();
        let two: Vec<_> = (0..9).map(|_| from(&places, "192.0.2.2")).collect();
        for _ in 0..9 {
            assert!(places.evict());
        }
        assert!(gone(&one).len().abs_diff(gone(&two).len()) <= 3, "{:?} {:?}", gone(&one), gone(&two));
    }

    #[tokio::test]
    async fn the_connection_is_told() {
        let places = Rc::<Places>::default();
        let taken = from(&places, "192.0.2.1");
        let told = async {
            tokio::task::yield_now().await;
            assert!(places.evict());
        };
        tokio::join!(taken.evicted(), told);
        assert!(!places.evict(), "it is gone");
    }
}
