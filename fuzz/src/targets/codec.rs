//! Payloads: descriptors, keyframes and aggregates of each codec (security.md R3).

use codecs::payload::{self, Codec, av1, h264, h265, opus, vp8, vp9};

use super::{OCTETS, rtp_vectors};
use crate::behaviour;
use crate::runner::Target;

pub(super) fn targets() -> Vec<Target> {
    let target = |name, run| Target {
        name,
        run,
        seeds,
        length_max: 400,
        executions: 100_000,
        words: &[
            &[0x9d, 0x01, 0x2a],
            &[0x49, 0x83, 0x42],
            &[0, 0, 0, 1],
            &[0x67, 0x42],
            &[0x0a, 0x0b],
        ],
        ..OCTETS
    };
    vec![
        target("vp8", vp8 as fn(&[u8])),
        target("vp9", vp9),
        target("h264", h264),
        target("h265", h265),
        target("av1", av1),
        target("opus", opus),
    ]
}

/// The payloads of the RTP vectors, and one of each codec that is well.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = rtp_vectors()
        .into_iter()
        .filter_map(|packet| {
            let at = codecs::rtp::view::header_len(&packet).ok()?;
            packet.get(at..).map(<[u8]>::to_vec)
        })
        .filter(|payload| !payload.is_empty())
        .collect();
    seeds.extend(well().into_iter().map(<[u8]>::to_vec));
    seeds
}

/// Payloads as real encoders send them.
pub(super) fn well() -> [&'static [u8]; 12] {
    [
        // VP8 keyframe with every field of the descriptor (RFC 7741 section 4.2).
        &[
            0x90, 0xf0, 0x92, 0x34, 7, 0xa9, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0,
            0x01,
        ],
        // VP9 with layers and a scalability structure (RFC 9628 section 4.2), and flexible mode.
        &[
            0xaa, 0x81, 0x02, 0x00, 0x05, 0x38, 1, 64, 0, 180, 2, 128, 1, 104, 1, 0x04, 1, 0xff,
        ],
        &[0xfc, 0x81, 0x02, 0x21, 0x03, 0x04, 0xff, 0xff],
        // H.264: SPS, STAP-A with SPS, PPS and IDR, FU-A of an IDR (RFC 6184 section 5).
        &[0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40],
        &[
            0x78, 0, 3, 0x67, 0x42, 0xc0, 0, 2, 0x68, 0xce, 0, 3, 0x65, 0x88, 0x84,
        ],
        &[0x7c, 0x85, 0x88, 0x84, 0x00],
        // H.265: aggregate of VPS, SPS and PPS, fragment of an IDR (RFC 7798 section 4.4).
        &[
            0x60, 1, 0, 3, 0x40, 1, 0x0c, 0, 3, 0x42, 1, 1, 0, 3, 0x44, 1, 0xc1,
        ],
        &[0x62, 1, 0x93, 0xaf, 0x80],
        // AV1: a new sequence in two elements; one element of unknown length; a fragment.
        &[0x28, 3, 0x0a, 0x0b, 0x00, 0x32, 0x10, 0x00],
        &[0x18, 0x0a, 0x0b, 0x00, 0x00],
        &[0xc0, 2, 0x32, 0x10, 1, 0x00],
        // Opus: 20 ms CELT in code 3 with two frames and a vector of lengths (RFC 6716 section 3.2).
        &[0xff, 0x82, 2, 1, 2, 3, 4, 5],
    ]
}

/// VP8.
pub fn vp8(payload: &[u8]) {
    let key = payload::is_keyframe(Codec::Vp8, payload);
    assert_eq!(key, vp8::is_keyframe(payload));
    let Some(descriptor) = vp8::Descriptor::parse(payload) else {
        assert!(!key, "what cannot be read is no keyframe");
        return behaviour::note("unread", 0);
    };
    assert!(
        descriptor.len < payload.len(),
        "a descriptor stands in front of something"
    );
    assert!(!key || descriptor.begins_frame());
    behaviour::note("key", u64::from(key));
    behaviour::note("length", u64::try_from(descriptor.len).unwrap_or(9));
    behaviour::outcome("picture", &descriptor.picture_id);
    behaviour::note("start", u64::from(descriptor.begins_frame()));
    let mut patched = payload.to_vec();
    descriptor
        .patch(&mut patched, 0x1234, 9)
        .expect("the same length");
    let again = vp8::Descriptor::parse(&patched).expect("a patched descriptor");
    assert_eq!(
        (
            again.len,
            again.start,
            again.partition,
            again.temporal,
            again.key_idx
        ),
        (
            descriptor.len,
            descriptor.start,
            descriptor.partition,
            descriptor.temporal,
            descriptor.key_idx
        )
    );
    assert_eq!(patched.get(descriptor.len..), payload.get(descriptor.len..));
    assert_eq!(vp8::is_keyframe(&patched), key);
}

