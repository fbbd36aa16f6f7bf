//! `GET /v1/watch`: changes as they happen.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use hanse_api::answer::ChangeEvent;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// The longest silence of a stream that lives: a node says something every 5 s, and may miss two.
const SILENCE: Duration = Duration::from_secs(15);

/// A stream of changes.
#[derive(Debug)]
pub(crate) struct Watch {
    body: Incoming,
    events: Events,
}

/// What a stream says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// A resource was put or deleted.
    Change(Box<ChangeEvent>),
    /// All changes up to this revision were said.
    UpTo(u64),
}

impl Watch {
    pub(super) fn of(body: Incoming) -> Self {
        Self { body, events: Events::default() }
    }

    /// What came next. `None`: the stream has ended, and another one may go on.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Vec<Said>>> {
        let frame = match tokio::time::timeout(SILENCE, self.body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_)) | None) | Err(_) => return Ok(None),
        };
        frame.into_data().map_or_else(|_| Ok(Vec::new()), |data| self.events.read(&data)).map(Some)
    }
}

/// Reads server-sent events (HTML, section 9.2.6), which come in pieces of any size.
#[derive(Debug, Default)]
struct Events {
    /// The line that has not ended yet.
    line: Vec<u8>,
    name: String,
    data: String,
    id: Option<u64>,
}

impl Events {
    fn read(&mut self, piece: &Bytes) -> anyhow::Result<Vec<Said>> {
        let mut said = Vec::new();
        let mut lines = piece.split(|octet| *octet == b'\n');
        self.line.extend(lines.next().unwrap_or_default());
        for next in lines {
            let line = std::mem::replace(&mut self.line, next.to_vec());
            self.take(&String::from_utf8_lossy(&line), &mut said)?;
        }
        Ok(said)
    }

    /// One line without its end.
    fn take(&mut self, line: &str, said: &mut Vec<Said>) -> anyhow::Result<()> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.data);
            if matches!(self.name.as_str(), "put" | "delete") {
                let change = serde_json::from_str(&event);
                said.push(Said::Change(change.context("reading an event of the watch")?));
            }
            said.extend(self.id.take().map(Said::UpTo));
            self.name.clear();
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => self.data.push_str(value),
            "id" => self.id = value.parse().ok(),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_pieces_of_any_size() {
        let text = "event: bookmark\nid: 7\ndata: {\"revision\":7}\n\n: keep\n\
            event: delete\ndata: {\"kind\":\"Plan\",\"name\":\"a\",\"revision\":8}\n\n\
            event:put\nid:8\ndata:{\"kind\":\"Plan\",\"name\":\"b\",\"revision\":8}\n\nevent: put\ndata: {";
        let change = |name: &str| {
            let change = ChangeEvent {
                kind: "Plan".into(),
                organization: None,
                name: name.into(),
                revision: 8,
                resource: None,
            };
            Said::Change(Box::new(change))
        };
        let expected = [Said::UpTo(7), change("a"), change("b"), Said::UpTo(8)];
        for size in [1, 3, 50, text.len()] {
            let mut events = Events::default();
            let pieces = text.as_bytes().chunks(size).map(Bytes::copy_from_slice);
            let said: Vec<_> = pieces.flat_map(|piece| events.read(&piece).unwrap()).collect();
            assert_eq!(said, expected, "in pieces of {size}");
        }
        assert!(Events::default().read(&Bytes::from("event: put\ndata: {\n\n")).is_err());
    }
}
