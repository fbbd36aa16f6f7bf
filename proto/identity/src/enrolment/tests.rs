use std::sync::Arc;

use hanse_process::ShutdownTrigger;
use hanse_proto::enrolment::{
    RenewRequest, RenewResponse,
    enrolment_server::{Enrolment, EnrolmentServer},
};
use tokio::task::JoinHandle;
use tonic::{Request, Response, service::Routes, transport::Channel};

use super::*;
use crate::{
    Alpn, Clients, Peer, server_tls,
    testbed::{Federation, TlsListener, listen, name, soon},
};

type Answer = dyn Fn(&EnrolRequest, &Peer) -> Result<EnrolResponse, Status> + Send + Sync;
type Renewal = dyn Fn(&Peer) -> Result<Chain, Status> + Send + Sync;

/// An enrolment service that answers as a test wishes.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Answer>, Arc<Renewal>);

impl Desk {
    fn new(
        answer: impl Fn(&EnrolRequest, &Peer) -> Result<EnrolResponse, Status> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(answer), Arc::new(|_| Err(Status::unimplemented("no renewal here"))))
    }

    /// Renews as a test wishes.
    pub(crate) fn renewing(renew: impl Fn(&Peer) -> Result<Chain, Status> + Send + Sync + 'static) -> Self {
        Self(Self::echo().0, Arc::new(renew))
    }

    /// Answers with the caller's identity.
    pub(crate) fn echo() -> Self {
        Self::new(|_, peer| {
            let role = peer.identity.as_ref().map(ToString::to_string).unwrap_or_default();
            Ok(EnrolResponse { role, ..EnrolResponse::default() })
        })
    }
}

#[tonic::async_trait]
impl Enrolment for Desk {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let peer = request.extensions().get::<Peer>().cloned().expect("every connection has a peer");
        (self.0)(request.get_ref(), &peer).map(Response::new)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let peer = request.extensions().get::<Peer>().cloned().expect("every connection has a peer");
        let chain = (self.1)(&peer)?.into_iter().map(|der| der.to_vec().into()).collect();
        Ok(Response::new(RenewResponse { chain }))
    }
}

