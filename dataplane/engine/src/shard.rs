//! One shard: every table, and every branch of a packet's way.
//!
//! A turn is: `on_datagram` for what was received, orders and handshake results from their rings,
//! `on_tick`, one `flush`, then `poll_*` until each is empty.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use codecs::rtp::RtpView;
use codecs::rtp::view::{header_len, strip_padding};
use dataplane_api::event::{CloseReason, Event, TrackLayers, TrackLive, TrackSilent};
use dataplane_api::ids::{SessionId, ShardIndex, TrackId};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustc_hash::FxHashMap;

use crate::control::ControlQueue;
use crate::demux::{Protocol, classify};
use crate::exchange::ExchangeItem;
use crate::flush::Resend;
use crate::forward::{Lengths, SentRuns};
use crate::limits::{DATAGRAM_BYTES_MAX, SESSIONS_PER_SHARD_MAX};
use crate::linger::Linger;
use crate::media::{describe, forwarded_extensions};
use crate::packet::{Datagram, Path};
use crate::pool::{PacketMeta, Pool};
use crate::publish::{Bound, Media, Stream, Track};
use crate::reason::DropReason;
use crate::session::Session;
pub use crate::snapshot::Population;
use crate::stats::Counters;
use crate::table::{Key, Table};
use crate::time::Micros;
use crate::timers::Timers;
use crate::transport::handshake::HandshakeInput;

/// What a shard is told when it is made.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its number; the ufrags it makes carry it.
    pub index: ShardIndex,
    /// Seed of everything random here: ufrags, passwords, first sequence numbers. From the operating system
    /// in a node, from the case in a simulation.
    pub seed: [u8; 32],
    /// The addresses peers are told, best first.
    pub candidates: Vec<SocketAddr>,
    /// What this shard accepts.
    pub limits: ShardLimits,
}

/// Bounds of one shard that an operator may lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardLimits {
    /// Sessions at once.
    pub sessions_max: usize,
}

impl Default for ShardLimits {
    fn default() -> Self {
        ShardLimits {
            sessions_max: SESSIONS_PER_SHARD_MAX,
        }
    }
}

/// A check for a session of another shard, to be handed to it by ring.
///
/// The shard that owns the session answers it, from its own socket. Where the shards share one port that is the
/// port that was asked. Where each has its own, which candidates name, only the owner's carries the session:
/// the peer discards an answer from a port it did not ask (RFC 8445 section 7.2.5.2.1) and goes on with the
/// pair that works, where an answer from the port it did ask would make it choose one whose media nobody
/// takes.
#[derive(Debug)]
pub struct Handover {
    /// Whose session it is.
    pub shard: ShardIndex,
    /// How it came here.
    pub path: Path,
    /// The datagram.
    pub bytes: Box<[u8]>,
    /// When the kernel received it.
    pub arrival: Micros,
}

/// One media shard.
#[derive(Debug)]
pub struct Shard {
    pub(crate) config: ShardConfig,
    pub(crate) rng: StdRng,
    pub(crate) sessions: Table<Session>,
    pub(crate) session_keys: BTreeMap<SessionId, Key>,
    /// Sessions without keys, never more than [`crate::limits::HALF_OPEN_PER_SHARD_MAX`].
    pub(crate) half_open: usize,
    pub(crate) tracks: Table<Track>,
    pub(crate) track_keys: BTreeMap<TrackId, Key>,
    /// Validated paths only: what is not here is parsed as STUN or not at all.
    pub(crate) paths: FxHashMap<Path, Key>,
    pub(crate) pool: Pool,
    pub(crate) control: ControlQueue,
    pub(crate) timers: Timers,
    pub(crate) events: VecDeque<Event>,
    pub(crate) handshakes: VecDeque<HandshakeInput>,
    pub(crate) handovers: VecDeque<Handover>,
    /// Paths of sessions that just closed, for their last DTLS flight.
    pub(crate) farewells: VecDeque<(SessionId, Path)>,
    /// Packets to send again, in the order they were asked for.
    pub(crate) resends: VecDeque<Resend>,
    /// Sessions with something in their lanes.
    pub(crate) listed: Vec<Key>,
    pub(crate) lengths: Lengths,
    pub(crate) sent: SentRuns,
    pub(crate) linger: Linger,
    pub(crate) counters: Counters,
}

