//! What is read from a decrypted packet: where a slot may begin to show it, and the extensions that go on
//! to viewers.

use codecs::payload::{self, Codec};
use codecs::rtp::RtpView;
use dataplane_api::command::Publish;
use dataplane_api::media::{CodecId, Extensions, MediaKind};

use crate::pool::ForwardedExtensions;

/// Whether a viewer may begin with this packet: any packet of audio, the first packet of a keyframe of
/// video. A codec or a payload that cannot be read (contracts.md 22) says it in the dependency descriptor,
/// or not at all: then every frame counts, and the decoder sorts it out.
pub(crate) fn is_switch_point(
    track: &Publish,
    codec: CodecId,
    payload: &[u8],
    descriptor: &[u8],
) -> bool {
    if track.kind == MediaKind::Audio {
        return true;
    }
    match codec_of(codec) {
        Some(codec) if !track.opaque => payload::is_keyframe(codec, payload),
        // A structure is attached to the first packet of a keyframe (AV1 RTP specification, appendix A.8.1:
        // template_dependency_structure_present_flag, bit 7 of the fourth byte).
        _ if !descriptor.is_empty() => descriptor.get(3).is_some_and(|flags| flags & 0x80 != 0),
        _ => true,
    }
}

/// The extensions of a packet that viewers get, and its dependency descriptor.
pub(crate) fn forwarded_extensions<'a>(
    view: &RtpView<'a>,
    ids: &Extensions,
) -> (ForwardedExtensions, &'a [u8]) {
    let mut forwarded = ForwardedExtensions::default();
    let mut descriptor: &[u8] = &[];
    for (id, element) in view.extensions() {
        let id = Some(id);
        if id == ids.audio_level {
            forwarded.audio_level = element.first().copied();
        } else if id == ids.video_orientation {
            forwarded.video_orientation = element.first().copied();
        } else if id == ids.playout_delay {
            forwarded.playout_delay = element.first_chunk().copied();
        } else if id == ids.abs_capture_time {
            forwarded.abs_capture_time = element.first_chunk().copied();
        } else if id == ids.dependency_descriptor {
            descriptor = element;
        }
    }
    (forwarded, descriptor)
}

fn codec_of(id: CodecId) -> Option<Codec> {
    match id {
        CodecId::OPUS => Some(Codec::Opus),
        CodecId::VP8 => Some(Codec::Vp8),
        CodecId::VP9 => Some(Codec::Vp9),
        CodecId::H264 => Some(Codec::H264),
        CodecId::H265 => Some(Codec::H265),
        CodecId::AV1 => Some(Codec::Av1),
        _ => None,
    }
}
