//! Strangers: packets from many addresses the node has never validated.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::Context as _;

use super::Attack;
use super::forge::Forge;

/// Longest reply that is told apart from the next one.
const REPLY_BYTES_MAX: usize = 2048;

/// Sends what is forged from one address after the other.
#[derive(Debug)]
pub(crate) struct Foreign {
    sockets: Vec<UdpSocket>,
    next: usize,
    forge: Box<dyn Forge>,
}

impl Foreign {
    /// One socket an address, all towards `node`. Must be called where the addresses are.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub(crate) fn new(
        addresses: &[IpAddr],
        node: SocketAddr,
        forge: Box<dyn Forge>,
    ) -> anyhow::Result<Foreign> {
        let sockets = addresses
            .iter()
            .map(|&address| {
                let socket = UdpSocket::bind((address, 0))?;
                socket.connect(node)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect::<io::Result<Vec<_>>>()
            .context("cannot bind the attack's addresses; is `ulimit -n` high enough?")?;
        Ok(Foreign {
            sockets,
            next: 0,
            forge,
        })
    }
}

impl Attack for Foreign {
    fn fire(&mut self) -> io::Result<()> {
        let socket = &self.sockets[self.next % self.sockets.len()];
        self.next = self.next.wrapping_add(1);
        socket.send(self.forge.next()).map(|_| ())
    }

    fn replies(&mut self) -> u64 {
        let mut buffer = [0; REPLY_BYTES_MAX];
        let mut bytes = 0;
        for socket in &self.sockets {
            while let Ok(length) = socket.recv(&mut buffer) {
                // An empty datagram is a reply too.
                bytes += length.max(1) as u64;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::forge::BareBinding;
    use super::*;
    use std::time::Duration;

    #[test]
    fn packets_come_from_every_address_and_replies_are_counted() {
        let node = UdpSocket::bind("127.0.0.1:0").unwrap();
        node.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let addresses =
            ["127.19.0.1", "127.19.0.2", "127.19.0.3"].map(|text| text.parse().unwrap());
        let forge = Box::new(BareBinding::new());
        let mut foreign = Foreign::new(&addresses, node.local_addr().unwrap(), forge).unwrap();
        let mut buffer = [0; 64];
        let mut seen = Vec::new();
        for _ in 0..4 {
            foreign.fire().unwrap();
            let (_, from) = node.recv_from(&mut buffer).unwrap();
            seen.push(from.ip());
        }
        assert_eq!(seen[..3], addresses);
        assert_eq!(seen[3], addresses[0]);
        assert_eq!(foreign.replies(), 0);
        let target = foreign.sockets[1].local_addr().unwrap();
        node.send_to(&[0; 20], target).unwrap();
        node.send_to(&[], target).unwrap();
        assert_eq!(foreign.replies(), 21);
        assert_eq!(foreign.replies(), 0, "counted once");
    }
}
