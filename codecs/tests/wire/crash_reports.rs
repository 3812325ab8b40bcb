//! What made others crash, each input with what becomes of it here, read by hand from its octets.

use codecs::payload::{h264, opus, vp8, vp9};
use codecs::rtcp::{Compound, Packet, RtcpError, is_rtcp};
use codecs::rtp::view::strip_padding;
use codecs::rtp::{RtpError, RtpView};

use crate::data::{corpus, unhex};

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// An RTP packet: octets of header, of payload, extension elements.
    Rtp(usize, usize, usize),
    NotRtp(RtpError),
    Rtcp(&'static str),
    NotRtcp(RtcpError),
}

fn fate(bytes: &[u8]) -> Fate {
    if is_rtcp(bytes) {
        let all: Vec<_> = Compound::parse(bytes).collect();
        return match all[..] {
            [Err(error)] => Fate::NotRtcp(error),
            [Ok(Packet::TransportCc(_))] => Fate::Rtcp("transport-cc"),
            [Ok(Packet::SenderReport(_))] => Fate::Rtcp("sender report"),
            [Ok(Packet::Unknown(_))] => Fate::Rtcp("unknown"),
            ref other => panic!("{other:?}"),
        };
    }
    let view = match RtpView::parse(bytes) {
        Ok(view) => view,
        Err(error) => return Fate::NotRtp(error),
    };
    match strip_padding(view.payload(), view.has_padding()) {
        Ok(payload) => Fate::Rtp(view.header_len(), payload.len(), view.extensions().count()),
        Err(error) => Fate::NotRtp(error),
    }
}

fn judge(corpus_text: &str, fates: &[(&str, Fate)]) {
    let cases = corpus(corpus_text);
    assert_eq!(cases.len(), fates.len());
    for (case, (name, wanted)) in cases.iter().zip(fates) {
        assert!(case.name.contains(name), "{} is not {name}", case.name);
        assert_eq!(fate(&case.bytes), *wanted, "{name}");
    }
}

#[test]
fn what_mediasoups_fuzzers_reported() {
    use Fate::{NotRtcp, NotRtp, Rtcp};
    judge(
        include_str!("../vectors/mediasoup_fuzzer_reports.jsonl"),
        &[
            // 24 octets of feedback, then three octets that begin nothing.
            ("058a4c1c", NotRtcp(RtcpError::TooShort)),
            // After the feedback a packet that claims 1,603 words.
            ("082d8c1a", NotRtcp(RtcpError::Length)),
            ("2d204ea9", NotRtp(RtpError::TooShort)),
            // Well-formed: ten packets in a two-bit vector and a run.
            ("572450c7", Rtcp("transport-cc")),
            // What follows the feedback is not version 2.
            ("6cfd7698", NotRtcp(RtcpError::Version)),
            ("732ced16", NotRtcp(RtcpError::Version)),
            ("7e7caf72", NotRtp(RtpError::TooShort)),
            ("92e8ac42", NotRtcp(RtcpError::Version)),
            // Well-formed: one report block.
            ("9401450d", Rtcp("sender report")),
            ("9cc885b8", NotRtp(RtpError::TooShort)),
            ("ac5d03e5", NotRtp(RtpError::TooShort)),
            ("b75c1208", NotRtp(RtpError::TooShort)),
            ("c079dea0", NotRtcp(RtcpError::TooShort)),
            // 1,760 packets of a reserved symbol.
            ("cb8c8802", NotRtcp(RtcpError::Content)),
            ("dcfd0559", NotRtp(RtpError::Version)),
            ("ddfab2c0", NotRtp(RtpError::TooShort)),
        ],
    );
}

