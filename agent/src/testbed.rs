//! What tests of several parts need.

use std::path::Path;

use hanse_topology::Name;

use crate::{Addresses, Config};

/// `agent-1` of `eu-west`, whose data is in `dir`.
pub(crate) fn config(dir: &Path) -> Config {
    let any = || "127.0.0.1:0".to_owned();
    Config {
        name: Name::new("agent-1").unwrap(),
        region: Name::new("eu-west").unwrap(),
        data_dir: dir.to_owned(),
        store_key: None,
        servers: Vec::new(),
        enrolment: Vec::new(),
        join_token_file: None,
        listen: Addresses { federation: any(), enrolment: any(), admin: any() },
        advertise: None,
    }
}
