//! Extended sequence numbers and replay windows against models that hold everything (security.md S3, S4).

use std::collections::BTreeSet;

use codecs::rtp::Seq;
use codecs::rtp::seq::{SeqUnwrapper, TimestampUnwrapper};
use dataplane_engine::transport::replay::{
    RTP_INDEX_END, RtcpReplayWindow, RtpReplayWindow, guess_index,
};

use super::OCTETS;
use crate::behaviour;
use crate::input::Input;
use crate::runner::Target;

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "sequence",
        run: sequence,
        seeds: || {
            let stream = [
                &[0, 0, 0, 0, 0xff, 0xf0, 1][..],
                &[1; 40],
                &[0x80, 0x7f, 0xff, 0xc0, 2, 0x40, 0xff, 0xff, 0x00, 1, 2, 3],
            ];
            vec![stream.concat(), vec![0xff; 60], (0..120).collect()]
        },
        length_max: 400,
        executions: 60_000,
        ..OCTETS
    }]
}

/// A stream of sequence numbers, each a step from the last or a jump: the guess is the nearest index, and
/// the window admits what the model does.
pub fn sequence(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut highest = input.u64() % RTP_INDEX_END;
    let mut window = RtpReplayWindow::starting_with(highest);
    let mut marked = BTreeSet::from([highest]);
    let mut short = RtcpReplayWindow::starting_with(highest);
    let mut unwrapper = SeqUnwrapper::new();
    let mut timestamps = TimestampUnwrapper::new();
    let mut unwrapped = unwrapper.extend(seq_of(highest));
    let mut clock = timestamps.extend(input.u32());
    while !input.is_empty() {
        let step = input.u8();
        let seq = match step {
            0x00..=0x7f => seq_of(highest).plus(u16::from(step)),
            0x80..=0xbf => seq_of(highest).minus(u16::from(step & 0x3f)),
            _ => Seq(input.u16()),
        };
        let Some(index) = guess_index(highest, seq.0) else {
            behaviour::note("no guess", 0);
            continue;
        };
        assert!(index < RTP_INDEX_END && seq_of(index) == seq);
        let distance = index.abs_diff(highest);
        assert!(distance <= 1 << 15, "{distance} away is not the nearest");

        let known = marked.contains(&index);
        let old = highest.saturating_sub(index) >= RtpReplayWindow::INDICES;
        assert_eq!(
            window.admits(index),
            !known && !old,
            "index {index} of {highest}"
        );
        behaviour::note("admits", u64::from(known) << 1 | u64::from(old));
        behaviour::size("distance", usize::try_from(distance).unwrap_or(usize::MAX));
        if short.admits(index) {
            short.mark(index);
            assert!(!short.admits(index));
        }
        if window.admits(index) {
            window.mark(index);
            marked.insert(index);
            highest = highest.max(index);
        }
        assert_eq!(window.highest(), highest);

        let peeked = unwrapper.peek(seq);
        let extended = unwrapper.extend(seq);
        assert_eq!((peeked, extended.seq()), (extended, seq));
        assert!(extended.0.abs_diff(unwrapped.0) <= 1 << 15);
        unwrapped = unwrapper.highest().expect("it was told one");
        let ts = u32::from(step) << 24 | u32::from(seq.0);
        let at = timestamps.extend(ts);
        assert_eq!(at % (1 << 32), u64::from(ts));
        assert!(at.abs_diff(clock) <= 1 << 31);
        clock = timestamps.highest().expect("it was told one");
    }
}

fn seq_of(index: u64) -> Seq {
    Seq(u16::try_from(index % (1 << 16)).expect("invariant: 16 bits"))
}
