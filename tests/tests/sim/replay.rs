//! One seed replays the same decisions.

use super::random::wired_class;

#[test]
fn one_seed_replays_the_same_decisions() {
    for seed in [1, 77] {
        let (first, second) = (wired_class(seed), wired_class(seed));
        assert_eq!(first.decisions, second.decisions, "seed {seed}");
        assert_eq!(first.traffic, second.traffic);
        assert_eq!(first.faults, second.faults);
        assert!(first.traffic.down > 1_000, "{:?}", first.traffic);
    }
}

#[test]
fn another_seed_is_another_class() {
    assert_ne!(wired_class(1).decisions, wired_class(2).decisions);
}
