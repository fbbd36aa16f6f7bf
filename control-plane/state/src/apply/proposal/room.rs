//! How much room proposals have.

use hanse_management::{Problem, ProblemName};

use super::owner::same_owner;
use crate::{Origin, State, admission::MAX_COMMAND_BYTES};

/// How many proposals wait at most: more than the owners of a federation can look at in a day.
pub(crate) const MAX_WAITING: usize = 256;
/// How many of them one owner has at most. So no owner takes the room of all others.
pub(crate) const MAX_OF_OWNER: usize = 32;
/// How many bytes the proposals of one owner have: the largest command, and what it says of the resources that it changes.
const MAX_BYTES_OF_OWNER: usize = MAX_COMMAND_BYTES + (2 << 20);
/// How many bytes all of them have. Each control node holds them in memory and writes them with each snapshot.
const MAX_BYTES: usize = 32 << 20;
/// How many proposals tokens of organizations have together. The other half is left to admins, who can so propose in an emergency.
const MAX_OF_ORGANIZATIONS: usize = MAX_WAITING / 2;
/// How many bytes they have. The rest has room for the largest proposal of an admin.
const MAX_BYTES_OF_ORGANIZATIONS: usize = MAX_BYTES / 2;

/// Refuses one proposal too many. The new one is in `state`.
pub(super) fn check(state: &State, origin: &Origin) -> Result<(), Problem> {
    let owner = &origin.owner;
    let of_owner = state.proposals.taken(|proposal| same_owner(&proposal.origin.owner, owner));
    let of_all = state.proposals.taken(|_| true);
    let mut limits = vec![
        (format!("of {owner} "), of_owner, MAX_OF_OWNER, MAX_BYTES_OF_OWNER),
        (String::new(), of_all, MAX_WAITING, MAX_BYTES),
    ];
    if origin.organization.is_some() {
        let taken = state.proposals.taken(|proposal| proposal.origin.organization.is_some());
        let whose = "of tokens of organizations ".to_owned();
        limits.push((whose, taken, MAX_OF_ORGANIZATIONS, MAX_BYTES_OF_ORGANIZATIONS));
    }
    for (whose, (number, bytes), most, most_bytes) in limits {
        if number > most || bytes > most_bytes {
            let detail = format!(
                "with it, {number} proposals {whose}with {bytes} bytes would wait, and at most {most} with {most_bytes} bytes may"
            );
            return Err(Problem::new(ProblemName::TooLarge, detail).remedy(
                "have some decided first: hanse approval list, then approve or reject; or propose fewer changes",
            ));
        }
    }
    Ok(())
}
