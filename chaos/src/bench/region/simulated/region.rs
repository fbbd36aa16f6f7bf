//! The agents, the links between them, and what happens next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hanse_proto::sync::{PublisherMessage, SubscriberMessage, subscriber_message};
use hanse_sync::{
    BootId, ContentRoot, Disbelief, Effect, Freshness, HeadSignature, Heads, Patience, Prepared,
    PublisherSession, Replica, ReplicaMap, ScopeAck, SubscriberSession, Wanted,
};
use hanse_topology::{Lineage, Position, ScopeId};
use prost::Message;

use crate::bench::region::{RELAYS, figures::content};

/// How long a message is under way: a network inside a region.
const HOP: Duration = Duration::from_millis(1);
/// How often a subscriber looks at what is due and acknowledges what it holds: real ones acknowledge at least every 900 ms.
const TICK: Duration = Duration::from_millis(900);
/// For everything that is waited for.
const WITHIN: Duration = Duration::from_secs(60);
/// What gRPC and HTTP/2 put before a message.
const FRAMING_BYTES: usize = 5 + 9;
/// The octets of the key and of the signature in the signature of a head (P-256).
const SIGNATURE_BYTES: [usize; 2] = [91, 72];

/// The region. Agents are numbered: first the relays, then the holders of the scopes, then the others.
pub(super) struct Region {
    now: Instant,
    scopes: Vec<ScopeId>,
    /// What each agent holds.
    agents: Vec<ReplicaMap>,
    links: Vec<Link>,
    /// The links that each agent serves.
    serves: Vec<Vec<usize>>,
    is_dead: Vec<bool>,
    queue: BTreeMap<(Instant, u64), Event>,
    /// Events so far: of those at one time the earlier one comes first.
    events: u64,
    /// Bytes that each agent sent and received over the links that it serves.
    pub(super) carried: Vec<u64>,
    change: u64,
    awaited: Option<Awaited>,
}

/// One agent follows another.
struct Link {
    subscriber: usize,
    publisher: usize,
    heads: Arc<Believes>,
    hub: ReplicaMap,
    down: SubscriberSession,
    up: PublisherSession,
    /// When the publisher looks at what is due; what it was to look at before is over.
    due: Option<Instant>,
    /// How often it was connected: what was under way before is lost.
    connected: u32,
}

/// What happens at a link, if it is still the same connection.
struct Event {
    link: usize,
    connected: u32,
    what: What,
}

enum What {
    Down(Bytes),
    Up(Bytes),
    Tick,
    Due,
}

/// A change on its way.
struct Awaited {
    scope: ScopeId,
    position: Position,
    lacking: usize,
}

/// Wants these scopes, and believes all heads: nothing is forged here.
#[derive(Debug)]
struct Believes(BTreeSet<ScopeId>);

impl Heads for Believes {
    fn wants(&self, scope: &ScopeId) -> bool {
        self.0.contains(scope)
    }

    fn is_holders(&self, _: &ScopeId, _: &Position, _: &HeadSignature) -> Result<(), String> {
        Ok(())
    }

    fn judge(&self, _: &ScopeId, _: &Position, _: &ContentRoot, _: &HeadSignature) -> Result<(), Disbelief> {
        Ok(())
    }
}

impl Region {
    /// Every agent follows every relay, and each relay every holder.
    pub(super) fn new(agents: usize, scopes: usize, now: Instant) -> Self {
        let scopes: Vec<ScopeId> = (0..scopes)
            .map(|number| format!("local/eu-west/production/pods-{number}").parse().expect("a scope"))
            .collect();
        let all = Arc::new(Believes(scopes.iter().cloned().collect()));
        let mut region = Self {
            now,
            agents: vec![ReplicaMap::new(); agents],
            links: Vec::new(),
            serves: vec![Vec::new(); agents],
            is_dead: vec![false; agents],
            queue: BTreeMap::new(),
            events: 0,
            carried: vec![0; agents],
            change: 0,
            awaited: None,
            scopes: scopes.clone(),
        };
        for subscriber in 0..agents {
            for relay in (0..RELAYS).filter(|relay| *relay != subscriber) {
                region.link(subscriber, relay, all.clone());
            }
        }
        for (number, scope) in scopes.into_iter().enumerate() {
            let heads = Arc::new(Believes([scope].into()));
            for relay in 0..RELAYS {
                region.link(relay, RELAYS + number, heads.clone());
            }
        }
        region.restart();
        region
    }

    fn link(&mut self, subscriber: usize, publisher: usize, heads: Arc<Believes>) {
        let (down, _) = session(self.now, heads.clone());
        self.serves[publisher].push(self.links.len());
        self.links.push(Link {
            subscriber,
            publisher,
            heads,
            hub: ReplicaMap::new(),
            down,
            up: PublisherSession::new(String::new()),
            due: None,
            connected: 0,
        });
    }

