//! AV1 packets (RTP Payload Format For AV1 version 1.0.0, section 4.4): the aggregation header and the OBU
//! elements after it.

mod depacketize;
mod obu;
mod packetize;

pub(super) use depacketize::{Gather, beginning};
pub use obu::{
    OBU_FRAME, OBU_FRAME_HEADER, OBU_SEQUENCE_HEADER, OBU_TEMPORAL_DELIMITER, OBU_TILE_LIST, Obu,
    Obus,
};
pub use packetize::Packetizer;

use crate::bytes::Reader;
use obu::leb128;

/// A packet's aggregation header, elements known to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Z: the first element continues one of the previous packet.
    pub continues: bool,
    /// Y: the last element continues in the next packet.
    pub continued: bool,
    /// N: the packet is the first of a coded video sequence.
    pub new_sequence: bool,
    /// W: how many elements there are, 0 when every element has its length.
    count: u8,
    elements: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the aggregation header and walks the elements. `None` when a length does not fit, the count is
    /// wrong, or an OBU claims more than its element.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Packet<'a>> {
        let (head, elements) = payload.split_first()?;
        let packet = Packet {
            continues: head & 0x80 != 0,
            continued: head & 0x40 != 0,
            new_sequence: head & 0x08 != 0,
            count: (head >> 4) & 0x03,
            elements,
        };
        // A packet cannot both begin a sequence and continue a fragment (section 4.4).
        if packet.new_sequence && packet.continues {
            return None;
        }
        packet.check()?;
        Some(packet)
    }

    /// The elements, in order. With [`continues`](Packet::continues) the first has no OBU header.
    pub fn elements(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.elements);
        let mut index = 0_u8;
        let count = self.count;
        std::iter::from_fn(move || {
            index = index.saturating_add(1);
            next_element(&mut reader, count, index)
        })
    }

    fn check(&self) -> Option<()> {
        let mut reader = Reader::new(self.elements);
        let mut index = 0_u8;
        while !reader.is_empty() {
            index = index.saturating_add(1);
            let element = next_element(&mut reader, self.count, index)?;
            let is_first = index == 1;
            let is_last = reader.is_empty();
            if !(is_first && self.continues) {
                check_obu(element, is_last && self.continued)?;
            }
        }
        let complete = match self.count {
            0 => index > 0,
            count => index == count,
        };
        complete.then_some(())
    }
}

/// Every element has its length, except the last when W counts them.
fn next_element<'a>(reader: &mut Reader<'a>, count: u8, index: u8) -> Option<&'a [u8]> {
    if reader.is_empty() || (count != 0 && index > count) {
        return None;
    }
    if count != 0 && index == count {
        return reader.take(reader.rest().len());
    }
    let len = leb128(reader)?;
    reader.take(usize::try_from(len).ok()?)
}

/// An OBU header, and its size when it has one: a size that runs past a whole OBU is malformed.
fn check_obu(element: &[u8], is_fragment: bool) -> Option<()> {
    let mut reader = Reader::new(element);
    let head = reader.u8()?;
    // The forbidden bit (AV1 specification section 5.3.2).
    if head & 0x80 != 0 {
        return None;
    }
    if is_fragment {
        return Some(());
    }
    if head & 0x04 != 0 {
        reader.u8()?;
    }
    if head & 0x02 != 0 {
        let size = usize::try_from(leb128(&mut reader)?).ok()?;
        if size > reader.rest().len() {
            return None;
        }
    }
    Some(())
}

/// The packet begins a coded video sequence, or carries a sequence header.
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    let Some(packet) = Packet::parse(payload) else {
        return false;
    };
    let is_header = |element: &[u8]| {
        element
            .first()
            .is_some_and(|head| (head >> 3) & 0x0F == OBU_SEQUENCE_HEADER)
    };
    packet.new_sequence
        || packet
            .elements()
            .skip(usize::from(packet.continues))
            .any(is_header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_sequence_or_its_header_is_a_keyframe() {
        // W = 1, N, frame OBU.
        assert!(is_keyframe(&[0x18, 0x30, 0x10]));
        // W = 2: sequence header of three octets, then a frame.
        assert!(is_keyframe(&[0x20, 0x03, 0x08, 0x00, 0x00, 0x30, 0x10]));
        // W = 1, frame OBU only.
        assert!(!is_keyframe(&[0x10, 0x30, 0x10]));
        // A continuation whose octets look like a sequence header.
        assert!(!is_keyframe(&[0x90, 0x08, 0x00]));
    }

    #[test]
    fn elements_are_cut_as_the_header_counts_them() {
        let counted = Packet::parse(&[0x20, 0x02, 0x30, 0x01, 0x30, 0x02, 0x03]).unwrap();
        let elements: Vec<_> = counted.elements().collect();
        assert_eq!(elements, [&[0x30, 0x01][..], &[0x30, 0x02, 0x03]]);
        let measured = Packet::parse(&[0x00, 0x02, 0x30, 0x01, 0x01, 0x30]).unwrap();
        let elements: Vec<_> = measured.elements().collect();
        assert_eq!(elements, [&[0x30, 0x01][..], &[0x30]]);
    }

    #[test]
    fn fewer_elements_than_counted_are_refused() {
        assert_eq!(Packet::parse(&[0x20, 0x01, 0x30]), None);
        assert_eq!(Packet::parse(&[0x10]), None);
        assert_eq!(Packet::parse(&[0x00]), None);
    }
}
