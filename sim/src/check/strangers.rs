//! Not a byte goes to anybody who is not here.

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Datagrams go only to addresses from which a session's own peer has sent.
#[derive(Debug, Default)]
pub struct Strangers {
    known: BTreeSet<SocketAddr>,
}

impl Strangers {
    /// Its name.
    pub const NAME: &'static str = "Strangers";

    /// A peer is, or was, here.
    pub(super) fn introduce(&mut self, address: SocketAddr) {
        self.known.insert(address);
    }

    pub(super) fn judge(&self, to: SocketAddr, len: usize) -> Option<String> {
        (!self.known.contains(&to)).then(|| format!("{len} bytes to {to}, whom nobody knows"))
    }
}
