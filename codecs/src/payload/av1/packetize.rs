//! An AV1 temporal unit cut into payloads (RTP Payload Format For AV1 sections 4.4 and 5).

use super::obu::{
    HAS_SIZE, OBU_FRAME, OBU_FRAME_HEADER, OBU_SEQUENCE_HEADER, Obu, Obus, leb128_len, write_leb128,
};
use crate::bytes::{WriteError, Writer};
use crate::payload::packetize::Packed;

/// Bits of the aggregation header (section 4.4).
const CONTINUES: u8 = 0x80;
const CONTINUED: u8 = 0x40;
const NEW_SEQUENCE: u8 = 0x08;
/// Elements that W can count (section 4.4); with more, each has its length.
const COUNTED_MAX: u8 = 3;
/// The shortest payload: aggregation header, length and one octet of an element.
const PAYLOAD_MIN: usize = 3;
/// A shorter beginning of an OBU is not worth its place in a packet that has others.
const FRAGMENT_MIN: usize = 16;

/// Writes the payloads of one temporal unit: OBUs without their sizes, several to a payload where they fit,
/// cut where they do not. Temporal delimiters and tile lists are left out.
#[derive(Clone, Debug)]
pub struct Packetizer<'a> {
    payload_max: usize,
    obus: Obus<'a>,
    /// The OBU being written, and how much of it is.
    current: Option<(Obu<'a>, usize)>,
    /// The one after it.
    upcoming: Option<Obu<'a>>,
    new_sequence: bool,
}

impl<'a> Packetizer<'a> {
    /// A packetiser of `temporal_unit`, in the low-overhead bitstream format (the last OBU may have no size),
    /// whose payloads are at most `payload_max` octets.
    ///
    /// # Errors
    /// [`WriteError::Value`] when it holds nothing to send, or something that is no OBU; [`WriteError::Space`]
    /// when `payload_max` leaves an OBU no room.
    pub fn new(temporal_unit: &'a [u8], payload_max: usize) -> Result<Packetizer<'a>, WriteError> {
        if payload_max < PAYLOAD_MIN {
            return Err(WriteError::Space);
        }
        let mut all = Obus::new(temporal_unit);
        all.by_ref().for_each(drop);
        if !all.is_exhausted() {
            return Err(WriteError::Value);
        }
        let mut packetizer = Packetizer {
            payload_max,
            obus: Obus::new(temporal_unit),
            current: None,
            upcoming: None,
            new_sequence: begins_sequence(temporal_unit),
        };
        packetizer.advance();
        packetizer.advance();
        if packetizer.current.is_none() {
            return Err(WriteError::Value);
        }
        Ok(packetizer)
    }

    /// Writes the next payload into `out`; `None` when the temporal unit is through.
    ///
    /// # Errors
    /// [`WriteError::Space`] when `out` is shorter than the longest payload.
    pub fn next(&mut self, out: &mut [u8]) -> Result<Option<Packed>, WriteError> {
        let out = out.get_mut(..self.payload_max).ok_or(WriteError::Space)?;
        let Some((mut obu, mut from)) = self.current else {
            return Ok(None);
        };
        let mut writer = Writer::new(out);
        writer.u8(0)?;
        let mut head = if from > 0 { CONTINUES } else { 0 };
        if std::mem::take(&mut self.new_sequence) {
            head |= NEW_SEQUENCE;
        }
        let mut count = 1_u8;
        let mut layer = obu.layer();
        while let Some(next) = self.joining(&obu, from, layer, writer.len()) {
            let left = obu.len().saturating_sub(from);
            write_leb128(&mut writer, left)?;
            write_part(&mut writer, &obu, from, left)?;
            self.advance();
            (obu, from) = (next, 0);
            layer = layer.or(obu.layer());
            count = count.saturating_add(1);
        }
        // The last element of the packet has no length when W counts it.
        let left = obu.len().saturating_sub(from);
        let room = self.payload_max.saturating_sub(writer.len());
        let take = if count <= COUNTED_MAX {
            head |= count << 4;
            left.min(room)
        } else {
            let take = left.min(longest_measured(room));
            write_leb128(&mut writer, take)?;
            take
        };
        write_part(&mut writer, &obu, from, take)?;
        if take < left {
            head |= CONTINUED;
            self.current = Some((obu, from.saturating_add(take)));
        } else {
            self.advance();
        }
        writer.patch(0, &[head])?;
        Ok(Some(Packed {
            len: writer.len(),
            marker: self.current.is_none(),
        }))
    }

    /// The next OBU, when it goes into the same packet: the rest of the one before it fits with its length, a
    /// part of the next is worth having, and the rules of section 5 allow it (one layer a packet, a sequence
    /// header first).
    fn joining(
        &self,
        obu: &Obu<'_>,
        from: usize,
        layer: Option<u8>,
        written: usize,
    ) -> Option<Obu<'a>> {
        let next = self.upcoming?;
        let left = obu.len().saturating_sub(from);
        let measured = left.saturating_add(leb128_len(left));
        // Two octets are enough for the length of what fits into a datagram.
        let wanted = next.len().saturating_add(2).min(FRAGMENT_MIN);
        let fits = written.saturating_add(measured).saturating_add(wanted) <= self.payload_max;
        let same_layer = layer.is_none() || next.layer().is_none() || next.layer() == layer;
        let allowed = same_layer && next.obu_type() != OBU_SEQUENCE_HEADER;
        (fits && allowed).then_some(next)
    }

