//! The RTP cases by name, each with what it requires.

use codecs::payload::{av1, dependency, h264, opus, vp8, vp9};
use codecs::rtcp::is_rtcp;
use codecs::rtp::RtpView;
use codecs::rtp::view::strip_padding;

use crate::data::{Case, cases};

/// Header and padding both judged: what reaches a depacketiser.
fn payload(bytes: &[u8]) -> Option<&[u8]> {
    let view = RtpView::parse(bytes).ok()?;
    strip_padding(view.payload(), view.has_padding()).ok()
}

fn extensions(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let view = RtpView::parse(bytes).expect("a well-formed header");
    view.extensions().collect()
}

#[test]
fn every_case_gets_its_required_behaviour() {
    let all = cases(include_str!("../vectors/rtp_malformed_and_edge.json"));
    assert_eq!(all.len(), 60);
    for case in &all {
        match case.name.get(..3) {
            Some("VP8" | "VP9") => vpx_case(case),
            Some("AV1") if case.name.starts_with("AV1 DD") => dependency_case(case),
            Some("H26" | "AV1" | "Opu") => codec_case(case),
            _ => header_case(case),
        }
    }
}

fn header_case(Case { name, bytes }: &Case) {
    match name.as_str() {
        "empty"
        | "1 byte"
        | "11 bytes"
        | "version 0"
        | "version 1"
        | "version 3"
        | "CC=15 no csrc"
        | "X=1, no ext header"
        | "X=1, 3 bytes of ext header"
        | "X=1, ext length 0xffff"
        | "P=1 padlen 0"
        | "P=1 padlen > payload"
        | "P=1 no payload at all"
        | "P=1 X=1 padding overlaps ext" => assert_eq!(payload(bytes), None, "{name}"),
        "12 bytes exact" | "P=1 padding == whole payload (padding only)" => {
            assert_eq!(payload(bytes), Some(&[][..]), "{name}");
        }
        "one-byte ext: element runs past ext end (id1 len16, 3 bytes left)"
        | "one-byte ext: id 15 stop"
        | "one-byte ext: id 0 with len != 0"
        | "two-byte ext: len 255 in 4-byte ext"
        | "two-byte ext: last byte is id without len"
        | "unknown profile 0xABCD" => assert_eq!(extensions(bytes), [], "{name}"),
        "duplicate ext ids" => {
            let view = RtpView::parse(bytes).expect("a well-formed header");
            assert_eq!(view.extension(1), Some(&[0xAA][..]));
        }
        // What a mid or rid may look like is its reader's question: here it is an element with its octets.
        "mid of 16 bytes, non-UTF8" => {
            let [(1, element)] = extensions(bytes)[..] else {
                panic!("{name}: not one element");
            };
            assert_eq!(element.len(), 16);
            assert!(std::str::from_utf8(element).is_err());
        }
        "rid 255 bytes (two-byte)" => {
            let [(3, element)] = extensions(bytes)[..] else {
                panic!("{name}: not one element");
            };
            assert_eq!(element.len(), 255);
        }
        "PT 72..76 (RTCP conflict range)" => {
            // Payload type 72 without marker is RTP; with marker its octet is that of a sender report.
            assert!(!is_rtcp(bytes));
            let mut marked = bytes.clone();
            marked[1] |= 0x80;
            assert!(is_rtcp(&marked));
        }
        "jumbo 1473..65507 bytes" => {
            let payload = payload(bytes).expect("a long packet is well-formed");
            assert_eq!(payload.len(), bytes.len() - 12);
        }
        other => panic!("no rule for the case {other:?}"),
    }
}

fn vpx_case(Case { name, bytes }: &Case) {
    let payload = payload(bytes).expect("a well-formed header");
    match name.as_str() {
        "VP8 empty payload"
        | "VP8 X=1 only 1 byte"
        | "VP8 X,I,L,T,K all set, truncated"
        | "VP8 I=1 M=1 15-bit pid truncated" => {
            assert_eq!(vp8::Descriptor::parse(payload), None, "{name}");
        }
        "VP8 keyframe claim, payload 3 bytes (no 9d012a)"
        | "VP8 S=1 PID=0 key frame header truncated at size fields" => {
            assert!(!vp8::is_keyframe(payload), "{name}");
        }
        "VP9 I=1 only"
        | "VP9 flexible F=1 P=1 4 ref indices (max 3)"
        | "VP9 SS: N_S=7,Y=1 truncated"
        | "VP9 SS: G=1 N_G=255 truncated"
        | "VP9 L=1 SID=7 TID=7" => {
            assert_eq!(vp9::Descriptor::parse(payload), None, "{name}");
        }
        "VP9 SS: N_G=255 R=3 each complete 1024B" => {
            // 255 pictures of one octet and three references end exactly with the packet: nothing is left to
            // be a frame. With one more octet the structure reads.
            assert_eq!(vp9::Descriptor::parse(payload), None);
            let mut longer = payload.to_vec();
            longer.push(0);
            let descriptor = vp9::Descriptor::parse(&longer).expect("a complete structure");
            assert_eq!(descriptor.structure.map(|s| s.pictures), Some(255));
        }
        other => panic!("no rule for the case {other:?}"),
    }
}

fn codec_case(Case { name, bytes }: &Case) {
    let payload = payload(bytes).expect("a well-formed header");
    match name.as_str() {
        "H264 STAP-A size 0"
        | "H264 STAP-A size 0xffff"
        | "H264 FU-A 1 byte"
        | "H264 FU-A S and E both set"
        | "H264 NAL type 0/30/31"
        | "H264 STAP-A nested in STAP-A" => {
            assert_eq!(h264::Payload::parse(payload), None, "{name}");
        }
        "H264 STAP-A 700 x 1-byte NALs" => {
            let Some(h264::Payload::Aggregate(aggregate)) = h264::Payload::parse(payload) else {
                panic!("{name}: not an aggregate");
            };
            assert_eq!(aggregate.nals().count(), (payload.len() - 1) / 3);
        }
        "H264 FU-A without start, 10k packets" => assert!(!h264::is_keyframe(payload)),
        // Parameter sets are recognised, never decoded.
        "H264 SPS exp-golomb 32+ zeros" | "H264 SPS pic_width 2^31" => {
            assert!(h264::is_keyframe(payload), "{name}");
        }
        "AV1 aggregation Z=1 first packet" => assert!(!av1::is_keyframe(payload)),
        "AV1 W=0, leb128 len 2^56"
        | "AV1 W=0 leb128 never terminates"
        | "AV1 W=3, only 1 element"
        | "AV1 OBU size field > element" => assert_eq!(av1::Packet::parse(payload), None, "{name}"),
        "Opus TOC code 3 count 0" | "Opus CELT code3 63 frames VBR truncated" => {
            assert_eq!(opus::duration(payload), None, "{name}");
        }
        other => panic!("no rule for the case {other:?}"),
    }
}

fn dependency_case(Case { name, bytes }: &Case) {
    for (_, element) in extensions(bytes) {
        assert_eq!(dependency::Frame::parse(element, None), None, "{name}");
    }
    let rule = [
        "AV1 DD 2 bytes (mandatory is 3)",
        "AV1 DD template structure, 64 templates, truncated",
        "AV1 DD frame_dependency_template_id out of range before structure",
        "AV1 DD all ones 255 B",
    ];
    assert!(
        rule.contains(&name.as_str()),
        "no rule for the case {name:?}"
    );
}
