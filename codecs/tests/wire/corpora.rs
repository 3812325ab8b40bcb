//! Public fuzz corpora, inputs that crashed others, and noise: no reader panics, hangs or reads past an end.

use codecs::payload::{
    self, Codec, Depacketizer, av1, dependency, h264, h265, opus, red, vp8, vp9,
};
use codecs::rtcp::{Compound, Packet, is_rtcp};
use codecs::rtp::view::{header_len, strip_padding};
use codecs::rtp::{RtpView, extension_range, rtx};
use proptest::prelude::*;

use crate::data::{cases, corpus, seeded, unhex};
use crate::frames::FORMATS;

/// The longest frame the depacketisers below may keep.
const FRAME_BYTES_MAX: usize = 1_500;

/// Inputs of every file, by the file's name.
fn corpora() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let lines = [
        (
            "libwebrtc_rtp",
            include_str!("../vectors/libwebrtc_rtp.jsonl"),
        ),
        (
            "libwebrtc_rtcp",
            include_str!("../vectors/libwebrtc_rtcp.jsonl"),
        ),
        (
            "mediasoup_crash_rtp",
            include_str!("../vectors/mediasoup_crash_rtp.jsonl"),
        ),
        (
            "mediasoup_crash_rtcp",
            include_str!("../vectors/mediasoup_crash_rtcp.jsonl"),
        ),
        (
            "mediasoup_fuzzer_reports",
            include_str!("../vectors/mediasoup_fuzzer_reports.jsonl"),
        ),
        ("pion_rtcp", include_str!("../vectors/pion_rtcp.jsonl")),
    ];
    let files = [
        (
            "named_crate_crashes",
            include_str!("../vectors/named_crate_crashes.json"),
        ),
        (
            "rtp",
            include_str!("../vectors/rtp_malformed_and_edge.json"),
        ),
        (
            "rtcp",
            include_str!("../vectors/rtcp_malformed_and_edge.json"),
        ),
    ];
    let lines = lines.map(|(name, text)| (name, corpus(text)));
    let files = files.map(|(name, text)| (name, cases(text)));
    lines
        .into_iter()
        .chain(files)
        .map(|(name, cases)| (name, cases.into_iter().map(|case| case.bytes).collect()))
        .collect()
}

/// Reads `bytes` as everything they could be and checks what every reader promises of its result.
fn exercise(bytes: &[u8]) {
    exercise_rtp(bytes);
    exercise_rtcp(bytes);
    exercise_payload(bytes);
    exercise_dependency(bytes);
    let _ = is_rtcp(bytes);
}

fn exercise_rtp(bytes: &[u8]) {
    let parsed = RtpView::parse(bytes);
    assert_eq!(parsed.map(|view| view.header_len()), header_len(bytes));
    let Ok(view) = parsed else {
        return;
    };
    assert_eq!(view.header().len() + view.payload().len(), bytes.len());
    assert_eq!(view.csrcs().count(), usize::from(view.csrc_count()));
    for (id, element) in view.extensions() {
        assert!(id > 0);
        exercise_dependency(element);
        let first = view.extension(id).expect("an element that was listed");
        let range = extension_range(bytes, id).expect("an element that was listed");
        assert_eq!(&bytes[range], first);
    }
    if let Ok(payload) = strip_padding(view.payload(), view.has_padding()) {
        exercise_payload(payload);
    }
}

fn exercise_rtcp(bytes: &[u8]) {
    for packet in Compound::parse(bytes).flatten() {
        // An item of a list takes at least one octet of the packet, except that a NACK entry of four octets
        // lists 17 packets and transport-cc lists up to 65,535 statuses.
        let items = match packet {
            Packet::SenderReport(report) => report.blocks().count(),
            Packet::ReceiverReport(report) => report.blocks().count(),
            Packet::Sdes(sdes) => sdes.cnames().count(),
            Packet::Bye(bye) => bye.ssrcs().count() + bye.reason().len(),
            Packet::Nack(nack) => nack.seqs().count() / 17,
            Packet::Pli(_) => 0,
            Packet::Fir(fir) => fir.entries().count(),
            Packet::TransportCc(feedback) => {
                assert_eq!(feedback.packets().count(), usize::from(feedback.count));
                let received = feedback.arrivals().filter(|(_, at)| at.is_some()).count();
                received.min(usize::from(feedback.count))
            }
            Packet::Remb(remb) => remb.ssrcs().count(),
            Packet::Unknown(unknown) => unknown.body.len(),
        };
        assert!(
            items <= bytes.len(),
            "{items} items in {} octets",
            bytes.len()
        );
    }
}

