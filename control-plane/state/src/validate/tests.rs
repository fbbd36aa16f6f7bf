//! One table per kind: what is given, what the refusal says.

mod consistency;
mod egress;
mod hosts;
mod kinds;
mod steering;
