//! Rows R1 to R3: packets that authenticate and lie in their padding, their header extensions, or their
//! payload descriptors.

use std::collections::{BTreeMap, BTreeSet};

use dataplane_api::media::CodecId;
use dataplane_engine::limits::PADDING_BYTES_MAX;
use dataplane_engine::reason::DropReason;

use crate::attacker::{Random, Rtp};
use crate::hall::{Hall, PeerId};
use crate::payloads::{self, Stamp, VIDEO_CODECS};
use crate::vectors::{self, Input};

/// The tag, and the two bytes of RFC 4588.
const TAG_BYTES: usize = 16;
const RTX_BYTES: usize = 2;

/// A hostile publisher, a viewer that sees it already, and an honest pair in another room.
struct Stage {
    hall: Hall,
    hostile: PeerId,
    viewer: PeerId,
    honest: PeerId,
    witness: PeerId,
    /// The hostile publisher's next SRTP index.
    index: u64,
}

impl Stage {
    fn new(codec: CodecId, opaque: bool) -> Stage {
        let mut hall = Hall::new();
        let hostile = hall.join(1, None);
        hall.publish_as(hostile, codec, 1, opaque);
        let viewer = hall.join_viewer(1, hostile);
        let honest = hall.join_publisher(2, CodecId::VP8, 1);
        let witness = hall.join_viewer(2, honest);
        hall.send_frame(hostile, true);
        hall.send_frame(honest, true);
        hall.advance_ms(5);
        assert_eq!(hall.peers[viewer].received.media.len(), 1, "{codec:?}");
        let index = hall.peers[hostile].layers[0].index;
        Stage {
            hall,
            hostile,
            viewer,
            honest,
            witness,
            index,
        }
    }

    /// The hostile publisher seals and sends a packet whose SSRC is that of its track. The lengths of what the
    /// viewer got for it.
    fn send(&mut self, packet: &[u8]) -> Vec<usize> {
        let ssrc = self.hall.peers[self.hostile].layers[0].ssrc;
        let mut packet = packet.to_vec();
        if packet.len() >= 12 {
            packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        }
        let before = self.hall.peers[self.viewer].received.media.len();
        if packet.len() >= 4 {
            packet = self
                .hall
                .seal(self.hostile, self.index, &pad_to(&packet, 12));
            self.index += 1;
        }
        self.hall.deliver_from(self.hostile, &packet);
        self.hall.advance_ms(3);
        if self.index.is_multiple_of(1_000) {
            // Nobody is to be forgotten over a long story.
            (0..self.hall.peers.len()).for_each(|peer| self.hall.check(peer));
        }
        let received = &self.hall.peers[self.viewer].received.media[before..];
        received.iter().map(|media| media.wire_len).collect()
    }

    /// The hostile stream still flows when it is well-formed, and nobody else missed anything.
    fn assert_alive(&mut self) {
        self.hall.peers[self.hostile].layers[0].index = self.index;
        self.hall.send_frame(self.hostile, true);
        self.hall.send_frame(self.honest, false);
        self.hall.advance_ms(5);
        self.index += 1;
        let last = self.hall.peers[self.viewer].received.media.last().unwrap();
        let number = self.hall.peers[self.hostile].layers[0].number - 1;
        assert_eq!(last.stamp.unwrap().number, number);
        let honest = &self.hall.peers[self.honest];
        let seen = self.hall.peers[self.witness]
            .received
            .numbers_of(honest.stamp());
        assert_eq!(seen, (0..honest.layers[0].number).collect::<Vec<_>>());
    }
}

/// A cut header is sealed as if zeros followed: there is no shorter packet to authenticate.
fn pad_to(packet: &[u8], len: usize) -> Vec<u8> {
    let mut padded = packet.to_vec();
    padded.resize(packet.len().max(len), 0);
    padded
}

