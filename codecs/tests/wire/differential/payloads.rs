//! Payloads: their packetisers against our depacketiser, our packetisers against their depacketisers. The
//! crate has no depacketiser of AV1.

use bytes::Bytes;
use codecs::payload::nal::{NalForm, Nals};
use codecs::payload::{Depacketizer, Format, av1, h264, h265};
use proptest::collection::vec;
use proptest::prelude::*;
use rtp::codecs::av1::Av1Payloader;
use rtp::codecs::h264::{H264Packet, H264Payloader};
use rtp::codecs::h265::{H265Packet, H265Payload, HevcPayloader};
use rtp::codecs::opus::{OpusPacket, OpusPayloader};
use rtp::codecs::vp8::{Vp8Packet, Vp8Payloader};
use rtp::codecs::vp9::{Vp9Packet, Vp9Payloader};
use rtp::packetizer::{Depacketizer as TheirDepacketizer, Payloader};

use super::theirs;
use crate::data::{seeded, unhex};
use crate::frames::{frame, join_nals, packets, push_obu, vp8_fields, vp9_fields};

const LIMIT: usize = 1 << 20;

/// Their payloads of each frame through our depacketiser, behind a packet that says where the first begins.
fn through(
    format: Format,
    begin: &[u8],
    payloader: &mut dyn Payloader,
    frames: &[Vec<u8>],
    mtu: usize,
) -> Vec<Vec<u8>> {
    let mut depacketizer = Depacketizer::new(format, LIMIT);
    depacketizer.push(begin, 0, true);
    let mut out = Vec::new();
    for (frame, timestamp) in frames.iter().zip(1..) {
        let payloads = payloader
            .payload(mtu, &Bytes::copy_from_slice(frame))
            .expect("a frame");
        for (i, payload) in payloads.iter().enumerate() {
            assert!(payload.len() <= mtu || format == Format::Opus);
            depacketizer.push(payload, timestamp, i + 1 == payloads.len());
            while let Some(frame) = depacketizer.poll() {
                assert_eq!(frame.timestamp, timestamp);
                out.push(frame.bytes.to_vec());
            }
        }
    }
    out
}

fn nals_of(frame: &[u8], form: NalForm) -> Vec<Vec<u8>> {
    Nals::new(frame, form).map(<[u8]>::to_vec).collect()
}

