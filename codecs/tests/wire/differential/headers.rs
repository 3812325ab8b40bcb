//! RTP packets: headers, both forms of extensions, padding.

use bytes::Bytes;
use codecs::rtp::view::strip_padding;
use codecs::rtp::{Header, HeaderWriter, RtpView, Seq};
use proptest::collection::vec;
use proptest::prelude::*;
use rtp::header::{Extension, Header as TheirHeader};
use rtp::packet::Packet as TheirPacket;
use webrtc_util::marshal::{Marshal, Unmarshal};

use super::theirs;
use crate::data::{seeded, unhex};

/// The two forms of extension blocks (RFC 8285 sections 4.2 and 4.3), and none.
fn block() -> impl Strategy<Value = (u16, Vec<(u8, Vec<u8>)>)> {
    let short = vec((1..=14_u8, vec(any::<u8>(), 1..=16)), 1..7);
    let long = vec((1..=255_u8, vec(any::<u8>(), 0..=255)), 1..5);
    prop_oneof![
        1 => Just((0, Vec::new())),
        3 => short.prop_map(|elements| (0xBEDE, elements)),
        2 => long.prop_map(|elements| (0x1000, elements)),
    ]
}

fn their_packet() -> impl Strategy<Value = TheirPacket> {
    let fields = any::<(bool, bool, u16, u32, u32)>();
    (
        fields,
        0..128_u8,
        vec(any::<u32>(), 0..=15),
        block(),
        vec(any::<u8>(), 0..300),
    )
        .prop_map(
            |(
                (padding, marker, seq, timestamp, ssrc),
                payload_type,
                csrc,
                (profile, elements),
                payload,
            )| {
                let extensions: Vec<_> = elements
                    .into_iter()
                    .map(|(id, element)| Extension {
                        id,
                        payload: Bytes::from(element),
                    })
                    .collect();
                TheirPacket {
                    header: TheirHeader {
                        version: 2,
                        padding,
                        extension: !extensions.is_empty(),
                        marker,
                        payload_type,
                        sequence_number: seq,
                        timestamp,
                        ssrc,
                        csrc,
                        extension_profile: profile,
                        extensions,
                        extensions_padding: 0,
                    },
                    payload: Bytes::from(payload),
                }
            },
        )
}

proptest! {
    #![proptest_config(seeded(2_000))]

    #[test]
    fn we_read_the_packets_they_write(packet in their_packet()) {
        let bytes = packet.marshal().expect("a well-formed packet");
        let view = RtpView::parse(&bytes).expect("a well-formed packet");
        let header = &packet.header;
        prop_assert_eq!(view.marker(), header.marker);
        prop_assert_eq!(view.has_padding(), header.padding);
        prop_assert_eq!(view.payload_type(), header.payload_type);
        prop_assert_eq!(view.seq(), Seq(header.sequence_number));
        prop_assert_eq!(view.timestamp(), header.timestamp);
        prop_assert_eq!(view.ssrc(), header.ssrc);
        prop_assert_eq!(view.csrcs().collect::<Vec<_>>(), header.csrc.clone());
        let ours: Vec<_> = view.extensions().collect();
        let theirs: Vec<_> = header.extensions.iter().map(|e| (e.id, &e.payload[..])).collect();
        prop_assert_eq!(ours, theirs);
        let payload = strip_padding(view.payload(), view.has_padding()).expect("counted padding");
        prop_assert_eq!(payload, &packet.payload[..]);
    }

    #[test]
    fn they_read_the_packets_we_write(
        fields in any::<(bool, u16, u32, u32)>(),
        payload_type in 0..128_u8,
        (_, elements) in block(),
        payload in vec(any::<u8>(), 0..300),
        padding in 0..=255_u8,
    ) {
        let (marker, seq, timestamp, ssrc) = fields;
        let mut out = vec![0; 2_000];
        let header = Header {
            marker,
            padding: padding > 0,
            payload_type,
            seq: Seq(seq),
            timestamp,
            ssrc,
        };
        let mut writer = HeaderWriter::new(&mut out, &header).expect("room");
        for (id, element) in &elements {
            writer.push(*id, element).expect("room");
        }
        let len = writer.finish().expect("room");
        out.truncate(len);
        out.extend(&payload);
        if padding > 0 {
            out.extend(vec![0; usize::from(padding) - 1]);
            out.push(padding);
        }
        let read = TheirPacket::unmarshal(&mut Bytes::from(out)).expect("a well-formed packet");
        prop_assert_eq!(read.header.marker, marker);
        prop_assert_eq!(read.header.payload_type, payload_type);
        prop_assert_eq!(read.header.sequence_number, seq);
        prop_assert_eq!(read.header.timestamp, timestamp);
        prop_assert_eq!(read.header.ssrc, ssrc);
        let read_elements: Vec<_> =
            read.header.extensions.iter().map(|e| (e.id, e.payload.to_vec())).collect();
        prop_assert_eq!(read_elements, elements);
        prop_assert_eq!(&read.payload[..], &payload[..]);
    }
}

