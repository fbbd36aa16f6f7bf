//! What nodes say of themselves, as far as it is believed. A fact that is a number or a text needs nothing here.

use hanse_proto::{
    nested,
    sync::{GatewayKey, Report},
};
use hanse_state::port::{Facts, TrustStatus};
use hanse_topology::Name;

/// Roots that a process may say it believes: while one takes another's place there are two or three.
const MAX_BELIEVED: usize = 16;
/// The most gateways that an agent may name as missing, or as revoked with their keys: as many as it does.
const MAX_NAMED: usize = 256;
/// The SHA-256 of a key.
const KEY_BYTES: usize = 32;

/// What an agent says of itself. What cannot be read is as if it was not said.
pub(super) fn of_agent(report: &Report) -> Facts {
    bounded(nested::read("facts", &report.facts).unwrap_or_default())
}

/// What a gateway says of itself: it speaks for no other.
pub(super) fn of_gateway(report: Option<&Report>) -> Facts {
    let said = report.map(of_agent).unwrap_or_default();
    Facts { unheard: Vec::new(), unheard_total: 0, left_out: 0, revoked_gateways: Vec::new(), ..said }
}

/// Without what is no key or no name, and without more than there may be.
pub(super) fn bounded(mut facts: Facts) -> Facts {
    let is_name = |name: &String| Name::new(name).is_ok();
    facts.unheard.retain(is_name);
    facts.unheard.truncate(MAX_NAMED);
    let is_known = |gateway: &GatewayKey| is_name(&gateway.name) && gateway.key.len() == KEY_BYTES;
    facts.revoked_gateways.retain(is_known);
    facts.revoked_gateways.truncate(MAX_NAMED);
    facts.trust.iter_mut().for_each(bound_trust);
    facts
}

fn bound_trust(trust: &mut TrustStatus) {
    trust.believed.retain(|key| key.len() == KEY_BYTES);
    trust.believed.truncate(MAX_BELIEVED);
    if trust.shown.len() != KEY_BYTES {
        trust.shown.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(facts: &Facts) -> Report {
        Report { facts: nested::to_bytes(facts), ..Default::default() }
    }

    #[test]
    fn what_is_no_key_or_no_name_is_left_out_and_the_rest_is_bounded() {
        let believed = std::iter::repeat_n(vec![1; 32].into(), 100).chain([vec![1; 500].into()]);
        let trust = Some(TrustStatus { believed: believed.rev().collect(), shown: vec![1; 500].into() });
        let gateway = |name: &str, key: usize| GatewayKey { name: name.into(), key: vec![1; key].into() };
        let facts = of_agent(&said(&Facts {
            trust,
            unheard: ["g 1".into()].into_iter().chain(vec!["g".into(); 10_000]).collect(),
            unheard_total: 10_001,
            revoked_gateways: [gateway("", 32), gateway("g", 31)]
                .into_iter()
                .chain(vec![gateway("g", 32); 10_000])
                .collect(),
            ..Facts::default()
        }));
        let bounded =
            TrustStatus { believed: vec![vec![1; 32].into(); MAX_BELIEVED], shown: Default::default() };
        assert_eq!(facts.trust, Some(bounded));
        assert_eq!((facts.unheard, facts.unheard_total), (vec!["g".to_owned(); MAX_NAMED], 10_001));
        assert_eq!(facts.revoked_gateways, vec![gateway("g", 32); MAX_NAMED]);
        assert_eq!(of_agent(&Report { facts: vec![0xff].into(), ..Default::default() }), Facts::default());
    }

    #[test]
    fn a_gateway_speaks_of_itself_only() {
        let trust = Some(TrustStatus { believed: vec![vec![1; 32].into()], shown: vec![1; 32].into() });
        let facts = Facts {
            trust: trust.clone(),
            unheard: vec!["g".into()],
            left_out: 1,
            revoked_gateways: vec![GatewayKey { name: "g".into(), key: vec![1; 32].into() }],
            ..Facts::default()
        };
        assert_eq!(of_gateway(Some(&said(&facts))), Facts { trust, ..Facts::default() });
        assert_eq!(of_gateway(None), Facts::default());
    }
}
