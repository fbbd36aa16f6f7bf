//! Nothing gets round a guard, however a path is spelled and however an upstream reads it.

use hanse_runtime::Compared;
use proptest::prelude::*;

use super::*;
use crate::table::naive;

#[test]
fn spellings_of_a_path_do_not_escape_its_guard() {
    let mut api = with_key(route("files", "/files", &["GET /admin", "GET /{name}", "GET /{name}/raw"]));
    api.operations[1].security = open();
    let judge = Judge::new(vec![
        listener("production", &[]),
        route_entry(api),
        upstream_entry("files", upstream(&["http://127.0.0.1:9"])),
    ]);
    assert_eq!(judge.judge("GET /files/readme", &[]), "GET /{name} -> /readme");
    assert_eq!(judge.judge("GET /files/admin", &[]), "401 key-missing");
    assert_eq!(judge.judge("GET /files/%61dmin", &[]), "401 key-missing");
    assert_eq!(judge.judge("GET /%66iles/%61%64min", &[]), "401 key-missing");
    assert_eq!(judge.judge("GET /files/a%2Fb", &[]), "GET /{name} -> /a%2Fb"); // data, not structure
    assert_eq!(judge.judge("GET /files/a%2Fraw", &[]), "401 key-missing"); // structure, where an upstream decodes it
    assert_eq!(judge.judge("GET /files/a%2F..%2Fadmin", &[]), "400 bad-path");
}

#[test]
fn an_open_tail_is_no_way_round_a_guard() {
    let mut api = with_key(route("k", "/k", &["POST /a", "GET /admin/{id}", "GET /", "* /*", "GET /own/*"]));
    api.operations[3].security = open();
    let mut single = route("public", "/public", &["* /*"]);
    single.operations[0].security = open();
    let judge = Judge::new(vec![
        listener("production", &[]),
        route_entry(api),
        upstream_entry("k", upstream(&["http://127.0.0.1:9"])),
        route_entry(with_key(single)),
        upstream_entry("public", upstream(&["http://127.0.0.1:9"])),
    ]);
    let check = |request: &str, wanted: &str| assert_eq!(judge.judge(request, &[]), wanted, "{request}");
    check("POST /k/a", "401 key-missing");
    check("GET /k/a", "405 method-not-allowed");
    check("GET /k/b/c", "* /* -> /b/c");
    check("GET /k/b//c/", "* /* -> /b//c/");
    for respelled in ["POST /k/a/", "GET /k/a/", "POST /k//a", "POST /k/a;x/", "GET /k/admin//1", "GET /k//"]
    {
        check(respelled, "401 key-missing");
    }
    check("GET /k//own/x", "401 key-missing");
    check("GET /k/own/x", "401 key-missing");
    check("GET /k/A", "* /* -> /A"); // case is the upstream's matter: admission warns
    check("BREW /public//x/", "* /* -> //x/");
    check("BREW /public", "* /* -> ");
}

/// The guard and the open operation are in one scope, or one of them is in a local scope.
#[test]
fn an_open_tail_is_no_way_round_a_guard_in_another_scope_of_the_environment() {
    let guarded = [
        route_entry(with_key(route("admin", "/admin", &["GET /users"]))),
        upstream_entry("admin", upstream(&["http://127.0.0.1:9"])),
    ];
    let public = [
        route_entry(route("public", "/", &["* /*"])),
        upstream_entry("public", upstream(&["http://127.0.0.1:9"])),
    ];
    let listener = || vec![listener("production", &[])];
    for (control, local) in [
        ([listener(), guarded.to_vec(), public.to_vec()].concat(), vec![]),
        ([listener(), guarded.to_vec()].concat(), public.to_vec()),
        ([listener(), public.to_vec()].concat(), guarded.to_vec()),
    ] {
        let added = local_index("east", local);
        let table = RoutingTable::new(vec![index("production", control).table(), added.table()], &FACES);
        let judge = Judge { table, now: Duration::from_secs(1), ..Judge::new(Vec::new()) };
        let check = |request: &str, wanted: &str| assert_eq!(judge.judge(request, &[]), wanted, "{request}");
        check("GET /admin/users", "401 key-missing");
        check("GET /else", "* /* -> /else");
        for respelled in
            ["GET //admin/users", "GET /;x/admin/users", "GET /x;/../admin/users", "GET //admin//users"]
        {
            let verdict = judge.judge(respelled, &[]);
            assert!(!verdict.contains(" -> "), "{respelled}: {verdict}");
        }
    }
}

