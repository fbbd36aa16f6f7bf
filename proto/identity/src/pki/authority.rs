//! Issuing certificates. Parameters are always built afresh: of what a joiner sends, only the public key is used.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::Duration,
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use hanse_process::WallClock;
use hanse_topology::{DOMAIN, Identity, Name, Role, is_reserved};
use rand::RngCore as _;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyUsagePurpose, NameConstraints, PublicKeyData as _, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{
    Chain, Credentials, Environments, KeyDigest, KeyDir, KeyPair, NoIdentity, PkiError, TrustAnchor,
    Validity, files, identity, key_digest,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The root is made once and kept by the operator; replacing it means visiting every node.
const ROOT_LIFE: Duration = DAY.saturating_mul(20 * 365);
/// Control intermediates are issued by hand (the root is away), so they must outlive the memory of how it is done.
const CONTROL_LIFE: Duration = DAY.saturating_mul(5 * 365);
/// A region must survive a long loss of the control plane, which renews this.
const REGIONAL_LIFE: Duration = DAY.saturating_mul(30);
/// The longest a stolen leaf is of use.
const LEAF_LIFE: Duration = DAY;
/// Bytes of a random serial number. RFC 5280 §4.1.2.2 allows 20; 16 never collide.
const SERIAL_BYTES: usize = 16;

/// Where an authority stands in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tier {
    /// Issues control intermediates only.
    Root,
    /// A control-plane node: issues its own leaves and regional intermediates.
    Control,
    /// An agent: issues leaves of its own region.
    Regional(Name),
}

impl Tier {
    /// How many authorities may follow below.
    fn path_length(&self) -> u8 {
        match self {
            Self::Root => 2,
            Self::Control => 1,
            Self::Regional(_) => 0,
        }
    }
}

/// A further name of a leaf, for clients that check host names (browsers, curl).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SanName {
    /// A DNS name outside our own domain.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// A certificate authority: its own chain (own certificate first, root last) and key, and the clock it dates what it
/// issues by.
#[derive(Debug, Clone)]
pub struct Authority {
    chain: Chain,
    key: KeyPair,
    tier: Tier,
    validity: Validity,
    clock: WallClock,
}

impl Authority {
    /// A new federation's root.
    pub fn new_root() -> Result<Self, PkiError> {
        Self::new_root_by(WallClock::system())
    }

