//! The example that a new federation publishes, so that a call is answered at once.

use std::{fs, path::PathBuf};

use anyhow::Context as _;

use super::{
    data_dir::DataDir,
    own,
    plan::{Face, Plan, Role},
    process,
    supervisor::Supervisor,
};

/// The Api's name, and its base path behind a slash.
pub(super) const NAME: &str = "petshop";
/// A path of it that answers a GET.
pub(super) const PATH: &str = "/petshop/pets";
/// The description.
const DOCUMENT: &str = include_str!("../../../docs/examples/petshop.yaml");

/// Where the description lies in the data directory.
pub(super) fn file(dir: &DataDir) -> PathBuf {
    dir.path().join("examples").join("petshop.yaml")
}

/// Imports it with our own command, open to every caller, and waits until every gateway serves it.
pub(super) async fn publish(supervisor: &Supervisor, dir: &DataDir, plan: &Plan) -> anyhow::Result<()> {
    let file = file(dir);
    let writing = || format!("writing {}", file.display());
    own::dir(&dir.path().join("examples")).with_context(writing)?;
    fs::write(&file, DOCUMENT).with_context(writing)?;
    let upstream = plan.of_role(Role::Upstream).find_map(|upstream| upstream.address(Face::Http));
    let mut import = process::command(supervisor.executable(), "--config");
    import.arg(dir.client()).args(["import", "openapi"]).arg(&file);
    import.args(["--as", NAME, "--context", &format!("/{NAME}"), "--open", "--wait"]);
    import.args([
        "--publish-to",
        "production",
        "--upstream",
        &format!("http://{}", upstream.unwrap_or_default()),
    ]);
    process::output_of(import, "publishing the example").await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{Files, Wanted, document};

    #[test]
    fn the_example_can_be_imported_and_has_the_path_that_is_shown() {
        let imported = document(DOCUMENT, Files::none(), &Wanted::default()).unwrap();
        assert_eq!((imported.notes.len(), imported.advice.len()), (0, 0));
        let path = PATH.strip_prefix(&format!("/{NAME}")).unwrap();
        let is_there = imported
            .operations
            .iter()
            .any(|operation| operation.method.as_str() == "GET" && operation.path == path);
        assert!(is_there, "{:?}", imported.operations);
    }
}
