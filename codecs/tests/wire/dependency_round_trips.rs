//! The dependency descriptor, packed bit by bit from the syntax tables of appendix A.8, read, and written.

use codecs::WriteError;
use codecs::payload::dependency::{Frame, Indication, Mandatory, Structure, patch_frame_number};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::data::seeded;

/// Bits, most significant first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u32, width: u32) {
        self.0
            .extend((0..width).rev().map(|shift| value >> shift & 1 == 1));
    }

    /// ns(n) of the AV1 specification, section 4.10.7, from its decoding process.
    fn put_non_symmetric(&mut self, value: u32, n: u32) {
        let mut width = 0;
        while n >> width != 0 {
            width += 1;
        }
        let short = (1 << width) - n;
        if value < short {
            self.put(value, width - 1);
        } else {
            let above = value + short;
            self.put(above >> 1, width - 1);
            self.put(above & 1, 1);
        }
    }

    fn octets(&self) -> Vec<u8> {
        let octet = |bits: &[bool]| {
            let ones = bits
                .iter()
                .zip((0..8).rev())
                .map(|(bit, shift)| u8::from(*bit) << shift);
            ones.sum()
        };
        self.0.chunks(8).map(octet).collect()
    }
}

#[derive(Clone, Debug)]
struct Template {
    indications: Vec<u32>,
    distances: Vec<u32>,
    chains: Vec<u32>,
}

/// A structure: spatial and temporal layers, each with its template.
#[derive(Clone, Debug)]
struct Layers {
    offset: u32,
    spatial: u32,
    temporal: u32,
    targets: u32,
    chains: u32,
    protected_by: Vec<u32>,
    templates: Vec<Template>,
    sizes: Option<Vec<(u32, u32)>>,
}

fn layers() -> impl Strategy<Value = Layers> {
    (0..64_u32, 1..=3_u32, 1..=3_u32, 1..=10_u32)
        .prop_flat_map(|(offset, spatial, temporal, targets)| {
            (Just((offset, spatial, temporal, targets)), 0..=targets)
        })
        .prop_flat_map(|((offset, spatial, temporal, targets), chains)| {
            let count = usize::try_from(spatial * temporal).expect("small");
            let of = |n: u32| usize::try_from(n).expect("small");
            let template = (
                vec(0..4_u32, of(targets)),
                vec(1..=16_u32, 0..4),
                vec(0..16_u32, of(chains)),
            );
            let template = template.prop_map(|(indications, distances, chains)| Template {
                indications,
                distances,
                chains,
            });
            let sizes = vec((1..=0xFFFF_u32, 1..=0xFFFF_u32), of(spatial));
            (
                Just((offset, spatial, temporal, targets, chains)),
                vec(0..chains.max(1), of(targets)),
                vec(template, count),
                proptest::option::of(sizes),
            )
        })
        .prop_map(|(counts, protected_by, templates, sizes)| {
            let (offset, spatial, temporal, targets, chains) = counts;
            Layers {
                offset,
                spatial,
                temporal,
                targets,
                chains,
                protected_by,
                templates,
                sizes,
            }
        })
}

impl Layers {
    fn put(&self, bits: &mut Bits) {
        bits.put(self.offset, 6);
        bits.put(self.targets - 1, 5);
        for spatial in 0..self.spatial {
            for temporal in 0..self.temporal {
                let step = match (spatial + 1 == self.spatial, temporal + 1 == self.temporal) {
                    (true, true) => 3,
                    (false, true) => 2,
                    _ => 1,
                };
                bits.put(step, 2);
            }
        }
        for template in &self.templates {
            template
                .indications
                .iter()
                .for_each(|value| bits.put(*value, 2));
        }
        for template in &self.templates {
            for distance in &template.distances {
                bits.put(1, 1);
                bits.put(distance - 1, 4);
            }
            bits.put(0, 1);
        }
        bits.put_non_symmetric(self.chains, self.targets + 1);
        if self.chains > 0 {
            self.protected_by
                .iter()
                .for_each(|chain| bits.put_non_symmetric(*chain, self.chains));
            for template in &self.templates {
                template
                    .chains
                    .iter()
                    .for_each(|distance| bits.put(*distance, 4));
            }
        }
        bits.put(u32::from(self.sizes.is_some()), 1);
        for (width, height) in self.sizes.iter().flatten() {
            bits.put(width - 1, 16);
            bits.put(height - 1, 16);
        }
    }
}

