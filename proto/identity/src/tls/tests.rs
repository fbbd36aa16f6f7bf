use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::testbed::{Federation, dial, identity, listen, name, soon};

/// What became of a connection: who the server saw, or the client's error.
async fn meet(
    server: ServerTls,
    client: impl Into<Arc<ClientConfig>>,
) -> Result<Option<hanse_topology::Identity>, String> {
    let (mut listener, address) = listen(server).await;
    let (seen, met) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(async move {
        let mut connection = listener.next_connection().await;
        let _ = seen.send(connection.peer().identity.clone());
        connection.write_all(b"hello").await.unwrap();
        connection.shutdown().await.unwrap();
        listener
    });
    let mut text = String::new();
    let heard = soon(async {
        let mut stream = dial(address, client).await?;
        stream.read_to_string(&mut text).await
    })
    .await;
    match heard {
        Ok(_) => {
            assert_eq!(text, "hello");
            Ok(soon(met).await.unwrap())
        }
        Err(error) => {
            serving.abort();
            Err(hanse_process::telemetry::causes(&error).to_string())
        }
    }
}

#[tokio::test]
async fn both_sides_know_each_other() {
    let federation = Federation::new();
    let server = federation.server("a.agent.eu-west", &[Role::Gateway]);
    let client = federation.client("g.gateway.eu-west", &[Role::Agent]);
    assert_eq!(meet(server, client).await.unwrap(), Some(identity("g.gateway.eu-west")));
}

#[tokio::test]
async fn anyone_may_come_where_nobody_is_asked() {
    let federation = Federation::new();
    let server = server_tls(&federation.live("cp-1.server.control"), Clients::Anyone, Alpn::Http2).unwrap();
    let expect = Expect { roles: vec![Role::Server], region: None };
    let client = client_tls(None, federation.anchor(), expect).unwrap();
    assert_eq!(meet(server, client).await.unwrap(), None);
}

#[tokio::test]
async fn wrong_roles_are_refused_by_either_side() {
    let federation = Federation::new();
    let server = federation.server("cp-1.server.control", &[Role::Agent]);
    let refused = meet(server, federation.client("g.gateway.eu-west", &[Role::Server])).await.unwrap_err();
    assert!(refused.contains("alert"), "{refused}");

    let impostor = federation.server("g.gateway.eu-west", &Role::ALL);
    let refused = meet(impostor, federation.client("a.agent.eu-west", &[Role::Server])).await.unwrap_err();
    assert!(
        refused.contains("g.gateway.eu-west.hanse.internal is refused here: expected role server"),
        "{refused}"
    );
}

#[tokio::test]
async fn wrong_regions_are_refused() {
    let federation = Federation::new();
    let server = federation.server("a.agent.eu-west", &Role::ALL);
    for (region, welcome) in [("eu-west", true), ("us-east", false)] {
        let expect = Expect { roles: vec![Role::Agent], region: Some(name(region)) };
        let client =
            client_tls(Some(&federation.live("g.gateway.eu-west")), federation.anchor(), expect).unwrap();
        let met = meet(server.clone(), client).await;
        assert_eq!(met.is_ok(), welcome, "{region}: {met:?}");
    }
}

#[tokio::test]
async fn other_federations_are_refused_by_either_side() {
    let (ours, theirs) = (Federation::new(), Federation::new());
    let client = ours.client("a.agent.eu-west", &Role::ALL);
    let refused = meet(theirs.server("cp-1.server.control", &Role::ALL), client).await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");

    // A client that trusts our server but shows a certificate of theirs.
    let stranger = theirs.live("a.agent.eu-west");
    let expect = Expect { roles: Role::ALL.to_vec(), region: None };
    let client = client_tls(Some(&stranger), ours.anchor(), expect.clone()).unwrap();
    let refused = meet(ours.server("cp-1.server.control", &Role::ALL), client).await.unwrap_err();
    assert!(refused.contains("alert"), "{refused}");

    let nameless = client_tls(None, ours.anchor(), expect).unwrap();
    let refused = meet(ours.server("cp-1.server.control", &Role::ALL), nameless).await.unwrap_err();
    assert!(refused.contains("CertificateRequired"), "{refused}");
}