/// Checks waiting to be handed over.
const HANDOVERS_MAX: usize = 64;

impl Shard {
    /// A shard without sessions. Its pool is allocated here, once.
    #[must_use]
    pub fn new(config: ShardConfig) -> Shard {
        Shard {
            rng: StdRng::from_seed(config.seed),
            config,
            sessions: Table::default(),
            session_keys: BTreeMap::new(),
            half_open: 0,
            tracks: Table::default(),
            track_keys: BTreeMap::new(),
            paths: FxHashMap::default(),
            pool: Pool::default(),
            control: ControlQueue::default(),
            timers: Timers::default(),
            events: VecDeque::new(),
            handshakes: VecDeque::new(),
            handovers: VecDeque::new(),
            farewells: VecDeque::new(),
            resends: VecDeque::new(),
            listed: Vec::new(),
            lengths: Lengths::default(),
            sent: SentRuns::default(),
            linger: Linger::default(),
            counters: Counters::default(),
        }
    }

    /// One received datagram.
    pub fn on_datagram(&mut self, now: Micros, datagram: Datagram<'_>) {
        self.counters.received_packets += 1;
        self.counters.received_bytes += datagram.bytes.len() as u64;
        let result = self.receive(now, datagram);
        self.settle(result);
    }

    fn receive(&mut self, now: Micros, datagram: Datagram<'_>) -> Result<(), DropReason> {
        if datagram.bytes.len() > DATAGRAM_BYTES_MAX {
            return Err(DropReason::Demux);
        }
        let protocol = classify(datagram.bytes).ok_or(DropReason::Demux)?;
        if protocol == Protocol::Stun {
            return self.on_stun(now, &datagram);
        }
        // Nothing but STUN is parsed from a path ICE has not validated (security.md, rule 1).
        let key = *self
            .paths
            .get(&datagram.path)
            .ok_or(DropReason::UnknownPath)?;
        match protocol {
            Protocol::Stun => unreachable!("invariant: answered above"),
            Protocol::Dtls => self.on_dtls(now, key, datagram.bytes),
            Protocol::Rtp => self.on_rtp(now, key, datagram),
            Protocol::Rtcp => self.on_rtcp(now, key, datagram),
        }
    }

    fn on_rtp(&mut self, now: Micros, key: Key, datagram: Datagram<'_>) -> Result<(), DropReason> {
        let Datagram {
            path,
            bytes,
            arrival,
        } = datagram;
        let session = self.sessions.get_mut(key).ok_or(DropReason::UnknownPath)?;
        let srtp = session.srtp.as_mut().ok_or(DropReason::NoKeys)?;
        let header_len = header_len(bytes).map_err(|_| DropReason::RtpMalformed)?;
        let opened = srtp.opener.open_rtp(bytes, header_len)?;
        session.gate.on_authenticated();
        session.ice.on_authenticated(now, path);
        session.on_heard();

        let packet = bytes
            .get(..opened.payload.end)
            .ok_or(DropReason::RtpMalformed)?;
        let view = RtpView::parse(packet).map_err(|_| DropReason::RtpMalformed)?;
        if !session.policer.admits(now, bytes.len()) {
            // Not in the feedback either, so that the publisher's estimate comes down to its ceiling.
            session.receiver.refuse(view.ssrc(), opened.index);
            return Err(DropReason::Policer);
        }
        session.note_transport_seq(now, &view, arrival);
        let (bound, restarted) = match session.receiver.get_mut(view.ssrc()) {
            Some((bound, _)) => (bound, false),
            None => session
                .receiver
                .bind(
                    now,
                    &view,
                    opened.index,
                    &session.extensions,
                    &self.tracks,
                    &session.tracks,
                )
                .ok_or(DropReason::UnknownSource)?,
        };
        if restarted && !bound.rtx {
            self.restart_layer(bound);
        }
        let result = self.take_rtp(now, key, bound, &view, opened.index, arrival);
        if let Err(DropReason::RtpMalformed | DropReason::PayloadType) = result {
            self.pass_over(key, bound, view.ssrc(), opened.index);
        }
        // Whatever became of it, it may have moved what is due of feedback and requests.
        self.reschedule(now, key);
        result
    }

