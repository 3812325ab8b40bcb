//! Repair and feedback: what an answer takes of an offer, and that the data plane is told the same.

use dataplane_api::media::PayloadType;

use super::answers::{H264, PUBLISHERS, VIEWERS};
use super::*;

/// What the data plane is told is what the answer says, for every offer there is.
#[test]
fn video_is_repaired_and_feedback_has_what_it_needs() {
    for (name, offer) in PUBLISHERS {
        let plan = publish(&parsed(offer)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let answer = answer_whip(offer);
        for track in &plan.tracks {
            let codec = &track.codec;
            consistent(name, offer, &answer, codec, plan.extensions.transport_cc);
            // What is offered of repair is taken: NACK by all but one, RTX by those that name it.
            let offers_nack = offer.contains(&format!("a=rtcp-fb:{} nack\r\n", codec.pt));
            assert_eq!(codec.nack, offers_nack, "{name}");
            assert!(
                codec.nack || track.kind == MediaKind::Audio || name == "ffmpeg",
                "{name}"
            );
            let offers_rtx = offer.contains(&format!("apt={}\r\n", codec.pt));
            assert_eq!(
                codec.rtx_pt.is_some(),
                offers_rtx && track.kind == MediaKind::Video,
                "{name}"
            );
            for encoding in &track.encodings {
                assert!(
                    encoding.rtx_ssrc.is_none() || codec.rtx_pt.is_some(),
                    "{name}"
                );
            }
        }
    }
    for (name, offer) in VIEWERS {
        for source in [VP8, H264] {
            let plan = watch_plan(offer, &[OPUS, source])
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let answer = answer_whep(offer, &[OPUS, source]);
            for slot in &plan.slots {
                let [codec] = slot.codecs.as_slice() else {
                    panic!("{name}: {:?}", slot.codecs)
                };
                consistent(name, offer, &answer, codec, plan.extensions.transport_cc);
                let video = slot.kind == MediaKind::Video;
                assert_eq!(
                    (codec.nack, codec.rtx_pt.is_some(), slot.rtx_ssrc.is_some()),
                    (video, video, video),
                    "{name}"
                );
            }
        }
    }
}

fn consistent(
    name: &str,
    offer: &str,
    answer: &str,
    codec: &PayloadType,
    transport_cc: Option<u8>,
) {
    let pt = codec.pt;
    let said = |what: &str| answer.contains(&format!("a=rtcp-fb:{pt} {what}\n"));
    assert_eq!(said("nack"), codec.nack, "{name}");
    assert_eq!(said("nack pli") || said("ccm fir"), codec.pli, "{name}");
    assert_eq!(said("transport-cc"), codec.transport_cc, "{name}");
    if codec.transport_cc {
        let id = transport_cc.unwrap_or_else(|| panic!("{name}: feedback without its extension"));
        assert!(
            answer.contains(&format!("a=extmap:{id} {TRANSPORT_CC}\n")),
            "{name}"
        );
    }
    if let Some(rtx) = codec.rtx_pt {
        assert!(
            answer.contains(&format!("a=fmtp:{rtx} apt={pt}\n")),
            "{name}"
        );
    }
    // Nothing is answered that was not offered, in any section.
    for line in answer
        .lines()
        .filter(|line| line.starts_with("a=rtcp-fb:") || line.starts_with("a=extmap:"))
    {
        let plain = line.replace("/recvonly", "").replace("/sendonly", "");
        let offered = offer
            .lines()
            .any(|offered| offered.replace("/recvonly", "").replace("/sendonly", "") == plain);
        assert!(offered, "{name}: {line}");
    }
}

const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

#[test]
fn a_payload_type_that_the_section_does_not_list_is_not_answered() {
    let listed = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 ";
    let unlisted = CHROMIUM_WHIP.replace(listed, "m=video 9 UDP/TLS/RTP/SAVPF 96 ");
    assert_ne!(unlisted, CHROMIUM_WHIP);
    assert_eq!(
        publish(&parsed(&unlisted)).unwrap().tracks[1].codec.rtx_pt,
        None
    );
    let answer = answer_whip(&unlisted);
    assert!(!answer.contains("rtx"), "{answer}");
}

#[test]
fn transport_cc_takes_the_extension_and_the_feedback() {
    let extmap = format!("a=extmap:3 {TRANSPORT_CC}\r\n");
    let without_extmap = CHROMIUM_WHIP.replace(&extmap, "");
    let without_feedback: String = CHROMIUM_WHIP
        .split_inclusive('\n')
        .filter(|line| !line.contains("transport-cc\r\n"))
        .collect();
    for offer in [without_extmap, without_feedback] {
        assert_ne!(offer, CHROMIUM_WHIP);
        let plan = publish(&parsed(&offer)).unwrap();
        assert_eq!(plan.extensions.transport_cc, None);
        assert!(plan.tracks.iter().all(|track| !track.codec.transport_cc));
        let answer = answer_whip(&offer);
        assert!(
            !answer.contains("transport-cc") && !answer.contains(TRANSPORT_CC),
            "{answer}"
        );
    }
}

#[test]
fn every_setup_of_an_offer_has_its_other_half() {
    for (name, offer) in PUBLISHERS {
        let (from, expected) = if offer.contains("a=setup:passive") {
            ("a=setup:passive", "a=setup:active\n")
        } else {
            ("a=setup:actpass", "a=setup:passive\n")
        };
        assert!(answer_whip(offer).contains(expected), "{name}");
        let turned = offer.replace(from, "a=setup:active");
        assert!(answer_whip(&turned).contains("a=setup:passive\n"), "{name}");
    }
}
