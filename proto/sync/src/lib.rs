//! The delta protocol, sans I/O: publisher, subscriber, replicas, roots
