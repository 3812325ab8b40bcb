//! The retransmission stream of a slot (RFC 4588): an SSRC with indices of its own, so that a packet may be sent
//! again as something new (contracts.md 11).

use crate::transport::replay::RTP_INDEX_END;

/// Where the next retransmission goes.
#[derive(Debug)]
pub(crate) struct RtxStream {
    ssrc: u32,
    next_index: u64,
}

impl RtxStream {
    /// `first_index` is random in 1..2^15, as that of the media stream (security.md S4).
    pub(crate) fn new(ssrc: u32, first_index: u16) -> RtxStream {
        RtxStream {
            ssrc,
            next_index: u64::from(first_index & 0x7fff).max(1),
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Gives out the next 48-bit SRTP index, `None` at the end of the key's life (security.md S7).
    pub(crate) fn next_index(&mut self) -> Option<u64> {
        let index = self.next_index;
        if index >= RTP_INDEX_END {
            return None;
        }
        self.next_index += 1;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_given_out_once_and_end_with_the_key() {
        let mut stream = RtxStream::new(7, 0);
        assert_eq!(
            (stream.next_index(), stream.next_index()),
            (Some(1), Some(2))
        );
        stream.next_index = RTP_INDEX_END - 1;
        assert_eq!(stream.next_index(), Some(RTP_INDEX_END - 1));
        assert_eq!(stream.next_index(), None);
    }
}
