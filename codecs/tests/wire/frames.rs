//! Frames of every codec, as encoders make them, and their packets.

use codecs::payload::nal::{Family, NalForm, Nals, Packetizer as NalPacketizer};
use codecs::payload::{Format, Packed, PictureId, av1, h264, h265, opus, vp8, vp9};
use proptest::collection::vec;
use proptest::prelude::*;

/// Every format, both ways of telling NAL units apart.
pub(crate) const FORMATS: [Format; 8] = [
    Format::Opus,
    Format::Vp8,
    Format::Vp9,
    Format::H264(NalForm::AnnexB),
    Format::H264(NalForm::LengthPrefixed),
    Format::H265(NalForm::AnnexB),
    Format::H265(NalForm::LengthPrefixed),
    Format::Av1,
];

/// A payload as it would stand in a packet, with its marker.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) payload: Vec<u8>,
    pub(crate) marker: bool,
}

/// A frame of the format.
pub(crate) fn frame(format: Format) -> BoxedStrategy<Vec<u8>> {
    match format {
        Format::Opus => opus_packet().boxed(),
        Format::Vp8 => vp8_frame().boxed(),
        Format::Vp9 => vec(any::<u8>(), 1..4_000).boxed(),
        Format::H264(form) => access_unit(h264_nals().boxed(), form).boxed(),
        Format::H265(form) => access_unit(h265_nals().boxed(), form).boxed(),
        Format::Av1 => temporal_unit().boxed(),
    }
}

fn opus_packet() -> impl Strategy<Value = Vec<u8>> {
    let plain = (any::<u8>(), vec(any::<u8>(), 0..1_100)).prop_map(|(toc, rest)| {
        let mut packet = vec![toc & !0x03];
        packet.extend(rest);
        packet
    });
    let several = (16..32_u8, 1..=6_u8, vec(any::<u8>(), 0..100)).prop_map(|(config, n, rest)| {
        let mut packet = vec![(config << 3) | 3, n];
        packet.extend(rest);
        packet
    });
    prop_oneof![4 => plain, 1 => several]
}

fn vp8_frame() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), vec(any::<u8>(), 1..4_000)).prop_map(|(key, mut frame)| {
        if key && frame.len() >= 10 {
            frame[0] &= !1;
            frame[3..6].copy_from_slice(&[0x9D, 0x01, 0x2A]);
        }
        frame
    })
}

/// Octets of a NAL unit after its header: without zeros nothing in them is a start code.
fn nal_rest() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![4 => 1..60_usize, 3 => 60..400_usize, 2 => 400..4_000_usize];
    size.prop_flat_map(|size| vec(1..=255_u8, size))
}

/// Delimiter, information, parameter sets, slices; each but the slices may be absent, and information may
/// stand before the sets.
fn h264_nals() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let head = prop_oneof![
        Just(vec![9_u8, 7, 8, 6, 5]),
        Just(vec![7, 8, 5]),
        Just(vec![6, 7, 8, 5]),
        Just(vec![9, 1]),
        Just(vec![6, 1]),
        Just(vec![1]),
    ];
    (head, 0..4_usize).prop_flat_map(|(mut types, more)| {
        let slice = types[types.len() - 1];
        types.extend(std::iter::repeat_n(slice, more));
        let nals: Vec<_> = types
            .into_iter()
            .map(|nal_type| {
                (0..4_u8, nal_rest()).prop_map(move |(reference, rest)| {
                    let mut nal = vec![(reference << 5) | nal_type];
                    nal.extend(rest);
                    nal
                })
            })
            .collect();
        nals
    })
}

