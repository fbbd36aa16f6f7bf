//! A world in which every command is checked four ways: incremental content, naive content, preview, and what a change
//! claims against what it does.

mod agents;
mod content;
mod cost;
mod dns;
mod random;
mod scopes;
mod shift;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hanse_management::{Kind, ResourceKey, Spec, kinds::SealedValue};
use hanse_proto::runtime::{self, resource::Kind as Runtime};
use hanse_runtime::EndpointUrl;
use hanse_topology::{Labels, Name, ScopeId};
use prost::Message as _;
use serde_json::{Value, json};

use super::{Between, Projection, Reveal, ScopeChange, effects, preview};
use crate::{
    Action, Change, Command, CommandBody, FederationKeys, Outcome, RecoveryKey, ResealedValue, Resource,
    State, port::ScopeEffect,
};

type Content = BTreeMap<ScopeId, BTreeMap<String, Bytes>>;

/// Opens a value of [`secret`], which has the version's number around its data.
struct Unmasked;

impl Reveal for Unmasked {
    fn reveal(&self, _: &FederationKeys, _: &ResourceKey, _: &str, sealed: &SealedValue) -> Option<Bytes> {
        let version = u8::try_from(sealed.version).unwrap();
        let data = sealed.sealed.strip_prefix(&[version])?.strip_suffix(&[version])?;
        Some(data.to_vec().into())
    }
}

/// A Secret that signs tokens in these regions, sealed as [`Unmasked`] opens it; in no region, one that signs none.
fn secret(path: &str, regions: &[&str], version: u8, data: &str) -> Change {
    let sealed = [&[version], data.as_bytes(), &[version]].concat();
    let value = json!({"version": version, "sealed": STANDARD.encode(sealed)});
    let kind = if regions.is_empty() { "opaque" } else { "token-signing" };
    put("Secret", path, json!({"type": kind, "regions": regions, "data": {"key.pem": value}}))
}

/// A value of [`secret`] with another version around its data.
fn anew(value: &SealedValue, version: u32) -> SealedValue {
    let around = [u8::try_from(version).unwrap()];
    let data = &value.sealed[1..value.sealed.len() - 1];
    SealedValue { version, sealed: [&around, data, &around].concat(), same_as: None }
}

/// A state, its incremental projection, and what a follower of its changes holds.
struct World {
    state: State,
    projected: State,
    projection: Projection,
    content: Content,
}

impl World {
    fn empty() -> Self {
        Self {
            state: State::default(),
            projected: State::default(),
            projection: Projection::new(),
            content: Content::new(),
        }
    }

    /// Has this version of the federation key used.
    fn use_key(&mut self, version: u32) {
        let recovery = RecoveryKey { sign: vec![1], wrap: vec![2] };
        let start = match version {
            1 => CommandBody::SetRecoveryKey { recovery, wrapped: Vec::new(), replace: false },
            _ => CommandBody::RotateKey,
        };
        let made = CommandBody::AddKey {
            version,
            digest: hanse_management::Digest::of(&version.to_be_bytes()).0,
            recipient: hanse_management::Digest::of(&[2]).0,
            wrapped: vec![3],
            maker: crate::server_identity("cp-1"),
            rotate_after: if version == 1 { 0 } else { self.state.revision() + 1 },
        };
        for body in [start, made, CommandBody::UseKey { version }] {
            let outcome = self.run(body);
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        }
    }

    /// Runs what a leader that has applied `seen` proposes: the first values, sealed anew. How many took the place of others.
    fn reseal(&mut self, seen: &State, most: usize) -> usize {
        let (version, _) = seen.federation_keys().active().unwrap();
        let anew = |(secret, field, present): (&ResourceKey, &str, &SealedValue)| {
            ResealedValue::of(secret, field, present, version, anew(present, version).sealed)
        };
        let values = seen.outdated_values().take(most).map(anew).collect();
        let outdated = self.state.outdated_values().count();
        let outcome = self.run(CommandBody::Reseal(values));
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        outdated - self.state.outdated_values().count()
    }

