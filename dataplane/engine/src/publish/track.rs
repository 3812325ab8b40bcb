//! One published track and its layers.

use dataplane_api::command::Publish;
use dataplane_api::event::LayerState;
use dataplane_api::ids::TrackId;
use dataplane_api::media::{MediaKind, PayloadType};

use super::keyframe::KeyframeBudget;
use crate::limits::TRACK_SILENT_US;
use crate::pool::PacketMeta;
use crate::table::Key;
use crate::time::Micros;

/// A layer without a packet for this long is not there.
const LAYER_SILENT_US: u64 = 1_000_000;

/// One encoding of a track, lowest first.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) heard_at: Option<Micros>,
    /// The control plane was told that packets of it come.
    live: bool,
    pub(crate) keyframes: KeyframeBudget,
    /// The extended number behind its newest packet.
    next_seq: u64,
    /// A slot showed it when its last packet was offered.
    shown: bool,
    /// It does not say which of its packets begin a keyframe.
    blind: bool,
}

impl Layer {
    /// A packet of it is offered to the slots.
    pub(crate) fn on_packet(&mut self, meta: &PacketMeta) {
        self.next_seq = self.next_seq.max(meta.ext_seq + 1);
        self.blind = meta.switch_point && !meta.keyframe;
        if meta.keyframe {
            self.keyframes.on_keyframe(meta.ext_seq);
        }
    }

    /// When it will be silent unless it is heard.
    fn silent_at(&self) -> Option<Micros> {
        let at = self.heard_at.filter(|_| self.live)?;
        Some(at.plus_us(TRACK_SILENT_US))
    }

    fn is_heard(&self, now: Micros) -> bool {
        self.heard_at
            .is_some_and(|at| now.since(at) < LAYER_SILENT_US)
    }
}

/// What came to life or fell silent with a packet or a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Liveness {
    /// The track as a whole did.
    pub(crate) track: bool,
    /// One of its layers did.
    pub(crate) layers: bool,
}

/// One slot that is filled from a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscriber {
    pub(crate) session: Key,
    /// Position in the session's slots.
    pub(crate) slot: u16,
}

/// A published track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) spec: Publish,
    /// Who sends it.
    pub(crate) session: Key,
    pub(crate) layers: Vec<Layer>,
    pub(crate) subscribers: Vec<Subscriber>,
    live: bool,
}

impl Track {
    pub(crate) fn new(spec: Publish, session: Key) -> Track {
        let layers = spec.encodings.iter().map(|_| Layer::default()).collect();
        Track {
            spec,
            session,
            layers,
            subscribers: Vec::new(),
            live: false,
        }
    }

    pub(crate) fn id(&self) -> TrackId {
        self.spec.track
    }

