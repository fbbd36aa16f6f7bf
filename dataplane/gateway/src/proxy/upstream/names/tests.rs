//! Lookups against a name server of the test's own, which may be silent.

mod server;

use std::{net::SocketAddr, sync::atomic::AtomicUsize};

use hanse_process::ShutdownTrigger;
use hanse_proto::runtime;
use hanse_runtime::{Cidr, Egress};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::LocalOptions,
};

use self::server::{Does, NameServer, nobody};
use super::*;
use crate::{
    egress::EgressDenied,
    health::{Endpoints, HealthChecks},
    metrics::GatewayMetrics,
    proxy::upstream::{Slots, UpstreamClient, UpstreamError},
    table::{ConnectProfiles, Tried, Upstream, UpstreamId},
    testbed::{SOON, checked, eventually, scope, upstream},
};

/// The name server that the process's lookups of all tests ask.
static FOR_ALL: LazyLock<(NameServer, TempDir)> =
    LazyLock::new(|| (NameServer::start(), tempfile::tempdir().unwrap()));

pub(super) fn source_for_all() -> Source {
    FOR_ALL.0.system(&FOR_ALL.1, "", "")
}

/// A name server, and a system that asks it.
struct Asking {
    server: NameServer,
    names: Names,
    _directory: TempDir,
}

fn asking(hosts: &str, resolv_conf: &str) -> Asking {
    let (server, directory) = (NameServer::start(), tempfile::tempdir().unwrap());
    let names = Names::new(server.system(&directory, hosts, resolv_conf));
    Asking { server, names, _directory: directory }
}

impl Asking {
    async fn addresses(&self, name: &str) -> Result<Vec<String>, LookupError> {
        let found = self.names.addresses(name, LOOKUP_LIMIT).await?;
        Ok(found.in_turn().iter().map(|address| address.ip().to_string()).collect())
    }
}

/// A backend that answers 200 to everything. Counts requests.
async fn backend() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let mut head = [0; 4_096];
                if stream.read(&mut head).await.is_ok_and(|length| length > 0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    let _ = stream.write_all(answer).await; // the gateway may be gone
                }
            });
        }
    });
    (address, answered)
}

fn compiled(
    organization: &str,
    url: &str,
    profiles: &mut ConnectProfiles,
    change: impl FnOnce(&mut runtime::Upstream),
) -> Upstream {
    let mut given = upstream(&[url]);
    change(&mut given);
    let id = UpstreamId::new(&scope("production"), &format!("upstream/{organization}/a"));
    let compiled = Upstream::new(&id, checked(given), profiles);
    profiles.endpoints.egress(id.scope.environment()).set(Some(&Egress::default()));
    compiled
}

fn reaching(url: &str) -> Upstream {
    compiled("default", url, &mut ConnectProfiles::default(), |_| {})
}

/// Runs on a runtime like a serving thread's, which has few threads for what blocks.
fn on_a_serving_thread(work: impl Future<Output = ()>) {
    let mut builder = Builder::new_current_thread();
    let builder = builder.enable_all().max_blocking_threads(2);
    builder.build_local(LocalOptions::default()).unwrap().block_on(work);
}

fn client(names: &Names) -> UpstreamClient {
    UpstreamClient::over(Slots::new(usize::MAX), names.clone())
}

async fn connect(client: &UpstreamClient, upstream: &Upstream) -> Result<(), UpstreamError> {
    let slot = client.slot().await?;
    client.connect(upstream.pick(&Tried::default()).unwrap(), slot).await.map(drop)
}

