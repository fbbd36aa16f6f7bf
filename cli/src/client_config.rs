//! `client.toml`: which federation the client commands talk to.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use hanse_process::durable;
use hanse_topology::Name;
use serde::{Deserialize, Serialize};

use crate::{exit::Failure, toml_words};

/// The file of a federation started by `hanse dev` in the working directory.
const DEV_CLIENT: &str = ".hanse-dev/client.toml";
/// Below the user's configuration directory.
const USER_CLIENT: &str = "hanse/client.toml";
/// The organization of a client that names none.
const DEFAULT_ORGANIZATION: &str = "default";

/// The content of `client.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientConfig {
    /// Operator APIs, tried in turn: `https://host:7443`.
    pub(crate) servers: Vec<String>,
    /// The federation's root certificate (PEM); relative to this file.
    pub(crate) ca_file: PathBuf,
    /// The operator's token.
    pub(crate) token: String,
    /// The organization of resources that name none.
    #[serde(default = "default_organization")]
    pub(crate) organization: Name,
}

pub(crate) fn default_organization() -> Name {
    Name::new(DEFAULT_ORGANIZATION).expect("the constant is a name")
}

/// Where a client configuration may be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// `--config`.
    pub(crate) flag: Option<PathBuf>,
    /// `HANSE_CONFIG`.
    pub(crate) environment: Option<OsString>,
    /// Where the command runs.
    pub(crate) working_dir: PathBuf,
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub(crate) user_dir: Option<PathBuf>,
}

impl Places {
    /// The places of this process.
    pub(crate) fn of_process(flag: Option<PathBuf>) -> Self {
        let not_empty = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let user_dir = not_empty("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| not_empty("HOME").map(|home| PathBuf::from(home).join(".config")));
        Self { flag, environment: not_empty("HANSE_CONFIG"), working_dir: PathBuf::new(), user_dir }
    }

    /// The file to use: the first place that was named, else the first that exists.
    pub(crate) fn locate(&self) -> Result<PathBuf, Failure> {
        if let Some(named) = self.flag.clone().or_else(|| self.environment.clone().map(PathBuf::from)) {
            return Ok(self.working_dir.join(named));
        }
        let mut candidates = vec![self.working_dir.join(DEV_CLIENT)];
        candidates.extend(self.user_dir.as_ref().map(|dir| dir.join(USER_CLIENT)));
        let listed =
            candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" nor ");
        candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
            Failure::usage(format!(
                "no client configuration: neither --config nor HANSE_CONFIG is given, nor is there {listed}"
            ))
            .remedy(
                "start a federation with `hanse dev`, or write a client.toml with servers, ca_file and token",
            )
        })
    }
}

impl ClientConfig {
    /// Reads a file; `ca_file` becomes a path from the working directory.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::unreadable(format_args!("the client configuration {}", path.display()), &error)
        })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {}", path.display(), toml_words::told(&error))))?;
        if config.servers.is_empty() {
            return Err(Failure::usage(format!("{}: servers is empty", path.display())).into());
        }
        config.ca_file = path.parent().unwrap_or(Path::new("")).join(&config.ca_file);
        Ok(config)
    }

    /// Writes a file that only its owner can read, in one step.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self).context("writing client.toml")?;
        write_private(path, text.as_bytes())
    }
}

/// Writes a file of mode 0600 beside `path` and renames it to there.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    durable::replace(path, content, durable::SECRET_MODE)
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn configurations_are_searched_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut places = Places {
            working_dir: dir.path().join("work"),
            user_dir: Some(dir.path().join("user")),
            ..Places::default()
        };
        let missing = places.locate().unwrap_err();
        assert!(missing.message.contains("work/.hanse-dev/client.toml nor"), "{missing}");
        assert!(missing.message.contains("user/hanse/client.toml"), "{missing}");

        let touch = |path: PathBuf| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        let user = touch(dir.path().join("user/hanse/client.toml"));
        assert_eq!(places.locate().unwrap(), user);
        let dev = touch(dir.path().join("work/.hanse-dev/client.toml"));
        assert_eq!(places.locate().unwrap(), dev);
        places.environment = Some("other.toml".into());
        assert_eq!(
            places.locate().unwrap(),
            dir.path().join("work/other.toml"),
            "named: used even if absent"
        );
        places.flag = Some("/absolute.toml".into());
        assert_eq!(places.locate().unwrap(), PathBuf::from("/absolute.toml"));
    }

    #[test]
    fn files_are_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.toml");
        let config = ClientConfig {
            servers: vec!["https://127.0.0.1:7443".into()],
            ca_file: "ca.crt".into(),
            token: "secret".into(),
            organization: default_organization(),
        };
        config.save(&path).unwrap();
        config.save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let loaded = ClientConfig::load(&path).unwrap();
        assert_eq!(loaded, ClientConfig { ca_file: dir.path().join("ca.crt"), ..config });
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.toml");
        std::fs::write(
            &path,
            "servers = [\"https://x\"]\nca_file = \"x\"\ntoken = \"x\"\norganisation = \"x\"\n",
        )
        .unwrap();
        let error = format!("{:#}", ClientConfig::load(&path).unwrap_err());
        assert!(error.contains("line 4") && error.contains("organisation"), "{error}");

        std::fs::write(&path, "servers = \"https://x\"\n").unwrap();
        let error = format!("{:#}", ClientConfig::load(&path).unwrap_err());
        assert!(error.contains("line 1"), "{error}");
        assert!(error.ends_with("a list is wanted here, and this is the text \"https://x\""), "{error}");
    }
}
