//! The specs: what operators write, one struct per kind, read from JSON or YAML, unknown fields refused.
//!
//! These structs are the only schema of management resources: REST, manifests and the replicated state all carry their
//! JSON form.

mod access;
mod api;
mod binding;
mod health;
mod policy;
mod subscription;
mod tenancy;
mod upstream;

pub use access::{JoinRole, JoinTokenSpec, TokenRole, TokenSpec};
pub use api::{ApiKeySpec, ApiRevisionSpec, ApiSpec, Lifecycle, Method, OperationSpec, SecuritySpec};
pub use binding::{BindingSpec, Latest, Reach, RevisionRef};
pub use health::{EjectionSpec, HealthCheckSpec, RetryOn, RetrySpec};
pub use policy::{CorsSpec, HeaderRulesSpec, HeadersSpec, PolicySpec};
pub use subscription::{ApplicationSpec, CredentialSpec, Period, PlanSpec, RateSpec, SubscriptionSpec};
pub use tenancy::{EnvironmentSpec, ListenerProtocol, OrganizationSpec, RegionSpec, StaleCredentials};
pub use upstream::{EndpointSpec, UpstreamSpec, UpstreamTlsSpec};
