//! A packet as it goes out, before it is sealed: header, extensions and text. Lengths depend on what was negotiated
//! and received alone, so that a run can be planned before anything is written.

use codecs::rtp::rtx::{OSN_LEN, write_osn};
use codecs::rtp::{FIXED_HEADER_LEN, Header, HeaderWriter, Seq};
use dataplane_api::media::Extensions;

use super::picture::Patch;
use crate::limits::FORWARDED_EXTENSION_BYTES_MAX;
use crate::pool::Pooled;

/// The longest element of the one-byte form (RFC 8285 section 4.2).
const ONE_BYTE_ELEMENT_MAX: usize = 16;

/// The extension elements of one packet, in the order they are written. One function decides, so that
/// length and content cannot disagree.
fn for_each_element(
    extensions: &Extensions,
    mid: &str,
    transport_seq: u16,
    patch: Patch,
    pooled: &Pooled<'_>,
    mut element: impl FnMut(u8, &[u8]) -> Option<()>,
) -> Option<()> {
    let forwarded = &pooled.meta.extensions;
    if let Some(id) = extensions.mid {
        element(id, mid.as_bytes())?;
    }
    if let Some(id) = extensions.transport_cc {
        element(id, &transport_seq.to_be_bytes())?;
    }
    if let (Some(id), Some(level)) = (extensions.audio_level, forwarded.audio_level) {
        element(id, &[level])?;
    }
    if let (Some(id), Some(orientation)) =
        (extensions.video_orientation, forwarded.video_orientation)
    {
        element(id, &[orientation])?;
    }
    if let (Some(id), Some(delay)) = (extensions.playout_delay, forwarded.playout_delay) {
        element(id, &delay)?;
    }
    if let (Some(id), Some(time)) = (extensions.abs_capture_time, forwarded.abs_capture_time) {
        element(id, &time)?;
    }
    if let Some(id) = extensions.dependency_descriptor
        && extensions.mixed
        && !pooled.dependency_descriptor.is_empty()
    {
        // A template structure does not fit the one-byte form, and libwebrtc drops every packet whose descriptor it
        // has no structure for: a viewer that does not take the other form gets none of them.
        let mut patched = [0; FORWARDED_EXTENSION_BYTES_MAX];
        element(
            id,
            patch.descriptor(pooled.dependency_descriptor, &mut patched),
        )?;
    }
    Some(())
}

/// Octets of the header that [`write_header`] writes. No patch changes it.
pub(super) fn header_len(extensions: &Extensions, mid: &str, pooled: &Pooled<'_>) -> usize {
    let mut elements = 0;
    let mut bytes = 0;
    let mut two_byte = false;
    for_each_element(extensions, mid, 0, Patch::NONE, pooled, |id, element| {
        elements += 1;
        bytes += element.len();
        // RFC 8285 section 4.3: one element that does not fit turns the whole block.
        two_byte |= id > 14 || !(1..=ONE_BYTE_ELEMENT_MAX).contains(&element.len());
        Some(())
    });
    if elements == 0 {
        return FIXED_HEADER_LEN;
    }
    let framing = if two_byte { 2 } else { 1 };
    FIXED_HEADER_LEN + 4 + (bytes + elements * framing).next_multiple_of(4)
}

/// Writes the header into the beginning of `out` and returns its length; `None` when it does not fit.
pub(super) fn write_header(
    out: &mut [u8],
    header: &Header,
    extensions: &Extensions,
    mid: &str,
    transport_seq: u16,
    patch: Patch,
    pooled: &Pooled<'_>,
) -> Option<usize> {
    let mut writer = HeaderWriter::new(out, header).ok()?;
    for_each_element(
        extensions,
        mid,
        transport_seq,
        patch,
        pooled,
        |id, element| writer.push(id, element).ok(),
    )?;
    writer.finish().ok()
}

/// Writes what is to be encrypted into `text`, which has its exact length: the original sequence number of a
/// retransmission, the payload with its patch, and as padding whatever is left, with its count.
pub(super) fn write_text(text: &mut [u8], osn: Option<Seq>, patch: Patch, pooled: &Pooled<'_>) {
    let (prefix, rest) = text.split_at_mut(osn.map_or(0, |_| OSN_LEN));
    if let Some(osn) = osn {
        write_osn(prefix, osn).expect("invariant: the prefix is as long as the number");
    }
    let (payload, padding) = rest.split_at_mut(pooled.payload.len());
    payload.copy_from_slice(pooled.payload);
    if let Some(picture) = &pooled.meta.picture {
        patch.apply(picture, payload);
    }
    padding.fill(0);
    let count = u8::try_from(padding.len()).expect("invariant: run.rs pads by 32 at most");
    if let Some(last) = padding.last_mut() {
        *last = count;
    }
}

#[cfg(test)]
mod tests {
    use codecs::payload::PictureId;
    use proptest::prelude::*;

    use super::*;
    use crate::pool::{ForwardedExtensions, PacketMeta, Picture};