    /// A packet whose layer is known.
    fn take_rtp(
        &mut self,
        now: Micros,
        key: Key,
        bound: Bound,
        view: &RtpView<'_>,
        ext_seq: u64,
        arrival: Micros,
    ) -> Result<(), DropReason> {
        let payload = strip_padding(view.payload(), view.has_padding())
            .map_err(|_| DropReason::RtpMalformed)?;
        let media = if bound.rtx {
            self.take_rtx(now, key, bound, view.payload_type(), payload, arrival)?
        } else {
            let late = self.take_original(now, key, bound, view, ext_seq, arrival)?;
            Media {
                ext_seq,
                payload_type: view.payload_type(),
                payload,
                late,
            }
        };
        self.mend(now, bound);
        if media.payload.is_empty() {
            self.skip(bound.track, bound.layer, media.ext_seq);
            return Err(DropReason::PaddingOnly);
        }
        self.on_media(now, key, bound, view, media, arrival)
    }

    /// A packet of a layer, as its publisher sent it or repaired.
    fn on_media(
        &mut self,
        now: Micros,
        key: Key,
        bound: Bound,
        view: &RtpView<'_>,
        media: Media<'_>,
        arrival: Micros,
    ) -> Result<(), DropReason> {
        let session = self.sessions.get_mut(key).ok_or(DropReason::UnknownPath)?;
        let track = self
            .tracks
            .get_mut(bound.track)
            .ok_or(DropReason::UnknownSource)?;
        let codec = track
            .payload_type(media.payload_type)
            .ok_or(DropReason::PayloadType)?;
        let (codec_id, clock_hz) = (codec.codec, codec.clock_hz);
        let begun = track.on_packet(now, bound.layer);
        if begun.track {
            self.events.push_back(Event::TrackLive(TrackLive {
                track: track.id(),
                codec: codec_id,
            }));
        }
        if begun.layers {
            self.events.push_back(layers_of(track));
        }
        let (extensions, descriptor) = forwarded_extensions(view, &session.extensions);
        let described = describe(&track.spec, codec_id, media.payload, descriptor);
        let clock = session
            .receiver
            .layer(bound.track, bound.layer)
            .and_then(Stream::clock);
        let meta = PacketMeta {
            track: track.id(),
            ext_seq: media.ext_seq,
            timestamp: view.timestamp(),
            marker: view.marker(),
            payload_type: media.payload_type,
            layer: bound.layer,
            switch_point: described.switch_point,
            keyframe: described.keyframe,
            arrival,
            captured: clock.map(|clock| clock.captured(view.timestamp(), clock_hz)),
            picture: described.picture,
            frame_number: described.frame_number,
            extensions,
        };
        if meta.keyframe
            && let Some(stream) = session.receiver.layer_mut(bound.track, bound.layer)
        {
            stream.on_keyframe(media.ext_seq, &mut self.counters.nack);
        }
        self.fan_out(
            now,
            bound.track,
            meta,
            media.payload,
            descriptor,
            media.late,
        )
    }

    /// One packet of a track that another shard or a worker received.
    pub fn on_exchange(&mut self, now: Micros, item: ExchangeItem<'_>) {
        self.counters.received_packets += 1;
        self.counters.received_bytes += item.payload.len() as u64;
        let result = match self.track_keys.get(&item.meta.track) {
            Some(&track) => self.fan_out(
                now,
                track,
                item.meta,
                item.payload,
                item.dependency_descriptor,
                None,
            ),
            None => Err(DropReason::UnknownSource),
        };
        self.settle(result);
    }

