use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hanse_process::{ShutdownTrigger, telemetry};
use tonic::Status;

use super::{
    schedule::{Due, RenewalSchedule, STEADY},
    *,
};
use crate::{
    Alpn, Authority, Clients, Credentials, Expect, KeyPair, LiveTrust, Peer, TrustBundle, digest_secret,
    enrolment::tests::{Desk, Serving, serve},
    server_tls,
    testbed::{identity, listen, name, soon},
};
use hanse_topology::{Identity, Role};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A federation whose time is simulated.
struct Outage {
    clock: WallClock,
    hand: hanse_process::ClockHand,
    root: Authority,
    control: Authority,
    region: Authority,
    trust: LiveTrust,
}

impl Outage {
    fn new() -> Self {
        let (clock, hand) = WallClock::simulated(std::time::SystemTime::now());
        let root = Authority::new_root_by(clock.clone()).unwrap();
        let control = root.new_control_intermediate(&name("cp-1")).unwrap();
        let region = control.new_regional_intermediate(&name("eu-west")).unwrap();
        let trust = LiveTrust::new(root.trust_anchor().unwrap(), clock.clone());
        Self { clock, hand, root, control, region, trust }
    }

    /// A desk of `own` that renews what comes from these roles; its address.
    async fn open(&self, own: &Credentials, role: Role, desk: Desk) -> (Serving, String) {
        let clients = Clients::Renewing { trust: self.trust.clone(), roles: vec![role], region: None };
        let tls = server_tls(&LiveCredentials::new(own.clone()), clients, Alpn::Http2).unwrap();
        let (listener, address) = listen(tls).await;
        (serve(listener, desk), address.to_string())
    }

    fn issuers(&self, address: &str, role: Role) -> Issuers {
        Issuers {
            addresses: vec![address.to_owned()],
            trust: self.trust.clone(),
            expect: Expect { roles: vec![role], region: None },
        }
    }

    fn agent(&self) -> Credentials {
        self.region.issue_credentials(&identity("a.agent.eu-west"), &[]).unwrap()
    }
}

/// Renews the leaf of every caller.
fn leaves(region: Authority) -> Desk {
    Desk::renewing(move |peer: &Peer| {
        let (Some(identity), Some(keys)) = (&peer.identity, &peer.keys) else {
            return Err(Status::unauthenticated("no certificate"));
        };
        Ok(region.issue_leaf(&keys.own, identity, &[]).unwrap())
    })
}

fn text(error: &RenewError) -> String {
    telemetry::causes(error).to_string()
}

#[tokio::test]
async fn an_expired_leaf_is_renewed_for_its_own_key() {
    let outage = Outage::new();
    let gateway = outage.region.issue_credentials(&identity("g.gateway.eu-west"), &[]).unwrap();
    outage.hand.advance(20 * DAY);
    let refused = outage.trust.current().verify(gateway.chain(), outage.clock.now()).unwrap_err();
    assert!(telemetry::causes(&refused).to_string().contains("expired"));

    let (_serving, address) =
        outage.open(&outage.agent(), Role::Gateway, leaves(outage.region.clone())).await;
    let fresh = soon(renew_credentials(&outage.issuers(&address, Role::Agent), &gateway)).await.unwrap();
    assert_eq!(fresh.identity(), gateway.identity());
    assert_eq!(fresh.key().public_key_der(), gateway.key().public_key_der());
    outage.trust.current().verify(fresh.chain(), outage.clock.now()).unwrap();
}

#[tokio::test]
async fn expiry_is_forgiven_and_nothing_else() {
    let (ours, theirs) = (Outage::new(), Outage::new());
    ours.hand.advance(DAY / 2);
    let (_serving, address) = ours.open(&ours.agent(), Role::Gateway, leaves(ours.region.clone())).await;
    let issuers = ours.issuers(&address, Role::Agent);

    let stranger = theirs.region.issue_credentials(&identity("g.gateway.eu-west"), &[]).unwrap();
    let error = soon(renew_credentials(&issuers, &stranger)).await.unwrap_err();
    assert!(matches!(error, RenewError::Unreachable { .. }) && text(&error).contains("alert"), "{error}");

    let error = soon(renew_credentials(&issuers, &ours.agent())).await.unwrap_err();
    assert!(text(&error).contains("alert"), "only gateways are renewed here: {error}");

    // A name of another region under ours, which the name constraint forbids at any time.
    let key = KeyPair::generate().unwrap();
    let foreign = theirs.control.new_regional_intermediate(&name("us-east")).unwrap();
    let mut chain = foreign.issue_leaf(&key.public_key_der(), &identity("g.gateway.us-east"), &[]).unwrap();
    chain.truncate(1);
    chain.extend(ours.region.chain().iter().cloned());
    let error = soon(renew_credentials(&issuers, &Credentials::new(chain, key).unwrap())).await.unwrap_err();
    assert!(text(&error).contains("alert"), "{error}");
}

