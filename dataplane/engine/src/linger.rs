//! How long video may wait for company (contracts.md 15): not at all on a quiet shard, up to 2 ms on a
//! busy one, where a wait halves the cost of a packet and nobody sees it.
//!
//! CPU use is no measure of load, because a packet's cost falls as runs grow. Load is what the traffic of
//! the last window would cost in full runs: 205 ns a packet and 1,900 ns a send (datapath.md).

use crate::limits::LINGER_US_MAX;
use crate::time::Micros;

const WINDOW_US: u64 = 10_000;
const PACKET_NS: u64 = 205;
const SEND_NS: u64 = 1_900;
/// Below 60 % there is no wait.
const LOAD_PERCENT_MIN: u64 = 60;

/// The wait of one shard, adapted once a window.
#[derive(Debug, Default)]
pub(crate) struct Linger {
    window_at: Micros,
    packets: u64,
    sends: u64,
    linger_us: u64,
}

impl Linger {
    /// Counts what a flush sent.
    pub(crate) fn on_sent(&mut self, now: Micros, packets: u64, sends: u64) {
        self.packets += packets;
        self.sends += sends;
        let elapsed_us = now.since(self.window_at);
        if elapsed_us < WINDOW_US {
            return;
        }
        let cost_ns = self.packets * PACKET_NS + self.sends * SEND_NS;
        let load_percent = cost_ns / 10 / elapsed_us;
        let above = load_percent
            .saturating_sub(LOAD_PERCENT_MIN)
            .min(100 - LOAD_PERCENT_MIN);
        let wanted_us = LINGER_US_MAX * above / (100 - LOAD_PERCENT_MIN);
        // The wait itself lowers the load by making runs longer: it falls by an eighth a window, or it
        // would swing between none and full.
        self.linger_us = wanted_us.max(self.linger_us - self.linger_us.div_ceil(8));
        self.window_at = now;
        self.packets = 0;
        self.sends = 0;
    }

    /// How long a video packet that is ready now may wait, in microseconds.
    pub(crate) fn us(&self) -> u64 {
        self.linger_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_windows(windows: u64, sends_a_window: u64) -> Linger {
        let mut linger = Linger::default();
        for n in 1..=windows {
            linger.on_sent(Micros(n * WINDOW_US), sends_a_window, sends_a_window);
        }
        linger
    }

    #[test]
    fn a_quiet_shard_never_waits() {
        assert_eq!(
            after_windows(10, 2_000).us(),
            0,
            "2,000 single sends in 10 ms are 42 %"
        );
    }

    #[test]
    fn a_saturated_shard_waits_two_milliseconds() {
        assert_eq!(after_windows(10, 6_000).us(), LINGER_US_MAX);
    }

    #[test]
    fn the_wait_falls_gently_when_load_goes() {
        let mut linger = after_windows(10, 6_000);
        linger.on_sent(Micros(11 * WINDOW_US), 0, 0);
        assert_eq!(linger.us(), 1_750);
        for n in 12..200 {
            linger.on_sent(Micros(n * WINDOW_US), 0, 0);
        }
        assert_eq!(linger.us(), 0);
    }
}
