//! Addresses that clients and other name servers are told.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use hanse_topology::of_no_host;

use crate::{Unusable, field};

/// The most addresses of one region for a host, and of one name server: with both families, four ways in.
pub const MAX_ADDRESSES: usize = 8;

/// The addresses in the field `addresses`: each once, and each of one host.
pub(crate) fn addresses(octets: &[Bytes]) -> Result<Vec<IpAddr>, Unusable> {
    const FIELD: &str = "addresses";
    field::within("addresses", FIELD, octets.len(), MAX_ADDRESSES)?;
    let one = |(at, octets): (usize, &Bytes)| {
        address(octets).map_err(|why| Unusable::new(format!("{FIELD}[{at}]"), why))
    };
    let addresses = octets.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    field::distinct(FIELD, &addresses)?;
    Ok(addresses)
}

fn address(octets: &[u8]) -> Result<IpAddr, String> {
    let four = || <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let six = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    let address = four()
        .or_else(|_| six())
        .map_err(|_| format!("{} octets are no address: give 4 or 16", octets.len()))?;
    if let Some(why) = of_no_host(address) {
        return Err(format!("{address} {why}"));
    }
    Ok(address)
}

/// The IP address and the port in a field.
pub(crate) fn socket(field: &str, text: &str) -> Result<SocketAddr, Unusable> {
    let refused = |why: &str| Err(Unusable::new(field, format!("{text:?} {why}")));
    match text.parse::<SocketAddr>() {
        Ok(address) if address.to_string() != text => refused("is written in another form"),
        Ok(address) if address.port() == 0 => refused("has no port"),
        Ok(address) => match of_no_host(address.ip()) {
            Some(why) => refused(why),
            None => Ok(address),
        },
        Err(_) => refused("is no IP address with a port, such as 192.0.2.9:53 or [2001:db8::9]:53"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_that_clients_can_be_told() {
        let octets = |address: &str| -> Bytes {
            match address.parse().unwrap() {
                IpAddr::V4(four) => four.octets().to_vec().into(),
                IpAddr::V6(six) => six.octets().to_vec().into(),
            }
        };
        for good in ["192.0.2.7", "127.0.0.2", "10.0.0.1", "2001:db8::7"] {
            assert_eq!(addresses(&[octets(good)]).unwrap(), [good.parse::<IpAddr>().unwrap()]);
        }
        let check = |given: &[Bytes], field: &str, why: &str| {
            let unusable = addresses(given).unwrap_err();
            assert!(unusable.field == field && unusable.reason.contains(why), "{unusable}");
        };
        check(&[octets("10.0.0.1"), vec![1; 5].into()], "addresses[1]", "give 4 or 16");
        check(&[Bytes::new()], "addresses[0]", "0 octets");
        for (bad, why) in [
            ("0.0.0.0", "nowhere"),
            ("::", "nowhere"),
            ("224.0.0.1", "group"),
            ("ff02::1", "group"),
            ("::ffff:10.0.0.1", "give it as IPv4"),
        ] {
            check(&[octets(bad)], "addresses[0]", why);
        }
        check(&[octets("10.0.0.1"), octets("10.0.0.1")], "addresses[1]", "there already");
        let many: Vec<Bytes> = (0..=8).map(|at| octets(&format!("10.0.0.{at}"))).collect();
        check(&many, "addresses", "more than 8");
        assert_eq!(addresses(&many[1..]).unwrap().len(), MAX_ADDRESSES);
    }

    #[test]
    fn a_server_is_an_ip_address_with_a_port() {
        for good in ["192.0.2.9:53", "[2001:db8::9]:5353", "127.0.0.1:5300"] {
            assert_eq!(socket("server", good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "192.0.2.9",
            "192.0.2.9:0",
            "192.0.2.9:053",
            "2001:db8::9:53",
            "[2001:DB8::9]:53",
            "0.0.0.0:53",
            "[::ffff:192.0.2.9]:53",
            "ns.example.com:53",
        ] {
            assert_eq!(socket("server", bad).unwrap_err().field, "server", "{bad}");
        }
    }
}