#[test]
fn names_that_hang_hold_up_nobody_elses_connections_on_the_same_thread() {
    const HANGING: usize = 64;
    let asking = asking("", "");
    on_a_serving_thread(async {
        let (backend, _) = backend().await;
        let client = client(&asking.names);
        let mut hanging = tokio::task::JoinSet::new();
        for number in 0..HANGING {
            let client = client.clone();
            hanging.spawn_local(async move {
                connect(&client, &reaching(&format!("http://{number}.silent.test:1"))).await
            });
        }
        let silent = || asking.server.asked(|name| name.ends_with(".silent.test")).len();
        eventually("all are looked up", async || silent() == HANGING).await;
        let one = reaching(&format!("http://one.answers.test:{}", backend.port()));
        connect(&client, &one).await.unwrap();
        while let Some(ended) = hanging.join_next().await {
            let error = ended.unwrap().unwrap_err();
            assert!(matches!(error, UpstreamError::ConnectTimeout(_)), "{error:?}");
        }
        assert_eq!(asking.names.failed(), HANGING as u64);
    });
}

#[tokio::test]
async fn names_that_hung_before_take_nobody_elses_places() {
    const PLACES: usize = 4;
    let Asking { server, _directory, .. } = asking("", "");
    let names = Names::bounded(server.system(&_directory, "", ""), PLACES, 1);
    let look_up = async |within: Duration| {
        let hanging = (0..PLACES)
            .map(async |number| names.addresses(&format!("{number}.silent.test"), within).await.is_err());
        assert!(futures_util::future::join_all(hanging).await.iter().all(|failed| *failed));
    };
    look_up(SOON).await;
    eventually("they are looked up again", async || {
        look_up(Duration::from_millis(1)).await;
        names.0.slow_places.available_permits() == 0
    })
    .await;
    names.addresses("one.answers.test", LOOKUP_LIMIT).await.unwrap();
    assert_eq!(names.0.slow_places.available_permits(), 0, "they hang still");
    assert_eq!(names.0.places.available_permits(), PLACES);
}

/// It waited in vain for a place, and is none of the slow ones for that.
#[tokio::test]
async fn a_name_that_got_no_place_is_not_one_that_hangs() {
    let Asking { server, _directory, .. } = asking("", "");
    let names = Names::bounded(server.system(&_directory, "", ""), 1, 1);
    let _slow = names.0.slow_places.acquire().await.unwrap();
    let place = names.0.places.acquire().await.unwrap();
    let refused = names.addresses("one.answers.test", SOON).await;
    assert!(matches!(refused, Err(LookupError::Busy)), "{refused:?}");
    drop(place);
    eventually("it is looked up", async || names.addresses("one.answers.test", SOON).await.is_ok()).await;
}

/// One of the name's two addresses drops all that comes to it.
#[test]
fn an_address_that_is_silent_leaves_time_for_the_others_of_its_name() {
    let asking = asking("", "");
    on_a_serving_thread(async {
        // Its queue is full, and no process takes from it.
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind(([127, 0, 0, 3], 0).into()).unwrap();
        let silent = silent.listen(1).unwrap();
        let address = silent.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            queued.push(stream.unwrap());
        }
        let _there = TcpListener::bind(("127.0.0.1", address.port())).await.unwrap();
        asking.server.tell("half.test", Does::answer(&["127.0.0.3", "127.0.0.1"], 300));
        let client = client(&asking.names);
        let url = format!("http://half.test:{}", address.port());
        let upstream = compiled("default", &url, &mut ConnectProfiles::default(), |given| {
            given.connect_timeout_ms = 4_000
        });
        for turn in 0..2 {
            connect(&client, &upstream).await.unwrap_or_else(|error| panic!("{turn}: {error:?}"));
        }
    });
}