pub(crate) struct Serving {
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Serving {
    pub(crate) async fn stop(self) {
        self.trigger.trigger();
        soon(self.task).await.unwrap();
    }
}

pub(crate) fn serve(listener: TlsListener, desk: Desk) -> Serving {
    let (trigger, shutdown) = ShutdownTrigger::new();
    let routes = Routes::new(EnrolmentServer::new(desk));
    let task = tokio::spawn(listener.serving().serve_grpc(routes, shutdown));
    Serving { trigger, task }
}

pub(crate) async fn ask_desk(channel: Channel) -> Result<EnrolResponse, Status> {
    EnrolmentClient::new(channel).enrol(EnrolRequest::default()).await.map(Response::into_inner)
}

/// A desk of the federation, where anyone may come; its address.
async fn open(federation: &Federation, who: &str, desk: Desk) -> (Serving, String) {
    let tls = server_tls(&federation.live(who), Clients::Anyone, Alpn::Http2).unwrap();
    let (listener, address) = listen(tls).await;
    (serve(listener, desk), address.to_string())
}

fn answer(chain: Chain, role: &str, region: &str) -> EnrolResponse {
    EnrolResponse {
        chain: chain.into_iter().map(|der| der.to_vec().into()).collect(),
        role: role.to_owned(),
        region: region.to_owned(),
        ..EnrolResponse::default()
    }
}

async fn join(addresses: &[String], token: &JoinToken, key: &KeyPair) -> Result<EnrolResponse, EnrolError> {
    join_as(Role::Agent, addresses, token, key).await
}

async fn join_as(
    joining: Role,
    addresses: &[String],
    token: &JoinToken,
    key: &KeyPair,
) -> Result<EnrolResponse, EnrolError> {
    soon(enrol(addresses, token, joining, &name("new-1"), key, None, &WallClock::system())).await
}

fn token_of(federation: &Federation) -> JoinToken {
    JoinToken::generate(name("t-1"), &federation.anchor())
}

#[tokio::test]
async fn every_role_joins() {
    let federation = Arc::new(Federation::new());
    let token = token_of(&federation);
    let digest = token.secret_digest();
    for role in Role::ALL {
        let issuer = federation.clone();
        let desk = Desk::new(move |request, peer| {
            assert_eq!(peer.identity, None);
            assert_eq!((request.token_id.as_str(), crate::digest_secret(&request.secret)), ("t-1", digest));
            let (spki, new) = (&request.public_key, Name::new(&request.name).unwrap());
            let region = name("eu-west");
            let chain = match role {
                Role::Server => issuer.root.issue_control_intermediate(spki, &new),
                Role::Agent => issuer.control.issue_regional_intermediate(spki, &region),
                Role::Gateway | Role::Dns => {
                    let identity = Identity { name: new, role, region: Some(region) };
                    issuer.region.issue_leaf(spki, &identity, &[])
                }
            };
            Ok(answer(chain.unwrap(), role.as_str(), if role == Role::Server { "" } else { "eu-west" }))
        });
        let by_agent = role.admitted_by() == Role::Agent;
        let who = if by_agent { "a.agent.eu-west" } else { "cp-1.server.control" };
        let (_serving, address) = open(&federation, who, desk).await;
        let key = KeyPair::generate().unwrap();
        let response = join_as(role, &[address], &token, &key).await.unwrap();
        assert_eq!(TrustAnchor::of_chain(&chain_of(&response)).unwrap(), federation.anchor());
    }
}

#[tokio::test]
async fn a_server_of_another_root_is_not_told_the_secret() {
    let (ours, theirs) = (Federation::new(), Federation::new());
    let desk = Desk::new(|_, _| panic!("the secret was sent to a stranger"));
    let (_serving, address) = open(&theirs, "cp-1.server.control", desk).await;
    let error = join(&[address], &token_of(&ours), &KeyPair::generate().unwrap()).await.unwrap_err();
    assert!(matches!(error, EnrolError::OtherRoot { .. }));
    let pin = hex::encode(ours.anchor().spki_sha256());
    assert!(error.to_string().contains(&format!("root that the join token pins (SHA-256 {pin})")), "{error}");
}

#[tokio::test]
async fn an_address_of_another_federation_is_passed_over_where_another_admits() {
    let (ours, theirs) = (Federation::new(), Federation::new());
    let (_stranger, stranger) = open(&theirs, "cp-1.server.control", Desk::echo()).await;
    let refusing = Desk::new(|_, _| Err(Status::permission_denied("this token was used already")));
    let (_own, own) = open(&ours, "cp-1.server.control", refusing).await;
    let error = join(&[stranger, own], &token_of(&ours), &KeyPair::generate().unwrap()).await.unwrap_err();
    assert!(matches!(error, EnrolError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn showing_our_root_under_a_strangers_chain_gains_nothing() {
    let (ours, theirs) = (Federation::new(), Federation::new());
    let leaf = theirs.credentials("cp-1.server.control");
    let mut chain = leaf.chain().clone();
    chain.push(ours.anchor().certificate().clone());
    let impostor = crate::LiveCredentials::new(Credentials::new(chain, leaf.key().clone()).unwrap());
    let tls = server_tls(&impostor, Clients::Anyone, Alpn::Http2).unwrap();
    let (listener, address) = listen(tls).await;
    let _serving = serve(listener, Desk::new(|_, _| panic!("the secret was sent to a stranger")));
    let error =
        join(&[address.to_string()], &token_of(&ours), &KeyPair::generate().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn who_does_not_admit_us_is_not_told_the_secret() {
    let federation = Federation::new();
    for (joining, who) in [
        (Role::Agent, "g.gateway.eu-west"),
        (Role::Gateway, "g.gateway.eu-west"),
        // An agent that got hold of a control node's token could join the control plane with it.
        (Role::Server, "a.agent.eu-west"),
        (Role::Gateway, "cp-1.server.control"),
        (Role::Dns, "cp-1.server.control"),
    ] {
        let desk = Desk::new(|_, _| panic!("the secret was sent to one it is not meant for"));
        let (_serving, address) = open(&federation, who, desk).await;
        let (token, key) = (token_of(&federation), KeyPair::generate().unwrap());
        let error = join_as(joining, &[address], &token, &key).await.unwrap_err();
        assert!(error.to_string().contains("expected role"), "{error}");
    }
}

#[tokio::test]
async fn what_the_token_makes_us_is_what_we_asked_to_be() {
    let federation = Federation::new();
    let key = KeyPair::generate().unwrap();
    let chain =
        federation.control.issue_regional_intermediate(&key.public_key_der(), &name("eu-west")).unwrap();
    let response = answer(chain, "agent", "eu-west");
    let desk = Desk::new(move |_, _| Ok(response.clone()));
    let (_serving, address) = open(&federation, "cp-1.server.control", desk).await;
    let error = join_as(Role::Server, &[address], &token_of(&federation), &key).await.unwrap_err();
    assert!(telemetry::causes(&error).to_string().contains("for agent, not for server"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_final_and_an_absence_is_not() {
    let federation = Federation::new();
    let token = token_of(&federation);
    let key = KeyPair::generate().unwrap();
    let refusing = Desk::new(|_, _| Err(Status::permission_denied("this token was used already")));
    let (_first, refusing) = open(&federation, "cp-1.server.control", refusing).await;
    let (_second, undecided) =
        open(&federation, "cp-2.server.control", Desk::new(|_, _| Err(Status::unavailable("no quorum"))))
            .await;
    let (gone, absent) = open(&federation, "cp-3.server.control", Desk::echo()).await;
    gone.stop().await;

    let error = join(&[absent.clone(), undecided.clone(), refusing.clone()], &token, &key).await.unwrap_err();
    let EnrolError::Refused { address, code, message } = &error else { panic!("{error}") };
    assert_eq!(
        (address, *code, message.as_str()),
        (&refusing, Code::PermissionDenied, "this token was used already")
    );

    let error = join(&[absent.clone(), undecided.clone()], &token, &key).await.unwrap_err().to_string();
    assert!(error.contains(&absent) && error.contains(&format!("{undecided}: no quorum")), "{error}");
    assert!(matches!(join(&[], &token, &key).await, Err(EnrolError::NoAddress)));
}

#[tokio::test]
async fn unusable_answers_are_refused() {
    let federation = Federation::new();
    let other = Federation::new();
    let key = KeyPair::generate().unwrap();
    let spki = key.public_key_der();
    let leaf = |federation: &Federation, spki: &[u8], who: &str| {
        let who = Identity::gateway(name(who), name("eu-west"));
        federation.region.issue_leaf(spki, &who, &[]).unwrap()
    };
    let mut rootless = leaf(&federation, &spki, "new-1");
    rootless.pop();
    let regional = federation.control.issue_regional_intermediate(&spki, &name("eu-west")).unwrap();
    for (response, expected) in [
        (EnrolResponse::default(), "the chain is empty"),
        (answer(rootless, "gateway", "eu-west"), "must be a root's certificate"),
        (answer(leaf(&other, &spki, "new-1"), "gateway", "eu-west"), "root that the join token pins"),
        (
            answer(
                leaf(&federation, &KeyPair::generate().unwrap().public_key_der(), "new-1"),
                "gateway",
                "eu-west",
            ),
            "key",
        ),
        (answer(leaf(&federation, &spki, "new-2"), "gateway", "eu-west"), "new-2"),
        (answer(leaf(&federation, &spki, "new-1"), "gateway", "us-east"), "instead of new-1.gateway.us-east"),
        (answer(leaf(&federation, &spki, "new-1"), "agent", "eu-west"), "not an authority's"),
        (answer(leaf(&federation, &spki, "new-1"), "king", "eu-west"), "king"),
        (answer(regional.clone(), "agent", ""), "names no region"),
        (answer(regional, "agent", "us-east"), "its region is eu-west"),
    ] {
        let joining = response.role.parse().unwrap_or(Role::Gateway);
        let who = if joining == Role::Gateway { "a.agent.eu-west" } else { "cp-1.server.control" };
        let (_serving, address) = open(&federation, who, Desk::new(move |_, _| Ok(response.clone()))).await;
        let error = join_as(joining, &[address], &token_of(&federation), &key).await.unwrap_err();
        assert!(matches!(error, EnrolError::Answer { .. }), "{error}");
        let text = telemetry::causes(&error).to_string();
        assert!(text.contains(expected), "expected {expected:?}: {text}");
    }
}
