//! RTP: the header, its extensions, what is written of what was read (security.md R1, R2).

use codecs::rtp::view::{header_len, strip_padding};
use codecs::rtp::write::{
    set_marker, set_padding, set_payload_type, set_seq, set_ssrc, set_timestamp,
};
use codecs::rtp::{Header, HeaderWriter, RtpView, Seq, extension_range};

use super::{OCTETS, rtp_vectors};
use crate::behaviour;
use crate::input::Input;
use crate::runner::Target;

/// Octets a forwarded packet may be longer than what it is made of (security.md section 4).
const GROWTH_MAX: usize = 64;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "rtp_header",
            run: rtp_header,
            seeds: rtp_vectors,
            executions: 150_000,
            words: &[&[0xbe, 0xde, 0, 1], &[0x10, 0, 0, 1]],
            ..OCTETS
        },
        Target {
            name: "header_extension",
            run: header_extension,
            seeds: || {
                let blocks = rtp_vectors()
                    .into_iter()
                    .filter_map(|packet| packet.get(12..).map(<[u8]>::to_vec));
                blocks.collect()
            },
            length_max: 300,
            executions: 150_000,
            words: &[&[0xbe, 0xde], &[0x10, 0x00]],
            ..OCTETS
        },
    ]
}

/// One RTP packet: views hold what they promise, and what is written of it reads as the same.
pub fn rtp_header(bytes: &[u8]) {
    let parsed = RtpView::parse(bytes);
    assert_eq!(parsed.map(|view| view.header_len()), header_len(bytes));
    let view = match parsed {
        Ok(view) => view,
        Err(error) => return behaviour::outcome("error", &error),
    };
    assert_eq!(view.bytes(), bytes);
    assert_eq!([view.header(), view.payload()].concat(), bytes);
    assert_eq!(view.csrcs().count(), usize::from(view.csrc_count()));
    behaviour::note("csrcs", u64::from(view.csrc_count()));
    behaviour::note(
        "flags",
        u64::from(view.marker()) << 1 | u64::from(view.has_padding()),
    );
    match strip_padding(view.payload(), view.has_padding()) {
        Ok(payload) => {
            assert!(view.payload().starts_with(payload));
            assert!(view.has_padding() || payload.len() == view.payload().len());
            behaviour::size("payload", payload.len());
        }
        Err(error) => behaviour::outcome("padding", &error),
    }
    elements(&view, bytes);
    rewritten(&view, bytes);
    patched(bytes);
}

/// A block of header extensions, of any profile, in front of a payload.
pub fn header_extension(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let profile = input.u16();
    let mut block = input.rest().to_vec();
    block.resize(block.len().next_multiple_of(4), 0);
    let words = u16::try_from(block.len() / 4).expect("invariant: a short input");
    let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9];
    packet.extend(profile.to_be_bytes());
    packet.extend(words.to_be_bytes());
    packet.extend(&block);
    packet.extend([1, 2, 3]);
    let view = RtpView::parse(&packet).expect("a well-framed packet");
    assert_eq!(view.payload(), [1, 2, 3]);
    elements(&view, &packet);
    rewritten(&view, &packet);
}

/// Elements lie within the block, one after the other, and are found by their id.
fn elements(view: &RtpView<'_>, packet: &[u8]) {
    let mut octets = 0;
    for (count, (id, element)) in view.extensions().enumerate() {
        assert!(id > 0);
        octets += element.len() + 1;
        let first = view.extension(id).expect("an element that was listed");
        let range = extension_range(packet, id).expect("an element that was listed");
        assert!(range.end <= view.header_len());
        assert_eq!(packet.get(range), Some(first));
        behaviour::note("id", u64::from(id));
        behaviour::size("element", element.len());
        behaviour::size("elements", count);
    }
    assert!(octets <= view.header_len());
}

/// The header written anew with all elements reads as the one it is made of.
fn rewritten(view: &RtpView<'_>, packet: &[u8]) {
    let mut elements: Vec<(u8, &[u8])> = Vec::new();
    for (id, element) in view.extensions() {
        if !elements.iter().any(|&(known, _)| known == id) {
            elements.push((id, element));
        }
    }
    let header = Header {
        marker: view.marker(),
        padding: view.has_padding(),
        payload_type: view.payload_type(),
        seq: view.seq(),
        timestamp: view.timestamp(),
        ssrc: view.ssrc(),
    };
    let mut out = vec![0xa5; packet.len() + GROWTH_MAX];
    let mut writer = HeaderWriter::new(&mut out, &header).expect("room for 12 octets");
    // A node forwards the nine extensions it knows, in the form they came in at least.
    for &(id, element) in elements.iter().take(9) {
        writer
            .push(id, element)
            .expect("an element that was read fits");
    }
    let len = writer.finish().expect("no more than there was");
    let again = RtpView::parse(&out[..len]).expect("a header that was written");
    assert_eq!(again.header_len(), len);
    assert_eq!(
        (
            again.marker(),
            again.has_padding(),
            again.payload_type(),
            again.seq(),
            again.timestamp(),
            again.ssrc()
        ),
        (
            view.marker(),
            view.has_padding(),
            view.payload_type(),
            view.seq(),
            view.timestamp(),
            view.ssrc()
        )
    );
    let read: Vec<(u8, &[u8])> = again.extensions().collect();
    assert_eq!(read, elements[..elements.len().min(9)]);
    assert!(len + view.payload().len() <= packet.len() + GROWTH_MAX);
}

/// A patched field is the only thing that changes.
fn patched(packet: &[u8]) {
    let mut out = packet.to_vec();
    set_seq(&mut out, Seq(0x1234)).expect("a packet");
    set_timestamp(&mut out, 0x5678_9abc).expect("a packet");
    set_ssrc(&mut out, 0xdef0_1234).expect("a packet");
    set_payload_type(&mut out, 0x55).expect("a packet");
    set_marker(&mut out, true).expect("a packet");
    set_padding(&mut out, false).expect("a packet");
    let view = RtpView::parse(&out).expect("still a packet");
    assert_eq!(
        (
            view.seq(),
            view.timestamp(),
            view.ssrc(),
            view.payload_type(),
            view.marker(),
            view.has_padding()
        ),
        (Seq(0x1234), 0x5678_9abc, 0xdef0_1234, 0x55, true, false)
    );
    assert_eq!(out.get(12..), packet.get(12..));
}
