//! Storing and removing resources, with the indexes that are computed from one resource alone. `claims`, `places` and `grants` depend
//! on several resources, so the code that changes the state keeps them.

use std::sync::Arc;

use hanse_management::{ResourceKey, Spec};

use super::{State, claims_of};
use crate::{Member, Resource};

impl State {
    /// Stores a resource in place of what was there.
    pub(crate) fn store(&mut self, resource: Resource) {
        let key = resource.key.clone();
        self.remove(&key);
        resource.each_reference(|reference| {
            self.references.insert((reference.target, key.clone()));
        });
        if let (Spec::ApiRevision(spec), Some(organization)) = (&resource.spec, &key.organization) {
            let revision = (organization.clone(), spec.api.clone(), spec.number);
            self.api_revisions.insert(revision, resource.spec.json_len());
        }
        self.resources.insert(key, Arc::new(resource));
    }

    /// Removes a resource.
    pub(crate) fn remove(&mut self, key: &ResourceKey) -> Option<Arc<Resource>> {
        let resource = self.resources.remove(key)?;
        resource.each_reference(|reference| {
            self.references.remove(&(reference.target, key.clone()));
        });
        if let (Spec::ApiRevision(spec), Some(organization)) = (&resource.spec, &key.organization) {
            self.api_revisions.remove(&(organization.clone(), spec.api.clone(), spec.number));
        }
        Some(resource)
    }

    /// Stores a member in place of what was known of that identity.
    pub(crate) fn set_member(&mut self, identity: &str, member: Member) {
        let identity: Arc<str> = identity.into();
        if let Some(known) = self.members.get(&identity) {
            self.member_keys.remove(&(known.key_digest, identity.clone()));
        }
        self.member_keys.insert((member.key_digest, identity.clone()));
        self.members.insert(identity, Arc::new(member));
    }

    /// Whether members or revocations may differ between this state and `other`. It compares no contents: it also says so where a
    /// change was taken back between the two, which a comparison would not show.
    pub(crate) fn may_differ_in_members(&self, other: &Self) -> bool {
        !(self.members.ptr_eq(&other.members) && self.revocations.ptr_eq(&other.revocations))
    }

    /// Computes anew what depends on several resources: claims, areas and grants.
    pub(crate) fn rebuild(&mut self) {
        self.rebuild_areas();
        self.claims = self
            .resources
            .values()
            .flat_map(|resource| {
                claims_of(self, resource).into_iter().map(|claim| (claim, resource.key.clone()))
            })
            .collect();
    }
}