    /// A new federation's root, made at the time of this clock.
    pub fn new_root_by(clock: WallClock) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        // Roots of different federations must not share a subject: path building goes by it.
        let label = hex::encode(random::<4>());
        let params =
            authority_params("Hanse root", &label, &Tier::Root, Validity::from(clock.now(), ROOT_LIFE));
        let certificate = params.self_signed(&*key.0).map_err(PkiError::Crypto)?;
        Ok(Self::from_parts(vec![certificate.into()], key)?.with_clock(clock))
    }

    /// An authority from the chain it was given and its key.
    pub fn from_parts(chain: Chain, key: KeyPair) -> Result<Self, PkiError> {
        let own = chain.first().ok_or_else(|| PkiError::certificate("the chain is empty"))?;
        if !key.belongs_to(own) {
            return Err(PkiError::KeyMismatch);
        }
        let tier = tier_of(own)?;
        let validity = Validity::of_certificate(own)?;
        Ok(Self { chain, key, tier, validity, clock: WallClock::system() })
    }

    /// Goes by this clock instead of the system's.
    pub fn with_clock(self, clock: WallClock) -> Self {
        Self { clock, ..self }
    }

    /// Reads `chain.pem` and `key.pem` of a directory.
    pub fn load(dir: impl Into<KeyDir>) -> Result<Self, PkiError> {
        let (chain, key) = files::load(&dir.into())?;
        Self::from_parts(chain, key)
    }

    /// Whether a directory holds a whole authority: a crash while it was saved first leaves none.
    pub fn is_saved(dir: &Path) -> bool {
        files::is_saved(dir)
    }

    /// Writes `chain.pem` and `key.pem` (mode 0600) into a directory, made if absent.
    pub fn save(&self, dir: impl Into<KeyDir>) -> Result<(), PkiError> {
        files::save(&dir.into(), &self.chain, &self.key)
    }

    /// The root its chain ends in.
    pub fn trust_anchor(&self) -> Result<TrustAnchor, PkiError> {
        TrustAnchor::of_chain(&self.chain)
    }

    /// Own certificate first, root last.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Where it stands.
    pub fn tier(&self) -> &Tier {
        &self.tier
    }

    /// The clock it goes by.
    pub fn clock(&self) -> &WallClock {
        &self.clock
    }

    /// The key it signs with.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// When its own certificate is valid; nothing it issues lives longer.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Certifies a control-plane node's authority. Only the root can.
    pub fn issue_control_intermediate(&self, spki: &[u8], name: &Name) -> Result<Chain, PkiError> {
        if self.tier != Tier::Root {
            return Err(PkiError::not_allowed("only the root issues control intermediates"));
        }
        let validity = self.lifetime(CONTROL_LIFE)?;
        self.sign(authority_params("Hanse control plane", name.as_str(), &Tier::Control, validity), spki)
    }

    /// What the root goes by that its chain ends in.
    pub fn root_key(&self) -> Result<KeyDigest, PkiError> {
        key_digest(self.chain.last().ok_or_else(|| PkiError::certificate("the chain is empty"))?)
    }

    /// Says, as a root, that another root is one too: a certificate of its key (see [`Rotation`](super::Rotation)).
    pub(super) fn endorse(&self, other: &Self) -> Result<CertificateDer<'static>, PkiError> {
        if self.tier != Tier::Root || other.tier != Tier::Root {
            return Err(PkiError::not_allowed("only a root speaks for a root"));
        }
        let label = hex::encode(other.trust_anchor()?.spki_sha256());
        let params = authority_params("Hanse root", &label, &Tier::Root, other.validity);
        let chain = self.sign(params, &other.key.public_key_der())?;
        chain.into_iter().next().ok_or_else(|| PkiError::certificate("the chain is empty"))
    }

    /// Certifies an agent's authority over its region. Only a control intermediate can.
    pub fn issue_regional_intermediate(&self, spki: &[u8], region: &Name) -> Result<Chain, PkiError> {
        if self.tier != Tier::Control {
            return Err(PkiError::not_allowed("only a control intermediate issues regional intermediates"));
        }
        if is_reserved(region) {
            return Err(PkiError::not_allowed(format!(
                "{region:?} is the control plane's name, not a region's"
            )));
        }
        let validity = self.lifetime(REGIONAL_LIFE)?;
        let mut params =
            authority_params("Hanse region", region.as_str(), &Tier::Regional(region.clone()), validity);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(identity::subtree(region))],
            excluded_subtrees: [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
                .map(|any| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(any, 0)))
                .into(),
        });
        self.sign(params, spki)
    }

    /// Certifies a process for a day: servers by a control intermediate, agents and gateways by their region's. Extra
    /// names are for clients that check host names; a region's leaves can have none.
    pub fn issue_leaf(&self, spki: &[u8], identity: &Identity, extra: &[SanName]) -> Result<Chain, PkiError> {
        self.issue_dated_leaf(spki, identity, extra, &Environments::default(), self.lifetime(LEAF_LIFE)?)
    }

    /// Certifies a gateway, with the environments that it serves. Only a region's authority can, and leaves of other roles name none.
    ///
    /// A server shows its leaf to each client: a listener of clients is not to have a leaf that names environments.
    pub fn issue_leaf_for(
        &self,
        spki: &[u8],
        identity: &Identity,
        environments: &Environments,
    ) -> Result<Chain, PkiError> {
        if !matches!(self.tier, Tier::Regional(_)) || identity.role != Role::Gateway {
            return Err(PkiError::not_allowed("only the leaves of a region's gateways name environments"));
        }
        self.issue_dated_leaf(spki, identity, &[], environments, self.lifetime(LEAF_LIFE)?)
    }

    fn issue_dated_leaf(
        &self,
        spki: &[u8],
        identity: &Identity,
        extra: &[SanName],
        environments: &Environments,
        validity: Validity,
    ) -> Result<Chain, PkiError> {
        identity.check().map_err(NoIdentity::from)?;
        let own = match &self.tier {
            Tier::Root => false,
            Tier::Control => identity.region.is_none(),
            Tier::Regional(region) => identity.region.as_ref() == Some(region),
        };
        if !own {
            let what = match &self.tier {
                Tier::Root => "the root issues no leaves".to_owned(),
                Tier::Control => {
                    "a control intermediate issues leaves of control-plane nodes only".to_owned()
                }
                Tier::Regional(region) => format!("its region is {region}"),
            };
            return Err(PkiError::not_allowed(format!("{identity}: {what}")));
        }
        if !extra.is_empty() && self.tier != Tier::Control {
            return Err(PkiError::not_allowed("a region's name constraint permits no further names"));
        }
        let mut params = base_params(identity.role.as_str(), identity.name.as_str(), validity);
        params.is_ca = IsCa::ExplicitNoCa;
        params.custom_extensions.extend(environments.extension()?);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Every process is a server to some and a client to others.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names.push(dns(&identity.to_string())?);
        for name in extra {
            params.subject_alt_names.push(match name {
                SanName::Ip(address) => SanType::IpAddress(*address),
                SanName::Dns(name) if identity::under_domain(name) => {
                    return Err(PkiError::not_allowed(format!(
                        "{name} lies under {DOMAIN}, which is for identities"
                    )));
                }
                SanName::Dns(name) => dns(name)?,
            });
        }
        self.sign(params, spki)
    }

    /// A leaf with a fresh key, for the process that holds this authority.
    pub fn issue_credentials(&self, identity: &Identity, extra: &[SanName]) -> Result<Credentials, PkiError> {
        let key = KeyPair::generate()?;
        Credentials::new(self.issue_leaf(&key.public_key_der(), identity, extra)?, key)
    }

    /// What the holder of this authority shows to have the authority renewed: an ordinary leaf with a fresh key or, if the
    /// authority has expired, one that expired with it, which is of no other use.
    pub fn issue_renewal_credentials(&self, identity: &Identity) -> Result<Credentials, PkiError> {
        if self.clock.now() < self.validity.not_after {
            return self.issue_credentials(identity, &[]);
        }
        let key = KeyPair::generate()?;
        Credentials::new(
            self.issue_dated_leaf(
                &key.public_key_der(),
                identity,
                &[],
                &Environments::default(),
                self.validity,
            )?,
            key,
        )
    }

    /// A control intermediate with a fresh key: what a root makes for the first control-plane node.
    pub fn new_control_intermediate(&self, name: &Name) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let chain = self.issue_control_intermediate(&key.public_key_der(), name)?;
        Ok(Self::from_parts(chain, key)?.with_clock(self.clock.clone()))
    }

    /// A regional intermediate with a fresh key, where authority and agent live in one process.
    pub fn new_regional_intermediate(&self, region: &Name) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let chain = self.issue_regional_intermediate(&key.public_key_der(), region)?;
        Ok(Self::from_parts(chain, key)?.with_clock(self.clock.clone()))
    }

    /// The validity of something that begins now and should live so long: never longer than this authority itself.
    fn lifetime(&self, life: Duration) -> Result<Validity, PkiError> {
        let now = self.clock.now();
        if self.validity.not_after <= now {
            return Err(PkiError::not_allowed("its own certificate has expired; renew it first"));
        }
        let Validity { not_before, not_after } = Validity::from(now, life);
        Ok(Validity { not_before, not_after: not_after.min(self.validity.not_after) })
    }

    fn sign(&self, params: CertificateParams, spki: &[u8]) -> Result<Chain, PkiError> {
        let public_key = checked_public_key(spki)?;
        let issuer = Issuer::from_ca_cert_der(&self.chain[0], &*self.key.0).map_err(PkiError::Crypto)?;
        let certificate = params.signed_by(&public_key, &issuer).map_err(PkiError::Crypto)?;
        Ok(std::iter::once(certificate.into()).chain(self.chain.iter().cloned()).collect())
    }
}

