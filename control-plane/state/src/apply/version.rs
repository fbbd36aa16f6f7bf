//! Raising the replicated version.

use hanse_management::Problem;

use super::Effects;
use crate::{State, Version};

/// Raises the version by one. One that is in force already changes nothing.
pub(super) fn finalize(state: &mut State, number: u32, release: &str) -> Result<Effects, Problem> {
    let to = Version::read(number, release).map_err(|unknown| unknown.problem())?;
    if to <= state.version {
        return Ok(Effects::none());
    }
    state.version.check_next(number)?;
    state.version = to;
    Ok(Effects::revision())
}
