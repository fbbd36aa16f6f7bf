//! How many file descriptors a process has, and how many of them its listeners may use.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tracing::warn;

/// What Linux allows a process at most unless the machine is set up otherwise (`fs.nr_open`). An unlimited hard limit counts
/// as this.
const MOST: rlim_t = 1 << 20;
/// What is assumed where the limit cannot be read: the common default.
const ASSUMED: rlim_t = 1_024;

/// Raises the limit of open files as far as the process may, and returns it: many systems start processes with 1,024.
/// Every role calls this first, and derives from it how many connections its listeners take.
pub fn raise_descriptor_limit() -> usize {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            warn!(%error, assumed = ASSUMED, "cannot read the limit of file descriptors");
            return ASSUMED as usize;
        }
    };
    let wanted = hard.min(MOST);
    if soft >= wanted {
        return soft.min(MOST) as usize;
    }
    match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted as usize,
        Err(error) => {
            warn!(%error, limit = soft, "cannot raise the limit of file descriptors");
            soft as usize
        }
    }
}

/// `percent` of what `descriptors` leaves beyond `reserve`, between `least` and `most`.
///
/// A listener with the `least` works, however small the limit is: then descriptors may run out all the same.
pub fn share_of(descriptors: usize, reserve: usize, percent: usize, least: usize, most: usize) -> usize {
    (descriptors.saturating_sub(reserve) * percent / 100).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_allowed() {
        let raised = raise_descriptor_limit();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raised, soft.min(MOST) as usize);
        assert!(soft >= hard.min(MOST));
        assert_eq!(raise_descriptor_limit(), raised, "again, it changes nothing");
    }

    #[test]
    fn shares_stay_within_their_bounds() {
        assert_eq!(share_of(1_024, 224, 50, 16, 65_536), 400);
        assert_eq!(share_of(1 << 20, 224, 50, 16, 1_000), 1_000);
        assert_eq!(share_of(100, 224, 50, 16, 1_000), 16);
    }
}
