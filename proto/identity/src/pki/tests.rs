use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hanse_topology::{Identity, Role};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, SanType};

use super::*;
use crate::testbed::{Federation, identity, name};

const HOUR: Duration = Duration::from_secs(3600);

/// Signs any certificate, as a malicious holder of the authority's key would.
fn forge(by: &Authority, key: &KeyPair, adjust: impl FnOnce(&mut CertificateParams)) -> Chain {
    let (own, signer) = by.parts();
    let mut params = CertificateParams::default();
    adjust(&mut params);
    let issuer = Issuer::from_ca_cert_der(&own[0], &*signer.0).unwrap();
    let certificate = params.signed_by(&*key.0, &issuer).unwrap();
    std::iter::once(certificate.into()).chain(own.iter().cloned()).collect()
}

fn forge_leaf(by: &Authority, names: &[SanType]) -> Chain {
    forge(by, &KeyPair::generate().unwrap(), |params| params.subject_alt_names = names.to_vec())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn causes(error: &PkiError) -> String {
    hanse_process::telemetry::causes(error).to_string()
}

#[test]
fn full_chains_verify() {
    let federation = Federation::new();
    for (who, length) in [("cp-1.server.control", 3), ("a.agent.eu-west", 4), ("g.gateway.eu-west", 4)] {
        let credentials = federation.credentials(who);
        assert_eq!(credentials.chain().len(), length);
        assert_eq!(federation.anchor().verify(credentials.chain(), now()).unwrap(), identity(who));
        assert_eq!(credentials.trust_anchor().unwrap(), federation.anchor());
    }
}

#[test]
fn a_leaf_lives_a_day_and_forgives_slow_clocks() {
    let federation = Federation::new();
    let credentials = federation.credentials("g.gateway.eu-west");
    let chain = credentials.chain();
    let anchor = federation.anchor();
    anchor.verify(chain, now() - Duration::from_secs(4 * 60)).unwrap();
    anchor.verify(chain, now() + 23 * HOUR).unwrap();
    assert!(causes(&anchor.verify(chain, now() + 25 * HOUR).unwrap_err()).contains("expired"));
    assert!(credentials.validity().not_after <= now() + 24 * HOUR);
    let renewal = credentials.validity().half_life().duration_since(now()).unwrap();
    assert!((11 * HOUR..13 * HOUR).contains(&renewal), "{renewal:?}");
}

#[test]
fn nothing_outlives_its_issuer() {
    let federation = Federation::new();
    let key = KeyPair::generate().unwrap();
    let regional = |until: SystemTime| {
        let chain = forge(&federation.control, &key, |params| {
            params.not_after = until.into();
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.name_constraints = Some(rcgen::NameConstraints {
                permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("eu-west.hanse.internal".into())],
                excluded_subtrees: vec![],
            });
        });
        Authority::from_parts(chain, key.clone()).unwrap()
    };
    let who = identity("g.gateway.eu-west");
    let leaf = regional(now() + HOUR).issue_credentials(&who, &[]).unwrap();
    assert!(leaf.validity().not_after <= now() + HOUR);
    let error = regional(now() - HOUR).issue_credentials(&who, &[]).unwrap_err();
    assert!(error.to_string().contains("expired; renew it first"), "{error}");
}

#[test]
fn a_leaf_of_another_root_is_refused() {
    let (ours, theirs) = (Federation::new(), Federation::new());
    let stranger = theirs.credentials("g.gateway.eu-west");
    let error = ours.anchor().verify(stranger.chain(), now()).unwrap_err();
    assert!(causes(&error).contains("UnknownIssuer"), "{}", causes(&error));
    // Nor does it help to append our root to a chain of theirs.
    let mut chain = stranger.chain().clone();
    chain.push(ours.anchor().certificate().clone());
    ours.anchor().verify(&chain, now()).unwrap_err();
}

#[test]
fn a_region_cannot_speak_for_another() {
    let federation = Federation::new();
    let polite = federation.region.issue_credentials(&identity("g.gateway.us-east"), &[]).unwrap_err();
    assert!(polite.to_string().contains("its region is eu-west"), "{polite}");
    for names in [
        vec![dns("g.gateway.us-east.hanse.internal")],
        vec![dns("cp-1.server.control.hanse.internal")],
        vec![dns("g.gateway.eu-west.hanse.internal"), dns("g.gateway.us-east.hanse.internal")],
        vec![dns("g.gateway.eu-west.hanse.internal"), dns("example.com")],
        vec![dns("g.gateway.eu-west.hanse.internal"), SanType::IpAddress([127, 0, 0, 1].into())],
        vec![dns("g.gateway.eu-west.hanse.internal"), SanType::IpAddress([0u16; 8].into())],
    ] {
        let chain = forge_leaf(&federation.region, &names);
        let error = causes(&federation.anchor().verify(&chain, now()).unwrap_err());
        assert!(error.contains("NameConstraintViolation"), "{names:?}: {error}");
    }
}

