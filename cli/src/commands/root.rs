//! `hanse root`: the roots of trust, and how one takes another's place.

use std::{fs, path::Path};

use anyhow::Context as _;
use hanse_api::answer::{Root, Roots};
use hanse_identity::{Authority, Rotation, TrustAnchor, TrustBundle};
use hanse_process::durable;

use crate::{
    args::{Output, RootArgs, RootCommand},
    client::{Client, tls::trust_bundle},
    exit::{Exit, Failure},
    out::{data, say},
    render,
};

/// What the federation gets of a new root.
const ROTATION: &str = "rotation.pem";
/// How much of a root's name a table shows: enough to tell two apart, and to name one by.
const SHORT: usize = 16;

/// Does what needs no federation. Whether that was all.
pub(crate) fn offline(args: &RootArgs) -> anyhow::Result<bool> {
    let RootCommand::New { dir, replaces } = &args.command else { return Ok(false) };
    let present =
        Authority::load(replaces).with_context(|| format!("reading the root in {}", replaces.display()))?;
    if fs::exists(dir).with_context(|| format!("looking at {}", dir.display()))? {
        return Err(Failure::usage(format!("{} is there already", dir.display()))
            .remedy("name a directory that is not there yet")
            .into());
    }
    let fresh = Authority::new_root()?;
    let rotation = Rotation::new(&present, &fresh)
        .map_err(|error| Failure::input(format!("{} holds no root: {error}", replaces.display())))?;
    fresh.save(dir)?;
    let file = dir.join(ROTATION);
    durable::replace(&file, rotation.to_pem().as_bytes(), durable::PUBLIC_MODE).map_err(|error| {
        Failure::new(Exit::General, format!("cannot write {}: {error}", file.display()))
            .remedy(format!("remove {} and make the root again", dir.display()))
    })?;
    data(hex::encode(rotation.fresh.anchor.spki_sha256()))?;
    say(format!("made a root in {0}; next: hanse root trust {0}/{ROTATION}", dir.display()));
    Ok(true)
}

/// Lists, or takes a step.
pub(crate) async fn root(client: &Client, args: &RootArgs) -> anyhow::Result<()> {
    match &args.command {
        RootCommand::New { .. } => {}
        RootCommand::List { output } => data(listed(&client.roots().await?, *output))?,
        RootCommand::Trust { file } => {
            let rotation = Rotation::load(file).map_err(|error| {
                let causes = hanse_process::telemetry::causes(&error).to_string();
                Failure::input(causes).remedy("give the rotation.pem that `hanse root new` wrote")
            })?;
            let answer = client.trust_root(rotation.to_pem()).await?;
            data(answer.root)?;
            say(
                "it is believed as soon as its news arrives; `hanse root list` shows by whom not yet, and of whom nothing \
                 is known",
            );
            say(
                "clients need it before it is used: hanse root bundle --update, with each client's configuration",
            );
        }
        RootCommand::Use { root, force } => {
            let root = named(&client.roots().await?, root)?;
            check_own_file(client, &root)?;
            let revision = client.use_root(&root, *force).await?;
            data(format!("{root} used"))?;
            say(format!(
                "certificates come from it from revision {revision} on: put its directory in place of pki/root on a \
                 control node until `hanse root list` shows nobody who has them from another (SHOWN BY), or of whom that \
                 is not known (UNKNOWN)"
            ));
        }
        RootCommand::Drop { root, force } => {
            let root = named(&client.roots().await?, root)?;
            let revision = client.drop_root(&root, *force).await?;
            data(format!("{root} dropped"))?;
            say(format!(
                "nobody believes it from revision {revision} on; clients forget it with hanse root bundle --update"
            ));
        }
        RootCommand::Bundle { update } => {
            let pem = bundle(&client.roots().await?)?;
            match update {
                false => data(pem.trim_end())?,
                true => replace(&client.ca_file, &pem)?,
            }
        }
    }
    Ok(())
}

