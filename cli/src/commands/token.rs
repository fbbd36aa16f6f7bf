//! `hanse token`: operators' tokens and join tokens. Secrets are made here; only digests leave this process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hanse_api::answer::Page;
use hanse_identity::{JoinToken, TrustAnchor};
use hanse_management::{
    Digest, Kind, Spec,
    kinds::{JoinRole, JoinTokenSpec, TokenRole, TokenSpec},
};
use hanse_topology::Name;
use serde_json::{Value, json};

use crate::{
    args::{As, JoinAs, Output, TokenArgs, TokenCommand, TokenCreateArgs},
    client::{ApplyOptions, Client},
    commands::root,
    exit::{Exit, Failure},
    out::{data, say},
    render,
};

/// A join token is for a machine that is being set up: a day is a working day and a night.
const JOIN_TTL: Duration = Duration::from_secs(24 * 3600);
/// As of the token that `server init` makes: tokens are known for what they are where they leak.
const OPERATOR_PREFIX: &str = "hop_";

/// Makes, lists or deletes tokens.
pub(crate) async fn token(client: &Client, args: &TokenArgs) -> anyhow::Result<()> {
    match &args.command {
        TokenCommand::Create(create) => create_token(client, create).await,
        TokenCommand::List { output } => list(client, *output).await,
        TokenCommand::Delete { name } => delete(client, name).await,
    }
}

async fn create_token(client: &Client, args: &TokenCreateArgs) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let name =
        args.name.clone().unwrap_or_else(|| new_name(if args.join.is_some() { "join" } else { "operator" }));
    let (secret, spec) = match args.join {
        Some(join) => join_token(&name, join, args, &root::issuing(client).await?, now),
        None => operator_token(args, now),
    };
    let resource = manifest(&name, &spec);
    let answer = client.apply(&[resource], &ApplyOptions::default()).await?;
    data(secret)?;
    say(format!("made {} {name} at revision {}", spec.kind(), answer.revision));
    Ok(())
}

/// A token that must not be there yet.
pub(crate) fn manifest(name: &Name, spec: &Spec) -> Value {
    json!({"kind": spec.kind().as_str(), "name": name, "spec": spec.to_json(), "revision": 0})
}

fn join_token(
    name: &Name,
    join: JoinAs,
    args: &TokenCreateArgs,
    anchor: &TrustAnchor,
    now: SystemTime,
) -> (String, Spec) {
    let role = match join {
        JoinAs::Server => JoinRole::Server,
        JoinAs::Agent => JoinRole::Agent,
    };
    let expires_at = unix_seconds(now + args.ttl.unwrap_or(JOIN_TTL));
    let (token, spec) = new_join_token(name, role, args.region.clone(), anchor, expires_at);
    let spec = JoinTokenSpec {
        environments: args.environments.clone(),
        uses: args.uses.unwrap_or(1),
        replace: args.replace,
        force: args.force,
        ..spec
    };
    (token.to_string(), spec.into())
}

/// A join token for one use in any environment, and what the federation keeps of it.
pub(crate) fn new_join_token(
    name: &Name,
    role: JoinRole,
    region: Option<Name>,
    anchor: &TrustAnchor,
    expires_at: u64,
) -> (JoinToken, JoinTokenSpec) {
    let token = JoinToken::generate(name.clone(), anchor);
    let digest = Digest(token.secret_digest());
    let environments = Vec::new();
    (
        token,
        JoinTokenSpec {
            role,
            region,
            environments,
            uses: 1,
            replace: false,
            force: false,
            expires_at,
            digest,
        },
    )
}

fn operator_token(args: &TokenCreateArgs, now: SystemTime) -> (String, Spec) {
    let token = format!("{OPERATOR_PREFIX}{}", hex::encode(rand::random::<[u8; 32]>()));
    let spec = TokenSpec {
        role: match args.role {
            None | Some(As::Admin) => TokenRole::Admin,
            Some(As::Publisher) => TokenRole::Publisher,
            Some(As::Viewer) => TokenRole::Viewer,
        },
        owner: args.owner.clone(),
        organization: args.organization.clone(),
        digest: Digest::of(token.as_bytes()),
        expires_at: args.ttl.map(|ttl| unix_seconds(now + ttl)),
    };
    (token, spec.into())
}