#[test]
fn a_region_cannot_make_control_nodes_inside_its_subtree() {
    let federation = Federation::new();
    let chain = forge_leaf(&federation.region, &[dns("cp-9.server.eu-west.hanse.internal")]);
    let error = causes(&federation.anchor().verify(&chain, now()).unwrap_err());
    assert!(error.contains("does not belong under \"eu-west\""), "{error}");
}

#[test]
fn a_region_cannot_make_authorities() {
    let federation = Federation::new();
    let spki = KeyPair::generate().unwrap().public_key_der();
    federation.region.issue_regional_intermediate(&spki, &name("eu-west")).unwrap_err();
    federation.region.issue_control_intermediate(&spki, &name("cp-2")).unwrap_err();

    let key = KeyPair::generate().unwrap();
    let chain = forge(&federation.region, &key, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("eu-west.hanse.internal".into())],
            excluded_subtrees: vec![],
        });
    });
    let forged = Authority::from_parts(chain, key).unwrap();
    let leaf = forged.issue_credentials(&identity("g.gateway.eu-west"), &[]).unwrap();
    let error = causes(&federation.anchor().verify(leaf.chain(), now()).unwrap_err());
    assert!(error.contains("PathLenConstraintViolated"), "{error}");
}

#[test]
fn every_tier_keeps_to_its_own() {
    let federation = Federation::new();
    let spki = KeyPair::generate().unwrap().public_key_der();
    let check = |result: Result<Chain, PkiError>, expected: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let Federation { root, control, region } = &federation;
    check(root.issue_leaf(&spki, &identity("cp-1.server.control"), &[]), "the root issues no leaves");
    check(root.issue_regional_intermediate(&spki, &name("eu-west")), "only a control intermediate");
    check(control.issue_control_intermediate(&spki, &name("cp-2")), "only the root");
    check(control.issue_leaf(&spki, &identity("g.gateway.eu-west"), &[]), "control-plane nodes only");
    check(control.issue_regional_intermediate(&spki, &name("control")), "not a region's");
    let localhost = [SanName::Dns("localhost".into())];
    check(region.issue_leaf(&spki, &identity("g.gateway.eu-west"), &localhost), "permits no further names");
    let inside = [SanName::Dns("x.Hanse.Internal".into())];
    check(control.issue_leaf(&spki, &identity("cp-1.server.control"), &inside), "which is for identities");
    let misplaced = Identity { name: name("x"), role: Role::Server, region: Some(name("eu-west")) };
    check(region.issue_leaf(&spki, &misplaced, &[]), "no acceptable identity");
}

#[test]
fn control_nodes_may_have_host_names() {
    let federation = Federation::new();
    let extra = [SanName::Dns("localhost".into()), SanName::Ip([127, 0, 0, 1].into())];
    let who = identity("cp-1.server.control");
    let credentials = federation.control.issue_credentials(&who, &extra).unwrap();
    assert_eq!(federation.anchor().verify(credentials.chain(), now()).unwrap(), who);
    let leaf = webpki_name_check(&credentials, "localhost");
    assert!(leaf.is_ok(), "{leaf:?}");
    assert!(webpki_name_check(&credentials, "127.0.0.1").is_ok());
    assert!(webpki_name_check(&credentials, "example.com").is_err());
}

/// What a browser or curl checks.
fn webpki_name_check(credentials: &Credentials, host: &str) -> Result<(), rustls::Error> {
    let leaf = rustls::server::ParsedCertificate::try_from(&credentials.chain()[0])?;
    let host = rustls_pki_types::ServerName::try_from(host.to_owned()).unwrap();
    rustls::client::verify_server_name(&leaf, &host)
}

#[test]
fn names_that_constraints_do_not_bind_are_refused() {
    let federation = Federation::new();
    let own = dns("g.gateway.eu-west.hanse.internal");
    for (extra, kind) in [
        (SanType::URI("spiffe://hanse.internal/cp-1".try_into().unwrap()), "URI"),
        (SanType::Rfc822Name("root@hanse.internal".try_into().unwrap()), "mail address"),
    ] {
        let chain = forge_leaf(&federation.region, &[own.clone(), extra]);
        let error = causes(&federation.anchor().verify(&chain, now()).unwrap_err());
        assert!(error.contains(&format!("neither a DNS name nor an IP address ({kind})")), "{error}");
    }
}

