//! Both edges on real loopback sockets, through the same stories. The ring's are skipped, and say so,
//! where the host forbids io_uring.

#![allow(clippy::unwrap_used, reason = "a story fails where it unwraps")]

mod namespace;
mod rig;
mod stories;

use dataplane_net::{MmsgEdge, UringEdge};

use crate::rig::OpenEdge;

/// One test a story and edge.
macro_rules! on_both_edges {
    ($($story:ident)+) => {
        mod uring {
            $(#[test]
            fn $story() {
                if <super::UringEdge as super::OpenEdge>::is_possible() {
                    super::stories::$story::<super::UringEdge>();
                }
            })+
        }

        mod mmsg {
            $(#[test]
            fn $story() {
                super::stories::$story::<super::MmsgEdge>();
            })+
        }
    };
}

on_both_edges! {
    a_datagram_names_the_address_that_was_asked
    a_reply_leaves_from_the_address_that_was_asked
    a_run_of_48_arrives_as_48_datagrams_in_order
    runs_to_both_families_leave_in_one_submit
    bursts_beyond_the_receive_buffers_lose_nothing
    receive_buffers_come_back_at_the_end_of_the_turn
    a_keyframe_of_a_hundred_packets_is_one_turn
    memory_reused_hard_never_mixes_packets
    a_wake_ends_a_wait_without_a_deadline
    a_thousand_wakes_are_few_turns
    a_deadline_ends_a_wait
    a_datagram_ends_a_wait_before_its_deadline
    arrival_is_when_the_kernel_received_it
    an_empty_datagram_stops_nothing
    an_oversized_datagram_is_counted_and_the_longest_is_not
    a_refused_send_is_reported_once_with_its_run
    a_run_dropped_without_commit_sends_nothing
    a_port_in_use_is_named_and_free_when_the_edge_is_gone
    a_route_with_a_small_mtu_costs_one_path_its_segmentation
    a_full_socket_drops_the_run_and_says_so
}
