use std::collections::BTreeSet;

use bytes::Bytes;
use hanse_proto::runtime;
use proptest::prelude::*;
use prost::Message as _;

use hanse_topology::Exposure;

use super::*;
use crate::{
    table::{ConnectProfiles, FACES, Protocol, RoutingTable, index::ScopeIndex},
    testbed::{granted, index, listener, local_index, route, route_of, scope},
};

/// A route: its Organization, binding, host (empty: any) and context.
type Place = (&'static str, u8, &'static str, &'static str);

const ORGANIZATIONS: [&str; 2] = ["acme", "shop"];
const HOSTS: [&str; 5] = ["", "*.example.com", "*.eu.example.com", "api.example.com", "api.eu.example.com"];
const CONTEXTS: [&str; 4] = ["/", "/orders", "/orders/v1", "/pets"];
const ASKED: [&str; 5] =
    ["api.example.com", "x.example.com", "api.eu.example.com", "x.eu.example.com", "other"];
const PATHS: [&str; 5] = ["/", "/orders", "/orders/v1/7", "/pets/1", "/ordersx"];
const GRANTS: [(&str, &str, &str); 2] =
    [("*.eu.example.com", "/orders", "shop"), ("api.example.com", "/", "acme")];

fn resources((organization, binding, host, context): Place) -> [(Arc<str>, Bytes); 2] {
    let mut route = route(&format!("b{binding}"), context, &["GET /*", "GET /"]);
    route.hosts = Some(host).filter(|host| !host.is_empty()).map(str::to_owned).into_iter().collect();
    route_of(organization, route)
}

fn local(origin: &str, places: &[Place]) -> ScopeIndex {
    local_index(origin, places.iter().flat_map(|place| resources(*place)).collect())
}

fn control(places: &[Place], grants: &[(&str, &str, &str)]) -> ScopeIndex {
    let mut index = ScopeIndex::new(scope("production"));
    let listener =
        if grants.is_empty() { listener("production", &[]) } else { granted("production", grants) };
    let resources = places.iter().flat_map(|place| resources(*place)).chain([listener]).collect();
    index.apply(resources, Vec::new(), &mut ConnectProfiles::default());
    index
}

/// Routes of the control plane and of two Origins, of one environment.
struct World {
    tables: [Vec<Place>; 3],
    grants: Vec<(&'static str, &'static str, &'static str)>,
    table: RoutingTable,
    indexes: [ScopeIndex; 3],
}

const ORIGINS: [&str; 2] = ["east", "west"];

impl World {
    /// `first_last`: the tables come to the gateway in the other order.
    fn new(
        tables: [Vec<Place>; 3],
        grants: &[(&'static str, &'static str, &'static str)],
        first_last: bool,
    ) -> Self {
        let [made, east, west] = &tables;
        let indexes = [control(made, grants), local(ORIGINS[0], east), local(ORIGINS[1], west)];
        let mut all: Vec<_> = indexes.iter().map(ScopeIndex::table).collect();
        if first_last {
            all.reverse();
        }
        Self { table: RoutingTable::new(all, &FACES), grants: grants.to_vec(), tables, indexes }
    }

    fn environment(&self) -> &EnvironmentTable {
        self.table.environment(Protocol::Http, Exposure::External, "any.example").unwrap()
    }

    /// Where a local route does not answer, and why.
    fn lost(&self, table: usize, key: &str) -> Vec<String> {
        self.table
            .lost(&self.indexes[table].table().scope, self.indexes[table].in_force(key).unwrap())
            .collect()
    }

    /// Which table answers, and with which key.
    fn answer(&self, host: &str, path: &str) -> Option<(usize, String)> {
        let served = self.environment().api(host, path.as_bytes())?;
        let holds =
            |index: &ScopeIndex| index.in_force(&served.key).is_some_and(|own| Arc::ptr_eq(own, served));
        let table = self.indexes.iter().position(holds).unwrap();
        Some((table, served.key.to_string()))
    }

    /// The same of all routes in one list.
    fn naive(&self, host: &str, path: &str) -> Option<(usize, String)> {
        let owner = self
            .grants
            .iter()
            .filter(|(pattern, prefix, _)| {
                fits_host(pattern, host).is_some() && fits_path(prefix, path).is_some()
            })
            .max_by_key(|(pattern, prefix, _)| (fits_host(pattern, host), fits_path(prefix, path)))
            .map(|(_, _, organization)| *organization);
        let all = self
            .tables
            .iter()
            .enumerate()
            .flat_map(|(table, places)| places.iter().map(move |place| (table, place)));
        let fitting: Vec<_> = all
            .filter_map(|(table, (organization, binding, pattern, context))| {
                let fit = (fits_host(pattern, host)?, fits_path(context, path)?);
                let is_own = owner.is_none_or(|owner| owner == *organization);
                is_own.then(|| (fit, table, format!("route/{organization}/b{binding}"), *organization))
            })
            .collect();
        // The first table with a route says whose request it is: that of its best one, of equal ones of the one with the first key.
        let first = fitting.iter().map(|(_, table, ..)| *table).min()?;
        let of_first = fitting.iter().filter(|(_, table, ..)| *table == first);
        let (.., organization) =
            of_first.min_by(|one, other| other.0.cmp(&one.0).then_with(|| one.2.cmp(&other.2)))?;
        let own = fitting.iter().filter(|(.., own)| own == organization);
        let best = own.min_by(|one, other| {
            let of_equal = (one.1 > 0, &one.2, one.1).cmp(&(other.1 > 0, &other.2, other.1));
            other.0.cmp(&one.0).then(of_equal)
        });
        best.map(|(_, table, key, _)| (*table, key.clone()))
    }
}

/// How special a pattern is that fits a host.
fn fits_host(pattern: &str, host: &str) -> Option<usize> {
    match pattern.strip_prefix("*.") {
        _ if pattern.is_empty() => Some(0),
        Some(suffix) => host.strip_suffix(suffix)?.ends_with('.').then_some(suffix.len()),
        None => (pattern == host).then_some(usize::MAX),
    }
}

/// How long a context is that begins a path.
fn fits_path(context: &str, path: &str) -> Option<usize> {
    if context == "/" {
        return Some(0);
    }
    let rest = path.strip_prefix(context)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(context.len())
}

fn places() -> impl Strategy<Value = Vec<Place>> {
    let place = (0..2usize, 0..6u8, 0..HOSTS.len(), 0..CONTEXTS.len());
    let place = place.prop_map(|(organization, binding, host, context)| {
        (ORGANIZATIONS[organization], binding, HOSTS[host], CONTEXTS[context])
    });
    prop::collection::vec(place, 0..4).prop_map(|mut places| {
        let mut seen = BTreeSet::new();
        places.retain(|(organization, binding, ..)| seen.insert((*organization, *binding)));
        places
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Any number of tables answers as one list of routes does.
    #[test]
    fn the_best_of_each_table_is_the_best_of_all(
        control in places(), east in places(), west in places(), grants in 0..=GRANTS.len(), first_last: bool,
    ) {
        let world = World::new([control, east, west], &GRANTS[..grants], first_last);
        for (host, path) in ASKED.iter().flat_map(|host| PATHS.map(|path| (host, path))) {
            prop_assert_eq!(world.answer(host, path), world.naive(host, path), "{} {}", host, path);
        }
    }

    /// No table adds a route by which an Organization gets a request for which only others have routes in an earlier table.
    #[test]
    fn no_table_gives_an_organization_the_requests_of_another(control in places(), east in places(), west in places()) {
        let world = World::new([control, east, west], &[], false);
        for (host, path) in ASKED.iter().flat_map(|host| PATHS.map(|path| (host, path))) {
            let with_route = |places: &Vec<Place>| -> BTreeSet<&str> {
                let fits = |(_, _, pattern, context): &&Place| {
                    fits_host(pattern, host).is_some() && fits_path(context, path).is_some()
                };
                places.iter().filter(fits).map(|(organization, ..)| *organization).collect()
            };
            let first = world.tables.iter().map(with_route).find(|organizations| !organizations.is_empty());
            let answer = world.answer(host, path).map(|(_, key)| key);
            prop_assert_eq!(answer.is_some(), first.is_some());
            let own = answer.as_ref().and_then(|key| key.split('/').nth(1));
            prop_assert!(own.is_none_or(|own| first.unwrap().contains(own)), "{} {}: {:?}", host, path, answer);
        }
    }

    /// A local place that is told as lost answers no request of its own place, and every other one does.
    #[test]
    fn a_place_is_told_as_lost_if_it_is(control in places(), east in places(), west in places(), grants in 0..=GRANTS.len()) {
        let world = World::new([control, east, west], &GRANTS[..grants], false);
        for table in [1, 2] {
            for (organization, binding, host, context) in &world.tables[table] {
                let key = format!("route/{organization}/b{binding}");
                let lost = world.lost(table, &key);
                // A host of the pattern that no other pattern here has a name for.
                let asked = host.replace('*', "unnamed");
                let wins = world.naive(&asked, context) == Some((table, key));
                prop_assert_eq!(lost.is_empty(), wins, "{} {}: {:?}", host, context, lost);
            }
        }
    }
}

#[test]
fn a_local_route_answers_where_it_fits_better_and_only_within_its_organization() {
    let at = |organization, host, context| -> Place { (organization, 0, host, context) };
    // The local route against the control plane's `*.example.com/orders`, asked for `api.example.com/orders/v1`.
    for (host, context, fits_better) in [
        ("", "/", false),
        ("", "/orders", false),
        ("", "/orders/v1", false),
        ("*.example.com", "/", false),
        ("*.example.com", "/orders", false),
        ("*.example.com", "/orders/v1", true),
        ("api.example.com", "/", true),
        ("api.example.com", "/orders", true),
        ("api.example.com", "/orders/v1", true),
    ] {
        for (organization, first_last) in [("acme", false), ("acme", true), ("shop", false), ("shop", true)] {
            let made = at("acme", "*.example.com", "/orders");
            let world =
                World::new([vec![made], vec![at(organization, host, context)], vec![]], &[], first_last);
            let local = fits_better && organization == "acme";
            let answer = world.answer("api.example.com", "/orders/v1").unwrap();
            assert_eq!(answer.0, usize::from(local), "{organization} {host} {context}");
            // Where the control plane has nothing, the local route answers alone.
            let alone = World::new([vec![], vec![at(organization, host, context)], vec![]], &[], first_last);
            assert_eq!(alone.answer("api.example.com", "/orders/v1").unwrap().0, 1);
        }
    }
}

#[test]
fn of_two_organizations_that_of_the_first_origin_answers_and_a_grant_decides_before() {
    let [acme, shop] =
        ORGANIZATIONS.map(|organization| -> Place { (organization, 0, "api.example.com", "/orders") });
    let lost = World::lost;
    for first_last in [false, true] {
        let world = World::new([vec![], vec![acme], vec![shop]], &[], first_last);
        assert_eq!(world.answer("api.example.com", "/orders").unwrap(), (1, "route/acme/b0".to_owned()));
        assert_eq!(lost(&world, 1, "route/acme/b0"), Vec::<String>::new());
        assert_eq!(
            lost(&world, 2, "route/shop/b0"),
            ["api.example.com/orders is served by the Organization acme, from the Origin east"]
        );
        let grant = [("api.example.com", "/", "shop")];
        let world = World::new([vec![], vec![acme], vec![shop]], &grant, first_last);
        assert_eq!(world.answer("api.example.com", "/orders").unwrap().0, 2);
        assert_eq!(
            lost(&world, 1, "route/acme/b0"),
            ["api.example.com/orders is served by the Organization shop, from the Origin west"]
        );
        let world = World::new([vec![], vec![acme], vec![]], &grant, first_last);
        assert_eq!(world.answer("api.example.com", "/orders"), None);
        assert_eq!(
            lost(&world, 1, "route/acme/b0"),
            ["api.example.com/orders belongs to the Organization shop, by a HostGrant"]
        );
        let world = World::new([vec![acme], vec![acme], vec![]], &[], first_last);
        assert_eq!(world.answer("api.example.com", "/orders").unwrap().0, 0);
        assert_eq!(lost(&world, 1, "route/acme/b0"), ["api.example.com/orders is served by route/acme/b0"]);
    }
}

/// No Organization gets by a later Origin what another one has by an earlier one: neither with a longer context nor with a more special host.
#[test]
fn the_first_origin_that_has_a_route_fixes_the_organization() {
    let east: Place = ("acme", 0, "", "/orders");
    for (host, context) in [("", "/orders/v1"), ("api.example.com", "/"), ("api.example.com", "/orders/v1")] {
        let shop: Place = ("shop", 0, host, context);
        let world = World::new([vec![], vec![east], vec![shop]], &[], false);
        let answer = world.answer("api.example.com", "/orders/v1/7").unwrap();
        assert_eq!(answer, (1, "route/acme/b0".to_owned()), "{host} {context}");
        // Of the same Organization the better one answers.
        let own: Place = ("acme", 1, host, context);
        let world = World::new([vec![], vec![east], vec![own]], &[], false);
        assert_eq!(world.answer("api.example.com", "/orders/v1/7").unwrap().0, 2, "{host} {context}");
    }
    let world = World::new([vec![], vec![east], vec![("shop", 0, "", "/orders/v1")]], &[], false);
    assert_eq!(
        world.lost(2, "route/shop/b0"),
        ["any host/orders/v1 is served by the Organization acme, from the Origin east"]
    );
}

#[test]
fn of_equal_places_of_an_organization_the_first_key_answers_then_the_first_origin() {
    let [first, second] = [0, 1].map(|binding| -> Place { ("acme", binding, "", "/orders") });
    for (control, east, west, answer) in [
        (vec![], vec![second], vec![first], (2, "route/acme/b0")),
        (vec![], vec![first], vec![first], (1, "route/acme/b0")),
        (vec![second], vec![first], vec![first], (0, "route/acme/b1")),
    ] {
        for first_last in [false, true] {
            let world = World::new([control.clone(), east.clone(), west.clone()], &[], first_last);
            let (table, key) = world.answer("any.example", "/orders").unwrap();
            assert_eq!((table, &*key), answer);
        }
    }
}

#[test]
fn a_route_that_cannot_be_used_keeps_its_requests_from_other_organizations() {
    let orders: Place = ("acme", 0, "", "/orders");
    let [(key, bytes), upstream] = resources(orders);
    let requires = vec!["of-a-later-release".to_owned()];
    let later = runtime::Resource { requires, ..runtime::Resource::decode(bytes).unwrap() };
    let mut made = control(&[("acme", 1, "", "/pets")], &[]);
    let change = |made: &mut ScopeIndex, upserts, removals: &[&str]| {
        let removals = removals.iter().map(|&key| key.into()).collect();
        made.apply(upserts, removals, &mut ConnectProfiles::default());
    };
    change(&mut made, vec![(key, later.encode_to_vec().into()), upstream], &[]);
    let answer = |made: &ScopeIndex, place: Place, path: &str| {
        let table = RoutingTable::new(vec![made.table(), local("east", &[place]).table()], &FACES);
        let environment = table.environment(Protocol::Http, Exposure::External, "any.example").unwrap();
        let served = environment.api("any.example", path.as_bytes()).unwrap();
        format!("{}{}", served.key, if served.routes.blocked { " blocked" } else { "" })
    };
    for context in ["/", "/orders", "/orders/v1"] {
        assert_eq!(answer(&made, ("shop", 0, "", context), "/orders/v1/7"), "route/acme/b0 blocked");
    }
    assert_eq!(answer(&made, ("acme", 5, "", "/orders/v1"), "/orders/v1/7"), "route/acme/b5");
    assert_eq!(answer(&made, ("shop", 0, "", "/"), "/else"), "route/shop/b0");
    // Mended, and gone.
    change(&mut made, resources(orders).into(), &[]);
    assert_eq!(answer(&made, ("shop", 0, "", "/"), "/orders/v1/7"), "route/acme/b0");
    change(&mut made, vec![("route/acme/b0".into(), later.encode_to_vec().into())], &["route/acme/b0"]);
    assert_eq!(answer(&made, ("shop", 0, "", "/"), "/orders/v1/7"), "route/acme/b0 blocked");
    change(&mut made, vec![], &["route/acme/b0"]);
    assert_eq!(answer(&made, ("shop", 0, "", "/"), "/orders/v1/7"), "route/shop/b0");
}

/// The Environment has other hosts, has them from another Environment on, or has none.
#[test]
fn a_local_route_at_no_host_of_its_environment_is_told() {
    let lost = |listeners: &[(&str, &[&str])], host: &'static str| {
        let added = local("east", &[("acme", 0, host, "/orders")]);
        let mut tables: Vec<_> = listeners
            .iter()
            .map(|(environment, hosts)| index(environment, vec![listener(environment, hosts)]).table())
            .collect();
        if listeners.iter().all(|(environment, _)| *environment != "production") {
            tables.push(ScopeIndex::new(scope("production")).table());
        }
        tables.push(added.table());
        let table = RoutingTable::new(tables, &FACES);
        table.lost(&added.table().scope, added.in_force("route/acme/b0").unwrap()).collect::<Vec<_>>()
    };
    let told = |host: &str| vec![format!("{host}/orders is at no host of the Environment on this gateway")];
    let accepts: &[(&str, &[&str])] = &[("production", &["*.example.com"])];
    for (host, is_served) in [
        ("", true),
        ("api.example.com", true),
        ("*.eu.example.com", true),
        ("example.com", false),
        ("api.example.org", false),
        ("*.example.org", false),
    ] {
        let wanted = if is_served { vec![] } else { told(host) };
        assert_eq!(lost(accepts, host), wanted, "{host}");
    }
    let taken: &[(&str, &[&str])] =
        &[("aardvark", &["api.example.com"]), ("production", &["api.example.com"])];
    assert_eq!(lost(taken, "api.example.com"), told("api.example.com"));
    assert_eq!(lost(&[], ""), told("any host"));
}

#[test]
fn a_local_scope_serves_nothing_without_its_environment() {
    let place: Place = ("acme", 0, "", "/orders");
    let table = RoutingTable::new(vec![local("east", &[place]).table()], &FACES);
    assert!(
        !table.is_configured(Exposure::External)
            && table.environment(Protocol::Http, Exposure::External, "any.example").is_none()
    );
    // The control plane's scope is there, and has no Listener yet.
    let index = ScopeIndex::new(scope("production"));
    let table = RoutingTable::new(vec![index.table(), local("east", &[place]).table()], &FACES);
    assert!(table.environment(Protocol::Http, Exposure::External, "any.example").is_none());
}
