use hanse_topology::Identity;
use rcgen::{CertificateParams, Issuer};
use x509_parser::extensions::X509Extension;

use super::*;
use crate::{Authority, KeyPair, testbed::Federation};

fn named(names: &[&str]) -> Environments {
    Environments::Named(names.iter().map(|name| Name::new(name).unwrap()).collect())
}

fn gateway() -> Identity {
    "g.gateway.eu-west.hanse.internal".parse().unwrap()
}

/// What a leaf says that was issued for these.
fn issued(by: &Authority, environments: &Environments) -> Result<Environments, PkiError> {
    let key = KeyPair::generate()?;
    let chain = by.issue_leaf_for(&key.public_key_der(), &gateway(), environments)?;
    environments_of(&chain[0])
}

#[test]
fn a_leaf_says_the_environments_that_it_was_issued_for() {
    let federation = Federation::new();
    let all_names: Vec<String> = (0..MAX_ENVIRONMENTS).map(|n| format!("{n:0>63}")).collect();
    let longest = named(&all_names.iter().map(String::as_str).collect::<Vec<_>>());
    for environments in [
        Environments::All,
        Environments::default(),
        named(&["production"]),
        named(&["sandbox", "production", "a"]),
        longest,
    ] {
        assert_eq!(issued(&federation.region, &environments).unwrap(), environments);
    }
    // As every leaf was issued before, and still is for agents and control nodes.
    for who in ["g.gateway.eu-west", "a.agent.eu-west", "cp-1.server.control"] {
        let credentials = federation.credentials(who);
        assert_eq!(environments_of(&credentials.chain()[0]).unwrap(), Environments::default());
    }
    let many: Vec<String> = (0..=MAX_ENVIRONMENTS).map(|n| format!("e-{n}")).collect();
    let many = named(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let error = issued(&federation.region, &many).unwrap_err().to_string();
    assert!(error.contains("at most 64 environments, and these are 65"), "{error}");
    let key = KeyPair::generate().unwrap().public_key_der();
    for (by, who) in [
        (&federation.control, "cp-1.server.control"),
        (&federation.region, "a.agent.eu-west"),
        (&federation.region, "d.dns.eu-west"),
    ] {
        let who = format!("{who}.hanse.internal").parse().unwrap();
        let error = by.issue_leaf_for(&key, &who, &Environments::All).unwrap_err().to_string();
        assert!(error.contains("only the leaves of a region's gateways"), "{error}");
    }
}

#[test]
fn a_leaf_with_environments_is_verified_as_any_other() {
    let federation = Federation::new();
    let key = KeyPair::generate().unwrap();
    let environments = named(&["production"]);
    let chain = federation.region.issue_leaf_for(&key.public_key_der(), &gateway(), &environments).unwrap();
    assert_eq!(federation.anchor().verify(&chain, std::time::SystemTime::now()).unwrap(), gateway());
    let (_, parsed) = parse_x509_certificate(&chain[0]).unwrap();
    let oid = Oid::from(&OID).unwrap();
    // 2.25.1264005279: seven bits of an arc to an octet (X.690, 8.19).
    assert_eq!(oid.as_bytes(), [0x69, 0x84, 0xda, 0xdc, 0xe1, 0x1f]);
    assert!(!parsed.get_extension_unique(&oid).unwrap().unwrap().critical);
}

#[test]
fn common_clients_read_the_object_identifier() {
    // Go reads an arc into 31 bits.
    let federation = Federation::new();
    let key = KeyPair::generate().unwrap().public_key_der();
    let chain = federation.region.issue_leaf_for(&key, &gateway(), &Environments::All).unwrap();
    let (_, leaf) = parse_x509_certificate(&chain[0]).unwrap();
    for extension in leaf.extensions() {
        let arcs: Vec<u64> = extension.oid.iter().unwrap().collect();
        assert!(arcs.iter().all(|arc| *arc < 1 << 31), "{arcs:?}");
    }
    let arcs = |extension: &X509Extension<'_>| extension.oid.iter().unwrap().collect::<Vec<u64>>();
    assert!(leaf.extensions().iter().any(|extension| arcs(extension) == OID));
}

#[test]
fn a_request_for_a_certificate_is_no_public_key() {
    let federation = Federation::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.custom_extensions.extend(Environments::All.extension().unwrap());
    let asked = params.serialize_request(&*key.0).unwrap();
    let error =
        federation.region.issue_leaf_for(asked.der(), &gateway(), &named(&["production"])).unwrap_err();
    assert!(matches!(error, PkiError::PublicKey { .. }), "{error}");
    // Of its key the leaf says what the authority was told.
    let chain = federation.region.issue_leaf_for(&key.public_key_der(), &gateway(), &named(&["production"]));
    assert_eq!(environments_of(&chain.unwrap()[0]).unwrap(), named(&["production"]));
}

#[test]
fn a_malformed_extension_is_an_error_and_stands_for_no_environment() {
    let federation = Federation::new();
    let check = |contents: &[&[u8]], wanted: &str| {
        let mut params = CertificateParams::default();
        let extensions =
            contents.iter().map(|content| CustomExtension::from_oid_content(&OID, content.to_vec()));
        params.custom_extensions.extend(extensions);
        let key = KeyPair::generate().unwrap();
        let (chain, signer) = federation.region.parts();
        let issuer = Issuer::from_ca_cert_der(&chain[0], &*signer.0).unwrap();
        let leaf = params.signed_by(&*key.0, &issuer).unwrap();
        let error = environments_of(leaf.der()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{contents:?}: {error}");
    };
    let texts = |texts: &[&str]| {
        der(SEQUENCE, &texts.iter().flat_map(|text| der(UTF8_STRING, text.as_bytes())).collect::<Vec<_>>())
    };
    let good = texts(&["production"]);
    let no_sequence = "is no sequence of texts";
    check(&[b""], no_sequence);
    check(&[b"*"], no_sequence);
    check(&[&der(UTF8_STRING, b"*")], no_sequence);
    check(&[&[&*good, b"\0"].concat()], no_sequence);
    check(&[&good[..good.len() - 1]], no_sequence);
    check(&[&der(SEQUENCE, &der(UTF8_STRING, b"\xff"))], no_sequence);
    check(&[&der(SEQUENCE, &der(0x04, b"production"))], no_sequence);
    check(&[&texts(&[])], "names none");
    check(&[&texts(&["*", "production"])], "no name");
    check(&[&texts(&["*", "*"])], "no name");
    check(&[&texts(&["Production"])], "no name");
    check(&[&texts(&[""])], "no name");
    check(&[&texts(&["b", "a"])], "not in order");
    check(&[&texts(&["a", "a"])], "twice");
    let many: Vec<String> = (100..=100 + MAX_ENVIRONMENTS).map(|n| format!("e-{n}")).collect();
    check(&[&texts(&many.iter().map(String::as_str).collect::<Vec<_>>())], "too many");
    check(&[&good, &good], "twice");
}

#[test]
fn environments_are_asked_and_shown() {
    let (all, some, none) = (Environments::All, named(&["b", "a"]), Environments::default());
    let has = |environments: &Environments| environments.contains(&Name::new("a").unwrap());
    assert_eq!((has(&all), has(&some), has(&none)), (true, true, false));
    assert_eq!([&all, &some, &none].map(ToString::to_string), ["*", "a, b", "none"]);
}
