//! Packet indices from sequence numbers.

use super::{RTP_HEADER_BYTES, ssrc_of};

/// Extends 16-bit sequence numbers to packet indices (RFC 3711 section 3.3.1), one per SSRC.
#[derive(Debug, Default)]
pub(crate) struct Indices(Vec<(u32, u64)>);

impl Indices {
    /// The index the packet most likely has. `None` when it is too short to say.
    pub(crate) fn guess(&self, packet: &[u8]) -> Option<u64> {
        let (ssrc, sequence) = identity(packet)?;
        let Some(&(_, highest)) = self.0.iter().find(|(known, _)| *known == ssrc) else {
            return Some(u64::from(sequence));
        };
        // Of the three rollover counts around the highest index, the one that lies nearest.
        let base = (highest & !0xffff) | u64::from(sequence);
        let candidates = [
            base.checked_sub(1 << 16),
            Some(base),
            base.checked_add(1 << 16),
        ];
        candidates
            .into_iter()
            .flatten()
            .min_by_key(|candidate| candidate.abs_diff(highest))
    }

    /// Notes an index that authenticated.
    pub(crate) fn confirm(&mut self, ssrc: u32, index: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == ssrc) {
            Some((_, highest)) => *highest = index.max(*highest),
            None => self.0.push((ssrc, index)),
        }
    }
}

/// SSRC and sequence number of an RTP packet.
pub(crate) fn identity(packet: &[u8]) -> Option<(u32, u16)> {
    let header = packet.get(..RTP_HEADER_BYTES)?;
    Some((ssrc_of(header), u16::from_be_bytes([header[2], header[3]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_follow_the_sequence_number_over_its_wrap() {
        let packet = |sequence: u16| {
            let mut packet = vec![0x80, 96];
            packet.extend(sequence.to_be_bytes());
            packet.extend([0, 0, 0, 0, 0, 0, 0, 9]);
            packet
        };
        let mut indices = Indices::default();
        let mut highest = 0;
        for expected in (0..200_000_u64).step_by(7000) {
            let sequence = u16::try_from(expected & 0xffff).unwrap();
            let index = indices.guess(&packet(sequence)).unwrap();
            assert_eq!(index, expected);
            indices.confirm(9, index);
            highest = highest.max(index);
        }
        let late = highest - 10;
        let sequence = u16::try_from(late & 0xffff).unwrap();
        assert_eq!(indices.guess(&packet(sequence)), Some(late));
    }
}
