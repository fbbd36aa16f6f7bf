//! What is known of names, and which lookups are under way. No clock and no I/O: both are the caller's.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Addresses, LookupError};

/// Answers hold at least for this time, also where their records say less: names of services that change all the time have a TTL
/// of 0, and would be asked for with every connection.
pub(super) const MIN_TTL: Duration = Duration::from_secs(1);
/// And at most for this time: an operator who moves a service whose records hold for a day waits no longer for gateways.
const MAX_TTL: Duration = Duration::from_secs(300);
/// A name that had no address, or could not be looked up, is left alone for this time: enough that requests to it ask the
/// name servers seldom, and short enough that no client waits for a service that has just appeared.
const FAILED_FOR: Duration = Duration::from_secs(2);
/// While name servers cannot say, what was known goes on for this time: the least that RFC 8767 recommends.
const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// A connection that has a stale answer waits for a fresh one so long: name servers that are there take some
/// milliseconds, and clients notice half a second.
const STALE_WAIT: Duration = Duration::from_millis(500);
/// Names known at once: more than ten thousand Apis have, in some 5 MB.
const MAX_NAMES: usize = 16_384;
/// When they are too many, this part of them is forgotten at once, so that the search for them is seldom.
const FORGOTTEN: usize = 8;

/// What a name's addresses are, as far as is known.
pub(super) type Outcome = Result<Arc<Addresses>, LookupError>;

#[derive(Default)]
pub(super) struct Cache {
    names: HashMap<Box<str>, Entry>,
}

struct Entry {
    known: Option<Known>,
    /// The last lookup failed, and until when there is to be no other.
    failed: Option<(LookupError, Instant)>,
    lookup: Option<(watch::Receiver<Option<Outcome>>, Instant)>,
    used: Instant,
}

struct Known {
    addresses: Arc<Addresses>,
    fresh_until: Instant,
}

/// What comes of asking.
pub(super) enum Asked {
    /// It is known.
    Answered(Outcome),
    /// It is being looked up.
    Awaited {
        /// Says what was found.
        lookup: watch::Receiver<Option<Outcome>>,
        /// Who gets this begins the lookup.
        begin: Option<Begin>,
        /// What will do if nothing is found, and until when to wait.
        stale: Option<(Arc<Addresses>, Instant)>,
    },
}

/// A lookup to begin.
pub(super) struct Begin {
    /// For what it finds.
    pub(super) end: watch::Sender<Option<Outcome>>,
    /// The last one took too long.
    pub(super) was_slow: bool,
}

impl Entry {
    /// Whether it is being looked up: not if that broke off.
    fn is_awaited(&self) -> bool {
        self.lookup.as_ref().is_some_and(|(lookup, _)| lookup.has_changed().is_ok())
    }

    fn ask(&mut self, now: Instant) -> Asked {
        self.used = now;
        if let Some(known) = &self.known
            && now < known.fresh_until
        {
            return Asked::Answered(Ok(known.addresses.clone()));
        }
        let stale = self.known.as_ref().filter(|known| now < known.fresh_until + MAX_STALE);
        let stale = stale.map(|known| known.addresses.clone());
        if let Some((error, until)) = &self.failed
            && now < *until
        {
            return Asked::Answered(stale.ok_or_else(|| error.clone()));
        }
        let (lookup, begun, begin) = match &self.lookup {
            Some((lookup, begun)) if lookup.has_changed().is_ok() => (lookup.clone(), *begun, None),
            _ => {
                let (end, lookup) = watch::channel(None);
                self.lookup = Some((lookup.clone(), now));
                let was_slow = self.failed.as_ref().is_some_and(|(error, _)| error.is_timeout());
                (lookup, now, Some(Begin { end, was_slow }))
            }
        };
        Asked::Awaited { lookup, begin, stale: stale.map(|stale| (stale, begun + STALE_WAIT)) }
    }
}

