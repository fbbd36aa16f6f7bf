//! Compiles the `.proto` files without `protoc`.

use std::{env, error::Error, path::PathBuf};

/// Every schema file, relative to this crate.
const FILES: [&str; 6] = [
    "hanse/sync/v1/sync.proto",
    "hanse/runtime/v1/runtime.proto",
    "hanse/control/v1/control.proto",
    "hanse/raft/v1/raft.proto",
    "hanse/enrolment/v1/enrolment.proto",
    "hanse/store/v1/store.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=hanse");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let files = protox::compile(FILES, [&root])?;
    tonic_prost_build::configure()
        .btree_map(".") // deterministic encoding of maps
        .bytes(".") // values are shared, not copied
        .compile_fds(files)?;
    Ok(())
}
