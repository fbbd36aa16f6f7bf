//! Opens Secrets for the projection, with the versions of the federation key that this node holds.

use std::sync::Arc;

use bytes::Bytes;
use hanse_management::{ResourceKey, kinds::SealedValue};
use hanse_process::Metrics;
use hanse_state::{FederationKeys, projection::Reveal};
use prometheus_client::metrics::counter::Counter;
use tracing::error;

use super::keyring::Keyring;

/// One Keyring, for one step of the projection: the same keys for all of it.
pub(crate) struct Revealed {
    keyring: Arc<Keyring>,
    metrics: RevealMetrics,
}

impl Revealed {
    /// By these keys.
    pub(crate) fn by(keyring: Arc<Keyring>, metrics: RevealMetrics) -> Self {
        Self { keyring, metrics }
    }
}

impl Reveal for Revealed {
    fn reveal(
        &self,
        keys: &FederationKeys,
        secret: &ResourceKey,
        field: &str,
        sealed: &SealedValue,
    ) -> Option<Bytes> {
        let opened = self.keyring.open(keys, secret, field, sealed).ok();
        if opened.is_none() {
            self.metrics.unopened.inc();
            error!(%secret, field, version = sealed.version, "a Secret's data does not open, and is published without it");
        }
        opened.map(Bytes::from)
    }
}

/// What is counted of opening.
#[derive(Debug, Clone, Default)]
pub(crate) struct RevealMetrics {
    unopened: Counter,
}

impl RevealMetrics {
    /// Makes them and adds them to a node's metrics.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            registry.register(
                "hanse_server_secrets_unopened",
                "Attempts to open a Secret's value that failed although its key is held. It was published without: key managers keep the last one",
                own.unopened.clone(),
            );
        });
        own
    }
}

#[cfg(test)]
mod tests {
    use hanse_management::Kind;
    use hanse_state::port::{Sealing as _, ToSeal};
    use hanse_topology::Name;

    use super::*;
    use crate::secrets::{Key, Keys, fixture::Federation};

    #[test]
    fn what_was_sealed_opens_and_what_does_not_is_counted() {
        let key = Key::from([1; 32]);
        let mut federation = Federation::new();
        federation.add(&key).used(1);
        let keys = federation.state.federation_keys();
        let keyring: Keyring = [key].into_iter().collect();
        let name = |name: &str| Name::new(name).unwrap();
        let secret = ResourceKey::owned(Kind::Secret, name("shop"), name("signer"));
        let value = ToSeal { secret: &secret, field: "key.pem", version: 1, present: None };
        let sealed = Keys::fixed(keyring.clone()).seal(keys, value, "private").unwrap();

        let metrics = RevealMetrics::default();
        let revealed = Revealed::by(Arc::new(keyring), metrics.clone());
        assert_eq!(revealed.reveal(keys, &secret, "key.pem", &sealed).unwrap(), "private");
        assert_eq!(metrics.unopened.get(), 0);
        let none = Revealed::by(Arc::default(), metrics.clone());
        for (by, field, version) in
            [(&revealed, "other", 1), (&revealed, "key.pem", 2), (&none, "key.pem", 1)]
        {
            let sealed = SealedValue { version, ..sealed.clone() };
            assert_eq!(by.reveal(keys, &secret, field, &sealed), None);
        }
        assert_eq!(metrics.unopened.get(), 3);
    }
}
