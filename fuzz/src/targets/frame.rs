//! Frames out of payloads and payloads out of frames, and RED (RFC 2198).

use codecs::WriteError;
use codecs::payload::nal::{self, Family, NalForm};
use codecs::payload::red::{self, Red};
use codecs::payload::{Depacketizer, Format, Packed, PictureId, av1, opus, vp8, vp9};

use super::{OCTETS, codec};
use crate::behaviour;
use crate::input::Input;
use crate::runner::Target;

const FORMATS: [Format; 8] = [
    Format::Opus,
    Format::Vp8,
    Format::Vp9,
    Format::Av1,
    Format::H264(NalForm::AnnexB),
    Format::H264(NalForm::LengthPrefixed),
    Format::H265(NalForm::AnnexB),
    Format::H265(NalForm::LengthPrefixed),
];

/// Octets a container takes at most for what the wire does in fewer: a start code or length for each unit of
/// an aggregate whose sizes have two octets, a header for each fragment's unit.
const OVERHEAD_MAX: usize = 64;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "depacketize",
            run: depacketize,
            seeds: packets,
            length_max: 3_000,
            executions: 50_000,
            words: &[&[0x80, 1], &[0x40, 1], &[0, 1, 0x78], &[1, 1, 0x7c, 0x85]],
            ..OCTETS
        },
        Target {
            name: "packetize",
            run: packetize,
            seeds: frames,
            length_max: 3_000,
            // Payloads of a few octets each stand here by the hundred, with their frames.
            allocation_max: Some(512 * 1_024),
            executions: 50_000,
            words: &[
                &[0, 0, 0, 1],
                &[0, 0, 1, 0x65],
                &[0, 0, 0, 3, 0x67, 0x42, 0xc0],
                &[0x0a, 0x0b],
                &[0x12, 0x00],
                &[0x32, 0x90, 0x01],
            ],
            ..OCTETS
        },
        Target {
            name: "red",
            run: red,
            seeds: || {
                vec![
                    vec![0xef, 0x0f, 0x00, 0x02, 0x6f, 0xfc, 0x01, 0xfc, 0x02, 0x03],
                    vec![0x6f, 0xfc, 0x01],
                    vec![0xef, 0xff, 0xff, 0xff, 0x6f],
                    [0xef, 0, 0, 0].repeat(40),
                ]
            },
            executions: 100_000,
            ..OCTETS
        },
    ]
}

/// Packets of one stream in any order a network makes: frames are bounded, whole, and at most two a packet.
pub fn depacketize(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let format = input.pick(&FORMATS);
    let limit = usize::from(input.u16() % 4_096);
    let mut depacketizer = Depacketizer::new(format, limit);
    behaviour::outcome("format", &format);
    let mut timestamp = 0_u32;
    let mut arrived = 0;
    while !input.is_empty() {
        let flags = input.u8();
        if flags & 0x80 != 0 {
            depacketizer.gap();
        }
        timestamp = timestamp.wrapping_add(u32::from(flags & 0x03) * 3_000);
        let payload = input.short();
        arrived += payload.len();
        depacketizer.push(payload, timestamp, flags & 0x40 != 0);
        drain(&mut depacketizer, format, limit, arrived, 2);
    }
    depacketizer.end();
    drain(&mut depacketizer, format, limit, arrived, 1);
    let dropped = depacketizer.dropped();
    behaviour::size(
        "incomplete",
        usize::try_from(dropped.incomplete).unwrap_or(0),
    );
    behaviour::size("malformed", usize::try_from(dropped.malformed).unwrap_or(0));
    behaviour::size("too long", usize::try_from(dropped.too_long).unwrap_or(0));
}

fn drain(
    depacketizer: &mut Depacketizer,
    format: Format,
    limit: usize,
    arrived: usize,
    frames_max: usize,
) {
    let mut frames = 0;
    while let Some(frame) = depacketizer.poll() {
        frames += 1;
        assert!(
            !frame.bytes.is_empty() && frame.bytes.len() <= limit,
            "{} of {limit}",
            frame.bytes.len()
        );
        // Nobody sends a little and is written much of: four octets of a unit's length for two on the wire.
        assert!(frame.bytes.len() <= 3 * arrived + OVERHEAD_MAX);
        assert!(frame.keyframe || format != Format::Opus);
        behaviour::note("keyframe", u64::from(frame.keyframe));
        behaviour::size("frame", frame.bytes.len());
    }
    assert!(frames <= frames_max, "{frames} frames of one packet");
    assert!(
        depacketizer.buffer_bytes() <= limit,
        "{} of {limit}",
        depacketizer.buffer_bytes()
    );
}

