//! Tells the secondaries of zones that there is a new serial (RFC 1996). A secondary that hears none of it asks by itself within minutes.
//!
//! Level, not edge: what each secondary is told is the serial in force. A newer one ends the attempts with the older.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hanse_dns_wire::{Record, ResponseCode, Transport, ask, notify, tsig::Key};
use hanse_process::{BoundedLog, Shutdown};
use hanse_runtime::DomainName;
use tokio::{
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
};
use tracing::{debug, warn};

use crate::{
    keeper::KeeperHandle,
    keys::Keys,
    metrics::DnsMetrics,
    worker::unix_now,
    zones::{ServedZone, Zones},
};

/// How often and how long a secondary is asked to take note.
const PATIENCE: Patience = Patience {
    // A datagram may be lost: within this time it is sent again each second.
    deadline: Duration::from_secs(3),
    // A secondary that restarts is back within the sum of them. Beyond that it asks by itself: its zone may be old.
    pauses: &[
        Duration::from_secs(2),
        Duration::from_secs(4),
        Duration::from_secs(8),
        Duration::from_secs(16),
    ],
};
/// Secondaries that are waited for at a time: each costs a socket and 64 KB. A responder has 64 zones with 16 secondaries at most.
const MOST_AT_ONCE: usize = 128;

/// How long one attempt lasts, and the pauses between attempts.
#[derive(Debug, Clone, Copy)]
struct Patience {
    deadline: Duration,
    pauses: &'static [Duration],
}

/// The task.
pub(crate) struct Notifier {
    kept: KeeperHandle,
    keys: Arc<Keys>,
    metrics: Arc<DnsMetrics>,
    told: Told,
    tasks: JoinSet<()>,
    turns: Arc<Semaphore>,
    failures: Arc<BoundedLog>,
}

/// Who was told of which serial, or is being told.
type Told = HashMap<(DomainName, SocketAddr), (u32, Option<AbortHandle>)>;

/// What a secondary is to be told.
#[derive(Debug, Clone)]
struct Notice {
    secondary: SocketAddr,
    origin: DomainName,
    serial: u32,
    soa: Record,
    key: Key,
}

impl Notifier {
    pub(crate) fn new(kept: KeeperHandle, keys: Arc<Keys>, metrics: Arc<DnsMetrics>) -> Self {
        Self {
            kept,
            keys,
            metrics,
            told: Told::new(),
            tasks: JoinSet::new(),
            turns: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            failures: Arc::default(),
        }
    }

    /// Tells secondaries until the shutdown. After a start each of them is told once: what it was told before is not known.
    pub(crate) async fn run(&mut self, shutdown: Shutdown) {
        let mut in_use = self.kept.effective.clone();
        in_use.mark_changed();
        loop {
            tokio::select! {
                () = shutdown.wait() => return self.tasks.abort_all(),
                Some(_ended) = self.tasks.join_next() => {}
                changed = in_use.changed() => match changed {
                    Ok(()) => self.step(),
                    Err(_keeper_ended) => return,
                },
            }
        }
    }

    fn step(&mut self) {
        let zones = self.kept.zones.load_full();
        for notice in due(&mut self.told, zones.as_deref(), &self.keys) {
            let (origin, secondary, serial) = (notice.origin.clone(), notice.secondary, notice.serial);
            let (turns, failures) = (self.turns.clone(), self.failures.clone());
            let metrics = self.metrics.clone();
            let task = self.tasks.spawn(async move {
                let told = tell(&notice, PATIENCE, &turns).await;
                let counter = if told.is_ok() { &metrics.notified } else { &metrics.unnotified };
                counter.fetch_add(1, Ordering::Relaxed);
                let Notice { secondary, origin, serial, .. } = notice;
                match told {
                    Ok(()) => debug!(%origin, %secondary, serial, "the secondary has noted the serial"),
                    Err(why) => {
                        if let Some(left_out) = failures.allows() {
                            warn!(
                                %origin, %secondary, serial, why, left_out,
                                "the secondary does not take note of the serial; it asks for it by itself"
                            );
                        }
                    }
                }
            });
            self.told.insert((origin, secondary), (serial, Some(task)));
        }
    }
}

/// Who has to be told of another serial than before. Attempts with older ones, and those of secondaries that are gone, end. A secondary whose
/// key is missing is not told: it would not believe it.
fn due(told: &mut Told, zones: Option<&Zones>, keys: &Keys) -> Vec<Notice> {
    let in_force = zones.into_iter().flat_map(Zones::iter).flat_map(|served| notices(served, keys));
    let in_force: HashMap<_, _> =
        in_force.map(|notice| ((notice.origin.clone(), notice.secondary), notice)).collect();
    told.retain(|to, (serial, task)| {
        let stays = in_force.get(to).is_some_and(|notice| notice.serial == *serial);
        if let Some(task) = task.take_if(|_| !stays) {
            task.abort();
        }
        stays
    });
    in_force.into_iter().filter(|(to, _)| !told.contains_key(to)).map(|(_, notice)| notice).collect()
}

fn notices(served: &ServedZone, keys: &Keys) -> impl Iterator<Item = Notice> {
    let zone = &served.zone;
    zone.secondaries.iter().filter_map(move |secondary| {
        Some(Notice {
            secondary: secondary.address,
            origin: zone.origin.clone(),
            serial: zone.serial,
            soa: served.soa().clone(),
            key: keys.of_zone(&secondary.key)?.clone(),
        })
    })
}

/// Tells one secondary, until it says that it has taken note. The error is that of the last attempt.
async fn tell(notice: &Notice, patience: Patience, turns: &Semaphore) -> Result<(), String> {
    let mut pauses = patience.pauses.iter();
    loop {
        let why = {
            let _turn = turns.acquire().await.expect("nobody closes it");
            let request = notify(&notice.soa, Some(&notice.key), unix_now());
            match ask(notice.secondary, &request, Transport::Udp, patience.deadline).await {
                Ok(answered) if answered.reply.code == ResponseCode::NoError => return Ok(()),
                Ok(answered) => format!("it answers {:?}", answered.reply.code),
                Err(error) => match std::error::Error::source(&error) {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                },
            }
        };
        match pauses.next() {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return Err(why),
        }
    }
}
