use super::*;

#[test]
fn segments_are_literal_mixed_or_parameter() {
    let check = |template: &str, wanted: &str| {
        let kind = |segment: &TemplateSegment| match segment {
            TemplateSegment::Literal(_) => 'l',
            TemplateSegment::Mixed(_) => 'm',
            TemplateSegment::Parameter => 'p',
        };
        let template = Template::parse(template).unwrap();
        let mut kinds: String = template.segments().iter().map(kind).collect();
        kinds += match template.tail() {
            None => "",
            Some(Tail::Greedy(_)) => "g",
            Some(Tail::Rest) => "*",
        };
        assert_eq!(kinds, wanted, "{template:?}");
    };
    check("/", "l");
    check("/orders", "l");
    check("/orders/", "ll");
    check("//orders//x", "llll");
    check("/orders/{id}", "lp");
    check("/compare/{base}...{head}", "lm");
    check("/v{major}", "m");
    check("/users('{id}')/$value", "ml");
    check("/{id}/{id}/{id}-{id}", "ppm");
    check("/{user.id}/{file_path}/{user id}", "ppp");
    check("/{name}:predict", "m");
    check("/a:b/delta()/x(id=1)", "lll");
    check("/*", "*");
    check("/a/{id}/*", "lp*");
    check("/{name+}", "g");
    check("/v1/v{name+}:predict/x/", "lg");
    check("/a/%2A", "ll");
}

#[test]
fn templates_are_equal_if_they_match_the_same_requests() {
    let equal = |one: &str, other: &str, wanted: bool| {
        assert_eq!(Template::parse(one) == Template::parse(other), wanted, "{one} {other}");
    };
    equal("/pets/{id}", "/pets/{petId}", true);
    equal("/{a}...{b}", "/{base}...{head}", true);
    equal("/größe", "/gr%C3%B6%c3%9fe", true);
    equal("/a b", "/a%20b", true);
    equal("/%70ets/%3Aid/%28", "/pets/%3aid/%28", true);
    equal("/a%2Fb", "/a%2fb", true);
    equal("/a%2Fb", "/a/b", false);
    equal("/a", "/a/", false);
    equal("/a/b", "/a//b", false);
    equal("/a", "/A", false);
    equal("/{a+}", "/{b+}", true);
    equal("/{a+}/x", "/{a+}/y", false);
    equal("/a/*", "/a/%2A", false);
    equal("/*", "/{a+}", false);
}