#[tokio::test]
async fn tls_1_2_is_not_spoken() {
    let federation = Federation::new();
    let verifier = ServerVerifier::trusting(
        federation.anchor().into(),
        Rule { roles: Role::ALL.to_vec(), region: None },
    );
    let old = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let server = server_tls(&federation.live("cp-1.server.control"), Clients::Anyone, Alpn::Http2).unwrap();
    let refused = meet(server, Arc::new(old)).await.unwrap_err();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
}

#[tokio::test]
async fn new_connections_use_replaced_credentials() {
    let federation = Federation::new();
    let (server, client) = (federation.live("a.agent.eu-west"), federation.live("g-1.gateway.eu-west"));
    let listening = server_tls(&server, federation.mutual(&Role::ALL), Alpn::Http2).unwrap();
    let expect = Expect { roles: Role::ALL.to_vec(), region: None };
    let dialing = client_tls(Some(&client), federation.anchor(), expect).unwrap();
    let (mut listener, address) = listen(listening).await;

    let mut shake = async || {
        let (stream, connection) =
            soon(async { tokio::join!(dial(address, dialing.clone()), listener.next_connection()) }).await;
        let stream = stream.unwrap();
        let leaf: CertificateDer<'static> =
            stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        (leaf, connection.peer().identity.clone().unwrap())
    };
    let before = shake().await;
    assert_eq!(before.1, identity("g-1.gateway.eu-west"));

    let renewed = federation.credentials("a.agent.eu-west");
    server.replace(renewed.clone());
    client.replace(federation.credentials("g-2.gateway.eu-west"));
    let after = shake().await;
    assert_ne!(before.0, after.0);
    assert_eq!(after.0, renewed.chain()[0]);
    assert_eq!(after.1, identity("g-2.gateway.eu-west"));
    assert_eq!(client.identity(), after.1);
}

#[tokio::test]
async fn a_bundle_of_two_roots_believes_chains_of_either_until_one_is_dropped() {
    let (old, new) = (Federation::new(), Federation::new());
    let trust = crate::LiveTrust::from(old.anchor());
    let clients = Clients::Mutual { trust: trust.clone(), roles: vec![Role::Gateway], region: None };
    let server =
        |of: &Federation| server_tls(&of.live("a.agent.eu-west"), clients.clone(), Alpn::Http2).unwrap();
    let client = |of: &Federation| {
        let expect = Expect { roles: vec![Role::Agent], region: None };
        client_tls(Some(&of.live("g.gateway.eu-west")), &trust, expect).unwrap()
    };
    assert!(meet(server(&old), client(&old)).await.is_ok());
    assert!(
        meet(server(&new), client(&old)).await.is_err() && meet(server(&old), client(&new)).await.is_err()
    );

    trust.replace(crate::TrustBundle::new([old.anchor(), new.anchor()]).unwrap());
    for (serving, dialing) in [(&old, &old), (&new, &old), (&old, &new), (&new, &new)] {
        meet(server(serving), client(dialing)).await.unwrap();
    }

    trust.replace(new.anchor());
    assert!(meet(server(&new), client(&new)).await.is_ok());
    assert!(
        meet(server(&new), client(&old)).await.is_err() && meet(server(&old), client(&new)).await.is_err()
    );
    assert!(crate::TrustBundle::new([]).is_err(), "nobody would be believed");
}

#[tokio::test]
async fn a_client_for_one_process_takes_no_other_name_and_no_other_key() {
    let federation = Federation::new();
    let key = crate::digest_secret(&federation.region.key().public_key_der());
    let met = async |who: &str, issuer: KeyDigest| {
        let (own, trust) = (federation.live("b.agent.eu-west"), federation.anchor().into());
        let client = client_tls_to(&own, trust, identity(who), issuer).unwrap();
        meet(federation.server("a.agent.eu-west", &[Role::Agent]), client).await
    };
    assert_eq!(met("a.agent.eu-west", key).await.unwrap(), Some(identity("b.agent.eu-west")));
    let refused = met("a.agent.eu-west", [7; 32]).await.unwrap_err();
    assert!(
        refused.contains("a.agent.eu-west.hanse.internal is refused here: expected a.agent"),
        "{refused}"
    );
    let refused = met("c.agent.eu-west", key).await.unwrap_err();
    assert!(refused.contains("expected c.agent.eu-west"), "{refused}");
    let refused = met("a.agent.us-east", key).await.unwrap_err();
    assert!(refused.contains("expected region us-east"), "{refused}");
}
