//! An edge for tests: it refuses runs that the kernel would cut wrong.

use crate::demux::{Protocol, classify};
use crate::limits::{RUN_BYTES_MAX, RUN_SEGMENTS_MAX};
use crate::outbox::{Egress, Outbox, Run, RunId, Sent};
use crate::packet::{Path, PathKind};
use crate::time::Micros;

/// An edge that keeps every run.
#[derive(Default)]
pub(super) struct Edge {
    pub(super) now: Micros,
    pub(super) runs: Vec<(RunId, Path, Vec<Vec<u8>>)>,
    next_run: u64,
}

impl Edge {
    pub(super) fn last_run(&self, path: Path) -> (RunId, usize) {
        let (run, _, packets) = self.runs.iter().rev().find(|(_, p, _)| *p == path).unwrap();
        (*run, packets.len())
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
    }

    /// Path and packets of each run of RTP, in order of submission.
    pub(super) fn media_runs(&self) -> Vec<(Path, usize)> {
        let is_media = |packets: &[Vec<u8>]| classify(&packets[0]) == Some(Protocol::Rtp);
        let media = self.runs.iter().filter(|(_, _, packets)| is_media(packets));
        media
            .map(|(_, path, packets)| (*path, packets.len()))
            .collect()
    }
}

impl Outbox for Edge {
    type Run<'a> = EdgeRun<'a>;

    fn egress(&self, _path: &Path) -> Egress {
        Egress {
            segments_max: u16::try_from(RUN_SEGMENTS_MAX).unwrap(),
            run_bytes_max: u32::try_from(RUN_BYTES_MAX).unwrap(),
            overhead_bytes: 28,
            kind: PathKind::Datagram,
        }
    }

    fn run(&mut self, path: &Path, segment_len: usize, count: usize) -> Option<EdgeRun<'_>> {
        Some(EdgeRun {
            path: *path,
            segment_len,
            count,
            packets: Vec::new(),
            edge: self,
        })
    }
}

pub(super) struct EdgeRun<'a> {
    path: Path,
    segment_len: usize,
    count: usize,
    packets: Vec<Vec<u8>>,
    edge: &'a mut Edge,
}

impl Run for EdgeRun<'_> {
    fn slot(&mut self, len: usize) -> &mut [u8] {
        let is_last = self.packets.len() + 1 == self.count;
        assert!(
            len == self.segment_len || (is_last && len < self.segment_len),
            "unequal segments"
        );
        self.packets.push(vec![0; len]);
        self.packets.last_mut().unwrap()
    }

    fn commit(self) -> Sent {
        self.edge.next_run += 1;
        let run = RunId(self.edge.next_run);
        let at = self.edge.now;
        self.edge.runs.push((run, self.path, self.packets));
        Sent { run, at }
    }
}
