//! Every RTCP packet, both ways.

use bytes::Bytes;
use codecs::rtcp::twcc::Feedback;
use codecs::rtcp::{
    Compound, FirEntry, Packet, ReportBlock, SenderInfo, nack, pli_fir, remb, sdes_bye, sr_rr, twcc,
};
use codecs::rtp::Seq;
use proptest::collection::vec;
use proptest::prelude::*;
use rtcp::goodbye::Goodbye;
use rtcp::packet::{Packet as TheirPacket, unmarshal};
use rtcp::payload_feedbacks::full_intra_request::{FirEntry as TheirFirEntry, FullIntraRequest};
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk,
    SymbolSizeTypeTcc, SymbolTypeTcc, TransportLayerCc,
};
use rtcp::transport_feedbacks::transport_layer_nack::{
    NackPair, TransportLayerNack, nack_pairs_from_sequence_numbers,
};

use super::theirs;
use crate::data::{seeded, unhex};

fn write(packet: &dyn TheirPacket) -> Bytes {
    packet.marshal().expect("a well-formed packet")
}

/// What they read of the one packet that we wrote.
fn they_read<T: Clone + 'static>(bytes: &[u8]) -> T {
    let all = unmarshal(&mut Bytes::copy_from_slice(bytes)).expect("a well-formed packet");
    assert_eq!(all.len(), 1);
    let packet = all[0].as_any().downcast_ref::<T>();
    packet.expect("the packet that was written").clone()
}

fn we_read(bytes: &[u8]) -> Packet<'_> {
    let mut compound = Compound::parse(bytes);
    let packet = compound.next().expect("a packet").expect("well-formed");
    assert!(compound.next().is_none());
    packet
}

fn blocks() -> impl Strategy<Value = Vec<ReportBlock>> {
    let block = (any::<[u32; 5]>(), any::<u8>(), -0x80_0000..0x80_0000_i32);
    let block = block.prop_map(
        |([ssrc, seq, jitter, last_sr, delay], fraction_lost, lost)| ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost: lost,
            highest_seq: seq,
            jitter,
            last_sr,
            delay_since_last_sr: delay,
        },
    );
    vec(block, 0..=31)
}

/// Cumulative loss is signed (RFC 3550 section 6.4.1); they keep its 24 bits as they are.
fn their_block(block: &ReportBlock) -> ReceptionReport {
    ReceptionReport {
        ssrc: block.ssrc,
        fraction_lost: block.fraction_lost,
        total_lost: block.cumulative_lost.cast_unsigned() & 0xFF_FFFF,
        last_sequence_number: block.highest_seq,
        jitter: block.jitter,
        last_sender_report: block.last_sr,
        delay: block.delay_since_last_sr,
    }
}

