//! Payloads that say where they come from, so that whoever reads one can tell what he got from what he should
//! have got.

use codecs::payload::vp8::Descriptor;
use dataplane_api::media::MediaKind;

/// What one packet says of itself. Every field is the publisher's, as it sent the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Who sent it.
    pub publisher: u32,
    /// In which room.
    pub room: u32,
    /// On which SSRC: another one is another run of the encoder.
    pub ssrc: u32,
    /// Which encoding of the track, lowest first.
    pub layer: u8,
    /// It belongs to a keyframe.
    pub key: bool,
    /// Counts the media packets of the SSRC from zero.
    pub number: u64,
    /// How many packets that carry nothing were sent on the SSRC before it: their sequence numbers lie
    /// between those of the media packets.
    pub paddings: u32,
    /// Counts the frames of the SSRC from zero.
    pub frame: u32,
    /// Which packet of its frame.
    pub part: u8,
    /// How many packets the frame has.
    pub parts: u8,
    /// Bytes of the RTP packet, header included, before it was sealed.
    pub packet_bytes: u16,
    /// Its sequence number.
    pub seq: u16,
    /// When it was captured, in microseconds of simulated time.
    pub captured_us: u64,
}

/// VP8 frame tag and start code (RFC 6386 section 9.1), which stand between the payload descriptor and the
/// stamp.
const FRAME_HEADER_BYTES: usize = 6;
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];
const STAMP_BYTES: usize = 48;
const FILLER: u8 = 0xa5;

/// Shortest payload that holds a stamp: the longest descriptor these sources write, the frame header, the
/// stamp.
pub const PAYLOAD_BYTES_MIN: usize = 6 + FRAME_HEADER_BYTES + STAMP_BYTES;

/// What the VP8 payload descriptor of a frame says (RFC 7741 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The picture id, 15 bits.
    pub id: u16,
    /// TL0PICIDX.
    pub tl0: u8,
}

impl Stamp {
    /// A payload of `len` bytes that looks like VP8 to whoever reads descriptors and frame headers.
    ///
    /// # Panics
    /// When `len` is below [`PAYLOAD_BYTES_MIN`].
    #[must_use]
    pub fn vp8(&self, len: usize, picture: Option<Picture>) -> Vec<u8> {
        assert!(len >= PAYLOAD_BYTES_MIN, "a payload of {len} bytes");
        let begins = self.part == 0;
        let start = if begins { 0x10 } else { 0x00 };
        let mut payload = Vec::with_capacity(len);
        match picture {
            None => payload.push(start),
            Some(picture) => {
                // X; I, L, T: a 15-bit picture id, TL0PICIDX, temporal layer 0.
                let [hi, lo] = picture.id.to_be_bytes();
                payload.extend([0x80 | start, 0xe0, 0x80 | hi, lo, picture.tl0, 0]);
            }
        }
        payload.push(u8::from(!(begins && self.key)));
        payload.extend([0, 0]);
        payload.extend(START_CODE);
        self.write(&mut payload);
        payload.resize(len, FILLER);
        payload
    }

    /// A payload of `len` bytes of an audio codec whose payload nobody reads on the way.
    ///
    /// # Panics
    /// When `len` is shorter than a stamp.
    #[must_use]
    pub fn opus(&self, len: usize) -> Vec<u8> {
        assert!(len >= STAMP_BYTES, "a payload of {len} bytes");
        let mut payload = Vec::with_capacity(len);
        self.write(&mut payload);
        payload.resize(len, FILLER);
        payload
    }

    fn write(&self, payload: &mut Vec<u8>) {
        let start = payload.len();
        payload.extend(self.publisher.to_be_bytes());
        payload.extend(self.room.to_be_bytes());
        payload.extend(self.ssrc.to_be_bytes());
        payload.extend([self.layer, u8::from(self.key), self.part, self.parts]);
        payload.extend(self.number.to_be_bytes());
        payload.extend(self.paddings.to_be_bytes());
        payload.extend(self.frame.to_be_bytes());
        payload.extend(self.captured_us.to_be_bytes());
        payload.extend(self.packet_bytes.to_be_bytes());
        payload.extend(self.seq.to_be_bytes());
        let sum = checksum(&payload[start..]);
        payload.extend(sum.to_be_bytes());
    }

