//! One session's burst, from pending packets to sealed runs: destination by destination, so that what one
//! viewer gets in a turn leaves in as few sends as its lengths allow.

use codecs::rtp::rtx::OSN_LEN;
use codecs::rtp::{Header, Seq};
use dataplane_api::media::Extensions;

use super::history::Sealed;
use super::picture::Patch;
use super::run::next_run;
use super::sent::{Load, SentPacket, SentRuns};
use super::slot::Slot;
use super::wire::{header_len, write_header, write_text};
use crate::limits::{OUTBOX_PACKETS_MAX, RUN_SEGMENTS_MAX};
use crate::outbox::{Outbox, Run};
use crate::packet::Path;
use crate::pool::{PacketHandle, Pool, Pooled};
use crate::reason::DropReason;
use crate::stats::Counters;
use crate::table::Key;
use crate::time::Micros;
use crate::transport::replay::seq_of;
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
    pub(crate) patch: Patch,
}

/// On which of a slot's two streams a packet goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The media stream, at the packet's own index.
    Media,
    /// The retransmission stream (RFC 4588 section 4), which has an SSRC, a payload type and indices of its own;
    /// the original sequence number stands before the payload.
    Rtx {
        /// The 48-bit SRTP index on the retransmission stream.
        index: u64,
        payload_type: u8,
        ssrc: u32,
    },
}

impl Form {
    /// Octets between header and payload.
    fn prefix_len(self) -> usize {
        match self {
            Form::Media => 0,
            Form::Rtx { .. } => OSN_LEN,
        }
    }
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

impl Planned<'_> {
    /// Octets on the wire, without padding and tag.
    fn len(&self, form: Form) -> usize {
        self.header_len + form.prefix_len() + self.pooled.payload.len()
    }
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
            lengths.packets.push(planned.len(Form::Media) + tag_bytes);
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
            sent.commit(run.commit().run, self.session, Load::Media);
            counters.sent_runs += 1;
        }
        lane.clear();
    }

    /// Sends a packet again: on the retransmission stream when the viewer has one, else byte for byte as it was
    /// (contracts.md 11).
    pub(crate) fn resend<O: Outbox>(
        &mut self,
        sealed: Sealed,
        slot: u16,
        pool: &Pool,
        outbox: &mut O,
        sent: &mut SentRuns,
        counters: &mut Counters,
    ) {
        let pending = Pending {
            slot,
            packet: sealed.packet,
            index: sealed.index,
            timestamp: sealed.timestamp,
            payload_type: sealed.payload_type,
            patch: sealed.patch,
        };
        let (Some(planned), Some(form)) = (self.plan(pending, pool), self.form_of(pending)) else {
            counters.resends_missed += 1;
            return;
        };
        // A retransmission is a packet of its own, that has no run to be as long as.
        let (padding, transport_seq) = match form {
            Form::Media => (usize::from(sealed.padding), sealed.transport_seq),
            Form::Rtx { .. } => (0, self.next_transport_seq()),
        };
        let len = planned.len(form) + padding + self.sealer.rtp_overhead();
        let Some(mut run) = outbox.run(&self.path, len, 1) else {
            counters.resends_missed += 1;
            return;
        };
        let out = run.slot(len);
        self.write(&planned, form, padding, transport_seq, out);
        sent.push(SentPacket {
            slot,
            index: sealed.index,
            payload_len: planned.pooled.payload.len(),
        });
        let rtx = form != Form::Media;
        let cost = sealed.resend_cost(&planned.pooled);
        sent.commit(run.commit().run, self.session, Load::Again { rtx, cost });
        counters.retransmitted_packets += 1;
        counters.rtx_packets += u64::from(rtx);
        counters.sent_packets += 1;
        counters.sent_bytes += len as u64;
        counters.sent_runs += 1;
    }

    /// How a packet is sent again; `None` when the retransmission stream is at its end.
    fn form_of(&mut self, pending: Pending) -> Option<Form> {
        let slot = self.slots.get_mut(usize::from(pending.slot))?;
        let Some((stream, payload_type)) = slot.rtx_for(pending.payload_type) else {
            return Some(Form::Media);
        };
        Some(Form::Rtx {
            index: stream.next_index()?,
            payload_type,
            ssrc: stream.ssrc(),
        })
    }

    fn next_transport_seq(&mut self) -> u16 {
        let transport_seq = *self.transport_seq;
        if self.extensions.transport_cc.is_some() {
            *self.transport_seq = transport_seq.wrapping_add(1);
        }
        transport_seq
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
        let transport_seq = self.next_transport_seq();
        self.write(planned, Form::Media, padding, transport_seq, out);
        let pending = planned.pending;
        if let Some(slot) = self.slots.get_mut(usize::from(pending.slot)) {
            slot.history.record(Sealed {
                index: pending.index,
                packet: pending.packet,
                timestamp: pending.timestamp,
                transport_seq,
                padding: u8::try_from(padding).expect("invariant: run.rs pads by 32 at most"),
                payload_type: pending.payload_type,
                patch: pending.patch,
            });
            slot.packets_sent += 1;
            slot.payload_bytes_sent += planned.pooled.payload.len() as u64;
        }
    }

    /// Header and ciphertext into `out`, which is [`Planned::len`] and the tag long. The same input gives the
    /// same bytes.
    fn write(
        &mut self,
        planned: &Planned<'_>,
        form: Form,
        padding: usize,
        transport_seq: u16,
        out: &mut [u8],
    ) {
        let Planned {
            pending,
            pooled,
            header_len,
        } = planned;
        let Some(slot) = self.slots.get(usize::from(pending.slot)) else {
            return;
        };
        let (index, payload_type, ssrc) = match form {
            Form::Media => (pending.index, pending.payload_type, slot.spec.ssrc),
            Form::Rtx {
                index,
                payload_type,
                ssrc,
            } => (index, payload_type, ssrc),
        };
        let header = Header {
            marker: pooled.meta.marker,
            padding: padding > 0,
            payload_type,
            seq: Seq(seq_of(index)),
            timestamp: pending.timestamp,
            ssrc,
        };
        let written = write_header(
            out,
            &header,
            self.extensions,
            &slot.spec.mid,
            transport_seq,
            pending.patch,
            pooled,
        );
        debug_assert_eq!(written, Some(*header_len));
        if form == Form::Media && pending.patch.spares(pooled.meta.picture.as_ref()) {
            self.sealer
                .seal_rtp(index, *header_len, pooled.payload, padding, out);
            return;
        }
        let osn = match form {
            Form::Media => None,
            Form::Rtx { .. } => Some(Seq(seq_of(pending.index))),
        };
        let text_len = form.prefix_len() + pooled.payload.len() + padding;
        if let Some(text) = out.get_mut(*header_len..header_len + text_len) {
            write_text(text, osn, pending.patch, pooled);
        }
        self.sealer
            .seal_rtp_in_place(index, *header_len, text_len, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::PacketMeta;

    fn pending() -> Pending {
        let meta = PacketMeta::plain();
        Pending {
            slot: 0,
            packet: Pool::new(1).insert(meta, &[], &[]).unwrap(),
            index: 0,
            timestamp: 0,
            payload_type: 96,
            patch: Patch::NONE,
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
}
