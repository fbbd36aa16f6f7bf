//! `NAME.ROLE.REGION.hanse.internal`: the only thing a certificate says about its holder.

use std::{fmt, str::FromStr};

use hanse_topology::Name;
use rustls_pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// The domain under which identities live. `.internal` is reserved for private use, so no public authority signs it.
pub const DOMAIN: &str = "hanse.internal";

/// The label that stands in the region's place for control-plane nodes.
const CONTROL: &str = "control";

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A control-plane node.
    Server,
    /// A region's relay between control plane and gateways.
    Agent,
    /// A data-plane gateway.
    Gateway,
}

impl Role {
    /// The DNS label of the role.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidIdentity;
    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        match text {
            "server" => Ok(Self::Server),
            "agent" => Ok(Self::Agent),
            "gateway" => Ok(Self::Gateway),
            _ => Err(InvalidIdentity::Role { given: text.to_owned() }),
        }
    }
}

/// Who a process is: its name, its role and, unless it is a control-plane node, its region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Unique within role and region.
    pub name: Name,
    /// What it is.
    pub role: Role,
    /// Where it is; `None` for control-plane nodes, which belong to no region.
    pub region: Option<Name>,
}

/// Why a text or certificate is not an [`Identity`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// Not four parts under the domain, or parts that are not names.
    #[error("{given:?} is not an identity: expected NAME.ROLE.REGION.{DOMAIN}")]
    Shape {
        /// What was given.
        given: String,
    },
    /// An unknown role.
    #[error("{given:?} is not a role: expected server, agent or gateway")]
    Role {
        /// What was given.
        given: String,
    },
    /// Control-plane nodes live under `control`, everything else under a region of another name.
    #[error(
        "role {role} does not belong under {under:?}: servers live under {CONTROL:?}, agents and gateways under a region"
    )]
    Place {
        /// The role given.
        role: Role,
        /// The place given for it.
        under: String,
    },
    /// The bytes are not an X.509 certificate.
    #[error("not an X.509 certificate")]
    NotACertificate,
    /// The certificate has no name under the domain, or several.
    #[error("the certificate has {found} names under {DOMAIN}, not exactly one")]
    Count {
        /// How many there are.
        found: usize,
    },
    /// The certificate has an alternative name of a kind that name constraints do not bind.
    #[error("the certificate has an alternative name that is neither a DNS name nor an IP address ({kind})")]
    ForbiddenName {
        /// Which kind.
        kind: &'static str,
    },
}

impl Identity {
    /// A control-plane node.
    pub fn server(name: Name) -> Self {
        Self { name, role: Role::Server, region: None }
    }

    /// A region's agent.
    pub fn agent(name: Name, region: Name) -> Self {
        Self { name, role: Role::Agent, region: Some(region) }
    }

    /// A region's gateway.
    pub fn gateway(name: Name, region: Name) -> Self {
        Self { name, role: Role::Gateway, region: Some(region) }
    }

    /// The identity a certificate carries: the single DNS name under [`DOMAIN`]. Other DNS names and IP addresses are
    /// for clients that check host names. Anything else, URIs above all, is refused, since a regional authority's name
    /// constraint does not bind it.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, InvalidIdentity> {
        let (_, parsed) =
            parse_x509_certificate(certificate).map_err(|_| InvalidIdentity::NotACertificate)?;
        let names = parsed.subject_alternative_name().map_err(|_| InvalidIdentity::NotACertificate)?;
        let mut own = Vec::new();
        for name in names.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) if under_domain(name) => own.push(*name),
                GeneralName::DNSName(_) | GeneralName::IPAddress(_) => {}
                other => return Err(InvalidIdentity::ForbiddenName { kind: kind_of(other) }),
            }
        }
        match own.as_slice() {
            [name] => name.parse(),
            _ => Err(InvalidIdentity::Count { found: own.len() }),
        }
    }

    /// The label in the region's place.
    fn place(&self) -> &str {
        self.region.as_ref().map_or(CONTROL, Name::as_str)
    }

    /// Whether role and region fit together.
    pub(crate) fn check(&self) -> Result<(), InvalidIdentity> {
        let fits = match self.role {
            Role::Server => self.region.is_none(),
            Role::Agent | Role::Gateway => {
                self.region.as_ref().is_some_and(|region| region.as_str() != CONTROL)
            }
        };
        if fits {
            Ok(())
        } else {
            Err(InvalidIdentity::Place { role: self.role, under: self.place().to_owned() })
        }
    }
}

/// Whether a DNS name is [`DOMAIN`] or lies under it; DNS names compare without case.
pub(super) fn under_domain(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.strip_suffix(DOMAIN).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The DNS subtree of a region.
pub(super) fn subtree(region: &Name) -> String {
    format!("{region}.{DOMAIN}")
}

/// Whether the name is taken by the control plane and can be no region's.
pub(super) fn reserved(region: &Name) -> bool {
    region.as_str() == CONTROL
}

fn kind_of(name: &GeneralName<'_>) -> &'static str {
    match name {
        GeneralName::URI(_) => "URI",
        GeneralName::RFC822Name(_) => "mail address",
        GeneralName::DirectoryName(_) => "directory name",
        GeneralName::OtherName(..) => "other name",
        _ => "unknown kind",
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{DOMAIN}", self.name, self.role, self.place())
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;
    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let shape = || InvalidIdentity::Shape { given: text.to_owned() };
        let labels = text.strip_suffix(DOMAIN).and_then(|rest| rest.strip_suffix('.')).ok_or_else(shape)?;
        let [name, role, place] = labels.split('.').collect::<Vec<_>>().try_into().map_err(|_| shape())?;
        let place = Name::new(place).map_err(|_| shape())?;
        let identity = Self {
            name: Name::new(name).map_err(|_| shape())?,
            role: role.parse()?,
            region: (!reserved(&place)).then_some(place),
        };
        identity.check()?;
        Ok(identity)
    }
}
