//! What the REST API answers, as types: handlers answer with them, clients read them, and `/openapi.json` has their schemas.
//!
//! Reading passes over members it does not know: they are a later version's. A member that is added has a default for answers
//! of earlier versions. A value that is not known is absent, never `null`.

mod change;
mod convergence;
mod member;
mod problem;
mod resource;
mod root;
mod status;
mod upgrade;
mod word;

pub use change::{Action, Applied, ApplyRequest, Change, Deleted, ScopeEffect, Warning};
pub use convergence::{Convergence, ConvergenceState, GatewayConvergence};
pub use member::{Member, Members, Readmitted, Revocation, Revocations};
pub use problem::ProblemDetails;
pub(crate) use resource::schemas_of_kind;
pub use resource::{Bookmark, ChangeEvent, Page, Resource};
pub use root::{Root, RootSettled, Roots, Rotation};
pub use status::{
    AgentStatus, DuplicateName, GatewayStatus, LineageParent, LineageStatus, NodeStatus, PartialReport,
    QuarantinedResource, RegionStatus, ScopePosition, Status,
};
pub use upgrade::{Blocker, FinalizeRequest, Finalized, NodeBuild, Upgrade};
