//! Offers of real clients, and of nobody's friends.

mod answers;
mod clients;
mod feedback;
mod hostile;
mod offers;
mod refusals;

use std::net::SocketAddr;

use dataplane_api::command::{Fingerprint, FingerprintHash, Setup};
use dataplane_api::ids::SessionId;
use dataplane_api::media::{CodecId, MediaKind};
use webrtc_sdp::parse_sdp;

use super::*;

const CHROMIUM_WHIP: &str = include_str!("../../../tests/vectors/sdp/chromium_whip.sdp");
const CHROMIUM_SIMULCAST: &str =
    include_str!("../../../tests/vectors/sdp/chromium_whip_simulcast.sdp");
const CHROMIUM_WHEP: &str = include_str!("../../../tests/vectors/sdp/chromium_whep.sdp");
const CHROMIUM_DATA: &str = include_str!("../../../tests/vectors/sdp/chromium_whip_data.sdp");
const GSTREAMER: &str = include_str!("../../../tests/vectors/sdp/gstreamer_whip.sdp");
const OBS: &str = include_str!("../../../tests/vectors/sdp/obs_whip_simulcast.sdp");
const SAFARI_WHEP: &str = include_str!("../../../tests/vectors/sdp/safari_whep.sdp");
const FIREFOX: &str = include_str!("../../../tests/vectors/sdp/firefox_whip_simulcast.sdp");
const WRTC: &str = include_str!("../../../tests/vectors/sdp/wrtc_whip.sdp");
const CORPUS: &str = include_str!("../../../tests/vectors/libwebrtc_sdp.jsonl");

const OPUS: (MediaKind, Format) = (
    MediaKind::Audio,
    Format {
        codec: CodecId::OPUS,
        form: 0,
    },
);
const VP8: (MediaKind, Format) = (
    MediaKind::Video,
    Format {
        codec: CodecId::VP8,
        form: 0,
    },
);
const VP9: (MediaKind, Format) = (
    MediaKind::Video,
    Format {
        codec: CodecId::VP9,
        form: 0,
    },
);

fn parsed(offer: &str) -> Offer {
    Offer::parse(offer.as_bytes()).expect("a good offer")
}

fn written(write: impl Fn(&Local<'_>) -> String) -> String {
    let fingerprint = Fingerprint {
        hash: FingerprintHash::Sha256,
        digest: vec![0xab; 32],
    };
    let candidates: Vec<SocketAddr> = ["192.0.2.1:40000", "[2001:db8::1]:40000", "127.0.0.1:40000"]
        .map(|text| text.parse().unwrap())
        .into();
    let local = Local {
        session: SessionId(0x1234),
        fingerprint: &fingerprint,
        ufrag: "00abcd",
        pwd: "0123456789abcdefghijkl",
        candidates: &candidates,
    };
    let answer = write(&local);
    well_formed(&answer);
    answer.replace("\r\n", "\n")
}

/// What every answer must be, whatever the offer was.
fn well_formed(answer: &str) {
    let session = match parse_sdp(answer, false) {
        Ok(session) => session,
        Err(error) => panic!("webrtc-sdp refuses our answer: {error}\n{answer}"),
    };
    assert!(
        session.warnings.is_empty(),
        "webrtc-sdp has doubts about our answer\n{answer}"
    );
    assert!(answer.ends_with("\r\n") && !answer.contains("\r\n\r\n"));
    assert_eq!(
        answer.matches("a=end-of-candidates").count(),
        1,
        "one section has the candidates"
    );
}

fn answer_whip(offer: &str) -> String {
    let plan = publish(&parsed(offer)).expect("an answer");
    written(|local| plan.answer(local))
}

fn answer_whep(offer: &str, formats: &[(MediaKind, Format)]) -> String {
    let plan = watch_plan(offer, formats).expect("an answer");
    written(|local| plan.answer(local))
}

fn watch_plan(offer: &str, formats: &[(MediaKind, Format)]) -> Result<WatchPlan, SdpError> {
    let mut next = 1000;
    watch(&parsed(offer), formats, "main", || {
        next += 1;
        next
    })
}

/// The sections of an answer, each with its lines.
fn sections(answer: &str) -> Vec<Vec<&str>> {
    answer
        .split("\nm=")
        .skip(1)
        .map(|section| section.lines().collect())
        .collect()
}

fn h264(offer: &str) -> Format {
    publish(&parsed(offer))
        .expect("an answer")
        .tracks
        .iter()
        .find(|t| t.kind == MediaKind::Video)
        .unwrap()
        .format
}
