//! RTCP: compounds, and each packet kind written again from what was read (security.md R5, R8).

use codecs::rtcp::pli_fir::{write_fir, write_pli};
use codecs::rtcp::sdes_bye::{write_bye, write_sdes_cname};
use codecs::rtcp::sr_rr::{write_rr, write_sr};
use codecs::rtcp::{Compound, Packet, is_rtcp, nack, remb, twcc};
use codecs::rtp::Seq;

use super::{OCTETS, rtcp_vectors};
use crate::behaviour;
use crate::input::Input;
use crate::runner::Target;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "rtcp_compound",
            run: rtcp_compound,
            seeds: rtcp_vectors,
            // A transport-cc packet lists up to 65,535 numbers of 16 octets in the oracle's vectors.
            allocation_max: Some(4 * 1_024 * 1_024),
            executions: 60_000,
            words: &[
                &[0x80, 200, 0, 6],
                &[0x81, 201, 0, 7],
                &[0x81, 202, 0, 2],
                &[0x81, 203, 0, 1],
                &[0x81, 205, 0, 3],
                &[0x8f, 205, 0, 5],
                &[0x81, 206, 0, 2],
                &[0x84, 206, 0, 4],
                &[0x8f, 206, 0, 5],
                b"REMB",
            ],
            ..OCTETS
        },
        Target {
            name: "twcc",
            run: twcc,
            seeds: || bodies(205, 15),
            allocation_max: Some(4 * 1_024 * 1_024),
            executions: 40_000,
            words: &[&[0x20, 0], &[0x3f, 0xff], &[0xd5, 0x55], &[0x9f, 0xff]],
            ..OCTETS
        },
        Target {
            name: "twcc_write",
            run: twcc_write,
            seeds: || vec![vec![0; 40], (0..=255).collect(), vec![0xff; 100]],
            length_max: 600,
            executions: 40_000,
            ..OCTETS
        },
        Target {
            name: "remb",
            run: remb,
            seeds: || bodies(206, 15),
            length_max: 200,
            executions: 100_000,
            words: &[b"REMB", &[0xff, 0xff, 0xff]],
            ..OCTETS
        },
    ]
}

/// One compound as it comes out of SRTCP.
pub fn rtcp_compound(bytes: &[u8]) {
    if !is_rtcp(bytes) {
        behaviour::note("not rtcp", 0);
    }
    let mut octets = 0;
    for packet in Compound::parse(bytes) {
        match packet {
            Ok(packet) => {
                octets += 4;
                one(&packet, bytes.len());
            }
            Err(error) => behaviour::outcome("error", &error),
        }
    }
    assert!(octets <= bytes.len(), "a packet has four octets at least");
}

/// A transport-cc packet of any content.
pub fn twcc(bytes: &[u8]) {
    rtcp_compound(&framed(205, 15, bytes));
}

/// A REMB of any content.
pub fn remb(bytes: &[u8]) {
    rtcp_compound(&framed(206, 15, bytes));
}

