//! The harness that starts real processes, and what it measures.