/// The same where both Routes name one Api, and where another Organization is served beside them.
#[test]
fn a_local_route_of_the_same_api_is_no_way_round_its_guard() {
    let guarded = [
        route_entry(with_key(route("orders", "/orders", &["* /*"]))),
        upstream_entry("orders", upstream(&["http://127.0.0.1:9"])),
    ];
    let mut open = route("orders", "/", &["* /*"]);
    "x".clone_into(&mut open.binding);
    let open =
        || vec![route_entry(open.clone()), upstream_entry("orders", upstream(&["http://127.0.0.1:9"]))];
    let other = route_of("acme", with_key(route("carts", "/carts", &["* /*"])));
    let control = [vec![listener("production", &[])], guarded.to_vec(), other.to_vec()].concat();
    let (made, added) = (index("production", control), local_index("east", open()));
    let table = RoutingTable::new(vec![made.table(), added.table()], &FACES);
    let judge = Judge { table, now: Duration::from_secs(1), ..Judge::new(Vec::new()) };
    assert_eq!(judge.judge("GET /else", &[]), "* /* -> /else");
    for respelled in ["GET //orders/1", "GET /;x/orders/1", "GET //carts/1", "GET /x;/../carts/1"] {
        let verdict = judge.judge(respelled, &[]);
        assert!(!verdict.contains(" -> "), "{respelled}: {verdict}");
    }
}

#[test]
fn parameters_of_segments_do_not_escape_a_guard() {
    let k = with_key(route(
        "k",
        "/k",
        &["GET /admin/b", "GET /{name}/b", "GET /a;v=1", "GET /a", "GET /{n}.json"],
    ));
    let admin = with_key(route("admin", "/k/admin2", &["GET /users"]));
    let judge = judge_of(&[(k, &[1, 2]), (admin, &[])]);
    let check = |path: &str, wanted: &str| {
        assert_eq!(judge.judge(&format!("GET {path}"), &[]), wanted, "{path}");
    };
    for guarded in [
        "/k;a/admin;x/b",
        "/k/admin%3Bx/b",
        "/k/admin;/b",
        "/%6B%3B/admin;x=1;y/b",
        "/k/a;v=2",
        "/k/a.json;v",
        "/k/admin2;x/users",
        "/k;y/admin2%3B/users;z",
    ] {
        check(guarded, "401 key-missing");
    }
    check("/k/admin/b;x/", "404 no-route");
    check("/k;a/c;x/b;y", "GET /{name}/b -> /c;x/b;y");
    check("/k/a;v=1", "GET /a;v=1 -> /a;v=1"); // written as open
    check("/k/caf%E9/b", "GET /{name}/b -> /caf%E9/b");
    check("/k/admin%253Bx/b", "GET /{name}/b -> /admin%253Bx/b"); // data: no upstream decodes twice
    for bad in ["/k/;x/b", "/k/%3Bx/b", "/k/a%c0%afb/b", "/k/%e0%80%af/b", "/;k/admin/b"] {
        check(bad, "400 bad-path");
    }
}

