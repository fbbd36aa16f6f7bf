use super::*;

const SMALL: &str = r#"
    name = "gateway-1"
    data_dir = "data"
    agents = ["127.0.0.1:7444"]
    [listen]
    http = "127.0.0.1:0"
    admin = "127.0.0.1:0"
"#;

#[test]
fn a_small_file_gets_defaults() {
    let config: Config = toml::from_str(SMALL).unwrap();
    config.check().unwrap();
    assert!(config.worker_count() >= 1);
    assert_eq!(config.limits.max_body_bytes, DEFAULT_MAX_BODY_BYTES);
    assert_eq!(config.access_log, None);
}

#[test]
fn unknown_keys_are_refused_with_their_line() {
    let error = toml::from_str::<Config>(&format!("colour = 1\n{SMALL}")).unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("colour"), "{error}");
}

#[test]
fn connections_are_as_many_as_descriptors_allow() {
    let check = |wanted: Option<u32>, descriptors: usize, clients: usize, upstreams: usize, warned: bool| {
        let limits = Limits { max_connections: wanted, ..Limits::default() };
        let shares = limits.connections(descriptors, 0);
        let seen = (shares.clients, shares.upstreams, shares.warning.is_some());
        assert_eq!(seen, (clients, upstreams, warned), "{wanted:?} of {descriptors}");
    };
    check(None, 1 << 20, 20_000, MOST_UPSTREAM_CONNECTIONS, false);
    check(None, 65_536, 20_000, 37_216, false);
    check(None, 1_024, 384, 384, false);
    check(None, 100, LEAST_CONNECTIONS, LEAST_CONNECTIONS, false);
    check(Some(100), 1_024, 100, 668, false);
    check(Some(384), 1_024, 384, 384, false);
    check(Some(500), 1_024, 500, 268, true);
    check(Some(20_000), 1_024, 768, LEAST_CONNECTIONS, true);
    check(Some(50_000), 1 << 20, 50_000, MOST_UPSTREAM_CONNECTIONS, false);
    let shares = Limits { max_connections: Some(20_000), ..Limits::default() }.connections(1_024, 0);
    let warning = shares.warning.unwrap();
    assert!(
        warning.contains("limits.max_connections is 20000") && warning.contains("45861 files"),
        "{warning}"
    );
}

#[test]
fn as_many_descriptors_as_are_said_to_be_needed_are_enough() {
    for clients in [1, 384, 20_000, 40_000, 500_000] {
        let limits = Limits { max_connections: Some(clients), ..Limits::default() };
        for sockets in [0, 128] {
            let needed = needed(clients as usize, sockets);
            assert_eq!(limits.connections(needed, sockets).warning, None, "{needed} for {clients}");
        }
    }
}

#[test]
fn all_shares_and_the_reserve_are_no_more_than_there_are() {
    for descriptors in [256, 1_024, 4_096, 65_536, 1 << 20] {
        // Two protocols, each with 8 entries, on 4 threads.
        for sockets in [0, 64] {
            let shares = Limits::default().connections(descriptors, sockets);
            let all = shares.clients + shares.upstreams + shares.lookups + RESERVED_DESCRIPTORS + sockets;
            assert!(all <= descriptors, "{shares:?} and {sockets} of {descriptors}");
        }
    }
}

#[test]
fn the_default_drain_fits_into_what_dev_allows_a_process() {
    let config: Config = toml::from_str(SMALL).unwrap();
    assert!(config.drain.announce() + config.drain.limit() <= Duration::from_secs(6)); // of 7; and a log to write
    let config: Config = toml::from_str(&format!("drain = {{ announce_ms = 0 }}\n{SMALL}")).unwrap();
    assert_eq!(config.drain, Drain { announce_ms: 0, ..Drain::default() });
}

#[test]
fn access_logs_go_to_stdout_or_a_file() {
    let config: Config = toml::from_str(&format!("access_log = \"stdout\"\n{SMALL}")).unwrap();
    assert_eq!(config.access_log, Some(AccessLogTarget::Stdout));
    let config: Config = toml::from_str(&format!("access_log = {{ file = \"a.log\" }}\n{SMALL}")).unwrap();
    assert_eq!(config.access_log, Some(AccessLogTarget::File("a.log".into())));
}

