//! Loss on the way in: which packets of a publisher are new, which were asked for again, and what is asked for
//! next (RFC 4585 section 6.2.1, RFC 4588).

use codecs::rtcp::nack;
use codecs::rtcp::sr_rr::write_rr;
use codecs::rtp::rtx::read_osn;
use codecs::rtp::{RtpView, Seq};

use crate::control::ControlQueue;
use crate::feedback::seal_compound;
use crate::packet::Path;
use crate::publish::{Bound, Late, Media, Packet, Way};
use crate::reason::DropReason;
use crate::session::Session;
use crate::shard::Shard;
use crate::table::Key;
use crate::time::Micros;

/// Sequence numbers of one request. At worst each takes four octets of its own, which is far below any MTU.
const NACK_SEQS_MAX: usize = 64;

impl Shard {
    /// A packet on the SSRC of its layer: counted, and noted among what is missing.
    pub(crate) fn take_original(
        &mut self,
        now: Micros,
        key: Key,
        bound: Bound,
        view: &RtpView<'_>,
        ext_seq: u64,
        arrival: Micros,
    ) -> Result<Option<Late>, DropReason> {
        let session = self.sessions.get_mut(key).ok_or(DropReason::UnknownPath)?;
        let track = self
            .tracks
            .get(bound.track)
            .ok_or(DropReason::UnknownSource)?;
        let codec = track
            .payload_type(view.payload_type())
            .ok_or(DropReason::PayloadType)?;
        // A layer that no slot shows or waits for is not worth a publisher's uplink.
        let repair = codec.nack && track.is_watched(now, bound.layer);
        let (_, stream) = session
            .receiver
            .get_mut(view.ssrc())
            .ok_or(DropReason::UnknownSource)?;
        stream.on_packet(arrival, ext_seq, view.timestamp(), codec.clock_hz);
        let packet = Packet {
            ext_seq,
            way: Way::Original,
            arrival,
        };
        let (round_trip, stats) = (&mut session.round_trip, &mut self.counters.nack);
        stream.arrive(now, packet, repair, round_trip, stats).news()
    }

    /// A packet on the retransmission SSRC of a layer: the original within it (RFC 4588 section 4).
    pub(crate) fn take_rtx<'a>(
        &mut self,
        now: Micros,
        key: Key,
        bound: Bound,
        payload_type: u8,
        payload: &'a [u8],
        arrival: Micros,
    ) -> Result<Media<'a>, DropReason> {
        if payload.is_empty() {
            return Err(DropReason::PaddingOnly);
        }
        let (osn, original) = read_osn(payload).ok_or(DropReason::Rtx)?;
        let session = self.sessions.get_mut(key).ok_or(DropReason::UnknownPath)?;
        let track = self
            .tracks
            .get(bound.track)
            .ok_or(DropReason::UnknownSource)?;
        let codec = track
            .repaired_payload_type(payload_type)
            .ok_or(DropReason::PayloadType)?;
        let stream = session
            .receiver
            .layer_mut(bound.track, bound.layer)
            .ok_or(DropReason::Rtx)?;
        let ext_seq = stream.extend(osn).ok_or(DropReason::Rtx)?;
        let packet = Packet {
            ext_seq,
            way: Way::Rtx,
            arrival,
        };
        let (round_trip, stats) = (&mut session.round_trip, &mut self.counters.nack);
        stream
            .arrive(now, packet, true, round_trip, stats)
            .news()
            .map(|late| Media {
                ext_seq,
                payload_type: codec.pt,
                payload: original,
                late,
            })
    }

    /// A packet of a layer that cannot be forwarded, whatever is done: it is not missing, and viewers' sequences close
    /// over it.
    pub(crate) fn pass_over(&mut self, key: Key, bound: Bound, ssrc: u32, ext_seq: u64) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.receiver.refuse(ssrc, ext_seq);
        }
        if !bound.rtx {
            self.skip(bound.track, bound.layer, ext_seq);
        }
    }

    /// Asks for a keyframe where a layer lost more than it may ask for again.
    pub(crate) fn mend(&mut self, now: Micros, bound: Bound) {
        let Some(track) = self.tracks.get_mut(bound.track) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(track.session) else {
            return;
        };
        let Some(stream) = session.receiver.layer_mut(bound.track, bound.layer) else {
            return;
        };
        if stream.take_broken() && track.is_watched(now, bound.layer) {
            // All that was lost is before the newest packet, and a keyframe that is as old does not mend it.
            track.want_keyframe(bound.layer, stream.newest());
            let publisher = track.session;
            self.request_keyframes(now, publisher);
        }
    }

    /// Asks a publisher for what is due of all its layers, and gives up what is past hope.
    pub(crate) fn request_missing(&mut self, now: Micros, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(path) = session.ice.selected().filter(|_| session.is_connected()) else {
            return;
        };
        let mut layers = [None; crate::limits::SSRCS_PER_SESSION_MAX];
        for (place, (bound, stream)) in layers.iter_mut().zip(session.receiver.iter_mut()) {
            stream.give_up(now, &mut self.counters.nack);
            *place = Some(bound).filter(|bound| !bound.rtx);
        }
        session.send_nacks(now, path, &mut self.control, &mut self.counters.nack);
        for bound in layers.into_iter().flatten() {
            self.mend(now, bound);
        }
    }
}

impl Session {
    fn send_nacks(
        &mut self,
        now: Micros,
        path: Path,
        control: &mut ControlQueue,
        stats: &mut crate::publish::NackStats,
    ) {
        let sender_ssrc = self.rtcp_ssrc;
        // Sender reports measure it better, where the publisher also watches.
        let rtt_us = self.rtt_us.unwrap_or(self.round_trip.us());
        let Some(srtp) = self.srtp.as_mut() else {
            return;
        };
        for (_, stream) in self.receiver.iter_mut() {
            let mut seqs = [Seq(0); NACK_SEQS_MAX];
            let due = stream.take_due(now, rtt_us, &mut seqs, stats);
            let Some(due) = seqs.get(..due).filter(|due| !due.is_empty()) else {
                continue;
            };
            let media_ssrc = stream.ssrc;
            seal_compound(control, path, srtp, |out| {
                let mut at = write_rr(out, sender_ssrc, &[]).ok()?;
                let nack = nack::write(out.get_mut(at..)?, sender_ssrc, media_ssrc, due);
                at += nack.ok()?.len;
                Some(at)
            });
        }
    }
}
