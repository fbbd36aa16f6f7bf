mod delete;
mod idempotency;
mod join;
mod properties;
mod resources;
mod revisions;
mod revocation;
mod roots;