#[tokio::test]
async fn the_second_certificate_must_be_the_issuers() {
    let outage = Outage::new();
    let (_serving, address) =
        outage.open(&outage.agent(), Role::Gateway, leaves(outage.region.clone())).await;
    let gateway = outage.region.issue_credentials(&identity("g.gateway.eu-west"), &[]).unwrap();
    let mut chain = gateway.chain().clone();
    let other = outage.control.new_regional_intermediate(&name("eu-west")).unwrap();
    chain.insert(1, other.chain()[0].clone());
    outage.trust.current().verify(&chain, outage.clock.now()).expect("the path is there all the same");
    let shown = Credentials::new(chain, gateway.key().clone()).unwrap();
    let error = soon(renew_credentials(&outage.issuers(&address, Role::Agent), &shown)).await.unwrap_err();
    assert!(text(&error).contains("alert"), "{error}");
}

#[tokio::test]
async fn an_expired_authority_is_renewed_for_its_own_key() {
    let outage = Outage::new();
    let own = identity("a.agent.eu-west");
    outage.hand.advance(40 * DAY);
    assert!(outage.region.issue_credentials(&own, &[]).is_err(), "it issues nothing any more");
    let (control, known) = (outage.control.clone(), outage.region.key().public_key_der());
    let desk = Desk::renewing(move |peer| {
        let keys = peer.keys.as_ref().unwrap();
        assert_eq!(digest_secret(&keys.issuer), digest_secret(&known));
        Ok(control.issue_regional_intermediate(&keys.issuer, &name("eu-west")).unwrap())
    });
    let server = outage.control.issue_credentials(&Identity::server(name("cp-1")), &[]).unwrap();
    let (_serving, address) = outage.open(&server, Role::Agent, desk).await;
    let issuers = outage.issuers(&address, Role::Server);
    let fresh = soon(renew_authority(&issuers, &outage.region, &own)).await.unwrap();
    assert_eq!(fresh.key().public_key_der(), outage.region.key().public_key_der());
    let leaf = fresh.issue_credentials(&own, &[]).unwrap();
    outage.trust.current().verify(leaf.chain(), outage.clock.now()).unwrap();
}

#[tokio::test]
async fn who_refuses_says_why_and_the_next_is_asked() {
    let outage = Outage::new();
    let gateway = outage.region.issue_credentials(&identity("g.gateway.eu-west"), &[]).unwrap();
    let refusing = Desk::renewing(|_| Err(Status::permission_denied("it is revoked")));
    let (_one, refusing) = outage.open(&outage.agent(), Role::Gateway, refusing).await;
    let (_two, willing) = outage.open(&outage.agent(), Role::Gateway, leaves(outage.region.clone())).await;
    let mut issuers = outage.issuers(&refusing, Role::Agent);
    let error = soon(renew_credentials(&issuers, &gateway)).await.unwrap_err().to_string();
    assert!(error.contains(&refusing) && error.contains("it is revoked"), "{error}");

    issuers.addresses.push(willing);
    soon(renew_credentials(&issuers, &gateway)).await.unwrap();
    issuers.addresses.clear();
    assert!(matches!(renew_credentials(&issuers, &gateway).await, Err(RenewError::NoAddress)));
}

#[tokio::test]
async fn an_answer_for_another_key_is_not_taken() {
    let outage = Outage::new();
    let gateway = outage.region.issue_credentials(&identity("g.gateway.eu-west"), &[]).unwrap();
    let region = outage.region.clone();
    let desk = Desk::renewing(move |peer| {
        let other = KeyPair::generate().unwrap().public_key_der();
        Ok(region.issue_leaf(&other, peer.identity.as_ref().unwrap(), &[]).unwrap())
    });
    let (_serving, address) = outage.open(&outage.agent(), Role::Gateway, desk).await;
    let error = soon(renew_credentials(&outage.issuers(&address, Role::Agent), &gateway)).await.unwrap_err();
    assert!(matches!(error, RenewError::Answer { .. }), "{error}");
}

