//! An edge that keeps what a shard sends and refuses runs that a kernel would cut wrong.

use dataplane_engine::limits::{RUN_BYTES_MAX, RUN_SEGMENTS_MAX};
use dataplane_engine::outbox::{Egress, Outbox, Run, RunId, Sent};
use dataplane_engine::packet::{Path, PathKind};
use dataplane_engine::time::Micros;

/// One committed run.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its name.
    pub run: RunId,
    /// Where it goes.
    pub path: Path,
    /// Its packets.
    pub packets: Vec<Vec<u8>>,
}

/// An edge in memory.
#[derive(Debug, Default)]
pub struct Edge {
    /// The time of a commit.
    pub now: Micros,
    /// Since the last [`Edge::take`], in order.
    pub runs: Vec<Committed>,
    /// No slab is free: nothing is lent.
    pub busy: bool,
    committed: u64,
}

impl Edge {
    /// What was committed since the last call.
    pub fn take(&mut self) -> Vec<Committed> {
        std::mem::take(&mut self.runs)
    }
}

impl Outbox for Edge {
    type Run<'a> = EdgeRun<'a>;

    fn egress(&self, _path: &Path) -> Egress {
        Egress {
            segments_max: u16::try_from(RUN_SEGMENTS_MAX).expect("invariant: a small number"),
            run_bytes_max: u32::try_from(RUN_BYTES_MAX).expect("invariant: a small number"),
            overhead_bytes: 28,
            kind: PathKind::Datagram,
        }
    }

    fn run(&mut self, path: &Path, segment_len: usize, count: usize) -> Option<EdgeRun<'_>> {
        assert!(
            (1..=RUN_SEGMENTS_MAX).contains(&count) && segment_len * count <= RUN_BYTES_MAX,
            "a run of {count} x {segment_len}"
        );
        (!self.busy).then(|| EdgeRun {
            path: *path,
            segment_len,
            count,
            packets: Vec::new(),
            edge: self,
        })
    }
}

/// A run under construction.
#[derive(Debug)]
pub struct EdgeRun<'a> {
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
            "a segment of {len} in a run of {}",
            self.segment_len
        );
        self.packets.push(vec![0; len]);
        self.packets.last_mut().expect("invariant: just pushed")
    }

    fn commit(self) -> Sent {
        self.edge.committed += 1;
        let run = RunId(self.edge.committed);
        self.edge.runs.push(Committed {
            run,
            path: self.path,
            packets: self.packets,
        });
        Sent {
            run,
            at: self.edge.now,
        }
    }
}
