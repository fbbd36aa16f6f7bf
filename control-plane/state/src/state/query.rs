//! What may be asked of a state.

use std::{collections::BTreeSet, fmt, ops::Bound, sync::Arc};

use hanse_management::{
    Claim, Digest, Kind, Refer, Reference, ResourceKey, Revision, Spec,
    kinds::{ApiRevisionSpec, ApiSpec, BindingSpec, EnvironmentSpec, Reach},
};
use hanse_topology::Name;

use super::{Lineage, State};
use crate::{
    Action, AuditLog, Change, CommandBody, FederationKeys, Member, Resource, Revocation, Root, RootId,
    Version,
    member::{Identified, identified},
};

impl State {
    /// Who changed what.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Whether there is something to forget by the time `now_ms`: results of idempotency keys that are answered no more, proposals that
    /// have expired, or tokens that no agent tells of any more.
    pub fn has_stale(&self, now_ms: u64) -> bool {
        self.idempotent.has_passed(now_ms)
            || self.proposals().any(|proposal| proposal.has_expired(now_ms))
            || self.has_old_minted(now_ms)
    }

    /// Its history; `None` before the first command.
    pub fn lineage(&self) -> Option<&Lineage> {
        self.lineage.as_ref()
    }

    /// Its revision: 0 before the first command.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The latest time any command carried, Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The replicated version in force. No outcome and no byte depends on what a later version brings.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Agents and control nodes, by identity.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members.iter().map(|(identity, member)| (&**identity, &**member))
    }

    /// The agent or control node with that identity.
    pub fn member(&self, identity: &str) -> Option<&Member> {
        self.members.get(identity).map(Arc::as_ref)
    }

    /// The members that joined with this key.
    pub fn members_with(&self, key: &[u8; 32]) -> impl Iterator<Item = &str> {
        let first = (*key, Arc::from(""));
        let key = *key;
        self.member_keys.range(first..).take_while(move |(of, _)| *of == key).map(|(_, identity)| &**identity)
    }

    /// The revoked agent or control node that this key is refused with. Looks at every revocation: there are a few thousand at
    /// most. Keys of revoked gateways, and of other nodes that agents admit, do not count: they come from what agents report, and
    /// one agent's word must not refuse another agent.
    pub fn revoked_with(&self, key: &[u8; 32]) -> Option<&str> {
        let with = |(identity, revocation): &(&Arc<str>, &Arc<Revocation>)| {
            revocation.keys.contains(key) && !matches!(identified(identity), Ok(Identified::OfRegion(_)))
        };
        let named = self.revocations.iter().find(with).map(|(identity, _)| &**identity);
        named.or_else(|| self.members_with(key).find(|identity| self.is_revoked(identity)))
    }

    /// The revocations, by identity.
    pub fn revocations(&self) -> impl Iterator<Item = (&str, &Revocation)> {
        self.revocations.iter().map(|(identity, revocation)| (&**identity, &**revocation))
    }

    /// That this identity is refused, and since when.
    pub fn revocation(&self, identity: &str) -> Option<&Revocation> {
        self.revocations.get(identity).map(Arc::as_ref)
    }

    /// Whether this identity is refused.
    pub fn is_revoked(&self, identity: &str) -> bool {
        self.revocations.contains_key(identity)
    }

    /// The revision of the last revocation or readmission; 0 before the first.
    pub fn revoked_revision(&self) -> Revision {
        self.revoked_revision
    }

    /// The revision of the last command that put or deleted a resource of a kind that DNS answers are made of: DnsZone, GlobalHost,
    /// FailoverPlan, Failover, Drain, Environment and Region. 0 before the first.
    pub fn dns_revision(&self) -> Revision {
        self.dns_revision
    }

    /// The roots that are believed, in the order they came. None: the root was never replaced.
    pub fn roots(&self) -> &[Root] {
        &self.roots.believed
    }

    /// The root that certificates come from; `None` as above.
    pub fn issuing_root(&self) -> Option<RootId> {
        (!self.roots.believed.is_empty()).then_some(self.roots.issuing)
    }

    /// The roots that were believed once and never will be again.
    pub fn dropped_roots(&self) -> &[RootId] {
        &self.roots.dropped
    }

    /// The revision of the last change of the roots; 0 before the first.
    pub fn roots_revision(&self) -> Revision {
        self.roots.revision
    }

    /// The versions of the federation key, and the recovery key.
    pub fn federation_keys(&self) -> &FederationKeys {
        &self.federation_keys
    }

    /// The resource of that key.
    pub fn get(&self, key: &ResourceKey) -> Option<&Arc<Resource>> {
        self.resources.get(key)
    }

    /// Every resource, in order of key: kind (in order of dependency), organization, name.
    pub fn resources(&self) -> impl ExactSizeIterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// The resources of a kind in order of key. `None` for an owned kind: those of all organizations.
    pub fn list<'a>(
        &'a self,
        kind: Kind,
        organization: Option<&'a Name>,
    ) -> impl Iterator<Item = &'a Arc<Resource>> + 'a {
        let first = ResourceKey { kind, organization: organization.cloned(), name: lowest_name() };
        self.list_from(Bound::Included(first), kind, organization)
    }

    /// As [`State::list`], starting behind `after`: the next page.
    pub fn list_after<'a>(
        &'a self,
        kind: Kind,
        organization: Option<&'a Name>,
        after: ResourceKey,
    ) -> impl Iterator<Item = &'a Arc<Resource>> + 'a {
        self.list_from(Bound::Excluded(after), kind, organization)
    }

    fn list_from<'a>(
        &'a self,
        first: Bound<ResourceKey>,
        kind: Kind,
        organization: Option<&'a Name>,
    ) -> impl Iterator<Item = &'a Arc<Resource>> + 'a {
        self.resources
            .range((first, Bound::Unbounded))
            .take_while(move |(key, _)| {
                key.kind == kind && organization.is_none_or(|own| key.organization.as_ref() == Some(own))
            })
            .map(|(_, resource)| resource)
    }

    /// Who refers to `key`, in order of key. Ownership by an Organization is not a reference: see [`State::owned_by`].
    pub fn referrers<'a>(&'a self, key: &'a ResourceKey) -> impl Iterator<Item = &'a ResourceKey> + 'a {
        let first = (key.clone(), lowest_key());
        self.references.range(first..).take_while(move |(target, _)| target == key).map(|(_, source)| source)
    }

    /// The referrers of one kind, in order of key. It looks at no other: a Plan may have a hundred thousand.
    pub fn referrers_of_kind<'a>(
        &'a self,
        key: &'a ResourceKey,
        kind: Kind,
    ) -> impl Iterator<Item = &'a ResourceKey> + 'a {
        let first = (key.clone(), ResourceKey { kind, organization: None, name: lowest_name() });
        let found = self.references.range(first..);
        found
            .take_while(move |(target, source)| target == key && source.kind == kind)
            .map(|(_, source)| source)
    }

    /// The references of a command that lead nowhere, neither here nor in the command: the field as a refusal names it, and what it
    /// names. A Binding's ApiRevision is not among them: the command may make it.
    pub fn missing_in(&self, body: &CommandBody) -> Vec<(String, ResourceKey)> {
        let puts = || body.changes().iter().filter(|change| matches!(change.action, Action::Put { .. }));
        let put: BTreeSet<&ResourceKey> = puts().map(|change| &change.key).collect();
        let mut missing = Vec::new();
        for Change { key, action, .. } in puts() {
            let mut see = |target: ResourceKey, field: &dyn fmt::Display| {
                let is_there = self.get(&target).is_some() || put.contains(&target);
                if !is_there && target.kind != Kind::ApiRevision {
                    missing.push((format!("{key}: {field}"), target));
                }
            };
            if let Some(organization) = &key.organization {
                see(ResourceKey::global(Kind::Organization, organization.clone()), &"organization");
            }
            if let Action::Put { spec, .. } = action {
                let mut refers = |reference: Reference| see(reference.target, &reference.field);
                spec.references(&mut Refer::new(key, &mut refers));
            }
        }
        missing
    }

    /// Everything an organization owns, in order of key.
    pub fn owned_by<'a>(&'a self, organization: &'a Name) -> impl Iterator<Item = &'a Arc<Resource>> + 'a {
        Kind::ALL
            .into_iter()
            .filter(|kind| !kind.is_global())
            .flat_map(move |kind| self.list(kind, Some(organization)))
    }

    /// The Api of that name.
    pub fn api(&self, organization: &Name, api: &Name) -> Option<&ApiSpec> {
        let key = ResourceKey::owned(Kind::Api, organization.clone(), api.clone());
        if let Spec::Api(spec) = &self.get(&key)?.spec { Some(spec) } else { None }
    }

    /// The Environment of that name.
    pub fn environment(&self, name: &Name) -> Option<&EnvironmentSpec> {
        let environment = self.get(&ResourceKey::global(Kind::Environment, name.clone()))?;
        if let Spec::Environment(spec) = &environment.spec { Some(spec) } else { None }
    }

    /// Revision `number` of an Api.
    pub fn api_revision(&self, organization: &Name, api: &Name, number: u64) -> Option<&Arc<Resource>> {
        self.get(&ApiRevisionSpec::key(organization, api, number)?)
    }

    /// The revision of an Api that was made last.
    pub fn latest_api_revision(&self, organization: &Name, api: &Name) -> Option<&Arc<Resource>> {
        let number = self.api_revision_numbers(organization, api).next_back()?;
        self.api_revision(organization, api, number)
    }

    /// The numbers of the revisions kept of an Api, ascending.
    pub fn api_revision_numbers<'a>(
        &'a self,
        organization: &Name,
        api: &Name,
    ) -> impl DoubleEndedIterator<Item = u64> + 'a {
        self.api_revision_sizes(organization, api).map(|(number, _)| number)
    }

    /// The same, each with how many bytes of JSON it has.
    pub(crate) fn api_revision_sizes<'a>(
        &'a self,
        organization: &Name,
        api: &Name,
    ) -> impl DoubleEndedIterator<Item = (u64, usize)> + 'a {
        let of = |number| (organization.clone(), api.clone(), number);
        let found = self.api_revisions.range(of(0)..=of(u64::MAX));
        found.map(|((_, _, number), bytes)| (*number, *bytes))
    }

    /// The regions a Binding runs in: those of its Environment that exist and that it selects, sorted. Empty for
    /// anything but a Binding.
    pub fn regions_of(&self, binding: &Resource) -> Vec<Name> {
        let Some((_, spec)) = as_binding(binding) else { return Vec::new() };
        let mut regions = self.regions_of_environment(&spec.environment);
        regions.retain(|name| {
            let region = self.get(&ResourceKey::global(Kind::Region, name.clone()));
            region.is_some_and(|region| spec.regions.picks(name, &region.metadata.labels))
        });
        regions
    }

    /// The regions of an Environment that exist, sorted.
    pub(crate) fn regions_of_environment(&self, environment: &Name) -> Vec<Name> {
        let listed = self.environment(environment).map(|spec| spec.regions.as_slice()).unwrap_or_default();
        let exists = |name: &&Name| self.get(&ResourceKey::global(Kind::Region, (*name).clone())).is_some();
        let mut regions: Vec<Name> = listed.iter().filter(exists).cloned().collect();
        regions.sort();
        regions.dedup();
        regions
    }

    /// The regions whose gateways take requests for a Binding, sorted: those that it runs in, and with `reach: federation` the others of
    /// its Environment, which send the requests on. A Binding that runs nowhere has none.
    pub(crate) fn regions_reached(&self, binding: &Resource) -> Vec<Name> {
        let own = self.regions_of(binding);
        match as_binding(binding) {
            Some((_, spec)) if spec.reach == Reach::Federation && !own.is_empty() => {
                self.regions_of_environment(&spec.environment)
            }
            _in_its_own => own,
        }
    }

    /// The regions that requests for a Binding are sent on to: those that it runs in and that are not drained, or all of these if
    /// each is.
    pub(crate) fn regions_to_send_to(&self, binding: &Resource) -> Vec<Name> {
        let own = self.regions_of(binding);
        let open: Vec<Name> = own.iter().filter(|region| !self.is_drained(region)).cloned().collect();
        if open.is_empty() { own } else { open }
    }

    /// The Token with that digest. Whether it has expired is the caller's to judge.
    pub fn token_with(&self, digest: &Digest) -> Option<&Arc<Resource>> {
        self.holders(&Claim::Token(*digest)).next().and_then(|key| self.get(key))
    }

    /// Who has what `claim` says.
    pub(crate) fn holders<'a>(&'a self, claim: &'a Claim) -> impl Iterator<Item = &'a ResourceKey> + 'a {
        let first = (claim.clone(), lowest_key());
        self.claims.range(first..).take_while(move |(own, _)| own == claim).map(|(_, key)| key)
    }
}

/// A Binding's organization and spec.
pub(crate) fn as_binding(resource: &Resource) -> Option<(&Name, &BindingSpec)> {
    let Spec::Binding(spec) = &resource.spec else { return None };
    Some((resource.key.organization.as_ref()?, spec))
}

/// The name before which there is none: digits sort before letters, and '-' may not come first.
fn lowest_name() -> Name {
    Name::new("0").expect("\"0\" is a name")
}

/// The key before which there is none.
pub(crate) fn lowest_key() -> ResourceKey {
    ResourceKey { kind: Kind::ALL[0], organization: None, name: lowest_name() }
}