#[test]
fn what_an_upstream_reads_otherwise_is_no_way_round_a_guard() {
    /// `operations` of `/k`: the first one is guarded, the others are open.
    fn check(operations: &[&str], refused: &[&str], served: &[&str]) {
        let open: Vec<usize> = (1..operations.len()).collect();
        let judge = judge_of(&[(with_key(route("k", "/k", operations)), &open)]);
        for request in refused {
            assert_eq!(judge.judge(request, &[]), "401 key-missing", "{operations:?} {request}");
        }
        for request in served {
            let told = judge.judge(request, &[]);
            assert!(told.contains(" -> "), "{operations:?} {request}: {told}");
        }
    }
    // Upstreams to which parameters are part of a segment.
    for open in ["POST /v1/{name}", "POST /v1/*", "POST /v1/{n+}"] {
        let guarded = ["POST /k/v1/m;x:predict", "POST /k;a/v1/m;x:predict", "POST /k/v1/m%3B:predict"];
        check(&["POST /v1/{name}:predict", open], &guarded, &["POST /k/v1/m;x", "POST /k/v1/m:y"]);
    }
    check(&["GET /{n}.json", "GET /{n}"], &["GET /k/42;.json"], &["GET /k/42;v=1"]);
    check(&["PUT /files/{name}", "PUT /files/inbox"], &["PUT /k/files/inbox;x"], &["PUT /k/files/inbox"]);
    // Upstreams that ignore them.
    check(&["GET /{n}.c", "GET /{n};v={v}"], &["GET /k/a.c;v=1"], &["GET /k/a;v=1"]);
    check(&["GET /a/b", "GET /a;v=1/{x}"], &["GET /k/a;v=1/b"], &["GET /k/a;v=1/c"]);
    // Upstreams that fold empty segments, or a final slash.
    check(&["GET /admin/{id}", "GET //{a}/{b}"], &["GET /k//admin/1"], &["GET /k//b/1"]);
    check(&["GET /orders", "GET /{any}/"], &["GET /k/orders/"], &["GET /k/other/"]);
    check(&["GET /orders/", "GET /*"], &["GET /k//orders/", "GET /k/orders//"], &["GET /k//other/"]);
    check(&["GET /orders", "GET /orders/", "GET //orders"], &[], &["GET /k/orders/", "GET /k//orders"]); // written as open
    // Upstreams that read other octets as a slash.
    for open in ["GET /{name}", "GET /*"] {
        let guarded =
            ["GET /k/admin%5Cb", "GET /k/admin%2Fb", "GET /k/admin%2fb;x", "GET /k/%5c%2Fadmin%5Cb"];
        check(
            &["GET /admin/b", open],
            &guarded,
            &["GET /k/admin%5Cc", "GET /k/admin%2Fc", "GET /k/admin%252Fb"],
        );
    }
    check(&["GET /a/{x}", "GET /*"], &["GET /k/a%5Cb%2Fc"], &["GET /k/b%5Cb%2Fc"]);
    // The path is chosen before the method, and an open method stays open.
    check(&["POST /a", "* /*"], &["GET /k//a"], &["GET /k//b"]);
    check(&["PUT /a/{id}", "GET /a/{id}"], &[], &["GET /k/a/1;v", "GET /k/a/1;v%2F"]);
}

#[test]
fn what_an_upstream_reads_otherwise_is_no_way_round_another_api() {
    let judge = judge_of(&[
        (route("site", "/", &["* /*"]), &[]),
        (with_key(route("admin", "/admin", &["GET /users", "GET /health"])), &[1]),
        (route("k", "/k", &["GET //x", "GET /{a}"]), &[]),
    ]);
    let check = |path: &str, wanted: &str| {
        assert_eq!(judge.judge(&format!("GET {path}"), &[]), wanted, "{path}");
    };
    for guarded in
        ["//admin/users", "///admin//users/", "/admin%2Fusers", "/%5Cadmin/users", "//admin;x/users;y"]
    {
        check(guarded, "404 no-route");
    }
    check("/admin/users", "401 key-missing");
    check("//admin/health", "* /* -> //admin/health");
    check("//b/", "* /* -> //b/");
    check("/", "* /* -> /");
    check("/k//x", "GET //x -> //x");
    check("/k/a%2Fb", "GET /{a} -> /a%2Fb");

    // The upstream of the longer context is another one: its open operation opens none of the Api found.
    let judge = judge_of(&[
        (with_key(route("site", "/", &["GET /admin/x", "* /*"])), &[1]),
        (route("admin", "/admin", &["GET /x"]), &[]),
    ]);
    assert_eq!(judge.judge("GET /admin/x", &[]), "GET /x -> /x");
    assert_eq!(judge.judge("GET //admin/x", &[]), "401 key-missing");
    // Too long to be read in several ways.
    assert_eq!(judge.judge(&format!("GET //{}", "a".repeat(9 << 10)), &[]), "404 no-route");
    assert_eq!(judge.judge("GET //a", &[]), "* /* -> //a");
}