proptest! {
    #![proptest_config(seeded(1_000))]

    #[test]
    fn sender_and_receiver_reports(fields in any::<(u32, u64, u32, u32, u32)>(), blocks in blocks()) {
        let (ssrc, ntp, rtp_timestamp, packet_count, octet_count) = fields;
        let info = SenderInfo { ssrc, ntp, rtp_timestamp, packet_count, octet_count };
        let their_sr = SenderReport {
            ssrc,
            ntp_time: ntp,
            rtp_time: rtp_timestamp,
            packet_count,
            octet_count,
            reports: blocks.iter().map(their_block).collect(),
            profile_extensions: Bytes::new(),
        };
        let bytes = write(&their_sr);
        let Packet::SenderReport(read) = we_read(&bytes) else { panic!("not a sender report") };
        prop_assert_eq!(read.info, info);
        prop_assert_eq!(read.blocks().collect::<Vec<_>>(), blocks.clone());

        let mut out = [0; 1_000];
        let len = sr_rr::write_sr(&mut out, &info, &blocks).expect("room");
        prop_assert_eq!(&out[..len], &bytes[..]);
        prop_assert_eq!(they_read::<SenderReport>(&out[..len]), their_sr);

        let their_rr = ReceiverReport {
            ssrc,
            reports: blocks.iter().map(their_block).collect(),
            profile_extensions: Bytes::new(),
        };
        let bytes = write(&their_rr);
        let Packet::ReceiverReport(read) = we_read(&bytes) else { panic!("not a receiver report") };
        prop_assert_eq!(read.ssrc, ssrc);
        prop_assert_eq!(read.blocks().collect::<Vec<_>>(), blocks.clone());
        let len = sr_rr::write_rr(&mut out, ssrc, &blocks).expect("room");
        prop_assert_eq!(&out[..len], &bytes[..]);
        prop_assert_eq!(they_read::<ReceiverReport>(&out[..len]), their_rr);
    }

    /// Chunks of several items: ours is the CNAME among them.
    #[test]
    fn source_descriptions(
        chunks in vec((any::<u32>(), vec(any::<u8>(), 1..=255), vec(any::<u8>(), 0..40)), 1..5),
    ) {
        let item = |sdes_type, text: &[u8]| SourceDescriptionItem {
            sdes_type,
            text: Bytes::copy_from_slice(text),
        };
        let description = SourceDescription {
            chunks: chunks
                .iter()
                .map(|(source, cname, tool)| SourceDescriptionChunk {
                    source: *source,
                    items: vec![
                        item(SdesType::SdesTool, tool),
                        item(SdesType::SdesCname, cname),
                        item(SdesType::SdesNote, b"note"),
                    ],
                })
                .collect(),
        };
        let bytes = write(&description);
        let Packet::Sdes(read) = we_read(&bytes) else { panic!("not a source description") };
        let names: Vec<_> = chunks.iter().map(|(ssrc, cname, _)| (*ssrc, &cname[..])).collect();
        prop_assert_eq!(read.cnames().collect::<Vec<_>>(), names);

        let (ssrc, cname, _) = &chunks[0];
        let mut out = [0; 400];
        let len = sdes_bye::write_sdes_cname(&mut out, *ssrc, cname).expect("room");
        let read = they_read::<SourceDescription>(&out[..len]);
        prop_assert_eq!(read.chunks.len(), 1);
        prop_assert_eq!(read.chunks[0].source, *ssrc);
        prop_assert_eq!(&read.chunks[0].items, &vec![item(SdesType::SdesCname, cname)]);
    }

    #[test]
    fn goodbyes(sources in vec(any::<u32>(), 0..=31), reason in vec(any::<u8>(), 0..=255)) {
        let goodbye = Goodbye { sources: sources.clone(), reason: Bytes::from(reason.clone()) };
        let bytes = write(&goodbye);
        let Packet::Bye(read) = we_read(&bytes) else { panic!("not a goodbye") };
        prop_assert_eq!(read.ssrcs().collect::<Vec<_>>(), sources.clone());
        prop_assert_eq!(read.reason(), &reason[..]);

        let mut out = [0; 200];
        let len = sdes_bye::write_bye(&mut out, &sources).expect("room");
        let read = they_read::<Goodbye>(&out[..len]);
        prop_assert_eq!(read.sources, sources);
        prop_assert!(read.reason.is_empty());
    }

    #[test]
    fn nacks(
        ssrcs in any::<(u32, u32)>(),
        pairs in vec(any::<(u16, u16)>(), 0..60),
        first in any::<u16>(),
        gaps in vec(prop_oneof![8 => 1..4_u16, 1 => 1..200_u16], 0..60),
    ) {
        let (sender_ssrc, media_ssrc) = ssrcs;
        let nacks: Vec<_> = pairs
            .iter()
            .map(|(packet_id, lost_packets)| NackPair {
                packet_id: *packet_id,
                lost_packets: *lost_packets,
            })
            .collect();
        let listed: Vec<_> = nacks.iter().flat_map(|pair| pair.packet_list()).map(Seq).collect();
        let bytes = write(&TransportLayerNack { sender_ssrc, media_ssrc, nacks });
        let Packet::Nack(read) = we_read(&bytes) else { panic!("not a NACK") };
        prop_assert_eq!((read.sender_ssrc, read.media_ssrc), ssrcs);
        prop_assert_eq!(read.seqs().collect::<Vec<_>>(), listed);

        let mut seqs = vec![first];
        for gap in gaps {
            seqs.push(seqs[seqs.len() - 1].wrapping_add(gap));
        }
        let mut out = [0; 400];
        let ours: Vec<_> = seqs.iter().copied().map(Seq).collect();
        let written = nack::write(&mut out, sender_ssrc, media_ssrc, &ours).expect("room");
        prop_assert_eq!(written.seqs, seqs.len());
        let read = they_read::<TransportLayerNack>(&out[..written.len]);
        let listed: Vec<_> = read.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
        prop_assert_eq!(listed, seqs.clone());
        // Their packer never joins numbers over the wrap; ours needs no more entries than it.
        prop_assert!(read.nacks.len() <= nack_pairs_from_sequence_numbers(&seqs).len());
    }

    #[test]
    fn keyframe_requests(ssrcs in any::<(u32, u32)>(), entries in vec(any::<(u32, u8)>(), 0..30)) {
        let (sender_ssrc, media_ssrc) = ssrcs;
        let pli = PictureLossIndication { sender_ssrc, media_ssrc };
        let bytes = write(&pli);
        let Packet::Pli(read) = we_read(&bytes) else { panic!("not a PLI") };
        prop_assert_eq!((read.sender_ssrc, read.media_ssrc), ssrcs);
        let mut out = [0; 20];
        let len = pli_fir::write_pli(&mut out, sender_ssrc, media_ssrc).expect("room");
        prop_assert_eq!(&out[..len], &bytes[..]);
        prop_assert_eq!(they_read::<PictureLossIndication>(&out[..len]), pli);

        let fir = FullIntraRequest {
            sender_ssrc,
            media_ssrc,
            fir: entries
                .iter()
                .map(|(ssrc, sequence_number)| TheirFirEntry {
                    ssrc: *ssrc,
                    sequence_number: *sequence_number,
                })
                .collect(),
        };
        let bytes = write(&fir);
        let Packet::Fir(read) = we_read(&bytes) else { panic!("not a FIR") };
        prop_assert_eq!(read.sender_ssrc, sender_ssrc);
        let listed: Vec<_> = read.entries().map(|entry| (entry.ssrc, entry.seq_nr)).collect();
        prop_assert_eq!(listed, entries.clone());
        let entry = FirEntry { ssrc: media_ssrc, seq_nr: 7 };
        let len = pli_fir::write_fir(&mut out, sender_ssrc, entry).expect("room");
        let read = they_read::<FullIntraRequest>(&out[..len]);
        prop_assert_eq!((read.sender_ssrc, read.media_ssrc), (sender_ssrc, 0));
        prop_assert_eq!(read.fir, vec![TheirFirEntry { ssrc: media_ssrc, sequence_number: 7 }]);
    }

    /// They keep the estimate as `f32`, in which eighteen bits are exact.
    #[test]
    fn estimates(
        sender_ssrc in any::<u32>(),
        mantissa in 1..1_u64 << 18,
        exponent in 0..=45_u32,
        ssrcs in vec(any::<u32>(), 0..20),
    ) {
        let bitrate = mantissa << exponent;
        let remb = ReceiverEstimatedMaximumBitrate {
            sender_ssrc,
            bitrate: bitrate as f32,
            ssrcs: ssrcs.clone(),
        };
        let bytes = write(&remb);
        let Packet::Remb(read) = we_read(&bytes) else { panic!("not a REMB") };
        prop_assert_eq!((read.sender_ssrc, read.bitrate_bps), (sender_ssrc, bitrate));
        prop_assert_eq!(read.ssrcs().collect::<Vec<_>>(), ssrcs.clone());
        let mut out = [0; 200];
        let len = remb::write(&mut out, sender_ssrc, bitrate, &ssrcs).expect("room");
        prop_assert_eq!(&out[..len], &bytes[..]);
        prop_assert_eq!(they_read::<ReceiverEstimatedMaximumBitrate>(&out[..len]), remb);
    }

    #[test]
    fn we_read_the_transport_feedback_they_write(
        fields in any::<(u32, u32, u16, u8)>(),
        reference_time in 0..1_u32 << 24,
        chunks in vec(chunk(), 1..12),
        deltas in vec(any::<i16>(), 1..50),
    ) {
        let (sender_ssrc, media_ssrc, base_sequence_number, fb_pkt_count) = fields;
        let symbols: Vec<_> = chunks.iter().flat_map(symbols).collect();
        let mut deltas = deltas.into_iter().cycle();
        let recv_deltas: Vec<_> = symbols
            .iter()
            .filter(|symbol| **symbol != SymbolTypeTcc::PacketNotReceived)
            .map(|symbol| {
                let units = i64::from(deltas.next().expect("a cycle"));
                let is_small = *symbol == SymbolTypeTcc::PacketReceivedSmallDelta;
                let units = if is_small { units & 0xFF } else { units };
                RecvDelta { type_tcc_packet: *symbol, delta: units * 250 }
            })
            .collect();
        let feedback = TransportLayerCc {
            sender_ssrc,
            media_ssrc,
            base_sequence_number,
            packet_status_count: u16::try_from(symbols.len()).expect("few"),
            reference_time,
            fb_pkt_count,
            packet_chunks: chunks,
            recv_deltas: recv_deltas.clone(),
        };
        let bytes = write(&feedback);
        let Packet::TransportCc(read) = we_read(&bytes) else { panic!("not transport-cc") };
        prop_assert_eq!((read.sender_ssrc, read.media_ssrc), (sender_ssrc, media_ssrc));
        prop_assert_eq!(read.base_seq, Seq(base_sequence_number));
        // The reference time is signed; they keep its 24 bits as they are.
        prop_assert_eq!(read.reference_time.cast_unsigned() & 0xFF_FFFF, reference_time);
        prop_assert_eq!(read.feedback_count, fb_pkt_count);
        let mut told = recv_deltas.iter().map(|delta| i32::try_from(delta.delta).expect("small"));
        let mut seq = Seq(base_sequence_number);
        let mut count = 0;
        for (symbol, (read_seq, delta)) in symbols.iter().zip(read.packets()) {
            prop_assert_eq!(read_seq, seq);
            let received = *symbol != SymbolTypeTcc::PacketNotReceived;
            let wanted = received.then(|| told.next()).flatten();
            prop_assert_eq!(delta, wanted);
            seq = seq.plus(1);
            count += 1;
        }
        prop_assert_eq!((count, read.packets().count()), (symbols.len(), symbols.len()));
    }

    #[test]
    fn they_read_the_transport_feedback_we_write(
        base in any::<u16>(),
        gaps in vec(prop_oneof![
            6 => (0..30_000_u64).prop_map(Some),
            2 => Just(None),
            1 => (60_000..4_000_000_u64).prop_map(Some),
        ], 1..200),
    ) {
        let mut at = 77_000_000_u64;
        let arrivals: Vec<_> = gaps
            .into_iter()
            .map(|gap| gap.map(|gap| { at += gap; at }))
            .collect();
        prop_assume!(arrivals.iter().any(Option::is_some));
        let mut out = [0; 1_200];
        let feedback = Feedback {
            sender_ssrc: 1,
            media_ssrc: 2,
            base_seq: Seq(base),
            arrivals_us: &arrivals,
            feedback_count: 3,
        };
        let written = twcc::write(&mut out, &feedback).expect("room");
        let read = they_read::<TransportLayerCc>(&out[..written.len]);
        let Packet::TransportCc(ours) = we_read(&out[..written.len]) else { panic!("not transport-cc") };
        prop_assert_eq!(usize::from(read.packet_status_count), written.statuses);
        let their_symbols = read.packet_chunks.iter().flat_map(symbols).take(written.statuses);
        let mut deltas = read.recv_deltas.iter().map(|delta| delta.delta);
        let read: Vec<_> = their_symbols
            .map(|symbol| {
                let received = symbol != SymbolTypeTcc::PacketNotReceived;
                received.then(|| deltas.next()).flatten()
            })
            .collect();
        let ours: Vec<_> = ours.packets().map(|(_, delta)| delta.map(i64::from)).collect();
        prop_assert_eq!(read, ours);
    }
}

