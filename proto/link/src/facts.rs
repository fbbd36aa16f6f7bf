//! What a node says of itself.

use bytes::Bytes;
use hanse_identity::{LiveCredentials, LiveTrust, TrustAnchor};
use hanse_proto::{
    nested,
    sync::{Facts, Report, Serving, TrustStatus},
};
use prost::Message as _;

/// The most that a gateway says of what it serves: half of what a report of it may take. That is 4 URLs, and some 25 scopes.
pub const MAX_SERVING_BYTES: usize = 2 << 10;
/// The longest reason for not being ready: a line of text. It stands in a table.
const MAX_REASON_BYTES: usize = 256;

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
    Report { facts: nested::to_bytes(facts), below, traffic: None }
}

/// What a gateway serves, for its facts: its URLs, external and internal, where it takes requests over tunnels, and as many of its scopes, in their order, as there is room
/// for.
pub fn serving(
    scopes: &[String],
    (urls, internal_urls, tunnels): (&[String], &[String], &[String]),
    ready: &Result<(), String>,
) -> Serving {
    let not_ready = ready.as_ref().err().map_or("", |why| &why[..why.floor_char_boundary(MAX_REASON_BYTES)]);
    let mut serving = Serving {
        scopes: Vec::new(),
        scopes_total: scopes.len() as u64,
        urls: urls.to_vec(),
        internal_urls: internal_urls.to_vec(),
        not_ready: not_ready.to_owned(),
        ready: ready.is_ok(),
        tunnels: tunnels.to_vec(),
    };
    let mut left = MAX_SERVING_BYTES.saturating_sub(serving.encoded_len());
    let fits = |scope: &&String| {
        let tag_and_length = 1 + prost::length_delimiter_len(scope.len());
        let rest = left.checked_sub(tag_and_length + scope.len());
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    serving.scopes = scopes.iter().take_while(fits).cloned().collect();
    serving
}

/// What a process believes now, and the root that its certificate comes from.
pub fn trust_status(trust: &LiveTrust, own: &LiveCredentials) -> TrustStatus {
    let key = |anchor: &TrustAnchor| anchor.spki_sha256().to_vec().into();
    TrustStatus {
        believed: trust.current().anchors().iter().map(key).collect(),
        shown: own.current().trust_anchor().map(|anchor| key(&anchor)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_serves_is_bounded_and_counted() {
        let scopes: Vec<String> = (0..100).map(|n| format!("runtime/eu-west/environment-{n:03}")).collect();
        let urls = vec!["https://a.example".to_owned()];
        let inner = vec!["https://10.0.0.7".to_owned()];
        let tunnels = vec!["a.example:7447".to_owned()];
        let all = serving(&scopes[..2], (&urls, &inner, &tunnels), &Ok(()));
        assert_eq!(
            (&all.scopes[..], all.scopes_total, &*all.not_ready, all.ready),
            (&scopes[..2], 2, "", true)
        );
        assert_eq!((&all.urls, &all.internal_urls, &all.tunnels), (&urls, &inner, &tunnels));
        let many = serving(&scopes, (&urls, &inner, &tunnels), &Err("ä".repeat(1_000)));
        assert_eq!((many.scopes_total, many.not_ready.len(), many.ready), (100, MAX_REASON_BYTES, false));
        assert!(many.encoded_len() <= MAX_SERVING_BYTES);
        let next = &scopes[many.scopes.len()];
        let more =
            Serving { scopes: [&many.scopes[..], std::slice::from_ref(next)].concat(), ..many.clone() };
        assert!(many.scopes[..] == scopes[..many.scopes.len()] && more.encoded_len() > MAX_SERVING_BYTES);
    }
}
