//! Every target, with what it begins with and how long it runs in `make test`.

pub mod codec;
pub mod demux;
pub mod dependency;
pub mod dtls;
pub mod frame;
pub mod index;
pub mod link;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod shard;
pub mod srtp;
pub mod stun;
pub mod token;

use crate::runner::{Shape, Target};
use crate::vectors;

/// The target that most are like.
const OCTETS: Target = Target {
    name: "",
    run: |_| {},
    seeds: Vec::new,
    shape: Shape::Octets,
    length_max: 1_800,
    allocation_max: Some(64 * 1_024),
    executions: 60_000,
    words: &[],
};

/// All of them, the slow ones first so that two threads end together.
#[must_use]
pub fn all() -> Vec<Target> {
    [
        shard::targets(),
        dtls::targets(),
        sdp::targets(),
        token::targets(),
        srtp::targets(),
        stun::targets(),
        demux::targets(),
        link::targets(),
        rtp::targets(),
        rtcp::targets(),
        codec::targets(),
        frame::targets(),
        dependency::targets(),
        index::targets(),
    ]
    .concat()
}

/// The RTP packets of the vectors: written for it, and of other projects' fuzzers.
fn rtp_vectors() -> Vec<Vec<u8>> {
    vectors::octets(&[
        "codecs/tests/vectors/rtp_malformed_and_edge.json",
        "codecs/tests/vectors/named_crate_crashes.json",
        "codecs/tests/vectors/libwebrtc_rtp.jsonl",
        "codecs/tests/vectors/mediasoup_crash_rtp.jsonl",
        "codecs/tests/vectors/mediasoup_fuzzer_reports.jsonl",
    ])
}

/// The RTCP packets of the vectors.
fn rtcp_vectors() -> Vec<Vec<u8>> {
    vectors::octets(&[
        "codecs/tests/vectors/rtcp_malformed_and_edge.json",
        "codecs/tests/vectors/named_crate_crashes.json",
        "codecs/tests/vectors/libwebrtc_rtcp.jsonl",
        "codecs/tests/vectors/mediasoup_crash_rtcp.jsonl",
        "codecs/tests/vectors/pion_rtcp.jsonl",
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_names_of_files_and_each_stands_once() {
        let targets = all();
        let names: BTreeSet<_> = targets.iter().map(|target| target.name).collect();
        assert_eq!(names.len(), targets.len());
        for target in targets {
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(target.name.bytes().all(plain), "{}", target.name);
            assert!(!target.name.is_empty() && target.executions > 0);
        }
    }

    #[test]
    fn every_target_has_something_to_begin_with() {
        for target in all() {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            assert!(
                seeds.iter().any(|seed| seed.len() <= target.length_max),
                "{}: every seed is cut",
                target.name
            );
        }
    }
}
