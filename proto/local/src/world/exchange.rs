//! What happens on streams: who connects, what is offered, and what subscribers do.

use hanse_proto::sync::{publisher_message::Body, subscriber_message};
use hanse_sync::{Alarm, Effect, HeldHead, Received, Wanted};

use super::{
    check::check_node,
    control::Offer,
    forging::lie,
    node::*,
    region::Region,
    stream::{Pair, Stream},
    *,
};

/// How long a subscriber waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

impl Region {
    /// Connects those that are not, as far as they reach each other.
    pub(super) fn connect(&mut self) {
        for node in 0..NODES {
            let Some(process) = &self.nodes[node].process else { continue };
            let publishers: Vec<usize> = match node.checked_sub(AGENTS) {
                Some(gateway) => vec![AGENT_OF[gateway]],
                None => process.links.keys().copied().chain([CONTROL]).collect(),
            };
            for publisher in publishers {
                let pair = (node, publisher);
                let is_due = self.retry.get(&pair).is_none_or(|at| *at <= self.now);
                if is_due && !self.cut.contains(&pair) && !self.streams.contains_key(&pair) {
                    self.retry.insert(pair, self.now + RETRY);
                    self.open(pair);
                }
            }
        }
    }

    fn open(&mut self, pair @ (node, publisher): Pair) {
        let Some(process) = &self.nodes[node].process else { return };
        let runs = publisher == CONTROL || self.nodes[publisher].process.is_some();
        let (wanted, heads, hub): (_, Arc<dyn Heads>, _) = match process.links.get(&publisher) {
            // A link goes to one agent, known by its key.
            Some(link) if link.target.key != self.nodes[publisher].key() => return,
            Some(NeighbourLink { merge, .. }) => (Wanted::Local, merge.heads.clone(), merge.link.clone()),
            None => (Wanted::All, Arc::new(process.origins.clone()), process.hub.clone()),
        };
        if !runs || self.offer(pair).is_none() {
            return;
        }
        let delay = Duration::from_millis(self.random.one_of(&[0, 10, 80, 300]));
        let (mut stream, effects) = Stream::open(wanted, heads, hub, delay, self.now);
        for effect in effects {
            if let Effect::Send(message) = effect {
                stream.say(message, self.now);
            }
        }
        self.streams.insert(pair, stream);
    }

    /// What a publisher offers a subscriber; `None`: it does not know it.
    fn offer(&self, (subscriber, publisher): Pair) -> Option<Offer> {
        if publisher == CONTROL {
            return Some(self.control.offer());
        }
        let process = self.nodes[publisher].process.as_ref()?;
        let held = process.origins.held().borrow().clone();
        let subscriber = &self.nodes[subscriber];
        if subscriber.is_agent() {
            let known = process.directory.get(&subscriber.name())?;
            return (known.key == subscriber.key()).then_some((held, None));
        }
        let (offered, as_of) = &process.offer;
        let is_for_gateways = |scope: &&ScopeId| **scope != control::agents_scope();
        Some((offered.iter().filter(is_for_gateways).cloned().chain(held).collect(), *as_of))
    }

    /// A stream goes on as far as it can now.
    pub(super) fn exchange(&mut self, pair: Pair) -> Result<(), String> {
        let Some(mut stream) = self.streams.remove(&pair) else { return Ok(()) };
        let goes_on = self.exchange_on(pair, &mut stream);
        let (subscriber, publisher) = pair;
        match goes_on.map_err(|why| format!("the stream of {subscriber} from {publisher}: {why}"))? {
            true => drop(self.streams.insert(pair, stream)),
            false => drop(self.retry.insert(pair, self.now + RETRY)),
        }
        Ok(())
    }

    fn exchange_on(&mut self, pair: Pair, stream: &mut Stream) -> Result<bool, String> {
        let now = self.now;
        while let Some(message) = stream.next_up(now) {
            let received = stream.publishing.handle(message).map_err(|error| error.to_string())?;
            let is_honest = !self.nodes[pair.0].lies;
            if let Received::Subscribed { scope, position, head, met } = received
                && let Some(publisher) = self.nodes.get_mut(pair.1)
                && let Some(process) = &mut publisher.process
            {
                // A bug: what a subscriber says that another node showed it is not heard.
                let met = met.filter(|_| !seeded("hear-no-met"));
                let is_greater = |met: &HeldHead| position.is_none_or(|at| !at.may_follow(&met.position));
                self.seen.told += u32::from(is_honest && met.as_ref().is_some_and(is_greater));
                for head in head.iter().chain(&met) {
                    process.handle.meet(&scope, head);
                    process.holder_is_woken = true;
                }
            }
            stream.wake();
        }
        let Some(offer) = self.offer(pair) else { return Ok(false) };
        stream.admit(offer, now);
        self.publish(pair.1, stream);
        while let Some(message) = stream.next_down(now) {
            if let (Some(Body::Welcome(welcome)), true) = (&message.body, seeded("withdraw-local")) {
                let offered = |scope: &ScopeId| welcome.scopes.contains(&scope.to_string());
                for scope in (0..ORIGINS).map(local).filter(|scope| !offered(scope)) {
                    stream.hub.remove(scope);
                }
            }
            stream.judged_by = self.nodes[pair.0].known();
            let effects = stream.hub.read(|map| stream.subscribing.handle(message, map, now));
            // Another task may change the hub in between.
            if self.random.percent(30) {
                self.keep_origins(pair.0)?;
            }
            if !self.carry_out(pair, stream, effects)? {
                return Ok(false);
            }
        }
        stream.judged_by = self.nodes[pair.0].known();
        let effects = stream.tick(now);
        self.carry_out(pair, stream, effects)
    }

