//! Certificates of a region's authority, stolen or made with a stolen key, at the ports where nodes sync.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use hanse_identity::{
    Authority, ClientTls, Credentials, Expect, LiveCredentials, TrustAnchor, client_tls, connect,
};
use hanse_proto::{
    nested,
    sync::{
        Heard, Introduction, PublisherMessage, Report, SubscriberMessage, WatchRevokedRequest,
        publisher_message, subscriber_message::Body, sync_client::SyncClient,
    },
};
use hanse_topology::{Identity, Name, Role};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tonic::{Status, Streaming, transport::Channel};

use super::{Arena, Attack, Strength, Using, count::Count, honest::change_arrives};
use crate::{World, process::until, spec};

/// As large as the report that went through once: more than fits into a message between control nodes, with others'.
const REPORT_BYTES: usize = 8_800_000;
/// A ghost, a twin or a stranger comes again after this.
const AGAIN: Duration = Duration::from_millis(250);
/// An answer comes at once, or is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// For a change to be served, and for reports to be gathered: a second or two, on a loaded machine more.
const SOON: Duration = Duration::from_secs(30);
/// A subscriber that another process superseded comes back after 30 to 35 s.
const BACK_WITHIN: Duration = Duration::from_secs(60);

const AGENT: &str = "agent-eu-west";
const GATEWAY: &str = "gateway-eu-west";

/// A ghost: an agent that never joined, certified by the authority of a region.
pub(super) const GHOST: Attack = Attack {
    name: "ghost-agent",
    about: "an agent that never joined reports 8.8 MB with a certificate of its region's authority",
    node: "cp-1",
    run: |arena, strength| Box::pin(ghosts(arena, strength)),
    beside: Some(both_regions_are_seen),
};

/// A twin: another process with a gateway's key.
pub(super) const TWIN: Attack = Attack {
    name: "twin-streams",
    about: "another process takes the place of a gateway's stream with its key, and leaves",
    node: AGENT,
    run: |arena, strength| Box::pin(twins(arena, strength)),
    beside: Some(the_gateway_comes_back),
};

/// A gateway at an agent of another region.
pub(super) const FOREIGN: Attack = Attack {
    name: "foreign-gateway",
    about: "a gateway of another region asks an agent for configuration, and who is revoked",
    node: AGENT,
    run: |arena, strength| Box::pin(strangers(arena, strength)),
    beside: None,
};

