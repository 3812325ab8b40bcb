//! A VP9 layer frame cut into payloads, each behind a descriptor (RFC 9628 section 4.2).

use super::{Layer, REFERENCES_MAX, Structure};
use crate::bytes::{WriteError, Writer};
use crate::payload::PictureId;
use crate::payload::packetize::{Packed, Pieces};

/// B, E and V of the first octet.
const START: u8 = 0x08;
const END: u8 = 0x04;
const STRUCTURE: u8 = 0x02;
/// The longest descriptor: flags, picture id, layer, three references or TL0PICIDX, and a structure with eight
/// resolutions: 1 + 2 + 1 + 3 + 1 + 8 x 4.
const HEAD_MAX: usize = 40;
/// The largest distance to a reference: seven bits (RFC 9628 section 4.2).
const DISTANCE_MAX: u8 = 0x7F;

/// How the packets of a frame say what it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode<'a> {
    /// By the picture group of the structure.
    Fixed {
        /// Counts frames of the temporal base layer, wrapping; written when the frame has a layer.
        tl0_pic_idx: u8,
    },
    /// By themselves.
    Flexible {
        /// Distances back in picture ids, 1..=127: one to three of a predicted frame, none of another.
        references: &'a [u8],
    },
}

/// What the descriptors of a layer frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// P: the frame is predicted from earlier pictures.
    pub inter_picture: bool,
    /// Z: no frame of a higher spatial layer is predicted from this one.
    pub not_reference_for_upper: bool,
    /// The picture id. Flexible mode needs one.
    pub picture_id: Option<PictureId>,
    /// The layer indices.
    pub layer: Option<Layer>,
    /// How references are told.
    pub mode: Mode<'a>,
    /// A structure for the first packet, without pictures.
    pub structure: Option<Structure>,
    /// The frame is the last of its picture: the marker stands on its last packet.
    pub last_of_picture: bool,
}

impl Fields<'_> {
    fn check(&self) -> Result<(), WriteError> {
        let references_fit = match self.mode {
            Mode::Fixed { .. } => true,
            Mode::Flexible { references } => {
                let many = match (self.inter_picture, references.len()) {
                    (true, n) => (1..=REFERENCES_MAX).contains(&n),
                    (false, n) => n == 0,
                };
                let near = |far: &u8| (1..=DISTANCE_MAX).contains(far);
                self.picture_id.is_some() && many && references.iter().all(near)
            }
        };
        // A structure is written without its picture group, which only the encoder knows.
        let structure_fits = self.structure.is_none_or(|structure| {
            structure.pictures == 0 && (1..=8).contains(&structure.spatial_layers)
        });
        if references_fit && structure_fits {
            Ok(())
        } else {
            Err(WriteError::Value)
        }
    }

    /// Everything but B, E, V and the structure.
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        let flexible = matches!(self.mode, Mode::Flexible { .. });
        let flags = (u8::from(self.picture_id.is_some()) << 7)
            | (u8::from(self.inter_picture) << 6)
            | (u8::from(self.layer.is_some()) << 5)
            | (u8::from(flexible) << 4)
            | u8::from(self.not_reference_for_upper);
        writer.u8(flags)?;
        if let Some(picture_id) = self.picture_id {
            picture_id.write(writer)?;
        }
        if let Some(layer) = self.layer {
            layer.write(writer)?;
        }
        match self.mode {
            Mode::Fixed { tl0_pic_idx } if self.layer.is_some() => writer.u8(tl0_pic_idx),
            Mode::Fixed { .. } => Ok(()),
            Mode::Flexible { references } => {
                let last = references.len().saturating_sub(1);
                // N: another follows.
                let mut each = references.iter().enumerate();
                each.try_for_each(|(i, far)| writer.u8((far << 1) | u8::from(i < last)))
            }
        }
    }
}

impl Layer {
    fn write(self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        writer.u8((self.temporal << 5)
            | (u8::from(self.switching_up) << 4)
            | ((self.spatial & 0x07) << 1)
            | u8::from(self.inter_layer))
    }
}

impl Structure {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        let layers = usize::from(self.spatial_layers);
        let resolutions = self.resolutions.get(..layers).unwrap_or_default();
        let given = resolutions.iter().any(|size| *size != (0, 0));
        writer.u8((self.spatial_layers.saturating_sub(1) << 5) | (u8::from(given) << 4))?;
        for (width, height) in resolutions.iter().filter(|_| given) {
            writer.u16(*width)?;
            writer.u16(*height)?;
        }
        Ok(())
    }
}

/// Writes the payloads of one layer frame.
#[derive(Clone, Debug)]
pub struct Packetizer<'a> {
    /// The descriptor without B, E and V, then the structure.
    head: [u8; HEAD_MAX],
    head_len: usize,
    first_head_len: usize,
    started: bool,
    last_of_picture: bool,
    pieces: Pieces<'a>,
}

impl<'a> Packetizer<'a> {
    /// A packetiser of `frame`, whose payloads are at most `payload_max` octets.
    ///
    /// # Errors
    /// [`WriteError::Value`] when `frame` is empty or a field contradicts another, [`WriteError::Space`] when
    /// `payload_max` leaves it no room behind the descriptor.
    pub fn new(
        frame: &'a [u8],
        fields: &Fields<'_>,
        payload_max: usize,
    ) -> Result<Packetizer<'a>, WriteError> {
        fields.check()?;
        let mut head = [0; HEAD_MAX];
        let mut writer = Writer::new(&mut head);
        fields.write(&mut writer)?;
        let head_len = writer.len();
        if let Some(structure) = fields.structure {
            structure.write(&mut writer)?;
        }
        let first_head_len = writer.len();
        Ok(Packetizer {
            head,
            head_len,
            first_head_len,
            started: false,
            last_of_picture: fields.last_of_picture,
            pieces: Pieces::new(frame, payload_max, first_head_len)?,
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
        let (head_len, mut flags) = if self.started {
            (self.head_len, 0)
        } else {
            (self.first_head_len, START)
        };
        if head_len > self.head_len {
            flags |= STRUCTURE;
        }
        if self.pieces.is_last(head_len) {
            flags |= END;
        }
        let mut head = self.head;
        let head = head.get_mut(..head_len).ok_or(WriteError::Space)?;
        if let Some(first) = head.first_mut() {
            *first |= flags;
        }
        let len = self.pieces.write(out, head)?;
        self.started = true;
        Ok(Some(Packed {
            len,
            marker: self.pieces.is_empty() && self.last_of_picture,
        }))
    }
}
