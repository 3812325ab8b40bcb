//! Frames cut into packets come back as they were, or not at all.

use codecs::payload::nal::{NalForm, Nals};
use codecs::payload::{Depacketizer, Dropped, Format, h264, h265, vp8, vp9};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::data::seeded;
use crate::frames::{FORMATS, Packet, drain, frame, is_key, packets, vp8_fields, vp9_fields};

const LIMIT: usize = 1 << 20;

/// A frame that came out: octets, timestamp, keyframe.
type Yielded = (Vec<u8>, u32, bool);

fn poll_all(depacketizer: &mut Depacketizer) -> Vec<Yielded> {
    let mut all = Vec::new();
    while let Some(frame) = depacketizer.poll() {
        all.push((frame.bytes.to_vec(), frame.timestamp, frame.keyframe));
    }
    all
}

/// A format, frames of it, and the size of their payloads. An Opus packet is never cut, so it decides.
fn stream() -> impl Strategy<Value = (Format, Vec<Vec<u8>>, usize, u8)> {
    proptest::sample::select(&FORMATS[..])
        .prop_flat_map(|format| {
            let frames = vec(frame(format), 1..7);
            (Just(format), frames, 60..=1_200_usize, any::<u8>())
        })
        .prop_map(|(format, frames, payload_max, nth)| {
            let payload_max = if format == Format::Opus {
                1_200
            } else {
                payload_max
            };
            (format, frames, payload_max, nth)
        })
}

fn packetize(format: Format, frames: &[Vec<u8>], payload_max: usize, nth: u8) -> Vec<Vec<Packet>> {
    frames
        .iter()
        .zip(0_u8..)
        .map(|(frame, i)| packets(format, frame, nth.wrapping_add(i), payload_max))
        .collect()
}

fn timestamp(i: usize) -> u32 {
    0xFFFF_F000_u32.wrapping_add(3_000 * u32::try_from(i).expect("few frames"))
}

