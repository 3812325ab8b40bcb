//! One session's burst, from pending packets to sealed runs: destination by destination, so that what one
//! viewer gets in a turn leaves in as few sends as its lengths allow.

use codecs::rtp::{FIXED_HEADER_LEN, Header, HeaderWriter, Seq};
use dataplane_api::media::Extensions;

use super::history::Sealed;
use super::run::next_run;
use super::sent::{SentPacket, SentRuns};
use super::slot::Slot;
use crate::limits::{OUTBOX_PACKETS_MAX, RUN_SEGMENTS_MAX};
use crate::outbox::{Outbox, Run};
use crate::packet::Path;
use crate::pool::{PacketHandle, Pool, Pooled};
use crate::reason::DropReason;
use crate::stats::Counters;
use crate::table::Key;
use crate::time::Micros;
use crate::transport::srtp::Sealer;

/// A packet chosen for a slot, waiting for the flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Position in the session's slots.
    pub(crate) slot: u16,
    pub(crate) packet: PacketHandle,
    /// The 48-bit SRTP index.
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
}

/// What a packet shares its way with. Audio never waits behind video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Leaves at the end of the turn.
    Audio,
    /// May wait for company (see `linger.rs`).
    Video,
}

/// What waits for one session.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    pub(crate) audio: Vec<Pending>,
    pub(crate) video: Vec<Pending>,
    /// When the video lane is to be flushed.
    pub(crate) video_due: Option<Micros>,
    /// The session stands in the shard's list of sessions to flush.
    pub(crate) listed: bool,
}

impl Lanes {
    /// Queues a packet, or says why not.
    pub(crate) fn push(
        &mut self,
        lane: Lane,
        pending: Pending,
        due: Micros,
    ) -> Result<(), DropReason> {
        let queue = match lane {
            Lane::Audio => &mut self.audio,
            Lane::Video => &mut self.video,
        };
        if queue.len() >= OUTBOX_PACKETS_MAX {
            return Err(DropReason::Pacer);
        }
        queue.push(pending);
        if lane == Lane::Video {
            self.video_due.get_or_insert(due);
        }
        Ok(())
    }

    /// Whether the video lane leaves now: its wait is over or a full run is ready.
    pub(crate) fn video_is_due(&self, now: Micros) -> bool {
        self.video.len() >= RUN_SEGMENTS_MAX || self.video_due.is_some_and(|due| due <= now)
    }

    pub(crate) fn len(&self) -> usize {
        self.audio.len() + self.video.len()
    }

    /// Drops everything and says how much that was.
    pub(crate) fn clear(&mut self) -> usize {
        let dropped = self.len();
        self.audio.clear();
        self.video.clear();
        self.video_due = None;
        dropped
    }
}

/// Where one session's packets go and what they are sealed with.
#[derive(Debug)]
pub(crate) struct Flow<'a> {
    pub(crate) session: Key,
    pub(crate) path: Path,
    pub(crate) sealer: &'a mut Sealer,
    pub(crate) slots: &'a mut [Slot],
    pub(crate) extensions: &'a Extensions,
    pub(crate) transport_seq: &'a mut u16,
    pub(crate) train_bytes_max: usize,
}

/// A packet as it will be written: everything but its bytes.
struct Planned<'a> {
    pending: Pending,
    pooled: Pooled<'a>,
    header_len: usize,
}

/// The lengths of one lane's packets, kept between flushes so that none allocates.
#[derive(Debug, Default)]
pub(crate) struct Lengths {
    headers: Vec<usize>,
    /// Header, payload and tag; without padding.
    packets: Vec<usize>,
}

impl Lengths {
    fn clear(&mut self) {
        self.headers.clear();
        self.packets.clear();
    }
}

