//! An access unit of H.264 or H.265 cut into payloads: small units together, large ones in fragments.

use super::{NalForm, Nals};
use crate::bytes::{WriteError, Writer};
use crate::payload::packetize::Packed;
use crate::payload::{h264, h265};

/// Octets of a unit's size in an aggregation packet (RFC 6184 section 5.7.1, RFC 7798 section 4.4.2).
const SIZE_LEN: usize = 2;
/// S and E of a fragment's header (RFC 6184 section 5.8, RFC 7798 section 4.4.3).
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// Which of the two payload formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// RFC 6184, packetisation mode 1: single NAL units, STAP-A, FU-A.
    H264,
    /// RFC 7798 without decoding order numbers: single NAL units, AP, FU.
    H265,
}

impl Family {
    /// Octets of a NAL unit header, which is also the header of an aggregation packet.
    fn header_len(self) -> usize {
        match self {
            Family::H264 => 1,
            Family::H265 => h265::NAL_HEADER_LEN,
        }
    }

    /// A unit that can be sent: with a header, and of a type that is no packet's.
    fn is_unit(self, nal: &[u8]) -> bool {
        match self {
            Family::H264 => h264::nal_type(nal).is_some(),
            Family::H265 => h265::nal_type(nal).is_some(),
        }
    }

    /// What stands before a fragment of the unit with this header: packet header, and the fragment header
    /// without S and E.
    fn fragment_head(self, header: &[u8]) -> Option<([u8; 3], usize)> {
        match (self, header) {
            (Family::H264, [first, ..]) => {
                Some(([(first & 0xE0) | h264::FU_A, first & 0x1F, 0], 2))
            }
            (Family::H265, [first, second, ..]) => {
                let head = (first & 0x81) | (h265::FU << 1);
                Some(([head, *second, (first >> 1) & 0x3F], 3))
            }
            _ => None,
        }
    }

    /// The header of an aggregation packet with the units that `header` stands for and the unit `nal`.
    fn aggregate_head(self, header: [u8; 2], nal: &[u8]) -> Option<[u8; 2]> {
        let [first, second] = header;
        match (self, nal) {
            // The forbidden bit of any unit, the highest reference value of all (RFC 6184 section 5.7).
            (Family::H264, [head, ..]) => {
                let forbidden = (first | head) & 0x80;
                let reference = (first & 0x60).max(head & 0x60);
                Some([forbidden | reference | h264::STAP_A, 0])
            }
            // The forbidden bit of any unit, the lowest layer and temporal id of all (RFC 7798 section 4.4.2).
            (Family::H265, [head, tail, ..]) => {
                let forbidden = (first | head) & 0x80;
                let layer = layer_id(first, second).min(layer_id(*head, *tail));
                let temporal = (second & 0x07).min(tail & 0x07);
                let [_, low] = (layer << 3).to_be_bytes();
                let high = u8::from(layer >= 32);
                Some([forbidden | (h265::AP << 1) | high, low | temporal])
            }
            _ => None,
        }
    }
}

/// `nuh_layer_id`: the last bit of the first octet and the first five of the second.
fn layer_id(first: u8, second: u8) -> u16 {
    (u16::from(first & 1) << 5) | u16::from(second >> 3)
}

/// Writes the payloads of one access unit.
#[derive(Clone, Debug)]
pub struct Packetizer<'a> {
    family: Family,
    payload_max: usize,
    units: Nals<'a>,
    /// The unit that comes next, looked up so that the last payload knows that it is the last.
    unit: Option<&'a [u8]>,
    /// The rest of a unit being fragmented, with its head.
    fragments: Option<Fragments<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Fragments<'a> {
    head: [u8; 3],
    head_len: usize,
    started: bool,
    rest: &'a [u8],
}