#[test]
fn certificates_need_exactly_one_identity() {
    let federation = Federation::new();
    for (names, found) in [
        (vec![], 0),
        (vec![dns("example.com")], 0),
        (vec![dns("a.server.control.hanse.internal"), dns("b.server.control.hanse.internal")], 2),
        (vec![dns("a.server.control.hanse.internal"), dns("hanse.internal")], 2),
        (vec![dns("a.server.control.hanse.internal"), dns("B.SERVER.CONTROL.HANSE.INTERNAL")], 2),
    ] {
        let chain = forge_leaf(&federation.control, &names);
        assert_eq!(identity_of(&chain[0]), Err(NoIdentity::Count { found }), "{names:?}");
    }
    assert_eq!(identity_of(&[1, 2, 3][..].into()), Err(NoIdentity::NotACertificate));
}

#[test]
fn only_sound_p256_keys_are_certified() {
    let federation = Federation::new();
    let who = identity("g.gateway.eu-west");
    let refused = |spki: &[u8]| match federation.region.issue_leaf(spki, &who, &[]) {
        Err(PkiError::PublicKey { reason }) => reason,
        other => panic!("{other:?}"),
    };
    refused(b"");
    refused(b"nonsense");
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    assert!(
        refused(&rcgen::PublicKeyData::subject_public_key_info(&p384)).contains("not an ECDSA P-256 key")
    );
    let mut off_curve = KeyPair::generate().unwrap().public_key_der();
    *off_curve.last_mut().unwrap() ^= 1;
    refused(&off_curve);
    let mut trailing = KeyPair::generate().unwrap().public_key_der();
    trailing.push(0);
    refused(&trailing);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn credentials_and_authorities_survive_on_disk() {
    let federation = Federation::new();
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("pki/own");
    let first = federation.credentials("g.gateway.eu-west");
    first.save(&dir).unwrap();
    assert_eq!(Credentials::load(&dir).unwrap().chain(), first.chain());
    assert_eq!(mode(&dir.join("key.pem")), 0o600);
    assert_eq!(mode(&dir), 0o700);

    let second = federation.credentials("g.gateway.eu-west");
    second.save(&dir).unwrap();
    assert_eq!(Credentials::load(&dir).unwrap().chain(), second.chain());
    let mut left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["chain.pem", "key.pem"]);

    let authority = temporary.path().join("authority");
    federation.region.save(&authority).unwrap();
    let loaded = Authority::load(&authority).unwrap();
    assert_eq!(loaded.tier(), &Tier::Regional(name("eu-west")));
    let leaf = loaded.issue_credentials(&identity("g.gateway.eu-west"), &[]).unwrap();
    federation.anchor().verify(leaf.chain(), now()).unwrap();
    assert!(Credentials::load(&authority).is_err(), "an authority's certificate is nobody's identity");
    assert!(Authority::load(dir).unwrap_err().to_string().contains("not an authority's"));
}

/// Seals by a mark and the name; it stands in for the node's store key.
#[derive(Debug)]
struct Marked(u8);

impl Seal for Marked {
    fn seal(&self, name: &str, content: &[u8]) -> Vec<u8> {
        [&[self.0], name.as_bytes(), b":", content].concat().iter().map(|octet| octet ^ 0x55).collect()
    }

    fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let opened: Vec<u8> = sealed.iter().map(|octet| octet ^ 0x55).collect();
        opened.strip_prefix(&*[&[self.0], name.as_bytes(), b":"].concat()).map(<[u8]>::to_vec)
    }
}

fn sealed(path: &Path, mark: u8) -> KeyDir {
    KeyDir::sealed(path.to_owned(), Arc::new(Marked(mark)))
}