    /// Every agent starts again with what it holds, also those that were dead.
    pub(super) fn restart(&mut self) {
        self.queue.clear();
        self.is_dead.fill(false);
        for link in 0..self.links.len() {
            self.connect(link);
        }
    }

    /// An agent is gone, and its links with it.
    pub(super) fn kill(&mut self, agent: usize) {
        self.is_dead[agent] = true;
        for link in &mut self.links {
            link.connected += u32::from(link.subscriber == agent || link.publisher == agent);
        }
    }

    /// How many links an agent has: those that it serves, and those by which it follows.
    pub(super) fn links_of(&self, agent: usize) -> usize {
        self.serves[agent].len() + self.links.iter().filter(|link| link.subscriber == agent).count()
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) -> Result<()> {
        let until = self.now + time;
        while self.step(until)? {}
        self.now = until;
        Ok(())
    }

    /// Lets time pass until every link is welcomed; how long that takes.
    pub(super) fn until_linked(&mut self) -> Result<Duration> {
        self.until("all are linked", |region| region.links.iter().all(|link| link.down.publisher().is_some()))
    }

    /// The holder of a scope publishes a change; how long it takes until every agent has it.
    pub(super) fn change(&mut self, scope: usize) -> Result<Duration> {
        self.change += 1;
        let (holder, scope) = (RELAYS + scope, self.scopes[scope].clone());
        let lineage = Lineage { generation: 1, id: [1; 16], parent: None };
        let held = self.agents[holder].get(&scope).and_then(Replica::position).copied();
        let position = Position { lineage, revision: held.map_or(1, |held| held.revision + 1) };
        let alive = self.is_dead.iter().filter(|is_dead| !**is_dead).count();
        self.awaited = Some(Awaited { scope: scope.clone(), position, lacking: alive });
        let replica = self.agents[holder].entry(scope.clone()).or_default();
        let mut content = content(self.change);
        let prepared = match held {
            None => replica.prepare_snapshot(position, content)?,
            Some(_) => replica.prepare_delta(position, vec![content.swap_remove(0)], Vec::new())?,
        };
        self.commit(holder, &scope, signed(prepared))?;
        self.until("all have a change", |region| {
            region.awaited.as_ref().is_some_and(|awaited| awaited.lacking == 0)
        })
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<Duration> {
        let (began, deadline) = (self.now, self.now + WITHIN);
        while !holds(self) {
            ensure!(self.step(deadline)?, "{what}: not within {WITHIN:?}");
        }
        Ok(self.now - began)
    }

    /// The next event, if there is one until then.
    fn step(&mut self, until: Instant) -> Result<bool> {
        let Some(next) = self.queue.first_entry().filter(|next| next.key().0 <= until) else {
            return Ok(false);
        };
        let ((at, _), Event { link, connected, what }) = next.remove_entry();
        self.now = at;
        if self.links[link].connected != connected {
            return Ok(true);
        }
        match what {
            What::Down(message) => {
                let Link { hub, down, .. } = &mut self.links[link];
                let effects = down.handle(PublisherMessage::decode(message)?, hub, at);
                self.perform(link, effects)?;
            }
            What::Up(message) => {
                self.links[link].up.handle(SubscriberMessage::decode(message)?)?;
                self.publish(link);
            }
            What::Tick => self.tick(link)?,
            What::Due => {
                if self.links[link].due == Some(at) {
                    self.publish(link);
                }
            }
        }
        Ok(true)
    }

    fn push(&mut self, at: Instant, link: usize, what: What) {
        self.events += 1;
        let event = Event { link, connected: self.links[link].connected, what };
        self.queue.insert((at, self.events), event);
    }

    /// A new connection. The hub begins with what the subscriber holds, so that nothing is sent that it has.
    fn connect(&mut self, link: usize) {
        let one = &mut self.links[link];
        let (down, effects) = session(self.now, one.heads.clone());
        let held = &self.agents[one.subscriber];
        let wanted = held.iter().filter(|(scope, _)| one.heads.wants(scope));
        one.hub = wanted.map(|(scope, replica)| (scope.clone(), replica.clone())).collect();
        one.up = PublisherSession::new(format!("agent-{}", one.publisher));
        one.up.admit(self.agents[one.publisher].keys().cloned(), None);
        (one.down, one.due, one.connected) = (down, None, one.connected + 1);
        for effect in effects {
            if let Effect::Send(message) = effect {
                self.send(link, &message);
            }
        }
        // Not all at the same moment.
        let spread = TICK.mul_f64(link as f64 / self.links.len() as f64);
        self.push(self.now + spread, link, What::Tick);
    }

    fn tick(&mut self, link: usize) -> Result<()> {
        let Link { hub, down, .. } = &mut self.links[link];
        let effects = down.tick(hub, self.now);
        let acks: Vec<_> = down
            .scopes()
            .filter_map(|scope| Some((scope, *hub.get(scope)?.position()?)))
            .map(|(scope, at)| {
                let ack = ScopeAck { effective: Some(at), durable: Some(at), ..ScopeAck::default() };
                SubscriberMessage { body: Some(subscriber_message::Body::Ack(ack.to_message(scope))) }
            })
            .collect();
        self.perform(link, effects)?;
        acks.iter().for_each(|ack| self.send(link, ack));
        self.push(self.now + TICK, link, What::Tick);
        Ok(())
    }

    fn perform(&mut self, link: usize, effects: Vec<Effect>) -> Result<()> {
        for effect in effects {
            match effect {
                Effect::Send(message) => self.send(link, &message),
                Effect::Advance { scope, change } | Effect::Replace { scope, change, .. } => {
                    let one = &mut self.links[link];
                    one.hub.entry(scope.clone()).or_default().commit(change)?;
                    let subscriber = one.subscriber;
                    if let Some(brought) = brought(&one.hub[&scope], self.agents[subscriber].get(&scope)) {
                        self.commit(subscriber, &scope, brought)?;
                    }
                }
                Effect::Places { .. } => {} // no agent of a region tells another
                Effect::Withdraw { scope } => drop(self.links[link].hub.remove(&scope)),
                Effect::Refused { .. } | Effect::AskedAgain { .. } => {}
                Effect::Alarm { .. } | Effect::Superseded | Effect::Disconnect { .. } => {
                    bail!("a simulated link fails: {effect:?}")
                }
            }
        }
        Ok(())
    }

    /// An agent moves, and everything that follows it hears of that.
    fn commit(&mut self, agent: usize, scope: &ScopeId, change: Prepared) -> Result<()> {
        let is_new = self.agents[agent].get(scope).is_none_or(|held| held.position().is_none());
        let replica = self.agents[agent].entry(scope.clone()).or_default();
        replica.commit(change)?;
        let position = *replica.position().context("it was put in force")?;
        if let Some(awaited) = &mut self.awaited
            && awaited.scope == *scope
            && awaited.position.is(&position)
        {
            awaited.lacking -= 1; // a replica moves at most once to a position
        }
        for link in self.serves[agent].clone() {
            if is_new {
                self.links[link].up.admit(self.agents[agent].keys().cloned(), None);
            }
            self.publish(link);
        }
        Ok(())
    }

    /// Sends what a publisher has to say, and notes when it looks again.
    fn publish(&mut self, link: usize) {
        let Link { publisher, subscriber, .. } = self.links[link];
        if self.is_dead[publisher] || self.is_dead[subscriber] {
            return;
        }
        let fresh = Freshness { confirmed_at: self.now, quorum: true };
        loop {
            let messages = self.links[link].up.next(&self.agents[publisher], fresh, self.now);
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let message = Bytes::from(message.encode_to_vec());
                self.carried[publisher] += (message.len() + FRAMING_BYTES) as u64;
                self.push(self.now + HOP, link, What::Down(message));
            }
        }
        let due = self.links[link].up.next_due().map(|due| due.max(self.now + HOP));
        if due != self.links[link].due {
            self.links[link].due = due;
            due.into_iter().for_each(|due| self.push(due, link, What::Due));
        }
    }

