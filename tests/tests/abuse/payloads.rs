//! The smallest payloads that are what they say: the first packet of a keyframe and of a delta frame of each
//! codec, with a stamp at their end.

use dataplane_api::media::{CodecId, PayloadType};

/// Publisher and number of a packet: the last bytes of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    pub(crate) publisher: u32,
    pub(crate) number: u64,
}

const STAMP_BYTES: usize = 12;

impl Stamp {
    pub(crate) fn read(payload: &[u8]) -> Option<Stamp> {
        let (_, stamp) = payload.split_last_chunk::<STAMP_BYTES>()?;
        Some(Stamp {
            publisher: u32::from_be_bytes(*stamp.first_chunk()?),
            number: u64::from_be_bytes(*stamp.last_chunk()?),
        })
    }
}

/// Every codec of video.
pub(crate) const VIDEO_CODECS: [CodecId; 5] = [
    CodecId::VP8,
    CodecId::VP9,
    CodecId::H264,
    CodecId::H265,
    CodecId::AV1,
];

/// How our SDP would describe a codec of video.
pub(crate) fn payload_type(codec: CodecId) -> PayloadType {
    PayloadType {
        codec,
        pt: 96,
        rtx_pt: None,
        clock_hz: 90_000,
        nack: true,
        pli: true,
        transport_cc: true,
        form: 0,
    }
}

/// What a frame's first packet begins with.
fn beginning(codec: CodecId, key: bool) -> &'static [u8] {
    match (codec, key) {
        // RFC 7741 section 4.2: S set; RFC 6386 section 9.1: inverse key bit, start code.
        (CodecId::VP8, true) => &[
            0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00,
        ],
        (CodecId::VP8, false) => &[0x10, 0x11, 0x02, 0x00, 0xa5],
        // RFC 9628 section 4.2: B, and P when it is predicted; then the frame marker of the bitstream.
        (CodecId::VP9, true) => &[0x08, 0x82, 0x49, 0x83, 0x42],
        (CodecId::VP9, false) => &[0x48, 0x86, 0xa5],
        // RFC 6184: an IDR slice, another slice.
        (CodecId::H264, true) => &[0x65, 0x88, 0x84],
        (CodecId::H264, false) => &[0x41, 0x9a, 0xa5],
        // RFC 7798: IDR_W_RADL, TRAIL_R.
        (CodecId::H265, true) => &[0x26, 0x01, 0xaf],
        (CodecId::H265, false) => &[0x02, 0x01, 0xd0],
        // AV1 RTP specification section 4.4: N and W = 1, a sequence header; W = 1, a frame.
        (CodecId::AV1, true) => &[0x18, 0x08, 0x00, 0x00],
        (CodecId::AV1, false) => &[0x10, 0x30, 0xa5],
        _ => panic!("{codec:?} has no pictures"),
    }
}

/// A payload of at least `len` bytes, one packet of one frame.
pub(crate) fn frame(codec: CodecId, key: bool, len: usize, stamp: Stamp) -> Vec<u8> {
    let beginning = beginning(codec, key);
    let mut payload = beginning.to_vec();
    payload.resize(len.max(beginning.len() + STAMP_BYTES) - STAMP_BYTES, 0xa5);
    payload.extend(stamp.publisher.to_be_bytes());
    payload.extend(stamp.number.to_be_bytes());
    payload
}
