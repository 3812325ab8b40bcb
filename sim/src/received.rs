//! What a viewer with a real handshake received on one SSRC: it cannot be looked into on its way, so it is
//! judged at its end.

use std::collections::BTreeMap;

use crate::stamp::Stamp;

/// The packets of one SSRC.
#[derive(Debug, Default)]
pub struct Received {
    /// By extended sequence number.
    packets: BTreeMap<u64, (Stamp, u32)>,
    duplicates: u64,
}

impl Received {
    /// Of a viewer that saw nothing.
    pub(crate) const fn nothing() -> Received {
        Received {
            packets: BTreeMap::new(),
            duplicates: 0,
        }
    }

    /// Notes one packet.
    ///
    /// # Panics
    /// When a sequence number comes twice with different content: one (key, SSRC, index) was sealed twice.
    pub fn note(&mut self, ext_seq: u64, timestamp: u32, stamp: Stamp) {
        if let Some(before) = self.packets.insert(ext_seq, (stamp, timestamp)) {
            assert_eq!(
                before,
                (stamp, timestamp),
                "sequence number {ext_seq} with two contents"
            );
            self.duplicates += 1;
        }
    }

    /// Packets received, without doubles.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.packets.len()
    }

    /// Packets that came more than once, the same each time.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Sequence numbers between the first and the last that never came.
    #[must_use]
    pub fn holes(&self) -> u64 {
        match (
            self.packets.first_key_value(),
            self.packets.last_key_value(),
        ) {
            (Some((first, _)), Some((last, _))) => last - first + 1 - self.packets.len() as u64,
            _ => 0,
        }
    }

    /// The stamps in the order of the sequence numbers.
    pub fn stamps(&self) -> impl Iterator<Item = Stamp> + '_ {
        self.packets.values().map(|(stamp, _)| *stamp)
    }

    /// In sequence order, each publisher's packets stand in the order they were sent and none stands twice,
    /// and time does not run backwards.
    ///
    /// # Panics
    /// When not.
    pub fn assert_in_order(&self) {
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        let mut last_timestamp: Option<u32> = None;
        for (ext_seq, (stamp, timestamp)) in &self.packets {
            if let Some(before) = last.insert(stamp.publisher, stamp.number) {
                assert!(
                    before < stamp.number,
                    "{stamp:?} at {ext_seq} follows number {before}"
                );
            }
            if let Some(before) = last_timestamp.replace(*timestamp) {
                assert!(
                    timestamp.wrapping_sub(before) < 1 << 31,
                    "timestamp {timestamp} at {ext_seq} follows {before}"
                );
            }
        }
    }
}
