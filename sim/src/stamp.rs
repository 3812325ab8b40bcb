//! Payloads that say where they come from, so that a viewer can tell what it was sent from what it should
//! have been sent.

/// Who sent a packet, and which of that stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// The publisher.
    pub publisher: u32,
    /// Counts the packets of one stream from zero.
    pub number: u64,
}

/// VP8 payload descriptor, frame tag and start code in front of the stamp (RFC 7741 sections 4.2 and 4.3,
/// RFC 6386 section 9.1).
const PREFIX_BYTES: usize = 7;
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];
const STAMP_BYTES: usize = 12;

impl Stamp {
    /// A payload of `len` bytes that looks like VP8: S set at the beginning of a frame, the inverse
    /// keyframe bit cleared in the first packet of a keyframe.
    #[must_use]
    pub fn vp8(self, len: usize, frame_start: bool, keyframe: bool) -> Vec<u8> {
        let descriptor = if frame_start { 0x10 } else { 0x00 };
        let header = u8::from(!(frame_start && keyframe));
        let mut payload = vec![0xa5; len.max(PREFIX_BYTES + STAMP_BYTES)];
        payload[0] = descriptor;
        payload[1] = header;
        payload[4..PREFIX_BYTES].copy_from_slice(&START_CODE);
        payload[PREFIX_BYTES..PREFIX_BYTES + 4].copy_from_slice(&self.publisher.to_be_bytes());
        payload[PREFIX_BYTES + 4..PREFIX_BYTES + STAMP_BYTES]
            .copy_from_slice(&self.number.to_be_bytes());
        payload
    }

    /// The stamp of a payload, whole only when every filler byte is as it was written.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Stamp> {
        let body = payload.get(PREFIX_BYTES..)?;
        let (publisher, rest) = body.split_first_chunk::<4>()?;
        let (number, filler) = rest.split_first_chunk::<8>()?;
        filler.iter().all(|&byte| byte == 0xa5).then(|| Stamp {
            publisher: u32::from_be_bytes(*publisher),
            number: u64::from_be_bytes(*number),
        })
    }
}