fn symbols(chunk: &PacketStatusChunk) -> Vec<SymbolTypeTcc> {
    match chunk {
        PacketStatusChunk::RunLengthChunk(run) => {
            vec![run.packet_status_symbol; usize::from(run.run_length)]
        }
        PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
    }
}

fn chunk() -> impl Strategy<Value = PacketStatusChunk> {
    let symbol = prop_oneof![
        Just(SymbolTypeTcc::PacketNotReceived),
        Just(SymbolTypeTcc::PacketReceivedSmallDelta),
        Just(SymbolTypeTcc::PacketReceivedLargeDelta),
    ];
    let run = (symbol.clone(), 1..40_u16).prop_map(|(packet_status_symbol, run_length)| {
        PacketStatusChunk::RunLengthChunk(RunLengthChunk {
            type_tcc: StatusChunkTypeTcc::RunLengthChunk,
            packet_status_symbol,
            run_length,
        })
    });
    let one_bit = vec(any::<bool>(), 14).prop_map(|bits| {
        let symbol_list = bits
            .into_iter()
            .map(|bit| SymbolTypeTcc::from(u16::from(bit)))
            .collect();
        PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
            type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
            symbol_size: SymbolSizeTypeTcc::OneBit,
            symbol_list,
        })
    });
    let two_bits = vec(symbol, 7).prop_map(|symbol_list| {
        PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
            type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
            symbol_size: SymbolSizeTypeTcc::TwoBit,
            symbol_list,
        })
    });
    prop_oneof![run, one_bit, two_bits]
}

