//! What may happen.

use super::{
    forging::{FORGERIES, Forgery},
    node::{AGENTS, CONTROL, NODES},
    random::Random,
    region::Region,
};

/// One thing that happens. Nodes go by their numbers, holders by their place in the Origin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// What the sources look at changes: a key gets another value, or goes.
    Change { key: u64, goes: bool },
    /// The source at a holder looks at it.
    Look { holder: usize },
    /// The source at a holder is elected. The other one hears of it, or does not.
    Elect { holder: usize, alone: bool },
    /// The source at a holder wishes for nothing any more.
    Resign { holder: usize },
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
    /// An agent sends something else than it holds.
    Forge { agent: usize, forgery: Forgery },
    /// A node says of itself that it holds something else than it does.
    Lie { node: usize },
    /// All send and say what they hold.
    Honest,
    /// The Origin is deleted, or made anew.
    Origin { is_there: bool },
    /// A holder joins anew, with another key and nothing on its disk.
    ReplaceKey { holder: usize },
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
    let holder = |random: &mut Random| random.below(2) as usize;
    let relay = |random: &mut Random| random.one_of(&region.control.relays);
    let end = |random: &mut Random| match random.percent(80) {
        true => random.below(NODES as u64) as usize,
        false => CONTROL,
    };
    if !region.control.has_origin() && random.percent(15) {
        return Origin { is_there: true };
    }
    match random.below(100) {
        0..20 => Change { key: random.below(5), goes: random.percent(30) },
        20..31 => Look { holder: holder(random) },
        31..40 => Elect { holder: holder(random), alone: random.percent(60) },
        40..42 => Resign { holder: holder(random) },
        42..47 => Kill { node: node(random) },
        47..53 => Start { node: region.one_that_is_down(random).unwrap_or(0) },
        53..58 => Cut { one: node(random), other: end(random) },
        58..62 => Isolate { node: agent(random) },
        62..65 => Heal { one: node(random), other: end(random) },
        65..70 => HealAll,
        70..74 => {
            let (subscriber, publisher) = (node(random), end(random));
            Delay { subscriber, publisher, ms: random.one_of(&[300, 2_000, 8_000]) }
        }
        74..77 => Forge { agent: relay(random), forgery: random.one_of(&FORGERIES) },
        77..80 => Forge { agent: agent(random), forgery: random.one_of(&FORGERIES) },
        // What relays and the gateway of a holder say of themselves may make the holder take over.
        80..84 if random.percent(75) => Lie { node: relay(random) },
        80..84 => Lie { node: AGENTS },
        84..87 => Honest,
        87..89 => Origin { is_there: false },
        89..91 => ReplaceKey { holder: holder(random) },
        91..93 => Commit,
        93..95 => Replace { relay: relay(random), agent: agent(random) },
        _ => Wait { ms: random.one_of(&[1_000, 3_000, 12_000, 35_000]) },
    }
}