fn padded(hall: &Hall, hostile: PeerId, payload: &[u8]) -> Vec<u8> {
    let header = Rtp {
        marker: true,
        padding: true,
        payload_type: 96,
        seq: 0,
        timestamp: 77,
        ssrc: hall.peers[hostile].layers[0].ssrc,
    };
    header.packet(payload)
}

#[test]
fn r1_padding_beyond_the_payload_is_not_forwarded() {
    let mut stage = Stage::new(CodecId::VP8, false);
    let vectors: Vec<Input> = vectors::rtp_edge()
        .into_iter()
        .filter(|input| input.name.starts_with("P=1"))
        .collect();
    assert_eq!(vectors.len(), 5);
    for input in &vectors {
        assert!(stage.send(&input.bytes).is_empty(), "{}", input.name);
    }
    // Every payload length against every count that is wrong: zero, or beyond the payload.
    let mut wrong = 0;
    for len in 1..=40u8 {
        for count in std::iter::once(0).chain(len + 1..=255) {
            let mut payload = vec![0x10; len.into()];
            *payload.last_mut().unwrap() = count;
            let packet = padded(&stage.hall, stage.hostile, &payload);
            assert!(stage.send(&packet).is_empty(), "{count} of {len}");
            wrong += 1;
        }
    }
    // And what is padding throughout: acknowledged, never forwarded.
    for len in 1..=255u8 {
        let packet = padded(&stage.hall, stage.hostile, &vec![len; len.into()]);
        assert!(stage.send(&packet).is_empty(), "{len}");
    }
    eprintln!(
        "{wrong} wrong paddings, {} vectors, 255 of padding alone: 0 forwarded",
        vectors.len()
    );
    assert!(stage.hall.dropped(DropReason::RtpMalformed) >= wrong);
    assert!(stage.hall.dropped(DropReason::PaddingOnly) >= 255);
    // The padding that is right is stripped and the rest forwarded.
    let mut payload = payloads::frame(
        CodecId::VP8,
        true,
        60,
        Stamp {
            publisher: 0,
            number: 4,
        },
    );
    payload.extend([0, 0, 3]);
    let packet = padded(&stage.hall, stage.hostile, &payload);
    assert_eq!(stage.send(&packet).len(), 1);
    stage.assert_alive();
}

#[test]
fn r2_hostile_extensions_never_grow_a_packet() {
    let inputs = vectors::rtp();
    let mut forwarded = 0;
    let mut worst = 0;
    let mut stage = Stage::new(CodecId::VP8, false);
    let mut random = Random(22);
    let mut judge = |stage: &mut Stage, name: &str, packet: &[u8]| {
        let lengths = stage.send(packet);
        assert!(lengths.len() <= 1, "{name}: one packet became {lengths:?}");
        for len in lengths {
            let bound = packet.len() + TAG_BYTES + RTX_BYTES + PADDING_BYTES_MAX;
            forwarded += 1;
            worst = worst.max(len.saturating_sub(packet.len()));
            assert!(len <= bound, "{name}: {} became {len}", packet.len());
        }
    };
    let mut sent = 0u64;
    for input in inputs.iter().filter(|input| input.bytes.len() <= 1_500) {
        judge(&mut stage, &input.name, &input.bytes);
        // With the payload of a frame behind it, so that its extensions are what decides.
        let mut framed = input.bytes.clone();
        framed.extend(payloads::frame(
            CodecId::VP8,
            sent.is_multiple_of(2),
            100,
            Stamp {
                publisher: 0,
                number: sent,
            },
        ));
        judge(&mut stage, &input.name, &framed);
        // And every byte of the header changed, each to eight values.
        for at in (0..framed.len().min(40)).filter(|at| !(2..12).contains(at)) {
            for _ in 0..8 {
                let mut mutated = framed.clone();
                mutated[at] = random.next().to_be_bytes()[0];
                judge(&mut stage, &input.name, &mutated);
                sent += 1;
            }
        }
    }
    eprintln!("{sent} packets, {forwarded} forwarded, none more than {worst} bytes longer");
    assert!(sent > 10_000 && forwarded > 1_000);
    stage.assert_alive();
}

