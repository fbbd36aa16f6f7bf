//! What a process says of the roots it believes.

use hanse_identity::{LiveCredentials, LiveTrust, TrustAnchor};
use hanse_proto::sync::TrustStatus;

/// What a process believes now, and the root that its certificate comes from.
pub fn trust_status(trust: &LiveTrust, own: &LiveCredentials) -> TrustStatus {
    let key = |anchor: &TrustAnchor| anchor.spki_sha256().to_vec().into();
    TrustStatus {
        believed: trust.current().anchors().iter().map(key).collect(),
        shown: own.current().trust_anchor().map(|anchor| key(&anchor)).unwrap_or_default(),
    }
}
