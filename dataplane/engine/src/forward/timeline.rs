//! The RTP timestamps of one outgoing stream, which go on across sources, and what they mean on the capture clock
//! of the publisher (contracts.md 24).
//!
//! Sources of one publisher are aligned by capture time: what was captured 33 ms later stands 33 ms later, whichever
//! layer it came by, so that lip sync outlives the switch. A source whose capture clock is not known yet, or is
//! another publisher's, is aligned by arrival: by the time that passed here. When its clock becomes known, the
//! offset slides to where capture time puts it, by at most 5 ms a frame, which nobody sees, and speech by a hundredth
//! of its pace, which nobody hears.

use dataplane_api::media::MediaKind;

use crate::publish::{SenderClock, ntp_of_us, ticks_between};
use crate::table::Key;
use crate::time::Micros;

/// How far an offset slides from one frame to the next.
const SLIDE_MS_MAX: u32 = 5;

/// Of speech, one part in so many: packets that overlap are heard, a pace that is one per cent off is not.
const SPEECH_SLIDE: i64 = 100;

/// How far capture time and arrival may be apart: what is further is no delay of an encoder or a network but a
/// clock that says something else, and is not believed.
const APART_MS_MAX: u32 = 2_000;

/// A source that has not said its clock for this long is taken to be where its arrival put it.
const UNKNOWN_US_MAX: u64 = 2_000_000;

/// Frames remembered while the offset slides, for packets that arrive late. A packet that is later than this many
/// frames has no place: its timestamp would not be that of its frame.
const BENDS: usize = 16;

/// They are forgotten when the offset has not changed for this long: nothing that is repaired arrives later.
const BENT_MS_MAX: u32 = 2_000;

/// What a packet says of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant {
    /// Its RTP timestamp.
    pub(crate) timestamp: u32,
    /// When it arrived.
    pub(crate) arrival: Micros,
    /// When it was captured, on its publisher's clock: NTP, 32.32 fixed point.
    pub(crate) captured: Option<u64>,
}

/// The timestamps of one slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeline {
    kind: MediaKind,
    /// What the first packet of the first source gets; random.
    first: u32,
    source: Option<Source>,
    /// Captured then, sent as that: the line on which capture time and our timestamps lie.
    anchor: Option<Anchor>,
}

/// The source that fills the slot.
#[derive(Debug, Clone, Copy)]
struct Source {
    clock_hz: u32,
    /// When it began.
    since: Micros,
    /// Its newest frame.
    newest: Instant,
    /// What is added to that frame's timestamp.
    offset: u32,
    /// Ticks that the offset still has to slide.
    slide: i64,
    /// Its capture clock is known, and its offset is where that puts it or slides there.
    is_tied: bool,
    /// Where the offset changed lately, newest last.
    bends: [Bend; BENDS],
    bends_len: usize,
    /// Earlier timestamps than those of `bends` are forgotten.
    has_forgotten: bool,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    publisher: Key,
    captured: u64,
    /// Our timestamp of it.
    timestamp: u32,
    clock_hz: u32,
    arrival: Micros,
}

/// From one frame to the next the offset changed. A frame between the two that arrives late gets its share of the
/// change, so that timestamps keep their order.
#[derive(Debug, Clone, Copy, Default)]
struct Bend {
    from: u32,
    to: u32,
    /// The offset up to `from`.
    before: u32,
    /// How much more it is from `to` on.
    change: i32,
}

impl Timeline {
    pub(crate) fn new(kind: MediaKind, first: u32) -> Timeline {
        Timeline {
            kind,
            first,
            source: None,
            anchor: None,
        }
    }

