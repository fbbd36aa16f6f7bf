//! Specs as JSON.

use std::{fmt, io};

use serde::{Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Problem, ProblemName, words};

const JSON_CARRIES_SPECS: &str = "specs have string keys and finite numbers, which JSON can carry";

pub(crate) fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(json: D) -> Result<T, Problem>
where
    D::Error: fmt::Display,
{
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
        let (detail, remedy) = words::plain(&error.into_inner().to_string());
        Problem::new(ProblemName::Invalid, detail).at(field).remedy(remedy)
    })
}

pub(crate) fn value<T: Serialize>(spec: &T) -> Value {
    serde_json::to_value(spec).expect(JSON_CARRIES_SPECS)
}

pub(crate) fn bytes<T: Serialize>(spec: &T) -> Vec<u8> {
    serde_json::to_vec(spec).expect(JSON_CARRIES_SPECS)
}

pub(crate) fn len<T: Serialize>(spec: &T) -> usize {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, spec).expect(JSON_CARRIES_SPECS);
    counted.0
}

/// Counts what is written to it.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
