//! The offers of encoders, browsers and players, each with what it is answered: a summary that a person
//! can check against RFC 8829 section 5.3, instead of pages of text.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

const AIORTC: &str = include_str!("../../../tests/vectors/sdp/aiortc_whip.sdp");
const FFMPEG: &str = include_str!("../../../tests/vectors/sdp/ffmpeg8_whip.sdp");
const FFMPEG_RTX: &str = include_str!("../../../tests/vectors/sdp/ffmpeg8_whip_rtx.sdp");
const FIREFOX_WHEP: &str = include_str!("../../../tests/vectors/sdp/firefox128_whep.sdp");
const WHIPCLIENTSINK: &str =
    include_str!("../../../tests/vectors/sdp/gstreamer_whipclientsink.sdp");
const OBS_30: &str = include_str!("../../../tests/vectors/sdp/obs30_whip_h264.sdp");
const OBS_31_AV1: &str = include_str!("../../../tests/vectors/sdp/obs31_whip_av1.sdp");
const OBS_31_H265: &str = include_str!("../../../tests/vectors/sdp/obs31_whip_h265.sdp");
const OBS_32: &str = include_str!("../../../tests/vectors/sdp/obs32_whip_simulcast.sdp");
const SAFARI_17: &str = include_str!("../../../tests/vectors/sdp/safari17_macos_whip.sdp");
const SAFARI_17_IOS: &str = include_str!("../../../tests/vectors/sdp/safari17_ios_whip.sdp");
const SAFARI_18: &str = include_str!("../../../tests/vectors/sdp/safari18_macos_whip_h265.sdp");
const SAFARI_18_WHEP: &str = include_str!("../../../tests/vectors/sdp/safari18_ios_whep.sdp");

pub(super) const PUBLISHERS: [(&str, &str); 18] = [
    ("chromium", CHROMIUM_WHIP),
    ("chromium simulcast", CHROMIUM_SIMULCAST),
    ("chromium data", CHROMIUM_DATA),
    ("gstreamer", GSTREAMER),
    ("gstreamer whipclientsink", WHIPCLIENTSINK),
    ("firefox", FIREFOX),
    ("wrtc", WRTC),
    ("aiortc", AIORTC),
    ("ffmpeg", FFMPEG),
    ("ffmpeg rtx", FFMPEG_RTX),
    ("obs 30", OBS_30),
    ("obs 31 av1", OBS_31_AV1),
    ("obs 31 h265", OBS_31_H265),
    ("obs 32", OBS_32),
    ("obs simulcast", OBS),
    ("safari 17", SAFARI_17),
    ("safari 17 ios", SAFARI_17_IOS),
    ("safari 18", SAFARI_18),
];

pub(super) const VIEWERS: [(&str, &str); 4] = [
    ("chromium", CHROMIUM_WHEP),
    ("safari", SAFARI_WHEP),
    ("safari 18 ios", SAFARI_18_WHEP),
    ("firefox", FIREFOX_WHEP),
];

pub(super) const H264: (MediaKind, Format) = (
    MediaKind::Video,
    Format {
        codec: CodecId::H264,
        form: 0x1_42e0,
    },
);
const H265: (MediaKind, Format) = (
    MediaKind::Video,
    Format {
        codec: CodecId::H265,
        form: 1,
    },
);
const AV1: (MediaKind, Format) = (
    MediaKind::Video,
    Format {
        codec: CodecId::AV1,
        form: 0,
    },
);

