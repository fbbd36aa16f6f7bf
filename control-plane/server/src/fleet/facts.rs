//! What nodes say of themselves, as far as it is believed. A list and a text get their bound here, and a fact that is an agent's
//! alone its line.

use hanse_link::{MAX_CONSUMER_REPORT_BYTES, MAX_FACTS_BYTES, MAX_SERVING_BYTES, dialable};
use hanse_proto::{
    nested,
    sync::{GatewayKey, MintedToken, Published, Report, Responder, ZoneServed},
};
use hanse_state::port::{Facts, TrustStatus};
use hanse_topology::Name;

/// Roots that a process may say it believes: while one takes another's place there are two or three.
const MAX_BELIEVED: usize = 16;
/// The most gateways that an agent may name as missing, or as revoked with their keys: as many as it does.
const MAX_NAMED: usize = 256;
/// Join tokens that an agent may tell of, and environments of each: as many as it does.
const MAX_MINTED: usize = 64;
const MAX_ENVIRONMENTS: usize = 4;
/// Features that a gateway may say it knows: far more than there are.
const MAX_FEATURES: usize = 64;
/// Zones that a DNS responder may say it serves, keys that it may say it lacks, and hosts that it may say it publishes: as many as
/// 4 KiB of facts have room for.
const MAX_OF_RESPONDER: usize = 64;
/// Why a responder published nothing: a line of text.
const MAX_FAILED_BYTES: usize = 256;
/// The longest name of a TSIG key (RFC 1035, section 2.3.4, without the root).
const MAX_DOMAIN_NAME_BYTES: usize = 253;
/// A release, and a feature's name: a few words.
const MAX_WORD_BYTES: usize = 64;
/// The SHA-256 of a key.
const KEY_BYTES: usize = 32;

/// What an agent says of itself. Facts that cannot be read, or take more than an agent may say, count as not said.
pub(super) fn of_agent(report: &Report) -> Facts {
    Facts { responder: None, ..read(&report.facts, MAX_FACTS_BYTES) }
}

/// What a gateway says of itself: it speaks for no other.
pub(super) fn of_gateway(report: Option<&Report>) -> Facts {
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

/// Keeps the first entries that are sound, and no room for others: facts are remembered for an hour.
fn keep<T>(list: &mut Vec<T>, most: usize, is_sound: impl Fn(&T) -> bool) {
    list.retain(is_sound);
    list.truncate(most);
    list.shrink_to_fit();
}

fn bound_responder(responder: &mut Responder) {
    let is_name = |name: &str| Name::new(name).is_ok();
    if dialable(&responder.address).is_none() {
        responder.address = String::new();
    }
    if responder.geo.len() != KEY_BYTES {
        responder.geo.clear();
    }
    keep(&mut responder.zones, MAX_OF_RESPONDER, |zone: &ZoneServed| is_name(&zone.zone));
    keep(&mut responder.missing_keys, MAX_OF_RESPONDER, |key| key.len() <= MAX_DOMAIN_NAME_BYTES);
    keep(&mut responder.published, MAX_OF_RESPONDER, |host: &Published| {
        is_name(&host.host) && host.failed.len() <= MAX_FAILED_BYTES
    });
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
            responder: Some(Responder::default()),
            ..Facts::default()
        };
        assert_eq!(of_gateway(Some(&said(&facts))), of_itself);
        assert_eq!(of_gateway(None), Facts::default());
        let of_agent = of_agent(&said(&facts));
        assert_eq!((&*of_agent.address, of_agent.authority_expires), ("a.example:7443", 9));
        assert_eq!(of_agent.responder, None, "an agent answers nothing");
    }

    #[test]
    fn what_a_responder_says_is_bounded() {
        let zone = |name: &str| ZoneServed { zone: name.into(), serial: 1 };
        let published = |host: &str, failed: usize| Published {
            host: host.into(),
            failed: "f".repeat(failed),
            ..Published::default()
        };
        let mut responder = Responder {
            address: "0.0.0.0:53".into(),
            zones: [zone("a b")].into_iter().chain(vec![zone("gslb"); 100]).collect(),
            geo: vec![1; 31].into(),
            missing_keys: ["k".repeat(254)].into_iter().chain(vec!["k".repeat(253); 100]).collect(),
            published: [published("", 0), published("orders", 257)]
                .into_iter()
                .chain(vec![published("orders", 256); 100])
                .collect(),
        };
        bound_responder(&mut responder);
        let Responder { address, zones, geo, missing_keys, published: hosts } = responder;
        assert!(address.is_empty() && geo.is_empty());
        assert_eq!(zones, vec![zone("gslb"); MAX_OF_RESPONDER]);
        assert_eq!(missing_keys, vec!["k".repeat(253); MAX_OF_RESPONDER]);
        assert_eq!(hosts, vec![published("orders", 256); MAX_OF_RESPONDER]);
        let sound =
            Responder { address: "dns-1.example:53".into(), geo: vec![1; 32].into(), ..Default::default() };
        let mut kept = sound.clone();
        bound_responder(&mut kept);
        assert_eq!(kept, sound);
    }
}
