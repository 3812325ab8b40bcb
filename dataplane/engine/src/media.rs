//! What is read from a decrypted packet, once, whoever watches: where a slot may begin to show it, the numbers of
//! its picture, and the extensions that go on to viewers.

use codecs::payload::dependency::Mandatory;
use codecs::payload::{self, Codec, vp8, vp9};
use codecs::rtp::RtpView;
use dataplane_api::command::Publish;
use dataplane_api::media::{CodecId, Extensions, MediaKind};

use crate::pool::{ForwardedExtensions, Picture};

/// What payload and dependency descriptor say of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// A viewer may begin with this packet: any packet of audio, the first packet of a keyframe of video. A codec
    /// or a payload that cannot be read (contracts.md 22) says it in the dependency descriptor, or not at all:
    /// then every packet counts, and the decoder sorts it out.
    pub(crate) switch_point: bool,
    /// It is known to be the first packet of a keyframe, which makes needless what was lost before it. Where
    /// nothing can be read a viewer may begin anywhere, but nothing is known to be a keyframe.
    pub(crate) keyframe: bool,
    /// The numbers in the payload that a slot rewrites.
    pub(crate) picture: Option<Picture>,
    /// The frame number of the dependency descriptor, which a slot rewrites too.
    ///
    /// It must go on across sources: libwebrtc's receiver unwraps it and drops a keyframe whose number is before
    /// the newest one's, with or without a new template structure. Everything else in a descriptor is relative to
    /// it or to the structure of the last keyframe, with which a source begins at the viewer.
    pub(crate) frame_number: Option<u16>,
}

/// Reads a packet of `track`.
///
/// Nothing of an opaque track is rewritten, the frame number neither: end-to-end encryption may authenticate it
/// (libwebrtc's frame encryptors do), and a frame that was renumbered would not decrypt.
pub(crate) fn describe(
    track: &Publish,
    codec: CodecId,
    payload: &[u8],
    descriptor: &[u8],
) -> Description {
    if track.kind == MediaKind::Audio {
        return Description {
            switch_point: true,
            keyframe: false,
            picture: None,
            frame_number: None,
        };
    }
    let mandatory = Mandatory::parse(descriptor);
    match codec_of(codec) {
        Some(codec) if !track.opaque => {
            let keyframe = payload::is_keyframe(codec, payload);
            Description {
                switch_point: keyframe,
                keyframe,
                picture: picture(codec, payload),
                frame_number: mandatory.map(|mandatory| mandatory.frame_number),
            }
        }
        Some(_) | None => {
            // A structure is attached to the first packet of a keyframe.
            let keyframe = mandatory.is_some_and(|mandatory| mandatory.has_structure);
            Description {
                switch_point: keyframe || descriptor.is_empty(),
                keyframe,
                picture: None,
                frame_number: mandatory
                    .map(|mandatory| mandatory.frame_number)
                    .filter(|_| !track.opaque),
            }
        }
    }
}

