//! Requests that are small on the wire and large in memory.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::{task::JoinSet, time::Instant};

use super::{Arena, Attack, Strength, Using, count::Count};
use crate::{Client, World, http::never_sent, spec};

/// Clients that post at once, at CI's size.
const CLIENTS: usize = 5;
/// The largest body there is.
const BODY: usize = 16 << 20;
/// Between an answer and the next post of a client.
const PAUSE: Duration = Duration::from_millis(200);
/// A status may take so long meanwhile; it took 5 s.
const STATUS_WITHIN: Duration = Duration::from_secs(1);
/// How often it is asked for.
const STATUSES: usize = 10;

/// Bodies of nothing but nodes.
pub(super) const NODES: Attack = Attack {
    name: "body-nodes",
    about: "five bodies of 16 MiB at once, each of millions of small objects",
    node: "cp-1",
    run: |arena, strength| Box::pin(post(arena, strength)),
    beside: Some(status),
};

/// A text of almost 16 MiB: `item` again and again between `begin` and `end`.
fn repeated(begin: &str, item: &str, end: &str) -> Bytes {
    let times = (BODY - begin.len() - end.len()) / item.len();
    format!("{begin}{}{end}", item.repeat(times)).into()
}

/// Bodies with their media types.
fn bodies() -> Vec<(&'static str, Bytes)> {
    let spec = r#"{"kind":"Region","name":"swollen","spec":["#;
    let items = r#"{"items":["#;
    vec![
        ("application/json", repeated("[", r#"{"a":0},"#, "0]")),
        ("application/json", repeated(spec, r#"{"a":0},"#, "0]}")),
        ("application/json", repeated(items, r#"{"kind":"Region","name":"a"},"#, "0]}")),
        ("application/json", repeated(spec, r#"[[]],"#, "0]}")),
        ("application/yaml", repeated(spec, r#"{"a":0},"#, "0]}")),
    ]
}

async fn post(arena: Arena, strength: Strength) -> Result<()> {
    let url = format!("https://{}/v1/apply", arena.at("cp-1", spec::API)?);
    let token = format!("Bearer {}", arena.token);
    let bodies = bodies();
    let sent = Count::default();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS * strength.scale {
        let (url, token, sent) = (url.clone(), token.clone(), sent.clone());
        let (media_type, body) = bodies[number % bodies.len()].clone();
        let client = Client::new(Some(&arena.ca_file))?;
        clients.spawn(async move {
            loop {
                let headers = [("authorization", token.as_str()), ("content-type", media_type)];
                // A connection that is closed on it, or an answer that does not come, is the attacker's lot.
                match client.call("POST", &url, &headers, body.clone()).await {
                    Ok(answer) => {
                        sent.one();
                        let text = String::from_utf8_lossy(&answer.body);
                        ensure!(answer.status.as_u16() >= 400, "it was taken: {text}");
                    }
                    Err(error) if never_sent(&error) => {}
                    Err(_) => sent.one(),
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    let failed = async {
        match clients.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    };
    tokio::select! {
        () = strength.over() => sent.at_least(CLIENTS, "bodies were sent"),
        failed = failed => failed,
    }
}

/// The federation's status answers meanwhile.
fn status(world: &mut World) -> Using<'_> {
    Box::pin(async move {
        for _ in 0..STATUSES {
            let began = Instant::now();
            world.status_of("cp-1").await?;
            let took = began.elapsed();
            ensure!(took < STATUS_WITHIN, "the status took {took:?}");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    })
}
