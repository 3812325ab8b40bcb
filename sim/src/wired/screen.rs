//! A slot at its viewer: what came, what is missing and asked for, and what was shown.

use std::collections::BTreeMap;

use codecs::rtcp::{ReportBlock, SenderInfo};
use codecs::rtp::{ExtSeq, Seq};
use dataplane_api::media::MediaKind;
use dataplane_engine::time::Micros;

use super::decoder::{Decoder, Shown};
use crate::stamp::Stamp;

/// A packet is asked for this often, as libwebrtc does.
const ASKS_MAX: u8 = 10;
/// And no longer than this.
const PATIENCE_US: u64 = 1_000_000;
/// Where nothing is asked for, a packet may be overtaken by this much.
const REORDER_PATIENCE_US: u64 = 100_000;
/// How long a viewer without a picture waits before it asks, and between asking: libwebrtc's wait for a keyframe.
const KEYFRAME_INTERVAL_US: u64 = 200_000;
/// More missing packets than that are not asked for: the viewer wants a keyframe.
const MISSING_MAX: usize = 500;
/// Of one request.
const NACK_SEQS_MAX: usize = 100;

/// A packet that did not come yet.
#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Micros,
    ask_at: Micros,
    asks: u8,
}

/// How much of one stream of one publisher arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The first packet that came, as its publisher numbers them.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// How many different ones came, first and last included.
    pub came: u64,
}

impl Tally {
    /// Packets between the first and the last that never came.
    #[must_use]
    pub fn lost(&self) -> u64 {
        (self.last - self.first + 1) - self.came
    }
}

/// What a slot is, as the answer said.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) kind: MediaKind,
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: Option<u32>,
    pub(super) nack: bool,
}

/// One slot at its viewer.
#[derive(Debug)]
pub struct Screen {
    pub(super) plan: Plan,
    first: Option<u64>,
    highest: u64,
    received: u64,
    repeated: u64,
    missing: BTreeMap<u64, Missing>,
    /// Came, and waits for what is before it.
    waiting: BTreeMap<u64, Stamp>,
    next: u64,
    decoder: Decoder,
    tallies: BTreeMap<(u32, u32), Tally>,
    corrupt: u64,
    asked_for_keyframe_at: Option<Micros>,
    given_up: u64,
    nacked: u64,
    report: (u64, u64),
    sender: Option<(SenderInfo, Micros)>,
    connected_at: Option<Micros>,
}

impl Screen {
    pub(super) fn new(plan: Plan) -> Screen {
        Screen {
            decoder: Decoder::new(plan.kind),
            plan,
            first: None,
            highest: 0,
            received: 0,
            repeated: 0,
            missing: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            tallies: BTreeMap::new(),
            corrupt: 0,
            asked_for_keyframe_at: None,
            given_up: 0,
            nacked: 0,
            report: (0, 0),
            sender: None,
            connected_at: None,
        }
    }

    /// Whether it shows video or plays audio.
    #[must_use]
    pub fn kind(&self) -> MediaKind {
        self.plan.kind
    }

    /// Pictures, or packets of audio, in the order they were shown.
    #[must_use]
    pub fn shown(&self) -> &[Shown] {
        self.decoder.shown()
    }

    /// Different packets that came.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets that came again, by retransmission or from the network.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Packets that were asked for until there was no point any more.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Packets that authenticated and did not hold what anybody sent.
    #[must_use]
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// Packets asked for, each time counted.
    #[must_use]
    pub fn nacked(&self) -> u64 {
        self.nacked
    }

    /// What came of each (publisher, SSRC of the publisher).
    #[must_use]
    pub fn tallies(&self) -> &BTreeMap<(u32, u32), Tally> {
        &self.tallies
    }

    /// The longest time without a picture between two of them, from `from` on.
    #[must_use]
    pub fn longest_freeze_us(&self, from: Micros) -> u64 {
        self.gaps_us(from).into_iter().max().unwrap_or(u64::MAX)
    }

    /// Every time between two pictures, or two packets of audio, from `from` on.
    #[must_use]
    pub fn gaps_us(&self, from: Micros) -> Vec<u64> {
        let shown: Vec<Micros> = self
            .shown()
            .iter()
            .map(|shown| shown.at)
            .filter(|&at| at >= from)
            .collect();
        shown.windows(2).map(|w| w[1].since(w[0])).collect()
    }

    pub(super) fn on_connected(&mut self, now: Micros) {
        self.connected_at.get_or_insert(now);
    }

    /// A packet of its stream, by itself or by retransmission. `index` is that of the original.
    pub(super) fn on_packet(&mut self, now: Micros, index: u64, payload: &[u8]) {
        let Some(stamp) = Stamp::read(payload, self.plan.kind) else {
            self.corrupt += 1;
            return;
        };
        if self.first.is_none() {
            self.first = Some(index);
            self.highest = index;
            self.next = index;
        } else if index > self.highest {
            for lost in self.highest + 1..index {
                self.missing.insert(
                    lost,
                    Missing {
                        since: now,
                        ask_at: now,
                        asks: 0,
                    },
                );
            }
            self.highest = index;
            self.trim();
        } else if self.missing.remove(&index).is_none() {
            self.repeated += 1;
            return;
        }
        self.received += 1;
        self.count(&stamp);
        self.waiting.insert(index, stamp);
        self.drain(now);
    }

