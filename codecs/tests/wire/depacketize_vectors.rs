//! The RTP cases that concern payloads, fed to depacketisers: none becomes a frame that it is not.

use codecs::payload::nal::NalForm;
use codecs::payload::{Depacketizer, Dropped, Format};
use codecs::rtp::RtpView;
use codecs::rtp::view::strip_padding;

use crate::data::{Case, cases};

const LIMIT: usize = 64 * 1024;

fn format_of(name: &str) -> Option<Format> {
    match name.get(..3)? {
        "VP8" => Some(Format::Vp8),
        "VP9" => Some(Format::Vp9),
        "H26" => Some(Format::H264(NalForm::LengthPrefixed)),
        "AV1" if !name.starts_with("AV1 DD") => Some(Format::Av1),
        "Opu" => Some(Format::Opus),
        _ => None,
    }
}

/// What comes out of a packet that is alone in its frame, in order behind a frame, or as the first ever.
fn alone(format: Format, payload: &[u8]) -> (Option<Vec<u8>>, Dropped) {
    let mut depacketizer = Depacketizer::new(format, LIMIT);
    depacketizer.push(payload, 1, true);
    let first = depacketizer.poll().map(|frame| frame.bytes.to_vec());
    depacketizer.push(payload, 2, true);
    let second = depacketizer.poll().map(|frame| frame.bytes.to_vec());
    assert!(first.is_none() || first == second);
    (second, depacketizer.dropped())
}

#[test]
fn no_malformed_case_becomes_a_frame() {
    let all = cases(include_str!("../vectors/rtp_malformed_and_edge.json"));
    let mut judged = 0;
    for Case { name, bytes } in &all {
        let Some(format) = format_of(name) else {
            continue;
        };
        judged += 1;
        let view = RtpView::parse(bytes).expect("a well-formed header");
        let payload = strip_padding(view.payload(), view.has_padding()).expect("no padding");
        let (frame, dropped) = alone(format, payload);
        match name.as_str() {
            // Not malformed as payloads: what is inside is the decoder's business, and it is never read here.
            "VP8 keyframe claim, payload 3 bytes (no 9d012a)"
            | "VP8 S=1 PID=0 key frame header truncated at size fields" => {
                assert_eq!(frame.as_deref(), Some(&payload[1..]), "{name}");
            }
            "H264 SPS exp-golomb 32+ zeros" | "H264 SPS pic_width 2^31" => {
                assert_eq!(
                    frame.as_deref().map(|frame| &frame[4..]),
                    Some(payload),
                    "{name}"
                );
            }
            "H264 STAP-A 700 x 1-byte NALs" => {
                // Each unit of one octet costs three in the packet and five outside.
                let units = (payload.len() - 1) / 3;
                assert_eq!(frame.map(|frame| frame.len()), Some(5 * units), "{name}");
            }
            "VP8 empty payload" => {
                assert_eq!((frame, dropped), (None, Dropped::default()), "{name}");
            }
            _ => {
                assert_eq!(frame, None, "{name}");
                assert_eq!(dropped.incomplete + dropped.malformed, 2, "{name}");
            }
        }
    }
    assert_eq!(judged, 29);
}

/// A fragment without its beginning keeps nothing, however often it comes; with its beginning and without its
/// end it grows to the limit and no further.
#[test]
fn endless_fragments_stay_within_the_limit() {
    let format = Format::H264(NalForm::AnnexB);
    let mut depacketizer = Depacketizer::new(format, LIMIT);
    for _ in 0..10_000 {
        depacketizer.push(&[0x7C, 0x05, 0x01], 7, false);
        assert_eq!(depacketizer.poll(), None);
    }
    assert_eq!(depacketizer.buffer_bytes(), 0);

    let mut depacketizer = Depacketizer::new(format, LIMIT);
    let mut fragment = [0xAA; 1_200];
    fragment[..2].copy_from_slice(&[0x7C, 0x09 | 0x80]);
    depacketizer.push(&fragment, 8, false);
    fragment[1] = 0x09;
    for _ in 0..10_000 {
        depacketizer.push(&fragment, 8, false);
    }
    fragment[1] = 0x49;
    depacketizer.push(&fragment, 8, true);
    assert_eq!(depacketizer.poll(), None);
    assert_eq!(depacketizer.buffer_bytes(), LIMIT);
    let too_long = Dropped {
        too_long: 1,
        ..Dropped::default()
    };
    assert_eq!(depacketizer.dropped(), too_long);
}

/// A continuation stands alone until a packet says that a sequence begins.
#[test]
fn av1_begins_with_a_new_sequence() {
    let mut depacketizer = Depacketizer::new(Format::Av1, LIMIT);
    // Z and W = 1: the end of something.
    depacketizer.push(&[0x90, 0x0A], 1, false);
    depacketizer.push(&[0x10, 0x30, 0x01], 1, true);
    assert_eq!(depacketizer.poll(), None);
    depacketizer.gap();
    // N and W = 1: a frame OBU of one octet.
    depacketizer.push(&[0x18, 0x30, 0x10], 2, true);
    let frame = depacketizer.poll().expect("a whole temporal unit");
    assert!(frame.keyframe);
    assert_eq!(frame.bytes, [0x32, 0x01, 0x10]);
}

