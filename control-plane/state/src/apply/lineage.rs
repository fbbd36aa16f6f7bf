//! Starting a history.

use hanse_management::{Problem, ProblemName};

use super::Effects;
use crate::{Lineage, State};

/// Makes `lineage` the state's history. Only the first command may.
pub(super) fn start(state: &mut State, lineage: &Lineage) -> Result<Effects, Problem> {
    if state.revision != 0 || state.lineage.is_some() {
        return Err(Problem::new(
            ProblemName::Conflict,
            format!("this state has a history already and is at revision {}", state.revision),
        )
        .remedy("a history is started once, by `hanse server init` on an empty data directory"));
    }
    state.lineage = Some(lineage.clone());
    Ok(Effects::revision())
}
