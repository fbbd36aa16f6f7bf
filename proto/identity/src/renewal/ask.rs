//! Asking the nodes that can renew this process's certificate.

use hanse_proto::enrolment::{RenewRequest, RenewResponse};

use crate::{
    Authority, Chain, ClientTls, Credentials, Expect, KeyPair, LiveCredentials, LiveTrust, PkiError,
    TlsError, Validity, client_tls,
    enrolment::{Failure, classified, desk, with_deadline},
};
use hanse_topology::Identity;

/// Who renews a process's certificate, and how they are known.
#[derive(Debug, Clone)]
pub struct Issuers {
    /// Their enrolment addresses, `host:port`.
    pub addresses: Vec<String>,
    /// Whom to believe.
    pub trust: LiveTrust,
    /// What they are.
    pub expect: Expect,
}

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// No address is configured.
    #[error("no address to renew at: name at least one enrolment address (enrolment = [\"host:7446\"])")]
    NoAddress,
    /// The TLS configuration could not be made.
    #[error("cannot prepare TLS for renewal")]
    Tls(#[from] TlsError),
    /// This process's own certificate cannot be shown.
    #[error("cannot show a certificate to renew")]
    Own(#[source] PkiError),
    /// No node renewed it, and one said why.
    #[error("{address} refused to renew this process's certificate: {message}")]
    Refused {
        /// Who.
        address: String,
        /// Why, in its words.
        message: String,
    },
    /// No address could be asked.
    #[error("could not renew at any address: {}", .attempts.join("; "))]
    Unreachable {
        /// What went wrong, per address.
        attempts: Vec<String>,
    },
    /// The answer is of no use.
    #[error("{address} sent an unusable chain")]
    Answer {
        /// Who.
        address: String,
        /// What is wrong with it.
        #[source]
        source: PkiError,
    },
}

/// A fresh certificate for the same identity and key.
pub async fn renew_credentials(issuers: &Issuers, current: &Credentials) -> Result<Credentials, RenewError> {
    ask_in_turn(issuers, current.clone(), |chain| {
        let fresh = Credentials::new(chain, current.key().clone())?;
        check(issuers, fresh.chain(), current.identity())?;
        check_worth(issuers, (fresh.chain(), fresh.validity()), (current.chain(), current.validity()))?;
        Ok(fresh)
    })
    .await
}

/// A fresh certificate for an authority, asked for by `own`, the process that holds it. The authority may have expired.
pub async fn renew_authority(
    issuers: &Issuers,
    current: &Authority,
    own: &Identity,
) -> Result<Authority, RenewError> {
    let shown = current.issue_renewal_credentials(own).map_err(RenewError::Own)?;
    let key: &KeyPair = current.key();
    ask_in_turn(issuers, shown, |chain| {
        let fresh = Authority::from_parts(chain, key.clone())?.with_clock(issuers.trust.clock().clone());
        // Path validation takes leaves only: so use the new certificate once, for what it is for.
        check(issuers, fresh.issue_credentials(own, &[])?.chain(), own)?;
        check_worth(issuers, (fresh.chain(), fresh.validity()), (current.chain(), current.validity()))?;
        Ok(fresh)
    })
    .await
}

/// Whether a leaf's chain is good for this identity here and now.
fn check(issuers: &Issuers, chain: &Chain, expected: &Identity) -> Result<(), PkiError> {
    let trust = &issuers.trust;
    let found = trust.current().verify(chain, trust.clock().now())?;
    if found == *expected {
        return Ok(());
    }
    Err(PkiError::certificate(format!("it makes this process {found} instead of {expected}")))
}

/// Whether a fresh chain is better than the present one, if the present one is of use. While one root takes another's place, the
/// issuer may still be under the old one. Another issuer does better then, or the same one a moment later. Past half its life, the
/// present chain is no better than one that ends later.
fn check_worth(
    issuers: &Issuers,
    (fresh, its): (&Chain, Validity),
    (current, life): (&Chain, Validity),
) -> Result<(), PkiError> {
    let (believed, now) = (issuers.trust.current(), issuers.trust.clock().now());
    let lasts_longer = now >= life.half_life() && its.not_after > life.not_after;
    let is_of_use = !lasts_longer && !issuers.trust.refuses_key_of(current);
    if is_of_use && believed.is_outdated(fresh) && believed.is_outdated(current) {
        return Err(PkiError::certificate("it comes from the root that another takes the place of"));
    }
    Ok(())
}

/// Asks all in turn until one renews. A refusal ends nothing: another may know more, and nothing secret is shown.
async fn ask_in_turn<T>(
    issuers: &Issuers,
    shown: Credentials,
    take: impl Fn(Chain) -> Result<T, PkiError>,
) -> Result<T, RenewError> {
    if issuers.addresses.is_empty() {
        return Err(RenewError::NoAddress);
    }
    let tls = client_tls(Some(&LiveCredentials::new(shown)), &issuers.trust, issuers.expect.clone())?;
    let mut verdict = None;
    let mut attempts = Vec::new();
    for address in &issuers.addresses {
        let error = match ask(address, tls.clone()).await {
            Ok(response) => {
                let chain = response.chain.iter().map(|der| der.to_vec().into()).collect();
                match take(chain) {
                    Ok(fresh) => return Ok(fresh),
                    Err(source) => RenewError::Answer { address: address.clone(), source },
                }
            }
            Err(Failure::Refused(status)) => {
                RenewError::Refused { address: address.clone(), message: status.message().to_owned() }
            }
            Err(Failure::OtherRoot(reason) | Failure::Unreachable(reason)) => {
                attempts.push(reason);
                continue;
            }
        };
        verdict.get_or_insert(error);
    }
    Err(verdict.unwrap_or(RenewError::Unreachable { attempts }))
}

async fn ask(address: &str, tls: ClientTls) -> Result<RenewResponse, Failure> {
    let answer = desk(address, tls).await?.renew(with_deadline(RenewRequest {})).await;
    answer.map(tonic::Response::into_inner).map_err(|status| classified(address, status))
}