    fn advance(&mut self) {
        self.current = self.upcoming.take().map(|obu| (obu, 0));
        self.upcoming = self.obus.find(|obu| !obu.is_left_out());
    }
}

/// A sequence header stands before the first frame header, and that is of a shown key frame of the lowest
/// temporal layer (AV1 specification section 7.5). The first bits of a frame header say so: not a repetition of
/// an existing frame, frame type 0, shown (section 5.9.2); a reduced still picture is always one.
fn begins_sequence(temporal_unit: &[u8]) -> bool {
    let mut obus = Obus::new(temporal_unit);
    let mut reduced = None;
    let first_frame = obus.find(|obu| {
        if obu.obu_type() == OBU_SEQUENCE_HEADER {
            reduced = Some(obu.payload.first().is_some_and(|bits| bits & 0x08 != 0));
        }
        matches!(obu.obu_type(), OBU_FRAME | OBU_FRAME_HEADER)
    });
    let (Some(reduced), Some(frame)) = (reduced, first_frame) else {
        return false;
    };
    let is_base = frame.extension.is_none_or(|octet| octet >> 5 == 0);
    let is_shown_key = frame
        .payload
        .first()
        .is_some_and(|bits| bits & 0xF0 == 0x10);
    is_base && (reduced || is_shown_key)
}

/// Writes `len` octets of the OBU as an element, from `from` on. The size flag is cleared: the packet says how
/// long elements are.
fn write_part(
    writer: &mut Writer<'_>,
    obu: &Obu<'_>,
    from: usize,
    len: usize,
) -> Result<(), WriteError> {
    let header = [obu.head & !HAS_SIZE, obu.extension.unwrap_or(0)];
    let header = header.get(..obu.header_len()).unwrap_or_default();
    let to = from.saturating_add(len);
    if let Some(part) = header.get(from..to.min(header.len())) {
        writer.bytes(part)?;
    }
    let begin = from.saturating_sub(header.len());
    let end = to.saturating_sub(header.len());
    writer.bytes(obu.payload.get(begin..end).ok_or(WriteError::Value)?)
}

/// The longest element that fits into `room` with its length.
fn longest_measured(room: usize) -> usize {
    let mut len = room.saturating_sub(1);
    while len > 0 && len.saturating_add(leb128_len(len)) > room {
        len = len.saturating_sub(1);
    }
    len
}
