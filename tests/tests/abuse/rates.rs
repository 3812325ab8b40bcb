//! Row R10: a publisher that sends forty times what it was granted.

use dataplane_api::command::SessionPolicy;
use dataplane_api::media::CodecId;
use dataplane_engine::limits::INGRESS_BPS_DEFAULT;
use dataplane_engine::reason::DropReason;

use crate::hall::Hall;

const GRANT_BPS: u64 = 5_000_000;
/// A packet of 1,200 bytes on the wire: payload, header and tag.
const PAYLOAD_BYTES: usize = 1_200 - 12 - 16;

fn granted() -> SessionPolicy {
    SessionPolicy {
        ingress_bps_max: Some(GRANT_BPS),
        ..SessionPolicy::default()
    }
}

#[test]
fn r10_a_flooding_publisher_is_policed_to_its_grant_within_a_second() {
    const SECONDS: usize = 3;
    let mut hall = Hall::new();
    let honest = hall.join_publisher(2, CodecId::VP8, 1);
    let witness = hall.join_viewer(2, honest);
    let hostile = hall.join_with(1, None, granted());
    hall.publish(hostile, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, hostile);
    let mut accepted_bytes = [0u64; SECONDS];
    let mut sent_bytes = 0;
    for ms in 0..SECONDS * 1_000 {
        // 21 packets of 1,200 bytes a millisecond: 201.6 Mbit/s.
        for n in 0..21 {
            let mut frame = hall.next_frame(hostile, 0, n == 0 && ms % 100 == 0, PAYLOAD_BYTES);
            let before = hall.shard.counters().accepted_packets;
            sent_bytes += frame.len() as u64;
            let bytes = frame.len() as u64;
            hall.deliver(hall.peers[hostile].path, &mut frame);
            let taken = hall.shard.counters().accepted_packets - before;
            accepted_bytes[ms / 1_000] += taken * bytes;
        }
        if ms % 10 == 0 {
            hall.send_frame(honest, ms == 0);
        }
        hall.advance_ms(1);
    }
    let mbps = accepted_bytes.map(|bytes| bytes * 8 / 10_000);
    let policed = hall.dropped(DropReason::Policer);
    eprintln!(
        "accepted each second, in hundredths of a Mbit/s: {mbps:?}; {policed} packets policed"
    );
    assert!(sent_bytes * 8 / 3 >= 200_000_000);
    for second in &accepted_bytes[1..] {
        assert!(
            second * 8 <= GRANT_BPS * 11 / 10,
            "{mbps:?}: policed within a second"
        );
        assert!(second * 8 >= GRANT_BPS / 2, "{mbps:?}: and not silenced");
    }
    assert!(
        accepted_bytes[0] * 8 <= 3 * GRANT_BPS,
        "{mbps:?}: in the first one, a burst"
    );
    assert!(hall.peers[viewer].received.media_bytes * 8 <= 6 * GRANT_BPS);

    // Another room misses nothing and waits for nothing.
    let received = &hall.peers[witness].received;
    let frames = hall.peers[honest].layers[0].number;
    let numbers = received.numbers_of(hall.peers[honest].stamp());
    assert_eq!(numbers, (0..frames).collect::<Vec<_>>());
    for pair in received.media.windows(2) {
        assert!(pair[1].at.since(pair[0].at) <= 13_000);
    }
}

/// Bytes a second that are accepted of a publisher with `policy` that sends `packets` frames of `payload` bytes
/// each millisecond, after its first second.
fn accepted_a_second(policy: SessionPolicy, packets: usize, payload: usize) -> (u64, u64) {
    let mut hall = Hall::new();
    let hostile = hall.join_with(1, None, policy);
    hall.publish(hostile, CodecId::VP8, 1);
    let mut at_second = None;
    for ms in 0..2_000 {
        if ms == 1_000 {
            at_second = Some(hall.shard.counters().accepted_packets);
        }
        for _ in 0..packets {
            let mut frame = hall.next_frame(hostile, 0, false, payload);
            hall.deliver(hall.peers[hostile].path, &mut frame);
        }
        hall.advance_ms(1);
    }
    let accepted = hall.shard.counters().accepted_packets - at_second.unwrap();
    let wire = u64::try_from(payload + 12 + 16).unwrap();
    (accepted, accepted * wire)
}

#[test]
fn r10_small_packets_and_a_publisher_without_a_grant_are_policed_too() {
    // 20,000 packets of 60 bytes a second are 9.6 Mbit/s on the wire, and far more work than that.
    let (packets, bytes) = accepted_a_second(granted(), 20, 32);
    eprintln!("of 20,000 small packets a second {packets}, {bytes} bytes");
    assert!(packets <= 5_000 && bytes * 8 <= GRANT_BPS);
    let (packets, bytes) = accepted_a_second(SessionPolicy::default(), 21, PAYLOAD_BYTES);
    eprintln!("without a grant {packets} packets a second, {bytes} bytes");
    assert!(bytes * 8 <= INGRESS_BPS_DEFAULT * 11 / 10);
}

#[test]
fn r10_a_publisher_within_its_grant_loses_nothing() {
    let mut hall = Hall::new();
    let publisher = hall.join_with(1, None, granted());
    hall.publish(publisher, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, publisher);
    // 4 Mbit/s in frames of 14 packets, as an encoder sends them.
    for frame in 0..150 {
        for n in 0..14 {
            let mut packet = hall.next_frame(publisher, 0, frame == 0 && n == 0, PAYLOAD_BYTES);
            hall.deliver(hall.peers[publisher].path, &mut packet);
        }
        hall.advance_ms(33);
    }
    assert_eq!(hall.dropped(DropReason::Policer), 0);
    assert_eq!(hall.peers[viewer].received.media.len(), 150 * 14);
}