/// Packets of a run are padded to one length, that of the longest: what the node adds to that one's header is all
/// that a run grows by, so no path carries more than the publisher's longest packet and the allowance. The
/// publisher's packets have no header extensions, so that everything is added.
#[test]
fn r2_packets_of_a_run_stay_within_their_allowance() {
    let mut stage = Stage::new(CodecId::VP8, false);
    let mut random = Random(23);
    let ssrc = stage.hall.peers[stage.hostile].layers[0].ssrc;
    let mut input_lens: BTreeMap<u64, usize> = BTreeMap::new();
    let before = stage.hall.peers[stage.viewer].received.media.len();
    for burst in 0..500 {
        let longest = 100 + random.below(1_100);
        let mut of_burst = Vec::new();
        for _ in 0..8 {
            let number = u64::try_from(input_lens.len() + of_burst.len()).unwrap() + 1_000;
            let stamp = Stamp {
                publisher: 0,
                number,
            };
            let shorter = random.below([1, 8, 33, 64][burst % 4]);
            let len = usize::try_from(longest - shorter).unwrap();
            let header = Rtp {
                marker: true,
                padding: false,
                payload_type: 96,
                seq: 0,
                timestamp: u32::try_from(burst).unwrap() * 3_000,
                ssrc,
            };
            let packet = header.packet(&payloads::frame(CodecId::VP8, false, len, stamp));
            of_burst.push((number, packet.len()));
            let mut sealed = stage.hall.seal(stage.hostile, stage.index, &packet);
            stage.index += 1;
            let path = stage.hall.peers[stage.hostile].path;
            stage.hall.deliver(path, &mut sealed);
        }
        let longest = of_burst.iter().map(|(_, len)| *len).max().unwrap();
        input_lens.extend(of_burst.into_iter().map(|(number, _)| (number, longest)));
        stage.hall.advance_ms(33);
    }
    let received = &stage.hall.peers[stage.viewer].received.media[before..];
    assert_eq!(received.len(), input_lens.len());
    let growths = received
        .iter()
        .map(|media| signed(media.wire_len) - signed(input_lens[&media.stamp.unwrap().number]));
    let growths: BTreeSet<i64> = growths.collect();
    let (least, most) = (growths.first().unwrap(), growths.last().unwrap());
    eprintln!(
        "{} packets in runs are {least} to {most} bytes longer than the longest of theirs",
        received.len()
    );
    assert!(most > least, "some were padded");
    assert!(*most <= signed(TAG_BYTES + RTX_BYTES + PADDING_BYTES_MAX));
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap()
}

/// Whether a viewer that waits for a keyframe was shown `payload`.
fn is_taken_for_a_keyframe(hall: &mut Hall, hostile: PeerId, payload: &[u8]) -> bool {
    let viewer = hall.peers.len() - 1;
    // Empty the slot and fill it again: it waits for the first packet of a keyframe.
    let session = hall.peers[viewer].session;
    let order = dataplane_api::command::Unsubscribe {
        session,
        slot: dataplane_api::ids::SlotId(0),
    };
    let order = dataplane_api::command::Command::Unsubscribe(order);
    hall.shard.on_command(hall.now, order);
    hall.watch(viewer, hostile);
    let Hall { peers, .. } = hall;
    let layer = &mut peers[hostile].layers[0];
    let (index, timestamp, ssrc) = (layer.index, layer.timestamp, layer.ssrc);
    layer.index += 1;
    layer.timestamp = layer.timestamp.wrapping_add(3_000);
    let header = Rtp {
        marker: true,
        padding: false,
        payload_type: 96,
        seq: 0,
        timestamp,
        ssrc,
    };
    let before = hall.peers[viewer].received.media.len();
    let mut sealed = hall.seal(hostile, index, &header.packet(payload));
    hall.deliver(hall.peers[hostile].path, &mut sealed);
    hall.advance_ms(3);
    if hall.now.0 % 1_000_000 < 3_000 {
        hall.check(hostile);
        hall.check(viewer);
    }
    hall.peers[viewer].received.media.len() > before
}

