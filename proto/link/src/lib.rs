//! The delta protocol over gRPC: publisher service and subscriber task