async fn list(client: &Client, output: Output) -> anyhow::Result<()> {
    let tokens = client.list(Kind::Token, false).await?;
    let joins = client.list(Kind::JoinToken, false).await?;
    let text = match output {
        Output::Json | Output::Yaml => {
            let revision = tokens.revision.min(joins.revision);
            let items = tokens.items.into_iter().chain(joins.items).collect();
            let both = Page { items, revision, next: None };
            render::listed(Kind::Token, &both, output)
        }
        Output::Table | Output::Wide | Output::Name => {
            let tables = [(Kind::Token, tokens), (Kind::JoinToken, joins)]
                .into_iter()
                .filter(|(_, listed)| !listed.items.is_empty())
                .map(|(kind, listed)| render::listed(kind, &listed, output));
            tables.collect::<Vec<_>>().join(if output == Output::Name { "\n" } else { "\n\n" })
        }
    };
    data(text)?;
    Ok(())
}

async fn delete(client: &Client, name: &Name) -> anyhow::Result<()> {
    for kind in [Kind::Token, Kind::JoinToken] {
        let key = client.key(kind, name.clone());
        if client.find(&key).await?.is_some() {
            client.delete(&key, false).await?;
            data(format!("{key} deleted"))?;
            return Ok(());
        }
    }
    Err(Failure::new(Exit::NotFound, format!("there is neither a Token nor a JoinToken {name}"))
        .remedy("`hanse token list` shows what there is")
        .into())
}

/// `join-1f3a9c20`.
pub(crate) fn new_name(beginning: &str) -> Name {
    Name::new(format!("{beginning}-{}", hex::encode(rand::random::<[u8; 4]>())))
        .expect("a word, a hyphen and hexadecimal digits are a name")
}

/// The first whole second at or after `time`: what expires then has lasted as long as was asked.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() + u64::from(since.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use hanse_identity::Authority;

    use super::*;

    fn args() -> TokenCreateArgs {
        TokenCreateArgs {
            name: None,
            role: None,
            organization: None,
            owner: None,
            join: None,
            region: None,
            environments: vec![],
            uses: None,
            replace: false,
            force: false,
            ttl: None,
        }
    }

    #[test]
    fn a_join_token_pins_the_root_and_only_its_digest_is_kept() {
        let anchor = Authority::new_root().unwrap().trust_anchor().unwrap();
        let name = new_name("join");
        let args = TokenCreateArgs {
            join: Some(JoinAs::Agent),
            region: Some(Name::new("eu-west").unwrap()),
            uses: Some(3),
            replace: true,
            ttl: Some(Duration::from_secs(60)),
            ..args()
        };
        let (text, spec) = join_token(&name, JoinAs::Agent, &args, &anchor, UNIX_EPOCH);
        let token: JoinToken = text.parse().unwrap();
        assert_eq!(*token.anchor_sha256(), anchor.spki_sha256());
        let sent = manifest(&name, &spec);
        assert_eq!(sent["spec"]["role"], "agent");
        assert_eq!((&sent["spec"]["uses"], &sent["spec"]["expiresAt"]), (&json!(3), &json!(60)));
        assert_eq!(sent["spec"]["replace"], true);
        assert_eq!(sent["spec"]["digest"], Digest(token.secret_digest()).to_string());
        assert!(!sent.to_string().contains(&hex::encode(token.secret())));
    }

    #[test]
    fn an_operators_token_is_kept_as_its_digest() {
        let (token, spec) = operator_token(&args(), UNIX_EPOCH);
        assert_eq!(spec.to_json()["digest"], Digest::of(token.as_bytes()).to_string());
        for absent in ["expiresAt", "organization", "owner"] {
            assert_eq!(spec.to_json().get(absent), None);
        }
        assert_eq!(spec.to_json()["role"], "admin");
        let organization = Some(Name::new("shop").unwrap());
        let asked =
            TokenCreateArgs { role: Some(As::Publisher), organization, owner: Some("ann".into()), ..args() };
        let spec = operator_token(&asked, UNIX_EPOCH).1.to_json();
        assert_eq!(
            (&spec["role"], &spec["organization"], &spec["owner"]),
            (&json!("publisher"), &json!("shop"), &json!("ann"))
        );
    }
}
