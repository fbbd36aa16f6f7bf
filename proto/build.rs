//! Compiles the `.proto` files without `protoc`.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

/// Every schema file, relative to this crate.
const FILES: [&str; 6] = [
    "hanse/sync/v1/sync.proto",
    "hanse/runtime/v1/runtime.proto",
    "hanse/control/v1/control.proto",
    "hanse/raft/v1/raft.proto",
    "hanse/enrolment/v1/enrolment.proto",
    "hanse/store/v1/store.proto",
];

/// Messages that are secrets: printing must not reveal them.
const SECRETS: [&str; 2] = ["hanse.raft.v1.FederationKey", "hanse.runtime.v1.Secret"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=hanse");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let of_release = PathBuf::from(env::var("OUT_DIR")?).join("schema");
    copy(&root, &of_release, env::var_os("CARGO_FEATURE_NEXT").is_some())?;
    let files = protox::compile(FILES, [&of_release])?;
    tonic_prost_build::configure()
        .btree_map(".") // deterministic encoding of maps
        .bytes(".") // values are shared, not copied
        .skip_debug(SECRETS)
        .compile_fds(files)?;
    Ok(())
}

/// Marks a line that only the test release has (`docs/chaos.md`).
const NEXT: &str = "// next: ";

/// Copies the files, with or without the lines of the test release.
fn copy(from: &Path, to: &Path, next: bool) -> Result<(), Box<dyn Error>> {
    for file in FILES {
        let text = fs::read_to_string(from.join(file))?;
        let lines = text.lines().filter(|line| next || !line.contains(NEXT));
        let text: String = lines.map(|line| line.replace(NEXT, "") + "\n").collect();
        let copy = to.join(file);
        fs::create_dir_all(copy.parent().ok_or("a schema file is in a directory")?)?;
        fs::write(copy, text)?;
    }
    Ok(())
}
