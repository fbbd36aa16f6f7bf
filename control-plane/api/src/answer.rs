//! What the REST API answers, as types: handlers answer with them, clients read them, and `/openapi.json` has their schemas.
//!
//! Reading passes over members it does not know: they are a later version's. A member that is added has a default for answers
//! of earlier versions. A value that is not known is absent, never `null`.

mod audit;
mod change;
mod convergence;
mod dump;
mod failover;
mod federation_key;
mod member;
mod problem;
mod proposal;
mod resource;
mod root;
mod status;
mod upgrade;
mod whoami;
mod word;

// Whole files: an answer is named in its own file only.
pub use audit::*;
pub use change::*;
pub use convergence::*;
pub use dump::*;
pub use failover::*;
pub use federation_key::*;
pub use member::*;
pub use problem::*;
pub use proposal::*;
pub use resource::*;
pub use root::*;
pub use status::*;
pub use upgrade::*;
pub use whoami::*;

/// Whether a count is left out of an answer.
fn is_zero(count: &u64) -> bool {
    *count == 0
}