fn exercise_payload(payload: &[u8]) {
    let codecs = [
        Codec::Opus,
        Codec::Vp8,
        Codec::Vp9,
        Codec::H264,
        Codec::H265,
        Codec::Av1,
    ];
    for codec in codecs {
        let _ = payload::is_keyframe(codec, payload);
    }
    let mut patched = payload.to_vec();
    if let Some(descriptor) = vp8::Descriptor::parse(payload) {
        assert!(descriptor.len < payload.len());
        descriptor
            .patch(&mut patched, 0x1234, 9)
            .expect("the same length");
        let again = vp8::Descriptor::parse(&patched).expect("a patched descriptor");
        assert_eq!(again.len, descriptor.len);
    }
    let mut patched = payload.to_vec();
    if let Some(descriptor) = vp9::Descriptor::parse(payload) {
        assert!(descriptor.len < payload.len());
        descriptor
            .patch(&mut patched, 0x1234, 9)
            .expect("the same length");
        let again = vp9::Descriptor::parse(&patched).expect("a patched descriptor");
        assert_eq!(again.len, descriptor.len);
    }
    if let Some(h264::Payload::Aggregate(aggregate)) = h264::Payload::parse(payload) {
        assert!(aggregate.nals().all(|nal| !nal.is_empty()));
    }
    if let Some(h265::Payload::Aggregate(aggregate)) = h265::Payload::parse(payload) {
        assert!(aggregate.nals().all(|nal| nal.len() >= 2));
    }
    if let Some(packet) = av1::Packet::parse(payload) {
        assert!(packet.elements().count() <= payload.len());
    }
    if let Some(samples) = opus::duration(payload) {
        assert!((1..=opus::DURATION_MAX).contains(&samples));
    }
    if let Some(red) = red::Red::parse(payload) {
        let redundant: usize = red.redundant().map(|block| block.bytes.len()).sum();
        assert!(redundant + red.primary.bytes.len() < payload.len());
    }
    if let Some((_, original)) = rtx::read_osn(payload) {
        assert_eq!(original.len() + rtx::OSN_LEN, payload.len());
    }
    exercise_depacketizers(payload);
}

/// The payload as one packet, and cut in two with everything that a caller may do between.
fn exercise_depacketizers(payload: &[u8]) {
    let (head, tail) = payload.split_at(payload.len() / 2);
    for format in FORMATS {
        let mut depacketizer = Depacketizer::new(format, FRAME_BYTES_MAX);
        for (i, piece) in (0_u32..).zip([payload, head, tail, payload]) {
            depacketizer.push(piece, i / 2, i % 2 == 1);
            while let Some(frame) = depacketizer.poll() {
                assert!((1..=FRAME_BYTES_MAX).contains(&frame.bytes.len()));
            }
            assert!(depacketizer.buffer_bytes() <= FRAME_BYTES_MAX);
            if i == 2 {
                depacketizer.gap();
            }
        }
        depacketizer.end();
    }
}

fn exercise_dependency(element: &[u8]) {
    let structure = dependency::Structure::parse(element);
    if let Some(structure) = &structure {
        assert!((1..=64).contains(&structure.template_count()));
        assert!((1..=32).contains(&structure.decode_targets()));
        assert!((1..=4).contains(&structure.spatial_layers()));
        assert!(structure.chains() <= structure.decode_targets());
    }
    if let Some(frame) = dependency::Frame::parse(element, structure.as_ref()) {
        assert!(
            frame
                .references
                .as_slice()
                .iter()
                .all(|distance| *distance > 0)
        );
    }
}

#[test]
fn no_corpus_input_and_no_truncation_of_one_panics() {
    let mut inputs = 0;
    for (name, corpus) in corpora() {
        assert!(!corpus.is_empty(), "{name} is empty");
        for bytes in corpus {
            inputs += 1;
            exercise(&bytes);
            for len in 0..bytes.len().min(200) {
                exercise(&bytes[..len]);
            }
        }
    }
    assert!(inputs >= 190, "only {inputs} inputs: a file was cut");
}

#[test]
fn no_single_changed_octet_of_a_corpus_input_panics() {
    for (_, corpus) in corpora() {
        for mut bytes in corpus {
            for at in 0..bytes.len().min(64) {
                let kept = bytes[at];
                for value in [
                    0x00,
                    0x01,
                    0x7F,
                    0x80,
                    0xFF,
                    kept ^ 0x10,
                    kept.wrapping_add(1),
                ] {
                    bytes[at] = value;
                    exercise(&bytes);
                }
                bytes[at] = kept;
            }
        }
    }
}