    fn send(&mut self, link: usize, message: &SubscriberMessage) {
        let message = Bytes::from(message.encode_to_vec());
        self.carried[self.links[link].publisher] += (message.len() + FRAMING_BYTES) as u64;
        self.push(self.now + HOP, link, What::Up(message));
    }
}

fn session(now: Instant, heads: Arc<Believes>) -> (SubscriberSession, Vec<Effect>) {
    let (session, effects) =
        SubscriberSession::start(Wanted::Local, "bench", BootId::new([1; 16]), Patience::default(), now);
    (session.judging(heads), effects)
}

/// As a holder signs it, in size.
fn signed(prepared: Prepared) -> Prepared {
    let [spki, signature] = SIGNATURE_BYTES.map(|bytes| vec![7; bytes].into());
    prepared.signed(HeadSignature { spki, signature })
}

/// What leads from what an agent holds to what a link brought, if that is more.
fn brought(link: &Replica, own: Option<&Replica>) -> Option<Prepared> {
    let (to, signature) = (*link.position()?, link.signature()?.clone());
    let none = Replica::new();
    let own = own.unwrap_or(&none);
    let prepared = match own.position() {
        None => own.prepare_snapshot(to, link.content()).ok()?,
        Some(at) if !to.may_follow(at) || to.is(at) => return None,
        Some(at) => {
            let changes = link.changes_since(at.revision)?;
            own.prepare_delta(to, changes.upserts, changes.removals).ok()?
        }
    };
    Some(prepared.signed(signature))
}
