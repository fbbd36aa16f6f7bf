//! What nodes say of themselves, as far as it is believed. A list and a text get their bound here, and a fact that is an agent's
//! alone its line.

use hanse_link::{MAX_CONSUMER_REPORT_BYTES, MAX_FACTS_BYTES, MAX_SERVING_BYTES};
use hanse_proto::{
    nested,
    sync::{GatewayKey, MintedToken, Published, Report, Responder, ZoneServed},
};
use hanse_state::port::{Facts, TrustStatus};
use hanse_topology::{Name, dialable};

/// Roots that a process may say it believes: while one takes another's place there are two or three.
const MAX_BELIEVED: usize = 16;
/// The most gateways that an agent may name as missing, or as revoked with their keys: as many as it does.
const MAX_NAMED: usize = 256;
/// Join tokens that an agent may tell of, and environments of each: as many as it does.
const MAX_MINTED: usize = 64;
const MAX_ENVIRONMENTS: usize = 4;
/// Features that a gateway may say it knows: far more than there are.
const MAX_FEATURES: usize = 64;
/// A release, and a feature's name: a few words.
const MAX_WORD_BYTES: usize = 64;
/// Zones, keys and hosts that a responder may name, each: more than it has room for, which is 2 KiB.
const MAX_SERVED: usize = 256;
/// The name of a TSIG key, and a reason: a line of text.
const MAX_TEXT_BYTES: usize = 256;
/// The SHA-256 of a key, or of a file.
const KEY_BYTES: usize = 32;

/// What an agent says of itself. Facts that cannot be read, or take more than an agent may say, count as not said.
pub(super) fn of_agent(report: &Report) -> Facts {
    Facts { responder: None, ..read(&report.facts, MAX_FACTS_BYTES) }
}

/// What a gateway says of itself: it speaks for no other.
pub(super) fn of_gateway(report: Option<&Report>) -> Facts {
    Facts { responder: None, ..of_responder(report) }
}

/// What a DNS responder says of itself: what a gateway does, and what it serves.
pub(super) fn of_responder(report: Option<&Report>) -> Facts {
    let facts = report.map(|report| read(&report.facts, MAX_CONSUMER_REPORT_BYTES)).unwrap_or_default();
    let (unheard, revoked_gateways, minted_tokens) = (Vec::new(), Vec::new(), Vec::new());
    Facts {
        unheard,
        unheard_total: 0,
        left_out: 0,
        revoked_gateways,
        minted_tokens,
        version: 0,
        newest_key: 0,
        address: String::new(),
        authority_expires: 0,
        ..facts
    }
}

/// Decoded, empty entries take fifty times their length: so the length is judged first.
fn read(facts: &[u8], most: usize) -> Facts {
    let fits = facts.len() <= most;
    fits.then(|| nested::read("facts", facts).ok()).flatten().map(bounded).unwrap_or_default()
}

/// Without what is no key or no name, and without more than there may be.
pub(super) fn bounded(mut facts: Facts) -> Facts {
    let is_name = |name: &String| Name::new(name).is_ok();
    keep(&mut facts.unheard, MAX_NAMED, is_name);
    let is_known = |gateway: &GatewayKey| is_name(&gateway.name) && gateway.key.len() == KEY_BYTES;
    keep(&mut facts.revoked_gateways, MAX_NAMED, is_known);
    keep(&mut facts.minted_tokens, MAX_MINTED, |token: &MintedToken| {
        is_name(&token.id)
            && is_name(&token.role)
            && token.environments.len() <= MAX_ENVIRONMENTS
            && token.environments.iter().all(is_name)
    });
    keep(&mut facts.features, MAX_FEATURES, |feature| feature.len() <= MAX_WORD_BYTES);
    facts.release = Some(facts.release).filter(|release| release.len() <= MAX_WORD_BYTES).unwrap_or_default();
    if dialable(&facts.address).is_none() {
        facts.address = String::new();
    }
    if facts.serving.len() > MAX_SERVING_BYTES {
        facts.serving.clear();
    }
    facts.responder.iter_mut().for_each(bound_responder);
    #[cfg(feature = "next")]
    facts.mood.truncate(facts.mood.floor_char_boundary(MAX_WORD_BYTES));
    facts.trust.iter_mut().for_each(bound_trust);
    facts
}

/// What a responder says, with what stands in tables.
fn bound_responder(said: &mut Responder) {
    let is_text = |text: &String| !text.is_empty() && text.len() <= MAX_TEXT_BYTES;
    keep(&mut said.zones, MAX_SERVED, |zone: &ZoneServed| Name::new(&zone.zone).is_ok());
    keep(&mut said.missing_keys, MAX_SERVED, is_text);
    keep(&mut said.published, MAX_SERVED, |published: &Published| {
        Name::new(&published.host).is_ok() && is_text(&published.failed)
    });
    if dialable(&said.address).is_none() {
        said.address = String::new();
    }
    if said.geo.len() != KEY_BYTES {
        said.geo.clear();
    }
}

/// Keeps the first entries that are sound, and no room for others: facts are remembered for an hour.
fn keep<T>(list: &mut Vec<T>, most: usize, is_sound: impl Fn(&T) -> bool) {
    list.retain(is_sound);
    list.truncate(most);
    list.shrink_to_fit();
}

