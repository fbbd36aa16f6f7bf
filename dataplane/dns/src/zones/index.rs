//! The resources of a scope, and the zones that they make.
//!
//! Each resource is used by itself: one that cannot be used takes no other one down. Its last good version stays in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_link::ValueHash;
use hanse_proto::{runtime, sync::Quarantined};
use hanse_runtime::{DomainName, Resource, ResourceKind, Unusable, Zone};
use hanse_topology::Name;
use prost::Message as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Contents, ServedHost, Zones};

/// Why a version that looks sound is not used.
const POISONED: &str = "is poisoned: this responder ended, or could not compile, before it had served this version for five minutes; \
     until it changes, the last version that was served so long is used";

/// Keys of a scope.
pub(crate) type Key = Arc<str>;

/// The resources of one scope.
#[derive(Debug, Default)]
pub(crate) struct ScopeIndex {
    entries: BTreeMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    received: Version,
    /// The last version that was in force.
    good: Option<Version>,
    standing: Standing,
}

/// What is in force of a resource.
#[derive(Debug)]
enum Standing {
    /// The version received.
    Received,
    /// The last good version, because the one received cannot be used.
    LastGood(Unusable),
    /// None, because no version can be used.
    Nothing(Unusable),
}

/// A version of a resource.
#[derive(Debug, Clone)]
struct Version {
    bytes: Bytes,
    model: Result<Model, Unusable>,
    is_poisoned: bool,
}

#[derive(Debug, Clone)]
enum Model {
    Zone(Arc<Zone>),
    Host(Arc<ServedHost>),
    /// Of a later release. Nothing here needs it.
    Later,
}

/// How much a scope holds, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Resources received, of all kinds.
    pub(crate) resources: usize,
    /// Zones in force.
    pub(crate) zones: usize,
    /// Hosts in force.
    pub(crate) hosts: usize,
}

impl ScopeIndex {
    /// Holds exactly `content`, and says which zones are in force. `good`: versions that were in force before, of keys whose present
    /// version may be of no use. `poisoned`: versions that are not to be used, by SHA-256.
    pub(crate) fn hold(
        &mut self,
        content: Vec<(Key, Bytes)>,
        good: Vec<(Key, Bytes)>,
        poisoned: &BTreeMap<Key, ValueHash>,
    ) -> Zones {
        let mut before = std::mem::take(&mut self.entries);
        for (key, bytes) in content {
            let entry = match before.remove(&key) {
                Some(entry) if entry.received.bytes == bytes => entry,
                before => {
                    let is_poisoned =
                        poisoned.get(&key).is_some_and(|hash| Sha256::digest(&bytes)[..] == *hash);
                    let received = if is_poisoned {
                        Version { bytes, model: Err(Unusable::new("", POISONED)), is_poisoned: true }
                    } else {
                        Version::read(&key, bytes)
                    };
                    let good = before.and_then(|entry| entry.good);
                    Entry { received, good, standing: Standing::Received }
                }
            };
            self.entries.insert(key, entry);
        }
        for (key, bytes) in good {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.good = Some(Version::read(&key, bytes));
            }
        }
        self.settle()
    }

    /// Puts in force what can be used: of each resource the version received, or else the last good one. Zones come first, for hosts
    /// need theirs. All that was received comes before the last good versions, so that none of those takes a name from it.
    fn settle(&mut self) -> Zones {
        let mut in_force = InForce::default();
        for is_turn in [true, false] {
            let mut turn: Vec<&mut Entry> = self
                .entries
                .iter_mut()
                .filter(|(key, _)| (ResourceKind::of_key(key) == Some(ResourceKind::Zone)) == is_turn)
                .map(|(_, entry)| entry)
                .collect();
            for settle in [Entry::settle_received, Entry::settle_last_good] {
                turn.iter_mut().for_each(|entry| settle(entry, &mut in_force));
            }
        }
        for (_, entry) in self.entries.iter().filter(|(key, _)| is_host(key)) {
            if matches!(entry.standing, Standing::Nothing(_)) {
                in_force.lacks(entry.received.name());
            }
        }
        in_force.zones()
    }

    /// How much there is.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts { resources: self.entries.len(), ..Counts::default() };
        for version in self.entries.values().filter_map(Entry::in_force) {
            match &version.model {
                Ok(Model::Zone(_)) => counts.zones += 1,
                Ok(Model::Host(_)) => counts.hosts += 1,
                Ok(Model::Later) | Err(_) => {}
            }
        }
        counts
    }

    /// What cannot be used as received, with the reason and with what is in use instead.
    pub(crate) fn quarantined(&self) -> Vec<Quarantined> {
        let hash = |bytes: &Bytes| -> Bytes { Sha256::digest(bytes).to_vec().into() };
        let unusable = self.unusable().map(|(key, entry, why)| Quarantined {
            key: key.to_string(),
            received: hash(&entry.received.bytes),
            effective: entry.in_force().map(|version| hash(&version.bytes)).unwrap_or_default(),
            field: why.field.clone(),
            reason: why.reason.clone(),
        });
        unusable.collect()
    }

    /// The keys that are not in force as received, each with the version that is, if there is one.
    pub(crate) fn exceptions(&self) -> BTreeMap<Key, Option<Bytes>> {
        let version = |entry: &Entry| entry.in_force().map(|version| version.bytes.clone());
        self.unusable().map(|(key, entry, _)| (key.clone(), version(entry))).collect()
    }

    fn unusable(&self) -> impl Iterator<Item = (&Key, &Entry, &Unusable)> {
        self.entries.iter().filter_map(|(key, entry)| match &entry.standing {
            Standing::Received => None,
            Standing::LastGood(why) | Standing::Nothing(why) => Some((key, entry, why)),
        })
    }

    /// The version in force of a key.
    pub(crate) fn in_force(&self, key: &str) -> Option<&Bytes> {
        self.entries.get(key)?.in_force().map(|version| &version.bytes)
    }
}

