//! Extension mechanisms (RFC 6891): the OPT record, with the options that count.

use hickory_proto::rr::RecordType;

use crate::{
    Cookie, Ecs, cookie, ecs,
    message::{Head, Reader},
};

/// Octets of the largest answer over UDP that is sent or asked for: it needs no IP fragments on common paths (DNS flag day 2020).
pub const MAX_UDP: u16 = 1_232;
/// Octets of an answer that every client takes; smaller sizes count as this one (RFC 6891 §6.2.3).
pub(crate) const MIN_UDP: u16 = 512;
/// DNSSEC OK, in the low 16 bits of the TTL (§6.1.4).
const DNSSEC_OK: u32 = 0x8000;

/// What the OPT record of a query says. Its version is 0: another one is [`Problem::Version`](crate::Problem::Version).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edns {
    /// Octets of the largest answer over UDP that the client takes, at least 512.
    pub size: u16,
    /// The client would take DNSSEC records. The bit is echoed (RFC 3225 §3).
    pub dnssec_ok: bool,
    /// The network that the client asks for.
    pub ecs: Option<Ecs>,
    /// The client's cookie, with the server's one where it has it.
    pub cookie: Option<Cookie>,
}

/// What an OPT record says.
#[derive(Debug, Clone)]
pub(crate) struct Opt {
    pub(crate) edns: Edns,
    /// The upper eight bits of the response code.
    pub(crate) rcode: u8,
    /// Of the option for the client's network.
    pub(crate) scope: u8,
}

/// Why an OPT record is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadOpt {
    Frame,
    Version(u8),
    Ecs,
    Cookie,
}

impl Opt {
    /// A record of type OPT.
    pub(crate) fn read(head: &Head, message: &[u8]) -> Result<Self, BadOpt> {
        if message[head.at] != 0 {
            return Err(BadOpt::Frame); // its name is the root (§6.1.2)
        }
        let [rcode, version, ..] = head.ttl.to_be_bytes();
        if version != 0 {
            return Err(BadOpt::Version(version));
        }
        let dnssec_ok = head.ttl & DNSSEC_OK != 0;
        let mut edns = Edns { size: head.class.max(MIN_UDP), dnssec_ok, ecs: None, cookie: None };
        let mut scope = 0;
        let mut rest = head.data(message);
        while !rest.is_empty() {
            let ([a, b, c, d], behind) = rest.split_first_chunk().ok_or(BadOpt::Frame)?;
            let length = usize::from(u16::from_be_bytes([*c, *d]));
            let (option, behind) = behind.split_at_checked(length).ok_or(BadOpt::Frame)?;
            rest = behind;
            match u16::from_be_bytes([*a, *b]) {
                // Two networks have no answer.
                ecs::CODE if edns.ecs.is_some() => return Err(BadOpt::Ecs),
                ecs::CODE => {
                    let (read, said) = Ecs::read(option).ok_or(BadOpt::Ecs)?;
                    (edns.ecs, scope) = (Some(read), said);
                }
                // The first one counts (RFC 7873 §5.2).
                cookie::CODE if edns.cookie.is_some() => {}
                cookie::CODE => edns.cookie = Some(Cookie::read(option).ok_or(BadOpt::Cookie)?),
                _ => {} // options that are not known are ignored (§6.1.2)
            }
        }
        Ok(Self { edns, rcode, scope })
    }

    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        let Edns { size, dnssec_ok, ecs, cookie } = &self.edns;
        into.push(0);
        into.extend(u16::from(RecordType::OPT).to_be_bytes());
        into.extend(size.to_be_bytes());
        let flags = if *dnssec_ok { DNSSEC_OK } else { 0 };
        into.extend((u32::from(self.rcode) << 24 | flags).to_be_bytes());
        let length_at = into.len();
        into.extend([0, 0]);
        let mut option = |code: u16, data: &[u8]| {
            into.extend(code.to_be_bytes());
            into.extend((data.len() as u16).to_be_bytes());
            into.extend(data);
        };
        if let Some(ecs) = ecs {
            option(ecs::CODE, &ecs.write(self.scope));
        }
        if let Some(cookie) = cookie {
            option(cookie::CODE, &cookie.write());
        }
        let length = (into.len() - length_at - 2) as u16;
        into[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
}

/// Whether a message has an OPT record at all, however it is spelled: its reply has one, too (§7).
pub(crate) fn is_in(message: &[u8], reader: &mut Reader<'_>, records: usize) -> bool {
    let of_opt = |head: Head| head.record_type == u16::from(RecordType::OPT) && message[head.at] == 0;
    std::iter::from_fn(|| reader.record().ok()).take(records).any(of_opt)
}