proptest! {
    #![proptest_config(seeded(400))]

    #[test]
    fn we_gather_what_they_cut_of_vp8_vp9_and_opus(
        vp8 in vec(frame(Format::Vp8), 1..5),
        vp9 in vec(frame(Format::Vp9), 1..5),
        opus in vec(frame(Format::Opus), 1..5),
        mtu in 60..1_200_usize,
        enable_picture_id in any::<bool>(),
    ) {
        let mut payloader = Vp8Payloader::default();
        payloader.enable_picture_id = enable_picture_id;
        prop_assert_eq!(through(Format::Vp8, &[], &mut payloader, &vp8, mtu), vp8);
        let mut payloader = Vp9Payloader::default();
        prop_assert_eq!(through(Format::Vp9, &[], &mut payloader, &vp9, mtu), vp9);
        prop_assert_eq!(through(Format::Opus, &[], &mut OpusPayloader, &opus, mtu), opus);
    }

    /// They leave out delimiters, and parameter sets whose aggregate is longer than a payload, silently; all
    /// else comes through in order.
    #[test]
    fn we_gather_what_they_cut_of_h264(
        frames in vec(frame(Format::H264(NalForm::AnnexB)), 1..5),
        mtu in 60..1_200_usize,
    ) {
        let form = NalForm::AnnexB;
        let kind = |nal: &[u8]| h264::nal_type(nal).expect("a unit");
        let out = through(Format::H264(form), &[0x09, 0xF0], &mut H264Payloader::default(), &frames, mtu);
        let mut wanted = Vec::new();
        for frame in &frames {
            let nals = nals_of(frame, form);
            let sets = [h264::NAL_SPS, h264::NAL_PPS];
            let aggregate: usize =
                nals.iter().filter(|nal| sets.contains(&kind(nal))).map(|nal| nal.len() + 2).sum();
            let kept: Vec<_> = nals
                .into_iter()
                .filter(|nal| kind(nal) != h264::NAL_DELIMITER)
                .filter(|nal| aggregate < mtu || !sets.contains(&kind(nal)))
                .collect();
            wanted.push(join_nals(&kept, form));
        }
        prop_assert_eq!(out, wanted);
    }

    /// They know few types, write layer 0 and temporal id 1 into every fragment whatever the unit has, and no E
    /// bit on a last fragment that fills its payload: units of layer 0 that end short come through.
    #[test]
    fn we_gather_what_they_cut_of_h265(
        slices in vec((prop_oneof![Just(19_u8), Just(1), Just(0)], vec(1..=255_u8, 1..3_000)), 1..4),
        mtu in 60..1_200_usize,
    ) {
        let form = NalForm::AnnexB;
        let unit = |kind: u8, rest: &[u8]| [&[kind << 1, 1], rest].concat();
        let fills_last = |len: usize| len > mtu && (len - 2).is_multiple_of(mtu - 3);
        let mut nals = vec![unit(32, &[7; 9]), unit(33, &[8; 9]), unit(34, &[9; 9])];
        nals.extend(slices.iter().map(|(kind, rest)| unit(*kind, rest)));
        prop_assume!(!nals.iter().any(|nal| fills_last(nal.len())));
        let frame = join_nals(&nals, form);
        let mut payloader = HevcPayloader::default();
        let out = through(Format::H265(form), &[0x46, 0x01, 0x50], &mut payloader, std::slice::from_ref(&frame), mtu);
        prop_assert_eq!(out, vec![frame]);
    }

    /// They write lengths of 128 and more in an encoding of their own (see below), so here only the last OBU is
    /// long, and there are no more than W counts.
    #[test]
    fn we_gather_what_they_cut_of_av1(
        units in vec((vec(vec(any::<u8>(), 0..120), 0..=2), vec(any::<u8>(), 1..4_000)), 1..5),
        mtu in 60..1_200_usize,
    ) {
        let units: Vec<_> = units
            .into_iter()
            .map(|(short, long)| {
                let mut unit = Vec::new();
                for payload in &short {
                    push_obu(&mut unit, 5, None, payload);
                }
                push_obu(&mut unit, 6, None, &long);
                unit
            })
            .collect();
        let out = through(Format::Av1, &[0x10, 0x30], &mut Av1Payloader::default(), &units, mtu);
        prop_assert_eq!(out, units);
    }

    /// They refuse payloads below four octets, which are well-formed.
    #[test]
    fn they_gather_what_we_cut_of_vp8(
        sent in frame(Format::Vp8),
        nth in any::<u8>(),
        payload_max in 60..1_200_usize,
    ) {
        let fields = vp8_fields(nth);
        let mut out = Vec::new();
        for (i, packet) in packets(Format::Vp8, &sent, nth, payload_max).into_iter().enumerate() {
            prop_assume!(packet.payload.len() >= 4);
            // What a descriptor lacks they keep from the packet before: each packet is read afresh.
            let mut read = Vp8Packet::default();
            out.extend(read.depacketize(&Bytes::from(packet.payload)).expect("a payload"));
            prop_assert_eq!((read.s, read.pid), (u8::from(i == 0), 0));
            prop_assert_eq!(read.n, u8::from(fields.non_reference));
            prop_assert_eq!(read.picture_id, fields.picture_id.map_or(0, |id| id.value()));
            prop_assert_eq!(read.tl0_pic_idx, fields.tl0_pic_idx.unwrap_or(0));
            let temporal = fields.temporal.map_or((0, 0), |t| (t.id, u8::from(t.layer_sync)));
            prop_assert_eq!((read.tid, read.y), temporal);
            prop_assert_eq!(read.key_idx, fields.key_idx.unwrap_or(0));
        }
        prop_assert_eq!(out, sent);
    }

    /// They refuse three references, which RFC 9628 section 4.2 allows.
    #[test]
    fn they_gather_what_we_cut_of_vp9(
        sent in frame(Format::Vp9),
        nth in any::<u8>(),
        payload_max in 60..1_200_usize,
    ) {
        let fields = vp9_fields(nth);
        let references = match fields.mode {
            codecs::payload::vp9::Mode::Flexible { references } => references,
            codecs::payload::vp9::Mode::Fixed { .. } => &[],
        };
        let mut out = Vec::new();
        for (i, packet) in packets(Format::Vp9, &sent, nth, payload_max).into_iter().enumerate() {
            let mut read = Vp9Packet::default();
            let gathered = read.depacketize(&Bytes::from(packet.payload));
            if references.len() == 3 {
                prop_assert!(gathered.is_err());
                return Ok(());
            }
            out.extend(gathered.expect("a payload"));
            prop_assert_eq!((read.b, read.e), (i == 0, packet.marker));
            prop_assert_eq!((read.p, read.z), (fields.inter_picture, fields.not_reference_for_upper));
            prop_assert_eq!(read.picture_id, fields.picture_id.map_or(0, |id| id.value()));
            let layer = fields.layer.map(|l| (l.temporal, l.switching_up, l.spatial, l.inter_layer));
            prop_assert_eq!(read.l.then_some((read.tid, read.u, read.sid, read.d)), layer);
            prop_assert_eq!(&read.pdiff[..], references);
            if let Some(structure) = fields.structure.filter(|_| i == 0) {
                prop_assert_eq!(read.ns + 1, structure.spatial_layers);
                let sizes: Vec<_> = read.width.into_iter().zip(read.height).collect();
                prop_assert_eq!(&sizes[..], &structure.resolutions[..3]);
            }
        }
        prop_assert_eq!(out, sent);
    }

    /// They refuse units of two octets that are no delimiters.
    #[test]
    fn they_gather_what_we_cut_of_h264(
        sent in frame(Format::H264(NalForm::AnnexB)),
        payload_max in 60..1_200_usize,
    ) {
        let nals = nals_of(&sent, NalForm::AnnexB);
        prop_assume!(nals.iter().all(|nal| nal.len() > 2));
        for form in [NalForm::AnnexB, NalForm::LengthPrefixed] {
            let sent = join_nals(&nals, form);
            let mut read = H264Packet::default();
            read.is_avc = form == NalForm::LengthPrefixed;
            let mut out = Vec::new();
            for packet in packets(Format::H264(form), &sent, 0, payload_max) {
                out.extend(read.depacketize(&Bytes::from(packet.payload)).expect("a payload"));
            }
            prop_assert_eq!(out, sent);
        }
    }

    /// They hand out the parts; put together they are the units.
    #[test]
    fn they_gather_what_we_cut_of_h265(
        sent in frame(Format::H265(NalForm::AnnexB)),
        payload_max in 60..1_200_usize,
    ) {
        let nals = nals_of(&sent, NalForm::AnnexB);
        let mut out: Vec<Vec<u8>> = Vec::new();
        for packet in packets(Format::H265(NalForm::AnnexB), &sent, 0, payload_max) {
            let bytes = Bytes::from(packet.payload);
            let mut read = H265Packet::default();
            prop_assume!(read.depacketize(&bytes).is_ok());
            match read.payload() {
                H265Payload::H265SingleNALUnitPacket(_) => out.push(bytes.to_vec()),
                H265Payload::H265AggregationPacket(aggregate) => {
                    out.extend(aggregate.first_unit().map(|unit| unit.nal_unit().to_vec()));
                    out.extend(aggregate.other_units().iter().map(|unit| unit.nal_unit().to_vec()));
                    // The lowest layer and temporal id of the units (RFC 7798 section 4.4.2).
                    let layer = |nal: &[u8]| (u16::from(nal[0] & 1) << 5) | u16::from(nal[1] >> 3);
                    let units = &out[out.len() - 1 - aggregate.other_units().len()..];
                    let lowest = units.iter().map(|nal| layer(nal)).min();
                    prop_assert_eq!(Some(layer(&bytes)), lowest);
                    let earliest = units.iter().map(|nal| nal[1] & 7).min();
                    prop_assert_eq!(Some(bytes[1] & 7), earliest);
                }
                H265Payload::H265FragmentationUnitPacket(fragment) => {
                    let fu = fragment.fu_header();
                    if fu.s() {
                        out.push(vec![(bytes[0] & 0x81) | (fu.fu_type() << 1), bytes[1]]);
                    }
                    out.last_mut().expect("a begun unit").extend(fragment.payload());
                    prop_assert!(!fu.e() || out.last() == nals.get(out.len() - 1));
                }
                H265Payload::H265PACIPacket(_) => panic!("nobody writes PACI"),
            }
        }
        prop_assert_eq!(out, nals);
    }

    #[test]
    fn they_gather_what_we_cut_of_opus(sent in frame(Format::Opus)) {
        let all = packets(Format::Opus, &sent, 0, 1_200);
        prop_assert_eq!(all.len(), 1);
        let out = OpusPacket.depacketize(&Bytes::copy_from_slice(&all[0].payload)).expect("a payload");
        prop_assert_eq!(&out[..], &sent[..]);
    }
}

