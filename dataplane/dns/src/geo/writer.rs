//! Writes small databases in the MaxMind DB format (MaxMind DB File Format Specification 2.0), for tests.

use ipnet::IpNet;

/// Degrees north and east.
pub(crate) type Degrees = (f64, f64);
pub(crate) const DUBLIN: Degrees = (53.3, -6.2);
pub(crate) const FRANKFURT: Degrees = (50.1, 8.7);
pub(crate) const MADRID: Degrees = (40.4, -3.7);
pub(crate) const VIRGINIA: Degrees = (38.9, -77.4);

/// A network of our own, with one inside that is elsewhere, one of IPv6, and one whose place is not known.
pub(crate) fn sample() -> Vec<u8> {
    write(
        "Hanse-Test-City",
        &[
            ("198.51.100.0/24", Some(FRANKFURT)),
            ("198.51.100.128/25", Some(DUBLIN)),
            ("203.0.113.0/24", Some(VIRGINIA)),
            ("2001:db8:5::/48", Some(MADRID)),
            ("192.0.2.0/24", None),
        ],
    )
}

/// A database of one network.
pub(crate) fn with_record(network: &str, at: Option<Degrees>) -> Vec<u8> {
    write("Hanse-Test-City", &[(network, at)])
}

/// A child of a node.
#[derive(Clone, Copy, PartialEq)]
enum Child {
    Nothing,
    Node(usize),
    Data(usize),
}

/// The database of these networks. A network within another comes after it.
fn write(database_type: &str, networks: &[(&str, Option<Degrees>)]) -> Vec<u8> {
    let mut nodes = vec![[Child::Nothing; 2]];
    let mut data = Vec::new();
    for (network, at) in networks {
        let place = data.len();
        record(&mut data, *at);
        insert(&mut nodes, network.parse().unwrap(), place);
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for child in nodes.iter().flatten() {
        // The specification, "Search Tree": a value above the number of nodes leads into the data, behind 16 octets.
        let value = match child {
            Child::Nothing => count,
            Child::Node(node) => *node,
            Child::Data(place) => count + 16 + place,
        };
        file.extend(&u32::try_from(value).unwrap().to_be_bytes()[1..]);
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    metadata(&mut file, database_type, count);
    file
}

/// Puts a leaf at the network. A leaf on the way there becomes a node with the leaf on both sides.
fn insert(nodes: &mut Vec<[Child; 2]>, network: IpNet, place: usize) {
    // A tree of IPv6 has IPv4 at ::/96.
    let (bits, length) = match network {
        IpNet::V4(net) => (u128::from(u32::from(net.network())), 96 + usize::from(net.prefix_len())),
        IpNet::V6(net) => (u128::from(net.network()), usize::from(net.prefix_len())),
    };
    let side = |depth: usize| usize::from(bits >> (127 - depth) & 1 == 1);
    let mut node = 0;
    for depth in 0..length - 1 {
        node = match nodes[node][side(depth)] {
            Child::Node(next) => next,
            child => {
                nodes.push([child; 2]);
                nodes[node][side(depth)] = Child::Node(nodes.len() - 1);
                nodes.len() - 1
            }
        };
    }
    nodes[node][side(length - 1)] = Child::Data(place);
}

fn record(to: &mut Vec<u8>, at: Option<Degrees>) {
    map(to, 2);
    text(to, "country");
    map(to, 1);
    text(to, "iso_code");
    text(to, "XX");
    text(to, "location");
    let Some((latitude, longitude)) = at else { return map(to, 0) };
    map(to, 2);
    for (name, degrees) in [("latitude", latitude), ("longitude", longitude)] {
        text(to, name);
        to.push(3 << 5 | 8);
        to.extend(degrees.to_be_bytes());
    }
}

fn metadata(to: &mut Vec<u8>, database_type: &str, nodes: usize) {
    map(to, 9);
    for (name, value) in [
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
        ("ip_version", 6),
        ("record_size", 24),
    ] {
        text(to, name);
        to.push(5 << 5 | 2);
        to.extend(u16::to_be_bytes(value));
    }
    text(to, "node_count");
    to.push(6 << 5 | 4);
    to.extend(u32::try_from(nodes).unwrap().to_be_bytes());
    text(to, "build_epoch");
    to.extend([8, 2]); // an extended type: 64 bits without a sign
    to.extend(1_790_000_000_u64.to_be_bytes());
    text(to, "database_type");
    text(to, database_type);
    text(to, "description");
    map(to, 1);
    text(to, "en");
    text(to, "Networks for tests");
    text(to, "languages");
    to.extend([1, 4]); // an extended type: a list, of one
    text(to, "en");
}

fn map(to: &mut Vec<u8>, pairs: u8) {
    to.push(7 << 5 | pairs);
}

fn text(to: &mut Vec<u8>, text: &str) {
    // The lengths from 29 on stand in a further octet.
    let length = u8::try_from(text.len()).unwrap();
    match length {
        0..29 => to.push(2 << 5 | length),
        29.. => to.extend([2 << 5 | 29, length - 29]),
    }
    to.extend(text.as_bytes());
}
