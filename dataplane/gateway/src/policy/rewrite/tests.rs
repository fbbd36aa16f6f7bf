use super::*;

const BOTH: hanse_runtime::Rewrite = hanse_runtime::Rewrite { location: true, cookies: true };
const HOST: &[u8] = b"shop.example";

fn rewrite(context: &str) -> Arc<Rewrite> {
    Rewrite::with(None, BOTH, &Context::parse(context).unwrap()).unwrap()
}

fn sent_to(base_path: &str) -> SentTo<'_> {
    let schemes: [&[u8]; 2] = [b"http", b"http"];
    SentTo { schemes, authorities: [b"10.0.0.7:8080", HOST, HOST], base_path, proxys_prefix: None }
}

/// What an answer has in a header after it had the given value.
fn after(name: header::HeaderName, context: &str, sent_to: &SentTo<'_>, given: &str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert(name.clone(), HeaderValue::from_bytes(given.as_bytes()).unwrap());
    rewrite(context).apply(&mut headers, sent_to);
    assert_eq!(headers.len(), 1);
    String::from_utf8(headers[name].as_bytes().to_vec()).unwrap()
}

#[test]
fn locations_of_the_upstream_become_paths_of_the_client() {
    for (context, base, given, wanted) in [
        ("/shop", "", "/orders/7", "/shop/orders/7"),
        ("/shop", "", "/", "/shop/"),
        ("/shop", "", "/orders?next=/x#part", "/shop/orders?next=/x#part"),
        ("/shop", "", "/?a=1", "/shop/?a=1"),
        ("/shop", "/base", "/base/orders/7", "/shop/orders/7"),
        ("/shop", "/base", "/base", "/shop"),
        ("/shop", "/base", "/base?a", "/shop?a"),
        ("/", "/base", "/base/orders", "/orders"),
        ("/", "/base", "/base", "/"),
        ("/", "", "/orders", "/orders"),
        ("/größe", "", "/orders", "/gr%C3%B6%C3%9Fe/orders"),
        ("/shop", "", "/größe", "/shop/größe"),
        ("/shop", "", "http://10.0.0.7:8080/orders", "/shop/orders"),
        ("/shop", "", "HTTP://10.0.0.7:8080/orders", "/shop/orders"),
        ("/shop", "", "http://Shop.Example/orders", "/shop/orders"),
        ("/shop", "", "http://shop.example:80/orders", "/shop/orders"),
        ("/shop", "", "//shop.example/orders", "/shop/orders"),
        ("/shop", "", "http://shop.example", "/shop/"),
        ("/shop", "", "http://shop.example?a", "/shop/?a"),
        ("/", "", "http://10.0.0.7:8080/orders", "/orders"),
        ("/shop", "/base", "http://10.0.0.7:8080/base/orders", "/shop/orders"),
    ] {
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            assert_eq!(after(name, context, &sent_to(base), given), wanted, "{context} {base} {given}");
        }
    }
}

#[test]
fn other_locations_stay_as_they_are() {
    for (base, given) in [
        // Another authority, or another scheme.
        ("", "http://other.example/orders"),
        ("", "http://10.0.0.7/orders"),
        ("", "http://10.0.0.7:80801/orders"),
        ("", "https://shop.example/orders"),
        ("", "http://shop.example:443/orders"),
        ("", "//other.example/orders"),
        ("", "http://user@shop.example/orders"),
        ("", "http://shop.example@other.example/orders"),
        ("", "http://shop.example.other/orders"),
        ("", "mailto:shop@shop.example"),
        ("", "urn:a//shop.example/x"),
        // Relative.
        ("", ""),
        ("", "orders/7"),
        ("", "./orders"),
        ("", "../orders"),
        ("", "?a=1"),
        ("", "#part"),
        ("", "orders//shop.example/x"),
        // Malformed, or read in two ways.
        ("", "/\\other.example"),
        ("", "/a\\b"),
        ("", "\\\\shop.example/x"),
        ("", "/a/../b"),
        ("", "/%2e%2e/b"),
        ("", "/%zz"),
        ("", "http:/orders"),
        ("", "http//shop.example/orders"),
        ("", "://shop.example/orders"),
        ("", "http:///orders"),
        ("", "http://[::1/orders"),
        ("", "///shop.example/x"),
        // Outside of the base path.
        ("/base", "/orders"),
        ("/base", "/based/orders"),
        ("/base", "/"),
        ("/base", "http://shop.example/orders"),
    ] {
        assert_eq!(after(header::LOCATION, "/shop", &sent_to(base), given), given, "{base} {given}");
    }
}

