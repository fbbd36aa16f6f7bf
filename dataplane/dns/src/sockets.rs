//! Listening sockets: for each address one of UDP and one of TCP per serving thread.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted: more than may be open. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1_024;
/// Bytes of queries that may wait for a thread that has no turn: some 10,000 of them. The kernel caps it at `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Tries to find one port that is free for both, where the kernel is to choose.
const TRIES: usize = 16;

/// What one serving thread listens on at one address.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
}

/// Binds `count` pairs to one address. With port 0 the kernel chooses one port for all. The kernel spreads queries over them by the address
/// and port of their senders.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<Pair>> {
    let mut tries = 1;
    loop {
        match bind_at(address, count) {
            // The port that is free for UDP may be taken for TCP.
            Err(error)
                if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && tries < TRIES =>
            {
                tries += 1;
            }
            bound => return bound,
        }
    }
}

fn bind_at(address: SocketAddr, count: usize) -> io::Result<Vec<Pair>> {
    // Sockets that share a port hide that another process has it. So ask for it alone first.
    let udp = udp_socket(address, false)?;
    let address = udp.local_addr()?.as_socket().unwrap_or(address);
    let tcp = tcp_socket(address, false)?;
    if count == 1 {
        tcp.listen(BACKLOG)?;
        return Ok(vec![Pair { udp: udp.into(), tcp: tcp.into() }]);
    }
    drop((udp, tcp));
    let one = |_| {
        let tcp = tcp_socket(address, true)?;
        tcp.listen(BACKLOG)?;
        Ok(Pair { udp: udp_socket(address, true)?.into(), tcp: tcp.into() })
    };
    (0..count).map(one).collect()
}

fn udp_socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = socket(address, shared, Type::DGRAM, Protocol::UDP)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER); // a smaller one loses queries in a burst, and no more
    socket.bind(&address.into())?;
    Ok(socket)
}

fn tcp_socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = socket(address, shared, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?; // a restart must not wait for connections in TIME_WAIT
    socket.bind(&address.into())?;
    Ok(socket)
}

fn socket(address: SocketAddr, shared: bool, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, kind, Some(protocol))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?; // `[::]:53` and `0.0.0.0:53` are two addresses, and both may be listened on
    }
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pairs_have_one_address_which_no_other_process_gets() {
        for count in [1, 3] {
            let pairs = bind("127.0.0.1:0".parse().unwrap(), count).unwrap();
            assert_eq!(pairs.len(), count);
            let address = pairs[0].udp.local_addr().unwrap();
            for pair in &pairs {
                assert_eq!(pair.udp.local_addr().unwrap(), address);
                assert_eq!(pair.tcp.local_addr().unwrap(), address);
            }
            assert_eq!(bind(address, count).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }
}
