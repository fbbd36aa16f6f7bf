//! Requests per second by host, as agents say them, over the last minute: pure.
//!
//! An agent says the requests of the last 10 s when they change. What it said is in force from then until it says something else. A
//! sum over agents is made at each moment at which one of them said something new, and the greatest sum of a minute counts. So clients
//! that move from one region to another count once.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_link::{TRAFFIC_SPAN, TrafficSum};
use hanse_proto::sync::TrafficRow;
use hanse_steering::Heard;
use hanse_topology::{LEASE, Name};

use super::silence::AgentKey;

/// How far back a load is looked for.
const SPAN: Duration = Duration::from_secs(60);
/// Agents sum every 10 s. Of what one says faster than twice in that time, the last counts: it is remembered [`SPAN`] long, 13 times
/// at most.
const SPACING: Duration = TRAFFIC_SPAN.checked_div(2).expect("two is not zero");

/// What agents said of their traffic.
#[derive(Debug, Default)]
pub(super) struct Loads(BTreeMap<AgentKey, AgentLoad>);

#[derive(Debug)]
struct AgentLoad {
    /// As it came.
    said: Bytes,
    /// When it was said last.
    heard: Instant,
    /// The earliest first. The first may be older than [`SPAN`]: it was in force when that began.
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    from: Instant,
    /// Requests in [`TRAFFIC_SPAN`]; no more rows than one may say.
    rows: Vec<TrafficRow>,
}

impl Loads {
    /// Takes in what an agent said at that time. Of two words the later one counts.
    pub(super) fn learn(&mut self, agent: &AgentKey, said: &Bytes, at: Instant) {
        let load = self.0.entry(agent.clone()).or_insert_with(|| AgentLoad {
            said: Bytes::new(),
            heard: at,
            samples: VecDeque::new(),
        });
        if at < load.heard {
            return;
        }
        load.heard = at;
        if load.said != said || load.samples.is_empty() {
            // Copied: what is kept must not keep the message it came in.
            load.said = Bytes::copy_from_slice(said);
            let rows = rows(said);
            match load.samples.back_mut() {
                Some(last) if at.saturating_duration_since(last.from) < SPACING => last.rows = rows,
                Some(_) | None => load.samples.push_back(Sample { from: at, rows }),
            }
        }
        while load.samples.get(1).is_some_and(|next| at.saturating_duration_since(next.from) >= SPAN) {
            load.samples.pop_front();
        }
    }

    /// Forgets agents that are not remembered any more.
    pub(super) fn retain(&mut self, is_known: impl Fn(&AgentKey) -> bool) {
        self.0.retain(|agent, _| is_known(agent));
    }

    /// The greatest load of the last minute, in requests per second, of the rows that `counts` takes, summed over agents. Of a region that is
    /// silent, what it said last stays in force. Its age is that of the region that was heard longest ago; `None`: one of `needed`
    /// was never heard.
    pub(super) fn greatest(
        &self,
        now: Instant,
        needed: &[Name],
        counts: impl Fn(&Name, &TrafficRow) -> bool,
    ) -> Option<Heard<u64>> {
        let mut regions = BTreeMap::<&Name, Instant>::new();
        for ((region, _), load) in &self.0 {
            let heard = regions.entry(region).or_insert(load.heard);
            *heard = load.heard.max(*heard);
        }
        let ages = needed.iter().map(|region| Some(now.saturating_duration_since(*regions.get(region)?)));
        let age = ages.collect::<Option<Vec<_>>>()?.into_iter().max().unwrap_or_default();
        // What each agent adds to the sum, and from when.
        let mut steps: Vec<(Instant, i128)> = Vec::new();
        let begin = now.checked_sub(SPAN).unwrap_or(now);
        for ((region, _), load) in &self.0 {
            let mut before = 0;
            for sample in &load.samples {
                let of_host = sample.rows.iter().filter(|row| counts(region, row)).map(|row| row.requests);
                let requests = i128::from(of_host.fold(0, u64::saturating_add));
                steps.push((sample.from.clamp(begin, now), requests - before));
                before = requests;
            }
            // Its gateways are those of the region's other agents by now.
            let left = load.heard + LEASE;
            if left < regions[region] {
                steps.push((left.clamp(begin, now), -before));
            }
        }
        steps.sort_by_key(|(at, _)| *at);
        let (mut sum, mut greatest) = (0, 0);
        for (at, change) in steps.iter().enumerate() {
            sum += change.1;
            // Those of one moment count together.
            if steps.get(at + 1).is_none_or(|next| next.0 > change.0) {
                greatest = sum.max(greatest);
            }
        }
        let per_second = greatest.unsigned_abs().div_ceil(u128::from(TRAFFIC_SPAN.as_secs()));
        Some(Heard { value: u64::try_from(per_second).unwrap_or(u64::MAX), age })
    }
}

/// The rows of a Traffic, as many as one may say; nothing is lost of the sum.
fn rows(said: &[u8]) -> Vec<TrafficRow> {
    let mut sum = TrafficSum::default();
    sum.add_said(said);
    sum.to_message().rows
}

#[cfg(test)]
mod tests;