/// The root that join tokens pin: the one that certificates come from, as this client's own `ca_file` has it.
pub(crate) async fn issuing(client: &Client) -> anyhow::Result<TrustAnchor> {
    let believed = trust_bundle(&client.ca_file)?;
    issuing_of(&client.roots().await?, &believed).cloned().ok_or_else(|| {
        Failure::usage(format!("{} lacks the root that certificates come from", client.ca_file.display()))
            .remedy("bring it up to date: hanse root bundle --update")
            .into()
    })
}

/// The root of a bundle that a list says certificates come from.
fn issuing_of<'a>(roots: &Roots, bundle: &'a TrustBundle) -> Option<&'a TrustAnchor> {
    let issuing = roots.items.iter().find(|item| item.issuing)?;
    bundle.anchors().iter().find(|anchor| issuing.root == hex::encode(anchor.spki_sha256()))
}

/// Whether this client could go on talking once certificates come from that root.
fn check_own_file(client: &Client, root: &str) -> anyhow::Result<()> {
    let believed = trust_bundle(&client.ca_file)?;
    if believed.anchors().iter().any(|anchor| hex::encode(anchor.spki_sha256()) == root) {
        return Ok(());
    }
    let path = client.ca_file.display();
    Err(Failure::new(Exit::Conflict, format!("{path} lacks that root: this client would be locked out"))
        .remedy("bring it up to date first, and the other clients': hanse root bundle --update")
        .into())
}

/// The root that `beginning` is the beginning of the name of.
fn named(roots: &Roots, beginning: &str) -> anyhow::Result<String> {
    let wanted = beginning.to_ascii_lowercase();
    let mut found = roots.items.iter().map(|item| &item.root).filter(|name| name.starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => {
            Err(Failure::new(Exit::NotFound, format!("no root that is believed begins with {beginning:?}"))
                .remedy("`hanse root list` shows them")
                .into())
        }
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("{beginning:?} is the beginning of several roots' names"))
                .remedy("give more of it")
                .into())
        }
    }
}

/// The certificates of a list, if they are whole: a client that has fewer may believe no control node any more.
fn bundle(roots: &Roots) -> anyhow::Result<String> {
    let pem: String = roots.items.iter().map(|item| item.certificate.as_str()).collect();
    let bundle =
        TrustBundle::from_pem(&pem).context("reading the roots that the control plane answered with")?;
    if bundle.anchors().len() != roots.items.len() || issuing_of(roots, &bundle).is_none() {
        return Err(Failure::new(Exit::General, "the control plane answered with a part of the roots only")
            .remedy("ask again; nothing was changed")
            .into());
    }
    Ok(pem)
}

fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    durable::replace(path, text.as_bytes(), durable::PUBLIC_MODE)
        .with_context(|| format!("writing {}", path.display()))?;
    say(format!("{} is up to date", path.display()));
    Ok(())
}

fn listed(roots: &Roots, output: Output) -> String {
    match output {
        Output::Json => render::pretty(roots),
        Output::Yaml => render::yaml(roots),
        Output::Name => roots.items.iter().map(|item| item.root.as_str()).collect::<Vec<_>>().join("\n"),
        Output::Table | Output::Wide => {
            let titles = ["ROOT", "ISSUING", "ENDS", "NOT BELIEVED BY", "SHOWN BY", "UNKNOWN"];
            let titles = titles.map(str::to_owned).into();
            render::table(titles, roots.items.iter().map(|item| row(item, output == Output::Wide)))
        }
    }
}

fn row(item: &Root, wide: bool) -> Vec<String> {
    let those = |identities: &[String]| {
        let identities: Vec<_> = identities.iter().map(|identity| short(identity)).collect();
        match (identities.len(), wide) {
            (0, _) => String::new(),
            (_, true) => identities.join(" "),
            (1..=2, false) => identities.join(" "),
            (many, false) => format!("{many}: {} …", identities[0]),
        }
    };
    vec![
        item.root.chars().take(if wide { usize::MAX } else { SHORT }).collect(),
        if item.issuing { "yes" } else { "" }.to_owned(),
        item.not_after.clone(),
        those(&item.not_believed_by),
        those(&item.shown_by),
        those(&item.unknown),
    ]
}

