mod bodies;
mod connections;
mod contract;
mod harness;
mod tls;
mod upstreams;
