//! `hanse server init`, `join` and `rejoin`: a node before its first start under an id.

use std::path::PathBuf;

use hanse_identity::{Authority, JoinToken, KeyPair, RecoveryPairs, chain_of, enrol};
use hanse_management::Digest;
use hanse_process::WallClock;
use hanse_proto::raft::ControlNode;
use hanse_state::Version;
use hanse_topology::Role;
use rand::Rng;

use crate::{
    Config, Error,
    control::{self, Control},
    home::{self, BootstrapFile, JoinFile, Keys, NodeFile, RecoveryFile},
    roots,
};

/// Makes a new control plane of one node: the root, the recovery pairs, this node's control intermediate, and the first operator
/// token, which is returned and kept nowhere. Starts nothing.
pub fn init(config: &Config) -> Result<String, Error> {
    home::make(config)?;
    let dir = control::fresh_dir(config)?;
    let root = Authority::new_root()?;
    let control = root.new_control_intermediate(&config.name)?;
    let anchor = root.trust_anchor()?;
    let token = operator_token();
    let recovery = RecoveryPairs::generate()?;
    recovery.save(&home::recovery_dir(config))?;
    home::write_json(&home::node_file(config), &NodeFile::random())?;
    home::write_json(
        &config.bootstrap_file(),
        &BootstrapFile {
            lineage: hex::encode(rand::rng().random::<[u8; 16]>()),
            operator_digest: Digest::of(token.as_bytes()).to_string(),
            recovery: RecoveryFile::of(&recovery),
        },
    )?;
    Keys { control, root: Some(root), anchor }.save(config, &dir)?;
    Ok(token)
}

/// Has this node's control intermediate issued anew by the root whose directory is in the node's PKI directory. The present one
/// may come from any root: this is for a node that was away while the root was replaced. The node must not be running.
pub fn reissue(config: &Config) -> Result<(), Error> {
    home::check_made(config)?;
    let _lock = home::lock(config)?;
    let Control { authority, dir } = control::read(config)?;
    Ok(roots::reissued(&authority, &root(config)?, config)?.save(dir)?)
}

/// Has a control intermediate with a new private key issued by the root whose directory is in the node's PKI directory, for a node
/// whose `store_key` is lost for good. The node keeps its Raft id, and records the new key when it takes part again. It must be
/// stopped, or wait for its `store_key`.
///
/// A copy of an old key that does not open stays where the returned path says: its `store_key` may turn up.
pub fn reissue_with_new_key(config: &Config) -> Result<Option<PathBuf>, Error> {
    home::check_made(config)?;
    let _lock = home::lock(config)?;
    // It is on record with the key that it joined with, and only a member can change that.
    if config.join_file().exists() {
        return Err(Error::NotAdded(config.data_dir.clone()));
    }
    let fresh = root(config)?.new_control_intermediate(&config.name)?;
    let dir = control::fresh_dir(config)?;
    let aside = control::keep_aside(config)?;
    fresh.save(dir)?;
    Ok(aside)
}

/// The root, which an operator has put into the PKI directory.
fn root(config: &Config) -> Result<Authority, Error> {
    let root = home::root_key(config, &WallClock::system());
    root.load(None)?.ok_or_else(|| Error::NoRoot(root.dir.clone()))
}

/// Makes a further node of an existing control plane: gets its control intermediate from one of `via` (enrolment
/// addresses). It is added to the group on its first start.
pub async fn join(config: &Config, token: &JoinToken, via: &[String]) -> Result<(), Error> {
    home::make(config)?;
    let dir = control::fresh_dir(config)?;
    let joined = Joined::through(config, token, via).await?;
    home::write_json(&home::node_file(config), &joined.node)?;
    home::write_json(&config.join_file(), &joined.file)?;
    joined.keys.save(config, &dir)
}

/// Makes a node whose log is damaged a new one under its old name: another id, other keys, an empty log. The log is put aside,
/// and where it is now is returned. A copy of a private key that does not open stays beside it. What else the data directory holds
/// stays. The node must not run on its log. It is added
/// to the group on its next start, in the place of the old one.
pub async fn rejoin(config: &Config, token: &JoinToken, via: &[String]) -> Result<PathBuf, Error> {
    home::check_made(config)?;
    let _lock = home::lock(config)?;
    control::check_fresh_dir(config)?;
    let joined = Joined::through(config, token, via).await?;
    // Only now: where the token is refused, a key file that is gone is not replaced, and may come back.
    let dir = control::fresh_dir(config)?;
    // An empty log must never meet the old id: until the last file is written, a start finds a member without a log. With
    // the new id and without join.json it does too, and what `init` left to do would found a second control plane.
    let aside = home::set_log_aside(config)?;
    home::remove(&config.bootstrap_file())?;
    home::remove(&config.join_file())?;
    control::keep_aside(config)?;
    joined.keys.save(config, &dir)?;
    home::write_json(&home::node_file(config), &joined.node)?;
    home::write_json(&config.join_file(), &joined.file)?;
    Ok(aside)
}

/// What a node gets by joining.
struct Joined {
    node: NodeFile,
    file: JoinFile,
    keys: Keys,
}

impl Joined {
    async fn through(config: &Config, token: &JoinToken, via: &[String]) -> Result<Self, Error> {
        let node = NodeFile::random();
        let key = KeyPair::generate()?;
        let answer = enrol(
            via,
            token,
            Role::Server,
            &config.name,
            &key,
            Some((control_node(config, node.id), Version::KNOWN.number())),
            &WallClock::system(),
        )
        .await?;
        let control = Authority::from_parts(chain_of(&answer), key)?;
        let anchor = control.trust_anchor()?;
        let members: Vec<String> =
            answer.control_nodes.into_iter().map(|member| member.raft_address).collect();
        if members.is_empty() {
            return Err(Error::EnrolAnswer("it names no member of the control plane".into()));
        }
        Ok(Self { node, file: JoinFile { members }, keys: Keys { control, root: None, anchor } })
    }
}

/// This node as the others know it.
pub(crate) fn control_node(config: &Config, id: u64) -> ControlNode {
    let at = config.advertised();
    ControlNode {
        id,
        name: config.name.to_string(),
        raft_address: at.raft.clone(),
        api_url: format!("https://{}", at.api),
        federation_address: at.federation.clone(),
    }
}

/// A bearer token: a prefix that secret scanners can look for, and 256 random bits.
fn operator_token() -> String {
    format!("hop_{}", hex::encode(rand::rng().random::<[u8; 32]>()))
}
