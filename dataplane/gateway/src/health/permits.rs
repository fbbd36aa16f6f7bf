//! Who may check now: a bounded number, shared fairly.
//!
//! Checks of endpoints that do not answer last for their whole timeout. With one queue for all, an organization that has
//! many of them would hold every place, and nobody else's endpoints would be asked. So a place that becomes free goes to
//! the organization that has the fewest, and there to the upstream that has the fewest; and the last places are kept for
//! those that have none.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::table::UpstreamId;

/// Checks at once: a gateway with thousands of endpoints must not be a flood, nor run out of descriptors by asking.
const AT_ONCE: usize = 128;
/// The last of those are for upstreams that have none, and for organizations that have less than an equal share: one whose
/// endpoints hang leaves room for the others.
const FOR_UPSTREAMS: usize = 32;
/// And of those the last for organizations that have none.
const FOR_ORGANIZATIONS: usize = 16;

/// The places that checks run in. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Permits(Arc<Mutex<Places>>);

/// A place, until dropped.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Permits,
    upstream: UpstreamId,
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    organizations: HashMap<Arc<str>, Organization>,
    /// How many have come to wait.
    arrivals: u64,
}

/// One organization's part. Gone when it has nothing.
#[derive(Debug, Default)]
struct Organization {
    taken: usize,
    upstreams: HashMap<UpstreamId, Part>,
}

/// One upstream's part. Gone when it has nothing.
#[derive(Debug, Default)]
struct Part {
    taken: usize,
    /// In the order in which they came.
    waiting: BTreeMap<u64, oneshot::Sender<Permit>>,
}

/// One that waits, until dropped.
struct Waiting<'a> {
    permits: &'a Permits,
    upstream: &'a UpstreamId,
    arrival: u64,
}

impl Permits {
    /// A place, once there is one. A future that is dropped waits no more.
    pub(super) async fn acquire(&self, upstream: &UpstreamId) -> Permit {
        let (place, given) = oneshot::channel();
        let _waiting = Waiting { permits: self, upstream, arrival: self.lock().arrive(upstream, place) };
        self.give();
        given.await.expect("who waits is in the queue until given a place")
    }

