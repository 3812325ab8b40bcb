//! From one packet to the slots that show it: kept once, offered to each.

use crate::forward::{Lane, Pending, Verdict};
use crate::limits::CATCH_UP_PACKETS_MAX;
use crate::pool::{PacketHandle, PacketMeta};
use crate::publish::{Bound, Late};
use crate::reason::DropReason;
use crate::session::Session;
use crate::shard::Shard;
use crate::stats::Counters;
use crate::table::Key;
use crate::time::Micros;

impl Shard {
    /// Keeps a packet and offers it to every slot that its track fills.
    pub(crate) fn fan_out(
        &mut self,
        now: Micros,
        track_key: Key,
        meta: PacketMeta,
        payload: &[u8],
        descriptor: &[u8],
        late: Option<Late>,
    ) -> Result<(), DropReason> {
        let packet = self
            .pool
            .insert(meta, payload, descriptor)
            .ok_or(DropReason::RtpMalformed)?;
        let track = self
            .tracks
            .get_mut(track_key)
            .ok_or(DropReason::UnknownSource)?;
        let Some(layer) = track.layers.get_mut(usize::from(meta.layer)) else {
            return Err(DropReason::UnknownSource);
        };
        layer.on_packet(&meta);
        let wished = track.best_layer(now);
        let lane = if track.is_video() {
            Lane::Video
        } else {
            Lane::Audio
        };
        let due = now.plus_us(self.linger.us());
        let mut keyframe_wanted = false;
        let mut begun = false;
        let mut shown = false;
        let Some(codec) = track.payload_type(meta.payload_type) else {
            return Err(DropReason::PayloadType);
        };
        for subscriber in &track.subscribers {
            let Some(session) = self.sessions.get_mut(subscriber.session) else {
                continue;
            };
            let reachable = session.is_reachable();
            let Some(slot) = session.slots.get_mut(usize::from(subscriber.slot)) else {
                continue;
            };
            if !reachable {
                // What nobody can receive takes no index: after 2^15 of them its receiver could not tell the
                // rollover any more, and the slot would be mute for ever. It begins anew when the peer is back.
                slot.lapse();
                self.counters.paused_packets += 1;
                continue;
            }
            let before = slot.layer();
            let verdict = slot.take(packet, &meta, codec, wished, subscriber.slot);
            shown |= slot.layer() == Some(meta.layer);
            match verdict {
                Verdict::Forward(pending) => {
                    if session.select(lane, pending, due, &mut self.counters) {
                        self.listed.push(subscriber.session);
                    }
                    begun |= before != Some(meta.layer);
                }
                Verdict::NeedKeyframe => keyframe_wanted = true,
                Verdict::Skip | Verdict::NoCodec => {}
            }
        }
        track.set_shown(meta.layer, shown);
        if let (true, Some(late)) = (begun && lane == Lane::Video, late) {
            self.catch_up(packet, &meta, late, due);
            return Ok(());
        }
        if keyframe_wanted {
            // Whoever waits begins with any keyframe, a late one too.
            track.want_keyframe(wished, 0);
            let publisher = track.session;
            self.request_keyframes(now, publisher);
        }
        Ok(())
    }

    /// Gives slots that began with a keyframe's first packet what follows it and arrived before it: that packet was
    /// overtaken, or lost and repaired. Without this they would have a keyframe of one packet, and nobody would ask
    /// for another.
    fn catch_up(&mut self, first: PacketHandle, begin: &PacketMeta, late: Late, due: Micros) {
        let Some(track) = self
            .track_keys
            .get(&begin.track)
            .and_then(|&key| self.tracks.get(key))
        else {
            return;
        };
        let follows = |meta: &PacketMeta| {
            meta.track == begin.track
                && meta.layer == begin.layer
                && meta.arrival >= late.since
                && (begin.ext_seq + 1..=late.highest).contains(&meta.ext_seq)
        };
        for (packet, pooled) in self.pool.before(first, CATCH_UP_PACKETS_MAX) {
            let meta = pooled.meta;
            let Some(codec) = track
                .payload_type(meta.payload_type)
                .filter(|_| follows(meta))
            else {
                continue;
            };
            for subscriber in &track.subscribers {
                let Some(session) = self.sessions.get_mut(subscriber.session) else {
                    continue;
                };
                if !session.is_reachable() {
                    continue;
                }
                let Some(slot) = session.slots.get_mut(usize::from(subscriber.slot)) else {
                    continue;
                };
                if slot.layer() != Some(begin.layer) {
                    continue;
                }
                // A slot that was shown this packet when it came has its index given out already.
                if let Verdict::Forward(pending) =
                    slot.take(packet, meta, codec, begin.layer, subscriber.slot)
                    && session.select(Lane::Video, pending, due, &mut self.counters)
                {
                    self.listed.push(subscriber.session);
                }
            }
        }
    }

    /// A packet of a layer that carries nothing: the slots' sequences close over it.
    pub(crate) fn skip(&mut self, track: Key, layer: u8, ext_seq: u64) {
        let Some(track) = self.tracks.get(track) else {
            return;
        };
        for subscriber in &track.subscribers {
            if let Some(session) = self.sessions.get_mut(subscriber.session)
                && let Some(slot) = session.slots.get_mut(usize::from(subscriber.slot))
            {
                slot.skip(layer, ext_seq);
            }
        }
    }

    /// A layer comes under a new SSRC: the slots that show it begin anew.
    pub(crate) fn restart_layer(&mut self, bound: Bound) {
        let Some(track) = self.tracks.get_mut(bound.track) else {
            return;
        };
        track.restart_layer(bound.layer);
        for subscriber in &track.subscribers {
            if let Some(session) = self.sessions.get_mut(subscriber.session)
                && let Some(slot) = session.slots.get_mut(usize::from(subscriber.slot))
            {
                slot.restart(bound.layer);
            }
        }
    }
}

impl Session {
    /// A packet chosen for one of its slots joins its lane. True when the session is to be listed for the flush.
    fn select(
        &mut self,
        lane: Lane,
        pending: Pending,
        due: Micros,
        counters: &mut Counters,
    ) -> bool {
        counters.selected_packets += 1;
        self.unheard_packets += 1;
        match self.lanes.push(lane, pending, due) {
            Ok(()) => !std::mem::replace(&mut self.lanes.listed, true),
            Err(reason) => {
                counters.dropped_out.count(reason);
                false
            }
        }
    }
}
