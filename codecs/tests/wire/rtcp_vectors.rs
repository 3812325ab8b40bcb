//! The RTCP cases by name, each with what it requires.

use codecs::rtcp::{Compound, Packet, RtcpError};
use codecs::rtp::Seq;

use crate::data::{Case, cases, unhex};

/// All packets of a well-formed compound, `None` when any is malformed.
fn packets(bytes: &[u8]) -> Option<Vec<Packet<'_>>> {
    Compound::parse(bytes).collect::<Result<_, _>>().ok()
}

fn only<'a>(Case { name, bytes }: &'a Case) -> Packet<'a> {
    let packets = packets(bytes).unwrap_or_else(|| panic!("{name}: malformed"));
    let [packet] = packets[..] else {
        panic!("{name}: not one packet");
    };
    packet
}

#[test]
fn every_case_gets_its_required_behaviour() {
    let all = cases(include_str!("../vectors/rtcp_malformed_and_edge.json"));
    assert_eq!(all.len(), 33);
    for case in &all {
        judge(case);
    }
}

fn judge(case: &Case) {
    match case.name.as_str() {
        "empty compound"
        | "length 0xffff"
        | "length 0 SR"
        | "SR count 31 with no blocks"
        | "RR count 31 no blocks"
        | "P=1 padlen 255"
        | "P=1 padlen 0"
        | "SDES item len past chunk"
        | "SDES no terminator"
        | "SDES count 31 one chunk"
        | "BYE reason len 255"
        | "BYE count 31"
        | "FIR entry truncated"
        | "REMB num_ssrc 255 but none"
        | "TWCC packet_status_count 65535, no chunks"
        | "TWCC run-length 8191 x 8"
        | "TWCC deltas truncated"
        | "XR block length 0xffff" => {
            assert!(packets(&case.bytes).is_none(), "{}", case.name);
        }
        "padding bit on first of compound" => {
            // Nothing of it is acted on, although its second packet alone is well-formed.
            let all: Vec<_> = Compound::parse(&case.bytes).collect();
            assert!(matches!(all[..], [Err(_)]), "{all:?}");
        }
        "XR unknown block" | "APP name only" | "PT 192/193/195 legacy" => {
            assert!(matches!(only(case), Packet::Unknown(_)), "{}", case.name);
        }
        "1300-byte compound of 162 empty RRs" => {
            let all = packets(&case.bytes).expect("well-formed");
            assert_eq!(all.len(), case.bytes.len() / 8);
        }
        name if name.starts_with("NACK") => nack(case),
        name if name.starts_with("TWCC") => transport_cc(case),
        _ => feedback(case),
    }
}

fn nack(case: &Case) {
    let Packet::Nack(nack) = only(case) else {
        panic!("{}: not a NACK", case.name);
    };
    let seqs: Vec<_> = nack.seqs().collect();
    match case.name.as_str() {
        "NACK 0 FCI" => assert_eq!(seqs, []),
        "NACK 250 FCI all-ones BLP (4250 retransmits)" => assert_eq!(seqs.len(), 250 * 17),
        "NACK for never-sent seq" => {
            let wanted: Vec<_> = (0..17).map(|i| Seq(0xFFFE).plus(i)).collect();
            assert_eq!(seqs, wanted, "the bitmask goes on over the wrap");
        }
        other => panic!("no rule for the case {other:?}"),
    }
}

fn transport_cc(case: &Case) {
    let Packet::TransportCc(feedback) = only(case) else {
        panic!("{}: not transport-cc", case.name);
    };
    match case.name.as_str() {
        "TWCC feedback for never-sent seqs" => {
            let arrivals: Vec<_> = feedback.arrivals().collect();
            assert_eq!(arrivals.len(), 8);
            assert_eq!(arrivals[0], (Seq(0xFFF0), Some(1_000)));
            assert_eq!(arrivals[7], (Seq(0xFFF7), Some(8_000)));
        }
        "TWCC reference time wraps negative" => {
            assert_eq!(feedback.reference_time_us(), -64_000);
            let arrivals: Vec<_> = feedback.arrivals().collect();
            assert_eq!(arrivals, [(Seq(1), Some(-63_000))]);
        }
        other => panic!("no rule for the case {other:?}"),
    }
}

/// Well-formed, and harmless because the caller owns the decision: whose SSRC it is, how often, what bounds.
fn feedback(case: &Case) {
    match (case.name.as_str(), only(case)) {
        ("BYE for another participant SSRC", Packet::Bye(bye)) => {
            assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [0x1111_1111]);
        }
        ("PLI for unknown media SSRC", Packet::Pli(pli)) => {
            assert_eq!(pli.media_ssrc, 0x2222_2222);
        }
        ("FIR 100 entries", Packet::Fir(fir)) => {
            assert_eq!(fir.entries().count(), 100);
            assert!(fir.entries().all(|entry| entry.ssrc == 0xCAFE_BABE));
        }
        ("REMB exp 63 mantissa max", Packet::Remb(remb)) => {
            assert_eq!(remb.bitrate_bps, u64::MAX, "saturated, not shifted out");
        }
        ("REMB 0 bps", Packet::Remb(remb)) => {
            assert_eq!(remb.bitrate_bps, 0);
            assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [0xCAFE_BABE]);
        }
        (other, packet) => panic!("no rule for the case {other:?} read as {packet:?}"),
    }
}

/// Well-counted padding is still wrong on any packet but the last.
#[test]
fn padding_belongs_to_the_last_packet() {
    let padded = unhex("a0c90002cafebabe00000004");
    let plain = unhex("80c90001cafebabe");
    let last = [plain.clone(), padded.clone()].concat();
    assert_eq!(packets(&last).map(|all| all.len()), Some(2));
    let first = [padded, plain].concat();
    assert!(matches!(
        Compound::parse(&first).collect::<Vec<_>>()[..],
        [Err(RtcpError::Padding)]
    ));
}

/// Six chunks whose names end on every alignment (libwebrtc's corpus, 10.rtcp).
#[test]
fn chunks_begin_on_words() {
    let bytes = unhex(
        "86ca001212345678010161001234567901026162000000001234567a01036162630000001234567b\
         01046162636400001234567c01056162636465001234567d010661626364656600000000",
    );
    let all = packets(&bytes).expect("well-formed");
    let [Packet::Sdes(sdes)] = all[..] else {
        panic!("not a source description");
    };
    let names: Vec<_> = sdes.cnames().collect();
    let wanted = [&b"a"[..], b"ab", b"abc", b"abcd", b"abcde", b"abcdef"];
    for (i, (name, wanted)) in (0..).zip(names.iter().zip(wanted)) {
        assert_eq!(*name, (0x1234_5678 + i, wanted));
    }
    assert_eq!(names.len(), wanted.len());
}
