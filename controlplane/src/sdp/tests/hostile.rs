//! Bytes from nobody's friends.

use proptest::prelude::*;

use super::*;

/// Whatever the bytes are: an answer that webrtc-sdp reads back, or a typed error.
fn survives(bytes: &[u8]) {
    let Ok(offer) = Offer::parse(bytes) else {
        return;
    };
    if let Ok(plan) = publish(&offer) {
        written(|local| plan.answer(local));
    }
    if let Ok(plan) = watch(&offer, &[OPUS, VP8], "main", || 1) {
        written(|local| plan.answer(local));
    }
}

#[test]
fn the_fuzzers_corpus_of_libwebrtc_survives() {
    let mut seen = 0;
    for line in CORPUS.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(hex) = entry["hex"].as_str() else {
            continue;
        };
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        survives(&bytes);
        // The corpus is of 2018: with a transport of today its media sections are reached, too.
        let text = String::from_utf8_lossy(&bytes).replace("RTP/AVP ", "UDP/TLS/RTP/SAVPF ").replace(
            "\nt=0 0",
            "\nt=0 0\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\na=fingerprint:sha-256 \
             AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB",
        );
        survives(text.as_bytes());
        seen += 1;
    }
    assert_eq!(seen, CORPUS.lines().count() - 1);
}

#[test]
fn every_cut_of_an_offer_survives() {
    for offer in [CHROMIUM_SIMULCAST, FIREFOX] {
        for end in (0..offer.len()).step_by(7) {
            survives(&offer.as_bytes()[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Lines of good offers, shuffled, repeated, cut, with bytes changed: what a fuzzer finds first.
    #[test]
    fn mangled_offers_survive(
        which in 0..6_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..5_u8, any::<u8>()), 1..12),
    ) {
        let offer = [CHROMIUM_WHIP, CHROMIUM_SIMULCAST, CHROMIUM_WHEP, GSTREAMER, FIREFOX, WRTC][which];
        let mut lines: Vec<Vec<u8>> = offer.split("\r\n").map(|line| line.as_bytes().to_vec()).collect();
        for (at, other, how, byte) in edits {
            let (at, other) = (at.index(lines.len()), other.index(lines.len()));
            match how {
                0 => lines.swap(at, other),
                1 => lines.insert(at, lines[other].clone()),
                2 => { let length = lines[at].len(); lines[at].truncate(length / 2); }
                3 => { if let Some(last) = lines[at].last_mut() { *last = byte; } }
                _ => { let middle = lines[at].len() / 2; lines[at].insert(middle, byte); }
            }
        }
        survives(&lines.join(&b"\r\n"[..]));
    }
}