    /// What a node holds of a scope, if that is a local one.
    fn held_of(&self, node: usize, scope: &str) -> Option<Replica> {
        let origin = (0..ORIGINS).find(|origin| local(*origin).to_string() == scope)?;
        self.nodes[node].held(origin)
    }

    /// The publisher works out what to send, of what it holds or of what it forged.
    fn publish(&mut self, publisher: usize, stream: &mut Stream) {
        let Some(node) = self.nodes.get(publisher) else {
            let hub = &self.control.hub;
            return hub.read(|map| stream.publish(version(hub), map, self.now));
        };
        let Some(process) = &node.process else { return };
        let at = version(&process.hub);
        process.hub.read(|map| {
            let forged = |origin: usize| Some((origin, node.forged[origin].as_ref()?));
            let forged =
                (0..ORIGINS).filter_map(forged).filter(|(origin, _)| map.contains_key(local(*origin)));
            let forged: Vec<(usize, &Replica)> = forged.collect();
            if forged.is_empty() {
                return stream.publish(at, map, self.now);
            }
            stream.was_forged = true;
            let mut map = map.clone();
            for (origin, forged) in forged {
                map.insert(local(origin).clone(), forged.clone());
                // A bug: what the control plane says waits as long.
                let runtime = runtime_of(origin);
                let known = stream.hub.read(|map| map.get(runtime).cloned());
                known.filter(|_| seeded("starve")).and_then(|known| map.insert(runtime.clone(), known));
            }
            stream.publish(at, &map, self.now);
        });
    }

    /// Does what a subscriber asks for. Whether the stream goes on.
    fn carry_out(
        &mut self,
        pair @ (node, publisher): Pair,
        stream: &mut Stream,
        effects: Vec<Effect>,
    ) -> Result<bool, String> {
        for effect in effects {
            match effect {
                Effect::Send(mut message) => {
                    if let Some(subscriber_message::Body::Hello(hello)) = &mut message.body
                        && self.nodes[node].lies
                        && lie(hello, self.held_of(node, &hello.scope).as_ref())
                    {
                        self.seen.lies += 1;
                        stream.was_forged = true;
                    }
                    stream.say(message, self.now);
                }
                Effect::Advance { scope, change } | Effect::Replace { scope, change, .. } => {
                    self.seen.local += u32::from(scope.is_local());
                    let committed = stream.hub.update(&scope, |replica| replica.commit(change));
                    if let Err(error) = committed {
                        if !scope.is_local() {
                            return Err(format!("{scope}: {error}"));
                        }
                        let asks = stream.hub.read(|map| stream.subscribing.ask_anew(&scope, map, self.now));
                        if !self.carry_out(pair, stream, asks)? {
                            return Ok(false);
                        }
                    }
                    if let Some(origin) = (0..ORIGINS).find(|origin| *local(*origin) == scope) {
                        let taken = |map: &ReplicaMap| self.truth.check_taken(origin, map, &stream.judged_by);
                        stream.hub.read(taken)?;
                    }
                    check_node(&mut self.nodes[node], &self.truth)?;
                }
                Effect::Places { .. } => return Err("places".to_owned()),
                Effect::Withdraw { scope } => return Err(format!("{scope} is withdrawn")),
                Effect::Refused { .. } | Effect::AskedAgain { .. } => {}
                Effect::Alarm { scope, alarm, .. } => {
                    let of_local = scope.as_ref().is_some_and(ScopeId::is_local);
                    let is_explained = match &alarm {
                        Alarm::Stalled => stream.was_held,
                        Alarm::Forged { .. } => of_local && stream.was_forged,
                        Alarm::LineageConflict { .. } => of_local,
                        Alarm::UnknownHolder { .. } => of_local,
                        _ => of_local && stream.was_forged,
                    };
                    if !is_explained {
                        return Err(format!("{alarm} ({scope:?})"));
                    }
                    *self.seen.alarms.entry(alarm.kind()).or_default() += 1;
                    if let Alarm::Backwards { offered, .. } = &alarm
                        && let Some(origin) = (0..ORIGINS).find(|one| scope.as_ref() == Some(local(*one)))
                        && seeded("take-replays")
                        && stream.take_replayed(origin, offered, &self.truth)
                    {
                        check_node(&mut self.nodes[node], &self.truth)?;
                    }
                    if seeded("hang-up") && matches!(alarm, Alarm::Forged { .. }) {
                        let reason = alarm.to_string();
                        return self.carry_out(pair, stream, vec![Effect::Disconnect { reason }]);
                    }
                }
                Effect::Superseded => return Err("superseded".to_owned()),
                Effect::Disconnect { reason } => match stream.was_held {
                    true => return Ok(false),
                    false => return Err(format!("the stream ends: {reason}")),
                },
            }
        }
        if publisher == CONTROL
            && let Some(process) = &mut self.nodes[node].process
            && let Some((offered, as_of @ Some(_))) = stream.subscribing.offered()
        {
            process.offer = (offered.clone(), as_of);
        }
        Ok(true)
    }

    /// No scope of the control plane waits for a local one.
    pub(super) fn check_progress(&mut self) -> Result<(), String> {
        for ((node, publisher), stream) in &mut self.streams {
            let hub = match self.nodes.get(*publisher) {
                None => &self.control.hub,
                Some(_) if *node < AGENTS => continue, // a neighbour brings none
                Some(publisher) => match &publisher.process {
                    Some(process) => &process.hub,
                    None => continue,
                },
            };
            let place = || format!("{} below {publisher}", self.nodes[*node].name());
            stream.check_progress(hub, self.now).map_err(|why| format!("{}: {why}", place()))?;
        }
        Ok(())
    }
}