    /// Organization `acme`; regions `eu` (tier=edge) and `us` in Environment `production`; Api `orders` with Upstream
    /// `backend`, not bound.
    fn with_orders() -> Self {
        let mut world = Self::empty();
        world.accept(vec![
            put("Organization", "acme", json!({})),
            labelled(put("Region", "eu", json!({})), &[("tier", "edge")]),
            put("Region", "us", json!({})),
            put("Environment", "production", json!({"regions": ["eu", "us"]})),
            put("Upstream", "acme/backend", json!({"endpoints": [{"url": "http://backend:80"}]})),
            put("Api", "acme/orders", orders()),
        ]);
        world
    }

    /// As `with_orders`, and bound everywhere.
    fn with_orders_bound() -> Self {
        let mut world = Self::with_orders();
        world.accept(vec![bind("acme/orders", "orders", "production")]);
        world
    }

    fn apply(&mut self, changes: Vec<Change>) -> Outcome {
        self.run(CommandBody::Apply(changes))
    }

    fn run(&mut self, body: CommandBody) -> Outcome {
        self.state.apply(&Command {
            actor: "test".to_owned(),
            request_id: "test".to_owned(),
            time_ms: 1,
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: crate::Origin::default(),
            body,
        })
    }

    /// Applies, projects and checks.
    fn accept(&mut self, changes: Vec<Change>) -> Vec<ScopeChange> {
        let outcome = self.apply(changes);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        self.advance()
    }

