use super::*;

#[test]
fn a_history_starts_at_the_first_versions_whatever_the_build_knows() {
    let state = State::default();
    // Literally 1, and for ever: a version that is added must not change this.
    assert_eq!(state.version().number(), 1);
}

#[test]
fn the_journal_forgets_the_oldest_when_it_has_too_many_keys() {
    let key = crate::fixture::key("Plan gold");
    let mut state = State::default();
    let mut record = |revision, keys| {
        state.record(JournalEntry { revision, time_ms: 0, keys: vec![key.clone(); keys] });
        let kept: Vec<Revision> = state.journal.keys().copied().collect();
        assert_eq!(state.journal_keys, state.journal.values().map(|entry| entry.keys.len()).sum::<usize>());
        kept
    };
    assert_eq!(record(1, 1), [1]);
    assert_eq!(record(2, 400_000), [1, 2]);
    assert_eq!(record(3, 599_999), [1, 2, 3], "a million is not too many");
    assert_eq!(record(4, 1), [2, 3, 4]);
    assert_eq!(record(5, 1), [3, 4, 5]);
    assert_eq!(record(6, 1_000_001), [6], "the newest is kept, however large");
    assert!(state.journal_since(5).is_some() && state.journal_since(4).is_none());
}
