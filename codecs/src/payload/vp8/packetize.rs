//! A VP8 frame cut into payloads, each behind a descriptor (RFC 7741 section 4.2).

use super::Temporal;
use crate::bytes::{WriteError, Writer};
use crate::payload::PictureId;
use crate::payload::packetize::{Packed, Pieces};

/// X of the first octet, and S: the packet begins the frame.
const EXTENDED: u8 = 0x80;
const START: u8 = 0x10;
/// The longest descriptor: two octets of flags, two of picture id, TL0PICIDX, TID with KEYIDX.
const HEAD_MAX: usize = 6;

/// What the descriptors of a frame say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// N: no other frame needs this one.
    pub non_reference: bool,
    /// The picture id.
    pub picture_id: Option<PictureId>,
    /// Counts frames of the temporal base layer, wrapping.
    pub tl0_pic_idx: Option<u8>,
    /// The temporal layer and its bit Y.
    pub temporal: Option<Temporal>,
    /// KEYIDX: counts key frames, five bits.
    pub key_idx: Option<u8>,
}

impl Fields {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        let extended = (u8::from(self.picture_id.is_some()) << 7)
            | (u8::from(self.tl0_pic_idx.is_some()) << 6)
            | (u8::from(self.temporal.is_some()) << 5)
            | (u8::from(self.key_idx.is_some()) << 4);
        let first = u8::from(self.non_reference) << 5;
        if extended == 0 {
            return writer.u8(first);
        }
        writer.bytes(&[first | EXTENDED, extended])?;
        if let Some(picture_id) = self.picture_id {
            picture_id.write(writer)?;
        }
        if let Some(tl0_pic_idx) = self.tl0_pic_idx {
            writer.u8(tl0_pic_idx)?;
        }
        if self.temporal.is_none() && self.key_idx.is_none() {
            return Ok(());
        }
        let temporal = self.temporal.map_or(0, |temporal| {
            (temporal.id << 6) | (u8::from(temporal.layer_sync) << 5)
        });
        writer.u8(temporal | (self.key_idx.unwrap_or(0) & 0x1F))
    }
}

/// Writes the payloads of one frame. Partitions are not looked for: the frame is cut where a payload is full,
/// as libwebrtc does.
#[derive(Clone, Debug)]
pub struct Packetizer<'a> {
    head: [u8; HEAD_MAX],
    head_len: usize,
    started: bool,
    pieces: Pieces<'a>,
}

impl<'a> Packetizer<'a> {
    /// A packetiser of `frame`, whose payloads are at most `payload_max` octets.
    ///
    /// # Errors
    /// [`WriteError::Value`] when `frame` is empty, [`WriteError::Space`] when `payload_max` leaves it no room
    /// behind the descriptor.
    pub fn new(
        frame: &'a [u8],
        fields: &Fields,
        payload_max: usize,
    ) -> Result<Packetizer<'a>, WriteError> {
        let mut head = [0; HEAD_MAX];
        let mut writer = Writer::new(&mut head);
        fields.write(&mut writer)?;
        let head_len = writer.len();
        Ok(Packetizer {
            head,
            head_len,
            started: false,
            pieces: Pieces::new(frame, payload_max, head_len)?,
        })
    }

    /// Writes the next payload into `out`; `None` when the frame is through.
    ///
    /// # Errors
    /// [`WriteError::Space`] when `out` is shorter than the longest payload.
    pub fn next(&mut self, out: &mut [u8]) -> Result<Option<Packed>, WriteError> {
        if self.pieces.is_empty() {
            return Ok(None);
        }
        let mut head = self.head;
        let head = head.get_mut(..self.head_len).ok_or(WriteError::Space)?;
        if let Some(first) = head.first_mut().filter(|_| !self.started) {
            *first |= START;
        }
        let len = self.pieces.write(out, head)?;
        self.started = true;
        Ok(Some(Packed {
            len,
            marker: self.pieces.is_empty(),
        }))
    }
}