    /// Gives free places to those whose turn it is.
    fn give(&self) {
        loop {
            let next = self.lock().next();
            let Some((upstream, place)) = next else { return };
            // Not under the lock, which the permit takes if it is dropped here because nobody waits any more.
            drop(place.send(Permit { permits: self.clone(), upstream }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.lock().leave(&self.upstream);
        self.permits.give();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.permits.lock().part(self.upstream, |part| drop(part.waiting.remove(&self.arrival)));
    }
}

impl Places {
    fn arrive(&mut self, upstream: &UpstreamId, place: oneshot::Sender<Permit>) -> u64 {
        self.arrivals += 1;
        let organization = self.organizations.entry(upstream.organization.clone()).or_default();
        let part = organization.upstreams.entry(upstream.clone()).or_default();
        part.waiting.insert(self.arrivals, place);
        self.arrivals
    }

    /// Takes a free place for the one whose turn it is, if there is one.
    fn next(&mut self) -> Option<(UpstreamId, oneshot::Sender<Permit>)> {
        let free = AT_ONCE - self.taken;
        if free == 0 {
            return None;
        }
        // Who has less than an equal share may have any place but those for newcomers.
        let share = AT_ONCE / self.organizations.len().max(2);
        let organizations =
            self.organizations.values().filter(|own| free > FOR_ORGANIZATIONS || own.taken == 0);
        let turns = organizations.filter_map(|own| {
            let has_room = free > FOR_UPSTREAMS || own.taken < share;
            Some((own.taken, own.turn(has_room)?))
        });
        let (_, (_, upstream)) = turns.min_by_key(|(taken, (arrival, _))| (*taken, *arrival))?;
        let upstream = upstream.clone();
        let organization = self.organizations.get_mut(&upstream.organization)?;
        let part = organization.upstreams.get_mut(&upstream)?;
        let (_, place) = part.waiting.pop_first()?;
        part.taken += 1;
        organization.taken += 1;
        self.taken += 1;
        Some((upstream, place))
    }

    fn leave(&mut self, upstream: &UpstreamId) {
        self.taken -= 1;
        if let Some(organization) = self.organizations.get_mut(&upstream.organization) {
            organization.taken -= 1;
        }
        self.part(upstream, |part| part.taken -= 1);
    }

    /// Changes an upstream's part, and forgets it if it has nothing then.
    fn part(&mut self, upstream: &UpstreamId, change: impl FnOnce(&mut Part)) {
        let Some(organization) = self.organizations.get_mut(&upstream.organization) else { return };
        let Some(part) = organization.upstreams.get_mut(upstream) else { return };
        change(part);
        if part.taken == 0 && part.waiting.is_empty() {
            organization.upstreams.remove(upstream);
        }
        if organization.upstreams.is_empty() {
            self.organizations.remove(&upstream.organization);
        }
    }
}

impl Organization {
    /// The upstream whose turn it is, and when its first waiter came. Without room it is one that has no place.
    fn turn(&self, has_room: bool) -> Option<(u64, &UpstreamId)> {
        let turns = self.upstreams.iter().filter(|(_, part)| has_room || part.taken == 0);
        let turns = turns.filter_map(|(id, part)| Some((part.taken, part.waiting.first_key_value()?.0, id)));
        turns.min_by_key(|(taken, arrival, _)| (*taken, *arrival)).map(|(_, arrival, id)| (*arrival, id))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::testbed::scope;

    type Acquiring = Pin<Box<dyn Future<Output = Permit>>>;

    /// Comes to wait for a place of `"ORGANIZATION/UPSTREAM"`.
    fn waits(permits: &Permits, upstream: &str) -> Acquiring {
        let (permits, id) = (permits.clone(), UpstreamId::new(&scope("e"), &format!("upstream/{upstream}")));
        Box::pin(async move { permits.acquire(&id).await })
    }

    fn poll(acquiring: &mut Acquiring) -> Option<Permit> {
        match acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    /// Those of so many that get a place at once; the others wait on.
    fn take(permits: &Permits, upstream: &str, count: usize) -> (Vec<Permit>, Vec<Acquiring>) {
        let (mut taken, mut waiting) = (Vec::new(), Vec::new());
        for mut acquiring in (0..count).map(|_| waits(permits, upstream)) {
            match poll(&mut acquiring) {
                Some(permit) => taken.push(permit),
                None => waiting.push(acquiring),
            }
        }
        (taken, waiting)
    }

    /// The first of so many upstreams of an organization, with one endpoint each.
    fn first_of(permits: &Permits, organization: &str, count: usize) -> (Vec<Permit>, Vec<Vec<Acquiring>>) {
        let (taken, waiting): (Vec<_>, Vec<_>) =
            (0..count).map(|each| take(permits, &format!("{organization}/{each}"), 1)).unzip();
        (taken.into_iter().flatten().collect(), waiting)
    }

    #[test]
    fn one_alone_has_most_places_and_nobody_all() {
        let permits = Permits::default();
        let (slow, _waits) = take(&permits, "shop/slow", 1_000);
        assert_eq!(slow.len(), AT_ONCE - FOR_UPSTREAMS);
        let (others, _waits) = first_of(&permits, "shop", 1_000);
        assert_eq!(
            others.len(),
            FOR_UPSTREAMS - FOR_ORGANIZATIONS,
            "the others of its organization have some"
        );
        let strangers: Vec<_> = (0..1_000).map(|each| take(&permits, &format!("{each}/own"), 5)).collect();
        let taken: Vec<usize> = strangers.iter().map(|(taken, _)| taken.len()).collect();
        assert_eq!(taken[..FOR_ORGANIZATIONS], [1; FOR_ORGANIZATIONS], "and every other organization one");
        assert_eq!(taken.iter().sum::<usize>(), FOR_ORGANIZATIONS, "as long as there are any");
        assert_eq!(permits.lock().taken, AT_ONCE);
    }

    #[test]
    fn two_whose_endpoints_hang_leave_room_for_a_third() {
        let permits = Permits::default();
        let (first, _waits) = take(&permits, "a/slow", 1_000);
        let (second, _waiting) = take(&permits, "b/slow", 1_000);
        assert_eq!((first.len(), second.len()), (AT_ONCE - FOR_UPSTREAMS, FOR_UPSTREAMS - FOR_ORGANIZATIONS));
        let mut third = waits(&permits, "c/quick");
        assert!(poll(&mut third).is_some());
    }

    #[test]
    fn many_upstreams_that_hang_do_not_keep_another_organization_below_its_share() {
        let permits = Permits::default();
        let (mut of_a, mut waiting_of_a) = (Vec::new(), Vec::new());
        for each in 0..1_000 {
            let (taken, waiting) = take(&permits, &format!("a/{each}"), 1);
            of_a.extend(taken);
            waiting_of_a.extend(waiting);
        }
        let (mut of_b, mut waiting_of_b) = take(&permits, "b/large", 500);
        assert_eq!((of_a.len(), of_b.len()), (AT_ONCE - FOR_ORGANIZATIONS, 1));
        for _ in 0..AT_ONCE {
            // Those of a end one by one, and others of a wait.
            of_a.remove(0);
            for (waiting, taken) in [(&mut waiting_of_a, &mut of_a), (&mut waiting_of_b, &mut of_b)] {
                waiting.retain_mut(|acquiring| poll(acquiring).map(|permit| taken.push(permit)).is_none());
            }
        }
        let equal = (AT_ONCE - FOR_ORGANIZATIONS) / 2;
        assert_eq!((of_a.len(), of_b.len()), (equal, equal));
    }

    #[test]
    fn a_place_goes_to_who_has_the_fewest_and_of_equals_to_who_came_first() {
        let permits = Permits::default();
        let (mut held, waits_of_a) = take(&permits, "a/slow", 1_000);
        let (of_others, of_others_waiting) = first_of(&permits, "b", 1_000);
        let strangers: Vec<_> = (0..1_000).map(|each| take(&permits, &format!("x{each}/own"), 1)).collect();
        assert_eq!(held.len() + of_others.len() + FOR_ORGANIZATIONS, AT_ONCE);
        let mut waiting = Vec::new();
        for who in ["a/more", "c/one", "d/one", "c/two"] {
            let mut acquiring = waits(&permits, who);
            assert!(poll(&mut acquiring).is_none());
            waiting.push((who, acquiring));
        }
        drop((strangers, of_others_waiting, waits_of_a)); // those that wait no more are passed over, and their places are free
        let mut got = Vec::new();
        let mut look = |waiting: &mut Vec<(&'static str, Acquiring)>| {
            waiting.retain_mut(|(who, acquiring)| match poll(acquiring) {
                Some(permit) => {
                    got.push((*who, permit));
                    false
                }
                None => true,
            });
            got.iter().map(|(who, _)| *who).collect::<Vec<_>>()
        };
        assert_eq!(look(&mut waiting), ["c/one", "d/one"], "organizations that have none");
        while held.len() > AT_ONCE / 2 {
            held.pop();
        }
        assert_eq!(look(&mut waiting), ["c/one", "d/one", "a/more", "c/two"]);
    }

    #[test]
    fn who_waits_no_more_takes_nothing_and_leaves_nothing() {
        let permits = Permits::default();
        let left = || {
            let places = permits.lock();
            (places.taken, places.organizations.len())
        };
        let (held, waiting) = take(&permits, "shop/slow", 100_000);
        let mut last = waits(&permits, "shop/slow");
        assert!(poll(&mut last).is_none());
        drop(waiting);
        drop(held);
        let last = poll(&mut last).expect("a place");
        assert_eq!(left(), (1, 1));
        drop(last);
        assert_eq!(left(), (0, 0));
        // Given, and never looked at.
        let (held, mut waiting) = take(&permits, "shop/slow", AT_ONCE - FOR_UPSTREAMS + 1);
        drop(held);
        assert_eq!(left(), (1, 1));
        waiting.clear();
        assert_eq!(left(), (0, 0));
    }
}
