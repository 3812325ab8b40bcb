//! SDP: offers to answers, answers to our own offer, and fragments of PATCH (security.md C5).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use controlplane::sdp::{
    self, Acceptance, Format, Fragment, Local, Media, Offer, OfferPlan, SDP_BYTES_MAX, SdpError,
    Wish,
};
use dataplane_api::command::Setup;
use dataplane_api::ids::SessionId;
use dataplane_api::media::{CodecId, MediaKind};

use super::{OCTETS, shard};
use crate::behaviour;
use crate::runner::{Shape, Target};
use crate::vectors;

const UFRAG: &str = "00abcdefghijklmn";
const PWD: &str = "0123456789abcdefghijklmn";

const WORDS: &[&[u8]] = &[
    b"a=simulcast:send q;h;f",
    b"a=rid:q send max-width=320",
    b"a=ssrc-group:FID 1 2",
    b"a=ssrc-group:SIM 1 2 3",
    b"a=extmap:14/sendonly urn:ietf:params:rtp-hdrext:sdes:mid",
    b"a=fmtp:96 apt=97",
    b"a=rtcp-fb:* nack",
    b"a=bundle-only",
    b"a=setup:passive",
    b"a=fingerprint:sha-1 AB:AB",
    b"a=candidate:1 1 udp 1 192.0.2.1 1 typ host",
    b"a=mid:0",
    b"m=video 9 UDP/TLS/RTP/SAVPF 96",
    b"a=group:BUNDLE 0 1",
    b"a=ice-lite",
    b"\xff\xfe",
    b"\xe2\x80\x8b",
    b"~0,1;2",
];

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "sdp_offer",
            run: sdp_offer,
            seeds: || {
                let offers = vectors::files("controlplane/tests/vectors/sdp", "sdp");
                [
                    offers,
                    vectors::octets(&["controlplane/tests/vectors/libwebrtc_sdp.jsonl"]),
                ]
                .concat()
            },
            shape: Shape::Lines,
            length_max: 16 * 1_024,
            allocation_max: Some(2 * 1_024 * 1_024),
            executions: 10_000,
            words: WORDS,
        },
        Target {
            name: "sdp_answer",
            run: sdp_answer,
            seeds: || {
                let answers = vectors::files("controlplane/tests/vectors/answers", "sdp");
                answers
                    .iter()
                    .flat_map(|answer| said_otherwise(answer))
                    .collect()
            },
            shape: Shape::Lines,
            length_max: 16 * 1_024,
            allocation_max: Some(2 * 1_024 * 1_024),
            executions: 10_000,
            words: WORDS,
        },
        Target {
            name: "sdp_fragment",
            run: sdp_fragment,
            seeds: || {
                vec![
                    b"a=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 2130706431 0f3b.local 5000 typ host\r\na=end-of-candidates\r\n".to_vec(),
                    b"a=group:BUNDLE 0 1\na=ice-options:trickle\na=ice-ufrag:ab/+\na=ice-pwd:0123456789012345678901\n".to_vec(),
                ]
            },
            shape: Shape::Lines,
            length_max: 2_048,
            executions: 30_000,
            words: WORDS,
            ..OCTETS
        },
    ]
}

