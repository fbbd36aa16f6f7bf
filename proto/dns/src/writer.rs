//! The one way to write a message: from front to back, and never longer than its room.

use std::iter;

use hickory_proto::{
    ProtoError,
    rr::{DNSClass, Name, Record, RecordType},
    serialize::binary::{BinEncodable as _, BinEncoder},
};

use crate::{
    edns::Opt,
    message::{HEADER, Header, MAX_MESSAGE},
};

/// Why records make no message.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EncodeError {
    /// A record breaks a rule of its type, such as a TXT record with a string of 256 octets.
    #[error("cannot encode the {record_type} record of {name}")]
    Record {
        /// The record's name.
        name: Name,
        /// The record's type.
        record_type: RecordType,
        /// The rule.
        #[source]
        source: ProtoError,
    },
    /// There are too many records for one message, or this one is too long.
    #[error(
        "the {record_type} record of {name}, behind the records before it, does not fit into {room} octets; use fewer or shorter records"
    )]
    TooLong {
        /// The name of the first record that does not fit.
        name: Name,
        /// Its type.
        record_type: RecordType,
        /// Octets that the message may have, without its OPT record and signature.
        room: usize,
    },
    /// Without values a prerequisite would hold for every RRset.
    #[error("a prerequisite for {name} has no values; name one at least, or say that there is no such RRset")]
    NoValues {
        /// The name of the RRset.
        name: Name,
    },
}

/// A message that is being written.
pub(crate) struct Writer<'a> {
    encoder: BinEncoder<'a>,
    /// The counts are those of what is written, without the OPT record.
    header: Header,
    opt: Vec<u8>,
    /// Octets of all but the OPT record.
    room: usize,
}

/// A place in a message to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    offset: usize,
    records: [u16; 3],
}

impl<'a> Writer<'a> {
    /// A message of `room` octets at most. `octets` is empty, and the header counts nothing yet.
    pub(crate) fn new(octets: &'a mut Vec<u8>, room: usize, header: Header, opt: Option<Opt>) -> Self {
        octets.resize(HEADER, 0);
        let mut with_opt = Vec::new();
        if let Some(opt) = opt {
            opt.write(&mut with_opt);
        }
        let room = room.min(MAX_MESSAGE).saturating_sub(with_opt.len());
        let mut encoder = BinEncoder::with_offset(octets, HEADER as u32);
        encoder.set_max_size(room as u16);
        Self { encoder, header, opt: with_opt, room }
    }

    /// Comes before all records.
    pub(crate) fn question(
        &mut self,
        name: &Name,
        record_type: RecordType,
        class: DNSClass,
    ) -> Result<(), EncodeError> {
        let written = emit_question(&mut self.encoder, name, record_type, class);
        written.map_err(|error| self.failed(name, record_type, error))?;
        self.header.questions = 1;
        Ok(())
    }

    /// Another record in the section: 0 is that of answers, 1 of authorities, 2 of additionals. A record that fails leaves nothing behind.
    pub(crate) fn record(&mut self, section: usize, record: &Record) -> Result<(), EncodeError> {
        let before = self.mark();
        match self.encoder.emit_all(iter::once(record)) {
            Ok(_) => {
                self.header.records[section] += 1; // a record has 11 octets at least, so 16 bits count all of a message
                Ok(())
            }
            Err(error) => {
                self.back_to(before);
                Err(self.failed(&record.name, record.record_type(), error))
            }
        }
    }

    /// All of these records, or none of them.
    pub(crate) fn section(&mut self, section: usize, records: &[Record]) -> Result<(), EncodeError> {
        let before = self.mark();
        let written = records.iter().try_for_each(|record| self.record(section, record));
        if written.is_err() {
            self.back_to(before);
        }
        written
    }

    /// What is written until now.
    pub(crate) fn mark(&self) -> Mark {
        Mark { offset: self.encoder.offset(), records: self.header.records }
    }

    /// Takes back what was written since the mark.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        self.encoder.set_offset(mark.offset);
        self.encoder.trim();
        self.header.records = mark.records;
    }

    /// Sets a flag of the header, such as TC.
    pub(crate) fn set(&mut self, flag: u8) {
        self.header.flags |= flag;
    }

    /// Puts the header and the OPT record where they belong.
    pub(crate) fn finish(mut self) {
        let room_is_left = "the room is kept";
        self.header.records[2] += u16::from(!self.opt.is_empty());
        let mut head = Vec::with_capacity(HEADER);
        self.header.write(&mut head);
        self.encoder.set_max_size(MAX_MESSAGE as u16);
        self.encoder.emit_vec(&self.opt).expect(room_is_left);
        self.encoder.set_offset(0);
        self.encoder.emit_vec(&head).expect(room_is_left);
    }

    fn failed(&self, name: &Name, record_type: RecordType, source: ProtoError) -> EncodeError {
        let name = name.clone();
        match source {
            ProtoError::MaxBufferSizeExceeded(_) | ProtoError::NotAllRecordsWritten { .. } => {
                EncodeError::TooLong { name, record_type, room: self.room }
            }
            source => EncodeError::Record { name, record_type, source },
        }
    }
}

fn emit_question(
    encoder: &mut BinEncoder<'_>,
    name: &Name,
    record_type: RecordType,
    class: DNSClass,
) -> Result<(), ProtoError> {
    name.emit(encoder)?;
    record_type.emit(encoder)?;
    encoder.emit_u16(class.into())
}
