//! The client connections of one serving thread, and which of them gives way when the gateway has as many as it may.
//!
//! No address has a fixed share: many honest clients come through one NAT or balancer. The connection is closed that has no
//! request in flight and has been quiet for longest, of the source that holds most of those on this thread.
//!
//! A request is *in flight* while the next step is the gateway's or its upstream's. It is the client's while it has not sent all of
//! the body, or does not take what was answered; so neither half a request nor an answer that is not taken protects a connection.
//! A connection is *quiet* from the last octets that came from its client or went to it: one that uploads or downloads slowly gives
//! way after all that stand still. Octets are not timed but numbered, because only their order matters.
//!
//! Nothing here is shared between threads, and a request costs a connection a few cells.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    rc::Rc,
    task::{Poll, Waker},
};

use super::body::Upload;

/// Connections picked to give way by one look over all of them: under a flood of newcomers the look is paid for by so many. The
/// table changes meanwhile, but not by much.
const PICKED: usize = 64;

/// The connections of one thread.
#[derive(Default)]
pub(super) struct Places {
    steps: Steps,
    /// By the step of their accept.
    taken: RefCell<BTreeMap<u64, Rc<Place>>>,
    /// To give way next, the quietest first.
    picked: RefCell<VecDeque<Quiet>>,
}

/// Numbers what happens on the connections of one thread.
#[derive(Clone, Default)]
struct Steps(Rc<Cell<u64>>);

/// A connection that has been quiet since a step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Quiet {
    since: u64,
    number: u64,
}

/// What one connection is doing.
pub(super) struct Place {
    source: Cell<IpAddr>,
    steps: Steps,
    /// The step of the accept, then of the last octets that came from the client or went to it.
    progressed: Cell<u64>,
    /// Whether octets wait that the client's side does not take: all that is to be sent waits behind them.
    stalled: Cell<bool>,
    /// Requests whose answer is not over.
    open: Cell<usize>,
    /// Those of which a part of the answer waits for the client.
    offered: Cell<usize>,
    /// The bodies of those that have one and no answer yet.
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
    offered: bool,
}

impl Steps {
    fn next(&self) -> u64 {
        let step = self.0.get() + 1;
        self.0.set(step);
        step
    }
}

