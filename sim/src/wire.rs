//! The edge of a simulated node: what the shard commits becomes datagrams.

use std::net::IpAddr;

use dataplane_engine::limits::{RUN_BYTES_MAX, RUN_SEGMENTS_MAX};
use dataplane_engine::outbox::{Egress, Outbox, Run, RunId, Sent};
use dataplane_engine::packet::{Path, PathKind};
use dataplane_engine::time::Micros;

/// Collects a turn's datagrams.
#[derive(Debug, Default)]
pub struct Wire {
    now: Micros,
    next_run: u64,
    sent: Vec<(Path, Vec<u8>)>,
    /// Runs committed, for tests of batching.
    pub runs: u64,
}

impl Wire {
    /// The time of everything that is committed from now on.
    pub fn at(&mut self, now: Micros) -> &mut Wire {
        self.now = now;
        self
    }

    /// Takes what was sent.
    pub fn drain(&mut self) -> impl Iterator<Item = (Path, Vec<u8>)> + '_ {
        self.sent.drain(..)
    }
}

impl Outbox for Wire {
    type Run<'a> = WireRun<'a>;

    fn egress(&self, path: &Path) -> Egress {
        let overhead_bytes = match path.local {
            IpAddr::V4(_) => 28,
            IpAddr::V6(_) => 48,
        };
        Egress {
            segments_max: u16::try_from(RUN_SEGMENTS_MAX).unwrap_or(u16::MAX),
            run_bytes_max: u32::try_from(RUN_BYTES_MAX).unwrap_or(u32::MAX),
            overhead_bytes,
            kind: PathKind::Datagram,
        }
    }

    fn run(&mut self, path: &Path, segment_len: usize, count: usize) -> Option<WireRun<'_>> {
        assert!((1..=RUN_SEGMENTS_MAX).contains(&count), "a run of {count}");
        assert!(
            segment_len * count <= RUN_BYTES_MAX,
            "a run of {count} x {segment_len} bytes"
        );
        Some(WireRun {
            path: *path,
            segment_len,
            count,
            packets: Vec::with_capacity(count),
            wire: self,
        })
    }
}

/// One run on a [`Wire`].
#[derive(Debug)]
pub struct WireRun<'a> {
    path: Path,
    segment_len: usize,
    count: usize,
    packets: Vec<Vec<u8>>,
    wire: &'a mut Wire,
}

impl Run for WireRun<'_> {
    fn slot(&mut self, len: usize) -> &mut [u8] {
        let is_last = self.packets.len() + 1 == self.count;
        assert!(
            self.packets.len() < self.count,
            "more packets than announced"
        );
        assert!(
            len == self.segment_len || (is_last && len < self.segment_len),
            "unequal segments"
        );
        self.packets.push(vec![0; len]);
        self.packets.last_mut().expect("invariant: just pushed")
    }

    fn commit(self) -> Sent {
        let path = self.path;
        self.wire
            .sent
            .extend(self.packets.into_iter().map(|packet| (path, packet)));
        self.wire.runs += 1;
        self.wire.next_run += 1;
        Sent {
            run: RunId(self.wire.next_run),
            at: self.wire.now,
        }
    }
}
