//! The process's metric registry.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{encoding::text, registry::Registry};

/// The registry that the parts of a process register their metrics in and that the admin port shows. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers metrics: `metrics.register(|registry| registry.sub_registry_with_prefix("hanse_gateway").register(…))`.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut text, &registry).expect("writing to a string cannot fail");
        text
    }
}