/// One offer, of a publisher and of a viewer.
pub fn sdp_offer(bytes: &[u8]) {
    let offer = match Offer::parse(bytes) {
        Ok(offer) => offer,
        Err(error) => return behaviour::outcome("offer", &error),
    };
    assert!(bytes.len() <= SDP_BYTES_MAX && !offer.sections.is_empty());
    assert!(offer.tagged < offer.sections.len());
    assert!(offer.transport.ufrag.len() >= 4 && offer.transport.pwd.len() >= 22);
    assert!([32, 48, 64].contains(&offer.transport.fingerprint.digest.len()));
    behaviour::size("sections", offer.sections.len());
    behaviour::outcome("setup", &offer.transport.setup);
    match sdp::publish(&offer) {
        Ok(plan) => {
            let answer = answered(|local| plan.answer(local), bytes);
            assert_eq!(answer, answered(|local| plan.answer(local), bytes));
            let lines = well_formed(&offer, &answer);
            assert!((1..=2).contains(&plan.tracks.len()));
            for track in &plan.tracks {
                behaviour::note(
                    "codec",
                    u64::from(track.format.codec.0) << 20 | u64::from(track.format.form),
                );
                behaviour::size("encodings", track.encodings.len());
                assert!((1..=4).contains(&track.encodings.len()));
                let pt = track.codec.pt;
                assert_eq!(told(&lines, "a=rtcp-fb", pt, "nack"), track.codec.nack);
                assert_eq!(
                    told(&lines, "a=rtcp-fb", pt, "transport-cc"),
                    track.codec.transport_cc
                );
                assert!(
                    !track.codec.transport_cc || plan.extensions.transport_cc.is_some(),
                    "transport-cc takes its header extension"
                );
                behaviour::note(
                    "feedback",
                    u64::from(track.codec.nack) << 2
                        | u64::from(track.codec.pli) << 1
                        | u64::from(track.codec.transport_cc),
                );
                behaviour::note("rtx", u64::from(track.codec.rtx_pt.is_some()));
            }
            let fragment = plan.ice_section().fragment(UFRAG, PWD, &[]);
            let read = Fragment::parse(fragment.as_bytes()).expect("what we send we can read");
            assert_eq!((read.ufrag.as_str(), read.pwd.as_str()), (UFRAG, PWD));
        }
        Err(error) => behaviour::outcome("publish", &error),
    }
    for (codec, form) in [
        (CodecId::VP8, 0),
        (CodecId::H264, 0x1_42e0),
        (CodecId::AV1, 0),
    ] {
        let formats = [
            (
                MediaKind::Audio,
                Format {
                    codec: CodecId::OPUS,
                    form: 0,
                },
            ),
            (MediaKind::Video, Format { codec, form }),
        ];
        let mut ssrc = 1_000;
        let next = || {
            ssrc += 1;
            ssrc
        };
        match sdp::watch(&offer, &formats, "main", next) {
            Ok(plan) => {
                let answer = answered(|local| plan.answer(local), bytes);
                well_formed(&offer, &answer);
                assert!((1..=2).contains(&plan.slots.len()));
                let ssrcs: BTreeSet<u32> = plan.slots.iter().map(|slot| slot.ssrc).collect();
                assert_eq!(ssrcs.len(), plan.slots.len());
                behaviour::size("slots", plan.slots.len());
            }
            Err(error) => behaviour::outcome("watch", &error),
        }
    }
}

/// An answer as a browser sends it, and as others would: with one section refused in each of the ways, as
/// DTLS server, with the codec of another stream, to an offer of one section.
fn said_otherwise(answer: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(answer);
    let audio = text.split("m=video").next().unwrap_or_default();
    let h264 = "H264/90000\r\na=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    [
        text.clone().into_owned(),
        text.replacen("m=audio 9", "m=audio 0", 1),
        text.replacen("a=recvonly", "a=inactive", 1),
        text.replace("a=setup:active", "a=setup:passive"),
        text.replace("VP8/90000", h264),
        audio.replace("BUNDLE 0 1", "BUNDLE 0"),
    ]
    .map(String::into_bytes)
    .into()
}

/// One answer to each offer of our own.
pub fn sdp_answer(bytes: &[u8]) {
    for formats in STREAMS {
        let plan = our_offer(formats);
        match Acceptance::read(bytes, &plan.slots) {
            Ok(acceptance) => {
                let offered: BTreeSet<_> = plan.slots.iter().map(|slot| slot.slot).collect();
                let taken: BTreeSet<_> = acceptance.slots.iter().map(|(slot, _)| *slot).collect();
                assert!(!taken.is_empty() && taken.is_subset(&offered));
                assert_eq!(taken.len(), acceptance.slots.len(), "a slot once");
                assert_ne!(acceptance.transport.setup, Setup::ActPass);
                assert!(
                    !acceptance.transport.ufrag.is_empty(),
                    "an answer is told by its ufrag"
                );
                assert!([32, 48, 64].contains(&acceptance.transport.fingerprint.digest.len()));
                behaviour::size("taken", taken.len());
                behaviour::outcome("setup", &acceptance.transport.setup);
            }
            Err(error) => behaviour::outcome("answer", &error),
        }
        // A viewer's first body: what is answered could be answered, and the rest is SDP or refused.
        match Wish::read(bytes, formats) {
            Ok(Wish::Answer(offer)) => {
                assert!(
                    offer
                        .sections
                        .iter()
                        .any(|of| !of.rejected && of.direction().receives())
                );
            }
            Ok(Wish::Offer) => behaviour::note("wish", 1),
            Err(error) => {
                assert!(
                    Offer::parse(bytes).is_err_and(|other: SdpError| other == error),
                    "refused as any offer is"
                );
            }
        }
    }
}

const OPUS: (MediaKind, Format) = (
    MediaKind::Audio,
    Format {
        codec: CodecId::OPUS,
        form: 0,
    },
);

const fn video(codec: CodecId, form: u32) -> (MediaKind, Format) {
    (MediaKind::Video, Format { codec, form })
}

