//! Subscriptions and the plans that limit them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use hanse_runtime::{Plan, Subscription, Unusable};

use super::{Key, claims::Claims, users::Users, versions::Versions};
use crate::{
    limit::{Bucket, Rate},
    table::callers::{Callers, Grant, OwnedId},
};

/// Every subscription of a scope, with the limit that it has.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    plans: HashMap<Key, Option<Rate>>,
    entries: BTreeMap<Key, Entry>,
    /// Subscriptions by the plan they want, and by the one whose limit they keep where that is another.
    by_plan: Users,
    claims: Claims<(OwnedId, OwnedId), Arc<Grant>>,
}

#[derive(Debug)]
struct Entry {
    plan: Key,
    pair: (OwnedId, OwnedId),
    /// What it was compiled from.
    from: Bytes,
    granted: Option<Granted>,
}

/// The limit in force and what it was made from: the plan that is wanted, or the one before while that is not to be had.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    grant: Arc<Grant>,
    /// The version of the subscription that wants this plan.
    pub(super) from: Bytes,
    pub(super) plan: Key,
    /// The plan's; `None`: there was none yet.
    pub(super) plan_from: Option<Bytes>,
}

impl Subscriptions {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is one of that key.
    pub(super) fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The limit in force of one.
    pub(super) fn granted(&self, key: &str) -> Option<&Granted> {
        self.entries.get(key)?.granted.as_ref()
    }

    /// A plan is there, or another. Who has to be settled is `touched`.
    pub(super) fn set_plan(&mut self, key: &Key, plan: &Plan, touched: &mut BTreeSet<Key>) {
        self.plans.insert(key.clone(), plan.rate.map(Rate::new));
        touched.extend(self.by_plan.of(key));
    }

    /// A plan is gone.
    pub(super) fn remove_plan(&mut self, key: &Key, touched: &mut BTreeSet<Key>) {
        self.plans.remove(key);
        touched.extend(self.by_plan.of(key));
    }

    /// A subscription is there, or another. It has to be settled then.
    pub(super) fn insert(
        &mut self,
        key: &Key,
        from: Bytes,
        subscription: &Subscription,
        callers: &mut Callers,
    ) {
        let organization = subscription.organization.as_str();
        let plan: Key = format!("plan/{organization}/{}", subscription.plan).into();
        let pair = (
            OwnedId::new(organization, &subscription.application),
            OwnedId::new(organization, &subscription.api),
        );
        self.by_plan.join(&plan, key);
        let before = self.entries.remove(key);
        if let Some(before) = &before {
            let kept = before.granted.as_ref().map(|granted| &granted.plan);
            if before.plan != plan && kept != Some(&before.plan) {
                self.by_plan.leave(&before.plan, key);
            }
            if before.pair != pair {
                callers.set_grant(before.pair, self.claims.withdraw(&before.pair, key));
            }
        }
        let granted = before.and_then(|entry| entry.granted);
        self.entries.insert(key.clone(), Entry { plan, pair, from, granted });
    }

    /// A subscription is gone.
    pub(super) fn remove(&mut self, key: &Key, callers: &mut Callers) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.by_plan.leave(&entry.plan, key);
        if let Some(granted) = &entry.granted {
            self.by_plan.leave(&granted.plan, key);
        }
        callers.set_grant(entry.pair, self.claims.withdraw(&entry.pair, key));
    }

    /// Brings one in line with its plan. Its budget goes on where the rate stays the same. An error: its plan is not to be
    /// had; availability goes before limits, but not unsaid, and not where there is a limit still.
    pub(super) fn settle(
        &mut self,
        key: &Key,
        versions: &Versions,
        callers: &mut Callers,
    ) -> Option<Result<(), Unusable>> {
        let granted = self.next(self.entries.get(key)?, versions);
        let entry = self.entries.get_mut(key)?;
        if let Some(before) = &entry.granted
            && before.plan != granted.plan
            && before.plan != entry.plan
        {
            self.by_plan.leave(&before.plan, key);
        }
        let grant = self.claims.claim(entry.pair, key, granted.grant.clone());
        callers.set_grant(entry.pair, Some(grant));
        entry.granted = Some(granted);
        let missing = || Unusable::new("plan", format!("{} is not there, or cannot be used", entry.plan));
        Some(self.plans.get(&entry.plan).map(drop).ok_or_else(missing))
    }

    /// The limit of a subscription: that of its plan; while this is not to be had, of the plan before as it is now or as it
    /// last was.
    fn next(&self, entry: &Entry, versions: &Versions) -> Granted {
        let before = entry.granted.as_ref();
        let wanted = [(&entry.plan, &entry.from)];
        let candidates = wanted.into_iter().chain(before.map(|granted| (&granted.plan, &granted.from)));
        let found = candidates.filter_map(|(plan, from)| Some((plan, from, *self.plans.get(plan)?))).next();
        match (found, before) {
            (Some((plan, from, rate)), before) => {
                let bucket = before.and_then(|granted| granted.grant.bucket.as_ref());
                let same = before.filter(|_| bucket.map(|bucket| bucket.rate()) == rate);
                let grant = same.map(|granted| granted.grant.clone());
                let grant = grant.unwrap_or_else(|| Arc::new(Grant { bucket: rate.map(Bucket::new) }));
                let plan_from = versions.usable(plan).cloned();
                Granted { grant, from: from.clone(), plan: plan.clone(), plan_from }
            }
            (None, Some(granted)) if granted.plan == entry.plan => {
                Granted { from: entry.from.clone(), ..granted.clone() }
            }
            (None, Some(granted)) => granted.clone(),
            (None, None) => {
                let grant = Arc::new(Grant { bucket: None });
                Granted { grant, from: entry.from.clone(), plan: entry.plan.clone(), plan_from: None }
            }
        }
    }
}
