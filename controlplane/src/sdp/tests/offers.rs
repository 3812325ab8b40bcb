//! The node's own offer and the answers to it, with other people's parsers at the other end.

use std::time::Instant;

use dataplane_api::command::Slot;
use dataplane_api::ids::SlotId;
use str0m::RtcConfig;
use str0m::change::SdpOffer;

use super::*;

const CHROMIUM_ANSWER: &str = include_str!("../../../tests/vectors/answers/chromium_whep.sdp");
const H264: (MediaKind, Format) = (
    MediaKind::Video,
    Format {
        codec: CodecId::H264,
        form: 0x1_42e0,
    },
);

fn video(codec: CodecId, form: u32) -> (MediaKind, Format) {
    (MediaKind::Video, Format { codec, form })
}

fn plan(formats: &[(MediaKind, Format)]) -> OfferPlan {
    let mut next = 1000;
    offer(formats, "main", || {
        next += 1;
        next
    })
    .expect("an offer")
}

/// As it goes over the wire.
fn text(plan: &OfferPlan) -> String {
    written(|local| plan.text(local)).replace('\n', "\r\n")
}

/// What str0m answers to our offer.
fn answer(offer: &str) -> String {
    let offer = SdpOffer::from_sdp_string(offer).expect("str0m reads our offer");
    let mut rtc = RtcConfig::new().build(Instant::now());
    let answer = rtc.sdp_api().accept_offer(offer).expect("str0m answers");
    answer.to_sdp_string()
}

fn accepted(answer: &str, slots: &[Slot]) -> Vec<SlotId> {
    match Acceptance::read(answer.as_bytes(), slots) {
        Ok(acceptance) => acceptance.slots.into_iter().map(|(slot, _)| slot).collect(),
        Err(error) => panic!("{error}\n{answer}"),
    }
}