fn hostile_track(codec: CodecId) -> (Hall, PeerId) {
    let mut hall = Hall::new();
    let hostile = hall.join_publisher(1, codec, 1);
    hall.join_viewer(1, hostile);
    (hall, hostile)
}

/// The codec a vector's name begins with, and its payload.
fn payload_vectors() -> Vec<(String, Vec<u8>)> {
    let inputs = vectors::rtp_edge().into_iter();
    let of_codecs = inputs.filter(|input| {
        ["VP8 ", "VP9 ", "H264 ", "AV1 ", "Opus "]
            .iter()
            .any(|codec| input.name.starts_with(codec))
            // The descriptor's cases lie in the header extension; R2 sends them.
            && !input.name.starts_with("AV1 DD")
    });
    of_codecs
        .map(|input| (input.name, input.bytes[12..].to_vec()))
        .collect()
}

/// The vectors whose payload does begin a keyframe, however oddly.
const REALLY_KEY: [&str; 3] = [
    // Seven hundred IDR slices of a byte each are IDR slices.
    "H264 STAP-A 700 x 1-byte NALs",
    // A sequence parameter set begins a keyframe, and nobody here decodes what it says.
    "H264 SPS exp-golomb 32+ zeros",
    "H264 SPS pic_width 2^31",
];

#[test]
fn r3_no_lie_is_taken_for_a_keyframe() {
    let vectors = payload_vectors();
    assert!(vectors.len() >= 25, "{}", vectors.len());
    for codec in VIDEO_CODECS {
        let (mut hall, hostile) = hostile_track(codec);
        let name = match codec {
            CodecId::VP8 => "VP8 ",
            CodecId::VP9 => "VP9 ",
            CodecId::H264 => "H264 ",
            CodecId::AV1 => "AV1 ",
            _ => "H265 ",
        };
        let of_codec = vectors.iter().filter(|(of, _)| of.starts_with(name));
        for (of, payload) in of_codec {
            let taken = is_taken_for_a_keyframe(&mut hall, hostile, payload);
            assert_eq!(taken, REALLY_KEY.contains(&&**of), "{of}");
        }
        // Truncations: what is too short to say that it is a keyframe is none.
        let stamp = Stamp {
            publisher: 0,
            number: 0,
        };
        let delta = payloads::frame(codec, false, 40, stamp);
        for len in 0..delta.len() {
            let taken = is_taken_for_a_keyframe(&mut hall, hostile, &delta[..len]);
            assert!(!taken, "{codec:?}: {len} bytes of a delta frame");
        }
        let key = payloads::frame(codec, true, 40, stamp);
        assert!(
            is_taken_for_a_keyframe(&mut hall, hostile, &key),
            "{codec:?}"
        );
        // One byte is the whole header of an H.264 unit, and says that it is an IDR slice.
        let short = is_taken_for_a_keyframe(&mut hall, hostile, &key[..1]);
        assert_eq!(short, codec == CodecId::H264, "{codec:?}");
    }
}

