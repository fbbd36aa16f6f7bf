//! What operators write: one struct per kind, read from JSON or YAML, unknown fields refused.
//!
//! These structs are the only schema of management resources: REST, manifests and the replicated state all carry their
//! JSON form.

mod access;
mod api;
mod binding;
mod digest;
mod duration;
mod health;
mod policy;
mod subscription;
mod tenancy;
mod upstream;

use std::{fmt, io};

use serde::{Deserializer, Serialize, de::DeserializeOwned};

pub use access::{JoinRole, JoinTokenSpec, TokenRole, TokenSpec};
pub use api::{ApiKeySpec, ApiRevisionSpec, ApiSpec, Lifecycle, Method, OperationSpec, SecuritySpec};
pub use binding::{BindingSpec, Latest, Reach, RevisionRef};
pub use digest::Digest;
pub use duration::Duration;
pub use health::{EjectionSpec, HealthCheckSpec, RetryOn, RetrySpec};
pub use policy::{CorsSpec, HeaderRulesSpec, HeadersSpec, PolicySpec};
pub use subscription::{ApplicationSpec, CredentialSpec, Period, PlanSpec, RateSpec, SubscriptionSpec};
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

            /// Reads the spec of a `kind` from JSON. The problem's `field` is a path that starts with `spec`.
            pub fn from_json(kind: Kind, value: &serde_json::Value) -> Result<Self, Problem> {
                match kind { $(Kind::$kind => read(value).map(Self::$kind),)* }
            }

            /// Reads the spec of a `kind` from the bytes of its JSON form.
            pub fn from_json_bytes(kind: Kind, json: &[u8]) -> Result<Self, Problem> {
                let mut json = serde_json::Deserializer::from_slice(json);
                match kind { $(Kind::$kind => read(&mut json).map(Self::$kind),)* }
            }

            /// Its JSON form: the same for equal specs.
            pub fn to_json(&self) -> serde_json::Value {
                match self { $(Self::$kind(spec) => write(spec),)* }
            }

            /// The bytes of its JSON form, without white space: the same for equal specs.
            pub fn to_json_bytes(&self) -> Vec<u8> {
                match self { $(Self::$kind(spec) => serde_json::to_vec(spec).expect(JSON_CARRIES_SPECS),)* }
            }

            /// How many bytes `to_json_bytes` gives.
            pub fn json_len(&self) -> usize {
                let mut counted = Counted(0);
                match self {
                    $(Self::$kind(spec) => serde_json::to_writer(&mut counted, spec).expect(JSON_CARRIES_SPECS),)*
                }
                counted.0
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

fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(json: D) -> Result<T, Problem>
where
    D::Error: fmt::Display,
{
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
        Problem::new(ProblemName::Invalid, error.into_inner().to_string()).at(field)
    })
}

fn write<T: Serialize>(spec: &T) -> serde_json::Value {
    serde_json::to_value(spec).expect(JSON_CARRIES_SPECS)
}

const JSON_CARRIES_SPECS: &str = "specs have string keys and finite numbers, which JSON can carry";

/// Counts what is written to it.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
