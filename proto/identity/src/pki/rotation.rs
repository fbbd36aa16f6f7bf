//! Replacing the root of trust: the old and the new one endorse each other.
//!
//! A process that believes one of the two believes the other because of the endorsement. It does not matter which node told
//! of it, so no control node can slip in a root of its own. The two cross certificates are RFC 4210's `newWithOld` and
//! `oldWithNew` (§4.4). Here they prove the endorsement only, and no path is built over them.

use std::{collections::BTreeSet, path::Path};

use hanse_proto::MAX_DROPPED_ROOTS;
use rustls_pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

use super::{
    Authority, KeyDigest, PkiError, Tier, TrustAnchor, TrustBundle, authority::tier_of, key_digest, keys,
};

/// A root's certificate, with another root's word for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsedRoot {
    /// The root.
    pub anchor: TrustAnchor,
    /// A certificate of the root's key under the other's. What it says beyond the key means nothing.
    pub endorsement: CertificateDer<'static>,
}

impl EndorsedRoot {
    /// Takes both from DER; checks that they are of one key.
    pub fn from_der(certificate: &[u8], endorsement: &[u8]) -> Result<Self, PkiError> {
        let anchor = TrustAnchor::from_der(certificate)?;
        let endorsement = CertificateDer::from(endorsement.to_vec());
        if key_digest(&endorsement)? != anchor.spki_sha256() {
            return Err(PkiError::certificate("the cross certificate is of another root's key"));
        }
        // A root signs control intermediates as well: those endorse no root.
        if tier_of(&endorsement)? != Tier::Root {
            return Err(PkiError::certificate("the cross certificate is no root's"));
        }
        Ok(Self { anchor, endorsement })
    }

    /// Whether `other` speaks for this root.
    pub fn is_endorsed_by(&self, other: &TrustAnchor) -> bool {
        let (Ok((_, endorsement)), Ok((_, issuer))) =
            (parse_x509_certificate(&self.endorsement), parse_x509_certificate(other.certificate()))
        else {
            return false;
        };
        endorsement.verify_signature(Some(issuer.public_key())).is_ok()
    }
}

/// What a publisher or the replicated state tells of the roots.
#[derive(Debug, Clone, Default)]
pub struct ToldRoots {
    /// Those that are believed.
    pub believed: Vec<EndorsedRoot>,
    /// The one that certificates should come from; `None`: nothing is said of it, and what was said before holds.
    pub issuing: Option<KeyDigest>,
    /// The keys of those that are believed no more, and never will be again.
    pub dropped: BTreeSet<KeyDigest>,
}

/// What an operator hands to the federation to have its root replaced: three certificates, no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The root in use, and the new one's word for it.
    pub present: EndorsedRoot,
    /// The new one, and the present one's word for it.
    pub fresh: EndorsedRoot,
}

impl Rotation {
    /// Made by who holds both keys.
    pub fn new(present: &Authority, fresh: &Authority) -> Result<Self, PkiError> {
        let endorsed = |root: &Authority, by: &Authority| {
            let anchor = root.trust_anchor()?;
            let endorsement = by.endorse(root)?;
            Ok::<_, PkiError>(EndorsedRoot { anchor, endorsement })
        };
        Ok(Self { present: endorsed(present, fresh)?, fresh: endorsed(fresh, present)? })
    }

    /// As PEM: the new root, the two cross certificates (new under old, old under new), the old root.
    pub fn to_pem(&self) -> String {
        let Self { present, fresh } = self;
        keys::certificates_to_pem([
            fresh.anchor.certificate(),
            &fresh.endorsement,
            &present.endorsement,
            present.anchor.certificate(),
        ])
    }

    /// Reads [`to_pem`](Self::to_pem) and checks that each of the two roots speaks for the other.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let certificates = keys::certificates_from_pem(pem, "rotation")?;
        let [fresh, new_with_old, old_with_new, present] = certificates.as_slice() else {
            return Err(PkiError::Pem {
                what: "rotation".into(),
                reason: format!("it holds {} certificates, not four", certificates.len()),
            });
        };
        let fresh = EndorsedRoot::from_der(fresh, new_with_old)?;
        let present = EndorsedRoot::from_der(present, old_with_new)?;
        if fresh.anchor == present.anchor {
            return Err(PkiError::certificate("the new root is the old one"));
        }
        if !fresh.is_endorsed_by(&present.anchor) || !present.is_endorsed_by(&fresh.anchor) {
            return Err(PkiError::certificate("the two roots do not speak for each other"));
        }
        Ok(Self { present, fresh })
    }

    /// Reads a file of this kind.
    pub fn load(path: &Path) -> Result<Self, PkiError> {
        let read = std::fs::read_to_string(path);
        Self::from_pem(&read.map_err(|source| PkiError::Io { action: "read", path: path.into(), source })?)
    }
}