/// Arrival times of any pattern: what is written reads as what was given, to the quarter millisecond.
pub fn twcc_write(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let base_seq = Seq(input.u16());
    let room = 24 + usize::from(input.u16() % 1_400);
    let mut at = u64::from(input.u32()) << (input.u8() % 12);
    let mut arrivals = Vec::new();
    while !input.is_empty() && arrivals.len() < 400 {
        let kind = input.u8();
        let step = match kind % 8 {
            0 => None,
            1 => Some(i64::from(input.u16()) * 250),
            2 => Some(-i64::from(input.u8()) * 250),
            3 => Some(i64::from(input.u32())),
            _ => Some(i64::from(input.u8()) * 13),
        };
        // Runs are what the format is for.
        for _ in 0..=kind >> 5 {
            arrivals.push(step.map(|step| {
                at = at.saturating_add_signed(step);
                at
            }));
        }
    }
    let feedback = twcc::Feedback {
        sender_ssrc: 1,
        media_ssrc: 2,
        base_seq,
        arrivals_us: &arrivals,
        feedback_count: 7,
    };
    let mut out = vec![0; room];
    let written = match twcc::write(&mut out, &feedback) {
        Ok(written) => written,
        Err(error) => return behaviour::outcome("write", &error),
    };
    behaviour::size("statuses", written.statuses);
    behaviour::note("all", u64::from(written.statuses == arrivals.len()));
    assert!(written.len <= room && written.len.is_multiple_of(4));
    assert!((1..=arrivals.len()).contains(&written.statuses));
    let packet = &out[..written.len];
    let mut packets = Compound::parse(packet);
    let Some(Ok(Packet::TransportCc(read))) = packets.next() else {
        panic!("what was written is no transport-cc");
    };
    assert!(packets.next().is_none());
    assert_eq!(
        (read.base_seq, usize::from(read.count)),
        (base_seq, written.statuses)
    );
    for (told, given) in read.arrivals().zip(&arrivals) {
        match (told.1, given) {
            (None, None) => {}
            (Some(told), &Some(given)) => {
                let given = i64::try_from(
                    given % u64::try_from(twcc::REFERENCE_WRAP_US).expect("positive"),
                )
                .expect("below the wrap");
                let off = (told - given).rem_euclid(twcc::REFERENCE_WRAP_US);
                let off = off.min(twcc::REFERENCE_WRAP_US - off);
                assert!(off <= 250, "{told} us for {given} us");
            }
            (told, given) => panic!("{told:?} for {given:?}"),
        }
    }
}

