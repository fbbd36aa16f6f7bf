//! What a node says of itself.

use bytes::Bytes;
use hanse_identity::{LiveCredentials, LiveTrust, TrustAnchor};
use hanse_proto::{
    nested,
    sync::{Facts, Report, TrustStatus},
};

/// What a process of any role says of itself; agents add to it.
pub fn own_facts(trust: TrustStatus) -> Facts {
    Facts {
        trust: Some(trust),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        #[cfg(feature = "next")]
        mood: "curious".to_owned(),
        ..Facts::default()
    }
}

/// A report of one that says this of itself, and this of its subscribers.
pub fn report_of(facts: &Facts, below: Bytes) -> Report {
    Report { facts: nested::to_bytes(facts), below }
}

/// What a process believes now, and the root that its certificate comes from.
pub fn trust_status(trust: &LiveTrust, own: &LiveCredentials) -> TrustStatus {
    let key = |anchor: &TrustAnchor| anchor.spki_sha256().to_vec().into();
    TrustStatus {
        believed: trust.current().anchors().iter().map(key).collect(),
        shown: own.current().trust_anchor().map(|anchor| key(&anchor)).unwrap_or_default(),
    }
}
