//! How data of Secrets is sealed with a version of the federation key.
//!
//! ```text
//! K_seal  = HMAC-SHA256(K, "hanse secret 1: seal")
//! K_nonce = HMAC-SHA256(K, "hanse secret 1: nonce")
//! place   = lp(organization) lp(name) lp(field)          lp(x): the length of x in 8 bytes, big-endian, then x
//! nonce   = the first 12 bytes of HMAC-SHA256(K_nonce, place lp(data))
//! aad     = "hanse secret 1" version place               version: 4 bytes, big-endian
//! sealed  = nonce AES-256-GCM-SIV(K_seal, nonce, aad, data)
//! ```
//!
//! The nonce follows from place and data. So equal data in one place gives equal bytes under one version, and an apply that changes
//! nothing is seen without a key. It shows that much to a reader of the bytes: that two values of one field are equal, and how long
//! they are.

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use hanse_process::seeded;

use super::key::Key;

/// Separates Secrets from all else that is sealed.
const SECRET: &[u8] = b"hanse secret 1";

/// A seeded bug: data is stored as it is.
const UNSEALED: &str = "secrets-unsealed";

/// Where a value belongs. It opens there and nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The Organization that owns the Secret.
    pub(crate) organization: &'a str,
    /// The Secret.
    pub(crate) name: &'a str,
    /// The field.
    pub(crate) field: &'a str,
}

impl Place<'_> {
    /// Every part with its length before it, so that no two places spell the same.
    fn spelled(&self) -> Vec<u8> {
        let mut spelled = Vec::new();
        for part in [self.organization, self.name, self.field] {
            put(&mut spelled, part.as_bytes());
        }
        spelled
    }
}

/// Seals `data` with this version of the federation key.
pub(crate) fn seal(key: &Key, version: u32, place: Place<'_>, data: &[u8]) -> Vec<u8> {
    if seeded(UNSEALED) {
        return data.to_vec();
    }
    let mut tagged = place.spelled();
    put(&mut tagged, data);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, derived(key, "nonce").as_ref()), &tagged);
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&tag.as_ref()[..NONCE_LEN]);
    let mut text = data.to_vec();
    sealer(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(version, place), &mut text)
        .expect("values are far below the algorithm's limit of 64 GiB");
    [&nonce[..], &text].concat()
}

/// Opens what was sealed with this version for this place. `None`: it was altered, or belongs elsewhere, or the key is another.
pub(crate) fn open(key: &Key, version: u32, place: Place<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
    if seeded(UNSEALED) {
        return Some(sealed.to_vec());
    }
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = sealer(key).open_in_place(nonce, aad(version, place), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

fn sealer(key: &Key) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM_SIV, derived(key, "seal").as_ref());
    LessSafeKey::new(key.expect("a SHA-256 has the algorithm's length"))
}

/// The key for one use.
fn derived(key: &Key, used: &str) -> hmac::Tag {
    let text = [SECRET, b": ", used.as_bytes()].concat();
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.bytes()), &text)
}

fn aad(version: u32, place: Place<'_>) -> Aad<Vec<u8>> {
    Aad::from([SECRET, &version.to_be_bytes(), &place.spelled()].concat())
}

fn put(into: &mut Vec<u8>, part: &[u8]) {
    into.extend(u64::try_from(part.len()).expect("a usize fits into 64 bits").to_be_bytes());
    into.extend(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { organization: "shop", name: "upstream", field: "password" };
    const DATA: &[u8] = b"correct horse";

    /// Control nodes of later releases open what this one sealed.
    #[test]
    fn sealed_data_stays_what_it_was() {
        let sealed = seal(&Key::from([7; 32]), 3, PLACE, DATA);
        assert_eq!(hex::encode(&sealed), FIXED);
        assert_eq!(open(&Key::from([7; 32]), 3, PLACE, &sealed).as_deref(), Some(DATA));
    }

    /// As another library makes it, too.
    const FIXED: &str = "e38306af952c510059a80eb4ce11202c263f6877006e79723beb8237f5f503b2ac7c8d10492fe436aa";

    #[test]
    fn a_value_opens_where_it_belongs_and_nowhere_else() {
        let key = Key::from([7; 32]);
        let sealed = seal(&key, 3, PLACE, DATA);
        assert!(!sealed.windows(4).any(|window| DATA.windows(4).any(|data| data == window)));
        for wrong in [
            Place { organization: "other", ..PLACE },
            Place { name: "upstreampass", field: "word", ..PLACE },
            Place { field: "passwor", ..PLACE },
            Place { organization: "shopup", name: "stream", ..PLACE },
        ] {
            assert_eq!(open(&key, 3, wrong, &sealed), None, "{wrong:?}");
        }
        assert_eq!(open(&key, 4, PLACE, &sealed), None);
        assert_eq!(open(&Key::from([8; 32]), 3, PLACE, &sealed), None);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(open(&key, 3, PLACE, &altered), None, "byte {at}");
            assert_eq!(open(&key, 3, PLACE, &sealed[..at]), None, "the first {at} bytes");
        }
    }

    #[test]
    fn equal_data_gives_equal_bytes_in_one_place_under_one_version_only() {
        let key = Key::from([7; 32]);
        let sealed = seal(&key, 3, PLACE, DATA);
        assert_eq!(seal(&key, 3, PLACE, DATA), sealed);
        let others = [
            seal(&key, 3, PLACE, b"correct horsf"),
            seal(&key, 4, PLACE, DATA),
            seal(&Key::from([8; 32]), 3, PLACE, DATA),
            seal(&key, 3, Place { name: "other", ..PLACE }, DATA),
        ];
        assert!(others.iter().all(|other| other[NONCE_LEN..] != sealed[NONCE_LEN..]), "{others:?}");
        assert_eq!(open(&key, 3, PLACE, &seal(&key, 3, PLACE, b"")), Some(Vec::new()));
    }
}
