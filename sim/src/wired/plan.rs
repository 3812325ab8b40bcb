//! What a light peer publishes and watches, and how its offer would say it.

use dataplane_api::command::Slot;
use dataplane_api::ids::SlotId;
use dataplane_api::media::{Encoding, MediaKind, PayloadType};
use dataplane_engine::time::Micros;
use dataplane_engine::transport::keys::Profile;
use rand::RngExt;

use super::Wired;
use super::encoder::{Encoder, Plan};
use super::screen::{self, Screen};
use super::sources::Sources;
use crate::source::{codec, mid};
use crate::stamp::Picture;

/// Every publisher sends with the same SSRCs and every viewer's slots have the same ones: nothing may depend on
/// their being different.
const CAMERA_SSRC: u32 = 0x1000;
const CAMERA_RTX_SSRC: u32 = 0x1800;
const VOICE_SSRC: u32 = 0x9000;
const SLOT_SSRC: u32 = 0x2000;
const SLOT_RTX_SSRC: u32 = 0x2800;
const VOICE_SLOT_SSRC: u32 = 0xa000;

/// Payload type of the retransmissions of video.
const RTX_PT: u8 = 97;
/// Fixed header, head of the extensions, then mid, perhaps rid, and transport-cc, each behind an octet and all
/// together padded to words.
const HEADER_BYTES: usize = 12 + 4 + (2 + 2 + 3usize).next_multiple_of(4);
const RIDS: [&str; 3] = ["q", "h", "f"];
/// Packets of a delta frame a layer, lowest first.
const PARTS: [u8; 3] = [1, 2, 4];

/// What a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherPlan {
    /// Encodings of its camera, 1 to 3; more than one have rids and no declared SSRC.
    pub layers: u8,
    /// It has a microphone.
    pub voice: bool,
    /// It negotiated RTX for video.
    pub rtx: bool,
    /// Its VP8 has picture ids and TL0PICIDX.
    pub pictures: bool,
    /// It probes for bandwidth now and then.
    pub probes: bool,
    /// Payload bytes of its full packets.
    pub payload_bytes: usize,
}

impl Default for PublisherPlan {
    fn default() -> Self {
        PublisherPlan {
            layers: 1,
            voice: true,
            rtx: true,
            pictures: true,
            probes: true,
            payload_bytes: 1_000,
        }
    }
}

/// What a viewer negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewerPlan {
    /// It has an audio slot.
    pub voice: bool,
    /// It negotiated RTX for video.
    pub rtx: bool,
    /// It asks for audio again, too.
    pub audio_nack: bool,
    /// What its SRTP is sealed with.
    pub profile: Profile,
}

impl Default for ViewerPlan {
    fn default() -> Self {
        ViewerPlan {
            voice: true,
            rtx: true,
            audio_nack: false,
            profile: Profile::AeadAes128Gcm,
        }
    }
}

impl PublisherPlan {
    /// The codec of a medium as the answer has it.
    pub(crate) fn codec(&self, kind: MediaKind) -> PayloadType {
        PayloadType {
            rtx_pt: Some(RTX_PT).filter(|_| self.rtx && kind == MediaKind::Video),
            nack: kind == MediaKind::Video,
            ..codec(kind)
        }
    }

    /// The encodings of a medium.
    pub(crate) fn encodings(&self, kind: MediaKind) -> Vec<Encoding> {
        let declared = |ssrc, rtx_ssrc| Encoding {
            rid: None,
            ssrc: Some(ssrc),
            rtx_ssrc,
        };
        match (kind, self.layers) {
            (MediaKind::Audio, _) => vec![declared(VOICE_SSRC, None)],
            (MediaKind::Video, 1) => {
                let rtx = Some(CAMERA_RTX_SSRC).filter(|_| self.rtx);
                vec![declared(CAMERA_SSRC, rtx)]
            }
            (MediaKind::Video, layers) => RIDS[..usize::from(layers)]
                .iter()
                .map(|rid| Encoding {
                    rid: Some((*rid).to_owned()),
                    ssrc: None,
                    rtx_ssrc: None,
                })
                .collect(),
        }
    }
}

impl ViewerPlan {
    /// Its slots.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let video = Slot {
            slot: SlotId(0),
            kind: MediaKind::Video,
            mid: mid(MediaKind::Video).into(),
            ssrc: SLOT_SSRC,
            rtx_ssrc: Some(SLOT_RTX_SSRC).filter(|_| self.rtx),
            codecs: vec![PayloadType {
                rtx_pt: Some(RTX_PT).filter(|_| self.rtx),
                ..codec(MediaKind::Video)
            }],
        };
        let audio = Slot {
            slot: SlotId(1),
            kind: MediaKind::Audio,
            mid: mid(MediaKind::Audio).into(),
            ssrc: VOICE_SLOT_SSRC,
            rtx_ssrc: None,
            codecs: vec![PayloadType {
                nack: self.audio_nack,
                ..codec(MediaKind::Audio)
            }],
        };
        [video]
            .into_iter()
            .chain(Some(audio).filter(|_| self.voice))
            .collect()
    }
}

impl Wired {
    /// Will publish by `plan`, as `publisher` in `room`.
    pub(crate) fn publish(&mut self, plan: &PublisherPlan, publisher: u32, room: u32) {
        let rng = &mut self.rng;
        let mut encoder = |kind: MediaKind, layer: u8| {
            let codec = plan.codec(kind);
            let video = kind == MediaKind::Video;
            let simulcast = video && plan.layers > 1;
            let ssrc = if video { CAMERA_SSRC } else { VOICE_SSRC } + u32::from(layer);
            let picture = Picture {
                id: rng.random_range(0..0x8000),
                tl0: rng.random(),
            };
            Encoder::new(Plan {
                kind,
                publisher,
                room,
                layer,
                rid: simulcast.then(|| RIDS[usize::from(layer)]),
                ssrc,
                payload_type: codec.pt,
                rtx: codec
                    .rtx_pt
                    .map(|pt| (CAMERA_RTX_SSRC + u32::from(layer), pt)),
                clock_hz: codec.clock_hz,
                parts: match (video, simulcast) {
                    (false, _) => 1,
                    (true, true) => PARTS[usize::from(layer)],
                    (true, false) => 3,
                },
                payload_bytes: if video { plan.payload_bytes } else { 80 },
                header_bytes: HEADER_BYTES,
                first_seq: rng.random_range(1..0x8000),
                first_timestamp: rng.random(),
                picture: Some(picture).filter(|_| plan.pictures && video),
            })
        };
        self.sources = Some(Sources {
            cameras: (0..plan.layers)
                .map(|layer| encoder(MediaKind::Video, layer))
                .collect(),
            voice: plan.voice.then(|| encoder(MediaKind::Audio, 0)),
            next_frame_at: Micros::ZERO,
            next_voice_at: Micros::ZERO,
            frames: 0,
            frozen: false,
            probes: plan.probes,
        });
    }

    /// Will watch the slots of `plan`.
    pub(crate) fn watch(&mut self, plan: &ViewerPlan) {
        let screens = plan.slots().into_iter().map(|slot| {
            Screen::new(screen::Plan {
                kind: slot.kind,
                ssrc: slot.ssrc,
                rtx_ssrc: slot.rtx_ssrc,
                nack: match slot.kind {
                    MediaKind::Audio => plan.audio_nack,
                    MediaKind::Video => true,
                },
            })
        });
        self.screens.extend(screens);
    }
}
