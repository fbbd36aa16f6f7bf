//! Whether a region can take over the clients of a failover plan.

mod capacity;
mod inputs;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, time::Duration};

use hanse_topology::Name;

pub use self::{
    capacity::CAPACITY,
    inputs::{Capacity, Heard, Standby, Sync},
};

/// Every gateway of the region serves the newest revision. A standby that is behind serves older Routes.
pub const SYNC: &str = "sync";
/// No certificate of the region ends within [`MIN_LIFETIME`].
pub const CERTIFICATES: &str = "certificates";
/// No gateway of the region has something in quarantine that the plan's Bindings serve.
///
/// Google Cloud, June 2025: a policy with empty fields crashed every process that read it.
pub const QUARANTINE: &str = "quarantine";
/// A gateway of the region is ready.
///
/// AWS, October 2025: health checkers took new machines into service before their network was set up, and out again.
pub const HEALTH: &str = "health";
/// Health, sync, certificates and quarantine were heard within [`MAX_AGE`].
///
/// An input that was never heard is unknown to its own rule, and not ready here: without any report of a region, all other rules
/// would only warn. `capacity` is the exception. It may stay undeclared or unheard, and then only warns.
pub const HEARD: &str = "heard";

/// Certificates are renewed at half of their life, which is 12 h before the end. One with an hour left was not renewed for most
/// of that, and takes the region down soon after it took over.
pub const MIN_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The greatest age of what was heard of a region, and of a [`Readiness`]. Regions report every second, and an agent that changes
/// its control node is silent for some seconds.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// Most names of a list that a reason repeats. A report of the region has all.
const NAMED: usize = 3;

/// The verdict of a rule on a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// No objection.
    Ready,
    /// The inputs do not say. A shift there warns.
    Unknown,
    /// It is not ready. A shift there is refused without force.
    NotReady,
}

/// What one rule says of a region, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Cow<'static, str>,
    /// What it says.
    pub verdict: Verdict,
    /// Why, for people.
    pub why: String,
    /// The age of what it looked at, where it was heard.
    pub age: Option<Duration>,
}

/// What all rules say of one region, for one failover plan. Only [`readiness`] makes one, so no shift leads to a region that was
/// not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    plan: Name,
    region: Name,
    judged: Duration,
    findings: Vec<Finding>,
}

impl Readiness {
    /// The failover plan that it was judged for.
    pub fn plan(&self) -> &Name {
        &self.plan
    }

    /// When it was judged, since the start of 1970.
    pub fn judged(&self) -> Duration {
        self.judged
    }

    /// The region.
    pub fn region(&self) -> &Name {
        &self.region
    }

    /// The rules, in the order of this module.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The worst that a rule says: not ready outweighs unknown.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Unknown)
    }
}

/// Judges a region. `now`: since the start of 1970, by the clock that certificates are judged with.
pub fn readiness(standby: &Standby, now: Duration) -> Readiness {
    let findings = vec![
        sync(standby),
        certificates(standby, now),
        quarantine(standby),
        health(standby),
        capacity::judge(&standby.capacity),
        heard(standby),
    ];
    let Standby { plan, region, .. } = standby;
    Readiness { plan: plan.clone(), region: region.clone(), judged: now, findings }
}

/// A rule that looks at one input.
fn judge<T>(
    rule: &'static str,
    input: Option<&Heard<T>>,
    say: impl FnOnce(&T) -> (Verdict, String),
) -> Finding {
    let (verdict, why) = match input {
        Some(heard) => say(&heard.value),
        None => (Verdict::Unknown, "nothing was heard of it".to_owned()),
    };
    Finding { rule: rule.into(), verdict, why, age: input.map(|heard| heard.age) }
}

fn sync(standby: &Standby) -> Finding {
    judge(SYNC, standby.sync.as_ref(), |&Sync { gateways, behind }| match (gateways, behind) {
        (0, _) => (Verdict::NotReady, "it has no gateway".to_owned()),
        (_, 0) => (Verdict::Ready, format!("all {gateways} gateways serve the newest revision")),
        _ => (Verdict::NotReady, format!("{behind} of {gateways} gateways do not serve the newest revision")),
    })
}

fn certificates(standby: &Standby, now: Duration) -> Finding {
    judge(CERTIFICATES, standby.certificates.as_ref(), |end| {
        let left = end.saturating_sub(now);
        let verdict = if left > MIN_LIFETIME { Verdict::Ready } else { Verdict::NotReady };
        (verdict, format!("the first certificate ends in {} minutes", left.as_secs() / 60))
    })
}

fn quarantine(standby: &Standby) -> Finding {
    judge(QUARANTINE, standby.quarantined.as_ref(), |keys| {
        let Some((first, _)) = keys.split_first() else {
            return (Verdict::Ready, "nothing is in quarantine".to_owned());
        };
        let named = keys.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>();
        let why = match keys.len() {
            1 => format!("{first} is in quarantine"),
            count if count > NAMED => {
                format!("{count} keys are in quarantine, among them {}", named.join(", "))
            }
            _ => format!("{} are in quarantine", named.join(", ")),
        };
        (Verdict::NotReady, why)
    })
}

fn health(standby: &Standby) -> Finding {
    judge(HEALTH, standby.ready_gateways.as_ref(), |ready| match ready {
        0 => (Verdict::NotReady, "no gateway is ready".to_owned()),
        1 => (Verdict::Ready, "1 gateway is ready".to_owned()),
        ready => (Verdict::Ready, format!("{ready} gateways are ready")),
    })
}

fn heard(standby: &Standby) -> Finding {
    let inputs = [
        ("sync", standby.sync.as_ref().map(|heard| heard.age)),
        ("certificates", standby.certificates.as_ref().map(|heard| heard.age)),
        ("quarantine", standby.quarantined.as_ref().map(|heard| heard.age)),
        ("health", standby.ready_gateways.as_ref().map(|heard| heard.age)),
    ];
    let oldest = inputs.iter().filter_map(|(_, age)| *age).max();
    let missing: Vec<&str> = inputs
        .iter()
        .filter(|(_, age)| age.is_none_or(|age| age > MAX_AGE))
        .map(|(input, _)| *input)
        .collect();
    let (verdict, why) = match (missing.is_empty(), oldest) {
        (true, Some(oldest)) => (Verdict::Ready, format!("the oldest input is {} s old", oldest.as_secs())),
        (_, _) => {
            let limit = MAX_AGE.as_secs();
            (Verdict::NotReady, format!("not heard in the last {limit} s: {}", missing.join(", ")))
        }
    };
    Finding { rule: HEARD.into(), verdict, why, age: oldest }
}
