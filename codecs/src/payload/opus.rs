//! Opus packets (RFC 6716 section 3): the table of contents and the duration.

mod depacketize;
mod packetize;

pub(super) use depacketize::append;
pub use packetize::Packetizer;

/// The longest packet, in samples at 48 kHz: 120 ms (RFC 6716 section 3.4, requirement R5).
pub const DURATION_MAX: u32 = 5_760;
/// Opus counts RTP time at 48 kHz whatever it codes (RFC 7587 section 4.1).
pub const CLOCK_HZ: u32 = 48_000;

/// Duration of a packet in samples at 48 kHz. `None` when it is empty, has no frames or more than 120 ms.
#[must_use]
pub fn duration(payload: &[u8]) -> Option<u32> {
    let (toc, rest) = payload.split_first()?;
    let frames = match toc & 0x03 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3F),
    };
    let total = frame_samples(toc >> 3).checked_mul(frames)?;
    (1..=DURATION_MAX).contains(&total).then_some(total)
}

/// Samples at 48 kHz of one frame of a configuration (RFC 6716 section 3.1 table 2).
fn frame_samples(config: u8) -> u32 {
    match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => match config & 3 {
            0 => 480,
            1 => 960,
            2 => 1_920,
            _ => 2_880,
        },
        // Hybrid: 10, 20 ms.
        12..=15 => match config & 1 {
            0 => 480,
            _ => 960,
        },
        // CELT: 2.5, 5, 10, 20 ms.
        _ => match config & 3 {
            0 => 120,
            1 => 240,
            2 => 480,
            _ => 960,
        },
    }
}

/// Every well-formed Opus packet can start a decoder.
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    duration(payload).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_common_packets() {
        // CELT fullband 20 ms, one frame: what browsers send.
        assert_eq!(duration(&[0xFC, 0, 0]), Some(960));
        assert_eq!(duration(&[0x78, 0]), Some(960));
        // SILK 60 ms, two frames of equal size.
        assert_eq!(duration(&[0x19, 0, 0]), Some(5_760));
        // Code 3 with six frames of 20 ms is the limit, seven are too many.
        assert_eq!(duration(&[0xFF, 6]), Some(5_760));
        assert_eq!(duration(&[0xFF, 7]), None);
        assert_eq!(duration(&[0xFF]), None);
        assert_eq!(duration(&[]), None);
    }
}
