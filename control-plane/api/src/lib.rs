//! The operator API: REST over the replicated state, authentication, and the OpenAPI document that describes it.
//!
//! - [`router`]: all of it as one axum router. The control node that serves it brings TLS and a listener.
//! - [`OperatorApi`]: what it needs: the ports of `hanse-state`, metrics, a clock and limits.
//! - [`AuditWalk`]: whether entries of the audit are a chain.
//! - [`answer`]: what it answers, as types that clients read too.
//!
//! Every operation is a handler with an attribute that describes it. The router, the strict check of query parameters, the
//! metrics' labels and `/openapi.json` all come from that attribute. A new operation is its handler, a line in `routes()` of
//! the handler's file, and the type of its answer.
//!
//! Nothing here knows Raft or gRPC. Nothing here speaks to a gateway: a port says what gateways reported.

mod access;
pub mod answer;
mod apply;
mod approvals;
mod audit;
mod audit_walk;
mod authenticate;
mod body;
mod bounds;
mod call;
mod convergence;
mod dump;
mod failover;
mod federation_key;
mod held;
mod kinds;
mod last_use;
mod list;
mod members;
mod metrics;
#[cfg(feature = "next")]
mod motto;
mod names;
mod observe;
mod openapi;
mod operation;
mod operator;
mod precondition;
mod rejection;
mod resource;
mod roots;
mod routes;
mod status;
mod upgrade;
mod warnings;
mod watch;
mod whoami;

pub use audit_walk::{AuditWalk, BrokenChain};
pub use metrics::ApiMetrics;
pub use openapi::openapi_json;
pub use operator::{ClientAddress, Clock, Limits, OperatorApi};
pub use routes::router;
