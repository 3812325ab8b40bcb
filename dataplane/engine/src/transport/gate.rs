//! What stands between a session's path and its DTLS machine: which records go on to the worker, and how
//! many.

use super::dtls::Records;
use crate::limits::DTLS_BYTES_PER_SECOND_MAX;
use crate::time::Micros;

const SECOND_US: u64 = 1_000_000;

/// How far the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// No path is validated yet: no machine exists.
    Idle,
    /// The worker has a machine.
    Started,
    /// Keys are installed; the peer may not have our last flight yet.
    Keyed,
    /// A packet under the new keys authenticated, so the peer has our last flight.
    Confirmed,
}

/// The gate of one session.
#[derive(Debug)]
pub(crate) struct RecordGate {
    progress: Progress,
    window_at: Micros,
    window_bytes: usize,
}

impl RecordGate {
    pub(crate) fn new() -> RecordGate {
        RecordGate {
            progress: Progress::Idle,
            window_at: Micros::ZERO,
            window_bytes: 0,
        }
    }

    /// True the first time: the worker is to make a machine.
    pub(crate) fn start(&mut self) -> bool {
        let first = self.progress == Progress::Idle;
        if first {
            self.progress = Progress::Started;
        }
        first
    }

    pub(crate) fn on_keyed(&mut self) {
        self.progress = Progress::Keyed;
    }

    /// A packet authenticated under the keys.
    pub(crate) fn on_authenticated(&mut self) {
        if self.progress == Progress::Keyed {
            self.progress = Progress::Confirmed;
        }
    }

    /// Whether a datagram goes on to the machine (contracts.md 9): well-formed records until the peer surely has
    /// our last flight, then only records of an encrypted epoch; never more bytes than a handshake needs.
    pub(crate) fn admits(&mut self, now: Micros, datagram: &[u8]) -> bool {
        let epoch_min = match self.progress {
            Progress::Idle => return false,
            Progress::Started | Progress::Keyed => 0,
            Progress::Confirmed => 1,
        };
        let wanted = Records::of(datagram)
            .all(|record| record.is_ok_and(|record| record.epoch >= epoch_min));
        if now.since(self.window_at) >= SECOND_US {
            self.window_at = now;
            self.window_bytes = 0;
        }
        if !wanted || self.window_bytes + datagram.len() > DTLS_BYTES_PER_SECOND_MAX {
            return false;
        }
        self.window_bytes += datagram.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_HELLO: [u8; 14] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    const ENCRYPTED: [u8; 14] = [21, 254, 253, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1];

    /// Contracts.md 9 and security.md D2.
    #[test]
    fn plaintext_records_end_when_the_peer_is_heard_under_the_keys() {
        let mut gate = RecordGate::new();
        assert!(
            !gate.admits(Micros(0), &CLIENT_HELLO),
            "no validated path, no machine"
        );
        assert!(gate.start());
        assert!(!gate.start());
        assert!(gate.admits(Micros(0), &CLIENT_HELLO));
        gate.on_keyed();
        assert!(
            gate.admits(Micros(0), &CLIENT_HELLO),
            "our last flight may be lost"
        );
        gate.on_authenticated();
        assert!(!gate.admits(Micros(0), &CLIENT_HELLO));
        assert!(
            gate.admits(Micros(0), &ENCRYPTED),
            "close_notify still gets through"
        );
        let behind = [ENCRYPTED, CLIENT_HELLO].concat();
        assert!(!gate.admits(Micros(0), &behind), "not even behind another");
    }

    #[test]
    fn what_is_no_record_reaches_no_machine() {
        let mut gate = RecordGate::new();
        gate.start();
        assert!(gate.admits(Micros(0), &CLIENT_HELLO));
        for len in 1..CLIENT_HELLO.len() {
            assert!(!gate.admits(Micros(0), &CLIENT_HELLO[..len]), "{len}");
        }
        let trailing = [&CLIENT_HELLO[..], &[0]].concat();
        assert!(!gate.admits(Micros(0), &trailing));
        let version = CLIENT_HELLO.map(|byte| if byte == 253 { 252 } else { byte });
        assert!(
            !gate.admits(Micros(0), &version),
            "DTLS 1.3 has other records"
        );
    }

    #[test]
    fn a_flood_of_records_is_bounded_a_second() {
        let mut gate = RecordGate::new();
        gate.start();
        let mut record = [22u8; 1_200];
        record[..13].copy_from_slice(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 4, 163]);
        let taken = (0..1_000)
            .filter(|_| gate.admits(Micros(5), &record))
            .count();
        assert_eq!(taken, DTLS_BYTES_PER_SECOND_MAX / 1_200);
        assert!(gate.admits(Micros(1_000_005), &record));
    }
}