/// The numbers of a payload descriptor; `None` when it has none.
fn picture(codec: Codec, payload: &[u8]) -> Option<Picture> {
    let place = |at: usize| u8::try_from(at).ok();
    let picture = match codec {
        Codec::Vp8 => {
            let descriptor = vp8::Descriptor::parse(payload)?;
            Picture {
                id: descriptor.picture_id,
                tl0_pic_idx: descriptor.tl0_pic_idx,
                key_idx: descriptor.key_idx,
                temporal: descriptor.temporal.map_or(0, |temporal| temporal.id),
                id_at: place(descriptor.picture_id_at)?,
                tl0_pic_idx_at: place(descriptor.tl0_pic_idx_at)?,
                key_idx_at: place(descriptor.key_idx_at)?,
            }
        }
        Codec::Vp9 => {
            let descriptor = vp9::Descriptor::parse(payload)?;
            Picture {
                id: descriptor.picture_id,
                tl0_pic_idx: descriptor.tl0_pic_idx,
                key_idx: None,
                temporal: descriptor.temporal(),
                id_at: place(descriptor.picture_id_at)?,
                tl0_pic_idx_at: place(descriptor.tl0_pic_idx_at)?,
                key_idx_at: 0,
            }
        }
        Codec::Opus | Codec::H264 | Codec::H265 | Codec::Av1 => return None,
    };
    let numbered =
        picture.id.is_some() || picture.tl0_pic_idx.is_some() || picture.key_idx.is_some();
    numbered.then_some(picture)
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

#[cfg(test)]
mod tests {
    use codecs::payload::PictureId;
    use dataplane_api::ids::{SessionId, TrackId};

    use super::*;

    fn track(kind: MediaKind, opaque: bool) -> Publish {
        Publish {
            track: TrackId(1),
            session: SessionId(1),
            uid: [0; 16],
            origin_node: [0; 16],
            hops: 0,
            kind,
            mid: "0".into(),
            codecs: Vec::new(),
            encodings: Vec::new(),
            opaque,
            tag: Vec::new(),
        }
    }

    /// X, S; I, L, T, K; 15-bit picture id 0x1234; TL0PICIDX 7; TID 2, Y, KEYIDX 9; a key frame.
    const VP8: [u8; 12] = [
        0x90, 0xF0, 0x92, 0x34, 7, 0xA9, 0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A,
    ];
    /// Frame 7 with a structure.
    const DESCRIPTOR: [u8; 4] = [0xC0, 0, 7, 0x80];

    #[test]
    fn everything_a_slot_rewrites_is_read_once() {
        let video = track(MediaKind::Video, false);
        let described = describe(&video, CodecId::VP8, &VP8, &DESCRIPTOR);
        let picture = Picture {
            id: Some(PictureId::Long(0x1234)),
            tl0_pic_idx: Some(7),
            key_idx: Some(9),
            temporal: 2,
            id_at: 2,
            tl0_pic_idx_at: 4,
            key_idx_at: 5,
        };
        let expected = Description {
            switch_point: true,
            keyframe: true,
            picture: Some(picture),
            frame_number: Some(7),
        };
        assert_eq!(described, expected);
        // Flexible mode: a picture id of seven bits, layers, one reference, no TL0PICIDX.
        let flexible = [0xF8, 0x05, 0x20, 0x02, 0xFF];
        let picture = describe(&video, CodecId::VP9, &flexible, &[])
            .picture
            .unwrap();
        assert_eq!((picture.id, picture.id_at), (Some(PictureId::Short(5)), 1));
        assert_eq!((picture.tl0_pic_idx, picture.temporal), (None, 1));
    }

    #[test]
    fn what_carries_no_numbers_has_no_picture() {
        let video = track(MediaKind::Video, false);
        let plain = [0x10, 0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A];
        let described = describe(&video, CodecId::VP8, &plain, &[]);
        assert_eq!((described.switch_point, described.picture), (true, None));
        let garbage = describe(&video, CodecId::VP8, &[0xFF], &[]);
        assert_eq!((garbage.switch_point, garbage.picture), (false, None));
        let audio = track(MediaKind::Audio, false);
        let described = describe(&audio, CodecId::OPUS, &VP8, &DESCRIPTOR);
        assert_eq!(
            (described.switch_point, described.frame_number),
            (true, None)
        );
        assert!(!described.keyframe);
    }

    #[test]
    fn nothing_of_an_opaque_track_is_rewritten() {
        let opaque = track(MediaKind::Video, true);
        let described = describe(&opaque, CodecId::VP8, &VP8, &DESCRIPTOR);
        let expected = Description {
            switch_point: true,
            keyframe: true,
            picture: None,
            frame_number: None,
        };
        assert_eq!(described, expected);
        let delta = describe(&opaque, CodecId::VP8, &VP8, &DESCRIPTOR[..3]);
        assert!(
            !delta.switch_point && !delta.keyframe,
            "no structure, no keyframe"
        );
        let blind = describe(&opaque, CodecId::VP8, &VP8, &[]);
        assert!(
            blind.switch_point && !blind.keyframe,
            "nothing can be read, so one may begin anywhere"
        );
    }

    #[test]
    fn a_codec_without_a_name_is_read_by_its_dependency_descriptor_alone() {
        let video = track(MediaKind::Video, false);
        let described = describe(&video, CodecId(999), &VP8, &DESCRIPTOR);
        assert_eq!((described.picture, described.frame_number), (None, Some(7)));
        let blind = describe(&video, CodecId(999), &VP8, &[]);
        assert_eq!((blind.switch_point, blind.keyframe), (true, false));
    }
}