/// What a frame says beyond its template.
#[derive(Clone, Debug, Default)]
struct Custom {
    active: Option<u32>,
    indications: Option<Vec<u32>>,
    distances: Option<Vec<u32>>,
    chains: Option<Vec<u32>>,
}

fn custom(layers: &Layers) -> impl Strategy<Value = Custom> + use<> {
    let of = |n: u32| usize::try_from(n).expect("small");
    let distance = prop_oneof![1..=16_u32, 17..=256_u32, 257..=4_096_u32];
    (
        proptest::option::of(0..1_u32 << layers.targets),
        proptest::option::of(vec(0..4_u32, of(layers.targets))),
        proptest::option::of(vec(distance, 0..7)),
        proptest::option::of(vec(0..256_u32, of(layers.chains))),
    )
        .prop_map(|(active, indications, distances, chains)| Custom {
            active,
            indications,
            distances,
            chains,
        })
}

fn descriptor(template_id: u32, number: u16, layers: Option<&Layers>, custom: &Custom) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0b11, 2);
    bits.put(template_id, 6);
    bits.put(u32::from(number), 16);
    bits.put(u32::from(layers.is_some()), 1);
    bits.put(u32::from(custom.active.is_some()), 1);
    bits.put(u32::from(custom.indications.is_some()), 1);
    bits.put(u32::from(custom.distances.is_some()), 1);
    bits.put(u32::from(custom.chains.is_some()), 1);
    if let Some(layers) = layers {
        layers.put(&mut bits);
    }
    if let Some(active) = custom.active {
        let targets = custom.indications.as_ref().map_or(0, Vec::len);
        bits.put(active, u32::try_from(targets).expect("small"));
    }
    for value in custom.indications.iter().flatten() {
        bits.put(*value, 2);
    }
    if let Some(distances) = &custom.distances {
        for distance in distances {
            let nibbles = [0x10, 0x100, 0x1000]
                .iter()
                .position(|end| distance - 1 < *end);
            let nibbles = u32::try_from(nibbles.expect("a short distance") + 1).expect("small");
            bits.put(nibbles, 2);
            bits.put(distance - 1, 4 * nibbles);
        }
        bits.put(0, 2);
    }
    for distance in custom.chains.iter().flatten() {
        bits.put(*distance, 8);
    }
    bits.octets()
}

fn indication(value: u32) -> Indication {
    match value {
        0 => Indication::NotPresent,
        1 => Indication::Discardable,
        2 => Indication::Switch,
        _ => Indication::Required,
    }
}

fn check(frame: &Frame, layers: &Layers, index: usize, custom: &Custom) {
    let temporal = usize::try_from(layers.temporal).expect("small");
    let template = &layers.templates[index];
    assert_eq!(usize::from(frame.spatial), index / temporal);
    assert_eq!(usize::from(frame.temporal), index % temporal);
    let indications = custom.indications.as_ref().unwrap_or(&template.indications);
    for (target, value) in indications.iter().enumerate() {
        assert_eq!(frame.indications.get(target), indication(*value));
    }
    let distances = custom.distances.as_ref().unwrap_or(&template.distances);
    let read: Vec<_> = frame
        .references
        .as_slice()
        .iter()
        .map(|d| u32::from(*d))
        .collect();
    assert_eq!(&read, distances);
    let chains = custom.chains.as_ref().unwrap_or(&template.chains);
    for (chain, distance) in (0..).zip(chains) {
        assert_eq!(u32::from(frame.chain_distance(chain)), *distance);
    }
}