impl<'a> Packetizer<'a> {
    /// A packetiser of `access_unit`, whose payloads are at most `payload_max` octets.
    ///
    /// # Errors
    /// [`WriteError::Value`] when it holds no NAL unit, or something that is none; [`WriteError::Space`] when
    /// `payload_max` leaves a fragment no room.
    pub fn new(
        family: Family,
        access_unit: &'a [u8],
        form: NalForm,
        payload_max: usize,
    ) -> Result<Packetizer<'a>, WriteError> {
        // No datagram carries more, and neither do the sizes in an aggregation packet.
        let payload_max = payload_max.min(usize::from(u16::MAX));
        if payload_max <= family.header_len().saturating_add(1) {
            return Err(WriteError::Space);
        }
        let mut units = Nals::new(access_unit, form);
        let mut all = units.clone();
        if !all.all(|nal| family.is_unit(nal)) || !all.is_exhausted() {
            return Err(WriteError::Value);
        }
        let unit = Some(units.next().ok_or(WriteError::Value)?);
        Ok(Packetizer {
            family,
            payload_max,
            units,
            unit,
            fragments: None,
        })
    }

    /// Writes the next payload into `out`; `None` when the access unit is through.
    ///
    /// # Errors
    /// [`WriteError::Space`] when `out` is shorter than the longest payload.
    pub fn next(&mut self, out: &mut [u8]) -> Result<Option<Packed>, WriteError> {
        let out = out.get_mut(..self.payload_max).ok_or(WriteError::Space)?;
        let mut writer = Writer::new(out);
        if let Some(fragments) = self.fragments.take() {
            return self.write_fragment(writer, fragments).map(Some);
        }
        let Some(nal) = self.unit.take() else {
            return Ok(None);
        };
        if nal.len() > self.payload_max {
            let header_len = self.family.header_len();
            let (head, head_len) = self.family.fragment_head(nal).ok_or(WriteError::Value)?;
            let fragments = Fragments {
                head,
                head_len,
                started: false,
                rest: nal.get(header_len..).ok_or(WriteError::Value)?,
            };
            self.unit = self.units.next();
            return self.write_fragment(writer, fragments).map(Some);
        }
        self.unit = self.units.next();
        let both = self.unit.map(|next| {
            let units = nal.len().saturating_add(next.len());
            let heads = self.family.header_len().saturating_add(2 * SIZE_LEN);
            units.saturating_add(heads)
        });
        if both.is_some_and(|len| len <= self.payload_max) {
            self.write_aggregate(writer, nal).map(Some)
        } else {
            writer.bytes(nal)?;
            Ok(Some(self.packed(&writer)))
        }
    }

    fn write_fragment(
        &mut self,
        mut writer: Writer<'_>,
        mut fragments: Fragments<'a>,
    ) -> Result<Packed, WriteError> {
        let room = self.payload_max.saturating_sub(fragments.head_len);
        let (piece, rest) = fragments
            .rest
            .split_at_checked(room)
            .unwrap_or((fragments.rest, &[]));
        let start = if fragments.started { 0 } else { FU_START };
        let end = if rest.is_empty() { FU_END } else { 0 };
        let mut head = fragments.head;
        let head = head
            .get_mut(..fragments.head_len)
            .ok_or(WriteError::Value)?;
        if let Some(fu) = head.last_mut() {
            *fu |= start | end;
        }
        writer.bytes(head)?;
        writer.bytes(piece)?;
        if !rest.is_empty() {
            (fragments.rest, fragments.started) = (rest, true);
            self.fragments = Some(fragments);
        }
        Ok(self.packed(&writer))
    }

    /// As many units as fit, beginning with `first`, after which at least one more fits.
    fn write_aggregate(
        &mut self,
        mut writer: Writer<'_>,
        first: &[u8],
    ) -> Result<Packed, WriteError> {
        let header_len = self.family.header_len();
        // The neutral element of the header's minima and maxima is the first unit's own header.
        let mut header = match first {
            [head, tail, ..] => [*head, *tail],
            [head] => [*head, 0],
            [] => return Err(WriteError::Value),
        };
        writer.bytes(header.get(..header_len).ok_or(WriteError::Value)?)?;
        let mut nal = first;
        loop {
            let size = u16::try_from(nal.len()).map_err(|_| WriteError::Value)?;
            writer.u16(size)?;
            writer.bytes(nal)?;
            header = self
                .family
                .aggregate_head(header, nal)
                .ok_or(WriteError::Value)?;
            let room = self.payload_max.saturating_sub(writer.len());
            match self.unit {
                Some(next) if next.len().saturating_add(SIZE_LEN) <= room => nal = next,
                _ => break,
            }
            self.unit = self.units.next();
        }
        writer.patch(0, header.get(..header_len).ok_or(WriteError::Value)?)?;
        Ok(self.packed(&writer))
    }

    fn packed(&self, writer: &Writer<'_>) -> Packed {
        Packed {
            len: writer.len(),
            marker: self.fragments.is_none() && self.unit.is_none(),
        }
    }
}