proptest! {
    #![proptest_config(seeded(800))]

    #[test]
    fn frames_survive_the_packets(
        (format, frames, payload_max, nth) in stream(),
        markers in any::<bool>(),
    ) {
        let mut depacketizer = Depacketizer::new(format, LIMIT);
        let mut out = Vec::new();
        // A frame before the first tells where the first begins.
        if !matches!(format, Format::Opus | Format::Vp8 | Format::Vp9) {
            for packet in packets(format, &frames[0], nth, payload_max) {
                depacketizer.push(&packet.payload, 7, packet.marker);
            }
        }
        let before = depacketizer.dropped();
        for (i, packets) in packetize(format, &frames, payload_max, nth).iter().enumerate() {
            let (last, others) = packets.split_last().expect("a frame has packets");
            prop_assert!(others.iter().all(|packet| !packet.marker));
            prop_assert_eq!(last.marker, format != Format::Opus);
            for packet in packets {
                // Without markers a frame ends when the next one begins.
                depacketizer.push(&packet.payload, timestamp(i), packet.marker && markers);
                out.extend(poll_all(&mut depacketizer));
            }
        }
        depacketizer.end();
        out.extend(poll_all(&mut depacketizer));
        out.retain(|(_, at, _)| *at != 7);
        let sent: Vec<_> = (0..).map(timestamp).zip(&frames).collect();
        prop_assert_eq!(out.len(), sent.len());
        for ((bytes, at, key), (sent_at, sent)) in out.iter().zip(sent) {
            prop_assert_eq!((bytes, *at), (sent, sent_at));
            if let Some(expected) = is_key(format, sent) {
                prop_assert_eq!(*key, expected);
            }
        }
        prop_assert_eq!(depacketizer.dropped(), before);
    }

    /// Whatever is lost, a frame that comes out is one that went in; and a frame of which everything arrived
    /// comes out when the packet before it arrived too.
    #[test]
    fn a_frame_with_a_hole_never_comes_out(
        (format, frames, payload_max, nth) in stream(),
        lost in vec(prop_oneof![3 => Just(false), 1 => Just(true)], 1..40),
        markers in any::<bool>(),
    ) {
        let mut lost = lost.into_iter().cycle();
        let mut depacketizer = Depacketizer::new(format, LIMIT);
        let mut out = Vec::new();
        let mut owed = Vec::new();
        let mut before_arrived = false;
        let all = packetize(format, &frames, payload_max, nth);
        for (i, packets) in all.iter().enumerate() {
            let mut whole = before_arrived;
            for packet in packets {
                let is_lost = lost.next().expect("a cycle");
                whole &= !is_lost;
                before_arrived = !is_lost;
                if is_lost {
                    depacketizer.gap();
                } else {
                    depacketizer.push(&packet.payload, timestamp(i), packet.marker && markers);
                }
                out.extend(poll_all(&mut depacketizer));
            }
            // Without markers the frame is whole only when its successor shows that nothing follows.
            if whole && markers {
                owed.push(timestamp(i));
            }
        }
        for (bytes, at, _) in &out {
            let i = (0..frames.len()).find(|i| timestamp(*i) == *at).expect("a sent timestamp");
            prop_assert!(
                *bytes == frames[i] || lacks_only_what_no_picture_needs(format, bytes, &frames[i]),
                "frame {} came out with {} of {} octets", i, bytes.len(), frames[i].len()
            );
        }
        let came: Vec<_> = out.iter().map(|(_, at, _)| *at).collect();
        for at in owed {
            prop_assert_eq!(came.iter().filter(|came| **came == at).count(), 1);
        }
    }

    /// A frame longer than the limit is dropped, and the buffer stays within it.
    #[test]
    fn the_limit_holds((format, frames, payload_max, nth) in stream(), limit in 0..3_000_usize) {
        let mut depacketizer = Depacketizer::new(format, limit);
        for (i, packets) in packetize(format, &frames, payload_max, nth).iter().enumerate() {
            for packet in packets {
                depacketizer.push(&packet.payload, timestamp(i), packet.marker);
                prop_assert!(depacketizer.buffer_bytes() <= limit);
                for (bytes, at, _) in poll_all(&mut depacketizer) {
                    prop_assert_eq!(at, timestamp(i));
                    prop_assert!(
                        bytes == frames[i]
                            || lacks_only_what_no_picture_needs(format, &bytes, &frames[i])
                    );
                }
            }
        }
    }

    /// What the descriptors of the first packet and of the others say is what was asked for.
    #[test]
    fn descriptors_say_what_they_were_given(
        frame in vec(any::<u8>(), 1..2_000),
        nth in any::<u8>(),
        payload_max in 60..400_usize,
    ) {
        let fields = vp8_fields(nth);
        for (i, packet) in packets(Format::Vp8, &frame, nth, payload_max).iter().enumerate() {
            let read = vp8::Descriptor::parse(&packet.payload).expect("a descriptor");
            prop_assert_eq!(read.begins_frame(), i == 0);
            prop_assert_eq!(read.non_reference, fields.non_reference);
            prop_assert_eq!(read.picture_id, fields.picture_id);
            prop_assert_eq!(read.tl0_pic_idx, fields.tl0_pic_idx);
            prop_assert_eq!(read.temporal, fields.temporal);
            prop_assert_eq!(read.key_idx, fields.key_idx);
            prop_assert!(packet.marker || packet.payload.len() == payload_max);
        }
        let fields = vp9_fields(nth);
        for (i, packet) in packets(Format::Vp9, &frame, nth, payload_max).iter().enumerate() {
            let read = vp9::Descriptor::parse(&packet.payload).expect("a descriptor");
            prop_assert_eq!((read.start, read.end), (i == 0, packet.marker));
            prop_assert_eq!(read.inter_picture, fields.inter_picture);
            prop_assert_eq!(read.not_reference_for_upper, fields.not_reference_for_upper);
            prop_assert_eq!(read.picture_id, fields.picture_id);
            prop_assert_eq!(read.layer, fields.layer);
            prop_assert_eq!(read.structure, fields.structure.filter(|_| i == 0));
            match fields.mode {
                vp9::Mode::Fixed { tl0_pic_idx } => {
                    prop_assert!(!read.flexible);
                    prop_assert_eq!(read.tl0_pic_idx, fields.layer.map(|_| tl0_pic_idx));
                }
                vp9::Mode::Flexible { .. } => prop_assert!(read.flexible),
            }
            prop_assert!(packet.marker || packet.payload.len() == payload_max);
        }
    }
}

