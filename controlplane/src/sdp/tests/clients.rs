//! What real clients are answered.

use expect_test::expect;

use super::*;

#[test]
fn chromium_publishes_vp8_and_opus() {
    expect![[r#"
        v=0
        o=- 4660 1 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE 0 1
        a=extmap-allow-mixed
        a=ice-lite
        a=ice-options:ice2 trickle
        m=audio 9 UDP/TLS/RTP/SAVPF 111
        c=IN IP4 0.0.0.0
        a=mid:0
        a=recvonly
        a=rtcp-mux
        a=rtcp-mux-only
        a=rtcp-rsize
        a=ice-ufrag:00abcd
        a=ice-pwd:0123456789abcdefghijkl
        a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB
        a=setup:passive
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
        a=rtpmap:111 opus/48000/2
        a=rtcp-fb:111 transport-cc
        a=fmtp:111 minptime=10;useinbandfec=1
        a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host
        a=candidate:2 1 udp 2130706175 2001:db8::1 40000 typ host
        a=candidate:3 1 udp 2130705919 127.0.0.1 40000 typ host
        a=end-of-candidates
        m=video 9 UDP/TLS/RTP/SAVPF 96 97
        c=IN IP4 0.0.0.0
        a=mid:1
        a=recvonly
        a=rtcp-mux
        a=rtcp-mux-only
        a=rtcp-rsize
        a=ice-ufrag:00abcd
        a=ice-pwd:0123456789abcdefghijkl
        a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB
        a=setup:passive
        a=extmap:13 urn:3gpp:video-orientation
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
        a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
        a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
        a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id
        a=rtpmap:96 VP8/90000
        a=rtcp-fb:96 transport-cc
        a=rtcp-fb:96 ccm fir
        a=rtcp-fb:96 nack
        a=rtcp-fb:96 nack pli
        a=rtpmap:97 rtx/90000
        a=fmtp:97 apt=96
    "#]]
    .assert_eq(&answer_whip(CHROMIUM_WHIP));
}

#[test]
fn chromium_watches_vp8_and_opus() {
    expect![[r#"
        v=0
        o=- 4660 1 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE 0 1
        a=extmap-allow-mixed
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
        a=setup:passive
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
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
        a=setup:passive
        a=extmap:13 urn:3gpp:video-orientation
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
        a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
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
    "#]]
    .assert_eq(&answer_whep(CHROMIUM_WHEP, &[OPUS, VP8]));
}

#[test]
fn a_chromium_publisher_becomes_two_tracks() {
    let plan = publish(&parsed(CHROMIUM_WHIP)).unwrap();
    let [audio, video] = plan.tracks.as_slice() else {
        panic!("{:?}", plan.tracks)
    };
    assert_eq!(
        (audio.kind, audio.mid.as_str(), audio.format),
        (MediaKind::Audio, "0", OPUS.1)
    );
    assert_eq!(
        (audio.codec.pt, audio.codec.rtx_pt, audio.codec.clock_hz),
        (111, None, 48_000)
    );
    assert!(audio.codec.transport_cc && !audio.codec.nack && !audio.codec.pli);
    assert_eq!(
        (video.kind, video.mid.as_str(), video.format),
        (MediaKind::Video, "1", VP8.1)
    );
    assert_eq!((video.codec.pt, video.codec.rtx_pt), (96, Some(97)));
    assert!(video.codec.transport_cc && video.codec.nack && video.codec.pli);
    let ids = plan.extensions;
    assert_eq!(
        (ids.mid, ids.transport_cc, ids.audio_level),
        (Some(4), Some(3), Some(1))
    );
    assert_eq!(
        (ids.rid, ids.repaired_rid, ids.dependency_descriptor),
        (Some(10), Some(11), None)
    );
    assert_eq!(
        (
            ids.video_orientation,
            ids.playout_delay,
            ids.abs_capture_time
        ),
        (Some(13), Some(5), None)
    );
    let transport = parsed(CHROMIUM_WHIP).transport;
    assert_eq!(transport.setup, Setup::ActPass);
    assert_eq!(
        (
            transport.fingerprint.hash,
            transport.fingerprint.digest.len()
        ),
        (FingerprintHash::Sha256, 32)
    );
}

#[test]
fn every_simulcast_layer_is_answered_in_the_order_of_the_offer() {
    for (offer, rids) in [
        (CHROMIUM_SIMULCAST, vec!["q", "h", "f"]),
        (OBS, vec!["0", "1", "2"]),
        (FIREFOX, vec!["q", "f"]),
    ] {
        let plan = publish(&parsed(offer)).unwrap();
        let video = plan
            .tracks
            .iter()
            .find(|track| track.kind == MediaKind::Video)
            .unwrap();
        let planned: Vec<&str> = video
            .encodings
            .iter()
            .filter_map(|e| e.rid.as_deref())
            .collect();
        assert_eq!(planned, rids);
        let answer = answer_whip(offer);
        assert!(
            answer.contains(&format!("a=simulcast:recv {}\n", rids.join(";"))),
            "{answer}"
        );
        for rid in &rids {
            assert!(answer.contains(&format!("a=rid:{rid} recv")), "{answer}");
        }
    }
    assert!(
        answer_whip(FIREFOX).contains("a=rid:q recv max-width=320\n"),
        "restrictions are repeated"
    );
}

#[test]
fn obs_gets_stereo_and_no_feedback_it_did_not_offer() {
    let answer = answer_whip(OBS);
    assert!(answer.contains(
        "a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1\n"
    ));
    assert!(
        !answer.contains("transport-cc") && !answer.contains("rtx"),
        "{answer}"
    );
    let plan = publish(&parsed(OBS)).unwrap();
    let video = &plan.tracks[1];
    assert!(video.codec.nack && video.codec.pli && !video.codec.transport_cc);
    // Three layers and one declared SSRC: whose it is, only the rid says.
    assert!(
        video
            .encodings
            .iter()
            .all(|encoding| encoding.ssrc.is_none())
    );
}

#[test]
fn gstreamers_bundle_only_section_is_not_a_rejected_one() {
    let offer = parsed(GSTREAMER);
    let plan = publish(&offer).unwrap();
    assert_eq!(plan.tracks.len(), 2);
    let answer = answer_whip(GSTREAMER);
    assert!(answer.contains("a=group:BUNDLE video0 audio1\n"));
    assert!(answer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 97\n"));
    // webrtcbin announces stereo and sends mono unless it is asked for.
    assert!(
        answer.contains("a=fmtp:97 sprop-maxcapturerate=48000;sprop-stereo=1;stereo=1\n"),
        "{answer}"
    );
    assert!(
        answer.contains("profile-level-id=42c01f"),
        "its own spelling comes back"
    );
    assert_eq!(plan.tracks[0].encodings[0].ssrc, Some(2_947_389_541));
}

#[test]
fn a_viewer_takes_h264_of_gstreamer_by_the_meaning_of_its_profile() {
    let source = (MediaKind::Video, h264(GSTREAMER));
    let plan = watch_plan(SAFARI_WHEP, &[OPUS, source]).unwrap();
    let video = plan
        .slots
        .iter()
        .find(|slot| slot.kind == MediaKind::Video)
        .unwrap();
    // 640c1f stands first in the offer, 42e01f is constrained baseline as 42c01f is.
    assert_eq!((video.codecs[0].pt, video.codecs[0].rtx_pt), (98, Some(99)));
    assert_eq!(video.codecs[0].form, source.1.form);
    let chromium = watch_plan(CHROMIUM_WHEP, &[source]).unwrap();
    let pt = chromium.slots[0].codecs[0].pt;
    let fmtp = format!(
        "a=fmtp:{pt} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
    );
    assert!(CHROMIUM_WHEP.contains(&fmtp), "payload type {pt}");
}

#[test]
fn old_stacks_name_layers_by_ssrc() {
    let plan = publish(&parsed(WRTC)).unwrap();
    let video = &plan.tracks[1];
    let ssrcs: Vec<_> = video
        .encodings
        .iter()
        .map(|e| (e.rid.as_deref(), e.ssrc, e.rtx_ssrc))
        .collect();
    assert_eq!(
        ssrcs,
        [
            (None, Some(3_462_331_267), Some(1_502_764_152)),
            (None, Some(49_866_344), Some(2_719_187_042)),
            (None, Some(1_730_264_221), Some(3_890_174_566)),
        ]
    );
    assert_eq!(video.mid, "video");
    let answer = answer_whip(WRTC);
    assert!(answer.contains("a=recvonly") && !answer.contains("a=sendonly"));
}

#[test]
fn extensions_of_one_direction_are_answered_with_the_other() {
    let answer = answer_whip(FIREFOX);
    assert!(
        answer.contains("a=extmap:8/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\n"),
        "{answer}"
    );
    assert!(
        !answer.contains("playout-delay"),
        "the publisher only reads it"
    );
}

#[test]
fn a_data_channel_is_refused_without_failing_the_offer() {
    let answer = answer_whip(CHROMIUM_DATA);
    let sections = sections(&answer);
    assert_eq!(sections.len(), 2);
    assert!(
        sections[1][0].starts_with("application 0 UDP/DTLS/SCTP"),
        "{answer}"
    );
    assert!(
        answer.contains("a=group:BUNDLE 0\n"),
        "a refused section leaves the bundle"
    );
    // First in the bundle it carries everybody's transport, and refusing it fails in browsers.
    let first = CHROMIUM_DATA.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0");
    match publish(&parsed(&first)) {
        Err(SdpError::Unsupported { section, .. }) => {
            assert!(section.contains("application"), "{section}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_peer_that_waits_is_answered_actively() {
    let passive = CHROMIUM_WHIP.replace("a=setup:actpass", "a=setup:passive");
    assert!(answer_whip(&passive).contains("a=setup:active\n"));
    assert_eq!(parsed(&passive).transport.setup, Setup::Passive);
    let active = CHROMIUM_WHIP.replace("a=setup:actpass", "a=setup:active");
    assert!(answer_whip(&active).contains("a=setup:passive\n"));
}

#[test]
fn the_first_codec_of_the_offer_that_the_node_forwards_is_chosen() {
    let order = |formats: &str| {
        let line = CHROMIUM_WHIP
            .lines()
            .find(|line| line.starts_with("m=video"))
            .unwrap();
        CHROMIUM_WHIP.replace(line, &format!("m=video 9 UDP/TLS/RTP/SAVPF {formats}"))
    };
    assert_eq!(
        h264(&order("118 98 96 97")),
        VP9.1,
        "RED is nothing to forward"
    );
    assert_eq!(
        h264(&order("45 46 96")),
        Format {
            codec: CodecId::AV1,
            form: 0
        }
    );
    assert_eq!(
        h264(&order("100 101")),
        Format {
            codec: CodecId::VP9,
            form: 2
        }
    );
    // The Baseline family is asked for in the form that every viewer has.
    let plan = publish(&parsed(&order("102 103 104 107 108 109"))).unwrap();
    assert_eq!(
        (plan.tracks[1].codec.pt, plan.tracks[1].codec.rtx_pt),
        (108, Some(109))
    );
    match publish(&parsed(&order("118 119 120"))) {
        Err(SdpError::NoCommonCodec { section, what }) => {
            assert!(
                section.contains("video") && what.contains("VP8"),
                "{section}: {what}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_viewer_without_the_publishers_codec_is_told_which_it_is() {
    let without_vp9 = SAFARI_WHEP;
    match watch_plan(without_vp9, &[OPUS, VP9]) {
        Err(SdpError::NoCommonCodec { what, .. }) => {
            assert!(what.contains("the publisher sends VP9 profile 0"), "{what}");
            assert!(what.contains("H264") && what.contains("H265"), "{what}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_section_the_stream_has_nothing_for_stays_inactive() {
    let plan = watch_plan(CHROMIUM_WHEP, &[OPUS]).unwrap();
    assert_eq!(plan.slots.len(), 1);
    let answer = answer_whep(CHROMIUM_WHEP, &[OPUS]);
    let sections = sections(&answer);
    assert!(sections[1][0].starts_with("video 9 "), "{answer}");
    assert!(sections[1].contains(&"a=inactive") && sections[1].contains(&"a=rtcp-mux"));
    assert!(answer.contains("a=group:BUNDLE 0 1\n"));
    // A listener who asks for sound only hears a stream with a picture.
    let audio_only = CHROMIUM_WHEP
        .split("m=video")
        .next()
        .unwrap()
        .replace("BUNDLE 0 1", "BUNDLE 0");
    assert_eq!(
        watch_plan(&audio_only, &[OPUS, VP8]).unwrap().slots.len(),
        1
    );
    // And one who could only see gets no empty session.
    assert!(matches!(
        watch_plan(&audio_only, &[VP8]),
        Err(SdpError::Unsupported { .. })
    ));
}

#[test]
fn a_viewer_never_sees_a_rid() {
    let ids = watch_plan(CHROMIUM_WHEP, &[OPUS, VP8]).unwrap().extensions;
    assert!(CHROMIUM_WHEP.contains("rtp-stream-id"));
    assert_eq!((ids.rid, ids.repaired_rid), (None, None));
    assert_eq!((ids.mid, ids.transport_cc), (Some(4), Some(3)));
}

#[test]
fn an_ice_restart_repeats_the_first_section() {
    let plan = publish(&parsed(GSTREAMER)).unwrap();
    let candidates = ["192.0.2.1:40000".parse().unwrap()];
    expect![[r#"
        a=ice-lite
        a=ice-options:ice2 trickle
        a=group:BUNDLE video0 audio1
        m=video 9 UDP/TLS/RTP/SAVPF 96
        a=mid:video0
        a=ice-ufrag:00beef
        a=ice-pwd:pwpwpwpwpwpwpwpwpwpwpw
        a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host
        a=end-of-candidates
    "#]]
    .assert_eq(
        &plan
            .ice_section()
            .fragment("00beef", "pwpwpwpwpwpwpwpwpwpwpw", &candidates)
            .replace("\r\n", "\n"),
    );
}
