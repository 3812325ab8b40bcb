//! The packets of one slot as they were sealed, for retransmission, and the guard that no index is ever
//! sealed twice with something else (contracts.md 11).

use super::picture::Patch;
use crate::limits::{RESEND_HEADER_BYTES, RTT_US_DEFAULT};
use crate::pool::{PacketHandle, Pooled};
use crate::time::Micros;
use crate::transport::replay::{RtpReplayWindow, seq_of};

/// One packet as sealed: enough to seal it again, byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The 48-bit SRTP index.
    pub(crate) index: u64,
    /// Its payload and metadata.
    pub(crate) packet: PacketHandle,
    /// The RTP timestamp as sent.
    pub(crate) timestamp: u32,
    /// The transport-wide sequence number as sent: it is part of what is authenticated.
    pub(crate) transport_seq: u16,
    /// RTP padding as sent.
    pub(crate) padding: u8,
    /// The payload type as sent.
    pub(crate) payload_type: u8,
    /// What was added to the numbers of its picture.
    pub(crate) patch: Patch,
}

impl Sealed {
    /// What sending it again costs its session's budget. A dependency descriptor may be longer than all else.
    pub(crate) fn resend_cost(&self, packet: &Pooled<'_>) -> u64 {
        let variable = packet.payload.len() + packet.dependency_descriptor.len();
        variable as u64 + u64::from(self.padding) + RESEND_HEADER_BYTES
    }
}

/// A ring of sealed packets, by index, and which indices were ever given out.
#[derive(Debug)]
pub(crate) struct History {
    /// Empty until the first packet is recorded: a session that is admitted and never connects, of which there
    /// may be a thousand, has many slots and sends nothing.
    ring: Vec<Entry>,
    /// How many the ring holds, a power of two.
    packets: usize,
    /// The newest index that was sealed.
    highest: Option<u64>,
    given: Option<RtpReplayWindow>,
}

/// [`Sealed`] and what was sent again of it, in 32 bytes, half a cache line: the ring of a viewer is cold
/// whenever a packet is recorded in it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    timestamp: u32,
    /// Of the shard's clock, wrapping; says nothing while `resends` is zero.
    resent_at_ms: u32,
    patch: Patch,
    transport_seq: u16,
    index: U48,
    packet: U48,
    padding: u8,
    /// [`VACANT`] where there is no packet.
    payload_type: u8,
    resends: u8,
}

/// No packet has this payload type: they have seven bits.
const VACANT: u8 = u8::MAX;

const _: () = assert!(size_of::<Entry>() == 32);

/// A number below 2^48.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct U48([u8; 6]);

impl U48 {
    fn new(number: u64) -> U48 {
        let [_, _, low @ ..] = number.to_be_bytes();
        U48(low)
    }

