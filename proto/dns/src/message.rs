//! The frame of every message: its header, and where its records begin and end (RFC 1035 §4.1).

use std::ops::Range;

use hickory_proto::{
    rr::{DNSClass, Name, Record, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

/// Octets of a header.
pub(crate) const HEADER: usize = 12;
/// Octets of the longest message: TCP counts them in 16 bits.
pub(crate) const MAX_MESSAGE: usize = u16::MAX as usize;

/// In the third octet of a header.
pub(crate) const RESPONSE: u8 = 0x80;
pub(crate) const AUTHORITATIVE: u8 = 0x04;
pub(crate) const TRUNCATED: u8 = 0x02;
pub(crate) const RECURSION_DESIRED: u8 = 0x01;

/// Opcodes in numbers (RFC 1035 §4.1.1, RFC 1996 §3.3, RFC 2136 §1.3).
pub(crate) const QUERY: u8 = 0;
pub(crate) const NOTIFY: u8 = 4;
pub(crate) const UPDATE: u8 = 5;

/// A header, taken apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) id: u16,
    /// The third octet, without the opcode.
    pub(crate) flags: u8,
    pub(crate) opcode: u8,
    /// The low four bits of the response code.
    pub(crate) rcode: u8,
    pub(crate) questions: u16,
    /// Answer, authority, additional.
    pub(crate) records: [u16; 3],
}

impl Header {
    /// Of a message without content.
    pub(crate) fn new(id: u16, opcode: u8, flags: u8, rcode: u8) -> Self {
        Self { id, flags, opcode, rcode, questions: 0, records: [0; 3] }
    }

    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let octets: &[u8; HEADER] = message.first_chunk()?;
        let number = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        Some(Self {
            id: number(0),
            flags: octets[2] & !0x78,
            opcode: octets[2] >> 3 & 0x0f,
            rcode: octets[3] & 0x0f,
            questions: number(4),
            records: [number(6), number(8), number(10)],
        })
    }

    /// Without AD and CD, which authoritative servers clear (RFC 4035 §3.1.6).
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.extend(self.id.to_be_bytes());
        into.extend([self.flags | self.opcode << 3, self.rcode]);
        for count in [self.questions, self.records[0], self.records[1], self.records[2]] {
            into.extend(count.to_be_bytes());
        }
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The octets at this place do not follow RFC 1035.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// The question of a message.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) name: Name,
    pub(crate) record_type: RecordType,
    pub(crate) class: DNSClass,
}

/// A record before its data is read.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// Where the record begins.
    pub(crate) at: usize,
    pub(crate) record_type: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    /// Where its data is.
    pub(crate) data: Range<usize>,
}

/// Reads a message from front to back.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Behind the header, which [`Header::read`] found.
    pub(crate) fn behind_header(message: &'a [u8]) -> Self {
        Self { message, at: HEADER }
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.message.len()
    }

    /// A question whose name is not compressed: no name is before it that it could point to.
    pub(crate) fn question(&mut self) -> Result<Asked, Broken> {
        let at = self.at;
        self.skip_name()?;
        let name = name_at(self.message, at)?;
        // A pointer has two octets, and no name has two: one octet is the root, three the shortest label with it.
        if octets_of(&name) != self.at - at {
            return Err(Broken);
        }
        let record_type = RecordType::from(self.u16()?);
        Ok(Asked { name, record_type, class: DNSClass::from(self.u16()?) })
    }

    /// The next record; its data is skipped.
    pub(crate) fn record(&mut self) -> Result<Head, Broken> {
        let at = self.at;
        self.skip_name()?;
        let (record_type, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let start = self.at;
        self.take(length)?;
        Ok(Head { at, record_type, class, ttl, data: start..self.at })
    }

    /// Steps over a name. What it points to is not read.
    fn skip_name(&mut self) -> Result<(), Broken> {
        loop {
            let [length] = *self.take(1)? else { return Err(Broken) };
            match length {
                0 => return Ok(()),
                1..=63 => drop(self.take(length.into())?),
                0xc0.. => return self.take(1).map(drop),
                64..=0xbf => return Err(Broken),
            }
        }
    }

    fn u16(&mut self) -> Result<u16, Broken> {
        let octets = self.take(2)?;
        Ok(u16::from_be_bytes([octets[0], octets[1]]))
    }

    fn u32(&mut self) -> Result<u32, Broken> {
        let octets = self.take(4)?;
        Ok(u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]))
    }

    fn take(&mut self, octets: usize) -> Result<&'a [u8], Broken> {
        let end = self.at + octets;
        let taken = self.message.get(self.at..end).ok_or(Broken)?;
        self.at = end;
        Ok(taken)
    }
}

impl Head {
    pub(crate) fn data<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        &message[self.data.clone()]
    }

    /// The whole record. Of a record without data, [`RData::Update0`](hickory_proto::rr::RData::Update0) (RFC 2136 §2.4).
    pub(crate) fn record(&self, message: &[u8]) -> Result<Record, Broken> {
        // Names in the data may point to any place before it, but nothing is read beyond its end.
        let message = &message[..self.data.end];
        let mut decoder = decoder_at(message, self.at)?;
        let record = Record::read(&mut decoder).map_err(|_| Broken)?;
        if decoder.is_empty() { Ok(record) } else { Err(Broken) }
    }
}

/// Octets of a name that is not compressed.
pub(crate) fn octets_of(name: &Name) -> usize {
    name.iter().map(|label| label.len() + 1).sum::<usize>() + 1
}

pub(crate) fn name_at(message: &[u8], at: usize) -> Result<Name, Broken> {
    Name::read(&mut decoder_at(message, at)?).map_err(|_| Broken)
}

fn decoder_at(message: &[u8], at: usize) -> Result<BinDecoder<'_>, Broken> {
    let at = u16::try_from(at).map_err(|_| Broken)?;
    Ok(BinDecoder::new(message).clone(at))
}