/// A keyframe by the letter of each payload format, as far as a lie can be told from one: written down from
/// the RFCs, apart from the code that it judges, and wider than it where a decoder would be needed.
fn may_be_key(codec: CodecId, payload: &[u8]) -> bool {
    let at = |at: usize| payload.get(at).copied().unwrap_or(0);
    match codec {
        CodecId::VP8 => {
            // RFC 7741 section 4.2: S of partition 0, behind the optional octets; section 4.3: P = 0.
            let mut begin = 1;
            if at(0) & 0x80 != 0 {
                let extended = at(1);
                begin += 1;
                if extended & 0x80 != 0 {
                    begin += if at(2) & 0x80 != 0 { 2 } else { 1 };
                }
                begin += usize::from(extended & 0x40 != 0);
                begin += usize::from(extended & 0x30 != 0);
            }
            at(0) & 0x17 == 0x10 && payload.len() > begin && at(begin) & 1 == 0
        }
        // RFC 9628 section 4.2: not predicted, and it begins a frame.
        CodecId::VP9 => at(0) & 0x48 == 0x08,
        CodecId::H264 => match at(0) & 0x1f {
            5 | 7 => true,
            24 => payload
                .iter()
                .skip(3)
                .any(|head| matches!(head & 0x1f, 5 | 7)),
            28 => at(1) & 0xc0 == 0x80 && matches!(at(1) & 0x1f, 5 | 7),
            _ => false,
        },
        CodecId::H265 => {
            let key = |kind: u8| matches!(kind, 16..=21 | 32 | 33);
            match at(0) >> 1 & 0x3f {
                48 => payload.iter().skip(4).any(|head| key(head >> 1 & 0x3f)),
                49 => at(2) & 0xc0 == 0x80 && key(at(2) & 0x3f),
                kind => key(kind),
            }
        }
        // AV1 RTP specification section 4.4: a new coded video sequence begins with this packet (N, never with
        // Z), or some byte of it is the header of a sequence header (AV1 section 5.3.2: type 1).
        _ => at(0) & 0x88 == 0x08 || payload.iter().skip(1).any(|head| head >> 3 & 0x0f == 1),
    }
}

#[test]
fn r3_no_payload_panics_and_none_is_wrongly_key() {
    const MUTATIONS: usize = 4_000;
    let vectors = payload_vectors();
    let (mut sent, mut key) = (0, 0);
    for codec in VIDEO_CODECS {
        let (mut hall, hostile) = hostile_track(codec);
        let mut random = Random(3 + u64::from(codec.0));
        let mut payloads: Vec<Vec<u8>> =
            vectors.iter().map(|(_, payload)| payload.clone()).collect();
        payloads.retain(|payload| payload.len() <= 1_200);
        for is_key in [true, false] {
            let stamp = Stamp {
                publisher: 0,
                number: 0,
            };
            payloads.push(payloads::frame(codec, is_key, 30, stamp));
        }
        for n in 0..MUTATIONS {
            let mut payload = payloads[n % payloads.len()].clone();
            if n >= payloads.len() && !payload.is_empty() {
                for _ in 0..=random.below(3) {
                    let byte = usize::try_from(random.below(payload.len().min(16) as u64)).unwrap();
                    payload[byte] = random.next().to_be_bytes()[0];
                }
                payload.truncate(1 + usize::try_from(random.below(payload.len() as u64)).unwrap());
            }
            let taken = is_taken_for_a_keyframe(&mut hall, hostile, &payload);
            assert!(
                !taken || may_be_key(codec, &payload),
                "{codec:?} {payload:02x?}"
            );
            sent += 1;
            key += u32::from(taken);
        }
    }
    eprintln!("{sent} payloads, {key} of them shown as keyframes");
    assert!(key > 500);
}

/// A viewer that already sees the stream is forwarded whatever comes behind a keyframe: descriptors of every
/// codec as a track of every other, and of a track that nobody may read.
#[test]
fn r3_descriptors_of_one_codec_as_another_break_at_most_their_own_stream() {
    let vectors = payload_vectors();
    for codec in VIDEO_CODECS {
        for opaque in [false, true] {
            let mut stage = Stage::new(codec, opaque);
            for (_, payload) in vectors.iter().filter(|(_, payload)| payload.len() <= 1_200) {
                for marker in [false, true] {
                    let header = Rtp {
                        marker,
                        padding: false,
                        payload_type: 96,
                        seq: 0,
                        timestamp: 3_000,
                        ssrc: 0,
                    };
                    stage.send(&header.packet(payload));
                }
            }
            stage.assert_alive();
        }
    }
}
