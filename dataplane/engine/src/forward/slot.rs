//! One outgoing slot: an SSRC, mid and payload-type set that lives as long as its session, while its source
//! comes and goes (contracts.md 21).

use dataplane_api::command::Slot as Spec;
use dataplane_api::media::{MediaKind, PayloadType};

use super::egress::Pending;
use super::history::History;
use super::reports::SentReports;
use super::rewrite::Rewriter;
use super::rtx::RtxStream;
use super::sent::SentPacket;
use crate::limits::{AUDIO_HISTORY_PACKETS, VIDEO_HISTORY_PACKETS};
use crate::pool::{PacketHandle, PacketMeta};
use crate::publish::{SenderClock, WishLimit};
use crate::table::Key;
use crate::time::Micros;

/// What a slot does with a packet of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes out.
    Forward(Pending),
    /// It is of a layer this slot does not show, or came too late to have a place.
    Skip,
    /// The slot waits for a switch point of the wished layer.
    NeedKeyframe,
    /// The viewer did not negotiate this codec.
    NoCodec,
}

/// The source of a slot and how its packets are written.
#[derive(Debug, Clone, Copy)]
struct Source {
    track: Key,
    /// The session that publishes the track: one capture clock.
    publisher: Key,
    /// The layer that is shown, once a switch point of it was seen.
    layer: Option<u8>,
    /// The incoming payload type that `outgoing` stands for.
    incoming: u8,
    outgoing: Option<Outgoing>,
}

#[derive(Debug, Clone, Copy)]
struct Outgoing {
    payload_type: u8,
    clock_hz: u32,
}

/// One outgoing slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) spec: Spec,
    source: Option<Source>,
    pub(crate) rewriter: Rewriter,
    pub(crate) history: History,
    /// Where packets are sent again, when the viewer negotiated it.
    pub(crate) rtx: Option<RtxStream>,
    /// What the viewer's report blocks may answer.
    pub(crate) reports: SentReports,
    /// The index of the newest keyframe that was chosen, or of the newest packet that a source began with: what is
    /// lost from before it is not missed.
    pub(crate) keyframe_index: u64,
    /// The highest index that was given out.
    newest_index: u64,
    /// How often the viewer's wishes for a keyframe are heard.
    wishes: WishLimit,
    /// For sender reports (RFC 3550 section 6.4.1).
    pub(crate) packets_sent: u64,
    pub(crate) payload_bytes_sent: u64,
}

impl Slot {
    /// An empty slot. `first_index`, of media and of retransmissions, and `first_timestamp` are random (RFC 3550
    /// section 5.1).
    pub(crate) fn new(spec: Spec, first_index: [u16; 2], first_timestamp: u32) -> Slot {
        let [media_index, rtx_index] = first_index;
        let packets = match spec.kind {
            MediaKind::Audio => AUDIO_HISTORY_PACKETS,
            MediaKind::Video => VIDEO_HISTORY_PACKETS,
        };
        let rtx = spec.rtx_ssrc.map(|ssrc| RtxStream::new(ssrc, rtx_index));
        Slot {
            rewriter: Rewriter::new(spec.kind, media_index, first_timestamp),
            spec,
            source: None,
            history: History::new(packets),
            rtx,
            reports: SentReports::default(),
            keyframe_index: 0,
            newest_index: 0,
            wishes: WishLimit::default(),
            packets_sent: 0,
            payload_bytes_sent: 0,
        }
    }

    /// The track that fills it.
    pub(crate) fn source(&self) -> Option<Key> {
        self.source.map(|source| source.track)
    }

    /// The layer it shows.
    pub(crate) fn layer(&self) -> Option<u8> {
        self.source.and_then(|source| source.layer)
    }

    /// Fills it from a track of the session `publisher`, from the next switch point on.
    pub(crate) fn fill(&mut self, track: Key, publisher: Key) {
        self.wishes.forget_deferred();
        self.source = Some(Source {
            track,
            publisher,
            layer: None,
            incoming: 0,
            outgoing: None,
        });
    }

    /// Empties it. Its stream goes on where it stopped when it is filled again.
    pub(crate) fn empty(&mut self) {
        self.wishes.forget_deferred();
        self.source = None;
    }

    /// Its viewer cannot be reached: it goes on at a switch point, when it can.
    pub(crate) fn lapse(&mut self) {
        if let Some(source) = self.source.as_mut() {
            source.layer = None;
        }
    }

    /// A layer of its source begins anew, with numbers and times that have nothing to do with those before:
    /// a slot that shows it waits for a switch point.
    pub(crate) fn restart(&mut self, layer: u8) {
        if let Some(source) = self.source.as_mut()
            && source.layer == Some(layer)
        {
            source.layer = None;
        }
    }