/// Bundle and setup, then a line a section: mid, kind, direction, payload types with their names, feedback,
/// header extensions by id, layers, SSRCs.
fn summary(answer: &str) -> String {
    let value = |line: &str, prefix: &str| line.strip_prefix(prefix).map(str::to_owned);
    let of = |lines: &[&str], prefix: &str| -> Vec<String> {
        lines
            .iter()
            .filter_map(|line| value(line, prefix))
            .collect()
    };
    let all: Vec<&str> = answer.lines().collect();
    let mut out = String::new();
    let bundle = of(&all, "a=group:BUNDLE ").join("|");
    let candidates = of(&all, "a=candidate:").len();
    let mut setups = of(&all, "a=setup:");
    setups.dedup();
    let mixed = if all.contains(&"a=extmap-allow-mixed") {
        ", mixed"
    } else {
        ""
    };
    writeln!(
        out,
        "bundle {bundle}, setup {}, {candidates} candidates{mixed}",
        setups.join("|")
    )
    .unwrap();
    for lines in sections(answer) {
        let words: Vec<&str> = lines[0].split(' ').collect();
        let direction = ["sendonly", "recvonly", "sendrecv", "inactive"]
            .into_iter()
            .find(|direction| lines.contains(&format!("a={direction}").as_str()))
            .unwrap();
        let mid = of(&lines, "a=mid:").join("|");
        write!(out, "{mid} {} {direction}", words[0]).unwrap();
        if words[1] == "0" {
            out.push_str(" refused");
        }
        for pt in &words[3..] {
            let names = of(&lines, &format!("a=rtpmap:{pt} "));
            write!(out, "; {pt} {}", names.join("|")).unwrap();
            let fmtp = of(&lines, &format!("a=fmtp:{pt} "));
            if !fmtp.is_empty() {
                write!(out, " ({})", fmtp.join("|")).unwrap();
            }
            let feedback = of(&lines, &format!("a=rtcp-fb:{pt} "));
            if !feedback.is_empty() {
                write!(out, " [{}]", feedback.join(", ")).unwrap();
            }
        }
        let extensions: Vec<String> = of(&lines, "a=extmap:")
            .iter()
            .map(|map| {
                let (id, uri) = map.split_once(' ').unwrap();
                format!("{id} {}", uri.rsplit([':', '/']).next().unwrap())
            })
            .collect();
        if !extensions.is_empty() {
            write!(out, "; ext {}", extensions.join(", ")).unwrap();
        }
        for simulcast in of(&lines, "a=simulcast:") {
            write!(out, "; simulcast {simulcast}").unwrap();
        }
        for group in of(&lines, "a=ssrc-group:") {
            write!(out, "; {group}").unwrap();
        }
        out.push('\n');
    }
    out
}

fn whip(offer: &str, expected: &Expect) {
    expected.assert_eq(&summary(&answer_whip(offer)));
}

fn whep(offer: &str, formats: &[(MediaKind, Format)], expected: &Expect) {
    expected.assert_eq(&summary(&answer_whep(offer, formats)));
}

#[test]
fn safari_publishes_h264_high_as_it_prefers() {
    whip(
        SAFARI_17,
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates, mixed
        0 audio recvonly; 111 opus/48000/2 (minptime=10;useinbandfec=1) [transport-cc]; ext 1 ssrc-audio-level, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 4 mid
        1 video recvonly; 96 H264/90000 (level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f) [transport-cc, ccm fir, nack, nack pli]; 97 rtx/90000 (apt=96); ext 13 video-orientation, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 5 playout-delay, 4 mid, 10 rtp-stream-id, 11 repaired-rtp-stream-id
    "#]],
    );
    // Video first, no SSRC declared, names instead of addresses.
    whip(
        SAFARI_17_IOS,
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates, mixed
        0 video recvonly; 96 H264/90000 (level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f) [transport-cc, ccm fir, nack, nack pli]; 97 rtx/90000 (apt=96); ext 13 video-orientation, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 5 playout-delay, 4 mid, 10 rtp-stream-id, 11 repaired-rtp-stream-id
        1 audio recvonly; 111 opus/48000/2 (minptime=10;useinbandfec=1) [transport-cc]; ext 1 ssrc-audio-level, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 4 mid
    "#]],
    );
}

#[test]
fn safari_publishes_h265_without_parameters() {
    whip(
        SAFARI_18,
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates, mixed
        0 audio recvonly; 111 opus/48000/2 (minptime=10;useinbandfec=1) [transport-cc]; ext 1 ssrc-audio-level, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 4 mid
        1 video recvonly; 104 H265/90000 [transport-cc, ccm fir, nack, nack pli]; 105 rtx/90000 (apt=104); ext 13 video-orientation, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 5 playout-delay, 4 mid, 10 rtp-stream-id, 11 repaired-rtp-stream-id
    "#]],
    );
    let plan = publish(&parsed(SAFARI_18)).unwrap();
    assert_eq!((MediaKind::Video, plan.tracks[1].format), H265);
}