/// A frame of any content: cut into payloads and put together it is the same, up to what its format lets one
/// write in several ways; and then it is the same.
pub fn packetize(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let format = input.pick(&FORMATS);
    let payload_max = usize::from(input.u16() % 1_300);
    let frame = input.rest();
    behaviour::outcome("format", &format);
    let Some(first) = through(format, frame, payload_max) else {
        return;
    };
    let exact = matches!(format, Format::Opus | Format::Vp8 | Format::Vp9);
    if exact {
        assert!(
            first == frame,
            "{} octets became {}",
            frame.len(),
            first.len()
        );
    }
    let second = through(format, &first, payload_max).expect("what came together can be cut");
    assert!(
        second == first,
        "{} octets became {}",
        first.len(),
        second.len()
    );
    behaviour::size("frame", frame.len());
}

/// Cuts and puts together. `None` when the packetiser finds nothing to send.
fn through(format: Format, frame: &[u8], payload_max: usize) -> Option<Vec<u8>> {
    let mut payloads = match payloads(format, frame, payload_max) {
        Ok(payloads) => payloads,
        Err(error) => {
            behaviour::outcome("error", &error);
            return None;
        }
    };
    behaviour::size("payloads", payloads.len());
    assert!(!payloads.is_empty());
    // Opus marks talk spurts; all others mark the last payload and no other.
    let last = payloads.len() - 1;
    for (at, (payload, packed)) in payloads.iter().enumerate() {
        assert!(
            !payload.is_empty() && payload.len() <= payload_max,
            "{} of {payload_max}",
            payload.len()
        );
        assert_eq!(packed.marker, at == last && format != Format::Opus);
    }
    let mut depacketizer = Depacketizer::new(format, 16 * 1_024);
    // A frame nobody could begin with is only taken behind another.
    let mut whole: Option<Vec<u8>> = None;
    for (payload, packed) in payloads.drain(..) {
        depacketizer.push(&payload, 3_000, packed.marker);
        while let Some(frame) = depacketizer.poll() {
            assert!(whole.is_none(), "one frame became two");
            whole = Some(frame.bytes.to_vec());
        }
    }
    depacketizer.end();
    if let Some(frame) = depacketizer.poll() {
        assert!(whole.is_none(), "one frame became two");
        whole = Some(frame.bytes.to_vec());
    }
    if whole.is_none() {
        behaviour::note("not taken", 0);
    }
    whole
}

fn payloads(
    format: Format,
    frame: &[u8],
    payload_max: usize,
) -> Result<Vec<(Vec<u8>, Packed)>, WriteError> {
    let mut out = vec![0; 1_300];
    match format {
        Format::Opus => {
            let mut packetizer = opus::Packetizer::new(frame, payload_max)?;
            collect(&mut out, |out| packetizer.next(out))
        }
        Format::Vp8 => {
            let fields = vp8::Fields {
                picture_id: Some(PictureId::Long(77)),
                ..vp8::Fields::default()
            };
            let mut packetizer = vp8::Packetizer::new(frame, &fields, payload_max)?;
            collect(&mut out, |out| packetizer.next(out))
        }
        Format::Vp9 => {
            let fields = vp9::Fields {
                inter_picture: false,
                not_reference_for_upper: false,
                picture_id: Some(PictureId::Short(7)),
                layer: None,
                mode: vp9::Mode::Fixed { tl0_pic_idx: 1 },
                structure: None,
                last_of_picture: true,
            };
            let mut packetizer = vp9::Packetizer::new(frame, &fields, payload_max)?;
            collect(&mut out, |out| packetizer.next(out))
        }
        Format::Av1 => {
            let mut packetizer = av1::Packetizer::new(frame, payload_max)?;
            collect(&mut out, |out| packetizer.next(out))
        }
        Format::H264(form) => {
            let mut packetizer = nal::Packetizer::new(Family::H264, frame, form, payload_max)?;
            collect(&mut out, |out| packetizer.next(out))
        }
        Format::H265(form) => {
            let mut packetizer = nal::Packetizer::new(Family::H265, frame, form, payload_max)?;
            collect(&mut out, |out| packetizer.next(out))
        }
    }
}

fn collect(
    out: &mut [u8],
    mut next: impl FnMut(&mut [u8]) -> Result<Option<Packed>, WriteError>,
) -> Result<Vec<(Vec<u8>, Packed)>, WriteError> {
    let mut payloads = Vec::new();
    while let Some(packed) = next(out)? {
        payloads.push((out[..packed.len].to_vec(), packed));
        assert!(payloads.len() <= 4_000, "a packetiser that does not end");
    }
    Ok(payloads)
}

