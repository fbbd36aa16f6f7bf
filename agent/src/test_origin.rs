//! Wishes for local scopes from files, for tests of dev builds: `HANSE_TEST_ORIGIN=DIR`. A release build has no such source.
//!
//! `DIR/ORIGIN/ENVIRONMENT.json` is the wish for one local scope, and no file is no wish:
//!
//! ```json
//! {"term": 1, "resources": [{"key": "route/acme/pets", "hex": "…"}]}
//! ```

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hanse_local::{Wish, Wishes};
use hanse_process::{Shutdown, json_file};
use hanse_topology::{Name, ScopeId};
use serde::Deserialize;
use tokio::sync::watch;
use tracing::error;

/// The variable that names the directory.
const VARIABLE: &str = "HANSE_TEST_ORIGIN";
/// How often the files are read: tests measure a whole way in tenths of seconds.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WishFile {
    term: u64,
    resources: Vec<Wished>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wished {
    key: String,
    hex: String,
}

/// What the files say, until the shutdown. Without the variable, and in release builds: that nothing is wished for.
pub(crate) fn wishes(region: &Name, shutdown: Shutdown) -> watch::Receiver<Wishes> {
    let (sender, wishes) = watch::channel(Wishes::new());
    let dir = env::var_os(VARIABLE).filter(|dir| cfg!(debug_assertions) && !dir.is_empty());
    if let Some(dir) = dir {
        tokio::spawn(look(PathBuf::from(dir), region.clone(), sender, shutdown));
    }
    wishes
}

async fn look(dir: PathBuf, region: Name, wishes: watch::Sender<Wishes>, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        match read(&dir, &region) {
            // One that says the same stays the same object: holders need not compare it again.
            Ok(found) => {
                wishes.send_if_modified(|wishes| {
                    let is_news = *wishes != found;
                    if is_news {
                        let before = std::mem::take(wishes);
                        let kept = |(scope, wish): (ScopeId, Arc<Wish>)| match before.get(&scope) {
                            Some(same) if *same == wish => (scope, same.clone()),
                            Some(_) | None => (scope, wish),
                        };
                        *wishes = found.into_iter().map(kept).collect();
                    }
                    is_news
                });
            }
            Err(why) => error!(why, "the test origin cannot be read"),
        }
        tokio::select! { () = shutdown.wait() => {}, () = tokio::time::sleep(LOOK_EVERY) => {} }
    }
}

fn read(dir: &Path, region: &Name) -> Result<Wishes, String> {
    let mut wishes = Wishes::new();
    for origin in names_in(dir).map_err(|error| format!("{}: {error}", dir.display()))? {
        let dir = dir.join(origin.as_str());
        for environment in names_in(&dir).map_err(|error| format!("{}: {error}", dir.display()))? {
            let file: Option<WishFile> =
                json_file::read(&dir, environment.as_str()).map_err(|error| error.to_string())?;
            let Some(WishFile { term, resources }) = file else { continue };
            let content = resources.into_iter().map(|Wished { key, hex }| {
                let value = hex::decode(&hex).map_err(|error| format!("{key}: {error}"))?;
                Ok((Arc::from(key), value.into()))
            });
            let content = content.collect::<Result<BTreeMap<_, _>, String>>()?;
            let scope = ScopeId::local(region.clone(), environment, origin.clone());
            wishes.insert(scope, Arc::new(Wish { term, content }));
        }
    }
    Ok(wishes)
}

/// The names in a directory, without `.json`. Other files are being written.
fn names_in(dir: &Path) -> io::Result<Vec<Name>> {
    let named = |entry: io::Result<fs::DirEntry>| match entry {
        Ok(entry) => {
            let name = entry.file_name().into_string().unwrap_or_default();
            Name::new(name.strip_suffix(".json").unwrap_or(&name)).ok().map(Ok)
        }
        Err(error) => Some(Err(error)),
    };
    fs::read_dir(dir)?.filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_wish_for_one_local_scope() {
        let dir = tempfile::tempdir().unwrap();
        let region = Name::new("eu-west").unwrap();
        assert_eq!(read(dir.path(), &region), Ok(Wishes::new()));
        fs::create_dir(dir.path().join("pods")).unwrap();
        let file = dir.path().join("pods/production.json");
        fs::write(&file, r#"{"term": 7, "resources": [{"key": "route/acme/pets", "hex": "0a01"}]}"#).unwrap();
        fs::write(dir.path().join("pods/.staging.json.tmp"), "half of").unwrap();
        let wishes = read(dir.path(), &region).unwrap();
        let content = [(Arc::from("route/acme/pets"), vec![10, 1].into())].into();
        let scope = "local/eu-west/production/pods".parse().unwrap();
        assert_eq!(wishes, [(scope, Arc::new(Wish { term: 7, content }))].into());
        for wrong in [r#"{"term": 7}"#, r#"{"term": 7, "resources": [{"key": "a", "hex": "0"}]}"#, "{"] {
            fs::write(&file, wrong).unwrap();
            assert!(read(dir.path(), &region).is_err(), "{wrong}");
        }
    }
}
