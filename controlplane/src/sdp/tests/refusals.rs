//! What is refused, and in which words.

use super::*;

#[test]
fn what_webrtc_needs_is_asked_for_by_name() {
    let cases = [
        ("a=rtcp-mux\r\n", "", "rtcp-mux"),
        ("UDP/TLS/RTP/SAVPF", "RTP/AVP", "RTP/AVP"),
        ("a=fingerprint:", "a=x-fingerprint:", "DTLS-SRTP"),
        ("a=ice-ufrag", "a=x-ufrag", "ICE"),
        ("a=group:BUNDLE 0 1\r\n", "", "BUNDLE"),
        ("a=group:BUNDLE 0 1\r\n", "a=group:BUNDLE 0\r\n", "BUNDLE"),
        ("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n", "ICE-lite"),
        ("a=setup:actpass", "a=setup:holdconn", "holdconn"),
        ("a=sendonly", "a=recvonly", "no section sends"),
        ("a=mid:1\r\n", "a=mid:a-mid-of-seventeen\r\n", "mid"),
    ];
    for (from, to, word) in cases {
        let mut offer = CHROMIUM_WHIP.replace(from, to);
        if to.contains("seventeen") {
            offer = offer.replace("BUNDLE 0 1", "BUNDLE 0 a-mid-of-seventeen");
        }
        assert!(offer != CHROMIUM_WHIP, "{from}");
        match Offer::parse(offer.as_bytes()).and_then(|offer| publish(&offer).map(|_| ())) {
            Err(SdpError::Unsupported { section, what }) => {
                assert!(
                    format!("{section}: {what}").contains(word),
                    "{section}: {what}"
                );
            }
            other => panic!("{from:?} -> {to:?}: {other:?}"),
        }
    }
}

#[test]
fn weak_fingerprints_are_refused_unless_a_strong_one_stands_beside() {
    let line = CHROMIUM_WHIP
        .lines()
        .find(|line| line.starts_with("a=fingerprint"))
        .unwrap();
    let sha1 = format!("a=fingerprint:sha-1 {}", vec!["AB"; 20].join(":"));
    let md5 = format!("a=fingerprint:md5 {}", vec!["AB"; 16].join(":"));
    for weak in [&sha1, &md5] {
        match Offer::parse(CHROMIUM_WHIP.replace(line, weak).as_bytes()) {
            Err(SdpError::Unsupported { what, .. }) => assert!(what.contains("weak"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
    let both = CHROMIUM_WHIP.replace(line, &format!("{sha1}\r\n{line}"));
    assert_eq!(parsed(&both).transport, parsed(CHROMIUM_WHIP).transport);
    let upper = CHROMIUM_WHIP.replace("a=fingerprint:sha-256", "a=fingerprint:SHA-256");
    assert_eq!(parsed(&upper).transport, parsed(CHROMIUM_WHIP).transport);
}

#[test]
fn malformed_lines_are_named_by_number() {
    let cases = [
        ("v=0", "v=1", 1),
        ("s=-", "s", 3),
        ("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 7", 5),
        ("m=audio 9 ", "m=audio nine ", 8),
        ("a=ice-ufrag:32e9", "a=ice-ufrag:x", 11),
        ("a=setup:actpass", "a=setup:maybe", 15),
        ("a=mid:1", "a=mid:0", 39),
        ("a=rtpmap:111 opus/48000/2", "a=rtpmap:211 opus/48000/2", 26),
    ];
    for (from, to, expected) in cases {
        let offer = CHROMIUM_WHIP.replacen(from, to, 1);
        assert!(offer != CHROMIUM_WHIP, "{from}");
        match Offer::parse(offer.as_bytes()) {
            Err(SdpError::Bad { line, what }) => assert_eq!(line, expected, "{to}: {what}"),
            other => panic!("{from:?} -> {to:?}: {other:?}"),
        }
    }
    for short in [
        "",
        "v=0",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\n",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
    ] {
        assert!(
            matches!(Offer::parse(short.as_bytes()), Err(SdpError::Bad { .. })),
            "{short:?}"
        );
    }
}

#[test]
fn contradictions_between_sections_are_bad() {
    let twice = CHROMIUM_SIMULCAST.replace("a=simulcast:send q;h;f", "a=simulcast:send q;q;f");
    let unknown = CHROMIUM_SIMULCAST.replace("a=simulcast:send q;h;f", "a=simulcast:send q;h;x");
    let reused = WRTC.replace("a=ssrc:661223413 ", "a=ssrc:3462331267 ");
    for offer in [twice, unknown, reused] {
        let result = publish(&parsed(&offer)).map(|_| ());
        assert!(matches!(result, Err(SdpError::Bad { .. })), "{result:?}");
    }
    let five = CHROMIUM_SIMULCAST.replace(
        "a=simulcast:send q;h;f",
        "a=rid:1 send\r\na=rid:2 send\r\na=simulcast:send q;h;f;1;2",
    );
    assert!(matches!(
        publish(&parsed(&five)),
        Err(SdpError::Unsupported { .. })
    ));
    let blind = CHROMIUM_SIMULCAST.replace(
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "urn:example:none",
    );
    assert!(matches!(
        publish(&parsed(&blind)),
        Err(SdpError::Unsupported { .. })
    ));
    let two_videos = CHROMIUM_WHIP.replace("m=audio 9", "m=video 9");
    assert!(publish(&parsed(&two_videos)).is_err());
}