    pub(crate) fn is_video(&self) -> bool {
        self.spec.kind == MediaKind::Video
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// What a payload type of media (not of RTX) stands for.
    pub(crate) fn payload_type(&self, pt: u8) -> Option<&PayloadType> {
        self.spec.codecs.iter().find(|codec| codec.pt == pt)
    }

    /// What a payload type of RTX repairs.
    pub(crate) fn repaired_payload_type(&self, rtx_pt: u8) -> Option<&PayloadType> {
        self.spec
            .codecs
            .iter()
            .find(|codec| codec.rtx_pt == Some(rtx_pt))
    }

    /// A packet of a layer arrived.
    pub(crate) fn on_packet(&mut self, now: Micros, layer: u8) -> Liveness {
        let mut liveness = Liveness {
            track: !std::mem::replace(&mut self.live, true),
            layers: false,
        };
        if let Some(layer) = self.layers.get_mut(usize::from(layer)) {
            layer.heard_at = Some(now);
            liveness.layers = !std::mem::replace(&mut layer.live, true);
        }
        liveness
    }

    /// When a layer will be silent unless it is heard. The track is silent with its last.
    pub(crate) fn silent_at(&self) -> Option<Micros> {
        self.layers.iter().filter_map(Layer::silent_at).min()
    }

    /// What just fell silent.
    pub(crate) fn on_tick(&mut self, now: Micros) -> Liveness {
        let mut liveness = Liveness::default();
        for layer in &mut self.layers {
            if layer.silent_at().is_some_and(|at| at <= now) {
                layer.live = false;
                liveness.layers = true;
            }
        }
        if self.live && self.layers.iter().all(|layer| !layer.live) {
            self.live = false;
            liveness.track = true;
        }
        liveness
    }

    /// Every layer, in the order of `Publish`.
    pub(crate) fn layer_states(&self) -> Vec<LayerState> {
        let layers = self.spec.encodings.iter().zip(&self.layers);
        layers
            .map(|(encoding, layer)| LayerState {
                rid: encoding.rid.clone(),
                live: layer.live,
            })
            .collect()
    }

    /// The layer to show: the highest that was heard within a second, else the one that was heard last, else the
    /// highest of all. Which layer suits whom is decided per viewer once there are estimates.
    pub(crate) fn best_layer(&self, now: Micros) -> u8 {
        let last_heard = || {
            let heard = self.layers.iter().enumerate();
            heard
                .filter_map(|(n, layer)| Some((layer.heard_at?, n)))
                .max()
                .map(|(_, n)| n)
        };
        let best = self
            .layers
            .iter()
            .rposition(|layer| layer.is_heard(now))
            .or_else(last_heard)
            .unwrap_or(self.layers.len().saturating_sub(1));
        u8::try_from(best).unwrap_or(0)
    }

    /// Whether packets of the layer come.
    pub(crate) fn is_heard(&self, now: Micros, layer: u8) -> bool {
        self.layers
            .get(usize::from(layer))
            .is_some_and(|layer| layer.is_heard(now))
    }

    /// Whether a slot shows the layer or waits for it. All slots wait for the best layer; which layers are shown
    /// is noted when their packets are offered, so that this costs nothing a packet. A slot that went since the
    /// layer's last packet still counts.
    pub(crate) fn is_watched(&self, now: Micros, layer: u8) -> bool {
        let is_shown = || {
            self.layers
                .get(usize::from(layer))
                .is_some_and(|layer| layer.shown)
        };
        !self.subscribers.is_empty() && (layer == self.best_layer(now) || is_shown())
    }

    /// A packet of the layer was offered: `shown` says whether a slot shows the layer since.
    pub(crate) fn set_shown(&mut self, layer: u8, shown: bool) {
        if let Some(layer) = self.layers.get_mut(usize::from(layer)) {
            layer.shown = shown;
        }
    }

    /// A layer comes under a new SSRC: its numbers have nothing to do with those before.
    pub(crate) fn restart_layer(&mut self, layer: u8) {
        if let Some(layer) = self.layers.get_mut(usize::from(layer)) {
            layer.next_seq = 0;
            layer.keyframes.restart();
        }
    }

    /// The extended number behind the newest packet of the layer.
    pub(crate) fn next_seq(&self, layer: u8) -> u64 {
        self.layers
            .get(usize::from(layer))
            .map_or(0, |layer| layer.next_seq)
    }

    /// When a keyframe that somebody wishes may be asked for. A layer that was never heard has no SSRC to ask; its
    /// wish waits for the first packet.
    pub(crate) fn next_keyframe_request(&self, now: Micros) -> Option<Micros> {
        self.keyframe_requests(now).map(|(_, at, _)| at).min()
    }

    /// The layers to ask for a keyframe: when, and since when they were not asked. A wish for a layer that nobody
    /// watches any more is not passed on: whoever watches it next wishes a keyframe anyway.
    pub(crate) fn keyframe_requests(
        &self,
        now: Micros,
    ) -> impl Iterator<Item = (u8, Micros, Option<Micros>)> {
        (0u8..)
            .zip(&self.layers)
            .filter(move |&(n, layer)| layer.heard_at.is_some() && self.is_watched(now, n))
            .filter_map(|(n, layer)| {
                let at = layer.keyframes.next_deadline(n)?;
                Some((n, at, layer.keyframes.asked_at()))
            })
    }

    /// A layer is asked for a keyframe. A wish is repeated until one begins, except where that would be for ever.
    /// Of a blind layer nobody knows when one begins. A silent one may be a screen that stands still, which sends
    /// nothing until it is asked, or gone: once tells which.
    pub(crate) fn on_keyframe_asked(&mut self, now: Micros, layer: u8) {
        if let Some(layer) = self.layers.get_mut(usize::from(layer)) {
            let is_last = layer.blind || !layer.is_heard(now);
            layer.keyframes.on_asked(now, is_last);
        }
    }

    /// Wishes a keyframe of a layer, one that begins at the extended number `from` or behind it.
    pub(crate) fn want_keyframe(&mut self, layer: u8, from: u64) {
        if self.is_video()
            && let Some(layer) = self.layers.get_mut(usize::from(layer))
        {
            layer.keyframes.want(from);
        }
    }
}
