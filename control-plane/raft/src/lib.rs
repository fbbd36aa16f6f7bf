//! The replicated state machine: openraft over sled
