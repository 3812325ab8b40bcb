//! The sending half of a turn: what is due is sealed into the bytes the edge lends, destination by
//! destination, and what did not leave is taken back.

use crate::forward::{Lane, Load, Sealed};
use crate::outbox::{Outbox, SendFailed};
use crate::reason::DropReason;
use crate::shard::Shard;
use crate::table::Key;
use crate::time::Micros;

/// Packets to send again in one turn; the rest is asked for again.
pub(crate) const RESENDS_MAX: usize = 1_024;

/// A packet to send again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resend {
    pub(crate) session: Key,
    /// Position in the session's slots.
    pub(crate) slot: u16,
    pub(crate) sealed: Sealed,
}

impl Shard {
    /// Seals and commits everything that is due: every session's audio first, so that speech waits for nobody
    /// (contracts.md 18), then control, then what is sent again, then video.
    pub fn flush<O: Outbox>(&mut self, now: Micros, outbox: &mut O) {
        let (packets, runs) = (self.counters.sent_packets, self.counters.sent_runs);
        self.sent.clear();
        self.flush_lane(now, Lane::Audio, outbox);
        self.control.flush(outbox, &mut self.counters);
        self.resend(outbox);
        self.flush_lane(now, Lane::Video, outbox);
        let sessions = &mut self.sessions;
        self.listed.retain(|&key| {
            sessions.get_mut(key).is_some_and(|session| {
                session.lanes.listed = session.lanes.len() > 0;
                session.lanes.listed
            })
        });
        self.linger.on_sent(
            now,
            self.counters.sent_packets - packets,
            self.counters.sent_runs - runs,
        );
        self.counters.linger_us = self.linger.us();
    }

    fn flush_lane<O: Outbox>(&mut self, now: Micros, lane: Lane, outbox: &mut O) {
        for &key in &self.listed {
            let Some(session) = self.sessions.get_mut(key) else {
                continue;
            };
            let Some((mut flow, lanes)) = session.flow(key) else {
                // Its path went to another session: what waits would wait for ever, or arrive stale.
                let dropped = session.lanes.clear() as u64;
                self.counters.dropped_out.add(DropReason::Send, dropped);
                continue;
            };
            let queue = match lane {
                Lane::Audio => &mut lanes.audio,
                Lane::Video if lanes.video_is_due(now) => {
                    lanes.video_due = None;
                    &mut lanes.video
                }
                Lane::Video => continue,
            };
            if queue.is_empty() {
                continue;
            }
            let bytes = self.counters.sent_bytes;
            flow.flush(
                queue,
                &self.pool,
                outbox,
                &mut self.lengths,
                &mut self.sent,
                &mut self.counters,
            );
            session.resends.earn(self.counters.sent_bytes - bytes);
        }
    }

    fn resend<O: Outbox>(&mut self, outbox: &mut O) {
        while let Some(resend) = self.resends.pop_front() {
            let session = self.sessions.get_mut(resend.session);
            let Some((mut flow, _)) = session.and_then(|session| session.flow(resend.session))
            else {
                // Its session is gone, or its path went to another.
                self.counters.resends_missed += 1;
                continue;
            };
            flow.resend(
                resend.sealed,
                resend.slot,
                &self.pool,
                outbox,
                &mut self.sent,
                &mut self.counters,
            );
        }
    }

    /// A run that did not leave, reported before the next flush: its packets count as never sent.
    pub fn on_send_failed(&mut self, _now: Micros, failed: SendFailed) {
        self.counters.send_failed_packets += u64::from(failed.packets);
        let Some((run, packets)) = self.sent.tail(failed.run, usize::from(failed.packets)) else {
            // Control: its protocol repeats it.
            return;
        };
        let lost = packets.len() as u64;
        match run.load {
            Load::Media => {
                self.counters.sealed_packets -= lost;
                self.counters.dropped_out.add(DropReason::Send, lost);
            }
            Load::Again { rtx, .. } => {
                self.counters.retransmitted_packets -= lost;
                self.counters.rtx_packets -= if rtx { lost } else { 0 };
                self.counters.resends_missed += lost;
            }
        }
        let Some(session) = self.sessions.get_mut(run.session) else {
            return;
        };
        for packet in packets {
            let Some(slot) = session.slots.get_mut(usize::from(packet.slot)) else {
                continue;
            };
            match run.load {
                Load::Media => slot.unsend(packet),
                Load::Again { cost, .. } => {
                    slot.history.untake_resend(packet.index);
                    session.resends.give_back(cost);
                }
            }
        }
    }

    /// When `on_tick` and `flush` want to be called again, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Micros> {
        if !self.control.is_empty() {
            return Some(Micros::ZERO);
        }
        let video_due = self
            .listed
            .iter()
            .filter_map(|&key| self.sessions.get(key)?.lanes.video_due)
            .min();
        [self.timers.next(), video_due].into_iter().flatten().min()
    }

    /// RTP packets selected for a slot and not flushed yet.
    #[must_use]
    pub fn queued_packets(&self) -> u64 {
        let queued = |key: &Key| {
            self.sessions
                .get(*key)
                .map(|session| session.lanes.len() as u64)
        };
        self.listed.iter().filter_map(queued).sum()
    }
}
