//! Raising the replicated version.

use hanse_management::{Problem, ProblemName};

use super::Effects;
use crate::{State, Version};

/// Raises the version by one. One that is in force already changes nothing.
pub(super) fn finalize(state: &mut State, number: u32, release: &str) -> Result<Effects, Problem> {
    let to = Version::read(number, release).map_err(|unknown| unknown.problem())?;
    if to <= state.version {
        return Ok(Effects::none());
    }
    if state.version.next() != Some(to) {
        let detail = format!("the version is {}, and it is raised by one", state.version);
        return Err(
            Problem::new(ProblemName::Upgrade, detail).remedy("raise it one by one: hanse upgrade finalize")
        );
    }
    state.version = to;
    Ok(Effects::revision())
}