/// VP9.
pub fn vp9(payload: &[u8]) {
    let key = payload::is_keyframe(Codec::Vp9, payload);
    let Some(descriptor) = vp9::Descriptor::parse(payload) else {
        assert!(!key, "what cannot be read is no keyframe");
        return behaviour::note("unread", 0);
    };
    assert!(
        descriptor.len < payload.len(),
        "a descriptor stands in front of something"
    );
    behaviour::note("key", u64::from(key));
    behaviour::size("length", descriptor.len);
    behaviour::outcome("picture", &descriptor.picture_id);
    behaviour::note(
        "layer",
        u64::from(descriptor.spatial()) << 3 | u64::from(descriptor.temporal()),
    );
    if let Some(structure) = descriptor.structure {
        assert!((1..=8).contains(&structure.spatial_layers));
        behaviour::note("structure", u64::from(structure.spatial_layers));
        behaviour::size("pictures", usize::from(structure.pictures));
    }
    let mut patched = payload.to_vec();
    descriptor
        .patch(&mut patched, 0x1234, 9)
        .expect("the same length");
    let again = vp9::Descriptor::parse(&patched).expect("a patched descriptor");
    assert_eq!(
        (again.len, again.layer, again.structure),
        (descriptor.len, descriptor.layer, descriptor.structure)
    );
    assert_eq!(patched.get(descriptor.len..), payload.get(descriptor.len..));
    assert_eq!(payload::is_keyframe(Codec::Vp9, &patched), key);
}

/// H.264.
pub fn h264(payload: &[u8]) {
    let key = payload::is_keyframe(Codec::H264, payload);
    behaviour::note("key", u64::from(key));
    let Some(parsed) = h264::Payload::parse(payload) else {
        assert!(!key, "what cannot be read is no keyframe");
        return behaviour::note("unread", 0);
    };
    behaviour::outcome("payload", &parsed);
    if let h264::Payload::Aggregate(aggregate) = parsed {
        let mut octets = 1;
        for nal in aggregate.nals() {
            assert!(!nal.is_empty());
            octets += 2 + nal.len();
        }
        assert!(octets <= payload.len());
        behaviour::size("nals", aggregate.nals().count());
    }
}

/// H.265.
pub fn h265(payload: &[u8]) {
    let key = payload::is_keyframe(Codec::H265, payload);
    behaviour::note("key", u64::from(key));
    let Some(parsed) = h265::Payload::parse(payload) else {
        assert!(!key, "what cannot be read is no keyframe");
        return behaviour::note("unread", 0);
    };
    behaviour::outcome("payload", &parsed);
    if let h265::Payload::Aggregate(aggregate) = parsed {
        let mut octets = 2;
        for nal in aggregate.nals() {
            assert!(nal.len() >= 2);
            octets += 2 + nal.len();
        }
        assert!(octets <= payload.len());
        behaviour::size("nals", aggregate.nals().count());
    }
}

/// AV1.
pub fn av1(payload: &[u8]) {
    let key = payload::is_keyframe(Codec::Av1, payload);
    behaviour::note("key", u64::from(key));
    let Some(packet) = av1::Packet::parse(payload) else {
        assert!(!key, "what cannot be read is no keyframe");
        return behaviour::note("unread", 0);
    };
    let octets: usize = packet.elements().map(<[u8]>::len).sum();
    assert!(octets < payload.len());
    behaviour::size("elements", packet.elements().count());
}

/// Opus.
pub fn opus(payload: &[u8]) {
    let duration = opus::duration(payload);
    assert!(duration.is_none_or(|samples| (1..=opus::DURATION_MAX).contains(&samples)));
    behaviour::note("samples", u64::from(duration.unwrap_or(0)));
    behaviour::note("key", u64::from(payload::is_keyframe(Codec::Opus, payload)));
}
