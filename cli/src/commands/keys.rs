//! `hanse federation-key` and `hanse recovery-key`: the key that Secrets are sealed with, and the key that opens it when no control
//! node is left.

use std::path::Path;

use hanse_api::answer::{FederationKey, FederationKeyVersion, KeyState, RecoveryKey, SetRecoveryKey};
use hanse_identity::RecoveryPairs;
use hanse_management::Digest;

use crate::{
    args::{FederationKeyArgs, FederationKeyCommand, Output, RecoveryKeyArgs, RecoveryKeyCommand},
    client::Client,
    exit::Failure,
    out::{data, say},
    render,
};

/// How much of a digest a table shows: enough to tell two apart.
const SHORT: usize = 16;

/// Lists the versions, or asks for another one.
pub(crate) async fn federation_key(client: &Client, args: &FederationKeyArgs) -> anyhow::Result<()> {
    match args.command {
        FederationKeyCommand::List { output } => {
            let keys = client.federation_key().await?;
            data(listed(&keys, output))?;
            if keys.recovery_key.is_none() {
                say("there is no recovery key, so no version is made: hanse recovery-key new DIR");
            }
            rotation(&keys).into_iter().for_each(say);
        }
        FederationKeyCommand::Rotate => {
            let rotated = client.rotate_federation_key().await?;
            say(format!(
                "asked for at revision {} or before; `hanse federation-key list` shows the new version, which control nodes it \
                 waits for, and how many values are sealed with it",
                rotated.revision
            ));
        }
    }
    Ok(())
}

/// What a rotation that is under way waits for.
fn rotation(keys: &FederationKey) -> Vec<String> {
    let in_state = |state: KeyState| keys.items.iter().find(|item| item.state == state);
    let mut waits = Vec::new();
    if let Some(pending) = in_state(KeyState::Pending) {
        waits.push(format!(
            "version {} is used once every control node has it: see LACKED BY and UNKNOWN",
            pending.version
        ));
    }
    if let (Some(active), false) = (in_state(KeyState::Active), keys.outdated_secrets.is_empty()) {
        let earlier = keys.items.iter().filter(|item| item.version != active.version);
        waits.push(format!(
            "{} values are still to be sealed with version {}; the first Secrets: {}",
            earlier.map(|item| item.values).sum::<u64>(),
            active.version,
            keys.outdated_secrets.join(", ")
        ));
    }
    if keys.rotating && waits.is_empty() {
        waits.push("the leader makes another version".to_owned());
    }
    waits
}

/// Makes the pairs, or takes those that are there, and tells the federation their public keys.
pub(crate) async fn recovery_key(client: &Client, args: &RecoveryKeyArgs) -> anyhow::Result<()> {
    let RecoveryKeyCommand::New { dir, replace } = &args.command;
    let pairs = pairs(dir)?;
    if *replace {
        check_other(&pairs, client.federation_key().await?.recovery_key.as_ref(), dir)?;
    }
    let (sign, wrap) = (pairs.sign.public_key_pem(), pairs.wrap.public_key_pem());
    let set = client.set_recovery_key(&SetRecoveryKey { sign, wrap, replace: *replace }).await?;
    data(&set.recovery_key.wrap)?;
    say(format!(
        "the federation key is wrapped to the pairs in {}: keep them in a safe, away from control nodes",
        dir.display()
    ));
    Ok(())
}

/// Refuses to replace the present recovery pairs by themselves: an operator would take copied ones for replaced.
fn check_other(pairs: &RecoveryPairs, present: Option<&RecoveryKey>, dir: &Path) -> anyhow::Result<()> {
    let wrap = hex::encode(Digest::of(&pairs.wrap.public_key_der()).0);
    if present.is_none_or(|present| present.wrap != wrap) {
        return Ok(());
    }
    let detail = format!("the pairs in {} are the present recovery pairs already", dir.display());
    let remedy = "if an answer was lost, nothing is left to do; if the pairs were lost or copied, name a directory that is not \
                  there yet";
    Err(Failure::usage(detail).remedy(remedy).into())
}

/// The pairs of a directory. They are made, and are durable, before the federation hears of them.
fn pairs(dir: &Path) -> anyhow::Result<RecoveryPairs> {
    if let Some(pairs) = RecoveryPairs::load(dir)? {
        say(format!("taking the pairs that are in {}", dir.display()));
        return Ok(pairs);
    }
    if dir.exists() {
        let detail = format!("{} is there, and has no two recovery pairs", dir.display());
        return Err(Failure::usage(detail).remedy("name a directory that is not there yet").into());
    }
    let pairs = RecoveryPairs::generate()?;
    pairs.save(dir)?;
    Ok(pairs)
}