/// Each address is judged when the connection is made, so a name that moves is no way round.
#[test]
fn of_a_names_addresses_only_those_that_the_egress_allows_are_connected_to() {
    let asking = asking("", "");
    on_a_serving_thread(async {
        let (backend, _) = backend().await;
        asking.server.tell("half.test", Does::answer(&["127.0.0.3", "127.0.0.1"], 300));
        asking.server.tell("moves.test", Does::answer(&["127.0.0.1"], 1));
        let half = reaching(&format!("http://half.test:{}", backend.port()));
        let moves = reaching(&format!("http://moves.test:{}", backend.port()));
        // Each upstream has a client of its own, because a client has one connector for each number of a profile, and both profiles
        // have the same number.
        let [to_half, to_moves] = [client(&asking.names), client(&asking.names)];
        let set = |upstream: &Upstream, deny: &str| {
            let egress = &upstream.pick(&Tried::default()).unwrap().profile.egress;
            egress.set(Some(&Egress::new([], [Cidr::parse(deny).unwrap()])));
        };
        set(&half, "127.0.0.3/32");
        for turn in 0..2 {
            connect(&to_half, &half).await.unwrap_or_else(|error| panic!("{turn}: {error:?}"));
        }
        set(&half, "127.0.0.0/8");
        let denied = connect(&to_half, &half).await.unwrap_err();
        assert!(matches!(denied, UpstreamError::EgressDenied(EgressDenied::Network(_))), "{denied:?}");
        connect(&to_moves, &moves).await.unwrap();
        asking.server.tell("moves.test", Does::answer(&["169.254.169.254"], 1));
        eventually("it is denied", async || {
            matches!(connect(&to_moves, &moves).await, Err(UpstreamError::EgressDenied(_)))
        })
        .await;
        asking.server.tell("moves.test", Does::answer(&["127.0.0.1"], 1));
        eventually("it is allowed", async || connect(&to_moves, &moves).await.is_ok()).await;
    });
}

#[tokio::test]
async fn names_that_hang_fail_nobody_elses_checks() {
    const HANGING: usize = 40;
    let (backend, answered) = backend().await;
    let endpoints = Endpoints::default();
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let metrics = GatewayMetrics::new(1);
    let mut checks = HealthChecks::new(endpoints.clone(), metrics.clone(), Slots::new(usize::MAX));
    tokio::spawn(async move { checks.run(shutdown).await });
    let mut profiles = ConnectProfiles::over(endpoints);
    let mut checked = |organization: &str, url: &str| {
        compiled(organization, url, &mut profiles, |upstream| {
            upstream.health_check = Some(runtime::HealthCheck {
                path: "/".to_owned(),
                interval_ms: 20,
                timeout_ms: 10_000,
                unhealthy_after: 1,
                healthy_after: 1_000, // one failure shows to the end
                expect_status: 0,
            });
        })
    };
    let hanging: Vec<Upstream> = (0..HANGING)
        .map(|number| checked("default", &format!("http://{number}.checks.silent.test:1")))
        .collect();
    let silent = || FOR_ALL.0.asked(|name| name.ends_with(".checks.silent.test")).len();
    eventually("some hang", async || silent() > 2).await;
    let other = checked("toys", &format!("http://checks.answers.test:{}", backend.port()));
    // As often as it takes for its name to be looked up more than once.
    eventually("it is checked", async || {
        answered.load(Ordering::SeqCst) > 5 && FOR_ALL.0.times("checks.answers.test") > 1
    })
    .await;
    let health = |upstream: &Upstream| upstream.pick(&Tried::default()).unwrap().health.is_in();
    assert!(health(&other));
    eventually("those that hang fail theirs", async || hanging.iter().any(|one| !health(one))).await;
    assert!(health(&other));
    assert!(metrics.checks_passed.load(Ordering::Relaxed) > 5);
}

#[tokio::test]
async fn what_was_found_lives_on_through_a_silent_name_server() {
    let asking = asking("", "");
    asking.server.tell("orders.test", Does::answer(&["10.0.0.1"], 1));
    assert_eq!(asking.addresses("orders.test").await.unwrap(), ["10.0.0.1"]);
    asking.server.fall_silent();
    eventually("it is asked in vain", async || {
        assert_eq!(asking.addresses("orders.test").await.unwrap(), ["10.0.0.1"]);
        asking.names.failed() > 0
    })
    .await;
    assert_eq!(asking.addresses("orders.test").await.unwrap(), ["10.0.0.1"]);
    assert!(matches!(asking.addresses("new.test").await, Err(error) if error.is_timeout()));
}