fn h265_nals() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let head = prop_oneof![
        Just(vec![35_u8, 32, 33, 34, 39, 19]),
        Just(vec![32, 33, 34, 21]),
        Just(vec![35, 1]),
        Just(vec![39, 1]),
        Just(vec![0]),
    ];
    (head, 0..4_usize).prop_flat_map(|(mut types, more)| {
        let slice = types[types.len() - 1];
        types.extend(std::iter::repeat_n(slice, more));
        let nals: Vec<_> = types
            .into_iter()
            .map(|nal_type| {
                (0..64_u8, 1..8_u8, nal_rest()).prop_map(move |(layer, temporal, rest)| {
                    let first = (nal_type << 1) | (layer >> 5);
                    let mut nal = vec![first, (layer << 3) | temporal];
                    nal.extend(rest);
                    nal
                })
            })
            .collect();
        nals
    })
}

fn access_unit(nals: BoxedStrategy<Vec<Vec<u8>>>, form: NalForm) -> impl Strategy<Value = Vec<u8>> {
    nals.prop_map(move |nals| join_nals(&nals, form))
}

/// The NAL units in one piece.
pub(crate) fn join_nals(nals: &[Vec<u8>], form: NalForm) -> Vec<u8> {
    let mut out = Vec::new();
    for nal in nals {
        match form {
            NalForm::AnnexB => out.extend([0, 0, 0, 1]),
            NalForm::LengthPrefixed => {
                let len = u32::try_from(nal.len()).expect("a short unit");
                out.extend(len.to_be_bytes());
            }
        }
        out.extend(nal);
    }
    out
}

/// OBUs with sizes: perhaps a sequence header, then anything that RTP carries, of up to two layers.
fn temporal_unit() -> impl Strategy<Value = Vec<u8>> {
    let obu_type = prop_oneof![Just(3_u8), Just(4), Just(5), Just(6), Just(7), Just(15)];
    let extension = prop_oneof![3 => Just(None), 1 => Just(Some(0x00)), 1 => Just(Some(0x28))];
    let size = prop_oneof![4 => 0..40_usize, 3 => 40..300_usize, 1 => 300..4_000_usize];
    let rest = size.prop_flat_map(|size| vec(any::<u8>(), size));
    let obu = (obu_type, extension, rest);
    let sequence = prop_oneof![Just(None), vec(any::<u8>(), 1..20).prop_map(Some)];
    (sequence, vec(obu, 1..9)).prop_map(|(sequence, obus)| {
        let mut unit = Vec::new();
        if let Some(payload) = sequence {
            push_obu(&mut unit, 1, None, &payload);
        }
        for (obu_type, extension, payload) in obus {
            push_obu(&mut unit, obu_type, extension, &payload);
        }
        unit
    })
}

/// Appends an OBU with its size.
pub(crate) fn push_obu(out: &mut Vec<u8>, obu_type: u8, extension: Option<u8>, payload: &[u8]) {
    out.push((obu_type << 3) | (u8::from(extension.is_some()) << 2) | 0x02);
    out.extend(extension);
    let mut size = payload.len();
    while size >= 0x80 {
        out.push(size.to_le_bytes()[0] | 0x80);
        size >>= 7;
    }
    out.push(size.to_le_bytes()[0]);
    out.extend(payload);
}

/// Whether a decoder can begin with the frame, told independently of the depacketiser. `None` where the
/// descriptor says so, not the frame.
pub(crate) fn is_key(format: Format, frame: &[u8]) -> Option<bool> {
    match format {
        Format::Opus => Some(true),
        Format::Vp8 => {
            Some(frame.len() >= 6 && frame[0] & 1 == 0 && frame[3..6] == [0x9D, 1, 0x2A])
        }
        Format::Vp9 => None,
        Format::H264(form) => {
            Some(Nals::new(frame, form).any(|nal| h264::nal_type(nal) == Some(h264::NAL_IDR)))
        }
        Format::H265(form) => Some(
            Nals::new(frame, form)
                .filter_map(h265::nal_type)
                .any(h265::is_random_access),
        ),
        Format::Av1 => Some((frame[0] >> 3) & 0x0F == av1::OBU_SEQUENCE_HEADER),
    }
}

