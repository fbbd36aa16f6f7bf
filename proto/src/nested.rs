//! Messages that travel as bytes within others.

use bytes::{Buf as _, Bytes};
use prost::Message;

use crate::InvalidMessage;

/// Reads a message. What it holds is copied: the message that carried it may be megabytes, and must not stay for one field's sake.
pub fn read<M: Message + Default>(name: &'static str, bytes: &[u8]) -> Result<M, InvalidMessage> {
    M::decode(bytes).map_err(|error| InvalidMessage::new(name, error.to_string()))
}

/// A message as bytes.
pub fn to_bytes(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// Messages in a row, each after its length as a varint. They are read one by one, so that a row of many empty ones takes no
/// memory.
pub fn in_a_row<'a, M: Message + 'a>(messages: impl IntoIterator<Item = &'a M>) -> Bytes {
    let entries: Vec<Vec<u8>> = messages.into_iter().map(Message::encode_length_delimited_to_vec).collect();
    entries.concat().into()
}

/// The messages of a row, each as bytes. A row that is cut off ends with an error.
pub fn of_row<'a>(
    name: &'static str,
    row: &'a [u8],
) -> impl Iterator<Item = Result<&'a [u8], InvalidMessage>> {
    let mut rest = row;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next =
            prost::decode_length_delimiter(&mut rest).ok().and_then(|length| rest.split_at_checked(length));
        let Some((message, after)) = next else {
            rest.advance(rest.len());
            return Some(Err(InvalidMessage::new(name, "it is cut off")));
        };
        rest = after;
        Some(Ok(message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::ScopeFacts;

    #[test]
    fn a_row_is_read_one_by_one() {
        let of = |scope: &str| ScopeFacts { scope: scope.into(), ..Default::default() };
        let all = [of("a"), of(""), of(&"c".repeat(300))];
        let row = in_a_row(&all);
        let messages = |row: &[u8]| -> Result<Vec<ScopeFacts>, InvalidMessage> {
            of_row("row", row).map(|message| read("entry", message?)).collect()
        };
        assert_eq!(messages(&row).unwrap(), all);
        assert_eq!(messages(&[]), Ok(vec![]));
        for damaged in [&row[..row.len() - 1], &[0x80], &[5, 1], &[0xff; 11]] {
            assert!(messages(damaged).is_err());
            assert!(of_row("row", damaged).count() <= 3, "it ends");
        }
    }
}