    /// A new source begins with this frame. Its timestamp is at least one tick after every one before: two frames
    /// of different sources never share one.
    pub(crate) fn switch(&mut self, begin: Instant, publisher: Key, clock_hz: u32) {
        let by_arrival = match &self.source {
            None => self.first,
            Some(before) => {
                let passed = ticks_of_us(begin.arrival.since(before.newest.arrival), clock_hz);
                before.newest_sent().wrapping_add(passed)
            }
        };
        let earliest = match &self.source {
            None => self.first,
            Some(before) => before.newest_sent().wrapping_add(1),
        };
        self.anchor = self.anchor.filter(|anchor| anchor.publisher == publisher);
        let by_capture = begin
            .captured
            .and_then(|captured| self.anchor?.timestamp_of(captured, clock_hz))
            .filter(|&timestamp| are_near(timestamp, by_arrival, clock_hz));
        let wished = by_capture.unwrap_or(by_arrival);
        let timestamp = if is_before(wished, earliest) {
            earliest
        } else {
            wished
        };
        let slide = by_capture.map_or(0, |wished| distance(timestamp, wished));
        self.source = Some(Source {
            clock_hz,
            since: begin.arrival,
            newest: begin,
            offset: timestamp.wrapping_sub(begin.timestamp),
            slide,
            is_tied: false,
            bends: [Bend::default(); BENDS],
            bends_len: 0,
            has_forgotten: false,
        });
        if by_capture.is_none() && begin.captured.is_some() {
            // Either the publisher is new here, or its clock is not believed: what it says next is.
            self.anchor = None;
        }
        self.tie(begin, publisher);
    }

    /// Our timestamp of a packet of the current source. `None` when it is too late to have one.
    /// `is_newest` says that no packet after it in sequence was placed.
    pub(crate) fn place(
        &mut self,
        packet: Instant,
        publisher: Key,
        is_newest: bool,
    ) -> Option<u32> {
        let source = self.source.as_mut()?;
        let timestamp = packet.timestamp;
        let ahead = distance(source.newest.timestamp, timestamp);
        let restarts = ahead < -i64::from(source.clock_hz);
        if is_newest && (ahead > 0 || restarts) {
            if !source.is_tied
                && let (Some(captured), Some(anchor)) = (packet.captured, self.anchor)
            {
                let sent = timestamp.wrapping_add(source.offset);
                match anchor
                    .timestamp_of(captured, source.clock_hz)
                    .filter(|&wished| are_near(wished, sent, source.clock_hz))
                {
                    Some(wished) => source.slide = distance(sent, wished),
                    None => self.anchor = None,
                }
            }
            source.advance(packet, ahead, self.kind);
            self.tie(packet, publisher);
        }
        let offset = self.source.as_ref()?.offset_at(timestamp)?;
        Some(timestamp.wrapping_add(offset))
    }

    /// Moves the anchor to the newest frame, if that frame's capture time is known. It follows the publisher's
    /// clock in this way, whose hertz are never quite ours.
    fn tie(&mut self, frame: Instant, publisher: Key) {
        let (Some(source), Some(captured)) = (self.source.as_mut(), frame.captured) else {
            return;
        };
        source.is_tied = true;
        self.anchor = Some(Anchor {
            publisher,
            captured,
            timestamp: source.aim(frame.timestamp),
            clock_hz: source.clock_hz,
            arrival: frame.arrival,
        });
    }

    /// NTP time and our timestamp of one instant, for a sender report at `now`. `clock` is what the stream that
    /// fills the slot last said; the two lie on the line to which the offset slides, so that what receivers are
    /// told stays one line.
    ///
    /// `None` while the source's clock is not known: another publisher's clock is never reported. A source of
    /// the same publisher that stays silent for two seconds is taken to be where its arrival put it.
    pub(crate) fn report(&self, now: Micros, clock: Option<SenderClock>) -> Option<(u64, u32)> {
        let source = self.source.as_ref()?;
        if !source.is_tied && (clock.is_some() || now.since(source.since) < UNKNOWN_US_MAX) {
            return None;
        }
        if let Some(clock) = clock {
            let passed = ticks_of_us(now.since(clock.arrival), source.clock_hz);
            return Some((
                clock.ntp_at(now),
                source.aim(clock.timestamp).wrapping_add(passed),
            ));
        }
        let anchor = self.anchor?;
        let passed_us = now.since(anchor.arrival);
        let passed = ticks_of_us(passed_us, anchor.clock_hz);
        Some((
            anchor.captured.wrapping_add(ntp_of_us(passed_us)),
            anchor.timestamp.wrapping_add(passed),
        ))
    }
}