impl Flow<'_> {
    /// Seals and commits `lane`, emptying it. `lengths` is scratch.
    pub(crate) fn flush<O: Outbox>(
        &mut self,
        lane: &mut Vec<Pending>,
        pool: &Pool,
        outbox: &mut O,
        lengths: &mut Lengths,
        sent: &mut SentRuns,
        counters: &mut Counters,
    ) {
        let tag_bytes = self.sealer.rtp_overhead();
        lengths.clear();
        lane.retain(|pending| {
            // Evicted packets leave holes that look like loss, which is what they are.
            let Some(planned) = self.plan(*pending, pool) else {
                counters.dropped_out.count(DropReason::Pool);
                return false;
            };
            lengths.headers.push(planned.header_len);
            lengths
                .packets
                .push(planned.header_len + planned.pooled.payload.len() + tag_bytes);
            true
        });

        let egress = outbox.egress(&self.path);
        let mut at = 0;
        while at < lengths.packets.len() {
            let rest = lengths.packets.get(at..).unwrap_or_default();
            let headers = lengths.headers.get(at..).unwrap_or_default();
            let plan = next_run(rest, egress, self.train_bytes_max);
            let burst = lane.get(at..at + plan.count).unwrap_or_default();
            at += plan.count;
            let Some(mut run) = outbox.run(&self.path, plan.segment_len, plan.count) else {
                counters
                    .dropped_out
                    .add(DropReason::Send, burst.len() as u64);
                continue;
            };
            for (n, ((pending, &len), &header_len)) in
                burst.iter().zip(rest).zip(headers).enumerate()
            {
                let is_last = n + 1 == plan.count;
                let padding = if is_last { 0 } else { plan.segment_len - len };
                let Some(pooled) = pool.get(pending.packet) else {
                    continue;
                };
                let planned = Planned {
                    pending: *pending,
                    pooled,
                    header_len,
                };
                let out = run.slot(len + padding);
                self.seal(&planned, padding, out);
                sent.push(SentPacket {
                    slot: pending.slot,
                    index: pending.index,
                    payload_len: planned.pooled.payload.len(),
                });
                counters.sealed_packets += 1;
                counters.sent_packets += 1;
                counters.sent_bytes += (len + padding) as u64;
            }
            sent.commit(run.commit().run, self.session);
            counters.sent_runs += 1;
        }
        lane.clear();
    }

    /// Sends packets of one slot again, byte for byte as they were (contracts.md 11).
    pub(crate) fn resend<O: Outbox>(
        &mut self,
        sealed: Sealed,
        slot: u16,
        pool: &Pool,
        outbox: &mut O,
        counters: &mut Counters,
    ) {
        let pending = Pending {
            slot,
            packet: sealed.packet,
            index: sealed.index,
            timestamp: sealed.timestamp,
            payload_type: sealed.payload_type,
        };
        let Some(planned) = self.plan(pending, pool) else {
            counters.resends_missed += 1;
            return;
        };
        let padding = usize::from(sealed.padding);
        let len = planned.header_len
            + planned.pooled.payload.len()
            + padding
            + self.sealer.rtp_overhead();
        let Some(mut run) = outbox.run(&self.path, len, 1) else {
            counters.resends_missed += 1;
            return;
        };
        let out = run.slot(len);
        self.write(&planned, padding, sealed.transport_seq, out);
        run.commit();
        counters.retransmitted_packets += 1;
        counters.sent_packets += 1;
        counters.sent_bytes += len as u64;
        counters.sent_runs += 1;
    }

    fn plan<'p>(&self, pending: Pending, pool: &'p Pool) -> Option<Planned<'p>> {
        let pooled = pool.get(pending.packet)?;
        let slot = self.slots.get(usize::from(pending.slot))?;
        let header_len = header_len(self.extensions, &slot.spec.mid, &pooled);
        Some(Planned {
            pending,
            pooled,
            header_len,
        })
    }

    fn seal(&mut self, planned: &Planned<'_>, padding: usize, out: &mut [u8]) {
        let transport_seq = *self.transport_seq;
        if self.extensions.transport_cc.is_some() {
            *self.transport_seq = transport_seq.wrapping_add(1);
        }
        self.write(planned, padding, transport_seq, out);
        let pending = planned.pending;
        if let Some(slot) = self.slots.get_mut(usize::from(pending.slot)) {
            slot.history.record(Sealed {
                index: pending.index,
                packet: pending.packet,
                timestamp: pending.timestamp,
                transport_seq,
                padding: u8::try_from(padding).expect("invariant: run.rs pads by 32 at most"),
                payload_type: pending.payload_type,
            });
            slot.packets_sent += 1;
            slot.payload_bytes_sent += planned.pooled.payload.len() as u64;
        }
    }

    /// Header and ciphertext into `out`. The same input gives the same bytes.
    fn write(&mut self, planned: &Planned<'_>, padding: usize, transport_seq: u16, out: &mut [u8]) {
        let pending = planned.pending;
        let Some(slot) = self.slots.get(usize::from(pending.slot)) else {
            return;
        };
        let header = Header {
            marker: planned.pooled.meta.marker,
            padding: padding > 0,
            payload_type: pending.payload_type,
            seq: Seq(u16::try_from(pending.index & 0xffff).unwrap_or(0)),
            timestamp: pending.timestamp,
            ssrc: slot.spec.ssrc,
        };
        let written = write_header(
            out,
            &header,
            self.extensions,
            &slot.spec.mid,
            transport_seq,
            &planned.pooled,
        );
        debug_assert_eq!(written, Some(planned.header_len));
        self.sealer.seal_rtp(
            pending.index,
            planned.header_len,
            planned.pooled.payload,
            padding,
            out,
        );
    }
}