    fn get(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl Entry {
    const EMPTY: Entry = Entry {
        timestamp: 0,
        resent_at_ms: 0,
        patch: Patch::NONE,
        transport_seq: 0,
        index: U48([0; 6]),
        packet: U48([0; 6]),
        padding: 0,
        payload_type: VACANT,
        resends: 0,
    };

    fn new(sealed: Sealed) -> Entry {
        Entry {
            timestamp: sealed.timestamp,
            resent_at_ms: 0,
            patch: sealed.patch,
            transport_seq: sealed.transport_seq,
            index: U48::new(sealed.index),
            // At ten million packets a second a shard counts to 2^48 in ten months, and a handle cut to that
            // would find a packet evicted as long ago: none.
            packet: U48::new(sealed.packet.number()),
            padding: sealed.padding,
            payload_type: sealed.payload_type,
            resends: 0,
        }
    }

    fn sealed(&self) -> Sealed {
        Sealed {
            index: self.index.get(),
            packet: PacketHandle::numbered(self.packet.get()),
            timestamp: self.timestamp,
            transport_seq: self.transport_seq,
            padding: self.padding,
            payload_type: self.payload_type,
            patch: self.patch,
        }
    }

    /// A round trip has passed since it was last sent again.
    fn is_ready(&self, now_ms: u32, interval_ms: u32) -> bool {
        self.resends == 0 || now_ms.wrapping_sub(self.resent_at_ms) >= interval_ms
    }

    /// The index of its packet, if there is one.
    fn index(&self) -> Option<u64> {
        (self.payload_type != VACANT).then(|| self.index.get())
    }
}

/// A packet is sent again at most so often (security.md R7).
const RESENDS_MAX: u8 = 3;
/// And not sooner than this after the last time: a round trip inside a city.
const RESEND_INTERVAL_US_MIN: u64 = 20_000;
/// Nor later, or one wrong measurement of the round trip would end repair.
const RESEND_INTERVAL_US_MAX: u64 = 500_000;

/// The least time between two resends of one packet.
fn interval_ms(rtt_us: Option<u64>) -> u32 {
    let interval_us = rtt_us
        .unwrap_or(RTT_US_DEFAULT)
        .clamp(RESEND_INTERVAL_US_MIN, RESEND_INTERVAL_US_MAX);
    u32::try_from(interval_us.div_ceil(1_000)).unwrap_or(u32::MAX)
}

impl History {
    /// Remembers the last `packets`, a power of two. Allocates at the first of them, and never again.
    pub(crate) fn new(packets: usize) -> History {
        debug_assert!(packets.is_power_of_two());
        History {
            ring: Vec::new(),
            packets,
            highest: None,
            given: None,
        }
    }

    /// Gives `index` out, once: false when it was given before, or is too old to tell. An index counts from
    /// here on and not from its seal, because between the two a packet waits in its lane beside others.
    pub(crate) fn claim(&mut self, index: u64) -> bool {
        match &mut self.given {
            None => self.given = Some(RtpReplayWindow::starting_with(index)),
            Some(given) if given.admits(index) => given.mark(index),
            Some(_) => return false,
        }
        true
    }

    /// Remembers a packet, forgetting the one a ring's length before it.
    pub(crate) fn record(&mut self, sealed: Sealed) {
        if self.ring.is_empty() {
            self.ring = vec![Entry::EMPTY; self.packets];
        }
        let place = self.place(sealed.index);
        if let Some(entry) = self.ring.get_mut(place)
            && entry.index().is_none_or(|index| index < sealed.index)
        {
            *entry = Entry::new(sealed);
        }
        self.highest = self.highest.max(Some(sealed.index));
    }

    /// Forgets a packet that did not leave.
    pub(crate) fn forget(&mut self, index: u64) {
        let place = self.place(index);
        if let Some(entry) = self.ring.get_mut(place)
            && entry.index() == Some(index)
        {
            *entry = Entry::EMPTY;
        }
    }

    /// A packet that was sent again did not leave: it has that try again, a round trip later.
    pub(crate) fn untake_resend(&mut self, index: u64) {
        let place = self.place(index);
        if let Some(entry) = self.ring.get_mut(place)
            && entry.index() == Some(index)
        {
            entry.resends = entry.resends.saturating_sub(1);
        }
    }

    /// The packet to send again for `seq`, unless it is forgotten, was sent again too often or within the round trip
    /// `rtt_us` (a request that was on its way when the last answer left asks for nothing new), or is not
    /// `affordable`, which is asked last and leaves no trace when it says no.
    pub(crate) fn take_resend(
        &mut self,
        now: Micros,
        rtt_us: Option<u64>,
        seq: u16,
        affordable: impl FnOnce(&Sealed) -> bool,
    ) -> Option<Sealed> {
        let interval_ms = interval_ms(rtt_us);
        let now_ms = now.wrapping_ms();
        let entry = self.newest_mut(seq)?;
        let sealed = entry.sealed();
        if !entry.is_ready(now_ms, interval_ms)
            || entry.resends >= RESENDS_MAX
            || !affordable(&sealed)
        {
            return None;
        }
        entry.resends += 1;
        entry.resent_at_ms = now_ms;
        Some(sealed)
    }

    /// Whether a packet that is asked for, of `from` or behind it, was sent again as often as it may be, and the
    /// last time must have failed too: the viewer will never have it.
    pub(crate) fn is_lost(
        &mut self,
        now: Micros,
        rtt_us: Option<u64>,
        seq: u16,
        from: u64,
    ) -> bool {
        self.newest_mut(seq).is_some_and(|entry| {
            entry.resends >= RESENDS_MAX
                && entry.is_ready(now.wrapping_ms(), interval_ms(rtt_us))
                && entry.index.get() >= from
        })
    }

    /// The newest packet with this sequence number on the wire.
    fn newest_mut(&mut self, seq: u16) -> Option<&mut Entry> {
        let highest = self.highest?;
        let back = u64::from(seq_of(highest).wrapping_sub(seq));
        let index = highest.checked_sub(back)?;
        let place = self.place(index);
        self.ring
            .get_mut(place)
            .filter(|entry| entry.index() == Some(index))
    }

    fn place(&self, index: u64) -> usize {
        usize::try_from(index & (self.packets as u64 - 1)).expect("invariant: masked by a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A viewer next door.
    const NEAR: Option<u64> = Some(20_000);
    use crate::pool::{PacketMeta, Pool};

    fn sealed(index: u64) -> Sealed {
        let mut pool = Pool::new(1);
        let packet = pool.insert(PacketMeta::plain(), &[], &[]).unwrap();
        Sealed {
            index,
            packet,
            timestamp: 0,
            transport_seq: 0,
            padding: 0,
            payload_type: 96,
            patch: Patch::NONE,
        }
    }

    #[test]
    fn memory_is_taken_at_the_first_packet_and_never_again() {
        let mut history = History::new(512);
        assert!(history.claim(2_000));
        history.forget(2_000);
        assert_eq!(history.take_resend(Micros(0), NEAR, 208, |_| true), None);
        assert_eq!(history.ring.capacity(), 0, "a slot that never sent");
        history.record(sealed(2_000));
        let ring = history.ring.as_ptr();
        for index in 2_001..4_000 {
            history.record(sealed(index));
        }
        assert_eq!(
            (history.ring.as_ptr(), history.ring.capacity()),
            (ring, 512)
        );
    }

    #[test]
    fn a_try_that_did_not_leave_is_given_back() {
        let mut history = History::new(8);
        history.record(sealed(20));
        let mut times = Vec::new();
        for ms in 0..200 {
            let taken = history.take_resend(Micros(ms * 1_000), NEAR, 20, |_| true);
            if taken.is_some() {
                times.push(ms);
            }
            if taken.is_some() && times.len() == 2 {
                history.untake_resend(20);
            }
        }
        assert_eq!(times, [0, 20, 40, 60]);
        history.untake_resend(12);
    }

    #[test]
    fn an_index_is_given_once() {
        let mut history = History::new(8);
        assert!(history.claim(2_000));
        assert!(history.claim(2_003));
        assert!(!history.claim(2_000), "given, though not sealed yet");
        assert!(history.claim(2_001), "a hole");
        assert!(!history.claim(2_001));
        assert!(history.claim(5_000));
        assert!(!history.claim(2_002), "too old to tell");
    }

    #[test]
    fn a_sequence_number_finds_the_newest_packet_that_had_it() {
        let mut history = History::new(8);
        for index in 65_530..65_540 {
            history.record(sealed(index));
        }
        let mut find = |seq| {
            history
                .take_resend(Micros(0), NEAR, seq, |_| true)
                .map(|sealed| sealed.index)
        };
        assert_eq!(find(3), Some(65_539));
        assert_eq!(find(65_535), Some(65_535));
        assert_eq!(find(65_530), None, "forgotten");
        assert_eq!(find(4), None, "not sent yet");
    }

    #[test]
    fn a_packet_far_behind_displaces_none_that_is_newer() {
        let mut history = History::new(8);
        history.record(sealed(20));
        history.record(sealed(12));
        assert_eq!(
            history
                .take_resend(Micros(0), NEAR, 20, |_| true)
                .unwrap()
                .index,
            20
        );
    }

    #[test]
    fn a_packet_is_sent_again_three_times_with_a_pause_between() {
        let mut history = History::new(8);
        history.record(sealed(20));
        let times: Vec<_> = (0..200)
            .filter(|&ms| {
                history
                    .take_resend(Micros(ms * 1_000), NEAR, 20, |_| true)
                    .is_some()
            })
            .collect();
        assert_eq!(times, [0, 20, 40]);
    }

    #[test]
    fn what_cannot_be_afforded_does_not_count() {
        let mut history = History::new(8);
        history.record(sealed(20));
        for _ in 0..10 {
            assert_eq!(history.take_resend(Micros(0), NEAR, 20, |_| false), None);
        }
        assert!(history.take_resend(Micros(0), NEAR, 20, |_| true).is_some());
    }

    #[test]
    fn a_packet_is_lost_when_its_last_resend_has_had_its_round_trip() {
        let mut history = History::new(8);
        history.record(sealed(20));
        for ms in [0, 20, 40] {
            assert!(!history.is_lost(Micros(ms * 1_000), NEAR, 20, 0));
            history
                .take_resend(Micros(ms * 1_000), NEAR, 20, |_| true)
                .unwrap();
        }
        assert!(
            !history.is_lost(Micros(59_000), NEAR, 20, 0),
            "it may be on its way"
        );
        assert!(history.is_lost(Micros(60_000), NEAR, 20, 20));
        assert!(
            !history.is_lost(Micros(60_000), NEAR, 20, 21),
            "a keyframe came since"
        );
        assert!(
            !history.is_lost(Micros(60_000), NEAR, 19, 0),
            "it was never here"
        );
    }

    #[test]
    fn a_viewer_whose_distance_is_unknown_is_taken_to_be_in_the_next_country() {
        let mut history = History::new(8);
        history.record(sealed(20));
        let times: Vec<u64> = (0..2_000)
            .filter(|&ms| {
                let now = Micros(ms * 1_000);
                history.take_resend(now, None, 20, |_| true).is_some()
            })
            .collect();
        assert_eq!(times, [0, 100, 200]);
    }

    #[test]
    fn a_far_viewer_gets_a_packet_again_once_a_round_trip() {
        let mut history = History::new(8);
        history.record(sealed(20));
        let rtt_us = Some(200_000);
        let times: Vec<u64> = (0..2_000)
            .filter(|&ms| {
                history
                    .take_resend(Micros(ms * 1_000), rtt_us, 20, |_| true)
                    .is_some()
            })
            .collect();
        assert_eq!(times, [0, 200, 400]);
    }

    #[test]
    fn a_packet_that_did_not_leave_is_forgotten() {
        let mut history = History::new(8);
        history.record(sealed(20));
        history.forget(12);
        history.forget(20);
        assert_eq!(history.take_resend(Micros(0), NEAR, 20, |_| true), None);
    }
}