/// Where the two differ, with what the RFC says.
#[test]
fn where_payloads_are_read_differently() {
    // A length of 205 is cd 01 in leb128 (AV1 specification section 4.10.5): they encode the encoding once
    // more, and the packet has no framing.
    let mut unit = Vec::new();
    push_obu(&mut unit, 6, None, &[7; 204]);
    push_obu(&mut unit, 6, None, &[8; 4]);
    let all = Av1Payloader::default()
        .payload(218, &Bytes::from(unit.clone()))
        .unwrap();
    assert_eq!(all[0][..4], [0x20, 0x81, 0x9A, 0x03]);
    assert_eq!(av1::Packet::parse(&all[0]), None);
    let ours = packets(Format::Av1, &unit, 0, 218);
    assert_eq!(ours[0].payload[..4], [0x20, 0xCD, 0x01, 0x30]);

    // A size past the end of an aggregate: they panic, we refuse.
    let cut = Bytes::from(unhex("98000002"));
    assert!(theirs(|| H264Packet::default().depacketize(&cut)).is_err());
    assert_eq!(h264::Payload::parse(&cut), None);

    // The forbidden bit says that a unit may be damaged (RFC 6184 section 1.3), so it must survive its
    // fragments: they lose it.
    let fragments = [&[0xFC_u8, 0x85, 1, 2][..], &[0xFC, 0x45, 3]];
    let mut read = H264Packet::default();
    let mut theirs_out = Vec::new();
    let mut depacketizer = Depacketizer::new(Format::H264(NalForm::AnnexB), LIMIT);
    depacketizer.push(&[0x09, 0xF0], 0, true);
    for (i, fragment) in fragments.into_iter().enumerate() {
        theirs_out.extend(read.depacketize(&Bytes::from_static(fragment)).unwrap());
        depacketizer.push(fragment, 1, i == 1);
    }
    assert_eq!(theirs_out, [0, 0, 0, 1, 0x65, 1, 2, 3]);
    let ours = depacketizer.poll().map(|frame| frame.bytes.to_vec());
    assert_eq!(ours, Some(vec![0, 0, 0, 1, 0xE5, 1, 2, 3]));

    // A fragment without its beginning is no unit (RFC 6184 section 5.8): they make one of it.
    let lone = Bytes::from_static(&[0x7C, 0x45, 3]);
    assert!(!H264Packet::default().depacketize(&lone).unwrap().is_empty());
    let mut depacketizer = Depacketizer::new(Format::H264(NalForm::AnnexB), LIMIT);
    depacketizer.push(&[0x09, 0xF0], 0, true);
    depacketizer.push(&lone, 1, true);
    assert_eq!(depacketizer.poll(), None);

    // A temporal id plus one of zero is forbidden (ITU-T H.265 section 7.4.2.2): they take it.
    let forbidden = Bytes::from_static(&[0x26, 0x00, 0xAF]);
    assert!(H265Packet::default().depacketize(&forbidden).is_ok());
    assert_eq!(h265::Payload::parse(&forbidden), None);
}
