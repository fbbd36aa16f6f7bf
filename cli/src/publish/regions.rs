//! Which regions a Binding runs in.

use std::collections::BTreeMap;

use hanse_api::answer::Resource;
use hanse_management::kinds::BindingSpec;
use hanse_topology::{Labels, Name};
use serde::Deserialize;

use crate::client::part_of;

/// The regions, and those of each Environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Regions {
    environments: BTreeMap<Name, Vec<Name>>,
    labels: BTreeMap<Name, Labels>,
}

impl Regions {
    /// Reads Environments and Regions.
    pub(crate) fn read(environments: &[Resource], regions: &[Resource]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Placed {
            #[serde(default)]
            regions: Vec<Name>,
        }
        let mut read = Self::default();
        for found in environments {
            read.environments.insert(Name::new(&found.name)?, part_of::<Placed>(found)?.regions);
        }
        for found in regions {
            read.labels.insert(Name::new(&found.name)?, found.labels.clone());
        }
        Ok(read)
    }

    /// The regions of each Environment.
    pub(crate) fn environments(&self) -> &BTreeMap<Name, Vec<Name>> {
        &self.environments
    }

    /// The regions that a Binding picks of its Environment's.
    pub(crate) fn of(&self, binding: &BindingSpec) -> Vec<Name> {
        let none = Labels::default();
        let picks = |name: &&Name| binding.regions.picks(name, self.labels.get(*name).unwrap_or(&none));
        self.environments.get(&binding.environment).into_iter().flatten().filter(picks).cloned().collect()
    }
}