#[tokio::test]
async fn joining_needs_no_certificate_where_certificates_are_renewed() {
    let outage = Outage::new();
    let (_serving, address) = outage.open(&outage.agent(), Role::Gateway, Desk::echo()).await;
    let expect = Expect { roles: vec![Role::Agent], region: None };
    let tls = crate::client_tls(None, &outage.trust, expect).unwrap();
    let channel = soon(crate::connect(&address, tls)).await.unwrap();
    assert_eq!(soon(crate::enrolment::tests::ask_desk(channel)).await.unwrap().role, "");
}

#[tokio::test]
async fn a_process_renews_itself_at_half_its_life_and_with_its_authority() {
    let outage = Outage::new();
    let authority = LiveAuthority::new(outage.region.clone());
    let live = LiveCredentials::new(outage.agent());
    let (trigger, shutdown) = ShutdownTrigger::new();
    let task =
        tokio::spawn(renew_from(authority.clone(), Vec::new(), live.clone(), outage.clock.clone(), shutdown));
    let changed_from = async |leaf: &rustls_pki_types::CertificateDer<'static>| {
        while live.current().chain()[0] == *leaf {
            tokio::task::yield_now().await;
        }
    };
    let first = live.current().chain()[0].clone();
    outage.hand.advance(11 * DAY / 24);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(live.current().chain()[0], first, "it is not yet time");
    outage.hand.advance(2 * DAY / 24);
    soon(changed_from(&first)).await;
    assert_eq!(live.identity(), identity("a.agent.eu-west"));

    let second = live.current().chain()[0].clone();
    let fresh = outage.control.new_regional_intermediate(&name("eu-west")).unwrap();
    authority.replace(fresh.clone());
    soon(changed_from(&second)).await;
    assert_eq!(live.current().chain()[1], fresh.chain()[0]);
    trigger.trigger();
    soon(task).await.unwrap();
}

#[tokio::test]
async fn an_authority_that_was_replaced_while_nothing_watched_issues_at_once() {
    let outage = Outage::new();
    let live = LiveCredentials::new(outage.agent());
    let fresh = outage.control.new_regional_intermediate(&name("eu-west")).unwrap();
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let mut replaced = live.replaced();
    let authority = LiveAuthority::new(fresh.clone());
    tokio::spawn(renew_from(authority, Vec::new(), live.clone(), outage.clock.clone(), shutdown));
    soon(replaced.changed()).await.unwrap();
    assert_eq!(live.current().chain()[1], fresh.chain()[0]);
}

