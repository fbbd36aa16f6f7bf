//! Whether requests find the operation after the import that they found before, judged by comparing each template with each request.

use proptest::{collection::vec, prelude::*, sample::subsequence};

use super::*;

/// What a parameter of one segment takes, and one of several.
fn fits(template: &str, request: &str) -> bool {
    let Some((before, rest)) = template.split_once('{') else { return template == request };
    let (name, after) = rest.split_once('}').unwrap();
    let Some(request) = request.strip_prefix(before) else { return false };
    let longest =
        if name.ends_with('+') { request.len() } else { request.find('/').unwrap_or(request.len()) };
    (1..=longest).any(|end| fits(after, &request[end..]))
}

/// The template that gateways take for a request.
fn found<'t>(templates: &'t [String], request: &str) -> Option<&'t str> {
    let fitting = templates.iter().filter(|template| fits(template, request));
    let of = |template: &str| shape(template).unwrap();
    fitting.reduce(|best, other| if of(other).precedes(&of(best)) { other } else { best }).map(String::as_str)
}

fn path() -> impl Strategy<Value = String> {
    let segment =
        prop_oneof![3 => Just("a"), 1 => Just("b"), 3 => Just("{p}"), 1 => Just("{p}:r"), 1 => Just("a{p}")];
    vec(segment, 1..4).prop_map(|segments| segments.iter().map(|segment| format!("/{segment}")).collect())
}

/// Every request of up to four segments.
fn requests() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut from = 0;
    for _ in 0..4 {
        let longest = all.split_off(from);
        from += longest.len();
        let longer: Vec<_> = ["a", "b", "ab", "c:r", "a:r"]
            .iter()
            .flat_map(|segment| longest.iter().map(move |request| format!("{request}/{segment}")))
            .collect();
        all.extend(longest);
        all.extend(longer);
    }
    all.split_off(1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_request_changes_its_operation(
        (paths, named) in vec(path(), 2..6).prop_flat_map(|paths| {
            let count = 1..=paths.len();
            (Just(paths.clone()), subsequence(paths, count))
        }),
    ) {
        let widening = Widening::of(&named, paths.iter().map(|path| (path.as_str(), path.as_str())));
        let matched: Vec<String> =
            paths.iter().map(|path| widening.widened(path).unwrap_or_else(|| path.clone())).collect();
        let pairs = || paths.iter().map(String::as_str).zip(matched.iter().map(String::as_str));
        if lost(pairs()).is_empty() {
            for request in requests() {
                let Some(before) = found(&paths, &request) else { continue };
                let after = found(&matched, &request).expect("what is widened fits more");
                let wanted = pairs().find(|(path, _)| *path == before).unwrap().1;
                prop_assert_eq!(shape(after), shape(wanted), "{} was {}", request, before);
            }
        }
    }
}

/// The problems of widening what is named.
fn problems(paths: &[&str], named: &[&str]) -> Vec<String> {
    let named: Vec<_> = named.iter().map(|&name| name.to_owned()).collect();
    let widening = Widening::of(&named, paths.iter().map(|path| (*path, *path)));
    let matched: Vec<_> =
        paths.iter().map(|path| widening.widened(path).unwrap_or_else(|| (*path).to_owned())).collect();
    lost(paths.iter().copied().zip(matched.iter().map(String::as_str)))
        .into_iter()
        .map(|problem| format!("{}; {}", problem.why, problem.fix))
        .collect()
}

#[test]
fn a_path_that_is_not_widened_keeps_its_requests() {
    assert_eq!(
        problems(&["/users/me/{path}", "/users/{id}/photos/{photo}"], &["path"]),
        [
            "/users/{id}/photos/{photo} would lose requests to /users/me/{path+}; name the paths to be widened, without /users/me/{path}"
        ]
    );
    assert_eq!(
        problems(&["/v1/{name}/y", "/v1/project-{id}"], &["name", "id"]),
        [
            "/v1/{name}/y would lose requests to /v1/project-{id+}; name the paths to be widened, without /v1/{name}/y"
        ]
    );
    // What others leave is for a path that is documented with a tail.
    assert_eq!(problems(&["/v1/{name}", "/{proxy+}"], &["name"]), [""; 0]);
}

#[test]
fn all_that_take_requests_of_a_path_are_told_at_once() {
    assert_eq!(
        problems(&["/v1/{name}:run", "/v1/{id}", "/v1/v{n}"], &["name"]),
        ["/v1/{name}:run would lose requests to /v1/v{n}, /v1/{id}; name /v1/v{n}, /v1/{id} as well"]
    );
    let paths: Vec<_> = (0..8).map(|at| format!("/v1/{{id}}/{{verb}}/{at}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).chain(["/v1/{name}/{id}/{verb}"]).collect();
    let told = problems(&paths, &["name", "verb"]);
    assert!(told.iter().all(|line| line.len() < 400), "{told:?}");
}
