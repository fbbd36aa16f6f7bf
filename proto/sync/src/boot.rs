//! Processes that have one identity, told apart.

use std::{
    fmt,
    time::{Duration, Instant},
};

use hanse_proto::InvalidMessage;

/// How many processes of one identity are remembered: the twins, and some that came and went between.
const REMEMBERED: usize = 4;
/// Two processes that were both heard for so long are there at the same time. After a restart the earlier process is not heard any
/// more; what it said last may arrive late, and through another node, by a second or two.
const OVERLAP: Duration = Duration::from_secs(10);
/// For so long after both were last heard they are shown: they take turns of 30 s and more, and people look now and then.
const SHOWN: Duration = Duration::from_secs(300);

/// Drawn at random once by each process, so that a process that connects again is told from another one that has its identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId([u8; 16]);

impl BootId {
    /// From 16 random bytes.
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// As a message has it; empty: the sender said none.
    pub fn of_message(bytes: &[u8]) -> Result<Option<Self>, InvalidMessage> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let exact = bytes.try_into().map_err(|_| InvalidMessage::new("boot_id", "it is not 16 bytes"))?;
        Ok(Some(Self(exact)))
    }

    /// As a message carries it.
    pub fn to_message(boot: Option<Self>) -> bytes::Bytes {
        boot.map(|boot| boot.0.to_vec().into()).unwrap_or_default()
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The latest processes of one identity, and when each was heard.
///
/// Restarts follow one another. Two processes that were heard during the same time are twins: a data directory was copied.
#[derive(Debug, Clone, Default)]
pub struct Boots(Vec<Heard>);

#[derive(Debug, Clone, Copy)]
struct Heard {
    boot: BootId,
    first: Instant,
    last: Instant,
}

impl Boots {
    /// Notes that this process was heard at that time. The order of calls does not matter.
    pub fn heard(&mut self, boot: BootId, at: Instant) {
        match self.0.iter_mut().find(|heard| heard.boot == boot) {
            Some(heard) => {
                heard.first = heard.first.min(at);
                heard.last = heard.last.max(at);
            }
            None => self.0.push(Heard { boot, first: at, last: at }),
        }
        if self.0.len() > REMEMBERED {
            let oldest = (0..self.0.len()).min_by_key(|index| self.0[*index].last);
            oldest.map(|index| self.0.swap_remove(index));
        }
    }

    /// When two of them were last there at the same time, if that was not long before `now`.
    pub fn twins(&self, now: Instant) -> Option<Instant> {
        let pairs = self.0.iter().enumerate().flat_map(|(index, one)| {
            self.0[index + 1..]
                .iter()
                .map(move |other| (one.first.max(other.first), one.last.min(other.last)))
        });
        pairs.filter(|(from, to)| *to >= *from + OVERLAP && now < *to + SHOWN).map(|(_, to)| to).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn boot(letter: char) -> BootId {
        BootId::new([letter as u8; 16])
    }

    /// Hears processes by letter, each at these seconds; when twins were last seen, as of `now`.
    #[track_caller]
    fn check(heard: &[(char, &[u64])], now: u64, twins: Option<u64>) {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut boots = Boots::default();
        for (letter, times) in heard {
            times.iter().for_each(|seconds| boots.heard(boot(*letter), at(*seconds)));
        }
        assert_eq!(boots.twins(at(now)).map(|seen| (seen - start).as_secs()), twins, "{heard:?} at {now}");
    }

    #[test]
    fn restarts_are_no_twins_and_processes_that_take_turns_are() {
        check(&[], 0, None);
        check(&[('a', &[0, 100])], 100, None);
        check(&[('a', &[0, 100]), ('b', &[101, 200]), ('c', &[202, 300])], 300, None);
        // The last words of a process arrive after the first of the next.
        check(&[('a', &[0, 103]), ('b', &[101, 200])], 200, None);
        check(&[('a', &[0, 30, 61]), ('b', &[31, 60])], 61, Some(60));
        check(&[('b', &[31, 60]), ('a', &[61, 30, 0])], 61, Some(60));
        check(&[('a', &[0, 30]), ('b', &[31])], 31, None);
        // Each at a publisher of its own, all the time.
        check(&[('a', &[0, 50]), ('b', &[20, 50])], 50, Some(50));
        // An operator stopped one of them.
        check(&[('a', &[0, 61, 400]), ('b', &[31, 60])], 359, Some(60));
        check(&[('a', &[0, 61, 400]), ('b', &[31, 60])], 360, None);
    }

    #[test]
    fn those_heard_lately_are_remembered() {
        let many: Vec<(char, [u64; 1])> = ('c'..='z').zip(20..).map(|(letter, at)| (letter, [at])).collect();
        let mut heard: Vec<(char, &[u64])> = vec![('a', &[0, 60])];
        heard.extend(many.iter().map(|(letter, at)| (*letter, &at[..])));
        heard.push(('b', &[45, 70]));
        check(&heard, 70, Some(60));
    }

    #[test]
    fn a_boot_id_has_sixteen_bytes_or_is_not_said() {
        assert_eq!(BootId::of_message(&[]).unwrap(), None);
        assert_eq!(BootId::of_message(&[97; 16]).unwrap(), Some(boot('a')));
        BootId::of_message(&[97; 15]).unwrap_err();
        assert_eq!(BootId::to_message(Some(boot('a'))), vec![97; 16]);
        assert!(BootId::to_message(None).is_empty());
    }
}