impl Cache {
    /// What is known of the name, or the lookup to wait for.
    pub(super) fn ask(&mut self, name: &str, now: Instant) -> Asked {
        if let Some(entry) = self.names.get_mut(name) {
            return entry.ask(now);
        }
        if self.names.len() >= MAX_NAMES {
            self.forget();
        }
        if self.names.len() >= MAX_NAMES {
            return Asked::Answered(Err(LookupError::Busy));
        }
        let new = Entry { known: None, failed: None, lookup: None, used: now };
        self.names.entry(name.into()).or_insert(new).ask(now)
    }

    /// Takes in what a lookup found, and for how long that holds. Says what follows for those who wait for it.
    pub(super) fn note(
        &mut self,
        name: &str,
        found: Result<(Addresses, Duration), LookupError>,
        now: Instant,
    ) -> Outcome {
        let Some(entry) = self.names.get_mut(name) else { return Err(LookupError::Ended) };
        entry.lookup = None;
        match found {
            Ok((addresses, ttl)) => {
                let before = entry.known.take();
                let addresses = Arc::new(addresses.after(before.as_ref().map(|known| &*known.addresses)));
                let fresh_until = now + ttl.clamp(MIN_TTL, MAX_TTL);
                entry.known = Some(Known { addresses: addresses.clone(), fresh_until });
                if entry.failed.take().is_some() && before.is_some() {
                    tracing::info!(name, "the name can be looked up again");
                }
                Ok(addresses)
            }
            Err(error) => {
                if !error.is_failure() {
                    entry.known = None;
                } else if entry.known.is_some() && entry.failed.is_none() {
                    tracing::warn!(name, %error, "a name cannot be looked up; its last addresses go on");
                }
                entry.failed = Some((error.clone(), now + FAILED_FOR));
                Err(error)
            }
        }
    }

    /// How much longer what is known of a name holds.
    #[cfg(test)]
    pub(super) fn fresh_for(&self, name: &str, now: Instant) -> Option<Duration> {
        Some(self.names.get(name)?.known.as_ref()?.fresh_until.saturating_duration_since(now))
    }

