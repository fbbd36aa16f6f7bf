//! What the kernel says of connections: how many a port serves, and how many bytes went over them.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{bench::MissingPeer, spec};

const SS: MissingPeer = MissingPeer { tool: "ss", package: "iproute2" };

/// Whether bytes can be counted here.
pub(super) fn find() -> Result<(), MissingPeer> {
    Command::new(SS.tool).arg("-V").output().map(drop).map_err(|_| SS)
}

/// How many connections the federation port at this address serves.
pub(super) fn served(address: Ipv4Addr) -> Result<usize> {
    let table = fs::read_to_string("/proc/net/tcp").context("/proc/net/tcp")?;
    Ok(established(&table, address, spec::FEDERATION))
}

/// The lines of `/proc/net/tcp` of connections to this address and port that stand.
fn established(table: &str, address: Ipv4Addr, port: u16) -> usize {
    let local = format!("{:08X}:{port:04X}", u32::from_le_bytes(address.octets()));
    let stands = |line: &&str| {
        // The local address is the second column, the state the fourth: 01 is established.
        let mut columns = line.split_whitespace().skip(1);
        columns.next() == Some(local.as_str()) && columns.nth(1) == Some("01")
    };
    table.lines().filter(stands).count()
}

/// The bytes sent and received over the connections that federation ports serve, by address.
pub(super) fn carried() -> Result<BTreeMap<Ipv4Addr, u64>> {
    let filter = format!("sport = :{}", spec::FEDERATION);
    let output = Command::new(SS.tool).args(["-tinH", "state", "established", &filter]).output()?;
    ensure!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(sums(&String::from_utf8(output.stdout)?))
}

/// A line of addresses and a line of details of each connection.
fn sums(text: &str) -> BTreeMap<Ipv4Addr, u64> {
    let port = format!(":{}", spec::FEDERATION);
    let mut sums = BTreeMap::new();
    let mut at = None;
    for word in text.split_whitespace() {
        if let Some(address) = word.strip_suffix(port.as_str()).and_then(|address| address.parse().ok()) {
            at = Some(address);
        }
        let bytes = word.strip_prefix("bytes_sent:").or_else(|| word.strip_prefix("bytes_received:"));
        if let (Some(at), Some(bytes)) = (at, bytes.and_then(|bytes| bytes.parse::<u64>().ok())) {
            *sums.entry(at).or_default() += bytes;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_port_are_counted() {
        let table = "  sl  local_address rem_address   st\n   \
                     0: 0201407F:1D14 0100007F:D431 01 00000000:00000000\n   \
                     1: 0201407F:1D14 00000000:0000 0A 00000000:00000000\n   \
                     2: 0301407F:1D14 0100007F:D432 01 00000000:00000000\n   \
                     3: 0100007F:D431 0201407F:1D14 01 00000000:00000000\n";
        assert_eq!(established(table, Ipv4Addr::new(127, 64, 1, 2), spec::FEDERATION), 1);
        assert_eq!(established(table, Ipv4Addr::new(127, 64, 1, 4), spec::FEDERATION), 0);
    }

    #[test]
    fn bytes_are_summed_by_address() {
        let text = "0 0 127.64.1.2:7444 127.0.0.1:54321\n\t cubic rto:201 bytes_sent:10 bytes_acked:10 bytes_received:5 segs_out:9\n\
                    0 0 127.64.1.2:7444 127.0.0.1:54322\n\t cubic bytes_sent:1 bytes_received:2\n\
                    0 0 127.64.1.3:7444 127.0.0.1:54323\n\t cubic bytes_received:7\n";
        let expected = [([127, 64, 1, 2].into(), 18), ([127, 64, 1, 3].into(), 7)].into();
        assert_eq!(sums(text), expected);
    }
}
