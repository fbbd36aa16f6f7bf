use hanse_process::telemetry;

use super::*;
use crate::{
    enrolment::tests::{Desk, ask_desk, serve},
    testbed::{Federation, listen, soon},
};
use hanse_topology::Role;

fn check_address(address: &str, sound: bool) {
    let federation = Federation::new();
    let prepared = prepare(address, federation.client("g.gateway.eu-west", &[Role::Agent]));
    assert_eq!(prepared.is_ok(), sound, "{address}");
    if let Err(error) = prepared {
        assert!(error.to_string().contains("expected host:port"), "{error}");
    }
}

#[test]
fn addresses_are_host_and_port() {
    for sound in ["cp-1:7444", "127.0.0.1:1", "[::1]:7444", "cp_1.example.com:65535"] {
        check_address(sound, true);
    }
    for unsound in ["", "cp-1", "cp-1:", ":7444", "cp-1:70000", "http://cp-1:7444", "a b:1", "::1:7444x"] {
        check_address(unsound, false);
    }
}

#[tokio::test]
async fn services_see_the_peer() {
    let federation = Federation::new();
    let (listener, address) = listen(federation.server("a.agent.eu-west", &[Role::Gateway])).await;
    let _serving = serve(listener, Desk::echo());
    let client = federation.client("g.gateway.eu-west", &[Role::Agent]);
    let channel = soon(connect(&address.to_string(), client)).await.unwrap();
    let answer = soon(ask_desk(channel)).await.unwrap();
    assert_eq!(answer.role, "g.gateway.eu-west.hanse.internal");
}

#[tokio::test]
async fn channels_reconnect_when_the_server_comes_back() {
    let federation = Federation::new();
    let tls = federation.server("a.agent.eu-west", &[Role::Gateway]);
    let (listener, address) = listen(tls.clone()).await;
    let serving = serve(listener, Desk::echo());
    let client = federation.client("g.gateway.eu-west", &[Role::Agent]);
    let channel = connect_lazy(&address.to_string(), client).unwrap();
    soon(ask_desk(channel.clone())).await.unwrap();

    serving.stop().await;
    soon(ask_desk(channel.clone())).await.unwrap_err();
    let tcp = tokio::net::TcpListener::bind(address).await.unwrap();
    let _serving = serve(crate::testbed::TlsListener { tcp, tls }, Desk::echo());
    let answered = async {
        while ask_desk(channel.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(answered).await;
}

#[tokio::test]
async fn refusals_say_why() {
    let federation = Federation::new();
    let (listener, address) = listen(federation.server("g.gateway.eu-west", &[Role::Gateway])).await;
    let _serving = serve(listener, Desk::echo());
    let address = address.to_string();

    let client = federation.client("g.gateway.eu-west", &[Role::Agent]);
    let error = soon(connect(&address, client)).await.unwrap_err();
    let text = telemetry::causes(&error).to_string();
    assert!(text.starts_with(&format!("cannot connect to {address}")), "{text}");
    assert!(text.contains("is refused here: expected role agent"), "{text}");

    // The server's refusal of a client comes after the handshake is over for the client (TLS 1.3): the first call fails.
    let client = federation.client("a.agent.eu-west", &[Role::Gateway]);
    let channel = soon(connect(&address, client)).await.unwrap();
    let status = soon(ask_desk(channel)).await.unwrap_err();
    let text = telemetry::causes(&status).to_string();
    assert!(text.contains("alert"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up() {
    let federation = Federation::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let error = connect(&address, federation.client("g.gateway.eu-west", &[Role::Agent])).await.unwrap_err();
    let text = telemetry::causes(&error).to_string();
    assert!(text.contains("no answer within 5s"), "{text}");
}
