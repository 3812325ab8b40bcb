//! The edge of a hall: what the shard commits, back to back in one buffer.

use dataplane_engine::limits::{RUN_BYTES_MAX, RUN_SEGMENTS_MAX};
use dataplane_engine::outbox::{Egress, Outbox, Run, RunId, Sent};
use dataplane_engine::packet::{Path, PathKind};
use dataplane_engine::time::Micros;

/// Keeps the datagrams of one flush. Its buffers keep their capacity, so that a long story allocates little.
#[derive(Debug, Default)]
pub(crate) struct Edge {
    pub(crate) now: Micros,
    bytes: Vec<u8>,
    packets: Vec<(Path, usize)>,
    runs: u64,
}

impl Edge {
    /// Each datagram with its path, in order; then it is empty.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(Path, &mut [u8])) {
        let mut rest = self.bytes.as_mut_slice();
        for (path, len) in self.packets.drain(..) {
            let (packet, behind) = rest.split_at_mut(len);
            each(path, packet);
            rest = behind;
        }
        self.bytes.clear();
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

    fn run(&mut self, path: &Path, _segment_len: usize, _count: usize) -> Option<EdgeRun<'_>> {
        let (bytes, packets) = (self.bytes.len(), self.packets.len());
        Some(EdgeRun {
            path: *path,
            edge: self,
            begin: Some((bytes, packets)),
        })
    }
}

/// One run; what is not committed is taken back.
#[derive(Debug)]
pub(crate) struct EdgeRun<'a> {
    path: Path,
    edge: &'a mut Edge,
    begin: Option<(usize, usize)>,
}

impl Run for EdgeRun<'_> {
    fn slot(&mut self, len: usize) -> &mut [u8] {
        let start = self.edge.bytes.len();
        self.edge.bytes.resize(start + len, 0);
        self.edge.packets.push((self.path, len));
        &mut self.edge.bytes[start..]
    }

    fn commit(mut self) -> Sent {
        self.begin = None;
        self.edge.runs += 1;
        Sent {
            run: RunId(self.edge.runs),
            at: self.edge.now,
        }
    }
}

impl Drop for EdgeRun<'_> {
    fn drop(&mut self) {
        if let Some((bytes, packets)) = self.begin {
            self.edge.bytes.truncate(bytes);
            self.edge.packets.truncate(packets);
        }
    }
}
