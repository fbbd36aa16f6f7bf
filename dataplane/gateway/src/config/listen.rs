//! Where a gateway listens for clients, and where clients reach it.

use std::{borrow::Cow, fmt, marker::PhantomData, net::IpAddr};

use hanse_topology::Exposure;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::InvalidConfig;
use crate::table::{Face, Protocol};

/// Entries of one protocol: a gateway is in a few networks, and each entry takes a descriptor per serving thread from those of clients.
const MOST_ENTRIES: usize = 8;

/// `[listen]`: the addresses that a gateway listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Plain HTTP/1.1 for clients.
    #[serde(default, skip_serializing_if = "Entries::is_empty")]
    pub http: Entries,
    /// HTTP/1.1 and HTTP/2 over TLS for clients.
    #[serde(default, skip_serializing_if = "Entries::is_empty")]
    pub https: Entries,
    /// Health, metrics and a summary of the configuration, `host:port`: keep it on loopback.
    pub admin: String,
}

/// The entries of one protocol: a text, a table, or a list of those.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries(pub Vec<Entry>);

/// One address for clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Entry {
    /// `host:port`.
    pub address: String,
    /// Which environments it serves: an external entry none that is internal.
    #[serde(default)]
    pub exposure: Exposure,
    /// Whether connections begin with a PROXY header, before TLS.
    #[serde(default)]
    pub proxy_protocol: bool,
}

/// Where clients reach the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Advertised {
    /// `https://HOST` or `http://HOST`, with the port where it is another than the scheme's.
    pub url: String,
    /// To which entries it leads.
    #[serde(default)]
    pub exposure: Exposure,
}

impl Listen {
    /// Every entry for clients, with its protocol and its key in the file: `http`, or `http[1]` in a list.
    pub fn entries(&self) -> impl Iterator<Item = (Protocol, String, &Entry)> {
        [(Protocol::Http, &self.http), (Protocol::Https, &self.https)].into_iter().flat_map(
            |(protocol, entries)| {
                let is_list = entries.0.len() > 1;
                entries.0.iter().enumerate().map(move |(at, entry)| {
                    let name = protocol.as_str();
                    (protocol, if is_list { format!("{name}[{at}]") } else { name.to_owned() }, entry)
                })
            },
        )
    }

    /// The ways to the gateway, each once.
    pub fn faces(&self) -> Vec<Face> {
        let mut faces: Vec<_> =
            self.entries().map(|(protocol, _, entry)| (protocol, entry.exposure)).collect();
        faces.sort_by_key(|(protocol, exposure)| (*protocol, exposure.as_str()));
        faces.dedup();
        faces
    }

    /// Refuses entries that cannot work.
    pub(super) fn check(&self, has_trusted_proxies: bool, tunnel: Option<&str>) -> Result<(), InvalidConfig> {
        let refuse = |key: Cow<'static, str>, why| Err(InvalidConfig { key, why });
        if self.http.is_empty() && self.https.is_empty() {
            return refuse("listen".into(), "name at least one of http and https, \"0.0.0.0:8080\"");
        }
        for (key, entries) in [("listen.http", &self.http), ("listen.https", &self.https)] {
            if entries.0.len() > MOST_ENTRIES {
                return refuse(key.into(), "name at most 8 addresses: 0.0.0.0 stands for all of IPv4");
            }
        }
        let mut seen: Vec<(String, Address<'_>)> = Vec::new();
        let entries = self
            .entries()
            .map(|(_, key, entry)| (format!("listen.{key}"), &*entry.address, entry.proxy_protocol));
        let of_tunnel = tunnel.map(|address| ("tunnel.listen".to_owned(), address, false));
        for (key, address, proxy_protocol) in entries.chain(of_tunnel) {
            let Some(address) = Address::read(address) else {
                return refuse(key.into(), "its address is HOST:PORT, such as \"0.0.0.0:8080\"");
            };
            if let Some((other, _)) = seen.iter().find(|(_, other)| address.overlaps(other)) {
                let why = "they share an address, and connections would reach either: give each a port or an address of its own \
                           (0.0.0.0 stands for all of IPv4, [::] for all addresses)";
                return refuse(format!("{other} and {key}").into(), why);
            }
            seen.push((key.clone(), address));
            if proxy_protocol && !has_trusted_proxies {
                let why = "name in trusted_proxies who may say it: \"10.0.0.0/8\"";
                return refuse(format!("{key}.proxy_protocol").into(), why);
            }
        }
        Ok(())
    }
}

/// An address to listen on, as written.
struct Address<'a> {
    host: &'a str,
    /// `host`, where it is no name.
    ip: Option<IpAddr>,
    port: u16,
}

