//! Packets to and from other shards and workers (contracts.md 25): plaintext and what is known of it,
//! copied once for each importer. A room lives on one shard for now; what comes in by this way joins the
//! same path as a packet that was received here.

use crate::pool::PacketMeta;

/// One packet of a track that another shard, a worker or another node received.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeItem<'a> {
    /// What is known of the packet; its track is published on this shard by order of `Publish`.
    pub meta: PacketMeta,
    /// The plaintext payload without padding.
    pub payload: &'a [u8],
    /// The AV1 dependency descriptor, empty when there is none.
    pub dependency_descriptor: &'a [u8],
}