/// What real senders sent, by name, so that strictness does not turn into deafness.
#[test]
fn real_feedback_reads_as_what_it_is() {
    let libwebrtc = corpus(include_str!("../vectors/libwebrtc_rtcp.jsonl"));
    let kinds = |name: &str| -> Vec<&'static str> {
        let case = libwebrtc
            .iter()
            .find(|case| case.name == name)
            .expect("a named input");
        Compound::parse(&case.bytes)
            .map(|packet| match packet.expect("a well-formed packet") {
                Packet::SenderReport(_) => "sr",
                Packet::ReceiverReport(_) => "rr",
                Packet::Sdes(_) => "sdes",
                Packet::Bye(_) => "bye",
                Packet::Nack(_) => "nack",
                Packet::Pli(_) => "pli",
                Packet::Fir(_) => "fir",
                Packet::TransportCc(_) => "twcc",
                Packet::Remb(_) => "remb",
                Packet::Unknown(_) => "unknown",
            })
            .collect()
    };
    assert_eq!(kinds("fir.rtcp"), ["fir"]);
    assert_eq!(kinds("nacks.bin"), ["nack"]);
    assert_eq!(kinds("pli.rtcp"), ["pli"]);
    assert_eq!(kinds("remb.rtcp"), ["remb"]);
    assert_eq!(kinds("rr-remb.rtcp"), ["rr", "remb"]);
    assert_eq!(kinds("rr-sdes-bye.rtcp"), ["rr", "sdes", "bye"]);
    assert_eq!(kinds("rr.rtcp"), ["rr"]);
    assert_eq!(kinds("sr-sdes.rtcp"), ["sr", "sdes"]);
    assert_eq!(kinds("twcc-feedback.rtcp"), ["twcc"]);
}

/// Each of these made a published RTP or RTCP crate panic; here it is an error or an ignored element.
#[test]
fn the_shortest_crash_inputs_of_others_are_refused() {
    for hex in [
        "84ce0003cafebabe00000000cafebabe",
        "8fce0004cafebabe0000000052454d42ff000000",
    ] {
        let bytes = unhex(hex);
        assert!(
            Compound::parse(&bytes).all(|packet| packet.is_err()),
            "{hex}"
        );
    }
    let bytes = unhex("9060000100000001cafebabe1000000100001a70");
    let view = RtpView::parse(&bytes).expect("a well-formed header");
    assert_eq!(view.extensions().count(), 0);
}

proptest! {
    #![proptest_config(seeded(4_000))]

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
    }

    /// Noise behind a header that gets past the first checks.
    #[test]
    fn noise_behind_a_plausible_header_never_panics(
        first in prop_oneof![Just(0x80_u8), Just(0x90), Just(0xA0), Just(0xB0), 0x80..=0x9F_u8],
        second in prop_oneof![Just(205_u8), Just(206), Just(207), 200..=204_u8, Just(96)],
        mut tail in proptest::collection::vec(any::<u8>(), 2..400),
    ) {
        tail.truncate(tail.len() / 4 * 4 + 2);
        let words = u16::try_from((tail.len() - 2) / 4).expect("a short packet");
        if second >= 200 {
            tail[..2].copy_from_slice(&words.to_be_bytes());
        }
        let mut bytes = vec![first, second];
        bytes.extend(tail);
        exercise(&bytes);
    }

    /// A stream of noise, with headers that get past the first checks, timestamps that repeat, and gaps.
    #[test]
    fn noise_in_a_depacketizer_never_panics(
        packets in proptest::collection::vec(
            (any::<[u8; 2]>(), proptest::collection::vec(any::<u8>(), 0..200), 0..3_u32, 0..5_u8),
            1..40,
        ),
    ) {
        for format in FORMATS {
            let mut depacketizer = Depacketizer::new(format, FRAME_BYTES_MAX);
            for (head, rest, timestamp, what) in &packets {
                if *what == 0 {
                    depacketizer.gap();
                }
                let payload = [&head[..], rest].concat();
                depacketizer.push(&payload, *timestamp, *what == 1);
                while let Some(frame) = depacketizer.poll() {
                    assert!((1..=FRAME_BYTES_MAX).contains(&frame.bytes.len()));
                }
                assert!(depacketizer.buffer_bytes() <= FRAME_BYTES_MAX);
            }
        }
    }

    #[test]
    fn noise_in_a_dependency_descriptor_never_panics(
        mut element in proptest::collection::vec(any::<u8>(), 3..256),
    ) {
        if let Some(flags) = element.get_mut(3) {
            *flags |= 0x80;
        }
        exercise_dependency(&element);
    }
}
