//! Joining: turning a token and a fresh key into a certificate chain.

use std::time::Duration;

use hanse_process::{WallClock, telemetry};
use hanse_proto::{
    enrolment::{EnrolRequest, EnrolResponse, enrolment_client::EnrolmentClient},
    raft::ControlNode,
};
use hanse_topology::{Identity, InvalidIdentity, Name, Role};
use tonic::{Code, Request, Status, transport::Channel};

use crate::{
    Authority, Chain, ClientTls, Credentials, JoinToken, KeyPair, NoIdentity, PkiError, TlsError,
    TrustAnchor, connect::connect, explain, tls,
};

/// Longest wait for an answer: on a control node it includes a write through the quorum, possibly an election.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest message that enrolment takes from a joiner. A request with the longest names, addresses and key there are has
/// about 2 KiB; what is announced is reserved before it has come, for callers that are not known.
pub const MAX_ENROLMENT_BYTES: usize = 4 << 10;

/// Why a process could not join.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// No address was given.
    #[error("no address to join at: name at least one enrolment address, like cp-1.example.com:7446")]
    NoAddress,
    /// The TLS configuration could not be made.
    #[error("cannot prepare TLS for joining")]
    Tls(#[from] TlsError),
    /// A node answered, and said no.
    #[error("{address} refused to let this process join: {message}")]
    Refused {
        /// Who.
        address: String,
        /// What kind of refusal.
        code: Code,
        /// Why, in its words.
        message: String,
    },
    /// An address shows another root than the token pins, and no other address admits this process.
    #[error("cannot join with this token: {}", .attempts.join("; "))]
    OtherRoot {
        /// What went wrong, per address.
        attempts: Vec<String>,
    },
    /// No address could be asked.
    #[error("could not join at any address: {}", .attempts.join("; "))]
    Unreachable {
        /// What went wrong, per address.
        attempts: Vec<String>,
    },
    /// The answer does not hold what was asked for.
    #[error("{address} sent an unusable chain")]
    Answer {
        /// Who.
        address: String,
        /// What is wrong with it.
        #[source]
        source: PkiError,
    },
}

/// Asks the addresses in turn for a certificate for this key. The first that answers decides; the next is tried only
/// where an address gives no answer, or the node there cannot decide now or is of another federation.
///
/// The one who answers is believed only if its chain ends in the root that the token pins and it is of the role that admits
/// `joining` (gateways are admitted by agents, all others by control nodes), so that no agent sees a token that is not
/// meant for it. The answer is believed only if its chain ends there too, belongs to our key and makes us what we asked
/// to be.
///
/// `control_node` is for control nodes: where it is, and the newest replicated version that it knows.
pub async fn enrol(
    addresses: &[String],
    token: &JoinToken,
    joining: Role,
    name: &Name,
    key: &KeyPair,
    control_node: Option<(ControlNode, u32)>,
    clock: &WallClock,
) -> Result<EnrolResponse, EnrolError> {
    if addresses.is_empty() {
        return Err(EnrolError::NoAddress);
    }
    let tls = tls::pinned_client_tls(*token.anchor_sha256(), vec![joining.admitted_by()], clock)?;
    let request = EnrolRequest {
        token_id: token.id().to_string(),
        secret: token.secret().to_vec().into(),
        name: name.to_string(),
        public_key: key.public_key_der().into(),
        version: control_node.as_ref().map_or(0, |(_, version)| *version),
        control_node: control_node.map(|(node, _)| node),
    };
    let (mut attempts, mut has_other_root) = (Vec::new(), false);
    for address in addresses {
        match ask(address, tls.clone(), request.clone()).await {
            Ok(response) => {
                check(&response, token, joining, name, key, clock)
                    .map_err(|source| EnrolError::Answer { address: address.clone(), source })?;
                return Ok(response);
            }
            Err(Failure::Refused(status)) => {
                let (code, message) = (status.code(), status.message().to_owned());
                return Err(EnrolError::Refused { address: address.clone(), code, message });
            }
            Err(Failure::OtherRoot(reason)) => {
                has_other_root = true;
                attempts.push(reason);
            }
            Err(Failure::Unreachable(reason)) => attempts.push(reason),
        }
    }
    Err(if has_other_root {
        EnrolError::OtherRoot { attempts }
    } else {
        EnrolError::Unreachable { attempts }
    })
}

/// The chain of an answer, in the order it came.
pub fn chain_of(response: &EnrolResponse) -> Chain {
    response.chain.iter().map(|der| der.to_vec().into()).collect()
}

/// Why one address did not help.
pub(crate) enum Failure {
    /// A node answered, and said no.
    Refused(Status),
    /// The chain that was shown does not end in the root that the token pins.
    OtherRoot(String),
    /// No node answered, or the node that did cannot decide now.
    Unreachable(String),
}

/// What a status says about the one who answered.
pub(crate) fn classified(address: &str, status: Status) -> Failure {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
            Failure::Unreachable(format!("{address}: {}", explain(&status)))
        }
        _ => Failure::Refused(status),
    }
}

async fn ask(address: &str, tls: ClientTls, request: EnrolRequest) -> Result<EnrolResponse, Failure> {
    let answer = desk(address, tls).await?.enrol(with_deadline(request)).await;
    answer.map(tonic::Response::into_inner).map_err(|status| classified(address, status))
}

/// A connection to the node that enrols and renews at an address.
pub(crate) async fn desk(address: &str, tls: ClientTls) -> Result<EnrolmentClient<Channel>, Failure> {
    connect(address, tls).await.map(EnrolmentClient::new).map_err(|error| {
        let reason = telemetry::causes(&error).to_string();
        if tls::fails_the_pin(&error) { Failure::OtherRoot(reason) } else { Failure::Unreachable(reason) }
    })
}

/// A request that waits no longer than [`ANSWER_TIMEOUT`].
pub(crate) fn with_deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_TIMEOUT);
    request
}

/// Whether the chain is of our key, ends in the pinned root and is of use for what the answer says we are.
fn check(
    response: &EnrolResponse,
    token: &JoinToken,
    joining: Role,
    name: &Name,
    key: &KeyPair,
    clock: &WallClock,
) -> Result<(), PkiError> {
    let chain = chain_of(response);
    let anchor = TrustAnchor::of_chain(&chain)?;
    if anchor.spki_sha256() != *token.anchor_sha256() {
        return Err(PkiError::certificate("it does not end in the root that the join token pins"));
    }
    let role: Role = response.role.parse().map_err(|error| NoIdentity::from(InvalidIdentity::Role(error)))?;
    if role != joining {
        return Err(PkiError::certificate(format!("the join token is for {role}, not for {joining}")));
    }
    let region = || {
        Name::new(&response.region)
            .map_err(|error| PkiError::certificate(format!("the answer names no region: {error}")))
    };
    let region = role.has_region().then(region).transpose()?;
    let expected = Identity { name: name.clone(), role, region };
    let leaf = if role.certifies() {
        // Path validation takes leaves only: so use the new authority once, for what it is for.
        let authority = Authority::from_parts(chain, key.clone())?.with_clock(clock.clone());
        authority.issue_credentials(&expected, &[])?
    } else {
        Credentials::new(chain, key.clone())?
    };
    if *leaf.identity() != expected {
        let given = format!("{} instead of {expected}", leaf.identity());
        return Err(NoIdentity::from(InvalidIdentity::Shape { given }).into());
    }
    anchor.verify(leaf.chain(), clock.now()).map(|_| ())
}

#[cfg(test)]
pub(crate) mod tests;
