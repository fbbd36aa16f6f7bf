use hanse_management::{
    Kind,
    kinds::{SecretSpec, SecretType, SecretValue},
    manifest,
};
use hanse_state::{
    Action, Change,
    port::{Sealing as _, ToSeal},
};
use hanse_topology::{Labels, Name};

use super::*;
use crate::secrets::{Key, fixture::Federation};

fn key(byte: u8) -> Key {
    Key::from([byte; 32])
}

/// The keys 1 to `last`.
fn held(last: u8) -> Keyring {
    (1..=last).map(key).collect()
}

fn secret(number: usize) -> ResourceKey {
    let name = |name: &str| Name::new(name).unwrap();
    ResourceKey::owned(Kind::Secret, name("shop"), name(&format!("s-{number:02}")))
}

/// Version 1 is used.
fn federation() -> Federation {
    let mut federation = Federation::new();
    federation.add(&key(1)).used(1);
    let shop = manifest::parse_yaml("{kind: Organization, name: shop}", &Name::new("shop").unwrap()).unwrap();
    federation.run(CommandBody::Apply(shop.into_iter().map(Change::from).collect()));
    federation
}

impl Federation {
    /// Puts Secrets from this number on, each with a value of this data, sealed with the active version.
    fn put(&mut self, from: usize, data: &[&str]) -> &mut Self {
        let put = |(number, data): (usize, &&str)| {
            let (secret, keys) = (secret(number), self.state.federation_keys());
            let (version, _) = keys.active().unwrap();
            let value = ToSeal { secret: &secret, field: "password", version, present: None };
            let sealed = Keys::fixed(held(9)).seal(keys, value, data).unwrap();
            let spec = SecretSpec {
                secret_type: SecretType::Opaque,
                regions: Vec::new(),
                data: [("password".to_owned(), SecretValue::Sealed(sealed))].into(),
            };
            Change { key: secret, action: Action::put(Labels::default(), spec), if_revision: None }
        };
        let changes: Vec<Change> = (from..).zip(data).map(put).collect();
        self.run(CommandBody::Apply(changes))
    }

    /// Has the next version used.
    fn next_version(&mut self) -> u32 {
        let version = self.state.federation_keys().next_number().unwrap();
        self.rotate().add(&key(u8::try_from(version).unwrap())).used(version);
        version
    }

    /// The data of a Secret, if it opens.
    fn data(&self, number: usize) -> Option<String> {
        let secret = secret(number);
        let sealed = self.state.sealed_value(&secret, "password").unwrap();
        let data = held(9).open(self.state.federation_keys(), &secret, "password", sealed).ok()?;
        Some(String::from_utf8(data).unwrap())
    }
}

fn values(body: &CommandBody) -> &[ResealedValue] {
    let CommandBody::Reseal(values) = body else { panic!("{body:?}") };
    values
}

#[test]
fn values_are_sealed_with_the_active_version_and_open_as_before() {
    let mut federation = federation();
    federation.put(0, &["zero", "one"]);
    let resealing = Resealing::by(Keys::fixed(held(2)));
    assert_eq!(resealing.next(&federation.state), None, "all are under the active version");
    federation.next_version();
    federation.put(2, &["two"]);
    let before = federation.state.clone();
    let body = resealing.next(&federation.state).unwrap();
    assert_eq!(values(&body).len(), 2);
    federation.run(body);
    assert_eq!(federation.state.values_by_version(), [(2, 3)].into());
    assert_eq!(resealing.next(&federation.state), None);
    for (number, data) in ["zero", "one", "two"].iter().enumerate() {
        assert_eq!(federation.data(number).as_deref(), Some(*data));
        let revision = |state: &State| state.get(&secret(number)).unwrap().metadata.revision;
        assert_eq!(revision(&federation.state), revision(&before));
    }
    // The bytes are those that a write of equal data has.
    let now = federation.state.clone();
    federation.put(0, &["zero"]);
    assert_eq!(federation.state.revision(), now.revision());
}

#[test]
fn much_data_is_sealed_in_small_commands() {
    let mut federation = federation();
    let large = "x".repeat(60 << 10);
    federation.put(0, &[&*large; 40]);
    federation.next_version();
    let resealing = Resealing::by(Keys::fixed(held(2)));
    let mut commands = 0;
    while let Some(body) = resealing.next(&federation.state) {
        let bytes = hanse_proto::nested::to_bytes(&command(body.clone()).to_proto()).len();
        assert!(!values(&body).is_empty() && bytes <= MAX_BYTES, "{bytes} bytes");
        federation.run(body);
        commands += 1;
    }
    assert_eq!((commands, federation.state.outdated_values().count()), (3, 0));
    assert!((0..40).all(|number| federation.data(number).as_deref() == Some(&*large)));
}

fn command(body: CommandBody) -> hanse_state::Command {
    hanse_state::Command {
        actor: "federation-key".to_owned(),
        request_id: "federation-key".to_owned(),
        time_ms: 1,
        idempotency_key: None,
        only_in_term: Some(1),
        force_grants: false,
        origin: hanse_state::Origin::default(),
        body,
    }
}

#[test]
fn a_value_that_does_not_open_holds_up_no_other() {
    let mut federation = federation();
    federation.put(0, &["zero", "one"]);
    let mut damaged = federation.state.sealed_value(&secret(0), "password").unwrap().clone();
    federation.next_version();
    // As no control node seals it.
    damaged.sealed[20] ^= 1;
    let present = federation.state.sealed_value(&secret(0), "password").unwrap();
    let value = ResealedValue::of(&secret(0), "password", present, 2, damaged.sealed);
    federation.run(CommandBody::Reseal(vec![value]));
    federation.next_version();
    let resealing = Resealing::by(Keys::fixed(held(3)));
    for _ in 0..2 {
        let body = resealing.next(&federation.state).unwrap();
        assert_eq!(values(&body).iter().map(|value| &value.secret).collect::<Vec<_>>(), [&secret(1)]);
    }
    let body = resealing.next(&federation.state).unwrap();
    federation.run(body);
    assert_eq!(resealing.next(&federation.state), None);
    assert_eq!(federation.state.values_by_version(), [(2, 1), (3, 1)].into());
    assert_eq!((federation.data(0), federation.data(1).as_deref()), (None, Some("one")));
    let left = Left { lacking: BTreeSet::new(), unopened: [secret(0)].into() };
    assert_eq!(*resealing.said.lock(), left);
    // Written anew, it is not remembered.
    federation.put(0, &["zero"]);
    assert_eq!(resealing.next(&federation.state), None);
    assert_eq!(*resealing.said.lock(), Left::default());
}

#[test]
fn a_node_that_lacks_a_version_leaves_values_as_they_are() {
    let mut federation = federation();
    federation.put(0, &["zero"]);
    federation.next_version();
    federation.put(1, &["one"]);
    federation.next_version();
    let left = |bytes: &[u8]| {
        let resealing = Resealing::by(Keys::fixed(bytes.iter().copied().map(key).collect()));
        let next = resealing.next(&federation.state);
        let lacking = std::mem::take(&mut resealing.said.lock().lacking);
        (next, lacking.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(
        [left(&[1, 2]), left(&[3]), left(&[])],
        [(None, vec![3]), (None, vec![1, 2]), (None, vec![3])]
    );
    let (part, lacking) = left(&[2, 3]);
    assert_eq!(
        (values(&part.unwrap())[0].secret.clone(), lacking),
        (secret(1), vec![]),
        "there is more to do"
    );
    assert_eq!(values(&left(&[1, 2, 3]).0.unwrap()).len(), 2);
}
