//! A whole shard as a story: two rooms, one with peers that hold keys and mean harm, one with a class that
//! goes on (security.md R1 to R9, S6; contracts.md 11 and 20).
//!
//! Every input is a sequence of actions. After each, what came in is accounted for; what went out is
//! opened: no index is sealed twice with other bytes, nothing grows, and the honest viewer gets what the
//! honest publisher sent, whatever the others do.

mod class;
mod hostile;
mod orders;
mod peer;

pub(super) use orders::{fingerprint, orders};

use super::{OCTETS, rtcp_vectors};
use crate::input::Input;
use crate::runner::Target;
use class::Class;

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "shard",
        run: shard,
        seeds,
        length_max: 1_200,
        // The pool of a shard is allocated with it.
        allocation_max: None,
        executions: 12_000,
        words: &[
            // Actions that matter in a row: honest frame, flush, tick, NACK, restart.
            &[hostile::HONEST],
            &[hostile::FLUSH],
            &[hostile::TICK, 200],
            &[hostile::NACK, 0, 1, 0xff, 0xff],
            &[hostile::RTP, 0, 0, 1, 0, 0, 0, 0, 0],
            &[hostile::BURST, 0, 0, 0, 20],
            &[hostile::BURST, 2, 0, 0x24, 33],
            &[hostile::BURST, 4, 3, 0x10, 10],
            &[
                hostile::TICK,
                120,
                hostile::NACK,
                1,
                0,
                7,
                0xff,
                hostile::FLUSH,
            ],
            &[hostile::REPLAY, 0],
        ],
        ..OCTETS
    }]
}

/// One story.
pub fn shard(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut class = Class::new(&mut input);
    while !input.is_empty() {
        hostile::act(&mut class, &mut input);
        class.assert_conserved();
    }
    class.end();
}

/// Payloads of every codec as media of every layer, the RTCP of the vectors, and a class that nothing
/// happens to.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        vec![],
        [&[0, 0][..], &[hostile::HONEST; 60]].concat(),
        [
            &[1, 0][..],
            &[hostile::HONEST, hostile::TICK, 250, hostile::FLUSH].repeat(20),
        ]
        .concat(),
    ];
    // Each codec's payloads on each stream, then the viewer asks for what it did not get.
    for (template, codec) in (0_u8..).zip([0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 0]) {
        let mut story = vec![template % 3, codec];
        for stream in [0, 2, 3, 4, 1] {
            story.extend([hostile::BURST, stream, template, 0b0010_0100, 20]);
            story.extend([
                hostile::TICK,
                120,
                hostile::NACK,
                1,
                0,
                6,
                0xff,
                hostile::FLUSH,
            ]);
            story.extend([
                hostile::TICK,
                120,
                hostile::NACK,
                1,
                3,
                6,
                0xff,
                hostile::FLUSH,
            ]);
            let original = stream / 4;
            story.extend([hostile::RTX, original, 0, 3, 4, 0x10, 1, 2, 3]);
            story.extend([
                hostile::RTX,
                original,
                0,
                6,
                4,
                0x10,
                1,
                2,
                3,
                hostile::TICK,
                200,
            ]);
        }
        seeds.push(story);
    }
    for template in 0..12_u8 {
        let mut story = vec![template % 3, template % 6];
        for step in 0..9_u8 {
            story.extend([
                hostile::RTP,
                0,
                step,
                1,
                step,
                0x3f,
                template << (step % 4),
                template,
                step,
            ]);
            story.extend([hostile::TICK, 33, hostile::FLUSH]);
        }
        seeds.push(story);
    }
    for (n, packet) in (0_u8..).zip(rtcp_vectors().into_iter().take(60)) {
        let Ok(len) = u8::try_from(packet.len()) else {
            continue;
        };
        let mut story = vec![n % 3, n % 6, hostile::HONEST, hostile::RAW_RTCP, n, len];
        story.extend(packet);
        story.extend([hostile::FLUSH, hostile::TICK, 100, hostile::HONEST]);
        seeds.push(story);
    }
    seeds
}