#[test]
fn a_crash_between_any_two_writes_of_a_save_loses_no_key() {
    let federation = Federation::new();
    let [old, new, newest] = [(); 3].map(|()| federation.credentials("g.gateway.eu-west"));
    type Kept = fn(&Path) -> KeyDir;
    let (plain, with_seal): (Kept, Kept) = (|path| path.into(), |path| sealed(path, 1));
    // The old pair was kept in the first way, the new ones are in the second.
    for (before, after) in [(plain, plain), (plain, with_seal), (with_seal, with_seal)] {
        let found = |dir: &Path| {
            let (chain, key) = files::load(&after(dir)).expect("a pair that fits together");
            Credentials::new(chain, key).unwrap().chain().clone()
        };
        let writes = |dir: &Path, held: &Credentials| files::steps(&after(dir), held.chain(), held.key());
        for first in 0..=4 {
            for second in 0..=4 {
                let temporary = tempfile::tempdir().unwrap();
                let dir = temporary.path();
                old.write(&before(dir)).unwrap();
                let steps = writes(dir, &new);
                assert_eq!(steps.len(), 4);
                steps[..first].iter().for_each(|step| step.take(dir).unwrap());
                let present = if first < 3 { &old } else { &new };
                assert_eq!(&found(dir), present.chain(), "{first} writes");

                // A crash after a crash.
                writes(dir, &newest)[..second].iter().for_each(|step| step.take(dir).unwrap());
                let expected = if second < 3 { present } else { &newest };
                assert_eq!(&found(dir), expected.chain(), "{first} writes, then {second}");
                if second == 4 {
                    assert_eq!(KeyDir::holds_plain_key(dir).unwrap(), after(dir).seal().is_none());
                }
            }
        }
    }
}

#[test]
fn a_sealed_key_opens_with_its_seal_only() {
    let federation = Federation::new();
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    assert!(!KeyDir::holds_plain_key(dir).unwrap());
    let authority = &federation.region;
    authority.save(sealed(dir, 1)).unwrap();
    assert!(!KeyDir::holds_plain_key(dir).unwrap());
    let text = fs::read_to_string(dir.join("key.pem")).unwrap();
    assert!(
        text.starts_with("-----BEGIN HANSE SEALED KEY-----\n")
            && text.ends_with("-----END HANSE SEALED KEY-----\n")
    );
    assert!(text.lines().all(|line| line.len() <= 64) && !text.contains("PRIVATE"), "{text}");
    assert_eq!(mode(&dir.join("key.pem")), 0o600);
    let loaded = Authority::load(sealed(dir, 1)).unwrap();
    assert_eq!(loaded.key().to_pem(), authority.key().to_pem());

    for without in [KeyDir::from(dir), sealed(dir, 2)] {
        let error = Authority::load(without).unwrap_err();
        assert!(matches!(error, PkiError::DoesNotOpen { .. }), "{error}");
        assert!(error.to_string().contains("key.pem is sealed"), "{error}");
    }
    fs::write(dir.join("key.pem"), text.replacen('\n', "\n!", 1)).unwrap();
    assert!(matches!(Authority::load(sealed(dir, 1)), Err(PkiError::DoesNotOpen { .. })), "it is damaged");
    fs::write(dir.join("key.pem"), authority.key().to_pem()).unwrap();
    Authority::load(sealed(dir, 1)).expect("a plain key is read too");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let federation = Federation::new();
    let chain = federation.credentials("g.gateway.eu-west").chain().clone();
    let stranger = KeyPair::generate().unwrap();
    assert!(matches!(Credentials::new(chain.clone(), stranger.clone()), Err(PkiError::KeyMismatch)));
    assert!(matches!(
        Authority::from_parts(federation.region.chain().clone(), stranger),
        Err(PkiError::KeyMismatch)
    ));

    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    let missing = causes(&Credentials::load(&dir.join("nowhere")).unwrap_err());
    assert!(missing.contains("cannot read") && missing.contains("nowhere/chain.pem"), "{missing}");
    federation.credentials("g.gateway.eu-west").save(dir).unwrap();
    fs::write(dir.join("key.pem"), KeyPair::generate().unwrap().to_pem()).unwrap();
    assert!(matches!(Credentials::load(dir), Err(PkiError::KeyMismatch)));
    fs::write(dir.join("chain.pem"), "").unwrap();
    assert!(causes(&Credentials::load(dir).unwrap_err()).contains("holds no certificate"));
}

#[test]
fn trust_anchors_as_text() {
    let federation = Federation::new();
    let anchor = federation.anchor();
    assert_eq!(TrustAnchor::from_pem(&anchor.to_pem()).unwrap(), anchor);
    let two = anchor.to_pem().repeat(2);
    assert!(TrustAnchor::from_pem(&two).unwrap_err().to_string().contains("2 certificates, not one"));
    assert!(TrustAnchor::from_pem("hello").is_err());
    let leaf = federation.credentials("g.gateway.eu-west").chain()[0].to_vec();
    assert!(TrustAnchor::from_der(leaf).unwrap_err().to_string().contains("not an authority's"));
}

#[test]
fn keys_are_not_printed() {
    let federation = Federation::new();
    let text = format!("{:?} {:?}", federation.region, federation.credentials("g.gateway.eu-west"));
    assert!(text.contains("KeyPair(secret)") && !text.contains("PRIVATE"), "{text}");
}
