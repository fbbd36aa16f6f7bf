//! The file that is in use, and the task that takes up another one.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use hanse_process::{Shutdown, telemetry};
use parking_lot::Mutex;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use tracing::{info, warn};

use super::{About, GeoDatabase, GeoError, look};

/// How often the file is looked at. A tool replaces it once a week.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What serving threads look places up in.
pub(crate) type InUse = Arc<ArcSwapOption<GeoDatabase>>;

/// The file of a responder.
#[derive(Debug, Clone)]
pub(crate) struct GeoFile {
    path: PathBuf,
    in_use: InUse,
    looked: Arc<Mutex<Looked>>,
    built: Gauge,
}

#[derive(Debug, Default)]
struct Looked {
    /// The version that was read last.
    version: Option<Version>,
    /// Why that one is not in use.
    failure: Option<String>,
}

/// What tells two versions of a file apart, without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    modified: SystemTime,
    octets: u64,
}

impl Version {
    /// `None`: there is no file.
    fn of(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(about) => Ok(Some(Self { modified: about.modified()?, octets: about.len() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl GeoFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, in_use: InUse::default(), looked: Arc::default(), built: Gauge::default() }
    }

    /// Shows how old the database is.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "When the database of places in use was made, in seconds since 1970; 0: there is none";
        registry.register("hanse_dns_geo_built_timestamp_seconds", help, self.built.clone());
    }

    pub(crate) fn in_use(&self) -> InUse {
        self.in_use.clone()
    }

    /// The database in use.
    pub(crate) fn about(&self) -> Option<About> {
        self.in_use.load().as_ref().map(|database| database.about().clone())
    }

    /// The SHA-256 digest of the database in use; empty: there is none.
    pub(crate) fn digest(&self) -> Bytes {
        let digest = self.in_use.load().as_ref().map(|database| hex::decode(&database.about().sha256));
        digest.and_then(Result::ok).unwrap_or_default().into()
    }

    /// Why the file, as it is now, is not in use.
    pub(crate) fn failure(&self) -> Option<String> {
        self.looked.lock().failure.clone()
    }

    /// Takes up the file if it has changed. One that cannot be used is an error in the log, once, and leaves the one before in use; so does
    /// one that is gone.
    pub(crate) async fn refresh(&self) {
        let file = self.clone();
        let refreshed = tokio::task::spawn_blocking(move || file.refresh_now()).await;
        if let Err(error) = refreshed {
            warn!(%error, path = %self.path.display(), "looking at the database of places panicked");
        }
    }

    fn refresh_now(&self) {
        let version = match Version::of(&self.path) {
            Ok(None) => return,
            Ok(Some(version)) => Ok(version),
            Err(source) => Err(GeoError::Io { path: self.path.clone(), source }),
        };
        let known = self.looked.lock().version.clone();
        if version.as_ref().ok().is_some_and(|version| known.as_ref() == Some(version)) {
            return;
        }
        let (version, found) = match version {
            Ok(version) => (Some(version), look(&self.path)),
            Err(error) => (None, Err(error)),
        };
        let failure = match found {
            Ok(database) => {
                let About { database_type, sha256, built, .. } = database.about();
                info!(path = %self.path.display(), database_type, sha256, "a database of places is in use");
                self.built.set(i64::try_from(*built).unwrap_or(i64::MAX));
                self.in_use.store(Some(Arc::new(database)));
                None
            }
            Err(error) => Some(telemetry::causes(&error).to_string()),
        };
        let mut looked = self.looked.lock();
        if let Some(failure) = &failure
            && looked.failure.as_ref() != Some(failure)
        {
            warn!(path = %self.path.display(), error = failure, "the database of places cannot be used; the one before stays");
        }
        *looked = Looked { version, failure };
    }

    /// Until the shutdown.
    pub(crate) async fn follow(&self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(LOOK_EVERY) => self.refresh().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::writer::{MADRID, sample, with_record};

    #[tokio::test]
    async fn a_file_that_changes_is_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("geo.mmdb");
        let file = GeoFile::new(path.clone());
        let in_use = || file.about().map(|about| about.sha256);
        file.refresh().await;
        assert_eq!((in_use(), file.failure()), (None, None), "no file is no failure");

        std::fs::write(&path, sample()).unwrap();
        file.refresh().await;
        let first = in_use();
        assert!(first.is_some() && file.failure().is_none());

        std::fs::write(&path, b"<html>404</html>").unwrap();
        file.refresh().await;
        assert_eq!(in_use(), first, "the one before stays");
        let failure = file.failure().unwrap();
        assert!(failure.contains("no MaxMind DB file") && failure.contains("fetch it again"), "{failure}");

        std::fs::remove_file(&path).unwrap();
        file.refresh().await;
        assert_eq!(in_use(), first);

        std::fs::write(&path, with_record("198.51.100.0/24", Some(MADRID))).unwrap();
        file.refresh().await;
        assert!(in_use().is_some_and(|second| Some(second) != first));
        assert_eq!(file.failure(), None);
    }
}
