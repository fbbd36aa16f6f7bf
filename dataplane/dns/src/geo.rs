//! Where on earth a network is, as a file of the MaxMind DB format says.
//!
//! The file is the responder's own: a free or bought City database, or one that an operator made for private networks. It is no part of
//! the configuration, so no control plane distributes it, and two responders may have different ones. Each reports its digest.

mod file;
#[cfg(test)]
mod fuzz;
mod place;
#[cfg(test)]
pub(crate) mod writer;

use std::{fmt, io, path::PathBuf};

use hanse_steering::Spot;
use ipnet::IpNet;
use maxminddb::{MaxMindDbError, Reader, WithinOptions, path};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) use self::file::{GeoFile, InUse};
pub use self::place::{import, look};

/// The largest file. City databases have 60 to 150 MB.
pub const MAX_GEO_BYTES: u64 = 512 << 20;

/// A database, checked.
pub struct GeoDatabase {
    reader: Reader<Vec<u8>>,
    about: About,
}

/// What a database says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Its type: `GeoLite2-City`.
    pub database_type: String,
    /// When it was made, in seconds since 1970.
    pub built: u64,
    /// How many nodes its tree of networks has.
    pub nodes: u32,
    /// The SHA-256 digest of the file, in hexadecimal digits.
    pub sha256: String,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// It cannot be read, or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is too large.
    #[error("it has {0} octets, and the most is {MAX_GEO_BYTES}; use a City database, which is smaller")]
    Large(u64),
    /// It is no database, or damaged.
    #[error(
        "it is no MaxMind DB file, or damaged: {0}; fetch it again, and give the .mmdb file itself, unpacked"
    )]
    Damaged(#[from] MaxMindDbError),
    /// No network in it has coordinates.
    #[error("no network in it has coordinates ({0}); use a City database")]
    NoCoordinates(String),
}

/// The coordinates of a record, as City databases have them.
#[derive(Debug, Deserialize)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl Location {
    fn spot(&self) -> Option<Spot> {
        // What is no number of degrees becomes a number beyond them, or 0 for NaN; both are refused.
        let e6 = |degrees: f64| degrees.is_finite().then(|| (degrees * 1e6).round() as i32);
        Spot::new(e6(self.latitude?)?, e6(self.longitude?)?)
    }
}

impl GeoDatabase {
    /// Checks a database wholly: whatever is asked of it afterwards is in it. Takes seconds for a large one.
    pub fn new(bytes: Vec<u8>) -> Result<Self, GeoError> {
        let octets = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if octets > MAX_GEO_BYTES {
            return Err(GeoError::Large(octets));
        }
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let reader = Reader::from_source(bytes)?;
        reader.verify()?;
        let said = reader.metadata();
        let about = About {
            database_type: said.database_type.clone(),
            built: said.build_epoch,
            nodes: said.node_count,
            sha256,
        };
        let database = Self { reader, about };
        if !database.has_coordinates()? {
            return Err(GeoError::NoCoordinates(database.about.database_type));
        }
        Ok(database)
    }

    fn has_coordinates(&self) -> Result<bool, GeoError> {
        for network in self.reader.networks(WithinOptions::default())? {
            let location = network?.decode_path::<Location>(&path!["location"]);
            if location.ok().flatten().is_some_and(|location| location.spot().is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where a network is: its first address decides. `None`: the database does not say.
    pub fn spot(&self, network: IpNet) -> Option<Spot> {
        let found = self.reader.lookup(network.network()).ok()?;
        found.decode_path::<Location>(&path!["location"]).ok()??.spot()
    }

    /// What it says of itself.
    pub fn about(&self) -> &About {
        &self.about
    }
}

impl fmt::Debug for GeoDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GeoDatabase").field(&self.about).finish()
    }
}

#[cfg(test)]
mod tests;
