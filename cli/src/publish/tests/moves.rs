//! Promotions and rollbacks.

use super::*;

#[test]
fn a_promotion_writes_one_number_and_nothing_else() {
    let observed =
        in_production().with_revision(1, &["/a"], &["http://x"]).with_revision(2, &["/b"], &["http://y"]);
    refused(promotion().plan(&observed), Exit::Conflict, &["sandbox has no Binding of Api orders"]);
    let observed = observed.with_binding(
        "orders-sandbox",
        json!({"environment": "sandbox", "upstream": "orders-sandbox"}),
        &[2],
    );
    let plan = promotion().plan(&observed).unwrap();
    assert_eq!(written(&plan), ["Binding orders-production@9"]);
    assert_eq!(expected(&plan), ["Binding orders-production@9 at r1", "Binding orders-sandbox@9 at r2"]);
    let spec = &put(&plan, "Binding", "orders-production")["spec"];
    assert_eq!((&spec["revision"], &spec["upstream"]), (&json!(2), &json!("orders-production")));
    let text = plan.preview.text();
    for line in [
        "+ GET /b",
        "- GET /a",
        "production (orders-production) in eu-west, us-east: r1 -> r2",
        "eu-west: http://one",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let back = Promotion { from: name("production"), to: name("sandbox"), ..promotion() };
    assert_eq!(put(&back.plan(&observed).unwrap(), "Binding", "orders-sandbox")["spec"]["revision"], 1);

    let mut rolled_back = observed.clone();
    rolled_back.bindings[0].served = vec![3, 1];
    refused(promotion().plan(&rolled_back), Exit::Conflict, &["rolled back to r1", "--over-rollback"]);
    Promotion { over_rollback: true, ..promotion() }.plan(&rolled_back).unwrap();

    let nowhere = Promotion { to: name("staging"), ..promotion() };
    refused(
        nowhere.plan(&observed),
        Exit::NotFound,
        &["Environment staging does not exist", "there are: production, sandbox"],
    );
    let mut staging = observed.clone();
    staging.environments.insert(name("staging"), names("eu-west"));
    refused(
        nowhere.plan(&staging),
        Exit::Conflict,
        &["staging has no Binding of Api orders", "--publish-to staging"],
    );
    let mut no_api = observed.clone();
    no_api.api = None;
    refused(promotion().plan(&no_api), Exit::NotFound, &["Api orders does not exist"]);
    let same = Promotion { to: name("sandbox"), ..promotion() };
    refused(same.plan(&observed), Exit::Usage, &["the same Environment"]);
}

#[test]
fn a_promotion_does_not_send_requests_elsewhere_unasked() {
    let bound = |environment: &str| json!({"environment": environment, "revision": 1});
    let observed = |urls: &[&str]| {
        empty()
            .with_api(api(&["/a"]))
            .with_revision(1, &["/a"], &["http://one"])
            .with_revision(2, &["/a"], urls)
            .with_binding("orders-production", bound("production"), &[1])
            .with_binding("orders-sandbox", bound("sandbox"), &[1, 2])
    };
    promotion().plan(&observed(&["http://one"])).unwrap();
    let other = observed(&["http://two"]);
    refused(
        promotion().plan(&other),
        Exit::Conflict,
        &["r1 and r2 embed different ones (http://one and http://two)", "--with-upstream"],
    );
    Promotion { with_upstream: true, ..promotion() }.plan(&other).unwrap();
}

#[test]
fn regions_name_the_binding_that_moves_and_no_other_region() {
    let of = |environment: &str, region: &str| json!({"environment": environment, "revision": 1, "upstream": "backend", "regions": {"names": region.split(' ').collect::<Vec<_>>()}});
    let observed = empty()
        .with_api(api(&["/a"]))
        .with_upstream("backend", upstream(&["http://one"]))
        .with_binding("orders-sandbox", of("sandbox", "eu-west"), &[2])
        .with_binding("orders-eu", of("production", "eu-west"), &[1])
        .with_binding("orders-us", of("production", "us-east"), &[1]);
    // The source serves one number, in another region: there is no choice.
    let east = Promotion { regions: names("us-east"), ..promotion() };
    assert_eq!(written(&east.plan(&observed).unwrap()), ["Binding orders-us@9"]);
    let several = observed.clone().with_binding("sandbox-us", of("sandbox", "us-east"), &[3]);
    assert_eq!(put(&east.plan(&several).unwrap(), "Binding", "orders-us")["spec"]["revision"], 3);

    let whole = in_production().with_revision(2, &["/a"], &["http://x"]).with_binding(
        "orders-sandbox",
        of("sandbox", "eu-west"),
        &[2],
    );
    let said = ["orders-production (production) also serves eu-west", "--regions eu-west,us-east"];
    refused(east.plan(&whole), Exit::Conflict, &said);
    Promotion { regions: names("eu-west us-east"), ..promotion() }.plan(&whole).unwrap();
    let rollback = Rollback {
        organization: name("default"),
        api: name("orders"),
        environment: name("production"),
        to: Some(1),
        regions: names("us-east"),
    };
    refused(rollback.plan(&whole), Exit::Conflict, &said);
}

#[test]
fn a_rollback_takes_the_one_before() {
    let rollback = Rollback {
        organization: name("default"),
        api: name("orders"),
        environment: name("production"),
        to: None,
        regions: Vec::new(),
    };
    refused(
        rollback.plan(&in_production()),
        Exit::Conflict,
        &["has served no revision before r1; it served r1", "--to"],
    );
    let at = |served: &[u64]| {
        let mut observed = in_production();
        (observed.bindings[0].serving, observed.bindings[0].served) =
            (served.last().copied(), served.to_vec());
        observed
    };
    let check = |served: &[u64], to: Option<u64>, number: u64| {
        let plan = Rollback { to, ..rollback.clone() }.plan(&at(served)).unwrap();
        assert_eq!(written(&plan), ["Binding orders-production@9"]);
        let now = served.last().unwrap();
        assert_eq!(expected(&plan), [format!("Binding orders-production@9 at r{now}")]);
        assert_eq!(put(&plan, "Binding", "orders-production")["spec"]["revision"], number, "{served:?}");
    };
    check(&[3, 5, 7], None, 5);
    check(&[3, 7, 5], None, 3); // the next one further back, and not the one it was rolled back from
    check(&[3, 5, 7], Some(3), 3);
    let plan = rollback.plan(&at(&[3, 5])).unwrap();
    let text = plan.preview.text();
    assert!(
        text.contains("not rolled back: Upstream orders-production, which orders-production follows"),
        "{text}"
    );
    assert!(text.contains("revision 5"), "{text}");
    let missing = Rollback { environment: name("staging"), ..rollback.clone() };
    refused(missing.plan(&in_production()), Exit::NotFound, &["Environment staging does not exist"]);
    let elsewhere = Rollback { environment: name("sandbox"), ..rollback };
    refused(elsewhere.plan(&in_production()), Exit::Conflict, &["sandbox has no Binding of Api orders"]);
}
