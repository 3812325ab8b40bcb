//! What the RTCP writers write, the readers read; nothing is written past a short buffer.

use codecs::WriteError;
use codecs::rtcp::pli_fir::{write_fir, write_pli};
use codecs::rtcp::sdes_bye::{write_bye, write_sdes_cname};
use codecs::rtcp::sr_rr::{rr_len, sr_len, write_rr, write_sr};
use codecs::rtcp::twcc::{self, Feedback};
use codecs::rtcp::{Compound, FirEntry, Packet, ReportBlock, SenderInfo, nack, remb};
use codecs::rtp::Seq;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::data::{seeded, unhex};

fn only(bytes: &[u8]) -> Packet<'_> {
    let mut compound = Compound::parse(bytes);
    let packet = compound.next().expect("one packet").expect("well-formed");
    assert!(compound.next().is_none());
    packet
}

fn block() -> impl Strategy<Value = ReportBlock> {
    (
        any::<u32>(),
        any::<u8>(),
        -0x80_0000..=0x7F_FFFF_i32,
        any::<[u32; 4]>(),
    )
        .prop_map(
            |(ssrc, fraction_lost, cumulative_lost, [highest_seq, jitter, last_sr, delay])| {
                ReportBlock {
                    ssrc,
                    fraction_lost,
                    cumulative_lost,
                    highest_seq,
                    jitter,
                    last_sr,
                    delay_since_last_sr: delay,
                }
            },
        )
}

/// Gaps between arrivals as a receiver sees them: mostly small, some reordered, some longer than a one-octet
/// delta, few longer than any delta; `None` is a packet that did not arrive.
fn gap() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        12 => (0..20_000_i64).prop_map(Some),
        3 => Just(None),
        2 => (-30_000..0_i64).prop_map(Some),
        2 => (60_000..5_000_000_i64).prop_map(Some),
        1 => (8_100_000..20_000_000_i64).prop_map(Some),
    ]
}

/// Runs of one kind of gap, so that run-length chunks occur.
fn gaps() -> impl Strategy<Value = Vec<Option<i64>>> {
    let run = (gap(), 1..60_usize).prop_map(|(gap, n)| vec![gap; n]);
    vec(prop_oneof![run, vec(gap(), 1..30)], 1..8).prop_map(|runs| runs.concat())
}