impl Source {
    /// The newest timestamp that was sent.
    fn newest_sent(&self) -> u32 {
        self.newest.timestamp.wrapping_add(self.offset)
    }

    /// Our timestamp of a timestamp once the offset has done sliding.
    fn aim(&self, timestamp: u32) -> u32 {
        let slide = i32::try_from(self.slide).unwrap_or(0);
        timestamp
            .wrapping_add(self.offset)
            .wrapping_add_signed(slide)
    }

    /// The next frame, `ahead` ticks after the newest.
    fn advance(&mut self, frame: Instant, ahead: i64, kind: MediaKind) {
        // Timestamps wrap, and start over: what bent long ago would come to lie ahead.
        let last = self
            .bends_len
            .checked_sub(1)
            .and_then(|at| self.bends.get(at));
        let remembered = i64::from(self.clock_hz) * i64::from(BENT_MS_MAX) / 1_000;
        if last.is_some_and(|bend| !(0..=remembered).contains(&distance(bend.to, frame.timestamp)))
        {
            self.bends_len = 0;
            self.has_forgotten = false;
        }
        let frame_max = i64::from(self.clock_hz) * i64::from(SLIDE_MS_MAX) / 1_000;
        let slide_max = match kind {
            MediaKind::Video => frame_max,
            MediaKind::Audio => frame_max.min((ahead / SPEECH_SLIDE).max(1)),
        };
        // Backwards by half of what lies between the frames at most: timestamps never stand still.
        let backwards_max = slide_max.min((ahead / 2).max(0));
        let change = self.slide.clamp(-backwards_max, slide_max);
        if let (1.., Ok(change)) = (ahead, i32::try_from(change))
            && change != 0
        {
            self.bend(Bend {
                from: self.newest.timestamp,
                to: frame.timestamp,
                before: self.offset,
                change,
            });
            self.offset = self.offset.wrapping_add_signed(change);
            self.slide -= i64::from(change);
        }
        self.newest = frame;
    }

    fn bend(&mut self, bend: Bend) {
        if self.bends_len == BENDS {
            self.bends.copy_within(1.., 0);
            self.bends_len -= 1;
            self.has_forgotten = true;
        }
        if let Some(place) = self.bends.get_mut(self.bends_len) {
            *place = bend;
            self.bends_len += 1;
        }
    }

    /// What is added to a timestamp, whenever its packet arrives.
    fn offset_at(&self, timestamp: u32) -> Option<u32> {
        let bends = self.bends.get(..self.bends_len)?;
        for bend in bends.iter().rev() {
            if !is_before(timestamp, bend.to) {
                return Some(bend.before.wrapping_add_signed(bend.change));
            }
            if !is_before(timestamp, bend.from) {
                let into = distance(bend.from, timestamp);
                let length = distance(bend.from, bend.to);
                let share = (i64::from(bend.change) * into).checked_div(length)?;
                return Some(bend.before.wrapping_add_signed(i32::try_from(share).ok()?));
            }
        }
        match bends.first() {
            None => Some(self.offset),
            Some(_) if self.has_forgotten => None,
            Some(first) => Some(first.before),
        }
    }
}

impl Anchor {
    /// Our timestamp of what was captured then.
    fn timestamp_of(&self, captured: u64, clock_hz: u32) -> Option<u32> {
        let ticks = i32::try_from(ticks_between(self.captured, captured, clock_hz)).ok()?;
        Some(self.timestamp.wrapping_add_signed(ticks))
    }
}

/// Ticks from one timestamp to another, the shorter way around.
fn distance(from: u32, to: u32) -> i64 {
    to.wrapping_sub(from).cast_signed().into()
}

fn is_before(timestamp: u32, other: u32) -> bool {
    distance(other, timestamp) < 0
}

fn are_near(timestamp: u32, other: u32, clock_hz: u32) -> bool {
    let apart_max = i64::from(clock_hz) * i64::from(APART_MS_MAX) / 1_000;
    distance(timestamp, other).abs() <= apart_max
}

fn ticks_of_us(us: u64, clock_hz: u32) -> u32 {
    let ticks = u128::from(us) * u128::from(clock_hz) / 1_000_000;
    u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
