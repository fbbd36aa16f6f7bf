//! Who may check now: a bounded number, shared fairly.
//!
//! Checks of endpoints that do not answer last for their whole timeout. With one queue for all, an organization that has
//! many of them would hold every place, and no other organization's endpoints would be asked. So a place that becomes free goes to
//! the organization that has the fewest, and no organization has all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Checks at once: a gateway with thousands of endpoints must not be a flood, nor run out of descriptors by asking.
const AT_ONCE: usize = 128;
/// The most of those for one organization: one whose endpoints hang leaves room for the others.
const MOST: usize = 96;

/// The places that checks run in. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Permits(Arc<Mutex<Places>>);

/// A place, until dropped.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Permits,
    organization: Arc<str>,
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    organizations: HashMap<Arc<str>, Part>,
    /// How many have come to wait.
    arrivals: u64,
}

/// One organization's part. Gone when it has nothing.
#[derive(Debug, Default)]
struct Part {
    taken: usize,
    /// In the order in which they came.
    waiting: BTreeMap<u64, oneshot::Sender<Permit>>,
}

/// One that waits, until dropped.
struct Waiting<'a> {
    permits: &'a Permits,
    organization: &'a Arc<str>,
    arrival: u64,
}

impl Permits {
    /// A place, once there is one. A future that is dropped waits no more.
    pub(super) async fn acquire(&self, organization: &Arc<str>) -> Permit {
        let (place, given) = oneshot::channel();
        let _waiting =
            Waiting { permits: self, organization, arrival: self.lock().arrive(organization, place) };
        self.give();
        given.await.expect("who waits is in the queue until given a place")
    }

    /// Gives free places to those whose turn it is.
    fn give(&self) {
        loop {
            let next = self.lock().next();
            let Some((organization, place)) = next else { return };
            // Not under the lock, which the permit takes if it is dropped here because no check waits any more.
            drop(place.send(Permit { permits: self.clone(), organization }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.lock().leave(&self.organization);
        self.permits.give();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.permits.lock().part(self.organization, |part| drop(part.waiting.remove(&self.arrival)));
    }
}

impl Places {
    fn arrive(&mut self, organization: &Arc<str>, place: oneshot::Sender<Permit>) -> u64 {
        self.arrivals += 1;
        let part = self.organizations.entry(organization.clone()).or_default();
        part.waiting.insert(self.arrivals, place);
        self.arrivals
    }

    /// Takes a free place for the one whose turn it is, if there is one.
    fn next(&mut self) -> Option<(Arc<str>, oneshot::Sender<Permit>)> {
        if self.taken == AT_ONCE {
            return None;
        }
        let parts = self.organizations.iter_mut().filter(|(_, part)| part.taken < MOST);
        let waiting = parts.filter_map(|(organization, part)| {
            let arrival = *part.waiting.first_key_value()?.0;
            Some(((part.taken, arrival), organization, part))
        });
        let (_, organization, part) = waiting.min_by_key(|(turn, ..)| *turn)?;
        let (_, place) = part.waiting.pop_first()?;
        part.taken += 1;
        self.taken += 1;
        Some((organization.clone(), place))
    }

    fn leave(&mut self, organization: &Arc<str>) {
        self.taken -= 1;
        self.part(organization, |part| part.taken -= 1);
    }

    /// Changes an organization's part, and forgets it if it has nothing then.
    fn part(&mut self, organization: &Arc<str>, change: impl FnOnce(&mut Part)) {
        let Some(part) = self.organizations.get_mut(organization) else { return };
        change(part);
        if part.taken == 0 && part.waiting.is_empty() {
            self.organizations.remove(organization);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    type Acquiring = Pin<Box<dyn Future<Output = Permit>>>;

    /// Comes to wait for a place of an organization.
    fn waits(permits: &Permits, organization: &str) -> Acquiring {
        let (permits, organization) = (permits.clone(), organization.into());
        Box::pin(async move { permits.acquire(&organization).await })
    }

    fn poll(acquiring: &mut Acquiring) -> Option<Permit> {
        match acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    /// Those of so many that get a place at once; the others wait on.
    fn take(permits: &Permits, organization: &str, count: usize) -> (Vec<Permit>, Vec<Acquiring>) {
        let (mut taken, mut waiting) = (Vec::new(), Vec::new());
        for mut acquiring in (0..count).map(|_| waits(permits, organization)) {
            match poll(&mut acquiring) {
                Some(permit) => taken.push(permit),
                None => waiting.push(acquiring),
            }
        }
        (taken, waiting)
    }

    #[test]
    fn one_alone_has_most_places_and_others_have_room() {
        let permits = Permits::default();
        let (slow, _waits) = take(&permits, "slow", 1_000);
        assert_eq!(slow.len(), MOST);
        let others: Vec<_> = (0..AT_ONCE - MOST).map(|each| take(&permits, &each.to_string(), 1)).collect();
        assert!(others.iter().all(|(taken, _)| taken.len() == 1), "there is room for each of the others");
        assert!(poll(&mut waits(&permits, "last")).is_none());
        assert_eq!(permits.lock().taken, AT_ONCE);
    }

    #[test]
    fn a_place_goes_to_who_has_the_fewest_and_of_equals_to_who_came_first() {
        let permits = Permits::default();
        let (mut of_a, _more_of_a) = take(&permits, "a", 1_000);
        let (of_b, _more_of_b) = take(&permits, "b", 1_000);
        assert_eq!((of_a.len(), of_b.len()), (MOST, AT_ONCE - MOST));
        let mut waiting: Vec<_> = ["c", "d", "c"].map(|who| (who, waits(&permits, who))).into();
        assert!(waiting.iter_mut().all(|(_, acquiring)| poll(acquiring).is_none()));
        let (mut got, mut held) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            of_a.pop();
            waiting.retain_mut(|(who, acquiring)| {
                let permit = poll(acquiring);
                got.extend(permit.is_some().then_some(*who));
                let waits = permit.is_none();
                held.extend(permit);
                waits
            });
        }
        assert_eq!(got, ["c", "d", "c"]);
    }

    #[test]
    fn those_whose_endpoints_hang_share_alike() {
        let permits = Permits::default();
        let (mut of_a, mut waiting_of_a) = take(&permits, "a", 500);
        let (mut of_b, mut waiting_of_b) = take(&permits, "b", 500);
        for _ in 0..AT_ONCE {
            // Those of a end one by one, and others of a wait.
            of_a.remove(0);
            for (waiting, taken) in [(&mut waiting_of_a, &mut of_a), (&mut waiting_of_b, &mut of_b)] {
                waiting.retain_mut(|acquiring| poll(acquiring).map(|permit| taken.push(permit)).is_none());
            }
        }
        assert_eq!((of_a.len(), of_b.len()), (AT_ONCE / 2, AT_ONCE / 2));
    }

    #[test]
    fn who_waits_no_more_takes_nothing_and_leaves_nothing() {
        let permits = Permits::default();
        let left = || {
            let places = permits.lock();
            (places.taken, places.organizations.len())
        };
        let (held, waiting) = take(&permits, "slow", 100_000);
        let mut last = waits(&permits, "slow");
        assert!(poll(&mut last).is_none());
        drop(waiting);
        drop(held);
        let last = poll(&mut last).expect("a place");
        assert_eq!(left(), (1, 1));
        drop(last);
        assert_eq!(left(), (0, 0));
        // Given, and never looked at.
        let (held, mut waiting) = take(&permits, "slow", MOST + 1);
        drop(held);
        assert_eq!(left(), (1, 1));
        waiting.clear();
        assert_eq!(left(), (0, 0));
    }
}
