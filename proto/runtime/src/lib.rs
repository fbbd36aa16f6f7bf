//! What a runtime resource must be to be used: bytes → checked model, or [`Unusable`] with the field and the reason.
//! Pure: no I/O, no clock.
//!
//! A gateway compiles what it received with it, and the control plane judges with it what it is about to propose, so that
//! both hold to one set of rules. From a checked model a gateway builds what it serves without another question.
//!
//! - [`check`]: the bytes of one resource → [`Resource`].
//! - [`ResourceKind`]: how keys are spelled.
//! - [`Unusable`]: why a resource goes into quarantine.

mod access;
mod endpoint;
mod features;
mod header;
mod health;
mod host;
mod listener;
#[cfg(feature = "next")]
mod note;
mod path;
mod policy;
mod resource;
mod retry;
mod route;
mod template;
mod tls;
mod unusable;
mod upstream;

pub use access::{Credential, KeyDigest, Plan, Rate, Subscription};
pub use endpoint::Endpoint;
pub use features::FEATURES;
pub use header::{HOP_BY_HOP, HeaderStep, is_protected};
pub use health::{CheckSettings, EjectionSettings, MAX_CHECK_TIMEOUT, MAX_EJECTION};
pub use host::HostPattern;
pub use listener::Listener;
pub use path::{BadEncoding, Context, canonical};
pub use policy::{AllowedHeaders, Cors, Origins, Policy};
pub use resource::{Resource, ResourceKind, check};
pub use retry::{MAX_ATTEMPTS, RetryPolicy};
pub use route::{ApiKey, Operation, Route, Security};
pub use template::{Mixed, TemplateSegment};
pub use tls::Trust;
pub use unusable::Unusable;
pub use upstream::Upstream;