#[test]
fn safari_watches_what_is_there() {
    whep(
        SAFARI_18_WHEP,
        &[OPUS, H264],
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates, mixed
        0 video sendonly; 98 H264/90000 (level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f) [transport-cc, ccm fir, nack, nack pli]; 99 rtx/90000 (apt=98); ext 13 video-orientation, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 5 playout-delay, 4 mid; FID 1001 1002
        1 audio sendonly; 111 opus/48000/2 (minptime=10;useinbandfec=1) [transport-cc]; ext 1 ssrc-audio-level, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 4 mid
    "#]],
    );
    whep(
        SAFARI_18_WHEP,
        &[OPUS, H265],
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates, mixed
        0 video sendonly; 104 H265/90000 (level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST) [transport-cc, ccm fir, nack, nack pli]; 105 rtx/90000 (apt=104); ext 13 video-orientation, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 5 playout-delay, 4 mid; FID 1001 1002
        1 audio sendonly; 111 opus/48000/2 (minptime=10;useinbandfec=1) [transport-cc]; ext 1 ssrc-audio-level, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 4 mid
    "#]],
    );
    whep(
        SAFARI_18_WHEP,
        &[OPUS, VP8],
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates, mixed
        0 video sendonly; 100 VP8/90000 [transport-cc, ccm fir, nack, nack pli]; 101 rtx/90000 (apt=100); ext 13 video-orientation, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 5 playout-delay, 4 mid; FID 1001 1002
        1 audio sendonly; 111 opus/48000/2 (minptime=10;useinbandfec=1) [transport-cc]; ext 1 ssrc-audio-level, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 4 mid
    "#]],
    );
    whep(
        SAFARI_18_WHEP,
        &[OPUS, AV1],
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates, mixed
        0 video sendonly; 45 AV1/90000 (level-idx=5;profile=0;tier=0) [transport-cc, ccm fir, nack, nack pli]; 46 rtx/90000 (apt=45); ext 13 video-orientation, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 5 playout-delay, 4 mid; FID 1001 1002
        1 audio sendonly; 111 opus/48000/2 (minptime=10;useinbandfec=1) [transport-cc]; ext 1 ssrc-audio-level, 3 draft-holmer-rmcat-transport-wide-cc-extensions-01, 4 mid
    "#]],
    );
}

/// Safari sends what it lists first, constrained high. Chromium without a hardware decoder lists of the high
/// family predictive 4:4:4 alone, which reads it.
#[test]
fn chromium_watches_what_safari_publishes() {
    let of_safari = publish(&parsed(SAFARI_17)).unwrap().tracks[1].format;
    assert_eq!(
        of_safari.to_string(),
        "H.264 constrained high (packetization-mode 1)"
    );
    let source = [OPUS, (MediaKind::Video, of_safari)];
    let plan = watch_plan(CHROMIUM_WHEP, &source).unwrap();
    let pt = plan.slots[1].codecs[0].pt;
    let fmtp = format!(
        "a=fmtp:{pt} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=f4001f"
    );
    assert!(CHROMIUM_WHEP.contains(&fmtp), "payload type {pt}");
    assert!(watch_plan(SAFARI_18_WHEP, &source).is_ok());
    // Firefox has no high profile at all.
    let refused = watch_plan(FIREFOX_WHEP, &source);
    assert!(matches!(refused, Err(SdpError::NoCommonCodec { .. })));
}

#[test]
fn obs_publishes_in_every_codec_it_has() {
    whip(
        OBS_30,
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates
        0 audio recvonly; 111 opus/48000/2 (minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1)
        1 video recvonly; 96 H264/90000 (profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1) [nack, nack pli]
    "#]],
    );
    whip(
        OBS_31_AV1,
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates
        0 audio recvonly; 111 opus/48000/2 (minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1)
        1 video recvonly; 96 AV1/90000 [nack, nack pli]
    "#]],
    );
    whip(
        OBS_31_H265,
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates
        0 audio recvonly; 111 opus/48000/2 (minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1)
        1 video recvonly; 96 H265/90000 (profile-id=1;tier-flag=0;level-id=93;tx-mode=SRST) [nack, nack pli]
    "#]],
    );
    whip(
        OBS_32,
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates
        0 audio recvonly; 111 opus/48000/2 (minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1)
        1 video recvonly; 96 H264/90000 (profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1) [nack, nack pli]; ext 1 mid, 2 rtp-stream-id; simulcast recv 0;1;2
    "#]],
    );
}

