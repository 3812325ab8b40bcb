//! Cutting a burst into runs of equal length (datapath.md, design 5). A segmented send needs equal
//! segments; only the last may be shorter. Packetizers split a frame into sizes that differ by a byte, so
//! packets are padded with RTP padding where that costs little.

use crate::limits::{PADDING_BYTES_MAX, RUN_SEGMENTS_MAX};
use crate::outbox::Egress;

/// The next run of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunPlan {
    /// How many packets.
    pub(crate) count: usize,
    /// Length of every packet but the last, padding and tag included.
    pub(crate) segment_len: usize,
}

/// The run at the beginning of `lens` (the packets' unpadded wire lengths, not empty), within `egress`
/// and `bytes_max`.
pub(crate) fn next_run(lens: &[usize], egress: Egress, bytes_max: usize) -> RunPlan {
    let segments_max = usize::from(egress.segments_max).clamp(1, RUN_SEGMENTS_MAX);
    let bytes_max = bytes_max.min(egress.run_bytes_max as usize);
    let mut plan = RunPlan {
        count: 0,
        segment_len: 0,
    };
    let mut shortest = usize::MAX;
    for &len in lens.iter().take(segments_max) {
        let segment_len = plan.segment_len.max(len);
        if plan.count > 0 {
            if (plan.count + 1) * segment_len > bytes_max
                || segment_len - shortest > PADDING_BYTES_MAX
            {
                break;
            }
            if segment_len - len > PADDING_BYTES_MAX {
                // Much shorter than the rest: it can only be the last.
                plan.count += 1;
                break;
            }
        }
        shortest = shortest.min(len);
        plan.segment_len = segment_len;
        plan.count += 1;
    }
    plan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::PathKind;

    fn egress(segments_max: u16) -> Egress {
        Egress {
            segments_max,
            run_bytes_max: 65_507,
            overhead_bytes: 28,
            kind: PathKind::Datagram,
        }
    }

    fn cut(lens: &[usize]) -> Vec<(usize, usize)> {
        let mut rest = lens;
        let mut runs = Vec::new();
        while !rest.is_empty() {
            let plan = next_run(rest, egress(48), usize::MAX);
            runs.push((plan.count, plan.segment_len));
            rest = &rest[plan.count..];
        }
        runs
    }

    #[test]
    fn a_frame_is_one_run() {
        assert_eq!(cut(&[1_187, 1_186, 1_187, 1_186, 400]), [(5, 1_187)]);
        assert_eq!(
            cut(&[1_186, 1_187]),
            [(2, 1_187)],
            "the first is padded up to the second"
        );
    }

    #[test]
    fn a_short_packet_ends_its_run() {
        assert_eq!(cut(&[1_200, 300, 1_200, 300]), [(2, 1_200), (2, 1_200)]);
        assert_eq!(
            cut(&[300, 1_200]),
            [(1, 300), (1, 1_200)],
            "nothing is padded by 900 bytes"
        );
    }

    #[test]
    fn a_path_without_segmentation_sends_one_by_one() {
        let plan = next_run(&[100, 100], egress(1), usize::MAX);
        assert_eq!(
            plan,
            RunPlan {
                count: 1,
                segment_len: 100
            }
        );
    }

    #[test]
    fn a_run_keeps_within_the_pacers_train() {
        assert_eq!(next_run(&[1_000; 40], egress(48), 5_000).count, 5);
        assert_eq!(
            next_run(&[1_000; 40], egress(48), 10).count,
            1,
            "one packet always goes"
        );
    }

    proptest! {
        #[test]
        fn every_plan_can_be_sent(lens in prop::collection::vec(20usize..1_400, 1..100)) {
            let mut rest = &lens[..];
            while !rest.is_empty() {
                let plan = next_run(rest, egress(48), usize::MAX);
                prop_assert!((1..=48).contains(&plan.count));
                let (run, tail) = rest.split_at(plan.count);
                for (n, &len) in run.iter().enumerate() {
                    prop_assert!(len <= plan.segment_len);
                    if n + 1 < plan.count {
                        prop_assert!(plan.segment_len - len <= PADDING_BYTES_MAX);
                    }
                }
                prop_assert!(plan.count * plan.segment_len <= 65_507);
                rest = tail;
            }
        }
    }
}
