//! One operation of a history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One operation: who did what through which node, when, and what came of it. A write writes its own `id`, so every value
/// says by itself which operation wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number, unique in the history; above 0.
    pub id: u64,
    /// The client that did it. A client does one operation after the other.
    pub client: u64,
    /// The control node that was asked.
    pub node: String,
    /// What was asked.
    #[serde(flatten)]
    pub action: Action,
    /// When it began: nanoseconds of a monotonic clock that all operations share.
    pub start_ns: u64,
    /// When its outcome was known to the client. Of an unknown outcome: when the client gave up.
    pub end_ns: u64,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What an operation asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Action {
    /// One key, at the default consistency.
    Read {
        /// The key.
        key: String,
    },
    /// One key, with `consistency=stale`.
    StaleRead {
        /// The key.
        key: String,
    },
    /// All keys, at the default consistency.
    List,
    /// All keys, with `consistency=stale`.
    StaleList,
    /// One key, at any revision.
    Write {
        /// The key.
        key: String,
    },
    /// One key, if it is at a revision (`If-Match`).
    Cas {
        /// The key.
        key: String,
        /// The revision expected.
        expected_revision: u64,
        /// The value that the key had at that revision, as the client read it.
        expected_value: u64,
    },
    /// Several keys, all or none.
    Apply {
        /// The keys.
        keys: Vec<String>,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was done. A write made `revision`; a read was answered from `revision`.
    Ok {
        /// `Hanse-Revision` of the answer.
        revision: u64,
        /// Of a read: what it saw.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        seen: BTreeMap<String, Seen>,
        /// The answer said `Hanse-Restarted`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        restarted: bool,
    },
    /// A read was told that the key does not exist. Every key of a history exists from its first operation on.
    Missing {
        /// The answer said `Hanse-Restarted`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        restarted: bool,
    },
    /// The answer says that nothing was changed, or nothing was sent.
    Refused {
        /// The problem's name, as `stale` or `no-quorum`; `not-sent` where no connection came about.
        why: String,
    },
    /// It may have happened, or may still.
    Unknown {
        /// What the client knows.
        why: String,
    },
}

/// What a read saw of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The number of the operation that wrote it.
    pub value: u64,
    /// The revision of its last change.
    pub revision: u64,
}

impl Operation {
    /// Whether it is a write that was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        !self.action.writes().is_empty() && matches!(self.outcome, Outcome::Ok { .. })
    }
}

impl Action {
    /// The keys that it writes.
    pub fn writes(&self) -> &[String] {
        match self {
            Self::Write { key } | Self::Cas { key, .. } => std::slice::from_ref(key),
            Self::Apply { keys } => keys,
            Self::Read { .. } | Self::StaleRead { .. } | Self::List | Self::StaleList => &[],
        }
    }

    /// Whether it reads what a node has, however old.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::StaleRead { .. } | Self::StaleList)
    }

    /// Whether it reads all keys.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::List | Self::StaleList)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_one_flat_line() {
        let operation = Operation {
            id: 7,
            client: 2,
            node: "cp-1".into(),
            action: Action::Cas { key: "k1".into(), expected_revision: 40, expected_value: 5 },
            start_ns: 10,
            end_ns: 20,
            outcome: Outcome::Refused { why: "stale".into() },
        };
        let line = serde_json::to_string(&operation).unwrap();
        assert_eq!(
            line,
            r#"{"id":7,"client":2,"node":"cp-1","op":"cas","key":"k1","expected_revision":40,"expected_value":5,"start_ns":10,"end_ns":20,"outcome":"refused","why":"stale"}"#
        );
        assert_eq!(serde_json::from_str::<Operation>(&line).unwrap(), operation);
        let read = r#"{"id":8,"client":2,"node":"cp-1","op":"list","start_ns":30,"end_ns":40,"outcome":"ok","revision":41,"seen":{"k1":{"value":5,"revision":40}}}"#;
        let read: Operation = serde_json::from_str(read).unwrap();
        assert_eq!(read.action, Action::List);
        assert!(matches!(read.outcome, Outcome::Ok { revision: 41, restarted: false, .. }));
    }
}
