//! The place of the file, and how another one gets there.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use hanse_process::durable;

use super::{About, GeoDatabase, GeoError, MAX_GEO_BYTES};

/// Anybody may read it: most databases are public.
const MODE: u32 = 0o644;

/// Reads and checks the database at this place.
pub fn look(path: &Path) -> Result<GeoDatabase, GeoError> {
    GeoDatabase::new(read(path)?)
}

/// Checks a database and puts it in the place of another. A crash leaves the old one or the new one.
pub fn import(from: &Path, to: &Path) -> Result<About, GeoError> {
    let bytes = read(from)?;
    let database = GeoDatabase::new(bytes.clone())?;
    durable::replace(to, &bytes, MODE).map_err(of(to))?;
    Ok(database.about)
}

/// No more of a file than can be used, whatever it is.
fn read(path: &Path) -> Result<Vec<u8>, GeoError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(of(path))?;
    file.take(MAX_GEO_BYTES + 1).read_to_end(&mut bytes).map_err(of(path))?;
    Ok(bytes)
}

fn of(path: &Path) -> impl FnOnce(io::Error) -> GeoError {
    let path = path.to_owned();
    move |source| GeoError::Io { path, source }
}
