//! An Opus packet as a payload: the packet is the payload and is never cut (RFC 7587 section 4.2).

use super::duration;
use crate::bytes::{WriteError, put};
use crate::payload::packetize::Packed;

/// Writes the one payload of an Opus packet.
#[derive(Clone, Debug)]
pub struct Packetizer<'a> {
    packet: &'a [u8],
}

impl<'a> Packetizer<'a> {
    /// A packetiser of `packet`.
    ///
    /// # Errors
    /// [`WriteError::Value`] when `packet` is no Opus packet, [`WriteError::Space`] when it is longer than
    /// `payload_max`.
    pub fn new(packet: &'a [u8], payload_max: usize) -> Result<Packetizer<'a>, WriteError> {
        duration(packet).ok_or(WriteError::Value)?;
        if packet.len() > payload_max {
            return Err(WriteError::Space);
        }
        Ok(Packetizer { packet })
    }

    /// Writes the payload into `out`; `None` when it is written. The marker begins a talk spurt (RFC 7587
    /// section 4.1), which only the caller knows: here it is never set.
    ///
    /// # Errors
    /// [`WriteError::Space`] when `out` is too short.
    pub fn next(&mut self, out: &mut [u8]) -> Result<Option<Packed>, WriteError> {
        if self.packet.is_empty() {
            return Ok(None);
        }
        put(out, 0, self.packet)?;
        let len = std::mem::take(&mut self.packet).len();
        Ok(Some(Packed { len, marker: false }))
    }
}
