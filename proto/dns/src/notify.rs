//! NOTIFY (RFC 1996): a primary tells a secondary that a zone has changed.

use hickory_proto::rr::{Record, RecordType};

use crate::{message, request::Request, tsig::Key};

/// The request for a zone, with its SOA as a hint (§3.7). The secondary has got it when its reply has no error code.
///
/// It is sent over UDP, again until there is a reply; `now` is in seconds since 1970.
pub fn notify(soa: &Record, key: Option<&Key>, now: u64) -> Request {
    let header = (message::NOTIFY, message::AUTHORITATIVE);
    Request::new(header, &soa.name, RecordType::SOA, [std::slice::from_ref(soa), &[]], None, key, now)
        .expect("a SOA record fits into a message")
}
