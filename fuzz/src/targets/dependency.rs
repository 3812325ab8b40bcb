//! The AV1 dependency descriptor: structures, then frames that rest on them (security.md R4).

use codecs::payload::dependency::{Frame, Mandatory, REFERENCES_MAX, Structure};

use super::{OCTETS, rtp_vectors};
use crate::behaviour;
use crate::input::Input;
use crate::runner::Target;

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "dependency_descriptor",
        run: dependency_descriptor,
        seeds,
        length_max: 1_200,
        executions: 60_000,
        ..OCTETS
    }]
}

/// A stream of descriptors, each with its length in front. The structure in force is the last that was read.
pub fn dependency_descriptor(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut known: Option<Structure> = None;
    for _ in 0..16 {
        if input.is_empty() {
            break;
        }
        let element = input.short();
        let structure = Structure::parse(element);
        if let Some(structure) = &structure {
            sound(structure);
        }
        let frame = Frame::parse(element, structure.as_ref().or(known.as_ref()));
        behaviour::note(
            "read",
            u64::from(structure.is_some()) << 1 | u64::from(frame.is_some()),
        );
        if let Some(frame) = frame {
            let mandatory = Mandatory::parse(element).expect("a frame has its mandatory fields");
            assert_eq!(frame.mandatory, mandatory);
            assert!(frame.spatial < 4 && frame.temporal < 8);
            let references = frame.references.as_slice();
            assert!(
                references.len() <= REFERENCES_MAX
                    && references.iter().all(|&distance| distance > 0)
            );
            for target in 0..40 {
                behaviour::outcome("indication", &frame.indications.get(target));
            }
            for chain in [0, 1, 31, 32, 255] {
                behaviour::size("chain", usize::from(frame.chain_distance(chain)));
            }
            behaviour::size("references", references.len());
            behaviour::note("active", u64::from(frame.active_targets.is_some()));
            behaviour::note(
                "layer",
                u64::from(frame.spatial) << 3 | u64::from(frame.temporal),
            );
        }
        known = structure.or(known);
    }
}

fn sound(structure: &Structure) {
    assert!((1..=64).contains(&structure.template_count()));
    assert!((1..=32).contains(&structure.decode_targets()));
    assert!((1..=4).contains(&structure.spatial_layers()));
    assert!(structure.chains() <= structure.decode_targets());
    for target in 0..usize::from(structure.decode_targets()) {
        if let Some(chain) = structure.protected_by(target) {
            assert!(chain < structure.chains());
        }
        if let Some((spatial, temporal)) = structure.target_layers(target) {
            assert!(spatial < structure.spatial_layers() && temporal < 8);
        }
    }
    assert!(structure.protected_by(32).is_none() && structure.target_layers(255).is_none());
    for spatial in 0..8 {
        behaviour::note(
            "resolution",
            u64::from(structure.resolution(spatial).is_some()),
        );
    }
    behaviour::size("templates", structure.template_count());
    behaviour::note("targets", u64::from(structure.decode_targets()));
    behaviour::note("chains", u64::from(structure.chains()));
}

/// Descriptors of the vectors one after the other, and a structure of Chromium's L1T3 with frames.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut all = Vec::new();
    for packet in rtp_vectors() {
        let Ok(view) = codecs::rtp::RtpView::parse(&packet) else {
            continue;
        };
        for (_, element) in view.extensions() {
            let Ok(len) = u8::try_from(element.len()) else {
                continue;
            };
            if len >= 3 {
                all.push(len);
                all.extend(element);
            }
        }
    }
    seeds.push(all);
    let l1t3: &[u8] = &[
        0xc0, 0x00, 0x01, 0x80, 0x02, 0x14, 0xea, 0xa8, 0x60, 0x41, 0x4d, 0x14, 0x10, 0x20, 0x84,
        0x26, 0x7c, 0x04, 0x7c,
    ];
    let frame: &[u8] = &[0xc3, 0x00, 0x02];
    let custom: &[u8] = &[0xc2, 0x00, 0x03, 0x78, 0xff, 0x1a, 0x2b, 0x3c];
    let mut story = Vec::new();
    for element in [l1t3, frame, custom, frame] {
        story.push(u8::try_from(element.len()).expect("a short element"));
        story.extend(element);
    }
    seeds.push(story);
    seeds
}
