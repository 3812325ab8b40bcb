//! Packet indices: the guess of the rollover counter against RFC 3711's table and pseudo-code, the
//! replay window against a set, and the index of an outgoing stream.

#![allow(clippy::unwrap_used, reason = "a test states what must be by failing")]

mod vector_files;

use std::collections::BTreeSet;

use dataplane_engine::transport::replay::{
    HAND_OVER_JUMP, RTP_INDEX_END, ReplayWindow, RtcpReplayWindow, RtpReplayWindow, SendIndex,
    guess_index, roc_of, seq_of,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use vector_files::json;

#[test]
fn the_guess_agrees_with_the_table() {
    let file = json("srtp/rfc3711_appendix_a_index_guess.json");
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 17);
    for case in cases {
        let number = |name: &str| case[name].as_u64().unwrap();
        let highest = (number("roc") << 16) | number("s_l");
        let seq = u16::try_from(number("seq")).unwrap();
        let expected = case["expected_roc"].as_i64().unwrap();
        let expected = u32::try_from(expected)
            .ok()
            .map(|roc| (u64::from(roc) << 16) | u64::from(seq));
        assert_eq!(guess_index(highest, seq), expected, "{case}");
    }
}

/// RFC 3711 section 3.3.1, as written there, on a rollover counter that has room below and above.
fn pseudo_code(roc: u64, s_l: i64, seq: i64) -> u64 {
    if s_l < 32_768 {
        if seq - s_l > 32_768 { roc - 1 } else { roc }
    } else if s_l - 32_768 > seq {
        roc + 1
    } else {
        roc
    }
}

#[test]
fn the_guess_is_the_pseudo_code_for_every_sequence_number() {
    // All 2^16 sequence numbers against the last ones at which a branch turns, and a stride between.
    let turns = [0, 0x7fff, 0x8000, 0xffff_u16];
    let near = turns.iter().flat_map(|&turn| {
        (0..8).flat_map(move |by| [turn.wrapping_add(by), turn.wrapping_sub(by)])
    });
    for last in near.chain((0..=u16::MAX).step_by(1_021)) {
        for seq in 0..=u16::MAX {
            let roc = 7;
            let expected =
                (pseudo_code(roc, i64::from(last), i64::from(seq)) << 16) | u64::from(seq);
            let guess = guess_index((roc << 16) | u64::from(last), seq);
            assert_eq!(guess, Some(expected), "last {last} seq {seq}");
        }
    }
}

proptest! {
    // The same cases in every run: a failure here is a failure everywhere.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(3711),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_guess_finds_every_index_less_than_2_15_away(
        highest in 0..RTP_INDEX_END,
        away in -0x7fff_i64..=0x7fff,
    ) {
        let index = i64::try_from(highest).unwrap() + away;
        let index = u64::try_from(index).ok().filter(|&index| index < RTP_INDEX_END);
        prop_assume!(index.is_some());
        let index = index.unwrap();
        prop_assert_eq!(guess_index(highest, seq_of(index)), Some(index));
    }

    #[test]
    fn the_window_is_a_set_of_the_last_indices(
        first in 0_u64..5_000,
        steps in proptest::collection::vec(-1_300_i64..1_300, 1..400),
    ) {
        window_is_a_set::<16>(first, &steps);
        window_is_a_set::<2>(first, &steps);
    }
}

fn window_is_a_set<const WORDS: usize>(first: u64, steps: &[i64]) {
    let mut window = ReplayWindow::<WORDS>::starting_with(first);
    let mut seen = BTreeSet::from([first]);
    for &step in steps {
        let highest = *seen.last().unwrap();
        let index = highest.saturating_add_signed(step);
        let too_old = index + ReplayWindow::<WORDS>::INDICES <= highest;
        assert_eq!(
            window.admits(index),
            !too_old && !seen.contains(&index),
            "index {index} highest {highest}"
        );
        if window.admits(index) {
            window.mark(index);
            seen.insert(index);
        }
        assert_eq!(window.highest(), *seen.last().unwrap());
    }
}

#[test]
fn windows_are_as_wide_as_promised() {
    assert_eq!(RtpReplayWindow::INDICES, 1_024);
    assert_eq!(RtcpReplayWindow::INDICES, 128);
    let mut window = RtpReplayWindow::starting_with(10_000);
    window.mark(11_023);
    // 10,000 is the oldest of the 1,024; it was seen, 10,001 was not, 9,999 is beyond telling.
    assert!(!window.admits(10_000));
    assert!(window.admits(10_001));
    assert!(!window.admits(9_999));
}

#[test]
fn an_outgoing_stream_starts_low_and_never_repeats() {
    for random in 0..=u16::MAX {
        let first = SendIndex::from_random(random).peek();
        assert!((1..1 << 15).contains(&first), "{random} starts at {first}");
    }

    let mut index = SendIndex::resuming_at(0xffff);
    assert_eq!((index.seq(), index.roc()), (0xffff, 0));
    assert_eq!(index.next(), Some(0xffff));
    assert_eq!((index.seq(), index.roc()), (0, 1));
    assert_eq!(index.next(), Some(0x1_0000));

    index.jump();
    assert_eq!(index.peek(), 0x1_0001 + HAND_OVER_JUMP);
}

#[test]
fn an_outgoing_stream_ends_with_its_key() {
    let mut index = SendIndex::resuming_at(RTP_INDEX_END - 1);
    assert_eq!((index.seq(), index.roc()), (u16::MAX, u32::MAX));
    assert_eq!(index.next(), Some(RTP_INDEX_END - 1));
    assert_eq!(index.next(), None);
    index.jump();
    assert_eq!(index.next(), None);
    assert_eq!(roc_of(RTP_INDEX_END - 1), u32::MAX);
}
