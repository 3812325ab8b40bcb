//! AV1 temporal units out of packets (RTP Payload Format For AV1 sections 4 and 5): elements become OBUs, each
//! with its size.

use super::Packet;
use super::obu::{HAS_SIZE, OBU_SEQUENCE_HEADER, OBU_TEMPORAL_DELIMITER, Obu, write_leb128};
use crate::bytes::{WriteError, Writer, put};
use crate::payload::depacketize::{Assembly, Beginning, Flaw};

/// Octets of the longest OBU header: header, extension, size.
const OBU_HEAD_MAX: usize = 10;

/// The N bit stands on the first packet of a coded video sequence. A temporal delimiter or a sequence header
/// begins its temporal unit: nothing comes before the one, and nothing but the other before the other (AV1
/// specification section 7.5).
pub(in crate::payload) fn beginning(payload: &[u8]) -> Beginning {
    let Some(packet) = Packet::parse(payload) else {
        return Beginning::InOrder;
    };
    if packet.continues {
        return Beginning::Never;
    }
    let first_type = packet
        .elements()
        .next()
        .and_then(|element| element.first())
        .map(|head| (head >> 3) & 0x0F);
    match first_type {
        _ if packet.new_sequence => Beginning::AfterLoss,
        Some(OBU_TEMPORAL_DELIMITER | OBU_SEQUENCE_HEADER) => Beginning::AfterLoss,
        _ => Beginning::InOrder,
    }
}

/// Where the OBU begins that goes on in the next packet, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::payload) struct Gather {
    open_at: Option<usize>,
}

impl Gather {
    pub(in crate::payload) fn append(
        &mut self,
        frame: &mut Assembly,
        payload: &[u8],
    ) -> Result<(), Flaw> {
        let packet = Packet::parse(payload).ok_or(Flaw::Malformed)?;
        if packet.continues != self.open_at.is_some() {
            return Err(Flaw::Malformed);
        }
        frame.keyframe |= packet.new_sequence;
        let mut elements = packet.elements().peekable();
        while let Some(element) = elements.next() {
            let at = *self.open_at.get_or_insert(frame.len());
            frame.extend(element)?;
            if elements.peek().is_some() || !packet.continued {
                self.open_at = None;
                close(frame, at)?;
            }
        }
        Ok(())
    }

    pub(in crate::payload) fn finish(&self) -> Result<(), Flaw> {
        match self.open_at {
            None => Ok(()),
            Some(_) => Err(Flaw::Incomplete),
        }
    }
}

/// The OBU at `at` is together: it gets its size, or goes when RTP should not have carried it.
fn close(frame: &mut Assembly, at: usize) -> Result<(), Flaw> {
    let element = frame.frame().get(at..).unwrap_or_default();
    // An element holds one OBU: what follows a size that is there belongs to nothing.
    let (obu, rest) = Obu::read(element).ok_or(Flaw::Malformed)?;
    if obu.is_left_out() {
        frame.truncate(at);
        return Ok(());
    }
    let is_sequence = obu.obu_type() == OBU_SEQUENCE_HEADER;
    let (size, rest_len) = (obu.payload.len(), rest.len());
    let old_len = element.len().saturating_sub(size).saturating_sub(rest_len);
    let mut head = [0; OBU_HEAD_MAX];
    let mut writer = Writer::new(&mut head);
    write_head(&mut writer, &obu).map_err(|_| Flaw::TooLong)?;
    let new_len = writer.len();
    frame.truncate(frame.len().saturating_sub(rest_len));
    frame.shift(at.saturating_add(old_len), at.saturating_add(new_len))?;
    let head = head.get(..new_len).unwrap_or_default();
    put(frame.frame_mut(), at, head).map_err(|_| Flaw::TooLong)?;
    frame.keyframe |= is_sequence;
    Ok(())
}

/// The header with its size flag, the extension, the size.
fn write_head(writer: &mut Writer<'_>, obu: &Obu<'_>) -> Result<(), WriteError> {
    writer.u8(obu.head | HAS_SIZE)?;
    if let Some(extension) = obu.extension {
        writer.u8(extension)?;
    }
    write_leb128(writer, obu.payload.len())
}
