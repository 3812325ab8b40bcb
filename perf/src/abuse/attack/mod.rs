//! What the attacks send. Each is a small type that knows how to send its next packet; [`super::row`] says
//! which row of the threat table it belongs to and what must hold.

pub(crate) mod foreign;
pub(crate) mod forge;
pub(crate) mod member;
pub(crate) mod onpath;

use std::io;

/// A stream of hostile packets.
pub(crate) trait Attack: std::fmt::Debug + Send {
    /// Sends the next packet.
    ///
    /// # Errors
    /// When the kernel does not take it: it is counted and the next one is tried.
    fn fire(&mut self) -> io::Result<()>;

    /// Bytes that came to addresses only the attack uses, since the last call.
    fn replies(&mut self) -> u64 {
        0
    }
}