fn one(packet: &Packet<'_>, len: usize) {
    let mut out = vec![0; 2 * len + 1_500];
    match packet {
        Packet::SenderReport(report) => {
            behaviour::note("sr", 0);
            let blocks: Vec<_> = report.blocks().collect();
            behaviour::size("blocks", blocks.len());
            let end = write_sr(&mut out, &report.info, &blocks).expect("it was read");
            let Some(Ok(Packet::SenderReport(again))) = Compound::parse(&out[..end]).next() else {
                panic!("no sender report");
            };
            assert_eq!(again.info, report.info);
            assert!(again.blocks().eq(blocks));
        }
        Packet::ReceiverReport(report) => {
            behaviour::note("rr", 0);
            let blocks: Vec<_> = report.blocks().collect();
            behaviour::size("blocks", blocks.len());
            let end = write_rr(&mut out, report.ssrc, &blocks).expect("it was read");
            let Some(Ok(Packet::ReceiverReport(again))) = Compound::parse(&out[..end]).next()
            else {
                panic!("no receiver report");
            };
            assert_eq!(again.ssrc, report.ssrc);
            assert!(again.blocks().eq(blocks));
        }
        Packet::Sdes(sdes) => {
            behaviour::note("sdes", 0);
            for (ssrc, cname) in sdes.cnames() {
                behaviour::size("cname", cname.len());
                let end = write_sdes_cname(&mut out, ssrc, cname).expect("it was read");
                let Some(Ok(Packet::Sdes(again))) = Compound::parse(&out[..end]).next() else {
                    panic!("no source description");
                };
                assert!(again.cnames().eq([(ssrc, cname)]));
            }
        }
        Packet::Bye(bye) => {
            behaviour::note("bye", 0);
            let ssrcs: Vec<_> = bye.ssrcs().collect();
            assert!(4 * ssrcs.len() + bye.reason().len() <= len);
            let end = write_bye(&mut out, &ssrcs).expect("it was read");
            let Some(Ok(Packet::Bye(again))) = Compound::parse(&out[..end]).next() else {
                panic!("no bye");
            };
            assert!(again.ssrcs().eq(ssrcs));
        }
        Packet::Nack(feedback) => {
            let seqs: Vec<_> = feedback.seqs().collect();
            assert!(seqs.len() * 4 <= len * 17);
            behaviour::size("nack", seqs.len());
            if let Ok(written) =
                nack::write(&mut out, feedback.sender_ssrc, feedback.media_ssrc, &seqs)
            {
                let Some(Ok(Packet::Nack(again))) = Compound::parse(&out[..written.len]).next()
                else {
                    panic!("no nack");
                };
                let again: Vec<_> = again.seqs().collect();
                let told = &seqs[..written.seqs];
                assert!(
                    told.iter().all(|seq| again.contains(seq)),
                    "a number got lost"
                );
                assert!(
                    again.iter().all(|seq| seqs.contains(seq)),
                    "a number appeared"
                );
            }
        }
        Packet::Pli(pli) => {
            behaviour::note("pli", 0);
            let end = write_pli(&mut out, pli.sender_ssrc, pli.media_ssrc).expect("room");
            let again = Compound::parse(&out[..end]).next();
            assert!(matches!(again, Some(Ok(Packet::Pli(again))) if again == *pli));
        }
        Packet::Fir(fir) => {
            let entries: Vec<_> = fir.entries().collect();
            behaviour::size("fir", entries.len());
            assert!(8 * entries.len() <= len);
            for entry in entries {
                let end = write_fir(&mut out, fir.sender_ssrc, entry).expect("room");
                let Some(Ok(Packet::Fir(again))) = Compound::parse(&out[..end]).next() else {
                    panic!("no fir");
                };
                assert!(again.entries().eq([entry]));
            }
        }
        Packet::TransportCc(feedback) => {
            let packets = feedback.packets().count();
            assert_eq!(packets, usize::from(feedback.count));
            let received = feedback.arrivals().filter(|(_, at)| at.is_some()).count();
            assert!(received <= len, "a received packet takes an octet of delta");
            behaviour::size("statuses", packets);
            behaviour::size("received", received);
        }
        Packet::Remb(estimate) => {
            let ssrcs: Vec<_> = estimate.ssrcs().collect();
            assert!(4 * ssrcs.len() <= len);
            behaviour::size("remb", ssrcs.len());
            behaviour::note("rate", u64::from(estimate.bitrate_bps.leading_zeros()));
            let end = remb::write(&mut out, estimate.sender_ssrc, estimate.bitrate_bps, &ssrcs)
                .expect("it was read");
            let Some(Ok(Packet::Remb(again))) = Compound::parse(&out[..end]).next() else {
                panic!("no remb");
            };
            assert!(again.ssrcs().eq(ssrcs));
            // Eighteen bits of it are told, the rest is rounded down.
            let (told, wanted) = (again.bitrate_bps, estimate.bitrate_bps);
            assert!(
                told <= wanted && wanted - told <= wanted >> 17,
                "{told} for {wanted}"
            );
        }
        Packet::Unknown(unknown) => {
            behaviour::note("unknown", u64::from(unknown.packet_type));
            assert!(unknown.body.len() + 4 <= len);
        }
    }
}

/// A packet of a type and format whose body is as given, padded to words.
fn framed(packet_type: u8, format: u8, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let words = u16::try_from(body.len() / 4).expect("invariant: a short input");
    let mut packet = vec![0x80 | format, packet_type];
    packet.extend(words.to_be_bytes());
    packet.extend(body);
    packet
}

/// The bodies of the vectors' packets of a type, and one of nothing.
fn bodies(packet_type: u8, format: u8) -> Vec<Vec<u8>> {
    let of_type = |packet: &Vec<u8>| matches!(packet.as_slice(), [first, found, ..] if first & 0x1f == format && *found == packet_type);
    let packets = rtcp_vectors().into_iter().filter(of_type);
    let mut bodies: Vec<Vec<u8>> = packets
        .filter_map(|packet| packet.get(4..).map(<[u8]>::to_vec))
        .collect();
    bodies.push(vec![0; 16]);
    bodies
}
