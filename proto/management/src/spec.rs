//! A spec of any kind, and its JSON form.

use std::{fmt, io};

use serde::{Deserializer, Serialize, de::DeserializeOwned};

use crate::{Digest, Kind, Problem, ProblemName, kinds::*};

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

impl Spec {
    /// The digest of a secret, where the kind has one.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Credential(spec) => Some(&spec.digest),
            Self::Token(spec) => Some(&spec.digest),
            Self::JoinToken(spec) => Some(&spec.digest),
            Self::Organization(_)
            | Self::Region(_)
            | Self::Environment(_)
            | Self::Policy(_)
            | Self::Upstream(_)
            | Self::Api(_)
            | Self::ApiRevision(_)
            | Self::Binding(_)
            | Self::Plan(_)
            | Self::Application(_)
            | Self::Subscription(_) => None,
        }
    }

    /// The same, to be written.
    pub fn digest_mut(&mut self) -> Option<&mut Digest> {
        match self {
            Self::Credential(spec) => Some(&mut spec.digest),
            Self::Token(spec) => Some(&mut spec.digest),
            Self::JoinToken(spec) => Some(&mut spec.digest),
            Self::Organization(_)
            | Self::Region(_)
            | Self::Environment(_)
            | Self::Policy(_)
            | Self::Upstream(_)
            | Self::Api(_)
            | Self::ApiRevision(_)
            | Self::Binding(_)
            | Self::Plan(_)
            | Self::Application(_)
            | Self::Subscription(_) => None,
        }
    }
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