/// `NAME.ROLE.REGION`: the domain is the same everywhere.
fn short(identity: &str) -> &str {
    identity.strip_suffix(".hanse.internal").unwrap_or(identity)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn roots() -> Roots {
        serde_json::from_value(json!({"revision": 9, "items": [
            {"root": "ab".repeat(32), "issuing": false, "notAfter": "2046-01-01T00:00:00Z", "certificate": "one\n",
             "notBelievedBy": [], "shownBy": ["g.gateway.eu.hanse.internal"], "unknown": []},
            {"root": "ac".repeat(32), "issuing": true, "notAfter": "2046-01-01T00:00:00Z", "certificate": "two\n",
             "notBelievedBy": ["a.agent.eu.hanse.internal", "b.agent.eu.hanse.internal", "c.agent.eu.hanse.internal"],
             "shownBy": [], "unknown": ["off.gateway.eu.hanse.internal"]},
        ]}))
        .unwrap()
    }

    #[test]
    fn roots_are_shown_with_whom_they_wait_for() {
        let table = listed(&roots(), Output::Table);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["abababababababab", "-", "2046-01-01T00:00:00Z", "-", "g.gateway.eu", "-"]);
        assert_eq!(
            lines[2],
            [
                "acacacacacacacac",
                "yes",
                "2046-01-01T00:00:00Z",
                "3:",
                "a.agent.eu",
                "…",
                "-",
                "off.gateway.eu"
            ]
        );
        assert!(listed(&roots(), Output::Wide).contains("a.agent.eu b.agent.eu c.agent.eu"));
    }

    #[test]
    fn certificates_are_taken_whole_or_not_at_all() {
        let made = [(); 2].map(|()| Authority::new_root().unwrap().trust_anchor().unwrap());
        let list = |issuing: usize, pems: [String; 2]| {
            let items = made.iter().zip(pems).enumerate().map(|(index, (anchor, certificate))| {
                let root = hex::encode(anchor.spki_sha256());
                Root { root, issuing: index == issuing, certificate, ..Root::default() }
            });
            Roots { items: items.collect(), revision: 9 }
        };
        let [one, two] = [0, 1].map(|index: usize| made[index].to_pem());
        assert_eq!(bundle(&list(1, [one.clone(), two.clone()])).unwrap(), format!("{one}{two}"));
        for pems in [[one.clone(), String::new()], [one.clone(), one], ["nonsense".to_owned(), two]] {
            bundle(&list(1, pems)).unwrap_err();
        }
        bundle(&Roots::default()).unwrap_err();
    }

    #[test]
    fn a_root_is_named_by_as_much_as_tells_it_apart() {
        assert_eq!(named(&roots(), "AB").unwrap(), "ab".repeat(32));
        assert!(named(&roots(), "a").unwrap_err().to_string().contains("several"));
        assert!(named(&roots(), "f").is_err());
    }

    #[test]
    fn a_new_root_is_made_beside_the_old_one_and_never_over_anything() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        Authority::new_root().unwrap().save(&old).unwrap();
        let args = || RootArgs { command: RootCommand::New { dir: new.clone(), replaces: old.clone() } };
        assert!(offline(&args()).unwrap());
        let rotation = Rotation::load(&new.join(ROTATION)).unwrap();
        assert_eq!(rotation.fresh.anchor, Authority::load(&new).unwrap().trust_anchor().unwrap());
        assert_eq!(rotation.present.anchor, Authority::load(&old).unwrap().trust_anchor().unwrap());
        assert!(offline(&args()).unwrap_err().to_string().contains("there already"));
    }
}