    /// Projects what was applied since the last time, and checks all that is promised of it.
    fn advance(&mut self) -> Vec<ScopeChange> {
        let changes = self.projection.advance(&self.state, &Unmasked);
        for change in &changes {
            follow(&mut self.content, change);
        }
        let (old, new) = (from_scratch(&self.projected), from_scratch(&self.state));
        assert_eq!(self.content, new, "incremental and naive projections differ");
        assert_eq!(self.projection.scopes().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
        assert_eq!(self.projection.revision(), self.state.revision());
        let counted = difference(&old, &new);
        assert_eq!(effects(&changes), counted, "a change says more or less than it does");
        let (mut previewed, mut counted) = (preview(&self.projected, &self.state), counted);
        let anew = self.regions_sealed_anew();
        for effects in [&mut previewed, &mut counted] {
            // No preview goes over such a command.
            let is_anew =
                |scope: &ScopeId| matches!(scope, ScopeId::Keys { region } if anew.contains(region));
            effects.retain(|effect| !is_anew(&effect.scope));
        }
        assert_eq!(previewed, counted, "the preview miscounts");
        self.projected = self.state.clone();
        changes
    }

    /// The regions of Secrets with a value that is sealed with another version than when it was projected.
    fn regions_sealed_anew(&self) -> BTreeSet<Name> {
        let data = |secret: &Resource| secret.spec.private_data().unwrap().clone();
        let both = self
            .state
            .list(Kind::Secret, None)
            .filter_map(|secret| Some((&secret.key, data(secret), data(self.projected.get(&secret.key)?))));
        let is_anew = |secret: &ResourceKey, field: &str| {
            let version = |state: &State| state.sealed_value(secret, field).map(|sealed| sealed.version);
            let (was, is) = (version(&self.projected), version(&self.state));
            was.is_some() && was != is
        };
        let anew = both.filter(|(secret, _, is)| is.data.keys().any(|field| is_anew(secret, field)));
        anew.flat_map(|(_, was, is)| was.regions.into_iter().chain(is.regions)).collect()
    }

    fn keys(&self, region: &str, environment: &str) -> Vec<&str> {
        self.content[&scope(region, environment)].keys().map(String::as_str).collect()
    }

    fn decoded(&self, region: &str, environment: &str, key: &str) -> Runtime {
        let bytes = self.content[&scope(region, environment)][key].clone();
        runtime::Resource::decode(bytes).unwrap().kind.unwrap()
    }

    fn route(&self, key: &str) -> runtime::Route {
        let Runtime::Route(route) = self.decoded("eu", "production", key) else { panic!("{key}") };
        route
    }

    fn urls(&self, region: &str, environment: &str, key: &str) -> Vec<String> {
        let Runtime::Upstream(upstream) = self.decoded(region, environment, key) else { panic!("{key}") };
        upstream
            .endpoints
            .into_iter()
            .map(|endpoint| EndpointUrl::from_wire(&endpoint).unwrap().to_string())
            .collect()
    }
}

/// Every scope of every kind, written naively.
fn from_scratch(state: &State) -> Content {
    super::from_scratch(state, &Unmasked)
}

/// What a follower does with a change; panics where the change makes no sense to one.
fn follow(content: &mut Content, change: &ScopeChange) {
    assert!(!change.upserts.is_empty() || !change.removals.is_empty(), "an empty change: {change:?}");
    let held = content.entry(change.scope.clone()).or_default();
    for (key, bytes) in &change.upserts {
        let old = held.insert(key.to_string(), bytes.clone());
        assert_ne!(old.as_ref(), Some(bytes), "{key} did not change");
    }
    for key in &change.removals {
        assert!(held.remove(&**key).is_some(), "{key} was not there");
    }
    assert_eq!(change.dropped, held.is_empty(), "{}", change.scope);
    if change.dropped {
        content.remove(&change.scope);
    }
}

fn difference(old: &Content, new: &Content) -> Vec<ScopeEffect> {
    let none = BTreeMap::new();
    let scopes: std::collections::BTreeSet<&ScopeId> = old.keys().chain(new.keys()).collect();
    let effect = |scope: &ScopeId| {
        let (old, new) = (old.get(scope).unwrap_or(&none), new.get(scope).unwrap_or(&none));
        ScopeEffect {
            scope: scope.clone(),
            upserts: new.iter().filter(|(key, bytes)| old.get(*key) != Some(*bytes)).count(),
            removals: old.keys().filter(|key| !new.contains_key(*key)).count(),
        }
    };
    scopes.into_iter().map(effect).filter(|effect| effect.upserts + effect.removals > 0).collect()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn scope(region: &str, environment: &str) -> ScopeId {
    ScopeId::runtime(name(region), name(environment))
}

/// `NAME` of a global kind, `ORGANIZATION/NAME` of an owned one.
fn key(kind: &str, path: &str) -> ResourceKey {
    let kind: Kind = kind.parse().unwrap();
    match path.split_once('/') {
        Some((organization, own)) => ResourceKey::owned(kind, name(organization), name(own)),
        None => ResourceKey::global(kind, name(path)),
    }
}

fn put(kind: &str, path: &str, spec: Value) -> Change {
    let key = key(kind, path);
    let spec = Spec::from_json(key.kind, &spec).unwrap();
    Change { key, action: Action::put(Labels::default(), spec), if_revision: None }
}

fn labelled(mut change: Change, pairs: &[(&str, &str)]) -> Change {
    if let Action::Put { labels, .. } = &mut change.action {
        *labels = pairs.iter().copied().collect();
    }
    change
}

fn delete(kind: &str, path: &str) -> Change {
    Change { key: key(kind, path), action: Action::Delete { cascade: true }, if_revision: None }
}

fn orders() -> Value {
    json!({
        "context": "/orders",
        "version": "1.0",
        "upstream": "backend",
        "operations": [{"method": "GET", "path": "/{id}"}],
    })
}

/// The spec with some fields replaced.
fn with(mut spec: Value, fields: Value) -> Value {
    let (Value::Object(spec_fields), Value::Object(fields)) = (&mut spec, fields) else {
        panic!("not objects")
    };
    spec_fields.extend(fields);
    spec
}

fn bind(path: &str, api: &str, environment: &str) -> Change {
    put("Binding", path, json!({"api": api, "environment": environment}))
}

/// A Plan, an Application, its Credential and its Subscription to `api`, all named `path`.
fn caller(path: &str, api: &str) -> Vec<Change> {
    let own = path.split_once('/').unwrap().1;
    let digest = hanse_management::Digest::of(path.as_bytes()).to_string();
    vec![
        put("Plan", path, json!({"rate": {"requests": 60, "per": "minute"}})),
        put("Application", path, json!({})),
        put("Credential", path, json!({"application": own, "digest": digest})),
        put("Subscription", path, json!({"application": own, "api": api, "plan": own})),
    ]
}