#[tokio::test]
async fn what_cannot_be_saved_is_used_where_it_can_be_had_again() {
    let outage = Outage::new();
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken");
    std::fs::write(&taken, "a file where the directory should be").unwrap();
    let keep = |dir: &std::path::Path, issuing| {
        let live = LiveCredentials::new(outage.agent());
        let renewal = Renewal {
            what: "this process's certificate",
            live: live.clone(),
            trust: outage.trust.clone(),
            dir: dir.into(),
            issuing,
        };
        let (region, asked) = (outage.region.clone(), std::sync::Arc::new(tokio::sync::Semaphore::new(0)));
        let asking = asked.clone();
        let ask = move |current: std::sync::Arc<Credentials>| {
            asking.add_permits(1);
            std::future::ready(region.issue_credentials(current.identity(), &[]).map_err(RenewError::Own))
        };
        let (trigger, shutdown) = ShutdownTrigger::new();
        (live, asked, trigger, tokio::spawn(renewal.keep(ask, shutdown)))
    };
    let by_hand = Issuing::ByHand { remedy: "bring the root" };
    let good = dir.path().join("good");
    for (dir, issuing, is_used) in [
        (&good, Issuing::Always, true),
        (&good, by_hand, true),
        (&taken, Issuing::Always, true),
        (&taken, by_hand, false),
    ] {
        let (live, asked, trigger, task) = keep(dir, issuing);
        let first = live.current().chain()[0].clone();
        outage.hand.advance(15 * DAY / 24);
        soon(asked.acquire_many(if is_used { 1 } else { 3 })).await.unwrap().forget();
        soon(async {
            while is_used && live.current().chain()[0] == first {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        assert_eq!(live.current().chain()[0] != first, is_used, "{dir:?} {issuing:?}");
        trigger.trigger();
        soon(task).await.unwrap();
    }
}

/// Counts the warnings of the thread it is the default of.
struct Warnings(Arc<AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn an_operator_is_warned_once_of_another_root_although_renewing_for_age_failed_before() {
    let warned = Arc::new(AtomicUsize::new(0));
    let _default = tracing::subscriber::set_default(Warnings(warned.clone()));
    let outage = Outage::new();
    let dir = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let renewal = Renewal {
        what: "this node's authority",
        live: LiveAuthority::new(outage.control.clone()),
        trust: outage.trust.clone(),
        dir: dir.path().into(),
        issuing: Issuing::ByHand { remedy: "bring the root" },
    };
    let asking = asked.clone();
    let ask = move |_| {
        asking.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Err(RenewError::NoAddress))
    };
    let half = outage.control.validity().half_life().duration_since(outage.clock.now()).unwrap();
    outage.hand.advance(half + DAY);
    let (_trigger, shutdown) = ShutdownTrigger::new();
    tokio::spawn(renewal.keep(ask, shutdown));
    let attempts = async |more: usize| {
        let wanted = asked.load(Ordering::SeqCst) + more;
        soon(async {
            while asked.load(Ordering::SeqCst) < wanted {
                outage.hand.advance(Duration::from_secs(1)); // ends the wait between two attempts
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    };
    attempts(3).await;
    assert_eq!(warned.load(Ordering::SeqCst), 0, "for years there is no root here");

    let new_anchor = Authority::new_root_by(outage.clock.clone()).unwrap().trust_anchor().unwrap();
    let both = TrustBundle::new([outage.trust.current().anchors()[0].clone(), new_anchor.clone()]).unwrap();
    outage.trust.replace(both.issued_by(new_anchor.spki_sha256()));
    attempts(4).await;
    assert_eq!(warned.load(Ordering::SeqCst), 1, "the root is wanted, and that is said once");
}

#[tokio::test]
async fn renewals_are_due_between_a_half_and_six_tenths_of_a_life() {
    let outage = Outage::new();
    let validity = outage.agent().validity();
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let mut schedule = RenewalSchedule::new(STEADY, outage.clock.clone(), shutdown);
    outage.hand.advance(11 * DAY / 24);
    assert!(
        tokio::time::timeout(Duration::from_millis(10), schedule.due(validity, std::future::pending()))
            .await
            .is_err()
    );
    outage.hand.advance(4 * DAY / 24);
    assert_eq!(soon(schedule.due(validity, std::future::pending())).await, Some(Due::Age));
}

#[tokio::test]
async fn metrics_say_when_certificates_end() {
    let outage = Outage::new();
    let metrics = hanse_process::Metrics::new();
    let (live, authority) = (LiveCredentials::new(outage.agent()), LiveAuthority::new(outage.region.clone()));
    metrics.register(|registry| ExpiryMetrics::register(registry, live.clone(), Some(authority)));
    let shown = metrics.encode();
    for (certificate, end) in
        [("leaf", live.current().validity().not_after), ("authority", outage.region.validity().not_after)]
    {
        let seconds = end.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let line = format!(
            "hanse_pki_certificate_expiry_timestamp_seconds{{certificate=\"{certificate}\"}} {seconds}\n"
        );
        assert!(shown.contains(&line), "{shown}");
    }
}

#[tokio::test]
async fn near_its_authoritys_end_renewals_keep_their_distance() {
    let outage = Outage::new();
    let left = Duration::from_secs(120);
    let end = outage.region.validity().not_after;
    outage.hand.advance(end.duration_since(outage.clock.now()).unwrap() - left);
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let mut schedule = RenewalSchedule::new(STEADY, outage.clock.clone(), shutdown);
    let fresh = || outage.agent().validity();
    let pending = std::future::pending;
    assert!(fresh().half_life() < outage.clock.now(), "each one is due as soon as it is there");
    assert_eq!(soon(schedule.due(fresh(), pending())).await, Some(Due::Age));
    schedule.succeeded();
    let at_once = Duration::from_millis(10);
    for spoilt in [false, true] {
        let spoilt = async || {
            if !spoilt {
                pending().await
            }
        };
        assert!(tokio::time::timeout(at_once, schedule.due(fresh(), spoilt())).await.is_err());
    }
    outage.hand.advance(Duration::from_secs(59));
    assert!(tokio::time::timeout(at_once, schedule.due(fresh(), pending())).await.is_err());
    outage.hand.advance(Duration::from_secs(31));
    assert_eq!(
        soon(schedule.due(fresh(), pending())).await,
        Some(Due::Age),
        "a minute and at most half of one later"
    );
}

#[tokio::test]
async fn while_the_root_is_replaced_only_what_comes_from_the_new_one_is_taken() {
    let outage = Outage::new();
    let new_root = Authority::new_root_by(outage.clock.clone()).unwrap();
    let old_anchor = outage.trust.current().anchors()[0].clone();
    let new_anchor = new_root.trust_anchor().unwrap();
    let both = TrustBundle::new([old_anchor, new_anchor.clone()]).unwrap();
    let gateway = outage.region.issue_credentials(&identity("g.gateway.eu-west"), &[]).unwrap();
    let spoilt = outage.trust.spoils(gateway.chain());
    tokio::pin!(spoilt);
    assert!(futures_util::poll!(&mut spoilt).is_pending());
    outage.trust.replace(both.issued_by(new_anchor.spki_sha256()));
    soon(spoilt).await;

    let (_serving, address) =
        outage.open(&outage.agent(), Role::Gateway, leaves(outage.region.clone())).await;
    let error = soon(renew_credentials(&outage.issuers(&address, Role::Agent), &gateway)).await.unwrap_err();
    assert!(text(&error).contains("another takes the place of"), "this agent is under the old root: {error}");

    let control = new_root.new_control_intermediate(&name("cp-1")).unwrap();
    let region = control.new_regional_intermediate(&name("eu-west")).unwrap();
    let (_serving, address) = outage.open(&outage.agent(), Role::Gateway, leaves(region)).await;
    let fresh = soon(renew_credentials(&outage.issuers(&address, Role::Agent), &gateway)).await.unwrap();
    assert_eq!(fresh.trust_anchor().unwrap(), new_anchor);
    assert_eq!(fresh.key().public_key_der(), gateway.key().public_key_der());

    // Close to its end, a certificate from the old root is better than none.
    outage.hand.advance(DAY * 3 / 4);
    let (_serving, address) =
        outage.open(&outage.agent(), Role::Gateway, leaves(outage.region.clone())).await;
    soon(renew_credentials(&outage.issuers(&address, Role::Agent), &gateway)).await.unwrap();
}

#[tokio::test]
async fn whoever_has_a_refused_key_in_its_chain_takes_what_it_gets_while_the_root_is_replaced() {
    let outage = Outage::new();
    let new_root = Authority::new_root_by(outage.clock.clone()).unwrap();
    let new_anchor = new_root.trust_anchor().unwrap();
    let both = TrustBundle::new([outage.trust.current().anchors()[0].clone(), new_anchor.clone()]).unwrap();
    outage.trust.replace(both.issued_by(new_anchor.spki_sha256()));
    let other = outage.root.new_control_intermediate(&name("cp-2")).unwrap();
    let region = other.new_regional_intermediate(&name("eu-west")).unwrap();
    let sound = outage.control.clone();
    let desk = move || {
        let sound = sound.clone();
        Desk::renewing(move |peer| {
            let issuer = &peer.keys.as_ref().unwrap().issuer;
            Ok(sound.issue_regional_intermediate(issuer, &name("eu-west")).unwrap())
        })
    };
    let own = outage.control.issue_credentials(&identity("cp-1.server.control"), &[]).unwrap();
    let (_serving, address) = outage.open(&own, Role::Agent, desk()).await;
    let issuers = outage.issuers(&address, Role::Server);
    let agent = identity("a.agent.eu-west");
    soon(renew_authority(&issuers, &region, &agent)).await.expect_err("it is no better than what there is");

    // The control node that certified it is revoked: now it is.
    let keys = [digest_secret(&other.key().public_key_der())].into();
    outage.trust.refuse(crate::Refused { keys, ..Default::default() });
    let fresh = soon(renew_authority(&issuers, &region, &agent)).await.unwrap();
    let spoilt = outage.trust.refuses_key_of(fresh.chain());
    assert!(!spoilt && outage.trust.current().is_outdated(fresh.chain()));
}
