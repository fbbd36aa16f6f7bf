//! What an agent hears of its region, part by part: pure.

use std::{collections::BTreeMap, sync::Arc};

use hanse_proto::sync::{AgentLive, RegionPart, Traffic};
use hanse_topology::Name;
use prost::Message as _;

/// The most that a view may take, encoded: a thousand agents with ten gateways each take two hundredths of it.
pub(super) const MAX_VIEW_BYTES: usize = 64 << 20;
/// An agent takes so much more than its octets at least, so that empty ones count too.
pub(super) const AGENT_BYTES: usize = 256;

/// What is known of a region.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RegionView {
    pub(super) agents: BTreeMap<Name, Arc<AgentLive>>,
    pub(super) traffic: Traffic,
}

/// A view that is being heard. Parts that belong together count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Hearing {
    view: RegionView,
    /// With the parts so far whose last has not come.
    next: Option<RegionView>,
    /// Octets of the agents of that.
    bytes: usize,
}

impl Hearing {
    /// Takes a part. The view, if all of it is there now.
    pub(super) fn take(&mut self, part: RegionPart) -> Result<Option<&RegionView>, String> {
        if part.whole {
            (self.next, self.bytes) = (Some(RegionView::default()), 0);
        }
        let next = self.next.get_or_insert_with(|| self.view.clone());
        let length = |agent: &AgentLive| agent.encoded_len() + AGENT_BYTES;
        for name in part.forgotten.iter().filter_map(|name| Name::new(name).ok()) {
            self.bytes -= next.agents.remove(&name).map_or(0, |agent| length(&agent));
        }
        for mut agent in part.agents {
            let Ok(name) = Name::new(&agent.name) else { continue };
            agent.gateways.retain(|gateway| Name::new(&gateway.name).is_ok());
            self.bytes += length(&agent);
            self.bytes -= next.agents.insert(name, Arc::new(agent)).map_or(0, |agent| length(&agent));
        }
        if self.bytes > MAX_VIEW_BYTES {
            return Err(format!("what it knows of the region takes more than {MAX_VIEW_BYTES} bytes"));
        }
        if let Some(traffic) = part.traffic {
            next.traffic = traffic;
        }
        if part.more {
            return Ok(None);
        }
        self.view = self.next.take().unwrap_or_default();
        Ok(Some(&self.view))
    }
}