/// A compound of theirs is the packets of ours, in order.
#[test]
fn compounds_are_read_in_order() {
    let report: Box<dyn TheirPacket + Send + Sync> = Box::new(ReceiverReport {
        ssrc: 1,
        ..ReceiverReport::default()
    });
    let pli: Box<dyn TheirPacket + Send + Sync> = Box::new(PictureLossIndication {
        sender_ssrc: 1,
        media_ssrc: 2,
    });
    let bytes = rtcp::packet::marshal(&[report, pli]).expect("well-formed");
    let all: Vec<_> = Compound::parse(&bytes).map(Result::unwrap).collect();
    assert!(matches!(
        all[..],
        [Packet::ReceiverReport(_), Packet::Pli(_)]
    ));
}

/// Where the two differ, with what the RFC says.
#[test]
fn where_reports_are_read_differently() {
    let read = |hex: &str| {
        let bytes = Bytes::from(unhex(hex));
        theirs(|| unmarshal(&mut bytes.clone()).ok())
    };
    let ours = |hex: &str| {
        let bytes = unhex(hex);
        let all: Result<Vec<_>, _> = Compound::parse(&bytes)
            .map(|packet| packet.map(|_| ()))
            .collect();
        all.map(|all| all.len()).ok()
    };

    // An estimate of nothing: without a bit in the mantissa the product is 0, whatever the exponent. Theirs
    // becomes 2^23.
    let nothing = "8fce0005cafebabe0000000052454d4201000000cafebabe";
    let all = read(nothing).unwrap().unwrap();
    let remb = all[0]
        .as_any()
        .downcast_ref::<ReceiverEstimatedMaximumBitrate>()
        .unwrap();
    assert_eq!(remb.bitrate.to_bits(), 8_388_608_f32.to_bits());
    let bytes = unhex(nothing);
    assert!(matches!(we_read(&bytes), Packet::Remb(read) if read.bitrate_bps == 0));

    // Padding belongs to the last packet of a compound (RFC 3550 section 6.4.1): they read on.
    let padded_first = "a0c90002cafebabe0000000480c90001cafebabe";
    assert_eq!(read(padded_first).unwrap().map(|all| all.len()), Some(2));
    assert_eq!(ours(padded_first), None);

    // A reserved status symbol says nothing about a delta (draft-holmer section 3.1.1): they read on without
    // one, we cannot know where the deltas of the others are.
    let reserved = "8fcd000516ca50ceae6572570a740001053f58bb60010000";
    assert!(read(reserved).unwrap().is_some());
    assert_eq!(ours(reserved), None);

    // Numbers over the wrap fit one entry (RFC 4585 section 6.2.1): their packer begins another.
    assert_eq!(nack_pairs_from_sequence_numbers(&[65_535, 0]).len(), 2);
    let mut out = [0; 20];
    let written = nack::write(&mut out, 1, 2, &[Seq(65_535), Seq(0)]).unwrap();
    assert_eq!((written.len, written.seqs), (16, 2));

    // Lists shorter than their counts: they panic, we refuse.
    for hex in [
        "84ce0003cafebabe00000000cafebabe",
        "8fce0004cafebabe0000000052454d42ff000000",
        "81cd000130303030",
        "a4ce000130303030",
    ] {
        assert!(read(hex).is_err(), "{hex}");
        assert_eq!(ours(hex), None, "{hex}");
    }
}
