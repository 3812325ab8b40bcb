//! VP9 pictures out of packets. The layer frames of a picture share its timestamp; together they are a
//! superframe, and get the index of one (VP9 bitstream specification annex B).

use super::Descriptor;
use crate::payload::depacketize::{Assembly, Beginning, Flaw};

/// Layer frames a superframe can list (VP9 bitstream specification section B.3).
const LAYERS_MAX: usize = 8;
/// The marker of a superframe index (VP9 bitstream specification section B.3).
const SUPERFRAME_MARKER: u8 = 0b1100_0000;

/// A picture begins with the first packet of its lowest spatial layer. A higher layer's first packet begins
/// it only when nothing is missing before.
pub(in crate::payload) fn beginning(payload: &[u8]) -> Beginning {
    match Descriptor::parse(payload) {
        Some(descriptor) if descriptor.start && descriptor.spatial() == 0 => Beginning::Always,
        Some(descriptor) if !descriptor.start => Beginning::Never,
        _ => Beginning::InOrder,
    }
}

/// The layer frames of the picture so far.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::payload) struct Gather {
    /// Where the layer frame begins whose packets are coming in, if any.
    open_at: Option<usize>,
    sizes: [u32; LAYERS_MAX],
    layers: usize,
}

impl Gather {
    pub(in crate::payload) fn append(
        &mut self,
        frame: &mut Assembly,
        payload: &[u8],
    ) -> Result<(), Flaw> {
        let descriptor = Descriptor::parse(payload).ok_or(Flaw::Malformed)?;
        if descriptor.start == self.open_at.is_some() {
            // A layer frame begins before the last one ended, or goes on without having begun.
            return Err(Flaw::Malformed);
        }
        if frame.is_empty() {
            frame.keyframe = !descriptor.inter_picture && descriptor.spatial() == 0;
        }
        let at = *self.open_at.get_or_insert(frame.len());
        frame.extend(payload.get(descriptor.len..).unwrap_or_default())?;
        if descriptor.end {
            let size = frame.len().saturating_sub(at);
            let slot = self.sizes.get_mut(self.layers).ok_or(Flaw::Malformed)?;
            *slot = u32::try_from(size).map_err(|_| Flaw::TooLong)?;
            self.layers = self.layers.saturating_add(1);
            self.open_at = None;
        }
        Ok(())
    }

    pub(in crate::payload) fn finish(&self, frame: &mut Assembly) -> Result<(), Flaw> {
        if self.open_at.is_some() {
            return Err(Flaw::Incomplete);
        }
        if self.layers < 2 {
            return Ok(());
        }
        let sizes = self.sizes.get(..self.layers).unwrap_or_default();
        let largest = sizes.iter().copied().max().unwrap_or(0);
        let octets = match largest {
            0..=0xFF => 1_u8,
            0x100..=0xFFFF => 2,
            0x1_0000..=0xFF_FFFF => 3,
            _ => 4,
        };
        let layers = u8::try_from(self.layers).unwrap_or(u8::MAX);
        // Both counts stand there less one.
        let marker = [SUPERFRAME_MARKER
            | (octets.saturating_sub(1) << 3)
            | (layers.saturating_sub(1) & 0x07)];
        frame.extend(&marker)?;
        for size in sizes {
            let size = size.to_le_bytes();
            frame.extend(size.get(..usize::from(octets)).unwrap_or_default())?;
        }
        frame.extend(&marker)
    }
}
