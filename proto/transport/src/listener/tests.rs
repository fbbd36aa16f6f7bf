use axum::{Router, extract::ConnectInfo, routing::get};

use super::*;
use crate::{
    Alpn, Role, ShutdownTrigger, server_tls,
    testbed::{Federation, dial, listen, soon},
};

#[tokio::test]
async fn unfinished_handshakes_block_nobody() {
    let federation = Federation::new();
    let (mut listener, address) = listen(federation.server("a.agent.eu-west", &[Role::Gateway])).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // One that stops in the middle of its hello.
    let mut halting = TcpStream::connect(address).await.unwrap();
    halting.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();

    let client = federation.client("g.gateway.eu-west", &[Role::Agent]);
    let (stream, connection) =
        soon(async { tokio::join!(dial(address, client), listener.next_connection()) }).await;
    stream.unwrap();
    assert_eq!(connection.peer().identity.as_ref().unwrap().name, *"g");
    assert!(listener.handshakes.len() >= 51, "they are still being waited for");
}

#[tokio::test(start_paused = true)]
async fn unfinished_handshakes_are_given_up() {
    let federation = Federation::new();
    let (mut listener, address) = listen(federation.server("a.agent.eu-west", &[Role::Gateway])).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let serving = tokio::spawn(async move { listener.next_connection().await });
    // Time is paused and runs to the next timer when all tasks wait.
    let closed = silent.read(&mut [0; 1]).await;
    assert!(matches!(closed, Ok(0) | Err(_)));
    assert!(!serving.is_finished());
    serving.abort();
}

#[tokio::test]
async fn serves_axum_with_the_peer_at_hand() {
    let federation = Federation::new();
    let tls = server_tls(
        &federation.live("cp-1.server.control"),
        federation.mutual(&[Role::Agent]),
        Alpn::Http1And2,
    );
    let (listener, address) = listen(tls.unwrap()).await;
    let who = async |ConnectInfo(peer): ConnectInfo<Peer>| peer.identity.unwrap().to_string();
    let router = Router::new().route("/", get(who));
    let (trigger, shutdown) = ShutdownTrigger::new();
    let server = axum::serve(listener, router.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(async move { shutdown.wait().await });
    let serving = tokio::spawn(server.into_future());

    let mut client = (*federation.client("a.agent.eu-west", &[Role::Server])).clone();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut stream = soon(dial(address, Arc::new(client))).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("a.agent.eu-west.hanse.internal"), "{answer}");

    trigger.trigger();
    soon(serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}
