use super::*;

fn route() -> runtime::Route {
    let operation = |method: &str, path: &str| runtime::Operation {
        method: method.to_owned(),
        path: path.to_owned(),
        ..Default::default()
    };
    runtime::Route {
        context: "/orders".to_owned(),
        security: Some(runtime::Security { scheme: Some(security::Scheme::Open(runtime::Open {})) }),
        operations: vec![operation("GET", "/{id}"), operation("POST", "/{id}"), operation("GET", "/{id}/")],
        ..Default::default()
    }
}

#[track_caller]
fn blamed(change: impl FnOnce(&mut runtime::Route)) -> String {
    let mut route = route();
    change(&mut route);
    Route::new(&route).unwrap_err().field
}

#[test]
fn the_field_at_fault_is_named() {
    assert_eq!(Route::new(&route()).unwrap().operations.len(), 3);
    assert_eq!(blamed(|route| route.context = "orders".to_owned()), "context");
    assert_eq!(blamed(|route| route.hosts = vec!["a".to_owned(), "*".to_owned()]), "hosts[1]");
    assert_eq!(blamed(|route| route.operations[1].method = "G T".to_owned()), "operations[1].method");
    assert_eq!(blamed(|route| route.operations[2].path = "/{".to_owned()), "operations[2].path");
    assert_eq!(blamed(|route| route.operations[1].method = "GET".to_owned()), "operations[1]");
    let policy = runtime::Policy {
        response_headers: Some(runtime::HeaderRules {
            remove: vec!["Expect".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let own = policy.clone();
    assert_eq!(blamed(|route| route.policies = vec![own]), "policies[0].response_headers.remove[0]");
    assert_eq!(
        blamed(|route| route.operations[1].policies = vec![policy]),
        "operations[1].policies[0].response_headers.remove[0]"
    );
}

#[test]
fn nothing_is_open_that_does_not_say_so() {
    assert_eq!(Route::new(&route()).unwrap().security, Security::Open);
    assert_eq!(blamed(|route| route.security = None), "security");
    assert_eq!(blamed(|route| route.security = Some(runtime::Security::default())), "security");
    let own = Some(runtime::OperationSecurity::default());
    assert_eq!(blamed(|route| route.operations[1].security = own), "operations[1].security");
    let open = operation_security::Scheme::Open(runtime::Open {});
    let mut said = route();
    said.operations[1].security = Some(runtime::OperationSecurity { scheme: Some(open) });
    let open: Vec<bool> = Route::new(&said).unwrap().operations.iter().map(|own| own.open).collect();
    assert_eq!(open, [false, true, false]);
}

#[test]
fn a_route_is_served_here_or_elsewhere() {
    let served = |route: &runtime::Route| Route::new(route).unwrap().served_in.len();
    assert_eq!(served(&runtime::Route { upstream: "upstream/shop/pets".to_owned(), ..route() }), 0);
    assert_eq!(served(&runtime::Route { served_in: vec!["us-east".to_owned()], ..route() }), 1);
    assert_eq!(blamed(|route| route.served_in = vec!["us-east".to_owned(), String::new()]), "served_in[1]");
    let both = |route: &mut runtime::Route| {
        route.served_in = vec!["us-east".to_owned()];
        route.upstream = "upstream/shop/pets".to_owned();
    };
    assert_eq!(blamed(both), "upstream");
}

#[test]
fn keys_do_not_travel_in_headers_that_frame_or_route() {
    let check = |name: &str| ApiKey::new(&runtime::ApiKey { header: name.to_owned(), ..Default::default() });
    for name in ["Host", "Connection", "Content-Length", "transfer-encoding", "TE", "Upgrade", "Expect"] {
        assert_eq!(check(name).unwrap_err().field, "header", "{name}");
    }
    assert_eq!(check("Authorization").unwrap().header.unwrap(), "authorization");
    assert_eq!(ApiKey::new(&runtime::ApiKey::default()).unwrap_err().field, "");
}