impl<'a> Address<'a> {
    /// `HOST:PORT`.
    fn read(text: &'a str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':').filter(|(host, _)| !host.is_empty())?;
        let unbracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Some(Self { host, ip: unbracketed.unwrap_or(host).parse().ok(), port: port.parse().ok()? })
    }

    /// Whether both surely have an address in common. What names stand for is not known here.
    fn overlaps(&self, other: &Self) -> bool {
        let covers = |one: &Self, other: &Self| match one.ip {
            Some(IpAddr::V4(all)) if all.is_unspecified() => matches!(other.ip, Some(IpAddr::V4(_))),
            Some(IpAddr::V6(all)) if all.is_unspecified() => true,
            Some(ip) => other.ip == Some(ip),
            None => one.host.eq_ignore_ascii_case(other.host),
        };
        // The kernel chooses another for each port 0.
        self.port == other.port && self.port != 0 && (covers(self, other) || covers(other, self))
    }
}

impl Entries {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What may be written as a text alone, or as a table that says more.
trait Short: Sized {
    /// What a file should have there.
    const WANTED: &str;

    fn of_text(text: &str) -> Self;
    fn of_table<'de, D: Deserializer<'de>>(table: D) -> Result<Self, D::Error>;
}

impl Short for Entry {
    const WANTED: &str =
        "an address, \"0.0.0.0:8080\" or { address = \"10.0.0.5:8080\", exposure = \"internal\" }";

    fn of_text(text: &str) -> Self {
        Self { address: text.to_owned(), exposure: Exposure::External, proxy_protocol: false }
    }

    fn of_table<'de, D: Deserializer<'de>>(table: D) -> Result<Self, D::Error> {
        Self::deserialize(table)
    }
}

impl Short for Advertised {
    const WANTED: &str =
        "a URL, \"https://api.example.com\" or { url = \"https://10.0.0.5:8443\", exposure = \"internal\" }";

    fn of_text(text: &str) -> Self {
        Self { url: text.to_owned(), exposure: Exposure::External }
    }

    fn of_table<'de, D: Deserializer<'de>>(table: D) -> Result<Self, D::Error> {
        Self::deserialize(table)
    }
}

/// Reads a text or a table.
struct OfShort<T>(PhantomData<T>);

impl<'de, T: Short> Visitor<'de> for OfShort<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Ok(T::of_text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
        T::of_table(MapAccessDeserializer::new(table))
    }
}

/// Reads one entry, or a list of them.
struct OfEntries;

impl<'de> Visitor<'de> for OfEntries {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a list of them", Entry::WANTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Entries, E> {
        Ok(Entries(vec![Entry::of_text(text)]))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Entries, A::Error> {
        Ok(Entries(vec![Entry::of_table(MapAccessDeserializer::new(table))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfEntries)
    }
}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => Serialize::serialize(one, serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfShort(PhantomData))
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self == Self::of_text(&self.address) {
            true => serializer.serialize_str(&self.address),
            false => Self::serialize(self, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Advertised {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfShort(PhantomData))
    }
}

impl Serialize for Advertised {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.exposure {
            Exposure::External => serializer.serialize_str(&self.url),
            Exposure::Internal => Self::serialize(self, serializer),
        }
    }
}
