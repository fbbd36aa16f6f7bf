//! The rules for runtime resources: from bytes to a checked model, or to [`Unusable`] with the field and the reason.
//!
//! A gateway compiles what it received by these rules. The control plane judges by them what it is about to propose. So both hold
//! to one set of rules. A gateway builds what it serves from a checked model, without another question.
//!
//! - [`check`]: the bytes of one resource → [`Resource`].
//! - [`ResourceKind`]: how keys are spelled.
//! - [`Unusable`]: why a resource goes into quarantine.
//!
//! Pure: no I/O, no clock. Nothing here knows management resources, and a check looks at one runtime resource alone.

mod access;
mod address;
mod cidr;
mod domain_name;
mod egress;
mod endpoint;
mod endpoints;
mod epoch;
mod features;
mod field;
mod global_host;
mod header;
mod health;
mod host;
mod listener;
mod mailbox;
mod neighbour;
#[cfg(feature = "next")]
mod note;
mod origin;
mod origins;
mod owner;
mod path;
mod policy;
mod regions;
mod resource;
mod retry;
mod route;
mod secret;
mod shift;
mod spot;
mod template;
mod tls;
mod unusable;
mod upstream;
mod zone;

pub use access::{Credential, KeyDigest, Plan, Rate, Subscription};
pub use address::MAX_ADDRESSES;
pub use cidr::{BadCidr, Cidr};
pub use domain_name::{BadDomainName, DomainName, is_in_zone};
pub use egress::{Denied, Egress, forms};
pub use endpoint::{Endpoint, EndpointUrl, is_authority, is_path_byte, is_public_url};
pub use endpoints::{Endpoints, EndpointsFrom, MAX_ENDPOINTS};
pub use epoch::Epoch;
pub use features::{EXPOSURE, FEATURES, TUNNEL};
pub use global_host::{
    Candidate, GlobalHost, MAX_MULTIVALUE, MAX_ORIGIN_RULES, MAX_STEPS, OriginRule, RegionWeight, Step,
};
pub use header::{HOP_BY_HOP, HeaderStep, is_protected, may_carry_key};
pub use health::{CheckSettings, EjectionSettings, MAX_CHECK_TIMEOUT, MAX_EJECTION, is_check_path_byte};
pub use host::HostPattern;
pub use listener::Listener;
pub use mailbox::{BadMailbox, Mailbox};
pub use neighbour::Neighbour;
pub use origin::{Holder, Origin};
pub use origins::{Origins, Subdomains};
pub use owner::{Area, Grant, Grants};
pub use path::{BadPath, Context, canonical_request, encoded, plain, without_parameters};
pub use policy::{AllowedHeaders, Cors, Policy, Rewrite};
pub use regions::MAX_REGION_WEIGHT;
pub use resource::*;
pub use retry::{MAX_ATTEMPTS, RetryPolicy};
pub use route::{ApiKey, Operation, Route, Security};
pub use secret::{Secret, SecretData};
pub use shift::Shift;
pub use spot::Spot;
pub use template::{BadTemplate, Compared, Greedy, Mixed, Tail, Template, TemplateSegment};
pub use tls::Trust;
pub use unusable::Unusable;
pub use upstream::{HostHeader, Upstream};
pub use zone::{MAX_NAME_SERVERS, MAX_SECONDARIES, MAX_TTL, NameServer, Publish, Secondary, Zone};
