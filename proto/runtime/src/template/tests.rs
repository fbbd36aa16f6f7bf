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
        "/<a>",
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
    check("/{a}{b}", "nothing is between {b} and the parameter before it", "{base}...{head}");
    check("/users/:id", "\":id\" would be these characters", "write {id}, or %3Aid");
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
    check("/{a+}/*", "'*'", "%2A");
    check("/a/:b/{c+}", "\":b\" would be these characters", "write {b}");
    check("/a({b+}", "a parenthesis has no pair", "two operations");
    check("/{?q}", "an operator of URI templates", "write {q}");
    check("/{.format}", "an operator of URI templates", "write {format}");
    check("/{id?}", "an operator of URI templates", "write {id}");
    check("/a(/{id})", "a parenthesis has no pair", "two operations");
    check("/a)(", "a parenthesis has no pair", "two operations");
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