#[test]
fn literals_are_what_a_request_can_have() {
    for good in [
        "/größe",
        "/a%20b/{id}",
        "//x",
        "/a//b",
        "/\"a\"",
        "/<a>b",
        "/<{a}>",
        "/<\"|>",
        "/users('{id}')",
        "/delta()/x(id='{id}')",
        "/a|b^c`d",
        "/a;v=1/{b};c={d}",
        "/%2A",
        "/caf%E9",
        "/.../..a",
    ] {
        assert!(Template::parse(good).is_ok(), "{good}");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_what_to_write() {
    let check = |bad: &str, detail: &str, remedy: &str| {
        let told = Template::parse(bad).expect_err(bad);
        assert!(told.detail.contains(detail) && told.remedy.contains(remedy), "{bad}: {told:?}");
    };
    check("", "does not start with a slash", "write \"/\"");
    check("orders", "does not start with a slash", "write \"/orders\"");
    for unpaired in ["/{", "/{a", "/a}", "/{a}}"] {
        check(unpaired, "a brace without its pair", "%7B");
    }
    for unnamed in ["/{}", "/{ }", "/{a{b}}", "/{a/b}", "/{a\n}"] {
        check(unnamed, "without a proper name", "{id}");
    }
    check(
        "/{a}{b}",
        "nothing is between the parameters {a}{b}",
        "write one parameter for all of them, as in {a_b}",
    );
    check("/x-{a}{b}{c}.json", "nothing is between the parameters {a}{b}{c}", "as in {a_b_c}");
    for (colons, remedy) in [
        (":id", "write {id}, or %3Aid for"),
        (":_id", "write {_id}, or %3A_id for"),
        (":id.json", "write {id}.json, or"),
        (":from-:to", "write {from}-{to}, or"),
        (":a-{b}", "write {a}-{b}, or"),
        (r":id(\d+)", "write {id}, or"),
        (":path*", "write {path+}, or"),
        (":id?", "write two operations"),
    ] {
        check(&format!("/users/{colons}"), "would be these characters, and no parameter", remedy);
    }
    check("/users/<id>", "\"<id>\" would be these characters", "write {id}, or %3Cid%3E for");
    check("/users/<int:id>", "\"<int:id>\" would be these characters", "write {id}, or %3Cint:id%3E");
    check("/files/<path:rest>", "\"<path:rest>\" would be these characters", "write {rest+}, or");
    check("/{id:[0-9]+}", "has a pattern", "write {id}");
    check("/{id:[0-9]{3}}", "has a pattern", "write {id}");
    check("/{name=projects/*/x}", "has a pattern", "write {name}, or {name+}");
    for rest in ["/{+path}", "/{path*}", "/{*path}"] {
        check(rest, "would be one segment", "write {path+}");
    }
    check("/{+}", "without a proper name", "{id}");
    for followed in ["/{a+}/{b}", "/{a+}{b}", "/{b}-{a+}", "/{a+}/{b+}"] {
        check(followed, "takes all that follows but literals", "{name+}/status");
    }
    check("/{b}-{a+}", "{a+} takes all that follows but literals, and {b} is none", "{name+}/status");
    check("/{a+}/{b}/x/{c}", "and {b}, {c} are none", "{name+}/status");
    check("/{a+}/*", "'*'", "%2A");
    check("/a/:b/{c+}", "\":b\" would be these characters", "write {b}");
    for (operator, remedy) in [
        ("/search{?q}", "leave it out: the query"),
        ("/search{&q,page}", "leave it out: the query"),
        ("/search{#part}", "leave it out: the query"),
        ("/users{/id}", "write /{id}"),
        ("/users{/id,part}", "write /{id}/{part}"),
        ("/x{.format}", "write .{format}"),
        ("/x{;_v}", "write {_v}"),
        ("/users/{id?}", "write two operations"),
    ] {
        check(operator, "an operator of URI templates", remedy);
    }
    for (unpaired, segment) in [("/x/a({b+}", "a({b+}"), ("/x/a(/{id})", "a("), ("/x/a)(", "a)(")] {
        check(unpaired, &format!("{segment:?} has a parenthesis without its pair"), "two operations");
    }
    for pattern in ["users(.{format})", "users(.:format)", "(:num)", "{id}(?:x)", "a(:b)"] {
        check(&format!("/x/{pattern}"), &format!("{pattern:?} has a parenthesis that begins"), "%28");
    }
    check("/(a|b)/x", "\"(a|b)\" has a '|' within parentheses", "two operations");
    check("/a*", "'*'", "%2A");
    check("/*/b", "'*'", "{name}");
    check("/a?b={c}", "a query or a fragment", "the query is forwarded");
    check("/a#b", "a query or a fragment", "keep to the path");
    check("/a\tb", "the control character", "leave it out");
    check("/%zz", "malformed percent-encoding", "%25");
    check("/a%00", "malformed percent-encoding", "%25");
    check("/a\\b", "contains a '\\'", "write /");
    for dots in ["/a/../b", "/.", "/%2e%2E/{a}", "/a%2F..", "/..;{a}"] {
        check(dots, "'.' or '..' segment", "the path it stands for");
    }
    check("/;a", "empty before its ';'", "before the ';'");
    check("/;{a}", "empty before its ';'", "before the ';'");
    check("/%c0%af", "overlong", "shortest form");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let told =
        |text: &str| -> Vec<String> { Template::problems(text).into_iter().map(|bad| bad.detail).collect() };
    assert_eq!(told("/a/{b}/{c+}"), Vec::<String>::new());
    assert_eq!(
        told("users/:id/posts/:post/{+a}/x*y?z/<b>/{c}{d}/../e"),
        [
            "\"users/:id/posts/:post/{+a}/x*y?z/<b>/{c}{d}/../e\" does not start with a slash",
            "{+a} would be one segment, and no more",
            "\":id\" would be these characters, and no parameter",
            "\":post\" would be these characters, and no parameter",
            "\"x*y?z\" has a '*', which is a segment of its own at the end only",
            "\"<b>\" would be these characters, and no parameter",
            "nothing is between the parameters {c}{d}: where one ends is not plain",
            "gateways answer \"users/:id/posts/:post/{+a}/x*y?z/<b>/{c}{d}/../e\" with 400: the path contains a '.' or '..' segment",
        ]
    );
    // No fault is told twice, in the words of another one.
    for one in [
        "/{id:[0-9]+}/{b}",
        "/{id:[0-9]{3}}",
        "/{a{b}}",
        "/{a+}/:b",
        "/:path*",
        "/:id?",
        "/{id}(?:x)",
        "/a({b)",
        "/{a+}{b}",
        "/%zz",
        "/x/*/y",
        "/{a+}/*",
        "",
    ] {
        assert_eq!(Template::problems(one).len(), 1, "{one}: {:?}", told(one));
    }
}
