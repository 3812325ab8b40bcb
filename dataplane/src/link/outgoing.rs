//! What waits to be written to one control plane: pure, bounded, in order.
//!
//! Replies and parts wait as long as they must: their number is bounded by the orders that are read.
//! Events do not wait for ever. Measurements coalesce to the newest of each shard; too many state events
//! are replaced by one `ResyncNeeded`, after which the control plane asks for a snapshot that contains
//! them.

use std::collections::{BTreeMap, VecDeque};

use dataplane_api::Event;
use dataplane_api::event::{ResyncNeeded, ShardStats};
use dataplane_api::ids::ShardIndex;
use dataplane_api::wire::Frame;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It waits to be written.
    Waits,
    /// It took the place of an older measurement of its shard.
    Coalesced,
    /// It is left out: the snapshot that a waiting `ResyncNeeded` asks for contains it.
    Covered,
    /// A `ResyncNeeded` took its place and that of all state events before it.
    Resync,
}

/// State events that may wait for one control plane: two a session of 2,000.
pub(super) const EVENTS_WAITING_MAX: usize = 4_096;

/// See [`Outgoing::waiting`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Replies, parts and state events, in order.
    pub frames: usize,
    /// State events among them.
    pub events: usize,
    /// Shards whose newest measurement waits.
    pub measurements: usize,
    /// A `ResyncNeeded` is among the frames.
    pub resync: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outgoing {
    frames: VecDeque<Frame>,
    measurements: BTreeMap<ShardIndex, (u64, ShardStats)>,
    /// State events among `frames`.
    events: usize,
    /// A `ResyncNeeded` waits among `frames`: whatever happens until it is written is in the snapshot
    /// that follows it.
    resync_waits: bool,
}

impl Outgoing {
    /// Queues a reply or a part.
    pub fn push(&mut self, frame: Frame) {
        self.frames.push_back(frame);
    }

    /// Queues an event, or what stands for it.
    pub fn push_event(&mut self, shard: ShardIndex, counter: u64, event: Event) -> Queued {
        match event {
            Event::ShardStats(stats) => match self.measurements.insert(shard, (counter, stats)) {
                Some(_) => Queued::Coalesced,
                None => Queued::Waits,
            },
            Event::ResyncNeeded(_) => self.resync(shard, counter),
            // No snapshot says these, and each is said once.
            Event::Superseded(_) | Event::Draining(_) => {
                self.wait(Frame::Event(shard, counter, event))
            }
            Event::SessionConnected(_)
            | Event::SessionClosed(_)
            | Event::TrackLive(_)
            | Event::TrackLayers(_)
            | Event::TrackSilent(_) => {
                if self.resync_waits {
                    Queued::Covered
                } else if self.events >= EVENTS_WAITING_MAX {
                    self.resync(shard, counter)
                } else {
                    self.wait(Frame::Event(shard, counter, event))
                }
            }
        }
    }

    /// The next frame to write: in order, measurements when nothing else waits.
    pub fn pop(&mut self) -> Option<Frame> {
        if let Some(frame) = self.frames.pop_front() {
            match &frame {
                Frame::Event(_, _, Event::ResyncNeeded(_)) => self.resync_waits = false,
                Frame::Event(..) => self.events -= 1,
                Frame::Hello(_) | Frame::Order(..) | Frame::Reply(..) | Frame::Part(..) => {}
            }
            return Some(frame);
        }
        let (shard, (counter, stats)) = self.measurements.pop_first()?;
        Some(Frame::Event(shard, counter, Event::ShardStats(stats)))
    }

    /// How much waits to be written.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        Waiting {
            frames: self.frames.len(),
            events: self.events,
            measurements: self.measurements.len(),
            resync: self.resync_waits,
        }
    }

    fn wait(&mut self, event: Frame) -> Queued {
        self.events += 1;
        self.frames.push_back(event);
        Queued::Waits
    }

    fn resync(&mut self, shard: ShardIndex, counter: u64) -> Queued {
        let is_event = |frame: &Frame| matches!(frame, Frame::Event(..));
        self.frames
            .retain(|frame| !is_event(frame) || is_in_no_snapshot(frame));
        self.events = self.frames.iter().filter(|frame| is_event(frame)).count();
        self.resync_waits = true;
        let event = Event::ResyncNeeded(ResyncNeeded {});
        self.frames.push_back(Frame::Event(shard, counter, event));
        Queued::Resync
    }
}

/// Whether a frame is an event that a snapshot does not make up for.
fn is_in_no_snapshot(frame: &Frame) -> bool {
    matches!(
        frame,
        Frame::Event(_, _, Event::Superseded(_) | Event::Draining(_))
    )
}