#[test]
fn what_crashed_libwebrtc_and_mediasoup() {
    use Fate::{NotRtcp, NotRtp, Rtcp, Rtp};
    judge(
        include_str!("../vectors/mediasoup_crash_rtp.jsonl"),
        &[
            ("15d89650", Rtp(24, 1, 2)),
            ("1e7e56a8", Rtp(32, 7, 0)),
            ("42df1e99", Rtp(12, 16, 0)),
            ("5b35219e", Rtp(12, 97, 0)),
            ("6d9f1846", Rtp(12, 132, 0)),
            ("7e2d460e", NotRtp(RtpError::Version)),
            // An element of id 0 with a length ends the block.
            ("7e3b3351", Rtp(28, 1, 0)),
            ("9b6dfaed", Rtp(12, 3, 0)),
            ("af6dff49", Rtp(12, 564, 0)),
            ("b9a848d5", Rtp(12, 3, 0)),
            // A block of no words under a profile nobody knows.
            ("ba25a83b", Rtp(16, 2, 0)),
            ("c14c0b08", Rtp(20, 1, 1)),
        ],
    );
    judge(
        include_str!("../vectors/mediasoup_crash_rtcp.jsonl"),
        &[
            ("1640b2f2", NotRtcp(RtcpError::Padding)),
            ("16b87064", NotRtcp(RtcpError::Padding)),
            ("17ccf761", Rtp(52, 113, 0)),
            ("3762f3b9", NotRtcp(RtcpError::Length)),
            // TMMBR: well-framed, not read.
            ("461a0e92", Rtcp("unknown")),
            ("7257232c", NotRtcp(RtcpError::Length)),
            ("75a5a773", NotRtcp(RtcpError::Length)),
            ("85b6e5d8", NotRtcp(RtcpError::Length)),
            ("c7a1f348", NotRtcp(RtcpError::Length)),
            ("daf57e58", NotRtcp(RtcpError::Length)),
        ],
    );
}

#[test]
fn what_pion_found() {
    use Fate::{NotRtcp, Rtcp};
    judge(
        include_str!("../vectors/pion_rtcp.jsonl"),
        &[
            ("0b954a73", NotRtcp(RtcpError::Version)),
            ("16c369bd", NotRtcp(RtcpError::Content)),
            ("5eaf215c", NotRtcp(RtcpError::Length)),
            ("60753346", Rtcp("unknown")),
            ("6366fbb9", NotRtcp(RtcpError::Padding)),
            ("e1a48af9", NotRtcp(RtcpError::Padding)),
        ],
    );
}

/// The minimal inputs that made the crates `rtp`, `rtcp` and `webrtc-srtp` panic. The others of the file are
/// handshakes and concern no reader here.
#[test]
fn what_made_rust_crates_panic() {
    #[derive(serde::Deserialize)]
    struct File {
        cases: Vec<Report>,
    }
    #[derive(serde::Deserialize)]
    struct Report {
        #[serde(rename = "crate")]
        of: String,
        hex: Option<String>,
        hex_prefix: Option<String>,
    }
    let file: File = serde_json::from_str(include_str!("../vectors/named_crate_crashes.json"))
        .expect("a vector file");
    let mut judged = 0;
    for Report {
        of,
        hex,
        hex_prefix,
    } in file.cases
    {
        let bytes = unhex(&hex.or(hex_prefix).expect("octets"));
        judged += 1;
        match of.as_str() {
            // The element that runs past its block is ignored, the packet stands.
            "rtp 0.17.2 packet" => {
                let Fate::Rtp(20, 0, 0) = fate(&bytes) else {
                    panic!("{of}: {:?}", fate(&bytes));
                };
            }
            "rtp 0.17.2 vp8/vp9/h264/opus depack" => {
                assert_eq!(h264::Payload::parse(&bytes), None);
                // As VP8, VP9 and Opus it is what its first octets say, and short.
                assert!(vp8::Descriptor::parse(&bytes).is_none_or(|read| read.len < 4));
                assert!(vp9::Descriptor::parse(&bytes).is_none_or(|read| read.len < 4));
                assert_eq!(opus::duration(&bytes), Some(960));
            }
            "rtcp 0.17.2" => {
                assert!(matches!(fate(&bytes), Fate::NotRtcp(_)), "{of}");
            }
            // What unprotects must find the header first: it fits with nothing in its block, or it does not.
            "webrtc-srtp 0.17.2 unprotect" => {
                let found = RtpView::parse(&bytes).map(|view| view.extensions().count());
                assert!(matches!(found, Ok(0) | Err(_)), "{of}: {found:?}");
            }
            other => {
                assert!(other.contains("dtls"), "no rule for {other}");
                judged -= 1;
            }
        }
    }
    assert_eq!(judged, 11);
}
