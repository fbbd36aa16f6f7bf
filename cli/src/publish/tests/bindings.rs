//! Bindings and Upstreams that are there already: which of them an import changes, and for whom.

use super::*;

#[test]
fn endpoints_of_regions_that_are_not_named_stay() {
    let present = |urls: &[&str]| in_production().with_upstream("orders-production", upstream(urls));
    let check = |there: &[&str], given: &[&str], wanted: &[&str]| {
        let plan = import(given, "production").plan(&present(there)).unwrap();
        let spec = &put(&plan, "Upstream", "orders-production")["spec"]["endpoints"];
        let spelled = spec.as_array().unwrap().iter().map(|one| match one["region"].as_str() {
            Some(region) => format!("{region}={}", one["url"].as_str().unwrap()),
            None => one["url"].as_str().unwrap().to_owned(),
        });
        assert_eq!(spelled.collect::<Vec<_>>(), wanted, "{there:?} {given:?}");
    };
    check(&["http://one"], &["http://two"], &["http://two"]);
    check(
        &["eu-west=http://e1", "us-east=http://u1"],
        &["eu-west=http://e2"],
        &["us-east=http://u1", "eu-west=http://e2"],
    );
    check(
        &["http://one"],
        &["eu-west=http://e", "us-east=http://u"],
        &["eu-west=http://e", "us-east=http://u"],
    );
    // Half of a region's requests would go where they went before.
    for (there, given) in [
        (["http://one", "eu-west=http://e1"], "http://two"),
        (["http://one", "http://other"], "eu-west=http://e2"),
        (["eu-west=http://e1", "us-east=http://u1"], "http://two"),
    ] {
        let outcome = import(&[given], "production").plan(&present(&there));
        refused(outcome, Exit::Conflict, &["eu-west would send requests both to", "--upstream eu-west=URL"]);
    }
}

#[test]
fn an_embedded_upstream_is_copied_for_the_environment() {
    let observed = empty().with_api(api(&["/a"])).with_revision(1, &["/a"], &["http://one"]).with_binding(
        "orders-production",
        json!({"environment": "production", "revision": 1}),
        &[1],
    );
    let plan = import(&[], "production").plan(&observed).unwrap();
    assert_eq!(
        put(&plan, "Upstream", "orders-production")["spec"]["endpoints"][0]["url"],
        "http://one",
        "requests go where they went"
    );
    assert_eq!(put(&plan, "Binding", "orders-production")["spec"]["upstream"], "orders-production");
}

#[test]
fn several_bindings_need_regions_of_one() {
    let of = |region: &str| json!({"environment": "production", "revision": 1, "upstream": "backend", "regions": {"names": [region]}});
    let observed = empty()
        .with_api(api(&["/a"]))
        .with_upstream("backend", upstream(&["http://one"]))
        .with_binding("orders-eu", of("eu-west"), &[1])
        .with_binding("orders-us", of("us-east"), &[1]);
    let mut wanted = import(&[], "production");
    refused(
        wanted.plan(&observed),
        Exit::Conflict,
        &["2 Bindings in production: orders-eu (eu-west), orders-us (us-east)", "--regions"],
    );
    wanted.regions = names("us-east");
    let plan = wanted.plan(&observed).unwrap();
    assert_eq!(written(&plan), ["Api orders@7", "Binding orders-us@9"]);
    assert_eq!(put(&plan, "Binding", "orders-us")["spec"]["regions"], json!({"names": ["us-east"]}));
    wanted.regions = names("us-east eu-west");
    refused(wanted.plan(&observed), Exit::Conflict, &["2 Bindings"]);
}

#[test]
fn who_was_rolled_back_is_not_lifted() {
    let observed = in_production();
    let mut rolled_back = observed.clone();
    (rolled_back.bindings[0].serving, rolled_back.bindings[0].served) = (Some(1), vec![2, 1]);
    let mut wanted = import(&[], "production");
    wanted.plan(&observed).unwrap();
    refused(
        wanted.plan(&rolled_back),
        Exit::Conflict,
        &["production was rolled back to r1 (orders-production served r2)", "--over-rollback"],
    );
    wanted.over_rollback = true;
    wanted.plan(&rolled_back).unwrap();
    // Another Environment is none of its business.
    import(&["http://x"], "sandbox").plan(&rolled_back).unwrap();
}