fn bound_trust(trust: &mut TrustStatus) {
    keep(&mut trust.believed, MAX_BELIEVED, |key| key.len() == KEY_BYTES);
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
        let minted = |id: &str, environments: usize| MintedToken {
            id: id.into(),
            role: "gateway".into(),
            environments: vec!["e".into(); environments],
            ..MintedToken::default()
        };
        let facts = of_agent(&said(&Facts {
            trust,
            unheard: ["g 1".into()].into_iter().chain(vec!["g".into(); 1_000]).collect(),
            unheard_total: 10_001,
            revoked_gateways: [gateway("", 32), gateway("g", 31)]
                .into_iter()
                .chain(vec![gateway("g", 32); 1_000])
                .collect(),
            features: vec!["f".into(); 100],
            minted_tokens: [minted("gw 1", 1), minted("gw", 5)]
                .into_iter()
                .chain(vec![minted("gw", 4); 100])
                .collect(),
            release: "r".repeat(65),
            address: "0.0.0.0:7443".into(),
            serving: vec![0; MAX_SERVING_BYTES + 1].into(),
            ..Facts::default()
        }));
        let bounded =
            TrustStatus { believed: vec![vec![1; 32].into(); MAX_BELIEVED], shown: Default::default() };
        assert_eq!(facts.trust, Some(bounded));
        assert!(
            facts.unheard.capacity() < 2 * MAX_NAMED && facts.revoked_gateways.capacity() < 2 * MAX_NAMED
        );
        assert_eq!((facts.unheard, facts.unheard_total), (vec!["g".to_owned(); MAX_NAMED], 10_001));
        assert_eq!(facts.revoked_gateways, vec![gateway("g", 32); MAX_NAMED]);
        assert_eq!((facts.features.len(), &*facts.release, &*facts.address), (MAX_FEATURES, "", ""));
        assert!(facts.serving.is_empty());
        assert_eq!(facts.minted_tokens, vec![minted("gw", 4); MAX_MINTED]);
        assert_eq!(of_agent(&Report { facts: vec![0xff].into(), ..Default::default() }), Facts::default());
        // A million empty entries are not even read.
        let roots = TrustStatus { believed: vec![Default::default(); 1 << 20], ..TrustStatus::default() };
        let many = Facts { trust: Some(roots), ..Facts::default() };
        assert_eq!(of_agent(&said(&many)), Facts::default());
        assert_eq!(of_gateway(Some(&said(&many))), Facts::default());
    }

    #[test]
    fn a_gateway_speaks_of_itself_only() {
        let trust = Some(TrustStatus { believed: vec![vec![1; 32].into()], shown: vec![1; 32].into() });
        let facts = Facts {
            trust: trust.clone(),
            unheard: vec!["g".into()],
            unheard_total: 1,
            left_out: 1,
            revoked_gateways: vec![GatewayKey { name: "g".into(), key: vec![1; 32].into() }],
            minted_tokens: vec![MintedToken { id: "gw".into(), ..MintedToken::default() }],
            release: "0.1.0".into(),
            version: 9,
            newest_key: 9,
            features: vec!["f".into()],
            address: "a.example:7443".into(),
            serving: vec![1; MAX_SERVING_BYTES].into(),
            certificate_expires: 7,
            authority_expires: 9,
            responder: Some(Responder::default()),
        };
        let of_itself = Facts {
            trust,
            release: "0.1.0".into(),
            features: vec!["f".into()],
            serving: vec![1; MAX_SERVING_BYTES].into(),
            certificate_expires: 7,
            ..Facts::default()
        };
        assert_eq!(of_gateway(Some(&said(&facts))), of_itself);
        assert_eq!(of_gateway(None), Facts::default());
        let of_agent = of_agent(&said(&facts));
        assert_eq!((&*of_agent.address, of_agent.authority_expires), ("a.example:7443", 9));
        assert_eq!(of_agent.responder, None, "neither an agent nor a gateway is a responder");
        let of_responder = of_responder(Some(&said(&facts)));
        assert_eq!(of_responder, Facts { responder: Some(Responder::default()), ..of_itself });
    }

    #[test]
    fn what_a_responder_says_is_bounded() {
        let zone = |zone: &str| ZoneServed { zone: zone.into(), serial: 7 };
        let failed = |host: &str, why: &str| Published {
            host: host.into(),
            failed: why.into(),
            ..Published::default()
        };
        let responder = Responder {
            address: "0.0.0.0:53".into(),
            zones: vec![zone("no name"), zone("gslb"), zone("")],
            geo: vec![1; 31].into(),
            missing_keys: vec![String::new(), "k".repeat(257), "to-bind".into()],
            published: vec![failed("orders", "refused"), failed("a b", "refused"), failed("pets", "")],
            ..Responder::default()
        };
        let facts = Facts { responder: Some(responder), ..Facts::default() };
        let kept = Responder {
            zones: vec![zone("gslb")],
            missing_keys: vec!["to-bind".into()],
            published: vec![failed("orders", "refused")],
            ..Responder::default()
        };
        assert_eq!(of_responder(Some(&said(&facts))).responder, Some(kept));
        // A thousand empty entries fit into a report.
        let empty = Responder { zones: vec![ZoneServed::default(); 1_000], ..Responder::default() };
        let kept = of_responder(Some(&said(&Facts { responder: Some(empty), ..Facts::default() }))).responder;
        assert_eq!(kept, Some(Responder::default()));
        let many = Responder { missing_keys: vec!["k".into(); 1_000], ..Responder::default() };
        let kept = of_responder(Some(&said(&Facts { responder: Some(many), ..Facts::default() }))).responder;
        assert_eq!(kept.unwrap().missing_keys.len(), MAX_SERVED);
    }
}
