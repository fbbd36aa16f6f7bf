//! The bytes of version 1: one message of each kind that is sent or kept, every field set, recorded in
//! `testdata/v1/*.hex`. A change of bytes shows in a diff; these freeze with the first tagged release.
//!
//! `HANSE_WRITE_TESTDATA=1 cargo test -p hanse-proto` records them anew.

#![allow(clippy::unwrap_used)] // all of it is test code

mod control;
mod enrolment;
mod raft;
mod runtime;
mod store;
mod sync;

use std::{env, fmt::Debug, fs, path::PathBuf};

use prost::Message;

/// Digits per line of a recording: 32 bytes, so that a diff shows where bytes changed.
const LINE: usize = 64;

/// Compares the message's bytes with the recording of that name, and that the recording decodes to the message.
fn recorded<M: Message + Default + PartialEq + Debug>(name: &str, message: &M) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/v1").join(format!("{name}.hex"));
    let digits = hex::encode(message.encode_to_vec());
    let lines: Vec<&str> =
        digits.as_bytes().chunks(LINE).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let text = lines.join("\n") + "\n";
    if env::var_os("HANSE_WRITE_TESTDATA").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(found, text, "the bytes of {name} changed");
    let bytes = hex::decode(found.replace('\n', "")).unwrap();
    assert_eq!(&M::decode(bytes.as_slice()).unwrap(), message, "{name}");
}