fn is_host(key: &Key) -> bool {
    ResourceKind::of_key(key) == Some(ResourceKind::GlobalHost)
}

impl Version {
    /// The zone and the name of a host, also of one that cannot be used otherwise. `None`: it has none that can be read.
    fn name(&self) -> Option<(Name, DomainName)> {
        match &self.model {
            Ok(Model::Host(host)) => Some((host.model.zone.clone(), host.model.host.clone())),
            Ok(Model::Zone(_) | Model::Later) => None,
            Err(_) if self.is_poisoned => None, // reading it may be what ended the process
            Err(_) => {
                let kind = runtime::Resource::decode(self.bytes.clone()).ok()?.kind?;
                let runtime::resource::Kind::GlobalHost(host) = kind else { return None };
                Some((Name::new(&host.zone).ok()?, DomainName::parse(&host.host).ok()?))
            }
        }
    }

    fn read(key: &Key, bytes: Bytes) -> Self {
        let model = model_of(key, &bytes);
        Self { bytes, model, is_poisoned: false }
    }
}

fn model_of(key: &Key, bytes: &Bytes) -> Result<Model, Unusable> {
    let Some(kind) = ResourceKind::of_key(key) else { return Ok(Model::Later) };
    match hanse_runtime::check(kind, bytes)? {
        Resource::Zone(zone) => Ok(Model::Zone(Arc::new(zone))),
        Resource::GlobalHost(host) => ServedHost::new(key.clone(), host).map(Model::Host),
        Resource::Listener(_)
        | Resource::Route(_)
        | Resource::Upstream(_)
        | Resource::Plan(_)
        | Resource::Credential(_)
        | Resource::Subscription(_)
        | Resource::Secret(_)
        | Resource::Origin(_)
        | Resource::Neighbour(_)
        | Resource::Endpoints(_)
        | Resource::Shift(_) => Err(Unusable::new("", "is nothing that a DNS responder answers with")),
    }
}

impl Entry {
    /// The version in force, if there is one.
    fn in_force(&self) -> Option<&Version> {
        match self.standing {
            Standing::Received => Some(&self.received),
            Standing::LastGood(_) => self.good.as_ref(),
            Standing::Nothing(_) => None,
        }
    }

    fn settle_received(&mut self, in_force: &mut InForce) {
        self.standing = match in_force.take_version(&self.received) {
            Ok(()) => {
                self.good = Some(self.received.clone());
                Standing::Received
            }
            Err(why) => Standing::Nothing(why),
        };
    }

    fn settle_last_good(&mut self, in_force: &mut InForce) {
        if let Standing::Nothing(why) = &self.standing
            && let Some(good) = &self.good
            && in_force.take_version(good).is_ok()
        {
            self.standing = Standing::LastGood(why.clone());
        }
    }
}

/// What is in force so far.
#[derive(Default)]
struct InForce {
    zones: BTreeMap<Name, Contents>,
    origins: BTreeSet<DomainName>,
    hosts: BTreeSet<DomainName>,
    /// A host is in force in no version, and its name is not known.
    lacks_unknown: bool,
}

impl InForce {
    fn take_version(&mut self, version: &Version) -> Result<(), Unusable> {
        self.take(version.model.as_ref().map_err(Unusable::clone)?)
    }

    fn take(&mut self, model: &Model) -> Result<(), Unusable> {
        match model {
            Model::Zone(zone) => self.take_zone(zone),
            Model::Host(host) => self.take_host(host),
            Model::Later => Ok(()),
        }
    }

    fn take_zone(&mut self, zone: &Arc<Zone>) -> Result<(), Unusable> {
        if self.zones.contains_key(&zone.name) {
            return Err(Unusable::new("name", format!("{} is the name of another zone already", zone.name)));
        }
        if !self.origins.insert(zone.origin.clone()) {
            return Err(Unusable::new("origin", format!("{} is another zone's already", zone.origin)));
        }
        let contents = Contents { zone: Arc::clone(zone), hosts: Vec::new(), lacks: Vec::new() };
        self.zones.insert(zone.name.clone(), contents);
        Ok(())
    }

    fn take_host(&mut self, host: &Arc<ServedHost>) -> Result<(), Unusable> {
        let (name, of) = (&host.model.host, &host.model.zone);
        let Some(Contents { zone, hosts, .. }) = self.zones.get_mut(of) else {
            return Err(Unusable::new("zone", format!("no zone {of} is in force")));
        };
        if !name.is_in(&zone.origin) {
            return Err(Unusable::new("host", format!("{name} is not in {}", zone.origin)));
        }
        if !self.hosts.insert(name.clone()) {
            return Err(Unusable::new("host", format!("{name} is another GlobalHost's already")));
        }
        hosts.push(Arc::clone(host));
        Ok(())
    }

    /// Notes that a host has no version in force, so that its name is not told to be none.
    fn lacks(&mut self, name: Option<(Name, DomainName)>) {
        let Some((zone, host)) = name else {
            self.lacks_unknown = true;
            return;
        };
        if let Some(contents) = self.zones.get_mut(&zone).filter(|of| host.is_in(&of.zone.origin)) {
            contents.lacks.push(host);
        }
    }

    fn zones(&self) -> Zones {
        Zones::new(self.zones.values(), self.lacks_unknown)
    }
}
