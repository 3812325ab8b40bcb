//! Somebody on the path: packets that carry the addresses and ports of honest clients. They leave from the
//! clients' own sockets, which the node cannot tell from a spoofed source.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::Attack;
use super::forge::Forge;
use crate::load::peer::Seat;

/// Sends what is forged as if from one client after the other.
#[derive(Debug)]
pub(crate) struct OnPath {
    clients: Vec<(UdpSocket, SocketAddr)>,
    next: usize,
    forge: Box<dyn Forge>,
}

impl OnPath {
    /// Speaks for `seats`.
    ///
    /// # Errors
    /// When a socket cannot be duplicated.
    pub(crate) fn new<'a>(
        seats: impl IntoIterator<Item = &'a Seat>,
        forge: Box<dyn Forge>,
    ) -> io::Result<OnPath> {
        let clients = seats
            .into_iter()
            .map(|seat| Ok((seat.socket.try_clone()?, seat.node)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(OnPath {
            clients,
            next: 0,
            forge,
        })
    }
}

impl Attack for OnPath {
    fn fire(&mut self) -> io::Result<()> {
        let (socket, node) = &self.clients[self.next % self.clients.len()];
        self.next = self.next.wrapping_add(1);
        socket.send_to(self.forge.next(), *node).map(|_| ())
    }
}
