//! What is on the wire, and what must become of it: named vectors, public corpora, round trips, noise.
#![allow(
    clippy::disallowed_types,
    reason = "prop_oneof! shares its strategies behind an Arc; the engine's rule is about the engine"
)]

mod corpora;
mod crash_reports;
mod data;
mod depacketize_vectors;
mod dependency_round_trips;
mod differential;
mod frames;
mod packetize_rules;
mod payload_round_trips;
mod rtcp_round_trips;
mod rtcp_vectors;
mod rtp_round_trips;
mod rtp_vectors;
