//! DNS cookies (RFC 7873) with the server cookie of RFC 9018: a client that shows a good one has received an answer at its address before.

use std::{fmt, hash::Hasher as _, net::IpAddr};

/// The code of the option.
pub(crate) const CODE: u16 = 10;
/// Octets of a client cookie.
const CLIENT: usize = 8;
/// Octets of a server cookie that another implementation may make (RFC 7873 §4).
const SERVER: std::ops::RangeInclusive<usize> = 8..=32;
/// Octets of a server cookie that this crate makes.
pub const OURS: usize = 16;
/// The version of the layout, with three reserved octets (RFC 9018 §4.1, §4.2).
const VERSION: u8 = 1;
/// A cookie is good for so many seconds (RFC 9018 §4.3).
const LIFETIME: u32 = 60 * 60;
/// Clocks of servers with one secret differ by so many seconds at most (RFC 9018 §4.3).
const AHEAD: u32 = 5 * 60;

/// The option of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Chosen by the client.
    pub client: [u8; CLIENT],
    /// What a server gave the client; empty: nothing yet.
    pub server: Vec<u8>,
}

impl Cookie {
    pub(crate) fn read(option: &[u8]) -> Option<Self> {
        let (client, server) = option.split_first_chunk()?;
        let fits = server.is_empty() || SERVER.contains(&server.len());
        fits.then(|| Self { client: *client, server: server.to_vec() })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        [&self.client[..], &self.server].concat()
    }
}

/// What a client's cookie says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieStatus {
    /// It sent none.
    Absent,
    /// It has no server cookie yet.
    OnlyClient,
    /// The server cookie was given to this client at this address, within the hour.
    Good,
    /// The server cookie is of another address, secret, version or time.
    Bad,
}

