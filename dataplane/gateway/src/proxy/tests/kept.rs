//! Kept connections to endpoints: which requests go on them, and what follows when one turns out to be closed.

use hanse_proto::runtime;

use super::{backend::*, harness::*, health::*};
use crate::{metrics::Retry, proxy::upstream::YOUNG};

/// Ejects after one failure, and for so long that a test sees it.
fn strict(backends: &[&Backend]) -> runtime::Upstream {
    let ejection =
        runtime::Ejection { consecutive_failures: 1, base_time_ms: 60_000, max_ejected_percent: 100 };
    runtime::Upstream { ejection: Some(ejection), ..to(backends) }
}

/// A GET and then a POST at once, until the POST goes on the connection of the GET: a machine that is busy may let it grow
/// too old for that. Returns the answer of that POST.
async fn post_on_a_kept_connection(client: &mut Client, a: &Backend) -> Answer {
    let begun = std::time::Instant::now();
    loop {
        assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200);
        let before = a.arrived();
        let answer = client.call(post()).await;
        assert_eq!(a.arrived(), before + 1, "a POST goes once, whatever becomes of it");
        if answer.status != 200 {
            return answer;
        }
        assert!(begun.elapsed() < SOON, "never on a kept connection");
    }
}

#[tokio::test]
async fn one_that_closes_upon_a_request_costs_a_get_nothing_and_fails_a_post() {
    let a = Backend::start().await;
    a.answers(CLOSES_ON_THE_SECOND);
    let gateway = Gateway::serving(api(patient(&[&a])));
    let mut client = Client::connect(gateway.http).await;
    assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200);
    assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200);
    assert_eq!(a.arrived(), 3, "the second was read, lost and sent again");
    assert_eq!(retries(&gateway, Retry::ResetBeforeResponse), 1);
    assert_eq!(post_on_a_kept_connection(&mut client, &a).await.problem(), "upstream-unreachable");
    assert_eq!(client.call(post()).await.status, 200, "on a connection of its own");
}

#[tokio::test]
async fn a_post_never_goes_on_one_that_its_endpoint_may_be_about_to_close() {
    let a = Backend::start().await;
    a.answers(CLOSES_ON_THE_SECOND);
    let gateway = Gateway::serving(api(patient(&[&a])));
    let mut client = Client::connect(gateway.http).await;
    assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200);
    tokio::time::sleep(YOUNG).await; // at least
    assert_eq!(client.call(post()).await.status, 200);
    assert_eq!(a.arrived(), 2);
    // Nor does what streams, or what its upstream wants never sent again.
    let large: &'static str = Box::leak("x".repeat((64 << 10) + 1).into_boxed_str());
    tokio::time::sleep(YOUNG).await;
    assert_eq!(client.call(request("PUT /a/x", &[], large)).await.status, 200);
    let once = runtime::Upstream { retry: Some(runtime::Retry::default()), ..patient(&[&a]) };
    gateway.change(api(once));
    tokio::time::sleep(YOUNG).await;
    assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200);
    assert_eq!(a.arrived(), 4);
    assert_eq!(retries(&gateway, Retry::ResetBeforeResponse), 0);
}

#[tokio::test]
async fn one_that_had_closed_speaks_not_against_its_endpoint() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    a.answers(CLOSES_ON_THE_SECOND);
    b.answers(CLOSES_ON_THE_SECOND);
    let gateway = Gateway::serving(api(strict(&[&a, &b])));
    gets(&gateway, 12).await;
    assert!(retries(&gateway, Retry::ResetBeforeResponse) >= 4, "every second request of each");
    let alone = runtime::Upstream { endpoints: vec![strict(&[&a]).endpoints[0].clone()], ..strict(&[]) };
    gateway.change(api(alone));
    post_on_a_kept_connection(&mut Client::connect(gateway.http).await, &a).await;
    assert_eq!(ejections(&gateway), 0);
}

#[tokio::test]
async fn it_makes_no_try_and_the_next_is_the_same_endpoints_on_a_new_connection() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    a.answers(CLOSES_ON_THE_SECOND);
    let one = runtime::Retry { attempts: 1, reset_before_response: true, ..Default::default() };
    let gateway = Gateway::serving(api(runtime::Upstream { retry: Some(one), ..patient(&[&a, &b]) }));
    let mut client = Client::connect(gateway.http).await;
    for _ in 0..2 {
        assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200);
    }
    assert_eq!((a.arrived(), b.arrived()), (1, 1));
    // On the kept one in vain, on a new one in vain, and then elsewhere: one try more than the first.
    a.answers(CLOSES);
    assert_eq!(client.call(request("GET /a/x", &[], "")).await.status, 200);
    assert_eq!((a.arrived(), b.arrived()), (3, 2));
    assert_eq!(retries(&gateway, Retry::ResetBeforeResponse), 2);
}

#[tokio::test]
async fn one_that_breaks_under_a_request_later_on_does_speak_against_it() {
    let (a, b) = (Backend::start().await, Backend::start().await);
    a.answers(CLOSES_LATE_ON_THE_SECOND);
    let gateway = Gateway::serving(api(strict(&[&a, &b])));
    gets(&gateway, 3).await;
    assert_eq!((ejections(&gateway), retries(&gateway, Retry::ResetBeforeResponse)), (1, 1));
}