async fn ghosts(arena: Arena, strength: Strength) -> Result<()> {
    let authority = Authority::load(arena.data_dir(AGENT)?.join("pki").join("region"))?;
    let ghost = Identity::agent(Name::new("ghost")?, Name::new("eu-west")?);
    let tls = Arc::new(tls(&arena, authority.issue_credentials(&ghost, &[])?, Role::Server)?);
    let mut all = JoinSet::new();
    let (ghosts, visits) = (strength.scale.max(3), Count::default());
    for number in 0..ghosts {
        let address = arena.at(&format!("cp-{}", number % 3 + 1), spec::FEDERATION)?.to_string();
        let (tls, visits) = (tls.clone(), visits.clone());
        all.spawn(async move {
            loop {
                let heard = Heard { identity: "g".repeat(REPORT_BYTES), ..Default::default() };
                let report = Report { below: nested::in_a_row(&[heard]), ..Default::default() };
                if let Ok(stream) = subscribe(&address, &tls, 1, Some(report), &visits).await {
                    ensure!(!is_heard(stream).await, "{address} hears an agent that never joined");
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
    first_failure(all, strength).await?;
    visits.at_least(ghosts, "connections of a ghost were made")
}

/// A change is said to be served when both regions serve it, and both are seen from every control node.
fn both_regions_are_seen(world: &mut World) -> Using<'_> {
    Box::pin(async {
        change_arrives(world, "seen", SOON)?;
        for node in world.of_role(crate::Role::Server) {
            until(&format!("{node} sees both regions"), SOON, || async {
                let status = world.status_of(&node).await?;
                for region in ["eu-west", "us-east"] {
                    ensure!(gateway_of(&status, region)["connected"] == true, "{region}: {status}");
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
}

async fn twins(arena: Arena, strength: Strength) -> Result<()> {
    let credentials = Credentials::load(&arena.data_dir(GATEWAY)?.join("pki"))?;
    let tls = tls(&arena, credentials, Role::Agent)?;
    let address = arena.at(AGENT, spec::FEDERATION)?.to_string();
    // Its key is as good as the gateway's own: it is heard, and the gateway must be heard again when it has gone.
    for visit in 0..strength.scale {
        let boot = u8::try_from(visit + 1).unwrap_or(u8::MAX);
        let stream = subscribe(&address, &tls, boot, None, &Count::default())
            .await
            .context("the key was taken away")?;
        ensure!(is_heard(stream).await, "the agent does not hear a gateway's own key");
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}

/// The gateway is heard again, and waited for: a change is not said to be served before it serves it.
fn the_gateway_comes_back(world: &mut World) -> Using<'_> {
    Box::pin(async {
        let gateway = async |connected: bool| {
            let status = world.status()?;
            ensure!(gateway_of(&status, "eu-west")["connected"] == connected, "{status}");
            anyhow::Ok(())
        };
        until("the twin's visit shows", SOON, || gateway(false)).await?;
        until("the gateway is heard again", BACK_WITHIN, || gateway(true)).await?;
        // At scale 10 what was heard may be the last twin: the gateway is waited for all the same.
        change_arrives(world, "back", BACK_WITHIN)
    })
}

async fn strangers(arena: Arena, strength: Strength) -> Result<()> {
    let credentials = Credentials::load(&arena.data_dir("gateway-us-east")?.join("pki"))?;
    let tls = Arc::new(tls(&arena, credentials, Role::Agent)?);
    let address = arena.at(AGENT, spec::FEDERATION)?.to_string();
    let mut all = JoinSet::new();
    let (count, visits) = (strength.scale * 4, Count::default());
    for number in 0..count {
        let (address, tls, visits) = (address.clone(), tls.clone(), visits.clone());
        all.spawn(async move {
            loop {
                if number % 2 == 0 {
                    if let Ok(stream) = subscribe(&address, &tls, 1, None, &visits).await {
                        ensure!(!is_heard(stream).await, "an agent hears a gateway of another region");
                    }
                } else {
                    ensure!(
                        !is_told(&address, &tls, &visits).await,
                        "an agent tells another region who is revoked"
                    );
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
    first_failure(all, strength).await?;
    visits.at_least(count, "connections of a stranger were made")
}

/// Attacks until it is time to stop, or until one of the tasks fails.
async fn first_failure(mut all: JoinSet<Result<()>>, strength: Strength) -> Result<()> {
    tokio::select! {
        () = strength.over() => Ok(()),
        Some(ended) = all.join_next() => match ended {
            Ok(outcome) => outcome,
            Err(error) => bail!("{error}"),
        },
    }
}

fn tls(arena: &Arena, credentials: Credentials, server: Role) -> Result<ClientTls> {
    let root = TrustAnchor::from_pem(&std::fs::read_to_string(&arena.ca_file)?)?;
    let expect = Expect { roles: vec![server], region: None };
    Ok(client_tls(Some(&LiveCredentials::new(credentials)), &root, expect)?)
}

async fn client(address: &str, tls: &ClientTls) -> Result<SyncClient<Channel>> {
    Ok(SyncClient::new(timeout(ANSWER_WITHIN, connect(address, tls.clone())).await??))
}

/// A stream that introduces itself and reports; both wait in it until the other end reads them.
struct Stream {
    inbound: Streaming<PublisherMessage>,
    _outbound: mpsc::Sender<SubscriberMessage>,
}

async fn subscribe(
    address: &str,
    tls: &ClientTls,
    boot: u8,
    report: Option<Report>,
    visits: &Count,
) -> Result<Stream> {
    let (outbound, messages) = mpsc::channel(4);
    let introduction = Introduction { boot_id: vec![boot; 16].into(), ..Default::default() };
    let said = [Some(Body::Introduction(introduction)), report.map(Body::Report)];
    for body in said.into_iter().flatten() {
        outbound.send(SubscriberMessage { body: Some(body) }).await?;
    }
    let mut client = client(address, tls).await?;
    visits.one();
    let stream = tokio_stream::wrappers::ReceiverStream::new(messages);
    let inbound = timeout(ANSWER_WITHIN, client.subscribe(stream)).await??.into_inner();
    Ok(Stream { inbound, _outbound: outbound })
}

/// Whether the publisher welcomes the subscriber.
async fn is_heard(mut stream: Stream) -> bool {
    let first = timeout(ANSWER_WITHIN, stream.inbound.message()).await;
    let body = first.ok().and_then(Result::<_, Status>::ok).flatten().and_then(|message| message.body);
    matches!(body, Some(publisher_message::Body::Welcome(_)))
}

/// Whether the publisher tells the caller who is revoked.
async fn is_told(address: &str, tls: &ClientTls, visits: &Count) -> bool {
    let told = async {
        let mut client = client(address, tls).await?;
        visits.one();
        let mut lists = client.watch_revoked(WatchRevokedRequest {}).await?.into_inner();
        anyhow::Ok(lists.message().await?.is_some())
    };
    matches!(timeout(ANSWER_WITHIN, told).await, Ok(Ok(true)))
}

/// The only gateway of a region, as a status has it.
fn gateway_of<'a>(status: &'a Value, region: &str) -> &'a Value {
    let mut regions = status["regions"].as_array().into_iter().flatten();
    regions.find(|found| found["name"] == region).map_or(&Value::Null, |region| &region["gateways"][0])
}
