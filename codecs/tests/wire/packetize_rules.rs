//! What the payload formats ask of a sender, held by every packetiser whatever it is given.

use codecs::WriteError;
use codecs::payload::nal::{Family, NalForm, Packetizer};
use codecs::payload::{Format, PictureId, av1, h264, opus, vp8, vp9};
use proptest::prelude::*;

use crate::data::seeded;
use crate::frames::{drain, frame, join_nals, packets, push_obu, vp9_fields};

proptest! {
    #![proptest_config(seeded(1_000))]

    /// RTP Payload Format For AV1 sections 4.4 and 5.
    #[test]
    fn av1_packets(unit in frame(Format::Av1), payload_max in 60..1_200_usize) {
        let all = packets(Format::Av1, &unit, 0, payload_max);
        let mut continued = false;
        for (i, packet) in all.iter().enumerate() {
            let read = av1::Packet::parse(&packet.payload).expect("a packet");
            prop_assert_eq!(read.continues, continued, "Z says what Y of the packet before said");
            continued = read.continued;
            prop_assert!(!(read.new_sequence && i > 0), "N stands on the first packet");
            let elements: Vec<_> = read.elements().collect();
            let counted = (packet.payload[0] >> 4) & 3;
            prop_assert_eq!(usize::from(counted), if elements.len() <= 3 { elements.len() } else { 0 });
            let mut layers = Vec::new();
            for (n, element) in elements.iter().enumerate() {
                if n == 0 && read.continues {
                    continue;
                }
                let (head, obu_type) = (element[0], (element[0] >> 3) & 0x0F);
                prop_assert_eq!(head & 0x02, 0, "no size inside of elements");
                prop_assert!(obu_type != av1::OBU_SEQUENCE_HEADER || n == 0);
                prop_assert!(obu_type != av1::OBU_TEMPORAL_DELIMITER);
                if head & 0x04 != 0 && element.len() > 1 {
                    layers.push(element[1] & 0xF8);
                }
            }
            layers.dedup();
            prop_assert!(layers.len() <= 1, "one layer a packet");
        }
        prop_assert!(!continued, "the last element of a temporal unit is whole");
    }

    /// RFC 6184 sections 5.6 to 5.8: no packet could be joined with the next, fragments are full but the last.
    #[test]
    fn h264_packets(unit in frame(Format::H264(NalForm::AnnexB)), payload_max in 60..1_200_usize) {
        let all = packets(Format::H264(NalForm::AnnexB), &unit, 0, payload_max);
        let mut single_before = None;
        for packet in &all {
            let payload = &packet.payload;
            let mut single = None;
            match h264::Payload::parse(payload).expect("a packet") {
                h264::Payload::Single { .. } => single = Some(payload.len()),
                h264::Payload::Aggregate(aggregate) => {
                    prop_assert!(aggregate.nals().count() > 1);
                    let reference = aggregate.nals().map(|nal| nal[0] & 0x60).max();
                    prop_assert_eq!(Some(payload[0] & 0x60), reference);
                }
                h264::Payload::Fragment { start, end, .. } => {
                    prop_assert!(!(start && end));
                    prop_assert!(end || payload.len() == payload_max);
                }
            }
            if let (Some(before), Some(this)) = (single_before, single) {
                prop_assert!(1 + 2 + before + 2 + this > payload_max, "two that fit into one");
            }
            single_before = single;
        }
    }
}

/// A key frame with its sequence header begins a sequence, a delta frame with a repeated header does not.
#[test]
fn n_stands_on_key_frames_only() {
    // show_existing_frame 0, frame_type 0 or 1, show_frame 1.
    for (frame_head, is_new) in [(0x10, true), (0x30, false), (0x90, false)] {
        let mut unit = vec![0x12, 0x00];
        push_obu(&mut unit, 1, None, &[0x00, 0x01]);
        push_obu(&mut unit, 6, None, &[frame_head, 0xAA]);
        let all = packets(Format::Av1, &unit, 0, 100);
        assert_eq!(all.len(), 1);
        let read = av1::Packet::parse(&all[0].payload).unwrap();
        assert_eq!(read.new_sequence, is_new, "{frame_head:02x}");
        // W = 2: the header with its length, the frame without.
        assert_eq!(all[0].payload[0] & 0x30, 0x20);
        assert_eq!(
            all[0].payload[1..],
            [3, 0x08, 0x00, 0x01, 0x30, frame_head, 0xAA]
        );
    }
}

/// A sequence header is the first OBU of its packet, even when it would fit behind another.
#[test]
fn a_repeated_sequence_header_begins_a_packet() {
    let mut unit = Vec::new();
    push_obu(&mut unit, 5, None, &[0xAA]);
    push_obu(&mut unit, 1, None, &[0x00, 0x01]);
    push_obu(&mut unit, 6, None, &[0x30, 0xBB]);
    let all = packets(Format::Av1, &unit, 0, 100);
    let firsts: Vec<_> = all
        .iter()
        .map(|packet| packet.payload[..2].to_vec())
        .collect();
    assert_eq!(firsts, [vec![0x10, 0x28], vec![0x20, 3]]);
}