/// Only P-256 keys, and only points on the curve: one key type in the whole federation.
pub(super) fn checked_public_key(spki: &[u8]) -> Result<SubjectPublicKeyInfo, PkiError> {
    let refused = |reason: String| PkiError::PublicKey { reason };
    let key = SubjectPublicKeyInfo::from_der(spki).map_err(|error| refused(error.to_string()))?;
    if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(refused("it is not an ECDSA P-256 key".into()));
    }
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.der_bytes())
        .map_err(|error| refused(error.to_string()))?;
    Ok(key)
}

fn base_params(organization: &str, name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    let mut serial = random::<SERIAL_BYTES>();
    serial[0] = serial[0] & 0x7f | 0x40; // positive and of fixed length
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority_params(organization: &str, name: &str, tier: &Tier, validity: Validity) -> CertificateParams {
    let mut params = base_params(organization, name, validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(tier.path_length()));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn dns(name: &str) -> Result<SanType, PkiError> {
    let name = name.try_into().map_err(|_| PkiError::not_allowed(format!("{name:?} is not a DNS name")))?;
    Ok(SanType::DnsName(name))
}

/// What an authority's own certificate makes it.
pub(super) fn tier_of(certificate: &[u8]) -> Result<Tier, PkiError> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(PkiError::certificate)?;
    let constraints = parsed
        .basic_constraints()
        .map_err(PkiError::certificate)?
        .filter(|constraints| constraints.value.ca)
        .ok_or_else(|| PkiError::certificate("it is not an authority's"))?;
    match constraints.value.path_len_constraint {
        Some(2) => Ok(Tier::Root),
        Some(1) => Ok(Tier::Control),
        Some(0) => {
            let constraints = parsed.name_constraints().map_err(PkiError::certificate)?;
            let permitted = constraints.and_then(|found| found.value.permitted_subtrees.as_deref());
            let Some([subtree]) = permitted else {
                return Err(PkiError::certificate("a regional authority must be constrained to one subtree"));
            };
            let region = match subtree.base {
                GeneralName::DNSName(name) => name
                    .strip_suffix(DOMAIN)
                    .and_then(|rest| rest.strip_suffix('.'))
                    .and_then(|rest| Name::new(rest).ok()),
                _ => None,
            };
            region
                .map(Tier::Regional)
                .ok_or_else(|| PkiError::certificate("its name constraint names no region"))
        }
        _ => Err(PkiError::certificate("its path length fits no authority of ours")),
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
impl Authority {
    /// Chain and key, for forging.
    pub(super) fn parts(&self) -> (&Chain, &KeyPair) {
        (&self.chain, &self.key)
    }
}