/// Where the two differ, with what the RFC says. Each is a packet of theirs that we read otherwise.
#[test]
fn where_headers_are_read_differently() {
    let read = |hex: &str| {
        let bytes = Bytes::from(unhex(hex));
        theirs(|| TheirPacket::unmarshal(&mut bytes.clone()).ok())
    };
    let ours = |hex: &str| {
        let bytes = unhex(hex);
        RtpView::parse(&bytes).ok().map(|view| {
            let ids: Vec<_> = view.extensions().map(|(id, _)| id).collect();
            let payload = strip_padding(view.payload(), view.has_padding());
            (ids, payload.map(<[u8]>::to_vec).ok())
        })
    };

    // A padding count of zero counts not even itself (RFC 3550 section 5.1): they take it, we drop it.
    let zero_padding = "a060000100000001cafebabe61626300";
    assert_eq!(read(zero_padding).unwrap().unwrap().payload.len(), 4);
    assert_eq!(ours(zero_padding), Some((vec![], None)));

    // Version 1 is another protocol (RFC 3550 section 5.1): they take it, we drop it.
    let version = "4060000100000001cafebabe";
    assert!(read(version).unwrap().is_some());
    assert_eq!(ours(version), None);

    // Id 15 ends the elements, not the block (RFC 8285 section 4.2): they take its rest for payload.
    let stop = "9060000100000001cafebabebede0001f0ffffff70";
    assert_eq!(
        read(stop).unwrap().unwrap().payload[..],
        [0xFF, 0xFF, 0xFF, 0x70]
    );
    assert_eq!(ours(stop), Some((vec![], Some(vec![0x70]))));

    // Id 0 with a length ends the elements (RFC 8285 section 4.2): they list it.
    let null = "9060000100000001cafebabebede00010300000070";
    assert!(!matches!(read(null), Ok(Some(packet)) if packet.header.extensions.is_empty()));
    assert_eq!(ours(null), Some((vec![], Some(vec![0x70]))));

    // The low four bits of the two-byte profile are the application's (RFC 8285 section 4.3): they see an
    // unknown profile and one opaque element of id 0.
    let appbits = "9060000100000001cafebabe100500010501aa0070";
    assert_eq!(read(appbits).unwrap().unwrap().header.extensions[0].id, 0);
    assert_eq!(ours(appbits), Some((vec![5], Some(vec![0x70]))));

    // An element that runs past its block: they panic, we ignore it.
    for hex in [
        "9060000100000001cafebabebede00011f000000",
        "9060000100000001cafebabe1000000100001a70",
    ] {
        assert!(read(hex).is_err());
        assert_eq!(ours(hex), Some((vec![], Some(vec![]))));
    }
}