#[test]
fn what_is_no_frame_is_refused() {
    let nal = |family, unit: &[u8], form, payload_max| {
        Packetizer::new(family, unit, form, payload_max)
            .map(|_| ())
            .err()
    };
    let (annex_b, lengths) = (NalForm::AnnexB, NalForm::LengthPrefixed);
    let fine = join_nals(&[vec![0x65, 1]], annex_b);
    assert_eq!(nal(Family::H264, &fine, annex_b, 3), None);
    assert_eq!(
        nal(Family::H264, &fine, annex_b, 2),
        Some(WriteError::Space)
    );
    for (unit, form) in [
        (&[][..], annex_b),
        (&[0x65, 1], annex_b),                // no start code
        (&[0, 0, 1, 0x7C, 0x85], annex_b),    // a packet type
        (&[0, 0, 1, 0, 0, 1, 0x65], annex_b), // an empty unit
        (&[0, 0, 0, 3, 0x65, 1], lengths),    // a length past the end
        (&[0, 0, 0, 1, 0x65, 0], lengths),    // octets left over
    ] {
        assert_eq!(
            nal(Family::H264, unit, form, 100),
            Some(WriteError::Value),
            "{unit:02x?}"
        );
    }
    assert_eq!(
        nal(Family::H265, &[0, 0, 1, 0x26], annex_b, 100),
        Some(WriteError::Value)
    );
    assert_eq!(
        nal(Family::H265, &[0, 0, 1, 0x60, 1, 2], annex_b, 100),
        Some(WriteError::Value)
    );

    let obus = |unit: &[u8], payload_max| av1::Packetizer::new(unit, payload_max).map(|_| ()).err();
    assert_eq!(obus(&[0x32, 1, 0x10], 3), None);
    assert_eq!(obus(&[0x32, 1, 0x10], 2), Some(WriteError::Space));
    // Nothing, a delimiter alone, a size past the end, the forbidden bit.
    for unit in [&[][..], &[0x12, 0], &[0x32, 2, 0x10], &[0xB2, 1, 0x10]] {
        assert_eq!(obus(unit, 100), Some(WriteError::Value), "{unit:02x?}");
    }

    let fields = vp8::Fields {
        picture_id: Some(PictureId::Long(1)),
        ..vp8::Fields::default()
    };
    assert!(vp8::Packetizer::new(&[1], &fields, 5).is_ok());
    assert!(vp8::Packetizer::new(&[1], &fields, 4).is_err());
    assert!(vp8::Packetizer::new(&[], &fields, 100).is_err());
    assert!(opus::Packetizer::new(&[0xFC, 1], 2).is_ok());
    assert!(opus::Packetizer::new(&[0xFC, 1], 1).is_err());
    assert!(opus::Packetizer::new(&[0xFF], 100).is_err());
}

#[test]
fn vp9_fields_that_contradict_each_other_are_refused() {
    let base = vp9::Fields {
        inter_picture: true,
        mode: vp9::Mode::Flexible {
            references: &[1, 2, 3],
        },
        ..vp9_fields(0)
    };
    let new = |fields: &vp9::Fields<'_>| vp9::Packetizer::new(&[1], fields, 100).map(|_| ());
    assert_eq!(new(&base), Ok(()));
    let flexible = |references| vp9::Fields {
        mode: vp9::Mode::Flexible { references },
        ..base
    };
    for bad in [
        vp9::Fields {
            picture_id: None,
            ..base
        },
        vp9::Fields {
            inter_picture: false,
            ..base
        },
        flexible(&[]),
        flexible(&[1, 2, 3, 4]),
        flexible(&[0]),
        flexible(&[128]),
    ] {
        assert_eq!(new(&bad), Err(WriteError::Value), "{bad:?}");
    }
    let structure = vp9::Structure {
        spatial_layers: 1,
        resolutions: [(0, 0); 8],
        pictures: 1,
    };
    let with_pictures = vp9::Fields {
        structure: Some(structure),
        ..base
    };
    assert_eq!(new(&with_pictures), Err(WriteError::Value));
}

/// A buffer shorter than the longest payload is refused before anything is written, and the frame goes on
/// with a longer one.
#[test]
fn a_short_buffer_loses_nothing() {
    let sent = vec![7; 250];
    let mut packetizer = vp8::Packetizer::new(&sent, &vp8::Fields::default(), 100).unwrap();
    assert_eq!(packetizer.next(&mut [0; 99]), Err(WriteError::Space));
    let all = drain(100, |out| packetizer.next(out));
    assert_eq!(
        all.iter()
            .map(|packet| packet.payload.len() - 1)
            .sum::<usize>(),
        250
    );
    let unit = join_nals(&[vec![0x65; 250]], NalForm::AnnexB);
    let mut packetizer = Packetizer::new(Family::H264, &unit, NalForm::AnnexB, 100).unwrap();
    assert_eq!(packetizer.next(&mut [0; 99]), Err(WriteError::Space));
    assert_eq!(drain(100, |out| packetizer.next(out)).len(), 3);
}