/// After a loss an access unit may be taken from its parameter sets on: what is missing then is a delimiter or
/// supplemental information.
fn lacks_only_what_no_picture_needs(format: Format, came: &[u8], sent: &[u8]) -> bool {
    let missing = sent.strip_suffix(came).unwrap_or(sent);
    let harmless = |form: NalForm, types: [u8; 2], nal_type: fn(&[u8]) -> Option<u8>| {
        !missing.is_empty()
            && missing.len() < sent.len()
            && Nals::new(missing, form).all(|nal| nal_type(nal).is_some_and(|t| types.contains(&t)))
    };
    match format {
        Format::H264(form) => harmless(form, [h264::NAL_DELIMITER, h264::NAL_SEI], h264::nal_type),
        Format::H265(form) => harmless(form, [h265::NAL_DELIMITER, 39], h265::nal_type),
        Format::Opus | Format::Vp8 | Format::Vp9 | Format::Av1 => false,
    }
}

/// Three spatial layers become one superframe with the index a decoder looks for at its end.
#[test]
fn the_layers_of_a_vp9_picture_become_a_superframe() {
    let layers = [vec![0xA1; 100], vec![0xB2; 300], vec![0xC3; 70_000]];
    let mut depacketizer = Depacketizer::new(Format::Vp9, LIMIT);
    for (spatial, layer) in (0_u8..).zip(&layers) {
        let fields = vp9::Fields {
            inter_picture: false,
            layer: Some(vp9::Layer {
                temporal: 0,
                switching_up: false,
                spatial,
                inter_layer: spatial > 0,
            }),
            last_of_picture: spatial == 2,
            ..vp9_fields(0)
        };
        let mut packetizer = vp9::Packetizer::new(layer, &fields, 1_100).unwrap();
        for packet in drain(1_100, |out| packetizer.next(out)) {
            depacketizer.push(&packet.payload, 9, packet.marker);
        }
    }
    let mut wanted = layers.concat();
    // Three frames, sizes of three octets, least significant first.
    wanted.push(0b1101_0010);
    for size in [100_u32, 300, 70_000] {
        wanted.extend(&size.to_le_bytes()[..3]);
    }
    wanted.push(0b1101_0010);
    let frame = depacketizer.poll().expect("a whole picture");
    assert!(frame.keyframe);
    assert_eq!(frame.bytes, wanted);
}

/// The end of one frame and the beginning of the next are lost together: the key frame after them says itself
/// that it is whole, a frame that cannot say so does not come out.
#[test]
fn after_a_loss_only_a_frame_that_shows_its_beginning_comes_out() {
    let form = NalForm::AnnexB;
    let format = Format::H264(form);
    let key = crate::frames::join_nals(&[vec![0x67, 1], vec![0x68, 2], vec![0x65; 2_000]], form);
    let delta = crate::frames::join_nals(&[vec![0x41; 500]], form);
    for (frame, comes_out) in [(&key, true), (&delta, false)] {
        let mut depacketizer = Depacketizer::new(format, LIMIT);
        depacketizer.push(&[0x67, 1], 1, true);
        assert!(depacketizer.poll().is_some());
        depacketizer.gap();
        for packet in packets(format, frame, 0, 1_000) {
            depacketizer.push(&packet.payload, 2, packet.marker);
        }
        assert_eq!(depacketizer.poll().is_some(), comes_out);
        // The one after it begins where the marker said that it ended.
        for packet in packets(format, &delta, 0, 1_000) {
            depacketizer.push(&packet.payload, 3, packet.marker);
        }
        assert_eq!(
            depacketizer.poll().map(|frame| frame.bytes.to_vec()),
            Some(delta.clone())
        );
    }
}

#[test]
fn packets_of_padding_between_frames_change_nothing() {
    let mut depacketizer = Depacketizer::new(Format::Vp8, LIMIT);
    depacketizer.push(&[0x10, 0xAA], 1, false);
    depacketizer.push(&[], 1, false);
    depacketizer.push(&[0x00, 0xBB], 1, true);
    assert_eq!(
        depacketizer.poll().map(|frame| frame.bytes.to_vec()),
        Some(vec![0xAA, 0xBB])
    );
    depacketizer.push(&[], 1, true);
    assert_eq!(depacketizer.poll(), None);
    assert_eq!(depacketizer.dropped(), Dropped::default());
}
