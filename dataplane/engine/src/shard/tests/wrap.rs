//! Sequence numbers that begin anew at 65,536, on every way they take: a publisher's, in its retransmissions, toward
//! a viewer, and in what a viewer asks for.

use super::class::{Class, PEER, path};
use super::frame::{Frame, VIDEO};
use crate::transport::keys::Profile;

const GCM: Profile = Profile::AeadAes128Gcm;
const WRAP: u64 = 1 << 16;

#[test]
fn loss_around_the_wrap_of_a_publisher_is_repaired() {
    let mut class = Class::new();
    class.rtx = true;
    let teacher = class.join(PEER, GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    // Its retransmission stream wraps among the packets it sends again, too.
    class.peers[teacher].rtx_index = WRAP - 2;
    class.send(teacher, Frame::key(65_530));
    let lost = WRAP - 2..WRAP + 2;
    for index in 65_531..WRAP + 6 {
        if !lost.contains(&index) {
            class.send(teacher, Frame::at(index));
        }
    }
    class.advance_ms(3);
    assert_eq!(class.take_asked(teacher), [65_534, 65_535, 0, 1]);
    for index in lost {
        class.send_again(teacher, Frame::at(index));
    }
    class.advance_ms(300);
    assert!(class.take_asked(teacher).is_empty(), "nothing is missing");
    let nack = &class.shard.counters().nack;
    assert_eq!((nack.asked, nack.repaired), (4, 4));

    let first = class.seqs(viewer, VIDEO)[0];
    let mut shown: Vec<_> = class
        .seqs(viewer, VIDEO)
        .into_iter()
        .map(|seq| seq.wrapping_sub(first))
        .zip(class.payloads(viewer, VIDEO))
        .collect();
    shown.sort_unstable();
    let expected: Vec<_> = (0..12u16)
        .map(|n| (n, u32::from(65_530u16.wrapping_add(n))))
        .collect();
    assert_eq!(shown, expected, "each in its place");
}

#[test]
fn what_a_viewer_asks_for_around_its_own_wrap_is_sent_again() {
    for rtx in [true, false] {
        let mut class = Class::new();
        class.rtx = rtx;
        let teacher = class.join(PEER, GCM, &[]);
        let viewer = class.join(path(1), GCM, &[VIDEO]);
        class.publish_video(teacher);
        class.watch(viewer, VIDEO, teacher);
        class.send(teacher, Frame::key(1));
        class.flush();
        // The viewer's numbers keep their distance to the publisher's, which leaves some out to get there.
        let ahead = u64::from(class.seqs(viewer, VIDEO)[0]) - 1;
        let begin = WRAP - ahead - 4;
        for index in (901..begin).step_by(900).chain(begin..begin + 8) {
            class.send(teacher, Frame::at(index));
            class.flush();
        }
        let seqs = class.seqs(viewer, VIDEO);
        assert_eq!(seqs[seqs.len() - 6..], [65_534, 65_535, 0, 1, 2, 3]);
        let before = class.payloads(viewer, VIDEO);
        let asked = &before[before.len() - 6..before.len() - 2];

        class.nack_in_order(viewer, &[65_534, 65_535, 0, 1]);
        class.advance_ms(1);
        let counters = class.shard.counters();
        assert_eq!(
            (counters.retransmitted_packets, counters.resends_missed),
            (4, 0)
        );
        if rtx {
            // On the retransmission stream, each under the number of its original.
            assert_eq!(class.repaired(viewer), 4);
            let seqs = class.seqs(viewer, VIDEO);
            assert_eq!(seqs[seqs.len() - 4..], [65_534, 65_535, 0, 1]);
            assert_eq!(&class.payloads(viewer, VIDEO)[before.len()..], asked);
        }
        // Without one they are compared with what was sent before, byte for byte.
    }
}