/// Redundant audio: blocks lie within the payload, and what is written of them is the payload.
pub fn red(payload: &[u8]) {
    let Some(parsed) = Red::parse(payload) else {
        return behaviour::note("unread", 0);
    };
    let blocks: Vec<_> = parsed.redundant().collect();
    let octets: usize = blocks.iter().map(|block| 4 + block.bytes.len()).sum();
    assert_eq!(1 + octets + parsed.primary.bytes.len(), payload.len());
    behaviour::size("blocks", blocks.len());
    behaviour::size("primary", parsed.primary.bytes.len());
    let mut out = vec![0; payload.len()];
    let len = red::write(&mut out, &blocks, &parsed.primary).expect("it was read");
    assert_eq!(&out[..len], payload);
}

/// Streams of each format: what encoders send, with gaps, without markers, and cut.
fn packets() -> Vec<Vec<u8>> {
    let well = codec::well();
    let mut seeds = Vec::new();
    for format in 0..FORMATS.len() {
        let format = u8::try_from(format).expect("a few formats");
        for flags in [0x40, 0x41, 0x01, 0xc1, 0x00] {
            let mut seed = vec![format, 0x0f, 0xff];
            for payload in well {
                seed.push(flags);
                seed.push(u8::try_from(payload.len()).expect("a short payload"));
                seed.extend(payload);
            }
            seeds.push(seed);
        }
    }
    // Frames that were cut by our own packetisers.
    for frame in frames() {
        let (format, payload_max) = (
            frame[0],
            usize::from(u16::from_be_bytes([frame[1], frame[2]])),
        );
        let of = FORMATS[usize::from(format) % FORMATS.len()];
        let mut seed = vec![format, 0x0f, 0xff];
        for (payload, packed) in payloads(of, &frame[3..], payload_max.min(200)).unwrap_or_default()
        {
            seed.push(if packed.marker { 0x40 } else { 0 });
            seed.push(u8::try_from(payload.len()).expect("at most 200 octets"));
            seed.extend(payload);
        }
        seeds.push(seed);
    }
    seeds
}

/// A frame of each format: length of payloads in front.
fn frames() -> Vec<Vec<u8>> {
    let noise: Vec<u8> = (0..=255).cycle().take(700).collect();
    let annex_b = |units: &[&[u8]]| {
        units
            .iter()
            .flat_map(|unit| [&[0, 0, 0, 1], *unit].concat())
            .collect::<Vec<u8>>()
    };
    let prefixed = |units: &[&[u8]]| {
        let prefix = |unit: &[u8]| {
            u32::try_from(unit.len())
                .expect("a short unit")
                .to_be_bytes()
        };
        units
            .iter()
            .flat_map(|unit| [&prefix(unit)[..], unit].concat())
            .collect::<Vec<u8>>()
    };
    let slice: Vec<u8> = [&[0x65, 0x88][..], &noise[1..600]].concat();
    let idr: Vec<u8> = [&[0x26, 0x01][..], &noise[1..600]].concat();
    let avc: [&[u8]; 4] = [
        &[0x67, 0x42, 0xc0, 0x1f],
        &[0x68, 0xce, 0x3c],
        &[0x06, 5, 1],
        &slice,
    ];
    let hevc: [&[u8]; 4] = [
        &[0x40, 1, 0x0c, 1],
        &[0x42, 1, 1, 2],
        &[0x44, 1, 0xc1],
        &idr,
    ];
    let vp8: Vec<u8> = [
        &[0x10, 2, 0, 0x9d, 0x01, 0x2a, 0x80, 2, 0xe0, 1][..],
        &noise,
    ]
    .concat();
    // Temporal delimiter, sequence header, frame; each with its size.
    let av1: Vec<u8> = [&[0x12, 0, 0x0a, 3, 1, 2, 3, 0x32, 0xbc, 0x05][..], &noise].concat();
    let frames: [(u8, Vec<u8>); 8] = [
        (0, vec![0xfc, 1, 2, 3, 4]),
        (1, vp8),
        (2, [&[0x82, 0x49, 0x83, 0x42][..], &noise].concat()),
        (3, av1),
        (4, annex_b(&avc)),
        (5, prefixed(&avc)),
        (6, annex_b(&hevc)),
        (7, prefixed(&hevc)),
    ];
    let mut seeds = Vec::new();
    for (format, frame) in frames {
        for payload_max in [100_u16, 1_200, 40] {
            seeds.push([&[format][..], &payload_max.to_be_bytes(), &frame].concat());
        }
    }
    seeds
}