    #[test]
    fn a_viewer_of_the_one_byte_form_gets_no_descriptor_at_all() {
        let meta = PacketMeta::plain();
        let pooled = Pooled {
            meta: &meta,
            payload: &[],
            dependency_descriptor: &[0xc0, 0, 1],
        };
        let mut extensions = Extensions {
            dependency_descriptor: Some(5),
            ..Extensions::default()
        };
        assert_eq!(header_len(&extensions, "0", &pooled), FIXED_HEADER_LEN);
        extensions.mixed = true;
        assert_eq!(header_len(&extensions, "0", &pooled), FIXED_HEADER_LEN + 8);
    }

    proptest! {
        /// The planned length is the written length, whatever was negotiated and forwarded: else a run's
        /// segments would not be equal.
        #[test]
        fn the_planned_header_is_the_written_one(
            ids in prop::array::uniform7(prop::option::of(1u8..20)),
            mid in "[0-9a-z]{1,16}",
            descriptor in prop::collection::vec(any::<u8>(), 0..100),
            level in prop::option::of(any::<u8>()),
            capture in prop::option::of(any::<[u8; 8]>()),
            mixed in any::<bool>(),
            frame_number in any::<u16>(),
        ) {
            let [mid_id, cc, al, vo, dd, act, pd] = ids;
            let extensions = Extensions {
                mid: mid_id, rid: None, repaired_rid: None, transport_cc: cc, audio_level: al,
                video_orientation: vo, dependency_descriptor: dd, abs_capture_time: act, playout_delay: pd, mixed,
            };
            let meta = PacketMeta {
                extensions: ForwardedExtensions {
                    audio_level: level, video_orientation: level, playout_delay: None,
                    abs_capture_time: capture, dependency_descriptor_len: 0,
                },
                ..PacketMeta::plain()
            };
            let patch = Patch { frame_number, ..Patch::NONE };
            let pooled = Pooled { meta: &meta, payload: &[], dependency_descriptor: &descriptor };
            let header = Header {
                marker: true, padding: false, payload_type: 96, seq: Seq(1), timestamp: 2, ssrc: 3,
            };
            let mut out = [0; 512];
            let written = write_header(&mut out, &header, &extensions, &mid, 7, patch, &pooled).unwrap();
            prop_assert_eq!(written, header_len(&extensions, &mid, &pooled));
            let mut unpatched = [0; 512];
            write_header(&mut unpatched, &header, &extensions, &mid, 7, Patch::NONE, &pooled).unwrap();
            let changed: Vec<_> = (0..512).filter(|&at| out[at] != unpatched[at]).collect();
            prop_assert!(changed.len() <= 2 && changed.last().is_none_or(|last| last - changed[0] < 2));
        }

        /// Whatever goes before and behind it: between them stands the payload, changed only where its picture's
        /// numbers stand.
        #[test]
        fn the_text_is_prefix_payload_and_padding(
            payload in prop::collection::vec(any::<u8>(), 8..60),
            osn in prop::option::of(any::<u16>()),
            padding in 0u8..=32,
            (picture_id, tl0_pic_idx, key_idx) in any::<(u16, u8, u8)>(),
            id_is_long in any::<bool>(),
        ) {
            let picture = Picture {
                id: Some(if id_is_long { PictureId::Long(7) } else { PictureId::Short(7) }),
                tl0_pic_idx: Some(1),
                key_idx: Some(2),
                temporal: 0,
                id_at: 2,
                tl0_pic_idx_at: 4,
                key_idx_at: 5,
            };
            let meta = PacketMeta { picture: Some(picture), ..PacketMeta::plain() };
            let pooled = Pooled { meta: &meta, payload: &payload, dependency_descriptor: &[] };
            let patch = Patch { picture_id, tl0_pic_idx, key_idx, ..Patch::NONE };
            let prefix_len = if osn.is_some() { 2 } else { 0 };
            // The edge lends memory that had other contents.
            let mut text = vec![0x5a; prefix_len + payload.len() + usize::from(padding)];
            write_text(&mut text, osn.map(Seq), patch, &pooled);
            let (prefix, rest) = text.split_at(prefix_len);
            let osn = osn.map(u16::to_be_bytes);
            prop_assert_eq!(prefix, osn.as_ref().map_or(&[][..], |osn| &osn[..]));
            let (sent, behind) = rest.split_at(payload.len());
            if let Some((count, zeros)) = behind.split_last() {
                prop_assert_eq!(*count, padding);
                prop_assert!(zeros.iter().all(|&zero| zero == 0));
            }
            let mut expected = payload.clone();
            if id_is_long {
                let id = 0x8000 | 7_u16.wrapping_add(picture_id);
                expected[2..4].copy_from_slice(&id.to_be_bytes());
            } else {
                expected[2] = 7_u8.wrapping_add(picture_id.to_be_bytes()[1]) & 0x7f;
            }
            expected[4] = 1_u8.wrapping_add(tl0_pic_idx);
            expected[5] = expected[5] & 0xe0 | 2_u8.wrapping_add(key_idx) & 0x1f;
            prop_assert_eq!(sent, expected);
        }
    }
}