/// Callers of an Api may call what it guards: their requests are not refused for what an upstream may read.
#[test]
fn with_a_key_other_readings_are_served() {
    let mut orders = with_key(route("orders", "/k", &["* /*", "GET /login"]));
    orders.operations[1].security = open();
    let judge = Judge::new(vec![
        listener("production", &[]),
        upstream_entry("orders", upstream(&["http://127.0.0.1:9"])),
        route_entry(orders),
        plan("free", 60, 2),
        credential("one", "shop", "key-one", 0),
        subscription("shop-orders", "shop", "orders", "free"),
    ]);
    assert_eq!(judge.judge("GET /k/login", &[]), "GET /login -> /login");
    assert_eq!(judge.judge("GET /k/login;jsessionid=1", &[]), "401 key-missing");
    let with_key = judge.judge("GET /k/login;jsessionid=1", &[("x-api-key", "key-one")]);
    assert_eq!(with_key, "GET /login -> /login;jsessionid=1");
}

proptest! {
    /// Every request gets an answer, and only requests with the key get through.
    #[test]
    fn no_target_passes_without_a_key(path in "/[a-z0-9%./{}~-]{0,40}", host in "[a-zA-Z0-9.:\\[\\]-]{0,20}") {
        let judge = Judge::new(orders());
        if Request::builder().uri(path.as_str()).header("host", host.as_str()).body(()).is_ok() {
            let words = judge.judge(&format!("GET {path}"), &[("host", host.as_str())]);
            prop_assert!(words.starts_with('4') || words == "GET /health -> /health", "{}", words);
        }
    }

    /// In no reading of an upstream is an open operation a way to a guarded one.
    #[test]
    fn open_operations_are_open_to_every_upstream(
        templates in proptest::collection::btree_map(naive::path_template(0..3), any::<bool>(), 1..12),
        context in prop_oneof![Just("/k"), Just("/k;z")],
        paths in proptest::collection::vec(proptest::collection::vec(path_piece(), 1..4), 1..24),
    ) {
        let texts: Vec<&str> = templates.keys().map(String::as_str).collect();
        let opened: Vec<usize> = (0..texts.len()).filter(|&at| templates[texts[at]]).collect();
        let operations: Vec<String> = texts.iter().map(|text| format!("GET {text}")).collect();
        let operations: Vec<&str> = operations.iter().map(String::as_str).collect();
        let judge = judge_of(&[(with_key(route("k", "/k", &operations)), &opened)]);
        for path in paths {
            let path = path.concat();
            let path = format!("/{}", path.strip_prefix('/').unwrap_or(&path));
            let told = judge.judge(&format!("GET {context}{path}"), &[]);
            let canonical = path.replace("%5C", "\\");
            if told.contains(" -> ") && !templates.contains_key(&canonical) {
                for read in read_by_upstreams(&canonical) {
                    let run = naive::find(&texts, &read, Compared::Whole);
                    let is_open = run.is_none_or(|run| templates[run]);
                    prop_assert!(is_open, "{} {} is {} to an upstream: {:?}", path, told, read, run);
                }
            }
        }
    }
}

/// A segment of a path, and what an upstream may take for the slash before it.
fn path_piece() -> impl Strategy<Value = String> {
    let slash = prop_oneof![6 => Just("/"), 1 => Just("//"), 1 => Just("%2F"), 1 => Just("%5C")];
    (slash, naive::request_segment()).prop_map(|(slash, segment)| format!("{slash}{segment}"))
}

/// What upstreams that do some of it make of a path: cut segments, take other octets for a slash, cut them, fold.
fn read_by_upstreams(path: &str) -> Vec<String> {
    let doings: [fn(&str) -> String; 6] = [
        naive::plain,
        |path| path.replace("%2F", "/"),
        |path| path.replace('\\', "/"),
        naive::plain,
        |path| {
            let end = if path.ends_with('/') { "/" } else { "" };
            let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
            if segments.is_empty() { "/".to_owned() } else { format!("/{}{end}", segments.join("/")) }
        },
        |path| path.strip_suffix('/').filter(|before| !before.is_empty()).unwrap_or(path).to_owned(),
    ];
    let chosen = |some: usize| doings.iter().enumerate().filter(move |(at, _)| some >> at & 1 == 1);
    (0..1 << doings.len())
        .map(|some| chosen(some).fold(path.to_owned(), |path, (_, doing)| doing(&path)))
        .collect()
}