    /// Makes room: of names that are not being looked up, those that were asked for longest ago.
    fn forget(&mut self) {
        let idle = self.names.values().filter(|entry| !entry.is_awaited());
        let mut used: Vec<Instant> = idle.map(|entry| entry.used).collect();
        if used.is_empty() {
            return;
        }
        let last = (MAX_NAMES / FORGOTTEN).min(used.len() - 1);
        let limit = *used.select_nth_unstable(last).1;
        self.names.retain(|_, entry| entry.is_awaited() || entry.used > limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn addresses(last: u8) -> Addresses {
        Addresses::new([std::net::Ipv4Addr::new(10, 0, 0, last).into()]).unwrap()
    }

    fn silent() -> Result<(Addresses, Duration), LookupError> {
        Err(LookupError::Timeout(TTL))
    }

    /// `=N`: that address; `!`: no address, without a lookup; `?`: begins a lookup, `?s`: one of a slow name; `.`: waits for one;
    /// `~N`: may go on with that address.
    fn asked(cache: &mut Cache, now: Instant) -> (String, Option<Begin>) {
        let last = |addresses: &Addresses| addresses.in_turn()[0].ip().to_string().replace("10.0.0.", "");
        match cache.ask("a", now) {
            Asked::Answered(Ok(addresses)) => (format!("={}", last(&addresses)), None),
            Asked::Answered(Err(_)) => ("!".to_owned(), None),
            Asked::Awaited { begin, stale, .. } => {
                let stale = stale.map_or(String::new(), |(addresses, _)| format!("~{}", last(&addresses)));
                let begins = match &begin {
                    Some(begin) if begin.was_slow => "?s",
                    Some(_) => "?",
                    None => ".",
                };
                (format!("{begins}{stale}"), begin)
            }
        }
    }

    fn ask(cache: &mut Cache, now: Instant) -> String {
        asked(cache, now).0
    }

    #[test]
    fn a_name_is_looked_up_once_at_a_time_and_followed_after_its_ttl() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let (said, begun) = asked(&mut cache, now);
        assert_eq!(said, "?");
        assert_eq!(ask(&mut cache, now), ".");
        drop(begun); // it broke off
        let (said, _begun) = asked(&mut cache, now);
        assert_eq!(said, "?");
        cache.note("a", Ok((addresses(1), TTL)), now).unwrap();
        assert_eq!(ask(&mut cache, now + TTL - Duration::from_millis(1)), "=1");
        assert_eq!(asked(&mut cache, now + TTL).0, "?~1");
        cache.note("a", Ok((addresses(2), TTL)), now + TTL).unwrap();
        assert_eq!(ask(&mut cache, now + TTL), "=2");
    }

    #[test]
    fn times_to_live_have_bounds() {
        for (ttl, held) in [(0, MIN_TTL), (7, Duration::from_secs(7)), (86_400, MAX_TTL)] {
            let (mut cache, now) = (Cache::default(), Instant::now());
            let _begun = asked(&mut cache, now);
            cache.note("a", Ok((addresses(1), Duration::from_secs(ttl))), now).unwrap();
            assert_eq!(ask(&mut cache, now + held - Duration::from_millis(1)), "=1", "{ttl}");
            assert_eq!(ask(&mut cache, now + held), "?~1", "{ttl}");
        }
    }

    #[test]
    fn a_silent_name_server_takes_nothing_away_for_a_day_but_a_name_that_is_gone_is_gone() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let _begun = asked(&mut cache, now);
        cache.note("a", Ok((addresses(1), TTL)), now).unwrap();
        let expired = now + TTL;
        let begun = asked(&mut cache, expired);
        assert_eq!(begun.0, "?~1");
        cache.note("a", silent(), expired).unwrap_err();
        assert_eq!(ask(&mut cache, expired), "=1", "and nobody is asked");
        let begun = asked(&mut cache, expired + FAILED_FOR);
        assert_eq!(begun.0, "?s~1");
        cache.note("a", silent(), expired + MAX_STALE).unwrap_err();
        assert_eq!(ask(&mut cache, expired + MAX_STALE), "!");
        let later = expired + MAX_STALE + FAILED_FOR;
        let begun = asked(&mut cache, later);
        assert_eq!(begun.0, "?s");
        cache.note("a", Ok((addresses(3), TTL)), later).unwrap();
        let begun = asked(&mut cache, later + TTL);
        assert_eq!(begun.0, "?~3");
        cache.note("a", Err(LookupError::NoAddress), later + TTL).unwrap_err();
        assert_eq!(ask(&mut cache, later + TTL), "!");
        assert_eq!(ask(&mut cache, later + TTL + FAILED_FOR), "?");
    }

    #[test]
    fn the_names_asked_for_longest_ago_make_room_and_lookups_under_way_do_not() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let at = |number: usize| now + Duration::from_millis(number as u64);
        let mut begun = Vec::new();
        for number in 0..MAX_NAMES {
            let Asked::Awaited { begin, .. } = cache.ask(&number.to_string(), at(number)) else { panic!() };
            begun.push(begin.unwrap());
        }
        assert!(matches!(cache.ask("a", at(MAX_NAMES)), Asked::Answered(Err(LookupError::Busy))));
        for number in 1..MAX_NAMES {
            cache.note(&number.to_string(), Ok((addresses(1), MAX_TTL)), at(number)).unwrap();
        }
        assert!(matches!(cache.ask("a", at(MAX_NAMES)), Asked::Awaited { .. }));
        assert!(cache.names.len() <= MAX_NAMES - MAX_NAMES / FORGOTTEN + 1, "{}", cache.names.len());
        assert!(cache.names.contains_key("0"), "it is being looked up");
        assert!(!cache.names.contains_key("1"));
        assert!(cache.names.contains_key(&*(MAX_NAMES - 1).to_string()));
    }
}