proptest! {
    #![proptest_config(seeded(1_500))]

    #[test]
    fn descriptors_are_read_as_the_tables_say_and_written_back(
        (layers, mut custom, index) in layers().prop_flat_map(|layers| {
            let custom = custom(&layers);
            let templates = layers.templates.len();
            (Just(layers), custom, 0..templates)
        }),
        number in any::<u16>(),
        renumbered in any::<u16>(),
    ) {
        // The mask is as wide as there are targets, which only the structure says.
        if custom.indications.is_none() {
            custom.active = None;
        }
        let template_id = (layers.offset + u32::try_from(index).expect("small")) & 0x3F;
        let with_structure = descriptor(template_id, number, Some(&layers), &custom);
        let structure = Structure::parse(&with_structure).expect("a structure");
        let all = u32::MAX >> (32 - layers.targets);
        for (element, implied) in [
            (with_structure, Some(all)),
            (descriptor(template_id, number, None, &custom), None),
        ] {
            let mut frame = Frame::parse(&element, Some(&structure)).expect("a descriptor");
            prop_assert_eq!(frame.mandatory.frame_number, number);
            prop_assert_eq!(frame.active_targets, custom.active.or(implied));
            check(&frame, &layers, index, &custom);

            // What equals its template is left to it, so the writing may be shorter, and reads the same.
            let mut out = [0xFF; 512];
            let len = frame.write(&mut out, &structure).expect("room");
            prop_assert!(len <= element.len());
            let again = Frame::parse(&out[..len], Some(&structure)).expect("a descriptor");
            check(&again, &layers, index, &custom);
            let active = frame.active_targets;
            prop_assert_eq!(again.active_targets, active);
            prop_assert_eq!(again.mandatory, frame.mandatory);
            prop_assert_eq!(Structure::parse(&out[..len]).is_some(), implied.is_some());
            if let Some(written) = Structure::parse(&out[..len]) {
                prop_assert_eq!(&written, &structure);
            }
            for short in 0..len {
                prop_assert_eq!(frame.write(&mut out[..short], &structure), Err(WriteError::Space));
            }

            let mut element = element;
            patch_frame_number(&mut element, renumbered).expect("three octets");
            frame.mandatory.frame_number = renumbered;
            prop_assert_eq!(Frame::parse(&element, Some(&structure)), Some(frame));
        }
        for (target, chain) in layers.protected_by.iter().enumerate() {
            let wanted = (layers.chains > 0).then_some(*chain);
            prop_assert_eq!(structure.protected_by(target).map(u32::from), wanted);
        }
        for (layer, size) in (0..).zip(layers.sizes.iter().flatten()) {
            let read = structure.resolution(layer).map(|(w, h)| (u32::from(w), u32::from(h)));
            prop_assert_eq!(read, Some(*size));
        }
    }
}

#[test]
fn a_template_that_does_not_exist_is_not_written() {
    let layers = Layers {
        offset: 5,
        spatial: 1,
        temporal: 1,
        targets: 1,
        chains: 0,
        protected_by: Vec::new(),
        templates: vec![Template {
            indications: vec![2],
            distances: Vec::new(),
            chains: Vec::new(),
        }],
        sizes: None,
    };
    let element = descriptor(5, 1, Some(&layers), &Custom::default());
    let structure = Structure::parse(&element).expect("a structure");
    let mut frame = Frame::parse(&element, None).expect("a descriptor");
    frame.mandatory = Mandatory {
        template_id: 6,
        ..frame.mandatory
    };
    assert_eq!(
        frame.write(&mut [0; 64], &structure),
        Err(WriteError::Value)
    );
    assert_eq!(patch_frame_number(&mut [0; 2], 7), Err(WriteError::Space));
}
