//! What stands between a session's path and its DTLS machine: which records go on to the worker, and how
//! many.

use super::dtls::{ALERT, Records};
use super::handshake::HANDSHAKE_DEADLINE_US;
use crate::limits::DTLS_BYTES_PER_SECOND_MAX;
use crate::time::Micros;

const SECOND_US: u64 = 1_000_000;

/// Datagrams of alerts a second once the peer has our last flight: it says one, and repeats it at most a few times.
/// Whoever forges that many hides the peer's close_notify, and the session ends with its consent instead.
const ALERTS_PER_SECOND_MAX: u32 = 4;

/// How long the worker may be behind its own deadline before the shard ends a handshake itself: a worker that lost
/// the start of a session would leave it half open for ever.
const WORKER_GRACE_US: u64 = 2_000_000;

/// How far the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// No path is validated yet: no machine exists.
    Idle,
    /// The worker was told to make a machine.
    Started { at: Micros },
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
    window_alerts: u32,
}

impl RecordGate {
    pub(crate) fn new() -> RecordGate {
        RecordGate {
            progress: Progress::Idle,
            window_at: Micros::ZERO,
            window_bytes: 0,
            window_alerts: 0,
        }
    }

    /// True the first time: the worker is to make a machine.
    pub(crate) fn start(&mut self, now: Micros) -> bool {
        let first = self.progress == Progress::Idle;
        if first {
            self.progress = Progress::Started { at: now };
        }
        first
    }

    /// When a handshake without a result is over. The worker ends its own after [`HANDSHAKE_DEADLINE_US`]; this is
    /// for one that says nothing at all.
    pub(crate) fn expires_at(&self) -> Option<Micros> {
        match self.progress {
            Progress::Started { at } => Some(at.plus_us(HANDSHAKE_DEADLINE_US + WORKER_GRACE_US)),
            Progress::Idle | Progress::Keyed | Progress::Confirmed => None,
        }
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
    /// our last flight, never more bytes than a handshake needs; then only encrypted alerts, which are all that
    /// still means anything, and few of them.
    pub(crate) fn admits(&mut self, now: Micros, datagram: &[u8]) -> bool {
        let alerts_only = match self.progress {
            Progress::Idle => return false,
            Progress::Started { .. } | Progress::Keyed => false,
            Progress::Confirmed => true,
        };
        let wanted = Records::of(datagram).all(|record| {
            record.is_ok_and(|record| {
                !alerts_only || (record.epoch > 0 && record.content_type == ALERT)
            })
        });
        if now.since(self.window_at) >= SECOND_US {
            self.window_at = now;
            self.window_bytes = 0;
            self.window_alerts = 0;
        }
        if !wanted
            || self.window_bytes + datagram.len() > DTLS_BYTES_PER_SECOND_MAX
            || (alerts_only && self.window_alerts >= ALERTS_PER_SECOND_MAX)
        {
            return false;
        }
        self.window_bytes += datagram.len();
        self.window_alerts += u32::from(alerts_only);
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
        assert!(gate.start(Micros(0)));
        assert!(!gate.start(Micros(0)));
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
        for content_type in [20, 22, 23] {
            let mut other = ENCRYPTED;
            other[0] = content_type;
            assert!(
                !gate.admits(Micros(0), &other),
                "{content_type} means nothing"
            );
        }
        let behind = [ENCRYPTED, CLIENT_HELLO].concat();
        assert!(!gate.admits(Micros(0), &behind), "not even behind another");
    }

    #[test]
    fn what_is_no_record_reaches_no_machine() {
        let mut gate = RecordGate::new();
        gate.start(Micros(0));
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
        gate.start(Micros(0));
        let mut record = [22u8; 1_200];
        record[..13].copy_from_slice(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 4, 163]);
        let taken = (0..1_000)
            .filter(|_| gate.admits(Micros(5), &record))
            .count();
        assert_eq!(taken, DTLS_BYTES_PER_SECOND_MAX / 1_200);
        assert!(gate.admits(Micros(1_000_005), &record));
    }

    #[test]
    fn a_flood_of_forged_alerts_is_bounded_a_second() {
        let mut gate = RecordGate::new();
        gate.start(Micros(0));
        gate.on_keyed();
        gate.on_authenticated();
        for second in 0..3 {
            let now = Micros(second * 1_000_000);
            let taken = (0..1_000).filter(|_| gate.admits(now, &ENCRYPTED)).count();
            assert_eq!(taken, 4);
        }
    }

    #[test]
    fn only_a_handshake_without_a_result_expires() {
        let mut gate = RecordGate::new();
        assert_eq!(gate.expires_at(), None);
        gate.start(Micros(5));
        gate.start(Micros(900));
        assert_eq!(gate.expires_at(), Some(Micros(12_000_005)));
        gate.on_keyed();
        assert_eq!(gate.expires_at(), None);
    }
}
