//! The stamp at the end of every payload: which run and window it belongs to, its number, and when it
//! was sent. It stands at the end because a media node may rewrite a payload's beginning (a codec's
//! descriptor), never its end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of an encoded stamp.
pub(crate) const STAMP_BYTES: usize = 32;

/// Marks a payload as ours.
const MAGIC: u32 = 0x4c50_5331;

/// What identifies a packet end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which measured window; 0 between windows.
    pub(crate) window: u32,
    /// Random, one a run: a packet of another publisher is recognised.
    pub(crate) run: u64,
    /// Counts packets of the window from 0.
    pub(crate) sequence: u64,
    /// When the burst was handed to the kernel, since the Unix epoch. The kernel's receive times count
    /// from there too.
    pub(crate) sent: Duration,
}

impl Stamp {
    /// Writes the stamp over the end of `payload`, which must be at least [`STAMP_BYTES`] long.
    pub(crate) fn write(self, payload: &mut [u8]) {
        let start = payload.len() - STAMP_BYTES;
        let out = &mut payload[start..];
        out[0..4].copy_from_slice(&MAGIC.to_be_bytes());
        out[4..8].copy_from_slice(&self.window.to_be_bytes());
        out[8..16].copy_from_slice(&self.run.to_be_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        let sent = u64::try_from(self.sent.as_nanos()).unwrap_or(u64::MAX);
        out[24..32].copy_from_slice(&sent.to_be_bytes());
    }

    /// The stamp of a payload; `None` when it carries none.
    pub(crate) fn read(payload: &[u8]) -> Option<Stamp> {
        let start = payload.len().checked_sub(STAMP_BYTES)?;
        let stamp: &[u8; STAMP_BYTES] = payload[start..].try_into().ok()?;
        let word = |at: usize| -> u64 {
            stamp[at..at + 8]
                .iter()
                .fold(0, |word, &byte| word << 8 | u64::from(byte))
        };
        let head = word(0);
        let (magic, window) = (u32::try_from(head >> 32).ok()?, head & u64::from(u32::MAX));
        (magic == MAGIC).then_some(Stamp {
            window: u32::try_from(window).ok()?,
            run: word(8),
            sequence: word(16),
            sent: Duration::from_nanos(word(24)),
        })
    }
}

/// Now, on the clock stamps are written with.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        window: 0x0102_0304,
        run: 0x1112_1314_1516_1718,
        sequence: u64::MAX - 1,
        sent: Duration::from_nanos(1_795_000_000_123_456_789),
    };

    #[test]
    fn what_is_written_is_read_whatever_stands_before_it() {
        for length in [STAMP_BYTES, 100, 1188] {
            let mut payload = vec![0xee; length];
            STAMP.write(&mut payload);
            assert_eq!(Stamp::read(&payload), Some(STAMP));
            payload[..length - STAMP_BYTES].fill(0);
            assert_eq!(Stamp::read(&payload), Some(STAMP));
        }
    }

    #[test]
    fn a_payload_that_is_not_ours_has_no_stamp() {
        let mut payload = vec![0; 64];
        assert_eq!(Stamp::read(&payload), None);
        STAMP.write(&mut payload);
        assert_eq!(Stamp::read(&payload[..63]), None, "cut short");
        assert_eq!(Stamp::read(&payload[..STAMP_BYTES - 1]), None, "too short");
        assert_eq!(Stamp::read(&[]), None);
        payload[64 - STAMP_BYTES] ^= 1;
        assert_eq!(Stamp::read(&payload), None, "other magic");
    }
}