#[tokio::test]
async fn a_name_that_moves_is_followed_after_its_ttl_and_one_that_is_gone_is_not_used() {
    let asking = asking("", "");
    asking.server.tell("orders.test", Does::answer(&["10.0.0.1"], 1));
    assert_eq!(asking.addresses("orders.test").await.unwrap(), ["10.0.0.1"]);
    asking.server.tell("orders.test", Does::answer(&["10.0.0.2", "fe80::2"], 1));
    eventually("it is followed", async || {
        asking.addresses("Orders.Test").await.unwrap() == ["10.0.0.2", "fe80::2"]
    })
    .await;
    asking.server.tell("orders.test", Does::SayNoSuchName);
    eventually("it is gone", async || {
        matches!(asking.addresses("orders.test").await, Err(LookupError::NoAddress))
    })
    .await;
}

#[tokio::test]
async fn those_who_ask_at_once_share_a_lookup_and_later_ones_what_it_found() {
    let asking = asking("", "");
    asking.server.tell("orders.test", Does::answer(&["10.0.0.1", "10.0.0.2"], 300));
    let many = (0..50).map(|_| asking.addresses("orders.test"));
    let found: Vec<_> = futures_util::future::join_all(many).await.into_iter().map(Result::unwrap).collect();
    let first = |address: &str| found.iter().filter(|addresses| addresses[0] == address).count();
    assert_eq!((first("10.0.0.1"), first("10.0.0.2")), (25, 25), "they take turns");
    asking.addresses("orders.test").await.unwrap();
    assert_eq!(asking.server.times("orders.test"), 1);
}

#[tokio::test]
async fn short_names_are_completed_and_hosts_come_first() {
    let asking = asking("10.0.0.7 cart\n", "search a.test b.test c.test\noptions ndots:5");
    asking.server.tell("orders.a.test", Does::Fail);
    asking.server.tell("orders.b.test", Does::answer(&["10.0.0.1"], 60));
    assert_eq!(asking.addresses("orders").await.unwrap(), ["10.0.0.1"]);
    let asked = asking.server.asked(|_| true);
    assert_eq!(asked.iter().map(String::as_str).collect::<Vec<_>>(), ["orders.a.test", "orders.b.test"]);
    assert_eq!(asking.addresses("cart").await.unwrap(), ["10.0.0.7"]);
    assert!(asking.server.asked(|name| name.starts_with("cart")).is_empty());
    // A name server that cannot say is not one that says no.
    asking.server.tell("stock.c.test", Does::Fail);
    assert!(matches!(asking.addresses("stock").await, Err(LookupError::Failed(_))));
    assert!(matches!(asking.addresses("nobody").await, Err(LookupError::NoAddress)));
    assert_eq!(asking.names.failed(), 2);
}

#[tokio::test]
async fn a_name_server_that_cannot_say_or_is_silent_has_another_beside_it() {
    let (one, other) = NameServer::two();
    let directory = tempfile::tempdir().unwrap();
    let names = Names::new(one.system(&directory, "", "nameserver 127.0.0.2"));
    one.tell("fails.test", Does::Fail);
    one.tell("hangs.test", Does::KeepSilent);
    for name in ["fails.test", "hangs.test"] {
        other.tell(name, Does::answer(&["10.0.0.1"], 60));
        let found = names.addresses(name, LOOKUP_LIMIT).await.unwrap();
        assert_eq!(found.in_turn()[0].ip().to_string(), "10.0.0.1", "{name}");
    }
    // The first server stays the first, also after the second answered: the second may not know what the first knows.
    one.tell("inside.test", Does::answer(&["10.0.0.2"], 60));
    other.tell("inside.test", Does::SayNoSuchName);
    let found = names.addresses("inside.test", LOOKUP_LIMIT).await.unwrap();
    assert_eq!(found.in_turn()[0].ip().to_string(), "10.0.0.2");
    assert_eq!(names.failed(), 0);
}

#[tokio::test]
async fn half_an_answer_holds_for_a_short_time() {
    let asking = asking("", "");
    asking.server.tell("orders.test", Does::answer(&["10.0.0.1"], 300));
    asking.server.keep_silent_on_ipv6();
    assert_eq!(asking.addresses("orders.test").await.unwrap(), ["10.0.0.1"]);
    let held = asking.names.0.cache().fresh_for("orders.test", Instant::now()).unwrap();
    assert!(held <= Duration::from_secs(10), "{held:?}");
}