#[test]
fn no_path_becomes_an_authority() {
    for (context, base, given) in [
        ("/", "/base", "/base//other.example/x"),
        ("/", "", "http://shop.example//other.example"),
        // Browsers remove tabs.
        ("/", "/base", "/base/\t/other.example/x"),
        ("/", "", "http://shop.example/\t/other.example"),
        ("/", "/base", "/base\t//other.example/x"),
    ] {
        assert_eq!(after(header::LOCATION, context, &sent_to(base), given), given);
    }
    let wanted = "/shop//other.example/x";
    assert_eq!(after(header::LOCATION, "/shop", &sent_to("/base"), "/base//other.example/x"), wanted);
}

#[test]
fn an_https_endpoint_has_its_own_scheme_and_port() {
    let sent_to =
        SentTo { schemes: [b"https", b"https"], authorities: [b"a.internal", HOST, HOST], ..sent_to("") };
    for (given, wanted) in [
        ("https://a.internal:443/x", "/shop/x"),
        ("https://shop.example/x", "/shop/x"),
        ("http://a.internal/x", "http://a.internal/x"),
        ("https://a.internal:80/x", "https://a.internal:80/x"),
    ] {
        assert_eq!(after(header::LOCATION, "/shop", &sent_to, given), wanted);
    }
}

#[test]
fn what_the_upstream_was_told_of_the_clients_url_is_its_own() {
    let sent_to = SentTo {
        schemes: [b"http", b"https"],
        authorities: [b"10.0.0.7:8080", b"10.0.0.7:8080", b"eu.example:8443"],
        ..sent_to("")
    };
    for (given, wanted) in [
        ("https://eu.example:8443/x", "/shop/x"),
        ("http://eu.example:8443/x", "/shop/x"),
        ("https://10.0.0.7:8080/x", "/shop/x"), // it read the scheme, and not the host
        ("https://eu.example/x", "https://eu.example/x"),
        ("ftp://eu.example:8443/x", "ftp://eu.example:8443/x"),
        // It is a client's URL.
        ("https://eu.example:8443/shop/x", "https://eu.example:8443/shop/x"),
        ("https://eu.example:8443/shopping", "/shop/shopping"),
    ] {
        assert_eq!(after(header::LOCATION, "/shop", &sent_to, given), wanted);
    }
    // From http to https: as a path it would lead to the same URL for ever.
    let sent_to =
        SentTo { schemes: [b"https", b"http"], authorities: [b"10.0.0.7", b"10.0.0.7", HOST], ..sent_to };
    let upgrade = "https://shop.example/x";
    assert_eq!(after(header::LOCATION, "/shop", &sent_to, upgrade), upgrade);
    assert_eq!(after(header::LOCATION, "/shop", &sent_to, "https://10.0.0.7/x"), "/shop/x");
}

#[test]
fn what_a_proxy_took_off_the_path_goes_before_it() {
    for (said, location, cookie) in [
        ("/eu", "/eu/shop/x", "a=1; Path=/eu/shop/x"),
        ("/eu/", "/eu/shop/x", "a=1; Path=/eu/shop/x"),
        ("/", "/shop/x", "a=1; Path=/shop/x"),
        ("", "/shop/x", "a=1; Path=/shop/x"),
        ("/a;b", "/a;b/shop/x", "a=1; Path=/x"), // it would begin an attribute
        // No path: nothing is rewritten.
        ("eu", "/x", "a=1; Path=/x"),
        ("//other.example", "/x", "a=1; Path=/x"),
        ("/eu?a", "/x", "a=1; Path=/x"),
        ("/a, /b", "/x", "a=1; Path=/x"),
        ("/größe", "/x", "a=1; Path=/x"),
    ] {
        let said_ = HeaderValue::from_bytes(said.as_bytes()).unwrap();
        let sent_to = SentTo { proxys_prefix: Some(&said_), ..sent_to("") };
        assert_eq!(after(header::LOCATION, "/shop", &sent_to, "/x"), location, "{said}");
        assert_eq!(after(header::SET_COOKIE, "/shop", &sent_to, "a=1; Path=/x"), cookie, "{said}");
    }
}

