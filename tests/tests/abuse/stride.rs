//! What a shard allocates in its stride (datapath.md A9): nothing for a packet of media, whoever watches it.

use dataplane_api::media::CodecId;

use crate::edge::Edge;
use crate::hall::Hall;
use crate::memory::allocations;

#[test]
fn a_packet_of_media_allocates_nothing() {
    let mut hall = Hall::new();
    let publisher = hall.join_publisher(1, CodecId::VP8, 1);
    hall.rtx = true;
    let viewers: Vec<_> = (0..8).map(|_| hall.join_viewer(1, publisher)).collect();
    let mut edge = Edge::default();
    let path = hall.peers[publisher].path;
    let mut forward = |hall: &mut Hall, key: bool| {
        let mut packet = hall.next_frame(publisher, 0, key, 900);
        hall.now = hall.now.plus_us(200);
        let allocated = allocations(|| {
            hall.deliver(path, &mut packet);
            hall.shard.flush(hall.now, &mut edge);
        });
        edge.drain(|_, _| {});
        allocated
    };
    // A second of everything, so that each buffer has its size.
    for n in 0..5_000 {
        forward(&mut hall, n % 500 == 0);
    }
    let sealed = hall.shard.counters().sealed_packets;
    let allocated: u64 = (0..3_000).map(|n| forward(&mut hall, n % 500 == 0)).sum();
    let sealed = hall.shard.counters().sealed_packets - sealed;
    assert_eq!(sealed, 3_000 * viewers.len() as u64);
    assert_eq!(allocated, 0, "allocations for {sealed} sealed packets");
}