/// Delimiters and tile lists are ignored, sizes that are there are kept, what follows them is cut.
#[test]
fn av1_elements_become_units_with_one_size_each() {
    let mut depacketizer = Depacketizer::new(Format::Av1, LIMIT);
    #[rustfmt::skip]
    let payload = [
        0x08, // N, every element has its length
        2, 0x12, 0x00, // temporal delimiter with size
        3, 0x08, 0xAA, 0xBB, // sequence header without size
        2, 0x40, 0xEE, // tile list
        5, 0x32, 0x82, 0x00, 0xC1, 0xC2, // frame, its size in two octets
        5, 0x2E, 0x20, 0x01, 0xD1, 0xD2, // metadata with extension, one octet of size, one too many
    ];
    depacketizer.push(&payload, 3, true);
    let frame = depacketizer.poll().expect("a whole temporal unit");
    assert!(frame.keyframe);
    #[rustfmt::skip]
    let wanted = [0x0A, 2, 0xAA, 0xBB, 0x32, 2, 0xC1, 0xC2, 0x2E, 0x20, 1, 0xD1];
    assert_eq!(frame.bytes, wanted);
}

/// H.265 carries as H.264 does, with headers of two octets.
#[test]
fn h265_malformed_packets_drop_their_access_unit() {
    let format = Format::H265(NalForm::AnnexB);
    let bad: [&[u8]; 7] = [
        &[0x26],                         // half a header
        &[0x26, 0x00, 0xAF],             // temporal id 0
        &[0x60, 0x01, 0, 1, 0x40],       // aggregated unit of one octet
        &[0x60, 0x01, 0xFF, 0xFF, 0x40], // size past the end
        &[0x62, 0x01, 0xC0 | 19, 0xAF],  // first and last fragment at once
        &[0x62, 0x01, 19, 0xAF],         // a fragment without beginning
        &[0x64, 0x01, 0xAF],             // PACI, which nobody negotiated
    ];
    for payload in bad {
        let (frame, dropped) = alone(format, payload);
        assert_eq!(frame, None, "{payload:02x?}");
        assert_eq!(dropped.incomplete + dropped.malformed, 2, "{payload:02x?}");
    }
}

/// A unit whose last fragment carries no octet is whole (RFC 6184 section 5.8 allows empty fragments).
#[test]
fn an_empty_last_fragment_ends_its_unit() {
    let mut depacketizer = Depacketizer::new(Format::H264(NalForm::LengthPrefixed), LIMIT);
    depacketizer.push(&[0x67, 0x42], 1, false);
    depacketizer.push(&[0x7C, 0x85, 0x88, 0x80], 1, false);
    depacketizer.push(&[0x7C, 0x45], 1, true);
    let frame = depacketizer.poll().expect("a whole access unit");
    assert!(frame.keyframe);
    assert_eq!(
        frame.bytes,
        [0, 0, 0, 2, 0x67, 0x42, 0, 0, 0, 3, 0x65, 0x88, 0x80]
    );
}

/// The marker says that the frame ends, its last unit says that it goes on: nothing comes out, and the next
/// frame does.
#[test]
fn a_marker_on_an_unfinished_unit_makes_no_frame() {
    // A whole frame, a beginning without its end, a continuation without its beginning.
    let cases: [(Format, [&[u8]; 3]); 5] = [
        (Format::Vp8, [&[0x10, 0xAA], &[], &[0x00, 0xBB]]),
        (
            Format::Vp9,
            [
                &[0x8C, 0x01, 0xAA],
                &[0x88, 0x02, 0xBB],
                &[0x84, 0x03, 0xCC],
            ],
        ),
        (
            Format::H264(NalForm::AnnexB),
            [&[0x67, 0x42], &[0x7C, 0x81, 0xAA], &[0x7C, 0x41, 0xBB]],
        ),
        (
            Format::H265(NalForm::AnnexB),
            [
                &[0x40, 0x01, 0xAA],
                &[0x62, 0x01, 0x81, 0xBB],
                &[0x62, 0x01, 0x41, 0xCC],
            ],
        ),
        (
            Format::Av1,
            [&[0x18, 0x30, 0x10], &[0x50, 0x30, 0x30], &[0x90, 0x44]],
        ),
    ];
    for (format, [whole, begun, ending]) in cases {
        let mut depacketizer = Depacketizer::new(format, LIMIT);
        for (timestamp, payload) in (0..).zip([whole, begun, whole, ending, whole]) {
            depacketizer.push(payload, timestamp, true);
            let comes_out = timestamp % 2 == 0;
            assert_eq!(
                depacketizer.poll().is_some(),
                comes_out,
                "{format:?} {timestamp}"
            );
        }
    }
}

/// Sizes in the index of a superframe take as many octets as the largest needs (VP9 bitstream specification
/// section B.3).
#[test]
fn the_index_of_a_superframe_is_as_wide_as_its_largest_frame() {
    for (len, octets) in [
        (9_usize, 1_u8),
        (255, 1),
        (256, 2),
        (65_535, 2),
        (65_536, 3),
    ] {
        let mut depacketizer = Depacketizer::new(Format::Vp9, 1 << 20);
        // I, L, F, B, E: flexible mode, picture id 1; SID 0 of one octet, then SID 1.
        depacketizer.push(&[0xBC, 0x01, 0x00, 0x77], 1, false);
        let mut upper = vec![0xBC, 0x01, 0x03];
        upper.resize(3 + len, 0x88);
        depacketizer.push(&upper, 1, true);
        let frame = depacketizer.poll().expect("a whole picture").bytes;
        let marker = 0b1100_0001 | ((octets - 1) << 3);
        let width = usize::from(octets);
        let mut index = vec![marker];
        index.extend(&1_u32.to_le_bytes()[..width]);
        index.extend(&u32::try_from(len).unwrap().to_le_bytes()[..width]);
        index.push(marker);
        assert_eq!(frame[1 + len..], index, "{len}");
    }
}
