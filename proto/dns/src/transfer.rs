//! Zone transfers (RFC 5936): all records of a zone, over TCP, each message signed.

use std::iter;

use hickory_proto::{op::ResponseCode, rr::Record};

use crate::{
    Echo, EncodeError, Query, answer,
    message::{self, Header},
    tsig::Transaction,
    writer::Writer,
};

/// Octets of the largest message of a transfer: a receiver needs no more memory for one. hickory compresses the first 120 names of each.
pub const MAX_TRANSFER_MESSAGE: usize = 32 * 1024;

/// The answer to AXFR, message by message. The zone's SOA is the first and the last record (§2.2).
///
/// It also answers IXFR over TCP of a secondary with an older serial: a server may send the whole zone (RFC 1995 §4). A secondary that
/// [is up to date](Query::is_up_to_date) gets [`Answer::soa`](crate::Answer::soa).
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

    /// The next message, signed at `now`, in seconds since 1970. `None`: that was all. An error, such as for a record that no message can
    /// hold, ends the transfer: the receiver sees that the last SOA is missing, and keeps the zone that it has.
    pub fn next(&mut self, now: u64) -> Option<Result<Vec<u8>, EncodeError>> {
        let all = self.records.len() + 2;
        if self.written == all {
            return None;
        }
        Some(match self.write() {
            Ok((message, count)) => {
                self.written += count;
                Ok(self.transaction.sign(message, now))
            }
            Err(error) => {
                self.written = all;
                Err(error)
            }
        })
    }

    /// SOA, records, SOA, without those that were written.
    fn left(&self) -> impl Iterator<Item = &'a Record> + use<'a> {
        let all = iter::once(self.soa).chain(self.records).chain(iter::once(self.soa));
        all.skip(self.written)
    }

    /// The next message, and how many records are in it: one at least.
    fn write(&self) -> Result<(Vec<u8>, usize), EncodeError> {
        let first = self.written == 0;
        let flags = message::RESPONSE
            | message::AUTHORITATIVE
            | if self.query.recursion_desired { message::RECURSION_DESIRED } else { 0 };
        let header = Header::new(self.query.id, message::QUERY, flags, ResponseCode::NoError.low());
        let edns = self.query.edns.as_ref().filter(|_| first);
        let opt = edns.map(|edns| answer::opt(edns, ResponseCode::NoError, &Echo::default()));
        let room = MAX_TRANSFER_MESSAGE - self.transaction.room();
        let mut octets = Vec::with_capacity(MAX_TRANSFER_MESSAGE);
        let mut writer = Writer::new(&mut octets, room, header, opt);
        // Only the first message repeats the question (§2.2.1).
        if first {
            writer.question(&self.query.name, self.query.record_type, self.query.class)?;
        }
        let mut count = 0;
        for record in self.left() {
            match writer.record(0, record) {
                Ok(()) => count += 1,
                Err(EncodeError::TooLong { .. }) if count > 0 => break,
                Err(error) => return Err(error),
            }
        }
        writer.finish();
        Ok((octets, count))
    }
}

#[cfg(test)]
mod tests;
