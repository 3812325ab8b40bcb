//! The edge of a simulated shard: what the shard commits becomes datagrams, unless the socket refuses.

use std::net::IpAddr;

use dataplane_engine::limits::{RUN_BYTES_MAX, RUN_SEGMENTS_MAX};
use dataplane_engine::outbox::{Egress, Outbox, Run, RunId, SendFailed, SendFailure, Sent};
use dataplane_engine::packet::{Path, PathKind};
use dataplane_engine::time::Micros;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A datagram that was committed.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Where it goes.
    pub path: Path,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The socket took it.
    pub left: bool,
}

/// Collects a turn's datagrams.
#[derive(Debug)]
pub struct Wire {
    now: Micros,
    next_run: u64,
    committed: Vec<Committed>,
    /// To be reported before the next flush.
    failures: Vec<SendFailed>,
    rng: StdRng,
    /// Share of runs of which the socket refuses some or all packets, per mille.
    pub refuse_per_mille: u32,
}

impl Wire {
    /// An edge whose refusals follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Wire {
        Wire {
            now: Micros::ZERO,
            next_run: 0,
            committed: Vec::new(),
            failures: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            refuse_per_mille: 0,
        }
    }

    /// The time of everything that is committed from now on.
    pub fn at(&mut self, now: Micros) -> &mut Wire {
        self.now = now;
        self
    }

    /// Takes what was committed, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Committed> + '_ {
        self.committed.drain(..)
    }

    /// Takes the runs that did not leave, in whole or from their end on.
    pub fn take_failures(&mut self) -> Vec<SendFailed> {
        std::mem::take(&mut self.failures)
    }

    /// How many packets of a run of `packets` the socket takes.
    fn takes(&mut self, packets: usize) -> usize {
        let refuses =
            self.refuse_per_mille > 0 && self.rng.random_range(0..1_000) < self.refuse_per_mille;
        if refuses {
            self.rng.random_range(0..packets)
        } else {
            packets
        }
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
        let (path, wire) = (self.path, self.wire);
        wire.next_run += 1;
        let run = RunId(wire.next_run);
        let taken = wire.takes(self.packets.len());
        let refused = self.packets.len() - taken;
        if refused > 0 {
            wire.failures.push(SendFailed {
                path,
                run,
                packets: u16::try_from(refused).expect("invariant: a run is short"),
                kind: SendFailure::WouldBlock,
            });
        }
        let committed = self.packets.into_iter().enumerate();
        wire.committed.extend(committed.map(|(n, bytes)| Committed {
            path,
            bytes,
            left: n < taken,
        }));
        Sent { run, at: wire.now }
    }
}