    /// Decides on one packet of its source. `codec` is how the publisher sends it; `wished` is the layer
    /// to show.
    pub(crate) fn take(
        &mut self,
        packet: PacketHandle,
        meta: &PacketMeta,
        codec: &PayloadType,
        wished: u8,
        slot: u16,
    ) -> Verdict {
        let Some(source) = self.source.as_mut() else {
            return Verdict::Skip;
        };
        if source.outgoing.is_none() || source.incoming != meta.payload_type {
            source.incoming = meta.payload_type;
            source.outgoing = outgoing(&self.spec, codec);
        }
        let Some(outgoing) = source.outgoing else {
            return Verdict::NoCodec;
        };
        let begins = source.layer != Some(wished) && meta.layer == wished;
        if begins {
            if !meta.switch_point {
                return Verdict::NeedKeyframe;
            }
            source.layer = Some(wished);
            self.rewriter
                .switch(meta, source.publisher, outgoing.clock_hz);
        }
        if source.layer != Some(meta.layer) {
            return Verdict::Skip;
        }
        let Some(position) = self.rewriter.place(meta, source.publisher) else {
            return Verdict::Skip;
        };
        if !self.history.claim(position.index) {
            return Verdict::Skip;
        }
        self.newest_index = self.newest_index.max(position.index);
        if begins || meta.keyframe {
            self.keyframe_index = self.keyframe_index.max(position.index);
        }
        if meta.keyframe {
            self.wishes.on_keyframe(position.index);
        }
        Verdict::Forward(Pending {
            slot,
            packet,
            index: position.index,
            timestamp: position.timestamp,
            payload_type: outgoing.payload_type,
            patch: position.patch,
        })
    }

    /// The viewer wishes a keyframe. True when that is heard now, else it is when [`Slot::wish_due_at`] says.
    pub(crate) fn hears_wish(&mut self, now: Micros) -> bool {
        self.wishes.hears(now, self.newest_index)
    }

    /// When a wish that was put off is to be heard.
    pub(crate) fn wish_due_at(&self) -> Option<Micros> {
        self.wishes.due_at()
    }

    /// Whether a wish that was put off is heard now.
    pub(crate) fn take_deferred_wish(&mut self, now: Micros) -> bool {
        self.wishes.take_deferred(now)
    }

    /// Whether an answer to our offer may take these codecs, each under its payload type.
    pub(crate) fn was_offered(&self, taken: &[PayloadType]) -> bool {
        let offered = |taken: &PayloadType| {
            self.spec.codecs.iter().any(|known| {
                (known.pt, known.codec, known.form) == (taken.pt, taken.codec, taken.form)
                    && (taken.rtx_pt.is_none() || taken.rtx_pt == known.rtx_pt)
            })
        };
        !taken.is_empty() && taken.iter().all(offered)
    }

    /// The retransmission stream and payload type for what was sent as `payload_type`, when negotiated.
    pub(crate) fn rtx_for(&mut self, payload_type: u8) -> Option<(&mut RtxStream, u8)> {
        let codec = self.spec.codecs.iter().find(|c| c.pt == payload_type)?;
        Some((self.rtx.as_mut()?, codec.rtx_pt?))
    }

    /// A packet did not leave.
    pub(crate) fn unsend(&mut self, packet: &SentPacket) {
        self.history.forget(packet.index);
        self.packets_sent -= 1;
        self.payload_bytes_sent -= packet.payload_len as u64;
    }

    /// A packet of its source carries nothing to forward: the sequence closes over it.
    pub(crate) fn skip(&mut self, layer: u8, ext_seq: u64) {
        if self.layer() == Some(layer) {
            self.rewriter.skip(ext_seq);
        }
    }

    /// NTP and RTP time for a sender report at `now`, on the capture clock of the publisher; `clock` is that of
    /// the layer it shows. `None` while it is not known how the two go together (contracts.md 24).
    pub(crate) fn report_clock(
        &self,
        now: Micros,
        clock: Option<SenderClock>,
    ) -> Option<(u64, u32)> {
        self.layer()?;
        self.rewriter.report(now, clock)
    }
}

fn outgoing(spec: &Spec, codec: &PayloadType) -> Option<Outgoing> {
    spec.codecs
        .iter()
        .find(|offered| offered.codec == codec.codec && offered.form == codec.form)
        .map(|offered| Outgoing {
            payload_type: offered.pt,
            clock_hz: offered.clock_hz,
        })
}

#[cfg(test)]
mod tests {
    use dataplane_api::ids::SlotId;
    use dataplane_api::media::CodecId;

    use super::*;
    use crate::pool::Pool;
    use crate::table::Table;

    fn vp8(pt: u8) -> PayloadType {
        PayloadType {
            codec: CodecId::VP8,
            pt,
            rtx_pt: None,
            clock_hz: 90_000,
            nack: true,
            pli: true,
            transport_cc: true,
            form: 0,
        }
    }