#[test]
fn proxies_are_networks_or_addresses() {
    let of = |network: &str| -> Result<Vec<Network>, String> {
        let text = format!("trusted_proxies = [{network:?}]\n{SMALL}");
        toml::from_str(&text).map(|config: Config| config.trusted_proxies).map_err(|error| error.to_string())
    };
    assert!(of("10.0.0.0/8").unwrap()[0].contains("::ffff:10.1.2.3".parse().unwrap()));
    assert!(of("10.0.0.7").unwrap()[0].contains("10.0.0.7".parse().unwrap()));
    assert!(!of("2001:db8::/32").unwrap()[0].contains("10.0.0.7".parse().unwrap()));
    let error = of("10.0.0.1/8").unwrap_err();
    assert!(error.contains("bits set beyond its length: write 10.0.0.0/8"), "{error}");
    for (mapped, wanted) in [
        ("::ffff:10.0.0.0/104", "write 10.0.0.0/8"),
        ("::ffff:10.0.0.7", "write 10.0.0.7/32"),
        ("::ffff:10.0.0.7/104", "write 10.0.0.0/8"),
    ] {
        let error = of(mapped).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
    let error = of("balancer.example").unwrap_err();
    assert!(error.contains("line 1") && error.contains("write it as 10.0.0.0/8"), "{error}");
}

#[test]
fn advertised_urls_are_a_scheme_a_host_and_a_port() {
    let check = |urls: &[&str]| {
        let config: Config = toml::from_str(&format!("advertise = {urls:?}\n{SMALL}")).unwrap();
        config.check().map_err(|error| error.to_string())
    };
    let good = ["https://api.example.com", "http://10.0.0.7:8080", "https://[2001:db8::1]:8443"];
    check(&good).unwrap();
    let long = format!("https://{}.example", "a.".repeat(100));
    for bad in [
        "api.example.com",
        "https://",
        "https://a/",
        "https://a/b",
        "ftp://a",
        "https://A",
        "https://u@a",
        "https://a:0",
        "http://0.0.0.0:8080",
        "https://[::]",
        &long,
    ] {
        let error = check(&[bad]).unwrap_err();
        assert!(error.starts_with("advertise: each is https://HOST"), "{bad}: {error}");
    }
    assert!(check(&["https://a"; 5]).unwrap_err().contains("at most 4"));
    assert!(check(&["https://a"; 2]).unwrap_err().contains("twice"));
}

#[test]
fn what_cannot_work_is_named() {
    let check = |from: &str, to: &str, key: &str| {
        let config: Config = toml::from_str(&SMALL.replace(from, to)).unwrap();
        assert_eq!(config.check().unwrap_err().key, key, "{to}");
    };
    check("\"127.0.0.1:7444\"", "", "agents");
    check("http = \"127.0.0.1:0\"", "", "listen");
    check("[listen]", "workers = 0\n[listen]", "workers");
    let http = "http = \"127.0.0.1:0\"";
    let proxied = "{ address = \"a:1\", proxy_protocol = true }";
    check(http, &format!("http = {proxied}"), "listen.http.proxy_protocol");
    check(http, &format!("https = [\"b:1\", {proxied}]"), "listen.https[1].proxy_protocol");
    check(http, "http = []", "listen");
    for (entries, keys) in [
        (["a:1", "a:1"], "listen.https[0] and listen.https[1]"),
        (["A.example:1", "a.example:01"], "listen.https[0] and listen.https[1]"),
        (["0.0.0.0:1", "10.0.0.5:1"], "listen.https[0] and listen.https[1]"),
        (["10.0.0.5:1", "0.0.0.0:1"], "listen.https[0] and listen.https[1]"),
        (["[::]:1", "0.0.0.0:1"], "listen.https[0] and listen.https[1]"),
        (["[2001:db8::1]:1", "[::]:1"], "listen.https[0] and listen.https[1]"),
    ] {
        check(http, &format!("https = {entries:?}"), keys);
    }
    let inner = "{ address = \"10.0.0.5:1\", exposure = \"internal\" }";
    check(http, &format!("https = [\"0.0.0.0:1\", {inner}]"), "listen.https[0] and listen.https[1]");
    check(http, &format!("http = {inner}\nhttps = \"0.0.0.0:1\""), "listen.http and listen.https");
    for address in ["8080", ":8080", "a:", "a:65536", "a:b", ""] {
        check(http, &format!("http = {address:?}"), "listen.http");
        check(http, &format!("http = [\"a:1\", {address:?}]"), "listen.http[1]");
    }
    check(http, &format!("https = {:?}", ["a:1"; 9]), "listen.https");
    check("[listen]", "limits = { header_timeout_ms = 0 }\n[listen]", "limits.header_timeout_ms");
    for key in ["client_silence_ms", "answer_silence_ms", "max_connections"] {
        check("[listen]", &format!("limits = {{ {key} = 0 }}\n[listen]"), &format!("limits.{key}"));
    }
}

#[test]
fn entries_of_different_addresses_stand_together() {
    for entries in [
        ["10.0.0.5:1", "10.0.0.6:1"],
        ["0.0.0.0:1", "0.0.0.0:2"],
        ["127.0.0.1:0", "127.0.0.1:0"],
        ["0.0.0.0:1", "[2001:db8::1]:1"],
        ["a.example:1", "b.example:1"],
        // Whether these are one address is seen when the gateway listens.
        ["localhost:1", "127.0.0.1:1"],
    ] {
        let text = SMALL.replace("http = \"127.0.0.1:0\"", &format!("https = {entries:?}"));
        toml::from_str::<Config>(&text).unwrap().check().unwrap();
    }
}

#[test]
fn an_entry_is_a_text_a_table_or_one_of_several() {
    let check = |written: &str, wanted: &[(&str, Exposure, bool)]| {
        let text = SMALL.replace("http = \"127.0.0.1:0\"", &format!("https = {written}"));
        let config: Config = toml::from_str(&text).unwrap_or_else(|error| panic!("{written}: {error}"));
        let found = config.listen.https.0.iter();
        let found: Vec<_> =
            found.map(|entry| (&*entry.address, entry.exposure, entry.proxy_protocol)).collect();
        assert_eq!(found, wanted, "{written}");
        // It is written as it is read.
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
    };
    let (external, internal) = (Exposure::External, Exposure::Internal);
    check("\"[::]:8443\"", &[("[::]:8443", external, false)]);
    check("{ address = \"a:1\" }", &[("a:1", external, false)]);
    check("{ address = \"a:1\", exposure = \"internal\" }", &[("a:1", internal, false)]);
    check(
        "[\"a:1\", { address = \"b:2\", exposure = \"internal\", proxy_protocol = true }]",
        &[("a:1", external, false), ("b:2", internal, true)],
    );
    let error = |written: &str| {
        let text = SMALL.replace("\"127.0.0.1:0\"\n    admin", &format!("{written}\n    admin"));
        toml::from_str::<Config>(&text).unwrap_err().to_string()
    };
    for (written, wanted) in [
        ("1", "expected an address, \"0.0.0.0:8080\" or {"),
        ("[\"a:1\", 1]", "expected an address, \"0.0.0.0:8080\" or {"),
        ("[\"a:1\", { address = \"b:2\", colour = 1 }]", "unknown field `colour`"),
        ("{ exposure = \"internal\" }", "missing field `address`"),
        ("{ address = \"a:1\", exposure = \"inside\" }", "unknown variant `inside`"),
    ] {
        let error = error(written);
        assert!(error.contains(wanted) && error.contains("line 6"), "{written}: {error}");
    }
    // What an earlier release knew.
    let old = toml::from_str::<Config>(&SMALL.replace("[listen]", "[listen]\nhttp_proxy_protocol = true"));
    assert!(old.unwrap_err().to_string().contains("unknown field `http_proxy_protocol`"));
}

#[test]
fn an_advertised_url_leads_to_an_entry_of_its_exposure() {
    let check = |listens: &str, advertises: &str| {
        let entry = format!("http = {{ address = \"127.0.0.1:0\", exposure = \"{listens}\" }}");
        let text = SMALL.replace("http = \"127.0.0.1:0\"", &entry);
        let config: Config = toml::from_str(&format!("advertise = [{advertises}]\n{text}")).unwrap();
        config.check().map_err(|error| error.to_string())
    };
    let (outer, inner) = ("\"https://a\"", "{ url = \"https://a\", exposure = \"internal\" }");
    check("external", outer).unwrap();
    check("internal", inner).unwrap();
    assert!(check("external", inner).unwrap_err().contains("add one with exposure"));
    assert!(check("internal", outer).unwrap_err().contains("a URL is external"));
    assert!(check("internal", &format!("{inner}, {inner}")).unwrap_err().contains("twice"));
}

#[test]
fn tunnels_have_an_address_of_their_own_that_others_can_dial() {
    let config = |table: &str| toml::from_str::<Config>(&format!("{SMALL}\n[tunnel]\n{table}")).unwrap();
    let listens =
        "listen = \"0.0.0.0:7447\"\nadvertise = [\"gateway-1.example.com:7447\", \"[2001:db8::7]:7447\"]";
    let good = config(listens);
    // This release refuses it, but for nothing that it says.
    assert_eq!(good.check().unwrap_err().key, "tunnel");
    assert_eq!((good.listeners(), good.tunnel.as_ref().unwrap().max_requests), (2, 1_024));
    let only_entry = config("max_requests = 7");
    assert_eq!(only_entry.check().unwrap_err().key, "tunnel");
    assert_eq!((only_entry.listeners(), only_entry.tunnel.as_ref().unwrap().max_requests), (1, 7));

    let check = |table: &str, key: &str| {
        assert_eq!(config(table).check().unwrap_err().key, key, "{table}");
    };
    check("max_requests = 0", "tunnel.max_requests");
    check("advertise = [\"a.example:7447\"]", "tunnel.advertise");
    check("listen = \"0.0.0.0:7447\"", "tunnel.advertise");
    check("listen = \"7447\"\nadvertise = [\"a.example:7447\"]", "tunnel.listen");
    for bad in ["a.example", "https://a.example:7447", "0.0.0.0:7447", &format!("{}:7447", "a.".repeat(100))]
    {
        check(&format!("listen = \"0.0.0.0:7447\"\nadvertise = [\"{bad}\"]"), "tunnel.advertise");
    }
    let five = [1, 2, 3, 4, 5].map(|port| format!("\"a.example:{port}\"")).join(", ");
    check(&format!("listen = \"0.0.0.0:7447\"\nadvertise = [{five}]"), "tunnel.advertise");

    let mut shared = config(listens);
    shared.listen.http = Entries(vec![Entry {
        address: "127.0.0.1:7447".to_owned(),
        exposure: Exposure::External,
        proxy_protocol: false,
    }]);
    assert_eq!(shared.check().unwrap_err().key, "listen.http and tunnel.listen");
}
