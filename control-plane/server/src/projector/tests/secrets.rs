//! What key managers of a region get.

use hanse_management::{
    ResourceKey,
    kinds::{SecretSpec, SecretType, SecretValue},
};
use hanse_proto::runtime::{self, resource::Kind as Runtime};
use hanse_state::port::{Sealing as _, ToSeal};
use prost::Message as _;

use super::*;
use crate::secrets::{Key, fixture::Federation};

/// Far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(30);
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

#[tokio::test]
async fn a_key_that_signs_tokens_is_published_in_the_clear() {
    let key = Key::from([1; 32]);
    let mut federation = Federation::new();
    federation.add(&key).used(1);
    let name = |name: &str| Name::new(name).unwrap();
    let secret = ResourceKey::owned(Kind::Secret, name("default"), name("signer"));
    let value = ToSeal { secret: &secret, field: "key.pem", version: 1, present: None };
    let keys = Keys::fixed([key].into_iter().collect());
    let sealed = keys.seal(federation.state.federation_keys(), value, PEM).unwrap();
    let alone = Arc::new(Alone::default());
    alone.0.send_replace(federation.state);
    alone.put("{kind: Organization, name: default}\n---\n{kind: Region, name: eu-west}");
    let spec = SecretSpec {
        secret_type: SecretType::TokenSigning,
        regions: vec![name("eu-west")],
        data: [("key.pem".to_owned(), SecretValue::Sealed(sealed))].into(),
    };
    let action = Action::put(hanse_topology::Labels::default(), spec);
    alone.apply(CommandBody::Apply(vec![Change { key: secret, action, if_revision: None }]));

    let replicas = Replicas::new();
    let (projector, handle) = Projector::new(alone.clone(), replicas.clone(), keys);
    let (trigger, shutdown) = ShutdownTrigger::new();
    let task = tokio::spawn(projector.run(shutdown));
    tokio::time::timeout(SOON, handle.begun()).await.expect("it publishes");
    trigger.trigger();
    task.await.unwrap();
    let scope: ScopeId = "keys/eu-west".parse().unwrap();
    let content = replicas.read(|map| map[&scope].content());
    let [(key, bytes)] = content.as_slice() else { panic!("{content:?}") };
    assert_eq!(&**key, "secret/default/signer");
    let Some(Runtime::Secret(secret)) = runtime::Resource::decode(bytes.clone()).unwrap().kind else {
        panic!()
    };
    assert!(secret.data["key.pem"] == PEM);
}
