//! What a region's agents say of its gateways, as rows of places: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use hanse_proto::{
    places::{MAX_PLACE_ADDRESSES, Place},
    sync::{Health, Serving},
};
use hanse_topology::{Name, ScopeId, dialable, of_no_host};

/// A region, as its agents were heard within [`LEASE`](hanse_topology::LEASE). One that was not heard has no word of its own: its last row stays, and ages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeardRegion {
    /// Since its agents were heard.
    pub age: Duration,
    /// Its gateways.
    pub gateways: Vec<HeardGateway>,
    /// Whether all gateways had the time to be heard: not while the process that listens has just started.
    pub settled: bool,
}

/// A gateway, as the agents of its region say it.
#[derive(Debug, Clone, PartialEq)]
pub struct HeardGateway {
    /// Whether its agent hears it; `None`: its agent is not heard either.
    pub live: Option<bool>,
    /// What it said last of what it serves; `None`: nothing that can be read, so it is not known whether it is ready.
    pub serving: Option<Serving>,
}

impl HeardGateway {
    fn is_ready(&self) -> bool {
        self.live == Some(true) && self.serving.as_ref().is_some_and(|serving| serving.ready)
    }

    /// Whether it may be ready in an environment that it does not name.
    fn may_serve_more(&self) -> bool {
        let names_all = |serving: &Serving| serving.scopes_total <= serving.scopes.len() as u64;
        self.live != Some(false) && !self.serving.as_ref().is_some_and(names_all)
    }
}

/// The rows of a region, one for each environment that one of its gateways serves or served.
///
/// - Health: up where a gateway is ready, down where none is. It is unknown where a gateway may be ready of which too little is known.
/// - Addresses: the IP addresses among the URLs that the ready gateways advertise; where none is ready, those of all of them. Clients of an
///   internal environment are led to internal entries, all others to external ones.
pub fn rows_of_region(region: &Name, heard: &HeardRegion, is_internal: impl Fn(&Name) -> bool) -> Vec<Place> {
    let HeardRegion { age, gateways, settled } = heard;
    let mut by_environment = BTreeMap::<Name, Vec<&HeardGateway>>::new();
    for gateway in gateways {
        let scopes = gateway.serving.iter().flat_map(|serving| &serving.scopes);
        let environments: BTreeSet<Name> = scopes.filter_map(|scope| environment(scope, region)).collect();
        for environment in environments {
            by_environment.entry(environment).or_default().push(gateway);
        }
    }
    let doubtful = !settled || gateways.iter().any(HeardGateway::may_serve_more);
    let row = |(environment, gateways): (Name, Vec<&HeardGateway>)| {
        let any_ready = gateways.iter().any(|gateway| gateway.is_ready());
        let counted = || gateways.iter().filter(|gateway| !any_ready || gateway.is_ready());
        let serving = || counted().filter_map(|gateway| gateway.serving.as_ref());
        let internal = is_internal(&environment);
        let urls =
            serving().flat_map(|serving| if internal { &serving.internal_urls } else { &serving.urls });
        let (addresses, addresses_left) = bounded(urls.filter_map(|url| address(url)));
        let tunnels = serving().flat_map(|serving| &serving.tunnels);
        let (tunnels, tunnels_left) = bounded(tunnels.filter(|tunnel| dialable(tunnel).is_some()).cloned());
        let health = if any_ready {
            Health::Up
        } else if doubtful || gateways.iter().any(|gateway| gateway.live.is_none()) {
            Health::Unspecified
        } else {
            Health::Down
        };
        let (region, left_out) = (region.clone(), addresses_left + tunnels_left);
        Place { region, environment, health, age: *age, addresses, tunnels, left_out }
    };
    by_environment.into_iter().map(row).collect()
}

/// The environment of a runtime scope of this region: a gateway speaks for no other.
fn environment(scope: &str, region: &Name) -> Option<Name> {
    match scope.parse().ok()? {
        ScopeId::Runtime { region: of, environment } => (of == *region).then_some(environment),
        ScopeId::Local { .. } | ScopeId::Dns { .. } | ScopeId::Keys { .. } | ScopeId::Agents { .. } => None,
    }
}

/// The address of a URL that has one in place of a name. A name may lead to a load balancer: its addresses are of no use in an answer.
fn address(url: &str) -> Option<IpAddr> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let address: IpAddr = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0.parse().ok()?,
        None => authority.split(':').next()?.parse().ok()?,
    };
    of_no_host(address).is_none().then_some(address)
}

