//! What this node sends: a question, a NOTIFY or an UPDATE, and which replies belong to it.

use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use rand::Rng as _;

use crate::{
    BadReply, Edns, EncodeError, Reply,
    edns::Opt,
    message::{self, Header, MAX_MESSAGE},
    tsig::{Expected, Key},
    writer::Writer,
};

/// A question to a name server.
#[derive(Debug, Clone)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The type of the records.
    pub record_type: RecordType,
    /// Asks a resolver to find the answer elsewhere. Authoritative servers ignore it.
    pub recursion_desired: bool,
    /// The size of answers over UDP, the network of a client, a cookie. `None`: without EDNS, so 512 octets.
    pub edns: Option<Edns>,
}

impl Question {
    /// A question to an authoritative server, without EDNS.
    pub fn new(name: Name, record_type: RecordType) -> Self {
        Self { name, record_type, recursion_desired: false, edns: None }
    }

    /// The request; `now`, in seconds since 1970, counts only with a key.
    pub fn request(&self, key: Option<&Key>, now: u64) -> Request {
        let flags = if self.recursion_desired { message::RECURSION_DESIRED } else { 0 };
        let header = (message::QUERY, flags);
        Request::new(header, &self.name, self.record_type, [&[], &[]], self.edns.as_ref(), key, now)
            .expect("a question and an OPT record fit into a message")
    }
}

/// A message to send, and what its reply is held to. Its id is random.
#[derive(Debug, Clone)]
pub struct Request {
    message: Vec<u8>,
    id: u16,
    opcode: u8,
    name: Name,
    record_type: RecordType,
    edns: Option<Edns>,
    expected: Option<Expected>,
}

impl Request {
    /// `header`: opcode and flags. `sections`: those of answers (or prerequisites) and authorities (or changes).
    pub(crate) fn new(
        (opcode, flags): (u8, u8),
        name: &Name,
        record_type: RecordType,
        sections: [&[Record]; 2],
        edns: Option<&Edns>,
        key: Option<&Key>,
        now: u64,
    ) -> Result<Self, EncodeError> {
        let id = rand::rng().random();
        let mut message = Vec::new();
        let room = MAX_MESSAGE - key.map_or(0, Key::room);
        let opt = edns.map(|edns| Opt { edns: edns.clone(), rcode: 0, scope: 0 });
        let mut writer = Writer::new(&mut message, room, Header::new(id, opcode, flags, 0), opt);
        writer.question(name, record_type, DNSClass::IN)?;
        for (section, records) in sections.into_iter().enumerate() {
            writer.section(section, records)?;
        }
        writer.finish();
        let expected = key.map(|key| Expected::begin(key, &mut message, now));
        Ok(Self { message, id, opcode, name: name.clone(), record_type, edns: edns.cloned(), expected })
    }

    /// The octets to send.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Reads a reply. With a key it has to be signed; `now` is in seconds since 1970.
    ///
    /// Over UDP go on waiting after an error: anybody can send a datagram with the server's address (RFC 8945 §5.4).
    pub fn read(&self, message: &[u8], now: u64) -> Result<Reply, BadReply> {
        let header = Header::read(message).ok_or(BadReply::Another)?;
        if header.id != self.id || header.opcode != self.opcode || !header.has(message::RESPONSE) {
            return Err(BadReply::Another);
        }
        // Before the records are read: a sender without the key makes this client do no more work.
        if let Some(expected) = &self.expected {
            expected.clone().check(message, now).map_err(BadReply::Signature)?;
        }
        let (reply, asked) = Reply::read(&header, message)?;
        // A server that could not read the question does not repeat it (RFC 2136 §3.8 lets it be left out always).
        let same = |asked: message::Asked| asked.name == self.name && asked.record_type == self.record_type;
        if asked.is_some_and(|asked| !same(asked)) {
            return Err(BadReply::Another);
        }
        if self.has_the_options_of(&reply) { Ok(reply) } else { Err(BadReply::Another) }
    }

    /// A server that knows cookies repeats the client's cookie (RFC 7873 §5.3), and a server that knows networks repeats the network
    /// (RFC 7871 §7.3). A reply with another one was made without the question, such as by an attacker.
    fn has_the_options_of(&self, reply: &Reply) -> bool {
        let (asked, said) = (self.edns.as_ref(), reply.edns.as_ref());
        let client = |edns: &Edns| edns.cookie.as_ref().map(|cookie| cookie.client);
        let cookie = said.and_then(client).is_none_or(|cookie| asked.and_then(client) == Some(cookie));
        let network =
            said.and_then(|edns| edns.ecs).is_none_or(|ecs| asked.and_then(|edns| edns.ecs) == Some(ecs));
        cookie && network
    }

    /// Checks each message of an answer that has several. `None`: the request has no signature.
    pub fn expected(&self) -> Option<Expected> {
        self.expected.clone()
    }
}

#[cfg(test)]
mod tests;