/// What server cookies are made with. Servers with one secret take each other's cookies, also those of other implementations of RFC 9018.
#[derive(Clone)]
pub struct Secret([u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// From 16 random octets.
    pub fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// The server cookie for a client. `now` is in seconds since 1970; it wraps round in 2106.
    pub fn make(&self, client: &[u8; CLIENT], address: IpAddr, now: u32) -> [u8; OURS] {
        let [a, b, c, d] = now.to_be_bytes();
        let head = [VERSION, 0, 0, 0, a, b, c, d];
        self.with_hash(client, head, address)
    }

    /// What the cookie of a query says of the client at this address.
    pub fn judge(&self, cookie: Option<&Cookie>, address: IpAddr, now: u32) -> CookieStatus {
        let Some(Cookie { client, server }) = cookie else { return CookieStatus::Absent };
        if server.is_empty() {
            return CookieStatus::OnlyClient;
        }
        let Ok(server) = <&[u8; OURS]>::try_from(&server[..]) else { return CookieStatus::Bad };
        let [version, r0, r1, r2, a, b, c, d, ..] = *server;
        // Differences of times in the arithmetic of RFC 1982.
        let age = now.wrapping_sub(u32::from_be_bytes([a, b, c, d])).cast_signed();
        let in_time = age <= LIFETIME.cast_signed() && age >= -AHEAD.cast_signed();
        let expected = self.with_hash(client, [version, r0, r1, r2, a, b, c, d], address);
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(&expected, server).is_ok();
        if version == VERSION && in_time && same { CookieStatus::Good } else { CookieStatus::Bad }
    }

    /// A cookie of these eight octets and their hash (RFC 9018 §4.4).
    fn with_hash(&self, client: &[u8; CLIENT], head: [u8; 8], address: IpAddr) -> [u8; OURS] {
        let mut cookie = [0; OURS];
        cookie[..8].copy_from_slice(&head);
        let mut input = [0; CLIENT + 8 + 16];
        input[..CLIENT].copy_from_slice(client);
        input[CLIENT..16].copy_from_slice(&head);
        let length = match address.to_canonical() {
            IpAddr::V4(address) => {
                input[16..20].copy_from_slice(&address.octets());
                20
            }
            IpAddr::V6(address) => {
                input[16..].copy_from_slice(&address.octets());
                32
            }
        };
        cookie[8..].copy_from_slice(&sip_2_4(self.0, &input[..length]).to_le_bytes());
        cookie
    }
}

/// SipHash-2-4, which the standard library has under a name that it deprecates for hash maps.
#[expect(
    deprecated,
    reason = "DefaultHasher may change its algorithm; SipHasher is documented to be SipHash 2-4"
)]
fn sip_2_4(key: [u8; 16], input: &[u8]) -> u64 {
    let [low, high] = [0, 8].map(|at| {
        let octets = key[at..].first_chunk().expect("a half of a key has eight octets");
        u64::from_le_bytes(*octets)
    });
    let mut hasher = std::hash::SipHasher::new_with_keys(low, high);
    hasher.write(input);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    /// One of the vectors: the query's cookie at a time, and the server cookie of the answer.
    #[track_caller]
    fn check(secret: &str, address: &str, query: &str, now: u32, status: CookieStatus, answer: &str) {
        let secret = Secret::new(bytes(secret));
        let address = address.parse().unwrap();
        let cookie = Cookie::read(&hex::decode(query).unwrap()).unwrap();
        assert_eq!(secret.judge(Some(&cookie), address, now), status);
        let server = secret.make(&cookie.client, address, now);
        assert_eq!(hex::encode(server), answer);
        let shown = Cookie { server: server.to_vec(), ..cookie };
        assert_eq!(secret.judge(Some(&shown), address, now), CookieStatus::Good);
    }

    #[test]
    fn vectors_of_rfc_9018_appendix_a() {
        let secret = "e5e973e5a6b2a43f48e7dc849e37bfcf";
        check(
            secret,
            "198.51.100.100",
            "2464c4abcf10c957",
            1_559_731_985,
            CookieStatus::OnlyClient,
            "010000005cf79f111f8130c3eee29480",
        );
        check(
            secret,
            "198.51.100.100",
            "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            1_559_734_385,
            CookieStatus::Good,
            "010000005cf7a871d4a564a1442aca77",
        );
        // Its reserved octets are not zero, and part of what is hashed.
        check(
            secret,
            "203.0.113.203",
            "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
            1_559_734_700,
            CookieStatus::Bad, // 97 minutes old
            "010000005cf7a9acf73a7810aca2381e",
        );
        let secret = Secret::new(bytes("e5e973e5a6b2a43f48e7dc849e37bfcf"));
        let old = Cookie::read(&bytes::<24>("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5")).unwrap();
        let of = "203.0.113.203".parse().unwrap();
        assert_eq!(secret.judge(Some(&old), of, 0x5cf7_8f71 + 60), CookieStatus::Good);
        // The secret of the server has changed.
        check(
            "445536bcd2513298075a5d379663c962",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
            1_559_741_961,
            CookieStatus::Bad,
            "010000005cf7c609a6bb79d16625507a",
        );
        let before = Secret::new(bytes("dd3bdf9344b678b185a6f5cb60fca715"));
        let shown = Cookie::read(&bytes::<24>("22681ab97d52c298010000005cf7c57926556bd0934c72f8")).unwrap();
        let of = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();
        assert_eq!(before.judge(Some(&shown), of, 1_559_741_961), CookieStatus::Good);
    }

    #[test]
    fn a_cookie_is_good_for_an_hour_at_one_address() {
        let (secret, now) = (Secret::new([7; 16]), 1_000_000);
        let (home, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let cookie = Cookie { client: [1; 8], server: secret.make(&[1; 8], home, now).to_vec() };
        let judge = |address, now| secret.judge(Some(&cookie), address, now);
        for (now, status) in [
            (now + LIFETIME, CookieStatus::Good),
            (now + LIFETIME + 1, CookieStatus::Bad),
            (now - AHEAD, CookieStatus::Good),
            (now - AHEAD - 1, CookieStatus::Bad),
        ] {
            assert_eq!(judge(home, now), status, "at {now}");
        }
        assert_eq!(judge(other, now), CookieStatus::Bad);
        assert_eq!(judge("::ffff:192.0.2.1".parse().unwrap(), now), CookieStatus::Good);
        assert_eq!(secret.judge(None, home, now), CookieStatus::Absent);
        assert_eq!(Secret::new([8; 16]).judge(Some(&cookie), home, now), CookieStatus::Bad);
        let mut version = cookie.clone();
        version.server[0] = 2;
        let long = Cookie { server: vec![1; 32], ..cookie.clone() };
        for bad in [version, long] {
            assert_eq!(secret.judge(Some(&bad), home, now), CookieStatus::Bad);
        }
    }

    #[test]
    fn a_time_that_wraps_round_is_no_old_one() {
        let (secret, home) = (Secret::new([7; 16]), "192.0.2.1".parse().unwrap());
        let cookie = Cookie { client: [1; 8], server: secret.make(&[1; 8], home, u32::MAX).to_vec() };
        assert_eq!(secret.judge(Some(&cookie), home, 10), CookieStatus::Good);
    }

    #[test]
    fn lengths_of_rfc_7873_section_4() {
        for (octets, read) in
            [(0, false), (7, false), (8, true), (9, false), (15, false), (16, true), (40, true), (41, false)]
        {
            assert_eq!(Cookie::read(&vec![1; octets]).is_some(), read, "{octets} octets");
        }
    }
}
