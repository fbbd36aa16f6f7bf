//! The PROXY protocol, versions 1 and 2: a balancer's word of whose connection it hands on, before anything of the client.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// How a header of version 2 begins. No line of version 1 begins so, and none is shorter.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;
/// The longest header of version 2: what its specification asks receivers to take.
const LONGEST_HEADER: usize = 536;
/// The part of a header of version 2 that says how long it is.
const FIXED: usize = 16;

/// A client whose address the balancer does not know: a stranger, and not the balancer.
const SOME_CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    #[error("the connection ended or broke")]
    Broken(#[from] io::Error),
    #[error("it begins with no PROXY header")]
    Absent,
    #[error("its PROXY header is malformed")]
    Malformed,
    #[error("its PROXY header is too long")]
    TooLong,
}

/// Reads the header, and nothing behind it. `None`: the connection is the balancer's own, as its health checks are.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, NoHeader> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(FIXED, 0);
        stream.read_exact(&mut header[SIGNATURE.len()..]).await?;
        let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if FIXED + rest > LONGEST_HEADER {
            return Err(NoHeader::TooLong);
        }
        header.resize(FIXED + rest, 0);
        stream.read_exact(&mut header[FIXED..]).await?;
        return version_2(&header);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(NoHeader::Absent);
    }
    while !header.ends_with(b"\n") {
        let mut ahead = [0; LONGEST_LINE];
        let room = LONGEST_LINE - header.len();
        let seen = stream.peek(&mut ahead[..room]).await?;
        if seen == 0 {
            return Err(if room == 0 { NoHeader::TooLong } else { NoHeader::Absent });
        }
        // Up to the end of the line, or all: it is of the line then.
        let taken = ahead[..seen].iter().position(|&octet| octet == b'\n').map_or(seen, |end| end + 1);
        stream.read_exact(&mut ahead[..taken]).await?;
        header.extend_from_slice(&ahead[..taken]);
    }
    version_1(&header)
}

fn version_1(line: &[u8]) -> Result<Option<SocketAddr>, NoHeader> {
    let line = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.ok_or(NoHeader::Malformed)?.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Some(SOME_CLIENT));
    }
    let (Some(source), Some(_destination), Some(port), Some(_), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(NoHeader::Malformed);
    };
    let address: Option<IpAddr> = match family {
        Some("TCP4") => source.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        Some("TCP6") => source.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => None,
    };
    match (address, port.parse()) {
        (Some(address), Ok(port)) => Ok(Some(SocketAddr::new(address, port))),
        _ => Err(NoHeader::Malformed),
    }
}

fn version_2(header: &[u8]) -> Result<Option<SocketAddr>, NoHeader> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    let (command, family, addresses) = (header[12], header[13], &header[FIXED..]);
    let port = |at: usize| Some(u16::from_be_bytes(addresses.get(at..at + 2)?.try_into().ok()?));
    match (command, family >> 4) {
        (LOCAL, _) => Ok(None),
        (PROXY, 1) => {
            let source = addresses.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets));
            let source = source.zip(port(8)).ok_or(NoHeader::Malformed)?;
            Ok(Some(SocketAddr::from(source)))
        }
        (PROXY, 2) => {
            let source = addresses.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets));
            let source = source.zip(port(32)).ok_or(NoHeader::Malformed)?;
            Ok(Some(SocketAddr::from(source)))
        }
        // A family that has no IP addresses.
        (PROXY, 0 | 3) => Ok(Some(SOME_CLIENT)),
        _ => Err(NoHeader::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_version_1() {
        let of = |line: &str| version_1(line.as_bytes()).ok();
        let address = |text: &str| Some(Some(text.parse().unwrap()));
        assert_eq!(of("PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n"), address("203.0.113.7:56324"));
        assert_eq!(of("PROXY TCP6 2001:db8::7 ::1 56324 443\r\n"), address("[2001:db8::7]:56324"));
        assert_eq!(of("PROXY UNKNOWN\r\n"), address("0.0.0.0:0"));
        assert_eq!(of("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), address("0.0.0.0:0"));
        for bad in [
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443 1\r\n",
            "PROXY TCP4 2001:db8::7 ::1 56324 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n",
            "PROXY UDP4 203.0.113.7 10.0.0.1 1 2\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn headers_of_version_2() {
        let of = |command: u8, family: u8, rest: &[u8]| {
            let length = (rest.len() as u16).to_be_bytes();
            version_2(&[SIGNATURE, [command, family].as_slice(), &length, rest].concat()).ok()
        };
        let four = [203, 0, 113, 7, 10, 0, 0, 1, 0xdc, 0x04, 1, 0xbb];
        let address = |text: &str| Some(Some(text.parse().unwrap()));
        assert_eq!(of(0x21, 0x11, &four), address("203.0.113.7:56324"));
        assert_eq!(of(0x21, 0x11, &[&four[..], &[4, 0, 1, 0]].concat()), address("203.0.113.7:56324"));
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        (six[15], six[33]) = (7, 9);
        assert_eq!(of(0x21, 0x21, &six), address("[2001:db8::7]:9"));
        assert_eq!(of(0x20, 0x11, &four), Some(None), "LOCAL");
        assert_eq!(of(0x21, 0x00, &[]), address("0.0.0.0:0"), "no family");
        assert_eq!(of(0x21, 0x31, &[0; 216]), address("0.0.0.0:0"), "a socket of a file");
        for (command, family, rest) in
            [(0x11, 0x11, &four[..]), (0x22, 0x11, &four), (0x21, 0x11, &four[..9]), (0x21, 0x41, &four)]
        {
            assert_eq!(of(command, family, rest), None, "{command:x} {family:x} {rest:?}");
        }
    }
}