    fn slot() -> Slot {
        let spec = Spec {
            slot: SlotId(0),
            kind: MediaKind::Video,
            mid: "1".into(),
            ssrc: 7,
            rtx_ssrc: None,
            codecs: vec![vp8(120)],
        };
        let mut slot = Slot::new(spec, [10, 10], 0);
        slot.fill(Table::default().insert(()), Table::default().insert(()));
        slot
    }

    fn meta(ext_seq: u64, layer: u8, switch_point: bool) -> PacketMeta {
        PacketMeta {
            ext_seq,
            layer,
            switch_point,
            keyframe: switch_point,
            ..PacketMeta::plain()
        }
    }

    fn take(slot: &mut Slot, meta: PacketMeta, wished: u8) -> Verdict {
        let handle = Pool::new(1).insert(meta, &[], &[]).unwrap();
        slot.take(handle, &meta, &vp8(96), wished, 0)
    }

    fn index(verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Forward(pending) => pending.index,
            Verdict::Skip | Verdict::NeedKeyframe | Verdict::NoCodec => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn an_answer_takes_of_what_was_offered_and_nothing_else() {
        let offered = PayloadType {
            rtx_pt: Some(97),
            ..vp8(96)
        };
        let spec = Spec {
            slot: SlotId(0),
            kind: MediaKind::Video,
            mid: "0".into(),
            ssrc: 1,
            rtx_ssrc: Some(2),
            codecs: vec![offered.clone(), vp8(100)],
        };
        let mut slot = Slot::new(spec, [10, 10], 0);
        assert!(slot.rtx_for(96).is_some());
        let another = PayloadType {
            codec: CodecId::AV1,
            ..vp8(96)
        };
        let moved = PayloadType {
            rtx_pt: Some(98),
            ..vp8(96)
        };
        for left in [vec![], vec![vp8(101)], vec![vp8(96), another], vec![moved]] {
            assert!(!slot.was_offered(&left));
        }
        let left = vec![vp8(96)];
        assert!(slot.was_offered(&left));
        slot.spec.codecs = left;
        assert!(slot.rtx_for(96).is_none(), "it took no retransmissions");
    }

    #[test]
    fn nothing_is_forwarded_before_a_switch_point() {
        let mut slot = slot();
        assert_eq!(take(&mut slot, meta(5, 0, false), 0), Verdict::NeedKeyframe);
        assert_eq!(index(take(&mut slot, meta(6, 0, true), 0)), 10);
        assert_eq!(index(take(&mut slot, meta(7, 0, false), 0)), 11);
    }

    #[test]
    fn a_layer_changes_at_its_switch_point_and_the_stream_goes_on() {
        let mut slot = slot();
        assert_eq!(index(take(&mut slot, meta(6, 0, true), 0)), 10);
        assert_eq!(
            take(&mut slot, meta(900, 1, false), 1),
            Verdict::NeedKeyframe
        );
        assert_eq!(
            index(take(&mut slot, meta(7, 0, false), 1)),
            11,
            "the old layer until then"
        );
        assert_eq!(index(take(&mut slot, meta(901, 1, true), 1)), 12);
        assert_eq!(take(&mut slot, meta(8, 0, false), 1), Verdict::Skip);
    }

    #[test]
    fn a_codec_the_viewer_did_not_negotiate_pauses_the_slot() {
        let mut slot = slot();
        let mut vp9 = vp8(96);
        vp9.codec = CodecId::VP9;
        let meta = meta(6, 0, true);
        let handle = Pool::new(1).insert(meta, &[], &[]).unwrap();
        assert_eq!(slot.take(handle, &meta, &vp9, 0, 0), Verdict::NoCodec);
    }

    #[test]
    fn a_sender_report_moves_the_publishers_clock_on() {
        let mut slot = slot();
        let clock = SenderClock {
            ntp: 5 << 32,
            timestamp: 1_000,
            arrival: Micros(0),
        };
        let begin = PacketMeta {
            timestamp: 1_000,
            captured: Some(clock.captured(1_000, 90_000)),
            ..meta(6, 0, true)
        };
        assert_eq!(slot.report_clock(Micros(0), Some(clock)), None, "empty");
        let Verdict::Forward(first) = take(&mut slot, begin, 0) else {
            panic!("a switch point")
        };
        let report = slot.report_clock(Micros(500_000), Some(clock));
        assert_eq!(
            report,
            Some(((5 << 32) + (1 << 31), first.timestamp.wrapping_add(45_000)))
        );
        slot.restart(0);
        let report = slot.report_clock(Micros(500_000), Some(clock));
        assert_eq!(report, None, "what comes next may be something else");
    }
}