proptest! {
    #![proptest_config(seeded(1_500))]

    #[test]
    fn reports_read_back(
        head in any::<(u32, u64, u32, u32, u32)>(),
        blocks in vec(block(), 0..=31),
    ) {
        let (ssrc, ntp, rtp_timestamp, packet_count, octet_count) = head;
        let info = SenderInfo { ssrc, ntp, rtp_timestamp, packet_count, octet_count };
        let mut out = [0; 1_000];
        let len = write_sr(&mut out, &info, &blocks).expect("room");
        prop_assert_eq!(len, sr_len(blocks.len()));
        let Packet::SenderReport(report) = only(&out[..len]) else { panic!("not a sender report") };
        prop_assert_eq!(report.info, info);
        prop_assert_eq!(report.blocks().collect::<Vec<_>>(), blocks.clone());
        prop_assert_eq!(u64::from(info.compact_ntp()), (ntp >> 16) & 0xFFFF_FFFF);

        let len = write_rr(&mut out, ssrc, &blocks).expect("room");
        prop_assert_eq!(len, rr_len(blocks.len()));
        let Packet::ReceiverReport(report) = only(&out[..len]) else { panic!("not a receiver report") };
        prop_assert_eq!(report.ssrc, ssrc);
        prop_assert_eq!(report.blocks().collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn a_nack_names_exactly_the_lost_packets(
        first in any::<u16>(),
        gaps in vec(prop_oneof![8 => 1..4_u16, 1 => 1..200_u16], 0..60),
        space in 16..400_usize,
    ) {
        let mut seqs = vec![Seq(first)];
        for gap in gaps {
            seqs.push(seqs[seqs.len() - 1].plus(gap));
        }
        let mut told = Vec::new();
        let mut out = vec![0; space];
        while told.len() < seqs.len() {
            let written = nack::write(&mut out, 1, 2, &seqs[told.len()..]).expect("room for one");
            prop_assert!(written.seqs > 0 && written.len <= space);
            let Packet::Nack(read) = only(&out[..written.len]) else { panic!("not a NACK") };
            prop_assert_eq!((read.sender_ssrc, read.media_ssrc), (1, 2));
            let before = told.len();
            told.extend(read.seqs());
            prop_assert_eq!(told.len(), before + written.seqs);
        }
        prop_assert_eq!(told, seqs);
    }

    #[test]
    fn a_remb_reads_back_with_eighteen_bits(bitrate in any::<u64>(), ssrcs in vec(any::<u32>(), 0..20)) {
        let mut out = [0; 200];
        let len = remb::write(&mut out, 7, bitrate, &ssrcs).expect("room");
        let Packet::Remb(read) = only(&out[..len]) else { panic!("not a REMB") };
        prop_assert!(read.bitrate_bps <= bitrate);
        prop_assert!(bitrate - read.bitrate_bps <= bitrate >> 17);
        prop_assert_eq!(read.ssrcs().collect::<Vec<_>>(), ssrcs);
    }

    #[test]
    fn names_and_goodbyes_read_back(
        ssrc in any::<u32>(),
        cname in vec(any::<u8>(), 0..=255),
        leaving in vec(any::<u32>(), 0..=31),
    ) {
        let mut out = [0; 300];
        let len = write_sdes_cname(&mut out, ssrc, &cname).expect("room");
        let Packet::Sdes(sdes) = only(&out[..len]) else { panic!("not a source description") };
        prop_assert_eq!(sdes.cnames().collect::<Vec<_>>(), [(ssrc, &cname[..])]);

        let len = write_bye(&mut out, &leaving).expect("room");
        let Packet::Bye(bye) = only(&out[..len]) else { panic!("not a goodbye") };
        prop_assert_eq!(bye.ssrcs().collect::<Vec<_>>(), leaving);
        prop_assert_eq!(bye.reason(), b"");
    }

    /// Every arrival is reported once, in as few or many packets as space and gaps ask for, and reads back to
    /// the quantum it was in.
    #[test]
    fn transport_feedback_reads_back(
        base in any::<u16>(),
        start_us in 0..2 * twcc::REFERENCE_WRAP_US,
        gaps in gaps(),
        space in 24..1_200_usize,
    ) {
        let mut at = start_us + 10_000_000_000;
        let arrivals: Vec<Option<u64>> = gaps
            .into_iter()
            .map(|gap| gap.map(|gap| {
                at += gap;
                at.unsigned_abs()
            }))
            .collect();
        let mut reported = 0;
        let mut out = vec![0; space];
        while arrivals[reported..].iter().any(Option::is_some) {
            let base_seq = Seq(base).plus(u16::try_from(reported).expect("few arrivals"));
            let feedback = Feedback {
                sender_ssrc: 1,
                media_ssrc: 2,
                base_seq,
                arrivals_us: &arrivals[reported..],
                feedback_count: 3,
            };
            let written = twcc::write(&mut out, &feedback).expect("room for one status");
            prop_assert!(written.statuses > 0 && written.len <= space);
            let Packet::TransportCc(read) = only(&out[..written.len]) else {
                panic!("not transport-cc")
            };
            prop_assert_eq!((read.base_seq, read.feedback_count), (base_seq, 3));
            let told = &arrivals[reported..reported + written.statuses];
            for ((seq, read_us), (i, told_us)) in read.arrivals().zip((0..).zip(told)) {
                prop_assert_eq!(seq, base_seq.plus(i));
                let on_wire = |us: i64| us.rem_euclid(twcc::REFERENCE_WRAP_US);
                let quantum = told_us.map(|us| on_wire((us / 250 * 250).cast_signed()));
                prop_assert_eq!(read_us.map(on_wire), quantum);
            }
            prop_assert_eq!(usize::from(read.count), written.statuses);
            reported += written.statuses;
        }
    }
}

#[test]
fn keyframe_requests_read_back() {
    let mut out = [0; 20];
    let len = write_pli(&mut out, 1, 2).unwrap();
    let Packet::Pli(pli) = only(&out[..len]) else {
        panic!("not a PLI");
    };
    assert_eq!((pli.sender_ssrc, pli.media_ssrc), (1, 2));
    let entry = FirEntry { ssrc: 2, seq_nr: 9 };
    let len = write_fir(&mut out, 1, entry).unwrap();
    let Packet::Fir(fir) = only(&out[..len]) else {
        panic!("not a FIR");
    };
    assert_eq!(fir.entries().collect::<Vec<_>>(), [entry]);
}

/// A packet that Chromium sent, read field by field.
#[test]
fn a_real_transport_feedback_packet() {
    let bytes = unhex("8fcd000716ca50ceae6572570a74000a053f58bb200ae0000400000000001400");
    let Packet::TransportCc(feedback) = only(&bytes) else {
        panic!("not transport-cc");
    };
    assert_eq!(feedback.base_seq, Seq(0x0A74));
    assert_eq!(feedback.reference_time, 0x05_3F58);
    assert_eq!(feedback.feedback_count, 0xBB);
    let deltas: Vec<_> = feedback
        .packets()
        .map(|(_, delta)| delta.unwrap())
        .collect();
    assert_eq!(deltas, [56_000, 0, 1_000, 0, 0, 0, 0, 0, 5_000, 0]);
}

/// The chunks the draft's own examples would choose: a run stays one chunk, a pattern becomes a vector.
#[test]
fn transport_feedback_chooses_the_short_chunk() {
    let chunks = |arrivals: &[Option<u64>], n: usize| -> Vec<u16> {
        let mut out = [0; 400];
        let feedback = Feedback {
            sender_ssrc: 1,
            media_ssrc: 2,
            base_seq: Seq(0),
            arrivals_us: arrivals,
            feedback_count: 0,
        };
        twcc::write(&mut out, &feedback).unwrap();
        let chunk = |i: usize| u16::from_be_bytes([out[20 + 2 * i], out[21 + 2 * i]]);
        (0..n).map(chunk).collect()
    };
    // 100 small deltas: run of symbol 1.
    let steady: Vec<_> = (0..100).map(|i| Some(i * 1_000)).collect();
    assert_eq!(chunks(&steady, 1), [0x2000 | 100]);
    // Every second packet lost: one-bit vector 10101010101010.
    let halved: Vec<_> = (0..14).map(|i| (i % 2 == 0).then_some(i * 1_000)).collect();
    assert_eq!(chunks(&halved, 1), [0x8000 | 0b10_1010_1010_1010]);
    // A long gap in the middle of seven: two-bit vector with one large delta.
    let gapped: Vec<_> = (0..7)
        .map(|i| Some(i * 1_000 + u64::from(i > 2) * 100_000))
        .collect();
    assert_eq!(chunks(&gapped, 1), [0xC000 | 0b01_01_01_10_01_01_01]);
}

#[test]
fn nothing_received_is_nothing_to_report() {
    let feedback = Feedback {
        sender_ssrc: 1,
        media_ssrc: 2,
        base_seq: Seq(0),
        arrivals_us: &[None, None],
        feedback_count: 0,
    };
    assert_eq!(
        twcc::write(&mut [0; 100], &feedback),
        Err(WriteError::Value)
    );
    assert_eq!(
        nack::write(&mut [0; 100], 1, 2, &[]),
        Err(WriteError::Value)
    );
}

#[test]
fn a_short_buffer_is_refused_at_every_length() {
    let seqs = [Seq(1), Seq(100)];
    for len in 0..40 {
        let mut out = vec![0; len];
        assert_eq!(write_pli(&mut out, 1, 2).is_ok(), len >= 12);
        assert_eq!(
            write_fir(&mut out, 1, FirEntry { ssrc: 2, seq_nr: 0 }).is_ok(),
            len >= 20
        );
        let told = nack::write(&mut out, 1, 2, &seqs).map(|written| written.seqs);
        let space = match len {
            0..16 => Err(WriteError::Space),
            16..20 => Ok(1),
            _ => Ok(2),
        };
        assert_eq!(told, space);
        assert_eq!(
            write_sr(&mut out, &SenderInfo::default(), &[]).is_ok(),
            len >= 28
        );
        assert_eq!(write_sdes_cname(&mut out, 1, b"name").is_ok(), len >= 16);
        assert_eq!(remb::write(&mut out, 1, 30_000, &[5]).is_ok(), len >= 24);
    }
    assert_eq!(write_bye(&mut [0; 200], &[0; 32]), Err(WriteError::Value));
}

/// A whole compound as a sender writes it: report, name, feedback, back to back.
#[test]
fn writers_chain_into_a_compound() {
    let mut out = [0; 200];
    let info = SenderInfo {
        ssrc: 5,
        ..SenderInfo::default()
    };
    let mut len = write_sr(&mut out, &info, &[]).unwrap();
    len += write_sdes_cname(&mut out[len..], 5, b"lectern").unwrap();
    len += write_pli(&mut out[len..], 5, 6).unwrap();
    let packets: Vec<_> = Compound::parse(&out[..len])
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(matches!(
        packets[..],
        [Packet::SenderReport(_), Packet::Sdes(_), Packet::Pli(_)]
    ));
}

/// One entry holds its packet id and the sixteen numbers after it.
#[test]
fn seventeen_lost_packets_are_one_entry() {
    let seqs: Vec<_> = (0..18).map(|i| Seq(65_530).plus(i)).collect();
    let mut out = [0; 40];
    let mut write = |seqs: &[Seq]| nack::write(&mut out, 1, 2, seqs).map(|w| (w.len, w.seqs));
    assert_eq!(write(&seqs[..17]), Ok((16, 17)));
    assert_eq!(write(&seqs), Ok((20, 18)));
    // A number that stands there twice takes nothing and is taken.
    assert_eq!(write(&[Seq(5), Seq(5), Seq(6)]), Ok((16, 3)));
}