/// The packets of a frame. `nth` counts frames, for descriptors that change with them.
pub(crate) fn packets(format: Format, frame: &[u8], nth: u8, payload_max: usize) -> Vec<Packet> {
    match format {
        Format::Opus => {
            let mut packetizer = opus::Packetizer::new(frame, payload_max).expect("a packet");
            drain(payload_max, |out| packetizer.next(out))
        }
        Format::Vp8 => {
            let mut packetizer =
                vp8::Packetizer::new(frame, &vp8_fields(nth), payload_max).expect("a frame");
            drain(payload_max, |out| packetizer.next(out))
        }
        Format::Vp9 => {
            let fields = vp9_fields(nth);
            let mut packetizer =
                vp9::Packetizer::new(frame, &fields, payload_max).expect("a frame");
            drain(payload_max, |out| packetizer.next(out))
        }
        Format::H264(form) => {
            let mut packetizer =
                NalPacketizer::new(Family::H264, frame, form, payload_max).expect("an access unit");
            drain(payload_max, |out| packetizer.next(out))
        }
        Format::H265(form) => {
            let mut packetizer =
                NalPacketizer::new(Family::H265, frame, form, payload_max).expect("an access unit");
            drain(payload_max, |out| packetizer.next(out))
        }
        Format::Av1 => {
            let mut packetizer = av1::Packetizer::new(frame, payload_max).expect("a temporal unit");
            drain(payload_max, |out| packetizer.next(out))
        }
    }
}

/// Every combination of fields comes up in turn.
pub(crate) fn vp8_fields(nth: u8) -> vp8::Fields {
    let temporal = vp8::Temporal {
        id: nth & 3,
        layer_sync: nth & 4 != 0,
    };
    vp8::Fields {
        non_reference: nth & 1 != 0,
        picture_id: [
            None,
            Some(PictureId::Short(nth & 0x7F)),
            Some(PictureId::Long(0x7F00 | u16::from(nth))),
        ][usize::from(nth % 3)],
        tl0_pic_idx: (nth & 2 != 0).then_some(nth),
        temporal: (nth & 8 != 0).then_some(temporal),
        key_idx: (nth & 16 != 0).then_some(nth & 0x1F),
    }
}

pub(crate) fn vp9_fields(nth: u8) -> vp9::Fields<'static> {
    let references: &[u8] = [&[1_u8][..], &[1, 127], &[3, 5, 9]][usize::from(nth % 3)];
    let mode = match nth & 3 {
        0 | 1 => vp9::Mode::Fixed { tl0_pic_idx: nth },
        2 => vp9::Mode::Flexible { references: &[] },
        _ => vp9::Mode::Flexible { references },
    };
    let layer = vp9::Layer {
        temporal: nth & 7,
        switching_up: nth & 8 != 0,
        spatial: 0,
        inter_layer: false,
    };
    let mut resolutions = [(0, 0); 8];
    resolutions[..3].copy_from_slice(&[(320, 180), (640, 360), (1_280, 720)]);
    vp9::Fields {
        inter_picture: nth & 3 == 3 || nth & 3 == 1,
        not_reference_for_upper: nth & 4 != 0,
        picture_id: Some(PictureId::Long(u16::from(nth))),
        layer: (nth & 16 != 0).then_some(layer),
        mode,
        structure: (nth & 32 != 0).then_some(vp9::Structure {
            spatial_layers: 3,
            resolutions,
            pictures: 0,
        }),
        last_of_picture: true,
    }
}

/// All payloads a packetiser writes; the buffer around each keeps what was in it.
pub(crate) fn drain(
    payload_max: usize,
    mut next: impl FnMut(&mut [u8]) -> Result<Option<Packed>, codecs::WriteError>,
) -> Vec<Packet> {
    let mut packets = Vec::new();
    loop {
        let mut out = vec![0xEE; payload_max + 8];
        let Some(Packed { len, marker }) = next(&mut out).expect("room") else {
            return packets;
        };
        assert!(
            (1..=payload_max).contains(&len),
            "{len} of {payload_max} octets"
        );
        assert_eq!(out[payload_max..], [0xEE; 8]);
        out.truncate(len);
        packets.push(Packet {
            payload: out,
            marker,
        });
    }
}
