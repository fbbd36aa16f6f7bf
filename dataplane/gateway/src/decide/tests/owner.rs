//! Requests that belong to an Organization get to its Apis only.

use super::*;

/// An Api of an organization for these hosts; none: every host.
fn api(organization: &str, name: &str, context: &str, hosts: &[&str]) -> [(Arc<str>, Bytes); 2] {
    let mut route = route(name, context, &["* /*"]);
    route.hosts = hosts.iter().map(|&host| host.to_owned()).collect();
    route_of(organization, route)
}

fn judge(grants: &[(&str, &str, &str)], apis: Vec<[(Arc<str>, Bytes); 2]>) -> Judge {
    Judge::new([granted("production", grants)].into_iter().chain(apis.into_iter().flatten()).collect())
}

/// Whose Api gets a request, as `organization/api`; or the refusal.
fn asked(judge: &Judge, host: &str, path: &str) -> String {
    let (matched, words) = judge.judge_over(Protocol::Http, &format!("GET {path}"), &[("host", host)]);
    matched.served.map_or(words, |served| format!("{}/{}", served.routes.organization, served.routes.api))
}

#[test]
fn inside_a_grant_there_is_no_way_back_to_another_organization() {
    let apis = || {
        vec![
            api("one", "orders", "/orders", &["a.example"]),
            api("two", "root", "/", &[]),
            api("two", "wild", "/orders", &["*.example"]),
            api("two", "deep", "/orders/deep", &["a.example"]),
        ]
    };
    let free = judge(&[], apis());
    let owned = judge(&[("a.example", "/", "one"), ("b.example", "/orders/deep", "one")], apis());
    for (host, path, without, with) in [
        ("a.example", "/orders/7", "one/orders", "one/orders"),
        // Neither an equal host with a longer context, nor a wildcard, nor any host.
        ("a.example", "/orders/deep/7", "two/deep", "one/orders"),
        ("a.example", "/other", "two/root", "404 no-route"),
        ("a.example", "/", "two/root", "404 no-route"),
        ("A.Example:8080", "/other", "two/root", "404 no-route"),
        // The owner has no Api there.
        ("b.example", "/orders/deep", "two/wild", "404 no-route"),
        ("b.example", "/orders/deep;v=1/x", "two/wild", "404 no-route"),
        ("b.example", "/orders/%64eep", "two/wild", "404 no-route"),
        // Outside of all grants nothing changes.
        ("b.example", "/orders/deeper", "two/wild", "two/wild"),
        ("c.example", "/orders/deep", "two/wild", "two/wild"),
        ("other", "/x", "two/root", "two/root"),
    ] {
        assert_eq!(asked(&free, host, path), without, "{host}{path}");
        assert_eq!(asked(&owned, host, path), with, "{host}{path}, granted");
    }
}

#[test]
fn an_owner_is_served_as_without_others() {
    let judge = judge(
        &[("*.example", "/", "one")],
        vec![
            api("one", "any", "/", &[]),
            api("one", "wild", "/x", &["*.example"]),
            api("two", "exact", "/x/y", &["a.example"]),
        ],
    );
    for (host, path, with) in
        [("a.example", "/x/y/z", "one/wild"), ("a.example", "/z", "one/any"), ("other", "/x", "one/any")]
    {
        assert_eq!(asked(&judge, host, path), with, "{host}{path}");
    }
}

/// A path that an upstream may read as one inside a grant.
#[test]
fn the_guards_of_others_count_outside_a_grant_and_not_inside() {
    let guarded = |organization: &str, context: &str| {
        let mut route = with_key(route("guarded", context, &["* /*"]));
        route.hosts = vec!["a.example".to_owned()];
        route_of(organization, route)
    };
    let grants = &[("a.example", "/in", "one")];
    // Outside: a request of `two` that reads like one of `one` reaches neither.
    let outside = judge(grants, vec![guarded("one", "/in"), api("two", "root", "/", &[])]);
    assert_eq!(outside.judge("GET //in/x", &[("host", "a.example")]), "404 no-route");
    assert_eq!(outside.judge("GET //on/x", &[("host", "a.example")]), "* /* -> //on/x");
    // Inside: what `two` has there is not looked up. Folded, the path is one of the Api at /in/x of `two`.
    let apis = || vec![api("one", "in", "/in", &["a.example"]), guarded("two", "/in/x")];
    let inside = judge(grants, apis());
    assert_eq!(inside.judge("GET /in//x/y", &[("host", "a.example")]), "* /* -> //x/y");
    assert_eq!(judge(&[], apis()).judge("GET /in//x/y", &[("host", "a.example")]), "404 no-route");
    // A reading may leave the grant, too.
    let grants = &[("a.example", "/in/x", "one")];
    let apis = || vec![api("one", "in", "/in/x", &["a.example"]), guarded("two", "/in/q")];
    let path = "GET /in;p%2Fq/x/y";
    assert_eq!(judge(grants, apis()).judge(path, &[("host", "a.example")]), "* /* -> /y");
    assert_eq!(judge(&[], apis()).judge(path, &[("host", "a.example")]), "404 no-route");
}

/// A reading that another Organization owns: the upstream that reads it so is that of the Organization that answers.
#[test]
fn the_guards_of_the_organization_that_answers_count_whoever_owns_a_reading() {
    let guarded = |organization: &str, context: &str, hosts: &[&str]| {
        let mut route = with_key(route("guarded", context, &["* /*"]));
        route.hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        route_of(organization, route)
    };
    let ask = |grants: &[(&str, &str, &str)], apis, path: &str| {
        judge(grants, apis).judge(&format!("GET {path}"), &[("host", "a.example")])
    };
    // The owner of the reading has no Api there, or an open one.
    let of_two = || vec![api("two", "root", "/", &[]), guarded("two", "/admin", &[])];
    let with_open = || [of_two(), vec![api("one", "open", "/admin", &["a.example"])]].concat();
    for apis in [of_two(), with_open()] {
        assert_eq!(ask(&[("a.example", "/admin", "one")], apis, "//admin/x"), "404 no-route");
    }
    assert_eq!(ask(&[], of_two(), "//admin/x"), "404 no-route");
    assert_eq!(ask(&[("a.example", "/admin", "one")], of_two(), "//other/x"), "* /* -> //other/x");
    // Inside an own grant, with a narrower one of another.
    let nested = &[("a.example", "/ap", "one"), ("a.example", "/ap/sec", "two")];
    let of_one = || vec![api("one", "ap", "/ap", &[]), guarded("one", "/ap/sec", &[])];
    let with_two = || [of_one(), vec![api("two", "sec", "/ap/sec", &["a.example"])]].concat();
    for apis in [of_one(), with_two()] {
        assert_eq!(ask(nested, apis, "/ap//sec/x"), "404 no-route");
    }
    assert_eq!(ask(nested, with_two(), "/ap//other/x"), "* /* -> //other/x");
}