/// What the answers of the seeds are to.
const STREAMS: &[&[(MediaKind, Format)]] = &[
    &[OPUS, video(CodecId::VP8, 0)],
    &[OPUS, video(CodecId::H264, 0x1_42e0)],
    &[OPUS],
    &[video(CodecId::VP8, 0)],
];

fn our_offer(formats: &[(MediaKind, Format)]) -> OfferPlan {
    let mut ssrc = 1_000;
    sdp::offer(formats, "main", || {
        ssrc += 1;
        ssrc
    })
    .expect("a named codec")
}

/// A PATCH body.
pub fn sdp_fragment(bytes: &[u8]) {
    match Fragment::parse(bytes) {
        Ok(fragment) => {
            assert!(
                (4..=256).contains(&fragment.ufrag.len())
                    && (22..=256).contains(&fragment.pwd.len())
            );
            let visible = |text: &str| {
                text.bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b':')
            };
            assert!(visible(&fragment.ufrag) && visible(&fragment.pwd));
            behaviour::size("ufrag", fragment.ufrag.len());
        }
        Err(error) => behaviour::outcome("error", &error),
    }
}

/// An answer's text, no longer than the offer and what we add to each section.
fn answered(write: impl Fn(&Local<'_>) -> String, offer: &[u8]) -> String {
    let fingerprint = shard::fingerprint();
    let candidates: Vec<SocketAddr> = ["192.0.2.1:40000", "[2001:db8::1]:40000"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    let answer = write(&Local {
        session: SessionId(0x1234),
        fingerprint: &fingerprint,
        ufrag: UFRAG,
        pwd: PWD,
        candidates: &candidates,
    });
    let sections = 1 + offer.windows(2).filter(|pair| pair == b"m=").count();
    assert!(
        answer.len() <= offer.len() + 700 * sections,
        "{} for {}",
        answer.len(),
        offer.len()
    );
    answer
}

/// RFC 8829 section 5.3.1: as many sections as the offer, of the same kinds, with the same mids.
fn well_formed<'a>(offer: &Offer, answer: &'a str) -> Vec<&'a str> {
    assert!(answer.ends_with("\r\n") && !answer.contains("\r\n\r\n") && !answer.contains('\0'));
    let lines: Vec<&str> = answer
        .split("\r\n")
        .filter(|line| !line.is_empty())
        .collect();
    for line in &lines {
        assert_eq!(line.as_bytes().get(1), Some(&b'='), "{line:?}");
        assert!(!line.contains('\n') && !line.contains('\r'), "{line:?}");
    }
    let mut at = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with("m="))
        .map(|(at, _)| at);
    for section in &offer.sections {
        let at = at.next().expect("a section for each of the offer");
        let own: Vec<&str> = lines[at..]
            .iter()
            .enumerate()
            .take_while(|&(index, line)| index == 0 || !line.starts_with("m="))
            .map(|(_, line)| *line)
            .collect();
        let word = match &section.media {
            Media::Rtp(MediaKind::Audio) => "audio",
            Media::Rtp(MediaKind::Video) => "video",
            Media::Other(word) => word,
        };
        let mut words = own[0][2..].split(' ');
        assert_eq!(words.next(), Some(word));
        let port = words.next();
        assert_eq!(words.next(), Some(section.protocol.as_str()));
        // As numbers: `096` is an odd way to say 96.
        for format in words {
            let number = format.parse::<u8>().ok();
            let equal = |offered: &String| {
                offered == format || number.is_some() && offered.parse().ok() == number
            };
            assert!(
                section.formats.iter().any(equal),
                "{format} was not offered"
            );
        }
        let mid = own.iter().find_map(|line| line.strip_prefix("a=mid:"));
        assert_eq!(mid, section.mid());
        if port == Some("9") {
            let count = |prefix: &str| own.iter().filter(|line| line.starts_with(prefix)).count();
            for once in [
                "a=ice-ufrag:",
                "a=ice-pwd:",
                "a=fingerprint:sha-256 ",
                "a=setup:",
                "a=rtcp-mux-only",
            ] {
                assert_eq!(count(once), 1, "{once}");
            }
            let feedback = own
                .iter()
                .any(|line| line.starts_with("a=rtcp-fb:") && line.ends_with(" transport-cc"));
            let extension = own
                .iter()
                .any(|line| line.starts_with("a=extmap:") && line.contains("transport-wide-cc"));
            assert!(!feedback || extension, "transport-cc without its extension");
        }
    }
    assert!(at.next().is_none(), "a section that nobody offered");
    assert_eq!(answer.matches("a=end-of-candidates").count(), 1);
    lines
}

fn told(lines: &[&str], attribute: &str, pt: u8, what: &str) -> bool {
    lines.contains(&format!("{attribute}:{pt} {what}").as_str())
}