/// The longest element of the one-byte form (RFC 8285 section 4.2).
const ONE_BYTE_ELEMENT_MAX: usize = 16;

/// The extension elements of one packet, in the order they are written. One function decides, so that
/// length and content cannot disagree.
fn for_each_element(
    extensions: &Extensions,
    mid: &str,
    transport_seq: u16,
    pooled: &Pooled<'_>,
    mut element: impl FnMut(u8, &[u8]) -> Option<()>,
) -> Option<()> {
    let forwarded = &pooled.meta.extensions;
    if let Some(id) = extensions.mid {
        element(id, mid.as_bytes())?;
    }
    if let Some(id) = extensions.transport_cc {
        element(id, &transport_seq.to_be_bytes())?;
    }
    if let (Some(id), Some(level)) = (extensions.audio_level, forwarded.audio_level) {
        element(id, &[level])?;
    }
    if let (Some(id), Some(orientation)) =
        (extensions.video_orientation, forwarded.video_orientation)
    {
        element(id, &[orientation])?;
    }
    if let (Some(id), Some(delay)) = (extensions.playout_delay, forwarded.playout_delay) {
        element(id, &delay)?;
    }
    if let (Some(id), Some(time)) = (extensions.abs_capture_time, forwarded.abs_capture_time) {
        element(id, &time)?;
    }
    if let Some(id) = extensions.dependency_descriptor
        && !pooled.dependency_descriptor.is_empty()
        && (extensions.mixed || pooled.dependency_descriptor.len() <= ONE_BYTE_ELEMENT_MAX)
    {
        element(id, pooled.dependency_descriptor)?;
    }
    Some(())
}

/// Octets of the header that [`write_header`] writes.
fn header_len(extensions: &Extensions, mid: &str, pooled: &Pooled<'_>) -> usize {
    let mut elements = 0;
    let mut bytes = 0;
    let mut two_byte = false;
    for_each_element(extensions, mid, 0, pooled, |id, element| {
        elements += 1;
        bytes += element.len();
        // RFC 8285 section 4.3: one element that does not fit turns the whole block.
        two_byte |= id > 14 || !(1..=ONE_BYTE_ELEMENT_MAX).contains(&element.len());
        Some(())
    });
    if elements == 0 {
        return FIXED_HEADER_LEN;
    }
    let framing = if two_byte { 2 } else { 1 };
    FIXED_HEADER_LEN + 4 + (bytes + elements * framing).next_multiple_of(4)
}

