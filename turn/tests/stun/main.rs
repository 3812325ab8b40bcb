//! STUN on the wire: the RFCs' own vectors, malformed messages with what they require, public corpora, round
//! trips.

mod corpora;
mod data;
mod malformed;
mod rfc_vectors;
mod round_trips;
