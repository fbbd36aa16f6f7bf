//! The kinds: one file each, with the spec that operators write and what its kind has to say. The table at the end names
//! them all; REST, storage, the watch, the CLI and the documents follow from it.
//!
//! A new kind, such as `Origin`, is a file `origin.rs` here, its `mod` and `pub use`, and a line in the table.
//!
//! The specs are the only schema of management resources: REST, manifests and the replicated state all carry their JSON
//! form, and unknown fields are refused.

mod api;
mod api_revision;
mod application;
mod binding;
mod credential;
mod dns_zone;
mod drain;
mod drill;
mod environment;
mod failover;
mod failover_plan;
mod global_host;
mod host_grant;
mod join_token;
#[cfg(feature = "next")]
mod memo;
mod organization;
mod origin;
mod plan;
mod policy;
mod region;
mod secret;
mod selector;
mod subscription;
mod token;
mod upstream;

#[cfg(test)]
mod tests;

use hanse_topology::Name;
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};

pub use api::{ApiKeySpec, ApiSpec, Lifecycle, Method, OperationSpec, SecuritySpec, check_operation};
pub use api_revision::ApiRevisionSpec;
pub use application::ApplicationSpec;
pub use binding::{BindingSpec, Latest, New, Reach, RevisionRef};
pub use credential::CredentialSpec;
pub use dns_zone::{DnsZoneSpec, NameServerSpec, PublishSpec, SecondarySpec};
pub use drain::DrainSpec;
pub use drill::{DrillPhase, DrillSpec};
pub use environment::{ApprovalSpec, EgressSpec, EnvironmentSpec, ListenerProtocol, StaleCredentials};
pub use failover::{FailoverSpec, ReadinessSpec, ReadinessVerdict, ServingSpec};
pub use failover_plan::{DrillScheduleSpec, FailoverPlanSpec, GuardSpec, ObjectivesSpec, ProbeSpec};
pub use global_host::{
    FailoverStepSpec, GeoStepSpec, GlobalHostSpec, MultivalueStepSpec, OriginRuleSpec, OriginStepSpec,
    PolicyStepSpec, Step,
};
pub use host_grant::HostGrantSpec;
pub use join_token::{JoinRole, JoinTokenSpec};
#[cfg(feature = "next")]
pub use memo::MemoSpec;
pub use organization::OrganizationSpec;
pub use origin::{OriginKind, OriginSpec};
pub use plan::{Period, PlanSpec, RateSpec};
pub use policy::{CorsSpec, HeaderRulesSpec, HeadersSpec, PolicySpec, RewriteSpec};
pub use region::RegionSpec;
pub use secret::{SealedValue, SecretSpec, SecretType, SecretValue};
pub use subscription::SubscriptionSpec;
pub use token::{TokenRole, TokenSpec};
pub use upstream::{
    EjectionSpec, EndpointSpec, EndpointsFromSpec, HealthCheckSpec, HostSpec, RetryOn, RetrySpec,
    UpstreamSpec, UpstreamTlsSpec,
};

use crate::{
    Claim, Column, Digest, Problem, Refer, ResourceKey,
    check::Verdict,
    json,
    kind::{Known, ManagementKind, ShownWith, Written, kinds, schemas_of_spec},
};

// In order of dependency: what is referred to comes first.
kinds! {
    Organization(OrganizationSpec),
    Region(RegionSpec),
    Secret(SecretSpec),
    Environment(EnvironmentSpec),
    Origin(OriginSpec),
    HostGrant(HostGrantSpec),
    DnsZone(DnsZoneSpec),
    GlobalHost(GlobalHostSpec),
    FailoverPlan(FailoverPlanSpec),
    Failover(FailoverSpec),
    Drain(DrainSpec),
    Drill(DrillSpec),
    Policy(PolicySpec),
    Upstream(UpstreamSpec),
    Api(ApiSpec),
    ApiRevision(ApiRevisionSpec),
    Binding(BindingSpec),
    Plan(PlanSpec),
    Application(ApplicationSpec),
    Subscription(SubscriptionSpec),
    Credential(CredentialSpec),
    Token(TokenSpec),
    JoinToken(JoinTokenSpec),
    #[cfg(feature = "next")]
    Memo(MemoSpec),
}