#[test]
fn obs_and_safari_agree_on_h265() {
    let of_obs = publish(&parsed(OBS_31_H265)).unwrap().tracks[1].format;
    assert_eq!((MediaKind::Video, of_obs), H265);
    assert!(watch_plan(SAFARI_18_WHEP, &[OPUS, H265]).is_ok());
}

#[test]
fn ffmpeg_publishes_with_the_little_it_has() {
    // `setup:passive`: we are the DTLS client (contracts.md 9).
    whip(
        FFMPEG,
        &expect![[r#"
        bundle 0 1, setup active, 3 candidates, mixed
        0 audio recvonly; 111 opus/48000/2
        1 video recvonly; 106 H264/90000 (level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c01f)
    "#]],
    );
    whip(
        FFMPEG_RTX,
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates, mixed
        0 audio recvonly; 111 opus/48000/2
        1 video recvonly; 106 H264/90000 (level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c01f) [nack]; 105 rtx/90000 (apt=106)
    "#]],
    );
    let video = publish(&parsed(FFMPEG_RTX)).unwrap().tracks[1].clone();
    let [encoding] = video.encodings.as_slice() else {
        panic!("{:?}", video.encodings)
    };
    assert_eq!(
        (encoding.ssrc, encoding.rtx_ssrc),
        (Some(4_267_647_087), Some(4_267_647_088))
    );
}

#[test]
fn aiortc_publishes_and_its_strongest_fingerprint_counts() {
    whip(
        AIORTC,
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates
        0 audio recvonly; 96 opus/48000/2; ext 1 mid, 2 ssrc-audio-level
        1 video recvonly; 97 VP8/90000 [nack, nack pli]; 98 rtx/90000 (apt=97); ext 1 mid
    "#]],
    );
    let fingerprint = parsed(AIORTC).transport.fingerprint;
    assert_eq!(
        (fingerprint.hash, fingerprint.digest.len()),
        (FingerprintHash::Sha512, 64)
    );
}

#[test]
fn gstreamers_whip_client_publishes_with_rtx() {
    whip(
        WHIPCLIENTSINK,
        &expect![[r#"
        bundle video0 audio1, setup passive, 3 candidates
        video0 video recvonly; 96 VP8/90000 [transport-cc, ccm fir, nack, nack pli]; 97 rtx/90000 (apt=96); ext 1 draft-holmer-rmcat-transport-wide-cc-extensions-01
        audio1 audio recvonly; 98 OPUS/48000/2 (sprop-maxcapturerate=48000;sprop-stereo=0) [transport-cc]; ext 1 draft-holmer-rmcat-transport-wide-cc-extensions-01
    "#]],
    );
    let video = publish(&parsed(WHIPCLIENTSINK)).unwrap().tracks[0].clone();
    assert_eq!(video.encodings[0].rtx_ssrc, Some(2_918_374_655));
}

#[test]
fn firefox_watches_with_its_attributes_before_the_names() {
    whep(
        FIREFOX_WHEP,
        &[OPUS, VP8],
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates
        0 audio sendonly; 109 opus/48000/2 (maxplaybackrate=48000;stereo=1); ext 1 ssrc-audio-level, 3 mid
        1 video sendonly; 120 VP8/90000 (max-fs=12288;max-fr=60) [transport-cc, ccm fir, nack, nack pli]; 124 rtx/90000 (apt=120); ext 3 mid, 6/sendonly playout-delay, 7 draft-holmer-rmcat-transport-wide-cc-extensions-01, 8 #dependency-descriptor-rtp-header-extension; FID 1002 1003
    "#]],
    );
    whep(
        FIREFOX_WHEP,
        &[OPUS, H264],
        &expect![[r#"
        bundle 0 1, setup passive, 3 candidates
        0 audio sendonly; 109 opus/48000/2 (maxplaybackrate=48000;stereo=1); ext 1 ssrc-audio-level, 3 mid
        1 video sendonly; 126 H264/90000 (profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1) [transport-cc, ccm fir, nack, nack pli]; 127 rtx/90000 (apt=126); ext 3 mid, 6/sendonly playout-delay, 7 draft-holmer-rmcat-transport-wide-cc-extensions-01, 8 #dependency-descriptor-rtp-header-extension; FID 1002 1003
    "#]],
    );
}