#[test]
fn bindings_that_follow_latest_move_only_when_named() {
    let observed = empty()
        .with_api(api(&["/a"]))
        .with_upstream("orders-production", upstream(&["http://one"]))
        .with_binding(
            "orders-production",
            json!({"environment": "production", "upstream": "orders-production"}),
            &[5, 6],
        );
    let mut wanted = import(&["http://two"], "sandbox");
    let moved = |binding: &str| -> Applied {
        serde_json::from_value(json!({"revision": 1, "changes": [
            {"kind": "Binding", "organization": "default", "name": binding, "action": "moved"}]}))
        .unwrap()
    };
    let failure = check_moves(&observed, &name("orders"), &moved("orders-production"), &[]).unwrap_err();
    let said = failure.to_string();
    assert_eq!(failure.exit, Exit::Conflict);
    assert!(
        said.contains("would also move production (orders-production follows latest and serves r6)"),
        "{said}"
    );
    assert!(said.contains("--pin production") && said.contains("--also production"), "{said}");
    check_moves(&observed, &name("orders"), &moved("orders-production"), &names("production")).unwrap();
    let anew = check_moves(&observed, &name("orders"), &moved("made-meanwhile"), &[]).unwrap_err();
    assert_eq!(anew.problem, Some(hanse_management::ProblemName::Stale), "it begins anew");

    wanted.pin = names("production");
    let plan = wanted.plan(&observed).unwrap();
    assert_eq!(written(&plan)[3], "Binding orders-production@9");
    let pinned = put(&plan, "Binding", "orders-production");
    assert_eq!(pinned["spec"]["revision"], 6);
    assert_eq!(pinned["spec"]["upstream"], "orders-production");
    assert_eq!(
        expected(&plan),
        ["Binding orders-production@9 at r6"],
        "it moves without a change of its own"
    );
    wanted.pin = names("sandbox");
    refused(wanted.plan(&observed), Exit::Usage, &["--pin sandbox", "no other Binding"]);
    (wanted.pin, wanted.also) = (names("production"), names("production"));
    refused(wanted.plan(&observed), Exit::Usage, &["--also production and --pin production"]);
}

#[test]
fn the_other_binding_of_an_environment_is_pinned_or_moves() {
    let of = |region: &str| json!({"environment": "production", "upstream": "backend", "regions": {"names": [region]}});
    let observed = empty()
        .with_api(api(&["/a"]))
        .with_upstream("backend", upstream(&["http://one"]))
        .with_binding("orders-eu", of("eu-west"), &[1])
        .with_binding("orders-us", of("us-east"), &[1]);
    let mut wanted =
        Import { regions: names("us-east"), pin: names("production"), ..import(&[], "production") };
    let plan = wanted.plan(&observed).unwrap();
    assert_eq!(written(&plan), ["Api orders@7", "Binding orders-us@9", "Binding orders-eu@9"]);
    assert_eq!(put(&plan, "Binding", "orders-eu")["spec"]["revision"], 1);
    assert_eq!(put(&plan, "Binding", "orders-us")["spec"]["revision"], "new");
    (wanted.pin, wanted.also) = (Vec::new(), names("production"));
    assert_eq!(written(&wanted.plan(&observed).unwrap()), ["Api orders@7", "Binding orders-us@9"]);
}

#[test]
fn each_of_two_bindings_gets_an_upstream_of_its_own() {
    let of = |region: &str, upstream: &str| json!({"environment": "production", "revision": 1, "upstream": upstream, "regions": {"names": [region]}});
    let observed = |us: &str| {
        empty()
            .with_api(api(&["/a"]))
            .with_upstream("backend", upstream(&["http://one"]))
            .with_upstream("orders-production", upstream(&["http://eu"]))
            .with_binding("orders-eu", of("eu-west", "orders-production"), &[1])
            .with_binding("orders-us", of("us-east", us), &[1])
    };
    for us in ["backend", "orders-production"] {
        let wanted = Import { regions: names("us-east"), ..import(&["http://us"], "production") };
        let plan = wanted.plan(&observed(us)).unwrap();
        assert_eq!(written(&plan), ["Api orders@7", "Upstream orders-us@0", "Binding orders-us@9"], "{us}");
        assert_eq!(put(&plan, "Binding", "orders-us")["spec"]["upstream"], "orders-us");
    }
    // Where the other one has its own, the first keeps the usual name.
    let wanted = Import { regions: names("eu-west"), ..import(&["http://eu2"], "production") };
    let plan = wanted.plan(&observed("backend")).unwrap();
    assert_eq!(written(&plan)[1], "Upstream orders-production@5");
}