    fn settle(&mut self, result: Result<(), DropReason>) {
        match result {
            Ok(()) => self.counters.accepted_packets += 1,
            Err(reason) => self.counters.dropped_in.count(reason),
        }
    }

    /// Whatever was due by `now`.
    pub fn on_tick(&mut self, now: Micros) {
        while let Some(key) = self.timers.pop(now) {
            if let Some(session) = self.sessions.get_mut(key) {
                session.deadline = None;
                self.tick_session(now, key);
            }
        }
    }

    fn tick_session(&mut self, now: Micros, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.ice.expires_at() <= now {
            let reason = if session.ice.is_validated() {
                CloseReason::ConsentExpired
            } else {
                CloseReason::IceTimeout
            };
            let id = session.id;
            self.close_session(id, reason);
            return;
        }
        if session.gate.expires_at().is_some_and(|at| at <= now) {
            let id = session.id;
            self.close_session(id, CloseReason::HandshakeFailed);
            return;
        }
        for path in session.ice.on_tick(now) {
            self.paths.remove(&path);
        }
        self.request_missing(now, key);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        for index in 0..session.tracks.len() {
            let Some(&track_key) = self.sessions.get(key).and_then(|s| s.tracks.get(index)) else {
                break;
            };
            if let Some(track) = self.tracks.get_mut(track_key) {
                let ended = track.on_tick(now);
                if ended.track {
                    self.events
                        .push_back(Event::TrackSilent(TrackSilent { track: track.id() }));
                }
                if ended.layers {
                    self.events.push_back(layers_of(track));
                }
            }
        }
        self.hear_deferred_wishes(now, key);
        self.request_keyframes(now, key);
        self.send_feedback(now, key);
        self.reschedule(now, key);
    }

    /// Moves a session's timer to the earliest thing it waits for.
    pub(crate) fn reschedule(&mut self, now: Micros, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let mut next = session.ice.next_deadline(now);
        next = next.min(session.gate.expires_at().unwrap_or(next));
        next = session.wish_at.map_or(next, |at| next.min(at));
        // What cannot be sent has no deadline: it would be due for ever, and this turn would not end.
        let can_send = session.is_connected() && session.ice.selected().is_some();
        if can_send {
            let feedback_at = session.receiver.arrivals.next_deadline();
            let nack_at = session.receiver.nack_at();
            next = [feedback_at, nack_at]
                .into_iter()
                .flatten()
                .fold(next.min(session.report_at), Micros::min);
        }
        for track in session
            .tracks
            .iter()
            .filter_map(|&track| self.tracks.get(track))
        {
            let keyframe_at = track
                .next_keyframe_request(now)
                .filter(|_| can_send)
                .map(|at| at.max(session.keyframes.ready_at(now)));
            next = [track.silent_at(), keyframe_at]
                .into_iter()
                .flatten()
                .fold(next, Micros::min);
        }
        self.timers.set(key, &mut session.deadline, Some(next));
    }

    /// The next thing to tell the control plane.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next thing to tell the handshake worker.
    pub fn poll_handshake(&mut self) -> Option<HandshakeInput> {
        self.handshakes.pop_front()
    }

    /// The next check that belongs to another shard.
    pub fn poll_handover(&mut self) -> Option<Handover> {
        self.handovers.pop_front()
    }

    /// Totals since the shard was made.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn hand_over(&mut self, handover: Handover) -> Result<(), DropReason> {
        if self.handovers.len() >= HANDOVERS_MAX {
            return Err(DropReason::Queue);
        }
        self.handovers.push_back(handover);
        Ok(())
    }
}

fn layers_of(track: &Track) -> Event {
    Event::TrackLayers(TrackLayers {
        track: track.id(),
        layers: track.layer_states(),
    })
}

#[cfg(test)]
mod tests;