#[cfg(test)]
mod tests {
    use dataplane_api::Reply;
    use dataplane_api::event::{CloseReason, Draining, SessionClosed, Superseded};
    use dataplane_api::ids::{OrderId, SessionId};
    use dataplane_api::reply::Pong;

    use super::*;

    const SHARD: ShardIndex = ShardIndex(0);

    fn closed(session: u64) -> Event {
        let session = SessionId(session);
        Event::SessionClosed(SessionClosed {
            session,
            reason: CloseReason::Ordered,
        })
    }

    fn stats(sessions: u32) -> Event {
        Event::ShardStats(ShardStats {
            sessions,
            ..ShardStats::default()
        })
    }

    fn pong(order: u64) -> Frame {
        Frame::Reply(OrderId(order), Reply::Pong(Pong {}))
    }

    fn drain(outgoing: &mut Outgoing) -> Vec<Frame> {
        std::iter::from_fn(|| outgoing.pop()).collect()
    }

    #[test]
    fn replies_and_state_events_keep_their_order() {
        let mut outgoing = Outgoing::default();
        outgoing.push(pong(1));
        outgoing.push_event(SHARD, 1, closed(1));
        outgoing.push(pong(2));
        assert_eq!(
            drain(&mut outgoing),
            [pong(1), Frame::Event(SHARD, 1, closed(1)), pong(2)]
        );
    }

    #[test]
    fn of_a_shards_measurements_the_newest_is_written_and_only_when_nothing_else_waits() {
        let mut outgoing = Outgoing::default();
        outgoing.push_event(SHARD, 1, stats(1));
        outgoing.push_event(ShardIndex(1), 1, stats(10));
        assert_eq!(outgoing.push_event(SHARD, 2, stats(2)), Queued::Coalesced);
        outgoing.push(pong(1));
        assert_eq!(
            drain(&mut outgoing),
            [
                pong(1),
                Frame::Event(SHARD, 2, stats(2)),
                Frame::Event(ShardIndex(1), 1, stats(10))
            ]
        );
    }

    #[test]
    fn too_many_state_events_become_one_resync_and_replies_survive() {
        let mut outgoing = Outgoing::default();
        outgoing.push(pong(1));
        let overflow = EVENTS_WAITING_MAX as u64 + 1;
        for counter in 1..=overflow + 100 {
            let queued = outgoing.push_event(SHARD, counter, closed(counter));
            let expected = match counter {
                _ if counter < overflow => Queued::Waits,
                _ if counter == overflow => Queued::Resync,
                _ => Queued::Covered,
            };
            assert_eq!(queued, expected, "event {counter}");
        }
        assert_eq!(
            drain(&mut outgoing),
            [
                pong(1),
                Frame::Event(SHARD, overflow, Event::ResyncNeeded(ResyncNeeded {}))
            ]
        );

        outgoing.push_event(SHARD, 9_000, closed(9_000));
        assert_eq!(
            drain(&mut outgoing),
            [Frame::Event(SHARD, 9_000, closed(9_000))],
            "after the resync is written, events flow again"
        );
    }

    #[test]
    fn superseded_is_said_even_behind_a_resync() {
        let mut outgoing = Outgoing::default();
        outgoing.push_event(SHARD, 1, Event::ResyncNeeded(ResyncNeeded {}));
        outgoing.push_event(SHARD, 2, closed(1));
        outgoing.push_event(SHARD, 3, Event::Superseded(Superseded {}));
        let kinds = drain(&mut outgoing);
        assert!(matches!(
            kinds[..],
            [
                Frame::Event(_, _, Event::ResyncNeeded(_)),
                Frame::Event(_, _, Event::Superseded(_))
            ]
        ));
    }

    #[test]
    fn that_the_node_drains_is_said_before_and_behind_a_resync() {
        let mut outgoing = Outgoing::default();
        let draining = || Event::Draining(Draining {});
        outgoing.push_event(SHARD, 0, draining());
        outgoing.push_event(SHARD, 1, closed(1));
        outgoing.push_event(SHARD, 2, Event::ResyncNeeded(ResyncNeeded {}));
        outgoing.push_event(SHARD, 0, draining());
        let waiting = outgoing.waiting();
        assert_eq!((waiting.frames, waiting.events), (3, 2));
        assert!(waiting.resync);
        assert_eq!(
            drain(&mut outgoing),
            [
                Frame::Event(SHARD, 0, draining()),
                Frame::Event(SHARD, 2, Event::ResyncNeeded(ResyncNeeded {})),
                Frame::Event(SHARD, 0, draining()),
            ]
        );
        assert_eq!(outgoing.waiting(), Waiting::default());
    }
}
