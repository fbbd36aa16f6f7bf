//! What may happen.

use super::{
    ORIGINS,
    forging::{FORGERIES, Forgery},
    node::{AGENTS, CONTROL, NODES},
    random::Random,
    region::Region,
    sources::SOURCES,
};

/// One thing that happens. Nodes and Origins go by their numbers, holders by their sources.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// What the sources of an Origin look at changes: a key gets another value, or goes.
    Change { origin: usize, key: u64, goes: bool },
    /// The source at a holder looks at it.
    Look { source: usize },
    /// The source at a holder is elected. The other one of the Origin hears of it, or does not.
    Elect { source: usize, alone: bool },
    /// The source at a holder wishes for nothing any more.
    Resign { source: usize },
    /// A process ends, and what was not written is lost.
    Kill { node: usize },
    /// It starts again.
    Start { node: usize },
    /// Two nodes do not reach each other.
    Cut { one: usize, other: usize },
    /// A node reaches no other.
    Isolate { node: usize },
    /// Two nodes reach each other again.
    Heal { one: usize, other: usize },
    /// Every node reaches every other.
    HealAll,
    /// Nothing arrives from a publisher for a while.
    Delay { subscriber: usize, publisher: usize, ms: u64 },
    /// An agent sends something else of a local scope than it holds.
    Forge { agent: usize, origin: usize, forgery: Forgery },
    /// A node says of itself that it holds something else than it does.
    Lie { node: usize },
    /// All send and say what they hold.
    Honest,
    /// An Origin is deleted, or made anew.
    Origin { origin: usize, is_there: bool },
    /// The Origin names a holder no longer, unless that is its only one, or again.
    Name { source: usize, is_named: bool },
    /// A holder joins anew, with another key and nothing on its disk.
    ReplaceKey { source: usize },
    /// Another agent is a relay in place of one that was.
    Replace { relay: usize, agent: usize },
    /// The control plane commits something else.
    Commit,
    /// Time passes.
    Wait { ms: u64 },
}

/// Draws what happens next. Numbers are weights: most of all, sources have something new.
pub(super) fn draw(random: &mut Random, region: &Region) -> Event {
    use Event::*;
    let node = |random: &mut Random| random.below(NODES as u64) as usize;
    let agent = |random: &mut Random| random.below(AGENTS as u64) as usize;
    let source = |random: &mut Random| random.below(SOURCES as u64) as usize;
    let origin = |random: &mut Random| random.below(ORIGINS as u64) as usize;
    let relay = |random: &mut Random| random.one_of(&region.control.relays);
    let end = |random: &mut Random| match random.percent(80) {
        true => random.below(NODES as u64) as usize,
        false => CONTROL,
    };
    if let Some(origin) = region.control.deleted()
        && random.percent(15)
    {
        return Origin { origin, is_there: true };
    }
    if let Some(source) = region.unnamed()
        && random.percent(5)
    {
        return Name { source, is_named: true };
    }
    match random.below(100) {
        0..18 => Change { origin: origin(random), key: random.below(5), goes: random.percent(30) },
        18..29 => Look { source: source(random) },
        29..38 => Elect { source: source(random), alone: random.percent(60) },
        38..40 => Resign { source: source(random) },
        40..45 => Kill { node: node(random) },
        45..51 => Start { node: region.one_that_is_down(random).unwrap_or(0) },
        51..56 => Cut { one: node(random), other: end(random) },
        56..60 => Isolate { node: agent(random) },
        60..63 => Heal { one: node(random), other: end(random) },
        63..68 => HealAll,
        68..72 => {
            let (subscriber, publisher) = (node(random), end(random));
            Delay { subscriber, publisher, ms: random.one_of(&[300, 2_000, 8_000]) }
        }
        72..76 => Forge { agent: relay(random), origin: origin(random), forgery: random.one_of(&FORGERIES) },
        76..79 => Forge { agent: agent(random), origin: origin(random), forgery: random.one_of(&FORGERIES) },
        // What relays and the gateway of a holder say of themselves may make the holder take over.
        79..83 if random.percent(75) => Lie { node: relay(random) },
        79..83 => Lie { node: AGENTS },
        83..86 => Honest,
        86..88 => Origin { origin: origin(random), is_there: false },
        88..90 => ReplaceKey { source: source(random) },
        90..92 => Name { source: source(random), is_named: false },
        92..93 => Commit,
        93..95 => Replace { relay: relay(random), agent: agent(random) },
        _ => Wait { ms: random.one_of(&[1_000, 3_000, 12_000, 35_000]) },
    }
}