#[test]
fn paths_of_cookies_become_those_of_the_client() {
    for (context, base, given, wanted) in [
        ("/shop", "", "a=1; Path=/", "a=1; Path=/shop"),
        ("/shop", "", "a=1;path=/ ;HttpOnly", "a=1; Path=/shop;HttpOnly"),
        ("/shop", "", "a=1; Secure; PATH = /x/; Max-Age=7", "a=1; Secure; Path=/shop/x/; Max-Age=7"),
        ("/shop", "/base", "a=1; Path=/base/x", "a=1; Path=/shop/x"),
        ("/shop", "/base", "a=1; Path=/base/", "a=1; Path=/shop"),
        ("/shop", "/base", "a=1; Path=/", "a=1; Path=/shop"),
        ("/shop", "/base/v1", "a=1; Path=/base/", "a=1; Path=/shop"),
        ("/", "/base", "a=1; Path=/base", "a=1; Path=/"),
        ("/shop", "", "a=1; Path=/x; Path=/y", "a=1; Path=/shop/x; Path=/shop/y"),
        ("/shop", "", "Path=/; Path=/", "Path=/; Path=/shop"), // the first is the cookie
        ("/shop", "", "__Secure-a=1; Path=/", "__Secure-a=1; Path=/shop"),
    ] {
        assert_eq!(after(header::SET_COOKIE, context, &sent_to(base), given), wanted, "{context} {base}");
    }
}

#[test]
fn other_cookies_stay_as_they_are() {
    for (base, given) in [
        ("", "a=1"),
        ("", "a=1; HttpOnly"),
        ("", "a=1; Path"),
        ("", "a=1; Path="),
        ("", "a=1; Path=x"),
        ("", "a=1; Path=\"/x\""),
        ("", "a=1; Path=/a/../b"),
        ("", "a=1; Path=/%zz"),
        ("", "__Host-a=1; Secure; Path=/"),
        ("", "__host-a=1; Secure; Path=/"),
        ("", ""),
        ("/base", "a=1; Path=/based"),
        ("/base", "a=1; Path=/bas"),
        ("/base", "a=1; Path=/other"),
    ] {
        assert_eq!(after(header::SET_COOKIE, "/shop", &sent_to(base), given), given, "{base}");
    }
}

#[test]
fn octets_that_are_no_text_stay() {
    let mut headers = HeaderMap::new();
    let latin = |text: &[u8]| HeaderValue::from_bytes(text).unwrap();
    headers.append(header::SET_COOKIE, latin(b"name=Jos\xE9; Path=/x"));
    headers.append(header::SET_COOKIE, latin(b"a=1; Path=/caf\xE9"));
    headers.append(header::LOCATION, latin(b"/caf\xE9"));
    rewrite("/shop").apply(&mut headers, &sent_to(""));
    let cookies: Vec<&[u8]> = headers.get_all(header::SET_COOKIE).iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(cookies, [&b"name=Jos\xE9; Path=/shop/x"[..], b"a=1; Path=/caf\xE9"]);
    assert_eq!(headers[header::LOCATION].as_bytes(), b"/caf\xE9");
}

#[test]
fn policies_add_up() {
    let context = Context::parse("/shop").unwrap();
    let (none, location) =
        (hanse_runtime::Rewrite::default(), hanse_runtime::Rewrite { cookies: false, ..BOTH });
    let cookies = hanse_runtime::Rewrite { location: false, ..BOTH };
    assert_eq!(Rewrite::with(None, none, &context), None);
    let first = Rewrite::with(None, location, &context);
    let same = Rewrite::with(first.clone(), location, &context);
    assert!(Arc::ptr_eq(first.as_ref().unwrap(), same.as_ref().unwrap()));
    assert_eq!(Rewrite::with(first, cookies, &context), Some(rewrite("/shop")));

    let only_cookies = Rewrite::with(None, cookies, &context).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, HeaderValue::from_static("/x"));
    headers.insert(header::SET_COOKIE, HeaderValue::from_static("a=1; Path=/x"));
    only_cookies.apply(&mut headers, &sent_to(""));
    assert_eq!(
        (&headers[header::LOCATION], &headers[header::SET_COOKIE]),
        (&HeaderValue::from_static("/x"), &HeaderValue::from_static("a=1; Path=/shop/x"),)
    );
}