#[test]
fn a_binding_that_gets_another_upstream_is_no_user_of_the_old_one() {
    let observed = in_production().with_binding(
        "orders-sandbox",
        json!({"environment": "sandbox", "revision": 1, "upstream": "orders-production"}),
        &[1],
    );
    let plan = import(&["http://two"], "production sandbox").plan(&observed).unwrap();
    let upstreams = written(&plan).into_iter().filter(|line| line.starts_with("Upstream"));
    assert_eq!(upstreams.collect::<Vec<_>>(), ["Upstream orders-production@5", "Upstream orders-sandbox@0"]);
}

#[test]
fn an_upstream_that_others_use_is_not_changed() {
    let observed = in_production().with_binding(
        "bills",
        json!({"api": "bills", "environment": "sandbox", "revision": 1, "upstream": "orders-production"}),
        &[1],
    );
    refused(
        import(&["http://two"], "production").plan(&observed),
        Exit::Conflict,
        &["Upstream orders-production is used elsewhere", "bills (sandbox)"],
    );
    import(&["http://one"], "production").plan(&observed).expect("nothing of it changes");
}

#[test]
fn an_upstream_that_gets_its_endpoints_from_an_origin_gets_no_url() {
    let refers = || {
        let mut spec = upstream(&["http://one"]);
        spec["endpointsFrom"] = json!({"origin": "east", "name": "pods"});
        spec
    };
    // Of a Binding that is there, and of one that is made.
    let made = empty().with_api(api(&["/a"]));
    for observed in [in_production(), made] {
        let observed = observed.with_upstream("orders-production", refers());
        let tried = import(&["http://two"], "production").plan(&observed);
        refused(tried, Exit::Conflict, &["gets its endpoints from east/pods"]);
        import(&[], "production").plan(&observed).unwrap();
    }
}

#[test]
fn other_apis_are_not_changed() {
    let tried = |changes: Value| -> Applied {
        serde_json::from_value(json!({"revision": 1, "changes": changes})).unwrap()
    };
    let made = |name: &str| json!({"kind": "ApiRevision", "organization": "default", "name": name, "action": "created"});
    check_moves(&in_production(), &name("orders"), &tried(json!([made("orders-r2")])), &[]).unwrap();
    let other = tried(json!([made("orders-r2"), made("to-rome-r12")]));
    let failure = check_moves(&in_production(), &name("orders"), &other, &[]).unwrap_err();
    assert_eq!(failure.exit, Exit::Conflict);
    assert!(failure.to_string().contains("would change with it: to-rome"), "{failure}");

    // --also names Environments of this Api only, and the remedy names all that would move.
    let follows = |api: &str, environment: &str| json!({"api": api, "environment": environment});
    let observed = empty()
        .with_binding("orders-production", follows("orders", "production"), &[1])
        .with_binding("orders-sandbox", follows("orders", "sandbox"), &[1])
        .with_binding("bills", follows("bills", "production"), &[1]);
    let moved =
        |name: &str| json!({"kind": "Binding", "organization": "default", "name": name, "action": "moved"});
    let both = tried(json!([moved("orders-production"), moved("orders-sandbox")]));
    let failure = check_moves(&observed, &name("orders"), &both, &[]).unwrap_err();
    assert!(failure.to_string().contains("--also production,sandbox"), "{failure}");
    let bills = tried(json!([moved("bills")]));
    let failure = check_moves(&observed, &name("orders"), &bills, &names("production")).unwrap_err();
    assert!(failure.to_string().contains("would also move production (bills"), "{failure}");
}
