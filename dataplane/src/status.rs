//! What the ops port shows of the whole process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use dataplane_api::ids::ShardIndex;

use crate::mesh::ShardHealth;
use crate::stats::Slot;
use crate::workers::handshake::HandshakeSlot;

/// Written by the threads that know, read by the ops port.
#[derive(Debug)]
pub struct Status {
    shards: Vec<ShardStatus>,
    /// The handshake worker's totals.
    pub handshake: Arc<HandshakeSlot>,
    edge: &'static str,
    link_up: AtomicBool,
    draining: AtomicBool,
    sessions: AtomicUsize,
    resyncs: AtomicU64,
    coalesced: AtomicU64,
}

/// One shard's part of the status.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// Whether it lives, and what its ring lost.
    pub health: Arc<ShardHealth>,
    /// Its last sample.
    pub slot: Arc<Slot>,
}

impl Status {
    /// The status of a process that starts.
    #[must_use]
    pub fn new(
        shards: Vec<ShardStatus>,
        handshake: Arc<HandshakeSlot>,
        edge: &'static str,
    ) -> Status {
        Status {
            shards,
            handshake,
            edge,
            link_up: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            sessions: AtomicUsize::new(0),
            resyncs: AtomicU64::new(0),
            coalesced: AtomicU64::new(0),
        }
    }

    /// The shards, in order.
    pub fn shards(&self) -> impl Iterator<Item = (ShardIndex, &ShardStatus)> {
        (0..=u16::MAX).map(ShardIndex).zip(&self.shards)
    }

    /// The name of the edge in use.
    #[must_use]
    pub fn edge(&self) -> &'static str {
        self.edge
    }

    /// Whether a control plane has the link.
    #[must_use]
    pub fn link_up(&self) -> bool {
        self.link_up.load(Ordering::Relaxed)
    }

    /// Whether sessions are refused because the node drains.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Sessions on all shards.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Times lost state events became a `ResyncNeeded`.
    #[must_use]
    pub fn resyncs(&self) -> u64 {
        self.resyncs.load(Ordering::Relaxed)
    }

    /// Measurements replaced by newer ones before the control plane read them, or lost in a ring.
    #[must_use]
    pub fn measurements_dropped(&self) -> u64 {
        let in_rings: u64 = self
            .shards
            .iter()
            .map(|shard| shard.health.measurements_lost())
            .sum();
        self.coalesced.load(Ordering::Relaxed) + in_rings
    }

    /// Why the node should not be sent anybody, in words; empty when it is ready.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let mut reasons: Vec<String> = self
            .shards()
            .filter(|(_, shard)| shard.health.has_ended())
            .map(|(index, _)| format!("shard {index} has failed"))
            .collect();
        if self.draining() {
            reasons.push("draining".to_owned());
        }
        reasons
    }

    /// Whether a shard is left.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.shards.iter().any(|shard| !shard.health.has_ended())
    }

    pub(crate) fn set_link_up(&self, up: bool) {
        self.link_up.store(up, Ordering::Relaxed);
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    pub(crate) fn set_sessions(&self, sessions: usize) {
        self.sessions.store(sessions, Ordering::Relaxed);
    }

    pub(crate) fn count_resync(&self) {
        self.resyncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_coalesced(&self) {
        self.coalesced.fetch_add(1, Ordering::Relaxed);
    }
}