#[test]
fn an_offer_says_what_the_stream_carries() {
    let plan = plan(&[OPUS, VP8]);
    expect_test::expect![[r#"
        v=0
        o=- 4660 1 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE 0 1
        a=ice-lite
        a=ice-options:ice2 trickle
        m=audio 9 UDP/TLS/RTP/SAVPF 111
        c=IN IP4 0.0.0.0
        a=mid:0
        a=sendonly
        a=rtcp-mux
        a=rtcp-mux-only
        a=rtcp-rsize
        a=ice-ufrag:00abcd
        a=ice-pwd:0123456789abcdefghijkl
        a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB
        a=setup:actpass
        a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
        a=extmap:2 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
        a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time
        a=extmap:4 urn:ietf:params:rtp-hdrext:ssrc-audio-level
        a=rtpmap:111 opus/48000/2
        a=rtcp-fb:111 transport-cc
        a=fmtp:111 minptime=10;useinbandfec=1
        a=msid:main audio
        a=ssrc:1001 cname:1234
        a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host
        a=candidate:2 1 udp 2130706175 2001:db8::1 40000 typ host
        a=candidate:3 1 udp 2130705919 127.0.0.1 40000 typ host
        a=end-of-candidates
        m=video 9 UDP/TLS/RTP/SAVPF 96 97
        c=IN IP4 0.0.0.0
        a=mid:1
        a=sendonly
        a=rtcp-mux
        a=rtcp-mux-only
        a=rtcp-rsize
        a=ice-ufrag:00abcd
        a=ice-pwd:0123456789abcdefghijkl
        a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB
        a=setup:actpass
        a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
        a=extmap:2 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
        a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time
        a=extmap:5 urn:3gpp:video-orientation
        a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
        a=rtpmap:96 VP8/90000
        a=rtcp-fb:96 transport-cc
        a=rtcp-fb:96 ccm fir
        a=rtcp-fb:96 nack
        a=rtcp-fb:96 nack pli
        a=rtpmap:97 rtx/90000
        a=fmtp:97 apt=96
        a=msid:main video
        a=ssrc-group:FID 1002 1003
        a=ssrc:1002 cname:1234
        a=ssrc:1003 cname:1234
    "#]].assert_eq(&written(|local| plan.text(local)));
    assert_eq!(plan.slots.len(), 2);
}

#[test]
fn str0m_answers_every_codec_we_offer_and_we_read_its_answer() {
    let streams: [&[(MediaKind, Format)]; 6] = [
        &[OPUS, VP8],
        &[OPUS, VP9],
        &[OPUS, H264],
        &[OPUS, video(CodecId::AV1, 0)],
        &[OPUS],
        &[VP8],
    ];
    for formats in streams {
        let plan = plan(formats);
        let answer = answer(&text(&plan));
        let all: Vec<SlotId> = plan.slots.iter().map(|slot| slot.slot).collect();
        assert_eq!(accepted(&answer, &plan.slots), all, "{formats:?}\n{answer}");
        let acceptance = Acceptance::read(answer.as_bytes(), &plan.slots).unwrap();
        assert!(matches!(
            acceptance.transport.setup,
            Setup::Active | Setup::Passive
        ));
    }
}

#[test]
fn a_browser_s_answer_is_taken() {
    let plan = plan(&[OPUS, VP8]);
    let acceptance = Acceptance::read(CHROMIUM_ANSWER.as_bytes(), &plan.slots).unwrap();
    assert_eq!(acceptance.transport.setup, Setup::Active);
    assert_eq!(acceptance.extensions, plan.extensions, "it keeps them all");
    let offered = plan
        .slots
        .iter()
        .map(|slot| (slot.slot, slot.codecs.clone()));
    assert_eq!(acceptance.slots, offered.collect::<Vec<_>>());
}

#[test]
fn what_an_answer_leaves_out_is_not_used() {
    let plan = plan(&[OPUS, VP8]);
    let whole = answer(&text(&plan));
    let lines: Vec<&str> = whole.lines().collect();
    let without = |words: &[&str]| {
        let kept = lines
            .iter()
            .filter(|line| !words.iter().any(|word| line.contains(word)));
        kept.map(|line| format!("{line}\r\n")).collect::<String>()
    };
    let video = |answer: &str| {
        let acceptance = Acceptance::read(answer.as_bytes(), &plan.slots).unwrap();
        let (_, codecs) = acceptance.slots.last().unwrap().clone();
        (codecs[0].clone(), acceptance.extensions)
    };
    let (all, extensions) = video(&without(&[]));
    assert_eq!(all.rtx_pt, Some(97));
    assert!(all.nack && all.pli && all.transport_cc && extensions.transport_cc.is_some());

    let (codec, _) = video(&without(&["rtx/90000", "apt="]).replace(" 97", ""));
    assert_eq!((codec.rtx_pt, codec.nack), (None, true));
    let (codec, _) = video(&without(&[":96 nack"]));
    assert!(!codec.nack && codec.rtx_pt.is_some());
    let (codec, extensions) = video(&without(&["transport-wide-cc"]));
    assert!(!codec.transport_cc && extensions.transport_cc.is_none());
    assert_eq!(extensions.mid, plan.extensions.mid);
    // An id that was not offered is not ours to send.
    let moved = without(&[]).replace("a=extmap:1 ", "a=extmap:9 ");
    assert_eq!(video(&moved).1.mid, None);
}

#[test]
fn a_peer_may_refuse_a_section_and_not_all() {
    let plan = plan(&[OPUS, VP8]);
    let whole = answer(&text(&plan));
    let video = whole.find("m=video").unwrap();
    let (audio, rest) = whole.split_at(video);
    let without_video = [
        // Port 0 (RFC 3264 section 6), out of the bundle.
        format!("{audio}m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=inactive\r\n")
            .replace("BUNDLE 0 1", "BUNDLE 0"),
        format!("{audio}{}", rest.replace("a=recvonly", "a=inactive")),
        format!("{audio}{}", rest.replace("a=recvonly", "a=sendonly")),
    ];
    for answer in &without_video {
        assert_eq!(accepted(answer, &plan.slots), [SlotId(0)], "{answer}");
    }
    let none = whole.replace("a=recvonly", "a=inactive");
    match Acceptance::read(none.as_bytes(), &plan.slots) {
        Err(SdpError::Unsupported { what, .. }) => assert!(what.contains("nothing"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_to_another_offer_is_refused_in_words() {
    let plan = plan(&[OPUS, VP8]);
    let good = answer(&text(&plan));
    let setup = if good.contains("a=setup:active") {
        "a=setup:active"
    } else {
        "a=setup:passive"
    };
    let video = good.find("m=video").unwrap();
    let bad: [(String, &str); 4] = [
        (
            good[..video].replace("BUNDLE 0 1", "BUNDLE 0"),
            "1 media sections",
        ),
        (good.replace("m=video", "m=audio"), "another kind"),
        (
            good.replace("a=mid:1", "a=mid:9")
                .replace("BUNDLE 0 1", "BUNDLE 0 9"),
            "mid `9`",
        ),
        (good.replace("v=0", "v=7"), ""),
    ];
    for (answer, word) in &bad {
        match Acceptance::read(answer.as_bytes(), &plan.slots) {
            Err(SdpError::Bad { what, .. }) => assert!(what.contains(word), "{what}"),
            other => panic!("{other:?}\n{answer}"),
        }
    }
    let unsupported = [
        (good.replace(setup, "a=setup:actpass"), "setup"),
        (good.replace("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        (good.replace("a=fingerprint", "a=x-fingerprint"), "DTLS"),
        (good.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n"), "lite"),
    ];
    for (answer, word) in &unsupported {
        match Acceptance::read(answer.as_bytes(), &plan.slots) {
            Err(SdpError::Unsupported { what, .. }) => assert!(what.contains(word), "{what}"),
            other => panic!("{other:?}\n{answer}"),
        }
    }
    for codec in ["VP9/90000", "VP8/8000"] {
        let answer = good.replace("VP8/90000", codec);
        match Acceptance::read(answer.as_bytes(), &plan.slots) {
            Err(SdpError::NoCommonCodec { what, .. }) => {
                assert!(what.contains("VP8 as 96"), "{what}");
            }
            other => panic!("{other:?}\n{answer}"),
        }
    }
}

#[test]
fn whoever_could_receive_nothing_is_made_an_offer() {
    let formats = [OPUS, VP8];
    let wish = |body: &str| match Wish::read(body.as_bytes(), &formats) {
        Ok(Wish::Answer(_)) => "answer",
        Ok(Wish::Offer) => "offer",
        Err(SdpError::Bad { .. }) => "bad",
        Err(error) => panic!("{error}"),
    };
    let bare = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    let first = CHROMIUM_WHEP.find("m=audio").unwrap();
    let audio_only =
        CHROMIUM_WHEP[..CHROMIUM_WHEP.find("m=video").unwrap()].replace("BUNDLE 0 1", "BUNDLE 0");
    let cases = [
        (String::new(), "offer"),
        (" \r\n".to_owned(), "offer"),
        (bare.to_owned(), "offer"),
        (CHROMIUM_WHEP.replace("a=recvonly", "a=sendonly"), "offer"),
        (CHROMIUM_WHEP.replace("a=recvonly", "a=inactive"), "offer"),
        (
            CHROMIUM_WHEP
                .replace("m=audio 9", "m=audio 0")
                .replace("m=video 9", "m=video 0"),
            "offer",
        ),
        (
            CHROMIUM_WHEP
                .replace("m=audio", "m=text")
                .replace("m=video", "m=image"),
            "offer",
        ),
        (CHROMIUM_WHEP.to_owned(), "answer"),
        (CHROMIUM_WHEP.replace("a=recvonly", "a=sendrecv"), "answer"),
        (audio_only, "answer"),
        (format!("{}m=", &CHROMIUM_WHEP[..first]), "bad"),
        ("hello".to_owned(), "bad"),
    ];
    for (body, expected) in cases {
        assert_eq!(wish(&body), expected, "{body}");
    }
    // What is offered and what is carried have nothing in common.
    let silent = CHROMIUM_WHEP.replacen("a=recvonly", "a=inactive", 1);
    assert!(matches!(
        Wish::read(silent.as_bytes(), &[OPUS]),
        Ok(Wish::Offer)
    ));
}

#[test]
fn a_stream_without_a_name_in_sdp_cannot_be_offered() {
    let unknown = offer(&[video(CodecId(999), 0)], "main", || 1);
    assert!(matches!(unknown, Err(SdpError::Unsupported { .. })));
}