fn listed(keys: &FederationKey, output: Output) -> String {
    match output {
        Output::Json => render::pretty(keys),
        Output::Yaml => render::yaml(keys),
        Output::Name => keys.items.iter().map(|item| item.version.to_string()).collect::<Vec<_>>().join("\n"),
        Output::Table | Output::Wide => {
            let titles = ["VERSION", "STATE", "VALUES", "REVISION", "DIGEST", "LACKED BY", "UNKNOWN"];
            let titles = titles.map(str::to_owned).into();
            render::table(titles, keys.items.iter().map(|item| row(item, output == Output::Wide)))
        }
    }
}

fn row(item: &FederationKeyVersion, wide: bool) -> Vec<String> {
    // Control nodes are few.
    let names = |identities: &[String]| {
        let name = |identity: &String| identity.split('.').next().unwrap_or_default().to_owned();
        identities.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    vec![
        item.version.to_string(),
        item.state.to_string(),
        item.values.to_string(),
        item.made_at.to_string(),
        item.digest.chars().take(if wide { usize::MAX } else { SHORT }).collect(),
        names(&item.lacked_by),
        names(&item.unknown),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(version: u32, state: KeyState, values: u64, lacked_by: &[&str]) -> FederationKeyVersion {
        FederationKeyVersion {
            version,
            state,
            digest: "ab".repeat(32),
            made_at: 7,
            values,
            lacked_by: lacked_by.iter().map(|name| format!("{name}.server.control.hanse.internal")).collect(),
            unknown: Vec::new(),
        }
    }

    #[test]
    fn a_list_says_what_a_rotation_waits_for() {
        let (active, retired) = (KeyState::Active, KeyState::Retired);
        let said = |rotating: bool, items: Vec<FederationKeyVersion>, secrets: &[&str]| {
            let outdated_secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
            rotation(&FederationKey { rotating, items, outdated_secrets, ..FederationKey::default() })
                .join("\n")
        };
        assert_eq!(said(false, vec![item(1, active.clone(), 3, &[])], &[]), "");
        assert_eq!(said(true, vec![], &[]), "the leader makes another version");
        let first = vec![item(1, KeyState::Pending, 0, &["cp-2"])];
        let used = "version 1 is used once every control node has it: see LACKED BY and UNKNOWN";
        assert_eq!(said(true, first, &[]), used, "no value is sealed anew where there is no other version");
        let items = vec![
            item(1, retired.clone(), 12, &[]),
            item(2, retired, 1, &[]),
            item(3, active, 7, &[]),
            item(4, KeyState::Pending, 0, &[]),
        ];
        insta::assert_snapshot!(said(true, items, &["Secret shop/a", "Secret shop/b"]), @r"
        version 4 is used once every control node has it: see LACKED BY and UNKNOWN
        13 values are still to be sealed with version 3; the first Secrets: Secret shop/a, Secret shop/b
        ");
    }

    #[test]
    fn a_list_names_the_nodes_that_a_version_waits_for() {
        let items =
            vec![item(1, KeyState::Active, 12, &[]), item(2, KeyState::Pending, 0, &["cp-2", "cp-3"])];
        let keys = FederationKey { items, ..FederationKey::default() };
        insta::assert_snapshot!(listed(&keys, Output::Table), @r"
        VERSION  STATE    VALUES  REVISION  DIGEST            LACKED BY  UNKNOWN
        1        active   12      7         abababababababab  -          -
        2        pending  0       7         abababababababab  cp-2 cp-3  -
        ");
        assert_eq!(listed(&keys, Output::Name), "1\n2");
    }

    #[test]
    fn pairs_are_not_replaced_by_themselves() {
        let dir = Path::new("safe");
        let pairs = RecoveryPairs::generate().unwrap();
        let digest = |pair: &hanse_identity::KeyPair| hex::encode(Digest::of(&pair.public_key_der()).0);
        let present = RecoveryKey { sign: digest(&pairs.sign), wrap: digest(&pairs.wrap) };
        let refused = check_other(&pairs, Some(&present), dir).unwrap_err().downcast::<Failure>().unwrap();
        assert!(refused.message.contains("the pairs in safe are the present recovery pairs"), "{refused}");
        assert!(refused.remedy.contains("if an answer was lost, nothing is left to do"));
        check_other(&RecoveryPairs::generate().unwrap(), Some(&present), dir).unwrap();
        check_other(&pairs, None, dir).unwrap();
    }

    #[test]
    fn pairs_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("recovery");
        let made = pairs(&own).unwrap();
        let again = pairs(&own).unwrap();
        assert_eq!(again.wrap.public_key_der(), made.wrap.public_key_der());
        std::fs::remove_file(own.join("sign.pem")).unwrap();
        assert!(pairs(&own).unwrap_err().to_string().contains("has no two recovery pairs"));
    }
}