    /// The stamp of a payload; `None` unless every byte of it is as it was written.
    #[must_use]
    pub fn read(payload: &[u8], kind: MediaKind) -> Option<Stamp> {
        let at = match kind {
            MediaKind::Audio => 0,
            MediaKind::Video => Descriptor::parse(payload)?.len + FRAME_HEADER_BYTES,
        };
        let (bytes, filler) = payload.get(at..)?.split_first_chunk::<STAMP_BYTES>()?;
        let (content, sum) = bytes.split_last_chunk::<4>()?;
        if checksum(content) != u32::from_be_bytes(*sum) || filler.iter().any(|&b| b != FILLER) {
            return None;
        }
        let u32_at = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| bytes[at + n]));
        let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
        Some(Stamp {
            publisher: u32_at(0),
            room: u32_at(4),
            ssrc: u32_at(8),
            layer: bytes[12],
            key: bytes[13] != 0,
            part: bytes[14],
            parts: bytes[15],
            number: u64_at(16),
            paddings: u32_at(24),
            frame: u32_at(28),
            captured_us: u64_at(32),
            packet_bytes: u16::from_be_bytes([bytes[40], bytes[41]]),
            seq: u16::from_be_bytes([bytes[42], bytes[43]]),
        })
    }
}

/// What the payload descriptor says, where it says something.
#[must_use]
pub fn read_picture(payload: &[u8]) -> Option<Picture> {
    let descriptor = Descriptor::parse(payload)?;
    Some(Picture {
        id: descriptor.picture_id?.value(),
        tl0: descriptor.tl0_pic_idx?,
    })
}

/// A decoder that knows nothing can begin here: first partition of a frame whose inverse keyframe bit is
/// clear, with its start code.
#[must_use]
pub fn begins_keyframe(payload: &[u8]) -> bool {
    let Some(descriptor) = Descriptor::parse(payload) else {
        return false;
    };
    descriptor.begins_frame()
        && payload
            .get(descriptor.len..descriptor.len + FRAME_HEADER_BYTES)
            .is_some_and(|header| header[0] & 1 == 0 && header[3..] == START_CODE)
}

/// FNV-1a: a stamp is damaged by accident, never by design.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, &byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        publisher: 7,
        room: 9,
        ssrc: 0x1000,
        layer: 2,
        key: true,
        number: 1 << 40,
        paddings: 3,
        frame: 77,
        part: 0,
        parts: 4,
        packet_bytes: 1_100,
        seq: 65_001,
        captured_us: 123_456_789,
    };

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let picture = Picture {
            id: 0x7fff,
            tl0: 255,
        };
        for picture in [None, Some(picture)] {
            let payload = STAMP.vp8(500, picture);
            assert_eq!(Stamp::read(&payload, MediaKind::Video), Some(STAMP));
            assert_eq!(read_picture(&payload), picture);
            assert!(begins_keyframe(&payload));
            assert!(codecs::payload::vp8::is_keyframe(&payload));
        }
        assert_eq!(Stamp::read(&STAMP.opus(80), MediaKind::Audio), Some(STAMP));
    }

    #[test]
    fn only_the_first_packet_of_a_keyframe_begins_it() {
        let later = Stamp { part: 1, ..STAMP };
        let delta = Stamp {
            key: false,
            ..STAMP
        };
        assert!(!begins_keyframe(&later.vp8(100, None)));
        assert!(!begins_keyframe(&delta.vp8(100, None)));
    }

    #[test]
    fn a_changed_bit_behind_the_frame_header_is_noticed() {
        let payload = STAMP.vp8(200, None);
        for at in 7..payload.len() {
            let mut changed = payload.clone();
            changed[at] ^= 4;
            assert_eq!(Stamp::read(&changed, MediaKind::Video), None, "byte {at}");
        }
    }
}