impl Places {
    /// A place for a connection from `address`.
    pub(super) fn take(self: &Rc<Self>, address: IpAddr) -> Taken {
        let number = self.steps.next();
        let place = Rc::new(Place {
            source: Cell::new(source(address)),
            steps: self.steps.clone(),
            progressed: Cell::new(number),
            stalled: Cell::new(false),
            open: Cell::new(0),
            offered: Cell::new(0),
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
            while let Some(quiet) = picked.pop_front() {
                // It may have gone on since it was picked.
                if taken.get(&quiet.number).is_some_and(|place| place.quiet_since() == Some(quiet.since)) {
                    if let Some(place) = taken.remove(&quiet.number) {
                        place.evict();
                    }
                    return true;
                }
            }
        }
        false
    }

    /// Closes a connection whose client does not take its answers, or does not send its bodies, for the connections to upstreams that
    /// it holds. Whether there was one.
    pub(super) fn evict_holding(&self) -> bool {
        let mut taken = self.taken.borrow_mut();
        let quietest = pick_of(&taken, |place| place.open.get() > 0).pop_front();
        let place = quietest.and_then(|quiet| taken.remove(&quiet.number));
        place.inspect(|place| place.evict()).is_some()
    }
}

/// The connections without a request in flight that have been quiet for longest, of the source that has most of those.
fn pick(taken: &BTreeMap<u64, Rc<Place>>) -> VecDeque<Quiet> {
    pick_of(taken, |_| true)
}

/// The same, among some.
fn pick_of(taken: &BTreeMap<u64, Rc<Place>>, may: impl Fn(&Place) -> bool) -> VecDeque<Quiet> {
    let mut sources = HashMap::<IpAddr, Vec<Quiet>>::new();
    for (number, place) in taken {
        if may(place)
            && let Some(since) = place.quiet_since()
        {
            sources.entry(place.source.get()).or_default().push(Quiet { since, number: *number });
        }
    }
    let most =
        sources.into_values().max_by_key(|quiet| (quiet.len(), quiet.iter().min().copied().map(Reverse)));
    let Some(mut quiet) = most else { return VecDeque::new() };
    quiet.sort_unstable();
    // Not so many that another source would hold most of them by then.
    quiet.truncate(PICKED.min(quiet.len().div_ceil(8)));
    quiet.into()
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
    /// A request's head came.
    pub(super) fn open(self: &Rc<Self>) -> InFlight {
        self.open.set(self.open.get() + 1);
        InFlight { place: self.clone(), upload: None, offered: false }
    }

    /// The connection is a client's, and not of the balancer that made it.
    pub(super) fn is_of(&self, client: IpAddr) {
        self.source.set(source(client));
    }

    /// Octets came from the client, or went to it.
    pub(super) fn progressed(&self) {
        self.progressed.set(self.steps.next());
    }

    /// Octets wait that the client's side does not take, or do not any more.
    pub(super) fn stalled(&self, is_it: bool) {
        self.stalled.set(is_it);
    }

    /// Since which step it has been quiet; `None`: a request is in flight.
    pub(super) fn quiet_since(&self) -> Option<u64> {
        let sending = || self.uploads.borrow().iter().filter(|upload| upload.is_clients_turn()).count();
        let open = self.open.get();
        let in_flight = open > 0 && !self.stalled.get() && open > self.offered.get() + sending();
        (!in_flight).then(|| self.progressed.get())
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

    /// The answer has begun: what counts from here on is whether the client takes it, also where it goes on sending.
    pub(super) fn answered(&mut self) {
        if let Some(own) = self.upload.take() {
            self.place.uploads.borrow_mut().retain(|upload| !upload.is_same(&own));
        }
    }

    /// Whether a part of the answer waits for the client.
    pub(super) fn offered(&mut self, is_it: bool) {
        let before = std::mem::replace(&mut self.offered, is_it);
        self.place.offered.set(self.place.offered.get() + usize::from(is_it) - usize::from(before));
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.answered();
        self.offered(false);
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
        let _request = busy.place().open();
        let many: Vec<_> = (0..16).map(|n| from(&places, &format!("2001:db8:1::{n}"))).collect();
        assert!(places.evict() && places.evict());
        assert_eq!(gone(&many), [0, 1], "one host has a /64");
        // One that was picked and became busy is passed over.
        let third = many[2].place().open();
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
        of_one[0].place().progressed();
        for _ in 0..3 {
            assert!(places.evict());
        }
        assert_eq!(gone(&of_one), [1, 2, 3]);
    }

    #[test]
    fn what_was_picked_and_went_on_gives_way_after_what_stands_still() {
        let places = Rc::<Places>::default();
        let of_one: Vec<_> = (0..16).map(|_| from(&places, "192.0.2.1")).collect();
        assert!(places.evict());
        assert_eq!(gone(&of_one), [0]);
        of_one[1].place().progressed(); // picked with the first
        assert!(places.evict());
        assert_eq!(gone(&of_one), [0, 2]);
    }

    #[test]
    fn an_answer_that_waits_for_its_client_protects_nothing() {
        let places = Rc::<Places>::default();
        let taken = from(&places, "192.0.2.1");
        let (mut one, other) = (taken.place().open(), taken.place().open());
        let in_flight = || taken.place().quiet_since().is_none();
        one.offered(true);
        one.offered(true);
        assert!(in_flight(), "the other is");
        drop(other);
        assert!(!in_flight());
        one.offered(false);
        assert!(in_flight(), "the next part is the upstream's to send");
        taken.place().stalled(true);
        assert!(!in_flight(), "nothing can be sent");
        taken.place().stalled(false);
        one.offered(true);
        drop(one);
        let _next = taken.place().open();
        assert!(in_flight());
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
