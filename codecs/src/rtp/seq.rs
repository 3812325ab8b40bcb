//! Sequence numbers and timestamps that wrap, and their extended forms that do not.

use std::fmt;

/// An RTP sequence number as on the wire (RFC 3550 section 5.1). It wraps, so it has no total order:
/// compare with [`Seq::is_after`], or extend it with a [`SeqUnwrapper`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seq(pub u16);

impl Seq {
    /// `self` is newer than `other`: at most half the number space ahead (RFC 1982 section 3.2). Two numbers
    /// exactly half the space apart are not ordered by the RFC; here the numerically larger is newer, so
    /// that exactly one of them is.
    #[must_use]
    pub fn is_after(self, other: Seq) -> bool {
        let ahead = self.0.wrapping_sub(other.0);
        ahead != 0 && (ahead < 0x8000 || (ahead == 0x8000 && self.0 > other.0))
    }

    /// The number `n` packets later.
    #[must_use]
    pub fn plus(self, n: u16) -> Seq {
        Seq(self.0.wrapping_add(n))
    }

    /// The number `n` packets earlier.
    #[must_use]
    pub fn minus(self, n: u16) -> Seq {
        Seq(self.0.wrapping_sub(n))
    }

    /// Packets from `earlier` forward to `self`, 0..=65535.
    #[must_use]
    pub fn since(self, earlier: Seq) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Signed distance from `other` to `self`, -32768..=32767: negative when `self` is older.
    #[must_use]
    pub fn distance(self, other: Seq) -> i16 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A sequence number with its rollovers: `rollovers << 16 | seq`. Totally ordered, never wraps in practice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtSeq(pub u64);

impl ExtSeq {
    /// The number on the wire: the low 16 bits.
    #[must_use]
    pub fn seq(self) -> Seq {
        let [.., hi, lo] = self.0.to_be_bytes();
        Seq(u16::from_be_bytes([hi, lo]))
    }

    /// How many times the wire number wrapped, counted from the unwrapper's base.
    #[must_use]
    pub fn rollovers(self) -> u64 {
        self.0 >> 16
    }

    /// The low 32 bits: the "extended highest sequence number" of a report block (RFC 3550 section 6.4.1).
    #[must_use]
    pub fn low32(self) -> u32 {
        let [.., a, b, c, d] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// The number `n` packets later, saturating.
    #[must_use]
    pub fn plus(self, n: u64) -> ExtSeq {
        ExtSeq(self.0.saturating_add(n))
    }

    /// The number `n` packets earlier, saturating at zero.
    #[must_use]
    pub fn minus(self, n: u64) -> ExtSeq {
        ExtSeq(self.0.saturating_sub(n))
    }

    /// Packets from `earlier` to `self`; zero when `earlier` is newer.
    #[must_use]
    pub fn since(self, earlier: ExtSeq) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for ExtSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Extends wire sequence numbers by the nearest candidate to the highest seen so far.
///
/// The first number becomes `0x1_0000 + seq`, one rollover above zero, so that packets sent before it and
/// arriving after it still have a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeqUnwrapper {
    highest: Option<ExtSeq>,
}

impl SeqUnwrapper {
    /// An unwrapper that has seen nothing.
    #[must_use]
    pub fn new() -> SeqUnwrapper {
        SeqUnwrapper::default()
    }

    /// Extends `seq` and remembers it when it is the highest.
    pub fn extend(&mut self, seq: Seq) -> ExtSeq {
        let ext = self.peek(seq);
        self.highest = Some(self.highest.map_or(ext, |highest| highest.max(ext)));
        ext
    }

    /// Extends `seq` without remembering it.
    #[must_use]
    pub fn peek(&self, seq: Seq) -> ExtSeq {
        match self.highest {
            None => ExtSeq(0x1_0000 | u64::from(seq.0)),
            Some(highest) => {
                let distance = i64::from(seq.distance(highest.seq()));
                ExtSeq(highest.0.saturating_add_signed(distance))
            }
        }
    }

    /// The highest number so far.
    #[must_use]
    pub fn highest(&self) -> Option<ExtSeq> {
        self.highest
    }
}

/// Extends 32-bit RTP timestamps like [`SeqUnwrapper`] extends sequence numbers: the first becomes
/// `0x1_0000_0000 + ts`, later ones the nearest candidate to the highest so far. Units are those of the
/// stream's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimestampUnwrapper {
    highest: Option<u64>,
}

impl TimestampUnwrapper {
    /// An unwrapper that has seen nothing.
    #[must_use]
    pub fn new() -> TimestampUnwrapper {
        TimestampUnwrapper::default()
    }

    /// Extends `ts` and remembers it when it is the highest.
    pub fn extend(&mut self, ts: u32) -> u64 {
        let ext = self.peek(ts);
        self.highest = Some(self.highest.map_or(ext, |highest| highest.max(ext)));
        ext
    }

    /// Extends `ts` without remembering it.
    #[must_use]
    pub fn peek(&self, ts: u32) -> u64 {
        match self.highest {
            None => 0x1_0000_0000 | u64::from(ts),
            Some(highest) => {
                let distance = ts.wrapping_sub(ExtSeq(highest).low32()).cast_signed();
                highest.saturating_add_signed(i64::from(distance))
            }
        }
    }

    /// The highest timestamp so far.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_means_less_than_half_the_space_ahead() {
        assert!(Seq(1).is_after(Seq(0)));
        assert!(Seq(0).is_after(Seq(65535)));
        assert!(Seq(5).is_after(Seq(65530)));
        assert!(!Seq(65530).is_after(Seq(5)));
        assert!(!Seq(7).is_after(Seq(7)));
        assert!(Seq(0x8000).is_after(Seq(0)) != Seq(0).is_after(Seq(0x8000)));
        assert_eq!(Seq(2).distance(Seq(65534)), 4);
        assert_eq!(Seq(65534).distance(Seq(2)), -4);
    }

    #[test]
    fn a_packet_older_than_the_first_still_has_a_number() {
        let mut unwrapper = SeqUnwrapper::new();
        let first = unwrapper.extend(Seq(3));
        let older = unwrapper.extend(Seq(65530));
        assert_eq!(first.since(older), 9);
        assert_eq!(older.seq(), Seq(65530));
        assert_eq!(unwrapper.highest(), Some(first));
    }

    #[test]
    fn numbers_stay_monotone_over_three_wraps_with_reordering() {
        let mut unwrapper = SeqUnwrapper::new();
        let base = unwrapper.extend(Seq(0));
        for true_number in 1..200_000_u64 {
            // Every pair of packets arrives swapped.
            let sent = true_number ^ 1;
            let ext = unwrapper.extend(Seq((sent & 0xffff) as u16));
            assert_eq!(ext.0 - base.0, sent);
        }
    }

    #[test]
    fn a_timestamp_wraps_forward_and_back() {
        let mut unwrapper = TimestampUnwrapper::new();
        let first = unwrapper.extend(0xffff_ff00);
        let second = unwrapper.extend(0x0000_0b00);
        assert_eq!(second - first, 0xc00);
        assert_eq!(unwrapper.extend(0xffff_ff00), first);
        assert_eq!(unwrapper.highest(), Some(second));
    }

    #[test]
    fn the_report_block_form_keeps_one_rollover_and_the_number() {
        assert_eq!(ExtSeq(0x5_0002_abcd).low32(), 0x0002_abcd);
        assert_eq!(ExtSeq(0x5_0002_abcd).rollovers(), 0x5_0002);
    }
}
