//! What an entry says of a command.

use hanse_management::Kind;
use hanse_topology::Name;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{AuditChange, AuditEntry, AuditField, LeftOut, diff};
use crate::{Accepted, ChangeResult, Command, CommandBody, MintedToken, State};

/// How many bytes the changes of one entry may have: a screen of changes. Most commands have less than 1 KiB.
pub(super) const MAX_ENTRY_BYTES: usize = 16 << 10;

/// The entry of a command that made `next` of `before`.
pub(crate) fn record(before: &State, next: &State, command: &Command, accepted: &Accepted) -> AuditEntry {
    let mut changes = Vec::new();
    let mut left_out = Remainder::default();
    let mut room = MAX_ENTRY_BYTES;
    for result in accepted.changes.iter().filter(|result| result.action != ChangeResult::UNCHANGED) {
        let whole = change(before, next, result);
        let size = whole.to_proto().encoded_len();
        if size <= room {
            room -= size;
            changes.push(whole);
            continue;
        }
        let short = without_fields(&whole);
        let short_size = short.to_proto().encoded_len();
        if short_size <= room {
            room -= short_size;
            changes.push(short);
        } else {
            room = 0; // from here on only their number is told
            left_out.add(&whole.to_proto());
        }
    }
    AuditEntry {
        number: before.audit.last_number() + 1,
        revision: next.revision,
        time_ms: next.time_ms,
        actor: actor(command).to_owned(),
        origin: command.origin.clone(),
        request_id: command.request_id.clone(),
        what: what(&command.body),
        changes,
        left_out: left_out.finish(),
    }
}

fn change(before: &State, next: &State, result: &ChangeResult) -> AuditChange {
    let fields = match result.key.kind {
        // A copy of what its Api says.
        Kind::ApiRevision => Vec::new(),
        _ => diff::fields(before.get(&result.key).map(|one| &**one), next.get(&result.key).map(|one| &**one)),
    };
    AuditChange { key: result.key.clone(), action: result.action.to_owned(), fields, fields_left_out: None }
}

/// The change with a digest in the place of its fields.
fn without_fields(change: &AuditChange) -> AuditChange {
    let mut left_out = Remainder::default();
    change.fields.iter().map(AuditField::to_proto).for_each(|field| left_out.add(&field));
    AuditChange { fields: Vec::new(), fields_left_out: left_out.finish(), ..change.clone() }
}

/// Messages that do not fit.
#[derive(Default)]
struct Remainder {
    count: u64,
    bytes: u64,
    hash: Sha256,
}

impl Remainder {
    fn add(&mut self, message: &impl Message) {
        let bytes = message.encode_length_delimited_to_vec();
        self.count += 1;
        self.bytes += bytes.len() as u64;
        self.hash.update(&bytes);
    }

    fn finish(self) -> Option<LeftOut> {
        let Self { count, bytes, hash } = self;
        (count > 0).then(|| LeftOut { count, bytes, sha256: hash.finalize().into() })
    }
}

/// Whose act it is: what an agent did, a control node only records.
fn actor(command: &Command) -> &str {
    match &command.body {
        CommandBody::RecordMinted { agent, .. } => agent,
        _of_the_actor => &command.actor,
    }
}

/// What an agent did.
fn minted(token: &MintedToken) -> String {
    let MintedToken { id, minted_at, role, environments, environments_total } = token;
    let named = environments.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    let of = match (environments.is_empty(), *environments_total as usize > environments.len()) {
        (true, _) => String::new(),
        (false, false) => format!(" of {named}"),
        (false, true) => {
            format!(" of {named} and {} more", *environments_total as usize - environments.len())
        }
    };
    format!("mint join token {id} for a {role}{of} at {minted_at} (Unix seconds)")
}

/// What was asked, in words. Resources are named by the changes.
fn what(body: &CommandBody) -> String {
    match body {
        CommandBody::Apply(_) => "apply".to_owned(),
        CommandBody::UseJoinToken { joiner, .. } => format!("join {joiner}"),
        CommandBody::RecordServer { identity, .. } => format!("record {identity}"),
        CommandBody::StartLineage(lineage) => {
            format!("start lineage {}/{}", lineage.generation, hex(&lineage.id))
        }
        CommandBody::Revoke { identity, .. } => format!("revoke {identity}"),
        CommandBody::RefuseKeys { identity, .. } => format!("refuse keys of {identity}"),
        CommandBody::Readmit { identity } => format!("readmit {identity}"),
        CommandBody::ForgetResults => "forget results".to_owned(),
        #[cfg(feature = "next")]
        CommandBody::SetMotto(_) => "set motto".to_owned(),
        CommandBody::Finalize { version, .. } => format!("finalize version {version}"),
        CommandBody::TrustRoot { fresh, .. } => format!("trust root {}", hex(&fresh.key)),
        CommandBody::UseRoot(key) => format!("issue from root {}", hex(key)),
        CommandBody::DropRoot(key) => format!("drop root {}", hex(key)),
        CommandBody::RecordMinted { token, .. } => minted(token),
        CommandBody::DropAudit { through, .. } => format!("drop audit through {through}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
