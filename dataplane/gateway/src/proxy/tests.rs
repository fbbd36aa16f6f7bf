mod bodies;
mod connections;
mod contract;
mod harness;
mod http2;
mod silence;
mod tls;
mod upstreams;
