//! What the header writer writes, the view reads.

use codecs::rtp::write::{set_padding, set_payload_type, set_seq, set_ssrc, set_timestamp};
use codecs::rtp::{Header, HeaderWriter, RtpView, Seq, extension_range};
use proptest::prelude::*;

use crate::data::seeded;

fn header() -> impl Strategy<Value = Header> {
    (
        any::<[bool; 2]>(),
        0..128_u8,
        any::<u16>(),
        any::<u32>(),
        any::<u32>(),
    )
        .prop_map(
            |([marker, padding], payload_type, seq, timestamp, ssrc)| Header {
                marker,
                padding,
                payload_type,
                seq: Seq(seq),
                timestamp,
                ssrc,
            },
        )
}

/// Elements that mostly fit the one-byte form, so that both forms and the change between them occur.
fn element() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let short = (1..=14_u8, proptest::collection::vec(any::<u8>(), 1..=16));
    let any_size = (1..=255_u8, proptest::collection::vec(any::<u8>(), 0..=40));
    prop_oneof![9 => short, 1 => any_size]
}

proptest! {
    #![proptest_config(seeded(2_000))]

    #[test]
    fn a_written_header_reads_back(
        header in header(),
        elements in proptest::collection::vec(element(), 0..8),
        payload in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut out = vec![0xEE; 600];
        let mut writer = HeaderWriter::new(&mut out, &header).expect("room");
        for (id, element) in &elements {
            writer.push(*id, element).expect("room");
        }
        let len = writer.finish().expect("room");
        prop_assert_eq!(len % 4, 0);
        out.truncate(len);
        out.extend(&payload);

        let view = RtpView::parse(&out).expect("what was written");
        prop_assert_eq!(view.header_len(), len);
        prop_assert_eq!(view.marker(), header.marker);
        prop_assert_eq!(view.has_padding(), header.padding);
        prop_assert_eq!(view.payload_type(), header.payload_type);
        prop_assert_eq!(view.seq(), header.seq);
        prop_assert_eq!(view.timestamp(), header.timestamp);
        prop_assert_eq!(view.ssrc(), header.ssrc);
        prop_assert_eq!(view.payload(), &payload[..]);
        let read: Vec<_> = view.extensions().map(|(id, bytes)| (id, bytes.to_vec())).collect();
        prop_assert_eq!(&read, &elements);
        for (id, _) in &elements {
            let range = extension_range(&out, *id).expect("a written element");
            prop_assert_eq!(Some(&out[range]), view.extension(*id));
        }
    }

    #[test]
    fn patching_every_field_equals_writing_it(before in header(), after in header()) {
        let write = |header: &Header| {
            let mut out = [0; 12];
            HeaderWriter::new(&mut out, header).and_then(HeaderWriter::finish).expect("room");
            out
        };
        let mut patched = write(&Header { marker: after.marker, ..before });
        set_seq(&mut patched, after.seq).expect("a whole header");
        set_timestamp(&mut patched, after.timestamp).expect("a whole header");
        set_ssrc(&mut patched, after.ssrc).expect("a whole header");
        set_payload_type(&mut patched, after.payload_type).expect("a whole header");
        set_padding(&mut patched, after.padding).expect("a whole header");
        prop_assert_eq!(patched, write(&after));
    }
}
