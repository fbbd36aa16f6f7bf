//! What operators write: one struct per kind, read from JSON or YAML, unknown fields refused.
//!
//! These structs are the only schema of management resources: REST, manifests and the replicated state all carry their
//! JSON form.

mod access;
mod api;
mod binding;
mod duration;
mod policy;
mod subscription;
mod tenancy;
mod upstream;

use serde::{Serialize, de::DeserializeOwned};

pub use access::{JoinRole, JoinTokenSpec, TokenRole, TokenSpec};
pub use api::{ApiKeySpec, ApiRevisionSpec, ApiSpec, Lifecycle, Method, OperationSpec, SecuritySpec};
pub use binding::{BindingSpec, Latest, Reach, RevisionRef};
pub use duration::Duration;
pub use policy::{CorsSpec, HeaderRulesSpec, HeadersSpec, PolicySpec};
pub use subscription::{ApplicationSpec, CredentialSpec, Digest, Period, PlanSpec, RateSpec, SubscriptionSpec};
pub use tenancy::{EnvironmentSpec, ListenerProtocol, OrganizationSpec, RegionSpec, StaleCredentials};
pub use upstream::{EndpointSpec, UpstreamSpec, UpstreamTlsSpec};

use crate::{Kind, Problem, ProblemName};

macro_rules! specs {
    ($($kind:ident($spec:ty)),* $(,)?) => {
        /// The spec of a resource, by kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Spec {
            $(
                #[doc = concat!("Of a ", stringify!($kind), ".")]
                $kind($spec),
            )*
        }

        impl Spec {
            /// The kind it belongs to.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }

            /// Reads the spec of a `kind` from JSON. The problem's `field` is a path below `spec`.
            pub fn from_json(kind: Kind, value: &serde_json::Value) -> Result<Self, Problem> {
                match kind { $(Kind::$kind => read(value).map(Self::$kind),)* }
            }

            /// Its JSON form: the same for equal specs.
            pub fn to_json(&self) -> serde_json::Value {
                match self { $(Self::$kind(spec) => write(spec),)* }
            }
        }

        $(impl From<$spec> for Spec {
            fn from(spec: $spec) -> Self { Self::$kind(spec) }
        })*
    };
}

specs! {
    Organization(OrganizationSpec),
    Region(RegionSpec),
    Environment(EnvironmentSpec),
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
}

fn read<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
        Problem::new(ProblemName::Invalid, error.into_inner().to_string()).at(field)
    })
}

fn write<T: Serialize>(spec: &T) -> serde_json::Value {
    serde_json::to_value(spec).expect("specs have string keys and finite numbers, which JSON can carry")
}
