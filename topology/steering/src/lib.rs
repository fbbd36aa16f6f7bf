//! Which regions a name leads to, whether a region may take over, and how a plan moves from one region to another.
//!
//! - [`answer`]: a host, its regions' health and a client → the regions that answer. Each rule narrows the candidates. A rule
//!   that would leave none is skipped. A [`Trace`] hears of each rule, and of what the rule looked at.
//! - [`default_answer`]: the same without a client and without health; [`fallback`]: when no answer could be made.
//! - [`readiness`]: what is known of a standby → whether it is ready, rule by rule.
//! - [`shift`]: a failover plan, its present decision and a request → the next decision, or why there is none.
//!
//! Nothing here does I/O. Nothing here knows DNS messages, protobuf or a clock: times and chance are arguments. Equal inputs
//! give equal answers, in any order and on any machine, because everything is computed with integers.

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]

mod answer;
mod draw;
mod host;
mod networks;
mod readiness;
mod seen;
mod set;
mod shift;
mod spot;
mod trace;

pub use answer::{Answer, Client, Family, answer, default_answer, fallback};
pub use host::{Candidate, Host, InvalidHost, Step};
pub use readiness::{
    Capacity, Finding, Heard, MAX_AGE, MIN_LIFETIME, Readiness, Standby, Sync, Verdict, readiness,
};
pub use seen::{Health, MAX_HEALTH_AGE, Place, Places, ReportedHealth, Seen};
pub use shift::{
    Action, Decided, Epoch, Failover, FailoverPlan, InvalidEpoch, InvalidFailover, Refusal, Request, Share,
    shift,
};
pub use spot::Spot;
pub use trace::{Line, Remaining, Trace};

/// The names of all rules. Each is explained at its constant, with the public incident behind it where there is one.
pub mod rules {
    pub use crate::{
        answer::{
            ALL_BAD, DOWN, FAILOVER, FAMILY, GEO, MULTIVALUE, NEVER_EMPTY, NO_ADDRESS, NOT_SERVING, ORIGIN,
            PLAN, UNKNOWN_STAYS, WEIGHTED, WOULD_EMPTY,
        },
        readiness::{CAPACITY, CERTIFICATES, HEALTH, HEARD, QUARANTINE, SYNC},
        shift::{
            ALREADY_THERE, FROZEN, NOT_FROZEN, NOT_READY, OLD_EPOCH, OLD_READINESS, OTHER_PLAN, REASON,
            STEP_ORDER, STEPS, UNKNOWN_REGION,
        },
    };
}
