//! One published track and its layers.

use dataplane_api::command::Publish;
use dataplane_api::ids::TrackId;
use dataplane_api::media::{MediaKind, PayloadType};

use super::keyframe::KeyframeBudget;
use crate::limits::TRACK_SILENT_US;
use crate::table::Key;
use crate::time::Micros;

/// A layer without a packet for this long is not there.
const LAYER_SILENT_US: u64 = 1_000_000;

/// One encoding of a track, lowest first.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) heard_at: Option<Micros>,
    pub(crate) keyframes: KeyframeBudget,
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

    /// A packet of a layer arrived. True when the track was silent before.
    pub(crate) fn on_packet(&mut self, now: Micros, layer: u8) -> bool {
        if let Some(layer) = self.layers.get_mut(usize::from(layer)) {
            layer.heard_at = Some(now);
        }
        !std::mem::replace(&mut self.live, true)
    }

    /// When it will be silent unless it is heard.
    pub(crate) fn silent_at(&self) -> Option<Micros> {
        if !self.live {
            return None;
        }
        self.layers
            .iter()
            .filter_map(|layer| layer.heard_at)
            .max()
            .map(|at| at.plus_us(TRACK_SILENT_US))
    }

    /// True when it just fell silent.
    pub(crate) fn on_tick(&mut self, now: Micros) -> bool {
        if self.silent_at().is_some_and(|at| at <= now) {
            self.live = false;
            return true;
        }
        false
    }

    /// The layer to show: the highest that was heard within a second, else the highest of all. Which
    /// layer suits whom is decided per viewer once there are estimates.
    pub(crate) fn best_layer(&self, now: Micros) -> u8 {
        let alive = |layer: &Layer| {
            layer
                .heard_at
                .is_some_and(|at| now.since(at) < LAYER_SILENT_US)
        };
        let best = self
            .layers
            .iter()
            .rposition(alive)
            .unwrap_or(self.layers.len().saturating_sub(1));
        u8::try_from(best).unwrap_or(0)
    }

    /// When a keyframe that somebody waits for may be asked for again. A layer that was never heard has no
    /// SSRC to ask; its first packet brings the wish up again.
    pub(crate) fn next_keyframe_request(&self) -> Option<Micros> {
        (0u8..)
            .zip(&self.layers)
            .filter(|(_, layer)| layer.heard_at.is_some())
            .filter_map(|(n, layer)| layer.keyframes.next_deadline(n))
            .min()
    }

    /// Asks for a keyframe of a layer.
    pub(crate) fn want_keyframe(&mut self, layer: u8) {
        if self.is_video()
            && let Some(layer) = self.layers.get_mut(usize::from(layer))
        {
            layer.keyframes.want();
        }
    }
}
