//! Zone transfers (RFC 5936): all records of a zone, over TCP, each message signed.

use std::iter;

use hickory_proto::{
    ProtoError,
    op::ResponseCode,
    rr::{Name, Record, RecordType},
    serialize::binary::BinEncoder,
};

use crate::{
    Echo, Query,
    answer::{self, emit_question},
    message::{self, HEADER, Header},
    tsig::Transaction,
};

/// Octets of the largest message of a transfer: a receiver needs no more memory for one, and compression still has names to point to.
pub const MAX_TRANSFER_MESSAGE: usize = 32 * 1024;

/// A record that no message of a transfer can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {record_type} record of {name} does not fit into {MAX_TRANSFER_MESSAGE} octets; make it shorter"
)]
pub struct TooLarge {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub record_type: RecordType,
}

/// The answer to AXFR, message by message. The zone's SOA is the first and the last record (§2.2).
///
/// It also answers IXFR: a server may always send the whole zone (RFC 1995 §4).
#[derive(Debug)]
pub struct Transfer<'a> {
    query: &'a Query,
    soa: &'a Record,
    records: &'a [Record],
    /// How many records were written, the first SOA among them.
    written: usize,
    transaction: Transaction,
}

impl<'a> Transfer<'a> {
    /// The records are those of the zone without its SOA. The transaction is that of the query, so no zone leaves without a signature.
    pub fn new(query: &'a Query, soa: &'a Record, records: &'a [Record], transaction: Transaction) -> Self {
        Self { query, soa, records, written: 0, transaction }
    }

    /// The next message, signed at `now`, in seconds since 1970. `None`: that was all.
    pub fn next(&mut self, now: u64) -> Option<Result<Vec<u8>, TooLarge>> {
        let left = (self.records.len() + 2).checked_sub(self.written).filter(|left| *left > 0)?;
        let room = MAX_TRANSFER_MESSAGE - self.transaction.room();
        Some(match self.write(room) {
            (_, 0) => {
                self.written += left; // the receiver sees that the last SOA is missing
                Err(self.too_large(left))
            }
            (message, count) => {
                self.written += count;
                Ok(self.transaction.sign(message, now))
            }
        })
    }

    /// SOA, records, SOA, without those that were written.
    fn left(&self) -> impl Iterator<Item = &'a Record> + use<'a> {
        let all = iter::once(self.soa).chain(self.records).chain(iter::once(self.soa));
        all.skip(self.written)
    }

    fn too_large(&self, left: usize) -> TooLarge {
        let all = iter::once(self.soa).chain(self.records).chain(iter::once(self.soa));
        let record = all.rev().nth(left - 1).expect("records are left");
        TooLarge { name: record.name.clone(), record_type: record.record_type() }
    }

    /// A message of so many octets at most, and how many records are in it.
    fn write(&self, room: usize) -> (Vec<u8>, usize) {
        let first = self.written == 0;
        let edns = self.query.edns.as_ref().filter(|_| first);
        let mut opt = Vec::new();
        if let Some(edns) = edns {
            answer::opt(edns, ResponseCode::NoError, &Echo::default()).write(&mut opt);
        }
        let mut written = Vec::with_capacity(room);
        written.resize(HEADER, 0);
        let mut encoder = BinEncoder::with_offset(&mut written, HEADER as u32);
        encoder.set_max_size((room - opt.len()) as u16);
        // Only the first message repeats the question (§2.2.1).
        if first {
            emit_question(&mut encoder, &self.query.name, self.query.record_type, self.query.class.into())
                .expect("a question fits into a message of a transfer");
        }
        let count = match encoder.emit_all(self.left()) {
            Ok(count) => count,
            Err(ProtoError::NotAllRecordsWritten { count, .. }) => count,
            Err(_) => 0,
        };
        encoder.trim();
        written.extend(opt);
        let header = Header {
            id: self.query.id,
            flags: message::RESPONSE
                | message::AUTHORITATIVE
                | if self.query.recursion_desired { message::RECURSION_DESIRED } else { 0 },
            opcode: message::QUERY,
            rcode: 0,
            questions: first.into(),
            records: [count as u16, 0, edns.is_some().into()],
        };
        let mut head = Vec::with_capacity(HEADER);
        header.write(&mut head);
        written[..HEADER].copy_from_slice(&head);
        (written, count)
    }
}

#[cfg(test)]
mod tests;
