//! What a node says of itself.

use bytes::Bytes;
use hanse_identity::{LiveCredentials, LiveTrust, TrustAnchor};
use hanse_proto::{
    nested,
    sync::{Facts, Report, Responder, Serving, TrustStatus},
};
use prost::Message as _;

/// The most that a gateway says of what it serves: half of what a report of it may take. That is 4 URLs, and some 25 scopes.
pub const MAX_SERVING_BYTES: usize = 2 << 10;
/// The most that a DNS responder says of its zones, keys and hosts: likewise half of a report.
pub const MAX_RESPONDER_BYTES: usize = 2 << 10;
/// The longest reason for not being ready, or for a host that is not published: a line of text. It stands in a table.
const MAX_REASON_BYTES: usize = 256;

/// What a process of any role says of itself; agents add to it.
pub fn own_facts(trust: TrustStatus, own: &LiveCredentials) -> Facts {
    Facts {
        trust: Some(trust),
        certificate_expires: own.current().validity().end_unix_seconds(),
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

/// What a DNS responder says of itself, for its facts: as much of its lists as there is room for, with the totals. `said` has the lists
/// whole, and the total of the hosts that it publishes.
pub fn responder(said: Responder) -> Responder {
    let mut said = Responder {
        zones_total: said.zones.len() as u64,
        missing_keys_total: said.missing_keys.len() as u64,
        failed_total: said.published.len() as u64,
        ..said
    };
    for published in &mut said.published {
        published.failed.truncate(published.failed.floor_char_boundary(MAX_REASON_BYTES));
    }
    // Half of the longest list goes, so a long list takes few turns.
    while said.encoded_len() > MAX_RESPONDER_BYTES {
        let Responder { zones, missing_keys, published, .. } = &mut said;
        let half = |length: usize| length / 2;
        match zones.len().max(missing_keys.len()).max(published.len()) {
            0 => break, // an address, and a digest
            most if most == zones.len() => zones.truncate(half(most)),
            most if most == missing_keys.len() => missing_keys.truncate(half(most)),
            most => published.truncate(half(most)),
        }
    }
    said
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
    use hanse_proto::sync::{Published, ZoneServed};

    use super::*;

    #[test]
    fn what_a_responder_says_is_bounded_and_counted() {
        let zone = |at: u32| ZoneServed { zone: format!("zone-{at:03}"), serial: at };
        let few =
            Responder { zones: vec![zone(1)], missing_keys: vec!["to-bind".into()], ..Default::default() };
        let said = responder(few.clone());
        assert_eq!((&said.zones, &said.missing_keys), (&few.zones, &few.missing_keys));
        assert_eq!((said.zones_total, said.missing_keys_total, said.failed_total), (1, 1, 0));
        let failed =
            |at: u64| Published {
                host: format!("host-{at}"), failed: "ä".repeat(500), ..Default::default()
            };
        let many = Responder {
            address: "a.example:53".into(),
            zones: (0..512).map(zone).collect(),
            missing_keys: (0..512).map(|at| format!("key-{at}")).collect(),
            published: (0..512).map(failed).collect(),
            published_total: 600,
            ..Default::default()
        };
        let said = responder(many);
        assert!(said.encoded_len() <= MAX_RESPONDER_BYTES, "{}", said.encoded_len());
        assert!(!said.zones.is_empty() && !said.missing_keys.is_empty() && !said.published.is_empty());
        assert_eq!(said.published[0].failed.len(), MAX_REASON_BYTES);
        let totals = (said.zones_total, said.missing_keys_total, said.failed_total, said.published_total);
        assert_eq!(totals, (512, 512, 512, 600));
    }

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