#[tokio::test]
async fn lines_of_hosts_add_up_and_those_that_make_no_sense_are_passed_over() {
    let asking = asking(
        "bad line\n10.0.0.7 Cart my_cart # ours\n10.0.0.8 cart\n10.0.0.9 Orders orders\nfe80::7 cart\n\u{fffd}\n",
        "",
    );
    let mut found = asking.addresses("cart").await.unwrap();
    found.sort();
    assert_eq!(found, ["10.0.0.7", "10.0.0.8", "fe80::7"]);
    assert_eq!(asking.addresses("MY_CART").await.unwrap(), ["10.0.0.7"]);
    assert_eq!(asking.addresses("orders").await.unwrap(), ["10.0.0.9"], "one address in two spellings");
    assert!(asking.server.asked(|_| true).is_empty());
}

#[tokio::test]
async fn a_changed_file_holds_at_once() {
    let asking = asking("10.0.0.7 cart\n", "");
    assert_eq!(asking.addresses("cart").await.unwrap(), ["10.0.0.7"]);
    std::fs::write(asking._directory.path().join("hosts"), "10.0.0.8 cart\n").unwrap();
    eventually("it is followed", async || asking.addresses("cart").await.unwrap() == ["10.0.0.8"]).await;
}

#[test]
fn literals_and_localhost_need_no_name_server() {
    let nowhere = TempDir::new().unwrap();
    let at = |name: &str| nowhere.path().join(name);
    let source = Source { hosts: at("hosts"), resolv_conf: at("resolv.conf"), port: nobody() };
    let names = Names::new(source);
    on_a_serving_thread(async {
        let (backend, _) = backend().await;
        let client = client(&names);
        for host in ["127.0.0.1", "localhost", "orders.localhost"] {
            let upstream = reaching(&format!("http://{host}:{}", backend.port()));
            connect(&client, &upstream).await.unwrap_or_else(|error| panic!("{host}: {error:?}"));
        }
        if let Ok(listener) = TcpListener::bind("[::1]:0").await {
            let port = listener.local_addr().unwrap().port();
            for host in ["[::1]", "localhost"] {
                connect(&client, &reaching(&format!("http://{host}:{port}"))).await.unwrap();
            }
        }
        assert_eq!(names.failed(), 0);
        let error = connect(&client, &reaching("http://orders.test:1")).await.unwrap_err();
        assert_eq!(names.failed(), 1, "{error:?}");
    });
}

#[test]
fn a_lookup_leaves_time_to_connect() {
    let asking = asking("", "");
    on_a_serving_thread(async {
        let client = client(&asking.names);
        let upstream =
            compiled("default", "http://orders.silent.test:1", &mut ConnectProfiles::default(), |upstream| {
                upstream.connect_timeout_ms = 400
            });
        let begun = Instant::now();
        let error = connect(&client, &upstream).await.unwrap_err();
        let UpstreamError::ConnectTimeout(cause) = &error else { panic!("{error:?}") };
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert_eq!(cause.to_string(), "no connection, for the lookup of the name took too long");
    });
}

#[tokio::test]
async fn a_family_that_is_not_answered_for_keeps_nobody_waiting() {
    let asking = asking("", "");
    asking.server.tell("orders.test", Does::answer(&["10.0.0.1"], 60));
    asking.server.keep_silent_on_ipv6();
    let begun = Instant::now();
    assert_eq!(asking.addresses("orders.test").await.unwrap(), ["10.0.0.1"]);
    assert!(begun.elapsed() < system::TRY, "{:?}", begun.elapsed());
}

#[test]
fn there_is_room_for_as_many_lookups_as_there_are_descriptors_for() {
    for (descriptors, lookups) in [(0, 2), (128, 7), (8_192, 455), (MOST_LOOKUP_DESCRIPTORS, MAX_LOOKUPS)] {
        assert_eq!(room(descriptors), lookups, "{descriptors}");
    }
    assert_eq!(room(usize::MAX), MAX_LOOKUPS);
}
