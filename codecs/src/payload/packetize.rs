//! What the packetisers share: each is made of one frame and writes one payload a call, until it has none
//! left. Header, sequence number and timestamp are the caller's.

use crate::bytes::{WriteError, put};

/// A payload that a packetiser wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Octets.
    pub len: usize,
    /// What the RTP marker is to be: the payload is the last of its frame.
    pub marker: bool,
}

/// A frame that is cut anywhere, each piece behind a descriptor.
#[derive(Clone, Debug)]
pub(super) struct Pieces<'a> {
    rest: &'a [u8],
    payload_max: usize,
}

impl<'a> Pieces<'a> {
    /// `head_max` is the length of the longest descriptor.
    pub(super) fn new(
        frame: &'a [u8],
        payload_max: usize,
        head_max: usize,
    ) -> Result<Pieces<'a>, WriteError> {
        if frame.is_empty() {
            return Err(WriteError::Value);
        }
        if payload_max <= head_max {
            return Err(WriteError::Space);
        }
        Ok(Pieces {
            rest: frame,
            payload_max,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A piece behind a descriptor of `head_len` octets is the last one.
    pub(super) fn is_last(&self, head_len: usize) -> bool {
        self.rest.len() <= self.payload_max.saturating_sub(head_len)
    }

    /// Writes `head` and the next piece, returns the payload's length.
    pub(super) fn write(&mut self, out: &mut [u8], head: &[u8]) -> Result<usize, WriteError> {
        if out.len() < self.payload_max {
            return Err(WriteError::Space);
        }
        let room = self.payload_max.saturating_sub(head.len());
        let (piece, rest) = self.rest.split_at_checked(room).unwrap_or((self.rest, &[]));
        put(out, 0, head)?;
        put(out, head.len(), piece)?;
        self.rest = rest;
        Ok(head.len().saturating_add(piece.len()))
    }
}