fn write_header(
    out: &mut [u8],
    header: &Header,
    extensions: &Extensions,
    mid: &str,
    transport_seq: u16,
    pooled: &Pooled<'_>,
) -> Option<usize> {
    let mut writer = HeaderWriter::new(out, header).ok()?;
    for_each_element(extensions, mid, transport_seq, pooled, |id, element| {
        writer.push(id, element).ok()
    })?;
    writer.finish().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pool::{ForwardedExtensions, PacketMeta};

    fn pending() -> Pending {
        let meta = PacketMeta {
            ext_seq: 0,
            timestamp: 0,
            marker: false,
            payload_type: 96,
            layer: 0,
            switch_point: false,
            arrival: Micros::ZERO,
            extensions: ForwardedExtensions::default(),
        };
        Pending {
            slot: 0,
            packet: Pool::new(1).insert(meta, &[], &[]).unwrap(),
            index: 0,
            timestamp: 0,
            payload_type: 96,
        }
    }

    #[test]
    fn video_waits_until_its_first_packet_is_due() {
        let mut lanes = Lanes::default();
        lanes.push(Lane::Audio, pending(), Micros(900)).unwrap();
        assert_eq!(lanes.video_due, None, "audio has no deadline to wait for");
        lanes.push(Lane::Video, pending(), Micros(500)).unwrap();
        lanes.push(Lane::Video, pending(), Micros(900)).unwrap();
        assert!(!lanes.video_is_due(Micros(499)));
        assert!(lanes.video_is_due(Micros(500)));
    }

    #[test]
    fn a_full_run_ends_the_wait() {
        let mut lanes = Lanes::default();
        for n in 1..=RUN_SEGMENTS_MAX {
            lanes.push(Lane::Video, pending(), Micros(500)).unwrap();
            assert_eq!(lanes.video_is_due(Micros(0)), n == RUN_SEGMENTS_MAX);
        }
    }

    #[test]
    fn a_full_lane_refuses_and_the_other_does_not_care() {
        let mut lanes = Lanes::default();
        for _ in 0..OUTBOX_PACKETS_MAX {
            lanes.push(Lane::Video, pending(), Micros(0)).unwrap();
        }
        assert_eq!(
            lanes.push(Lane::Video, pending(), Micros(0)),
            Err(DropReason::Pacer)
        );
        assert_eq!(lanes.push(Lane::Audio, pending(), Micros(0)), Ok(()));
        assert_eq!(lanes.clear(), OUTBOX_PACKETS_MAX + 1);
        assert_eq!((lanes.len(), lanes.video_due), (0, None));
    }

    proptest! {
        /// The planned length is the written length, whatever was negotiated and forwarded: else a run's
        /// segments would not be equal.
        #[test]
        fn the_planned_header_is_the_written_one(
            ids in prop::array::uniform7(prop::option::of(1u8..20)),
            mid in "[0-9a-z]{1,16}",
            descriptor in prop::collection::vec(any::<u8>(), 0..100),
            level in prop::option::of(any::<u8>()),
            capture in prop::option::of(any::<[u8; 8]>()),
            mixed in any::<bool>(),
        ) {
            let [mid_id, cc, al, vo, dd, act, pd] = ids;
            let extensions = Extensions {
                mid: mid_id, rid: None, repaired_rid: None, transport_cc: cc, audio_level: al,
                video_orientation: vo, dependency_descriptor: dd, abs_capture_time: act, playout_delay: pd, mixed,
            };
            let meta = PacketMeta {
                ext_seq: 0, timestamp: 0, marker: true, payload_type: 96, layer: 0, switch_point: false,
                arrival: Micros::ZERO,
                extensions: ForwardedExtensions {
                    audio_level: level, video_orientation: level, playout_delay: None,
                    abs_capture_time: capture, dependency_descriptor_len: 0,
                },
            };
            let pooled = Pooled { meta: &meta, payload: &[], dependency_descriptor: &descriptor };
            let header = Header {
                marker: true, padding: false, payload_type: 96, seq: Seq(1), timestamp: 2, ssrc: 3,
            };
            let mut out = [0; 512];
            let written = write_header(&mut out, &header, &extensions, &mid, 7, &pooled).unwrap();
            prop_assert_eq!(written, header_len(&extensions, &mid, &pooled));
        }
    }
}