    /// The index of the packet that a retransmission repeats.
    pub(super) fn original(&self, osn: Seq) -> Option<u64> {
        self.first?;
        let back = i64::from(osn.distance(ExtSeq(self.highest).seq()));
        self.highest.checked_add_signed(back)
    }

    pub(super) fn on_sender_report(&mut self, now: Micros, info: SenderInfo) {
        self.sender = Some((info, now));
    }

    /// Gives up what nobody will send any more, and says what is to be asked for now.
    pub(super) fn on_timeout(&mut self, now: Micros, rtt_us: u64) -> Vec<Seq> {
        let patience_us = if self.plan.nack {
            PATIENCE_US
        } else {
            REORDER_PATIENCE_US
        };
        let hopeless = |m: &Missing| {
            now.since(m.since) >= patience_us || (m.asks >= ASKS_MAX && m.ask_at <= now)
        };
        let before = self.missing.len();
        self.missing.retain(|_, missing| !hopeless(missing));
        self.given_up += (before - self.missing.len()) as u64;
        self.drain(now);
        if !self.plan.nack {
            return Vec::new();
        }
        let mut asked = Vec::new();
        for (&index, missing) in &mut self.missing {
            if missing.ask_at <= now && asked.len() < NACK_SEQS_MAX {
                missing.asks += 1;
                missing.ask_at = now.plus_us(rtt_us.max(20_000) + 10_000);
                asked.push(ExtSeq(index).seq());
            }
        }
        self.nacked += asked.len() as u64;
        asked
    }

    /// When something is to be asked for or given up.
    pub(super) fn next_deadline(&self) -> Option<Micros> {
        let patience_us = if self.plan.nack {
            PATIENCE_US
        } else {
            REORDER_PATIENCE_US
        };
        let packets = self.missing.values().map(|missing| {
            let end = missing.since.plus_us(patience_us);
            if self.plan.nack {
                end.min(missing.ask_at)
            } else {
                end
            }
        });
        packets.chain(self.keyframe_due()).min()
    }

    /// Whether to ask for a keyframe now.
    pub(super) fn take_keyframe_wish(&mut self, now: Micros) -> bool {
        let due = self.keyframe_due().is_some_and(|at| at <= now);
        if due {
            self.asked_for_keyframe_at = Some(now);
        }
        due
    }

    fn keyframe_due(&self) -> Option<Micros> {
        let connected_at = self.connected_at?;
        let sees_nothing = self.shown().is_empty() && self.plan.kind == MediaKind::Video;
        let asked_at = self.asked_for_keyframe_at;
        if self.decoder.wants_keyframe() {
            return Some(asked_at.map_or(connected_at, |at| at.plus_us(KEYFRAME_INTERVAL_US)));
        }
        // The node asks by itself when somebody joins.
        sees_nothing.then(|| {
            asked_at
                .unwrap_or(connected_at)
                .plus_us(KEYFRAME_INTERVAL_US)
        })
    }

    /// The report block for what happened since the last one; none before the first packet.
    pub(super) fn report(&mut self, now: Micros) -> Option<ReportBlock> {
        let expected = self.highest - self.first? + 1;
        let (expected_before, received_before) = self.report;
        let expected_now = expected - expected_before;
        let received_now = self.received - received_before;
        self.report = (expected, self.received);
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0);
        let lost = expected.saturating_sub(self.received);
        let (last_sr, delay_since_last_sr) = match &self.sender {
            None => (0, 0),
            Some((info, at)) => (
                info.compact_ntp(),
                ExtSeq(now.since(*at) * 65_536 / 1_000_000).low32(),
            ),
        };
        Some(ReportBlock {
            ssrc: self.plan.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(lost).unwrap_or(i32::MAX),
            highest_seq: ExtSeq(self.highest).low32(),
            jitter: 0,
            last_sr,
            delay_since_last_sr,
        })
    }

    fn trim(&mut self) {
        while self.missing.len() > MISSING_MAX {
            self.missing.pop_first();
            self.given_up += 1;
        }
    }

    fn count(&mut self, stamp: &Stamp) {
        let tally = self
            .tallies
            .entry((stamp.publisher, stamp.ssrc))
            .or_insert(Tally {
                first: stamp.number,
                last: stamp.number,
                came: 0,
            });
        tally.first = tally.first.min(stamp.number);
        tally.last = tally.last.max(stamp.number);
        tally.came += 1;
    }

    /// Feeds the decoder with what is complete up to the first missing packet that may still come.
    fn drain(&mut self, now: Micros) {
        while let Some((&index, _)) = self.waiting.first_key_value() {
            if index > self.next {
                let hole_may_close = self.missing.range(self.next..index).next().is_some();
                if hole_may_close {
                    return;
                }
                self.decoder.lose();
            }
            if let Some((_, stamp)) = self.waiting.pop_first() {
                self.next = self.next.max(index + 1);
                self.decoder.feed(now, stamp);
            }
        }
    }
}