/// Each once, in order, and how many there was no room for.
fn bounded<T: Ord>(all: impl Iterator<Item = T>) -> (Vec<T>, u64) {
    let all: BTreeSet<T> = all.collect();
    let left_out = all.len().saturating_sub(MAX_PLACE_ADDRESSES) as u64;
    (all.into_iter().take(MAX_PLACE_ADDRESSES).collect(), left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn gateway(live: bool, ready: bool, url: &str) -> HeardGateway {
        let scopes = vec!["runtime/eu-west/production".to_owned()];
        let urls = vec![url.to_owned()];
        let serving = Serving { scopes, scopes_total: 1, urls, ready, ..Serving::default() };
        HeardGateway { live: Some(live), serving: Some(serving) }
    }

    fn rows(gateways: &[HeardGateway]) -> Vec<Place> {
        let heard = HeardRegion { gateways: gateways.to_vec(), settled: true, ..HeardRegion::default() };
        rows_of_region(&name("eu-west"), &heard, |_| false)
    }

    #[test]
    fn a_region_is_up_where_a_gateway_is_ready() {
        let unknown = HeardGateway { live: Some(true), serving: None };
        let check = |gateways: &[HeardGateway], health: Health, addresses: &[&str]| {
            let rows = rows(gateways);
            let [row] = &rows[..] else { panic!("{rows:?}") };
            assert_eq!((row.region.as_str(), row.environment.as_str()), ("eu-west", "production"));
            let told: Vec<_> = row.addresses.iter().map(ToString::to_string).collect();
            assert_eq!(
                (row.health, &told[..]),
                (health, &addresses.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
            );
        };
        let (ready, not_ready) =
            (gateway(true, true, "http://192.0.2.1"), gateway(true, false, "http://192.0.2.2"));
        let gone = gateway(false, true, "http://192.0.2.3");
        check(&[ready.clone(), not_ready.clone(), gone.clone()], Health::Up, &["192.0.2.1"]);
        check(&[not_ready.clone(), gone.clone()], Health::Down, &["192.0.2.2", "192.0.2.3"]);
        check(std::slice::from_ref(&gone), Health::Down, &["192.0.2.3"]);
        check(&[gone.clone(), unknown.clone()], Health::Unspecified, &["192.0.2.3"]);
        check(&[ready.clone(), unknown.clone()], Health::Up, &["192.0.2.1"]);
        let unheard = HeardGateway { live: None, ..ready.clone() };
        check(&[not_ready.clone(), unheard], Health::Unspecified, &["192.0.2.1", "192.0.2.2"]);
        let started = HeardRegion { gateways: vec![not_ready], ..HeardRegion::default() };
        let rows_at_start = rows_of_region(&name("eu-west"), &started, |_| false);
        assert_eq!(rows_at_start[0].health, Health::Unspecified, "others may not have been heard yet");
        assert_eq!(rows(&[unknown]), [], "no environment is known");
        let mut more = gateway(true, false, "http://192.0.2.4");
        more.serving.as_mut().unwrap().scopes_total = 2;
        check(&[more], Health::Unspecified, &["192.0.2.4"]);
    }

    #[test]
    fn an_internal_environment_is_reached_at_internal_entries() {
        let mut gateway = gateway(true, true, "https://192.0.2.1");
        let serving = gateway.serving.as_mut().unwrap();
        serving.scopes.push("runtime/eu-west/backoffice".to_owned());
        serving.scopes.push("runtime/us-east/elsewhere".to_owned());
        serving.scopes.push("dns/eu-west".to_owned());
        serving.internal_urls = vec!["https://10.0.0.7:8443".to_owned()];
        serving.tunnels = vec!["192.0.2.1:7447".to_owned(), "nonsense".to_owned()];
        let heard = HeardRegion { gateways: vec![gateway], ..HeardRegion::default() };
        let rows = rows_of_region(&name("eu-west"), &heard, |of| of.as_str() == "backoffice");
        let told: Vec<_> =
            rows.iter().map(|row| (row.environment.as_str(), row.addresses[0].to_string())).collect();
        assert_eq!(told, [("backoffice", "10.0.0.7".to_owned()), ("production", "192.0.2.1".to_owned())]);
        assert!(rows.iter().all(|row| row.tunnels == ["192.0.2.1:7447"]));
    }

    #[test]
    fn rows_are_bounded_and_what_is_left_out_is_counted() {
        let gateways: Vec<_> =
            (1..=11).map(|n| gateway(true, true, &format!("http://192.0.2.{n}:80/"))).collect();
        let rows = rows(&gateways);
        assert_eq!((rows[0].addresses.len(), rows[0].left_out), (MAX_PLACE_ADDRESSES, 3));
    }

    #[test]
    fn an_address_is_read_from_a_url_without_a_name() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(address(url).map(|address| address.to_string()).as_deref(), expected, "{url}");
        };
        check("http://192.0.2.7", Some("192.0.2.7"));
        check("https://192.0.2.7:8443/path", Some("192.0.2.7"));
        check("https://[2001:db8::7]:8443", Some("2001:db8::7"));
        check("https://[2001:db8::7]", Some("2001:db8::7"));
        check("https://gateway.example:8443", None);
        check("https://0.0.0.0:8443", None);
        check("192.0.2.7:80", None);
        check("", None);
    }
}
