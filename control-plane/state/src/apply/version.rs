//! Raising the replicated version.

use hanse_management::Problem;

use super::Effects;
use crate::{State, Version};

/// Raises the version by one. One that is in force already changes nothing.
///
/// Nothing else in `apply` asks which versions this build knows. A build that does not know the version stops before this command
/// ([`Command::check_version`](crate::Command::check_version)), so no node comes here and refuses what another accepts.
pub(super) fn finalize(state: &mut State, number: u32, release: &str) -> Result<Effects, Problem> {
    let to = Version::read(number, release).map_err(|unknown| unknown.problem())?;
    if to <= state.version {
        return Ok(Effects::none());
    }
    state.version.check_next(number)?;
    state.version = to;
    Ok(Effects::revision())
}