impl TrustBundle {
    /// What is to be believed next by who believes this bundle and is told of these roots: those it believes already or that
    /// one of those speaks for; and in any case `own`, the root of its own certificate.
    ///
    /// A root that no believed root endorses is left out, whichever node tells of it. So is a root that was dropped once, because
    /// its endorsement stays valid.
    pub fn followed_by(&self, told: &ToldRoots, own: &TrustAnchor) -> Result<Self, PkiError> {
        let mut dropped = self.dropped().clone();
        dropped.extend(&told.dropped);
        if dropped.len() > MAX_DROPPED_ROOTS {
            dropped = told.dropped.iter().copied().take(MAX_DROPPED_ROOTS).collect();
        }
        let believed = |root: &&EndorsedRoot| {
            !dropped.contains(&root.anchor.spki_sha256())
                && self.anchors().iter().any(|held| *held == root.anchor || root.is_endorsed_by(held))
        };
        let issuing = told.issuing.or(self.issuing());
        let mut next: Vec<_> =
            told.believed.iter().filter(believed).map(|root| root.anchor.clone()).collect();
        if !next.contains(own) {
            next.push(own.clone());
        }
        let next = Self::new(next)?;
        Ok(match issuing {
            Some(issuing) => next.issued_by(issuing),
            None => next,
        }
        .without(dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(root: &Authority) -> TrustAnchor {
        root.trust_anchor().unwrap()
    }

    fn bundle(roots: &[&Authority]) -> TrustBundle {
        TrustBundle::new(roots.iter().map(|root| anchor(root)).collect::<Vec<_>>()).unwrap()
    }

    fn believed(bundle: &TrustBundle) -> Vec<KeyDigest> {
        bundle.anchors().iter().map(TrustAnchor::spki_sha256).collect()
    }

    #[test]
    fn each_root_speaks_for_the_other_as_text_too() {
        let (old, new) = (Authority::new_root().unwrap(), Authority::new_root().unwrap());
        let rotation = Rotation::new(&old, &new).unwrap();
        assert_eq!(Rotation::from_pem(&rotation.to_pem()).unwrap(), rotation);
        assert!(
            rotation.fresh.is_endorsed_by(&anchor(&old)) && !rotation.fresh.is_endorsed_by(&anchor(&new))
        );
        assert!(rotation.present.is_endorsed_by(&anchor(&new)));
        assert!(!rotation.to_pem().contains("PRIVATE"));
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        let (old, new, stranger) =
            (Authority::new_root().unwrap(), Authority::new_root().unwrap(), Authority::new_root().unwrap());
        let refused = |text: &str, why: &str| {
            let error = Rotation::from_pem(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        refused("", "PEM");
        refused(&anchor(&new).to_pem(), "it holds 1 certificates, not four");
        let sound = Rotation::new(&old, &new).unwrap();
        let forged = Rotation::new(&stranger, &new).unwrap();
        // The old root never spoke for the new one.
        let mixed = Rotation { present: sound.present.clone(), fresh: forged.fresh };
        refused(&mixed.to_pem(), "do not speak for each other");
        let mixed = Rotation { present: forged.present, fresh: sound.fresh };
        refused(&mixed.to_pem(), "do not speak for each other");
        let control = old.new_control_intermediate(&hanse_topology::Name::new("cp-1").unwrap()).unwrap();
        Rotation::new(&control, &new).expect_err("only a root speaks for a root");
    }

    fn told(believed: &[EndorsedRoot], issuing: KeyDigest) -> ToldRoots {
        ToldRoots { believed: believed.to_vec(), issuing: Some(issuing), dropped: BTreeSet::new() }
    }

    #[test]
    fn a_root_comes_on_the_word_of_one_that_is_believed_and_goes_when_it_is_not_told_of() {
        let (old, new, stranger) =
            (Authority::new_root().unwrap(), Authority::new_root().unwrap(), Authority::new_root().unwrap());
        let rotation = Rotation::new(&old, &new).unwrap();
        let both = [rotation.present.clone(), rotation.fresh.clone()];
        let [of_old, of_new] = [&old, &new].map(|root| anchor(root).spki_sha256());
        for held in [&old, &new] {
            let next = bundle(&[held]).followed_by(&told(&both, of_new), &anchor(held)).unwrap();
            assert_eq!(believed(&next), [of_old, of_new], "whichever of the two it began with");
            assert_eq!(next.issuing(), Some(of_new));
            let silent = ToldRoots { issuing: None, ..told(&both, of_new) };
            let next = next.followed_by(&silent, &anchor(held)).unwrap();
            assert_eq!(next.issuing(), Some(of_new), "who says nothing of it takes nothing back");
        }
        let begun = bundle(&[&old, &new]);
        let dropped = begun.followed_by(&told(&both[1..], of_new), &anchor(&new)).unwrap();
        assert_eq!(believed(&dropped), [of_new]);
        let kept = begun.followed_by(&told(&both[1..], of_new), &anchor(&old)).unwrap();
        assert_eq!(believed(&kept), [of_new, of_old], "its own stays, whatever it is told");

        let foreign = Rotation::new(&stranger, &new).unwrap();
        let foreign = [foreign.fresh, foreign.present];
        let next = bundle(&[&old]).followed_by(&told(&foreign, of_new), &anchor(&old)).unwrap();
        assert_eq!(believed(&next), [of_old], "nobody believed speaks for these");
        assert_eq!(next.issuing(), None, "and nothing comes from what is not believed");
    }

    #[test]
    fn a_root_that_was_dropped_does_not_come_back_on_an_old_word() {
        let (old, new) = (Authority::new_root().unwrap(), Authority::new_root().unwrap());
        let rotation = Rotation::new(&old, &new).unwrap();
        let both = [rotation.present.clone(), rotation.fresh.clone()];
        let [of_old, of_new] = [&old, &new].map(|root| anchor(root).spki_sha256());
        let last = ToldRoots { dropped: [of_old].into(), ..told(&both[1..], of_new) };
        let dropped = bundle(&[&old, &new]).followed_by(&last, &anchor(&new)).unwrap();
        assert_eq!(believed(&dropped), [of_new]);
        // The new root's word for the old one is good for as long as the old one is.
        let replayed = dropped.followed_by(&told(&both, of_new), &anchor(&new)).unwrap();
        assert_eq!(believed(&replayed), [of_new]);
        assert_eq!(*replayed.dropped(), [of_old].into(), "and that it was dropped is not forgotten");
    }

    #[test]
    fn what_a_root_issues_to_others_is_no_root_and_speaks_for_none() {
        let (old, new) = (Authority::new_root().unwrap(), Authority::new_root().unwrap());
        let control = old.new_control_intermediate(&hanse_topology::Name::new("cp-1").unwrap()).unwrap();
        let intermediate = &control.chain()[0];
        assert!(TrustAnchor::from_der(intermediate.to_vec()).is_err());
        assert!(EndorsedRoot::from_der(intermediate, intermediate).is_err());
        let sound = Rotation::new(&old, &new).unwrap();
        let (root, word) = (sound.fresh.anchor.certificate(), &sound.fresh.endorsement);
        assert!(TrustAnchor::from_der(word.to_vec()).is_err(), "it is not signed by its own key");
        EndorsedRoot::from_der(root, word).unwrap();
        // The root's key certified as a control node's.
        let certified = old
            .issue_control_intermediate(
                &new.key().public_key_der(),
                &hanse_topology::Name::new("cp-9").unwrap(),
            )
            .unwrap();
        assert!(EndorsedRoot::from_der(root, &certified[0]).is_err());
    }

    /// The word for a root that was dropped is public: a chain that is led over it must end nowhere.
    #[test]
    fn no_path_leads_over_a_cross_certificate() {
        let (old, new) = (Authority::new_root().unwrap(), Authority::new_root().unwrap());
        let rotation = Rotation::new(&old, &new).unwrap();
        let control = old.new_control_intermediate(&hanse_topology::Name::new("cp-1").unwrap()).unwrap();
        let region = control.new_regional_intermediate(&hanse_topology::Name::new("eu").unwrap()).unwrap();
        let own = region.issue_credentials(&"g.gateway.eu.hanse.internal".parse().unwrap(), &[]).unwrap();
        let now = old.clock().now();
        let mut chain = own.chain().to_vec();
        bundle(&[&old]).verify(&chain, now).unwrap();
        chain.insert(chain.len() - 1, rotation.present.endorsement);
        bundle(&[&new]).verify(&chain, now).unwrap_err();
        assert_eq!(bundle(&[&new]).root_of(&chain), None);
        assert_eq!(bundle(&[&new, &old]).root_of(&chain), Some(anchor(&old).spki_sha256()));
    }

    #[test]
    fn an_endorsement_must_be_of_the_roots_own_key() {
        let (old, new, other) =
            (Authority::new_root().unwrap(), Authority::new_root().unwrap(), Authority::new_root().unwrap());
        let of_other = old.endorse(&other).unwrap();
        EndorsedRoot::from_der(anchor(&new).certificate(), &of_other).unwrap_err();
    }
}
